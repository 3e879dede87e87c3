//! Writes docs/conditions.md and docs/audit-events.md from the lists in the core, or with `--check` says which of the
//! committed ones differ.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use keyplane_core::{audit, readiness};
use keyplane_tests::workspace;

/// A document's path in the checkout, its text, and where that comes from.
type Document = (&'static str, fn() -> String, &'static str);

const DOCUMENTS: [Document; 2] = [
    ("docs/audit-events.md", audit::document, "operator/core/src/audit"),
    ("docs/conditions.md", readiness::document, "operator/core/src/readiness"),
];

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref() == Some("--check")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "generate-documents: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether what is committed is what the lists say (always so after writing).
fn run(check: bool) -> Result<bool> {
    let mut all_same = true;
    for (name, text, origin) in DOCUMENTS {
        let path = workspace::root().join(name);
        if !check {
            std::fs::write(&path, text()).with_context(|| format!("cannot write {}", path.display()))?;
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text() {
            all_same = false;
            writeln!(
                std::io::stderr(),
                "{} differs from {origin}: run `make generate` and commit the result",
                path.display()
            )?;
        }
    }
    Ok(all_same)
}
