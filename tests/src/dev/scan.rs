//! The end of `make test`: the whole run is looked through for plaintexts.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::plaintext_registry::PlaintextRegistry;
use crate::plaintext_scan::{Findings, PlaintextScan};
use crate::progress::say;
use crate::test_run;

/// Looks through the directory of a test run (that of `make test` when none is given) for every key and token that the
/// run knew, says what was looked through, and removes the directory when nothing was found.
///
/// # Errors
/// When there is no run, when there was nothing to look for or to look through, or when a plaintext is found: then the
/// directory stays.
pub async fn scan(run: Option<PathBuf>) -> Result<()> {
    let run = run.unwrap_or_else(test_run::default_dir);
    ensure!(run.is_dir(), "there is no test run to look through in {}: run `make test`", run.display());
    test_run::until_ended(&run).await?;
    let folder = run.clone();
    let findings = tokio::task::spawn_blocking(move || {
        let plaintexts = PlaintextRegistry::in_dir(&folder).read()?;
        ensure!(!plaintexts.is_empty(), "no key and no token was noted in {}", folder.display());
        PlaintextScan::new(&plaintexts)?.look_through(&folder)
    })
    .await??;
    say(format!("keyplane: {findings}"));
    complete(&findings)?;
    if !findings.leaks.is_empty() {
        let leaks: Vec<String> = findings.leaks.iter().map(ToString::to_string).collect();
        bail!("plaintexts where none belongs; {} stays for a look:\n{}", run.display(), leaks.join("\n"));
    }
    std::fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))
}

/// A search that had nothing to search proves nothing.
fn complete(findings: &Findings) -> Result<()> {
    for (what, there) in [
        ("database", findings.revisions > 0),
        ("log", findings.logs > 0),
        ("file with metrics", findings.metrics > 0),
    ] {
        ensure!(there, "the run left no {what} to look through");
    }
    Ok(())
}
