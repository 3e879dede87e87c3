//! Writes the manual pages of `kubectl-keyplane` into docs/man, or with `--check` says which of the committed ones differ.
//! An example, so that what it needs is not in the program.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use keyplane_credential_plugin::cli::Cli;

/// The pages' texts by their files' names.
type Pages = BTreeMap<String, Vec<u8>>;

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref() == Some("--check")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "man: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether what is committed is what the commands say (always so after writing).
fn run(check: bool) -> io::Result<bool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let (wanted, found) = (pages()?, read(&folder).unwrap_or_default());
    if check {
        if wanted != found {
            writeln!(
                io::stderr(),
                "{} differs from credential-plugin/src: run `make generate` and commit the result",
                folder.display()
            )?;
        }
        return Ok(wanted == found);
    }
    fs::create_dir_all(&folder)?;
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in &wanted {
        fs::write(folder.join(name), text)?;
    }
    Ok(true)
}

fn pages() -> io::Result<Pages> {
    let folder = tempfile::tempdir()?;
    clap_mangen::generate_to(Cli::command(), folder.path())?;
    read(folder.path())
}

fn read(folder: &Path) -> io::Result<Pages> {
    let files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let page = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, fs::read(path)?))
    };
    files.into_iter().map(page).collect()
}
