//! The directory of one run: it goes when the last process that uses it has ended.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::progress::say;
use crate::test_run;

/// A fresh directory, readable by its owner, that `supervise --remove` takes away at the end of this process,
/// however that comes about. A static is never dropped, and SIGKILL drops nothing.
#[derive(Debug)]
pub struct InstanceDir {
    path: PathBuf,
    remover: Child,
}

impl InstanceDir {
    /// Creates the directory under the system's directory for temporary files, or in that of a test run that is
    /// kept ([`test_run`]). With `KEYPLANE_KEEP=1` it stays.
    ///
    /// # Errors
    /// When it cannot be created or `supervise` does not start.
    pub fn create(supervise: &Path) -> Result<Self> {
        let parent = test_run::dir().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("keyplane-").tempdir_in(&parent);
        let dir = dir.with_context(|| format!("no temporary directory in {}", parent.display()))?;
        let remover = Command::new(supervise)
            .arg("--remove")
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A reader of our standard error must not wait for the remover.
            .stderr(Stdio::null())
            // Ctrl-C reaches the whole group of a terminal's program; the remover acts on our end alone.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} does not start", supervise.display()))?;
        let instance = Self { path: dir.keep(), remover };
        if std::env::var_os("KEYPLANE_KEEP").is_some_and(|value| value == "1") {
            instance.keep();
        }
        Ok(instance)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory in place at the end: somebody will want to read its logs.
    pub fn keep(&self) {
        match std::fs::write(self.path.join("keep"), "") {
            Ok(()) => say(format!("keyplane: keeping {}", self.path.display())),
            Err(error) => say(format!("keyplane: cannot keep {}: {error}", self.path.display())),
        }
    }
}

impl Drop for InstanceDir {
    fn drop(&mut self) {
        if let Err(error) = test_run::preserve(&self.path) {
            say(format!("keyplane: {error:#}"));
        }
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}
