//! How one program is started: its name, its arguments, its log.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// A program and its arguments, with the directory that takes its log and its process id.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What people call it; the log and the pid file are named after it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments. No secrets: every user of the machine can read them.
    pub arguments: Vec<OsString>,
    /// The directory of its log and pid file.
    pub dir: PathBuf,
}

impl Launch {
    /// The file that its standard output and standard error go to.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// The file that `supervise` writes the process id to.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.dir.join(format!("{}.pid", self.name))
    }

    /// What it has logged so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.log_file())
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of the log, for an error message.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(&self.log_file())
    }

    /// `supervise` about to start this program, with `how` as its own arguments.
    pub(crate) fn under(&self, supervise: &Path, how: &[OsString]) -> Result<Command> {
        // A number from an earlier start must not pass for the new one.
        if self.pid_file().exists() {
            std::fs::remove_file(self.pid_file())?;
        }
        let log = self.open_log()?;
        let mut command = Command::new(supervise);
        command
            .args(how)
            .arg("--pid-file")
            .arg(self.pid_file())
            .arg("--")
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn open_log(&self) -> Result<File> {
        let path = self.log_file();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The process id, once `supervise` has written it.
    pub(crate) fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()
    }
}

/// The file's name and its last lines.
pub(crate) fn last_words(log: &Path) -> String {
    let text = std::fs::read(log)
        .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
    format!("its log is {} and ends so:\n{}", log.display(), end.join("\n"))
}
