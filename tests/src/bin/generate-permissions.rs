//! Writes docs/permissions.md from the manifests, or with `--check` says when the committed one differs.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use keyplane_tests::permissions::{Shipped, document};
use keyplane_tests::workspace;

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref() == Some("--check")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "generate-permissions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether what is committed is what the manifests say (always so after writing).
fn run(check: bool) -> Result<bool> {
    let path = workspace::root().join("docs/permissions.md");
    let text = document(&Shipped::read()?)?;
    if !check {
        std::fs::write(&path, text)?;
        return Ok(true);
    }
    let same = std::fs::read_to_string(&path).unwrap_or_default() == text;
    if !same {
        writeln!(
            std::io::stderr(),
            "{} differs from charts/keyplane/files: run `make generate` and commit the result",
            path.display()
        )?;
    }
    Ok(same)
}
