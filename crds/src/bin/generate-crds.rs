//! Writes the CRDs' YAML, or with `--check` says where the committed YAML differs from the types.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref() == Some("--check")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "generate-crds: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether what is committed is what the types say (always so after writing).
fn run(check: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    let mut same = true;
    for (file, yaml) in keyplane_crds::manifests()? {
        let path = folder.join(&file);
        if !check {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&path, yaml)?;
        } else if std::fs::read_to_string(&path).unwrap_or_default() != yaml {
            same = false;
            writeln!(
                std::io::stderr(),
                "{} differs from the types in crds/src: run `make generate` and commit the result",
                path.display()
            )?;
        }
    }
    Ok(same)
}
