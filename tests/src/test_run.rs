//! The directory of a whole test run, kept until it has been looked through for plaintexts.
//!
//! `make test` names it in `KEYPLANE_TEST_RUN_DIR`. Without that variable nothing is kept: a test takes everything it
//! made away with it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::reserved_space;
use crate::waiting::{PATIENCE, Seen, until};
use crate::workspace;

/// The variable that names the directory.
pub const VARIABLE: &str = "KEYPLANE_TEST_RUN_DIR";

/// What control planes that ended during the run left behind, a folder each.
const ENDED: &str = "ended";
/// The data directory of etcd, in a control plane's directory.
pub(crate) const ETCD: &str = "etcd";

/// The directory of this run; none when nothing is to be kept.
#[must_use]
pub fn dir() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The directory that `make test` uses.
#[must_use]
pub fn default_dir() -> PathBuf {
    workspace::target().join("test-run")
}

/// Whether a file is one that people and machines read to see what happened: a log, an audit log, metrics. Kubeconfigs
/// and key files hold secrets by design and are none.
#[must_use]
pub fn is_record(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = |end: &str| path.extension() == Some(OsStr::new(end));
    ends("log") || ends("jsonl") || ends("metrics") || name.contains(".log.") || {
        name.contains("audit") && !ends("yaml")
    }
}

/// Puts the records and the database of a control plane aside, before its directory goes. Does nothing for one that is
/// not of a kept run.
///
/// # Errors
/// When something cannot be moved.
pub(crate) fn preserve(instance: &Path) -> Result<()> {
    let Some(name) = dir().filter(|run| instance.starts_with(run)).and(instance.file_name()) else {
        return Ok(());
    };
    let aside = instance.with_file_name(ENDED).join(name);
    std::fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
    for entry in std::fs::read_dir(instance)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default();
        if file == ETCD || is_record(&path) {
            std::fs::rename(&path, aside.join(file))
                .with_context(|| format!("cannot move {}", path.display()))?;
        }
    }
    let database = aside.join(ETCD);
    if database.is_dir() { reserved_space::release(&database) } else { Ok(()) }
}

/// Waits until the programs of every control plane in the directory have ended: they hold a lock on its folder.
///
/// # Errors
/// When one does not end.
pub async fn until_ended(run: &Path) -> Result<()> {
    for entry in std::fs::read_dir(run).with_context(|| format!("cannot read {}", run.display()))? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        until(&format!("the programs of {} to end", path.display()), PATIENCE, || async {
            let Ok(folder) = File::open(&path) else {
                // Its remover was quicker.
                return Ok(Seen::Done(()));
            };
            Ok(match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Seen::Done(()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_audit_logs_and_metrics_are_records_and_secrets_are_not() {
        for name in [
            "keyplane.log",
            "keyplane.log.previous",
            "audit.log",
            "audit-2026-01-01T00-00-00.000.log",
            "keyplane-audit.jsonl",
            "audit",
            "kube-apiserver.metrics",
        ] {
            assert!(is_record(Path::new(name)), "{name}");
        }
        for name in ["keyplane.kubeconfig", "keyplane-api.token", "ci.key", "audit-policy.yaml", "plaintexts"]
        {
            assert!(!is_record(Path::new(name)), "{name}");
        }
    }
}
