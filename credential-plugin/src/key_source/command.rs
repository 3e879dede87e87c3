//! `--key-command`: a program of a password manager prints the key.
//!
//! It is started without a shell: its [words](crate::key_source::words) are split, and that is all. So the same kubeconfig
//! means the same on Windows, which has no `sh`, and nothing in the text but blanks and quotes has a meaning of its own.
//! Who wants a pipe writes `sh -c '...'`.
//!
//! It may ask a person, or a network. So a note without a secret says which key it gave last, and it runs only when
//! the exchange has to be asked.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::environment::KEY_VARIABLE;
use crate::exchange::address::BaseUrl;
use crate::failure::{Failure, FailureKind};
use crate::field_digest::field_digest;
use crate::key_source::key_text::check;
use crate::key_source::words;
use crate::private_file::{self, Durability};
use crate::verbose;

/// The argument, as failures name it.
const KEY_COMMAND: &str = "--key-command";
/// Bytes of what the command prints that are looked at: password managers add notes below the key.
const PRINTED_MAX: u64 = 64 * 1024;
/// Bytes of a note's file.
const NOTE_MAX: u64 = 4096;
/// How often to look whether the command has ended, once it has closed its output.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A command whose first line of standard output is the key.
#[derive(Clone, Debug)]
pub struct KeyCommand {
    program: String,
    args: Vec<String>,
    limit: Duration,
    note: Option<Note>,
}

/// Which key the command gave last: a file in the token cache's folder.
#[derive(Clone, Debug)]
struct Note {
    path: PathBuf,
    id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NoteContent {
    id: String,
    digest: String,
}

impl KeyCommand {
    /// The command in `text`, for the exchange at `base`, which may take as long as `limit`. Without a `cache` folder nothing
    /// is noted.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the text is no command.
    pub fn parse(text: &str, limit: Duration, base: &BaseUrl, cache: Option<&Path>) -> Result<Self, Failure> {
        let words = words::split(text).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
        let Some((program, args)) = words.as_deref().and_then(<[String]>::split_first) else {
            return Err(Failure::new(
                FailureKind::Usage,
                "the key command is empty, or a quote in it is not closed",
                KEY_COMMAND,
                "give it as one argument, such as 'pass show keyplane'",
            ));
        };
        let note = cache.map(|folder| {
            let id = field_digest([text, base.as_str()]);
            Note { path: folder.join(&id).with_extension("key-command"), id }
        });
        Ok(Self { program: program.clone(), args: args.to_vec(), limit, note })
    }

    /// The program, without its arguments: they may say more than a failure should.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What the command may take.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// What stands for the command's text and the exchange, when there is a cache folder.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.note.as_ref().map(|note| note.id.as_str())
    }

    /// The command with at most this time.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: self.limit.min(limit), ..self.clone() }
    }

    /// Refuses a program whose place depends on the current folder, which is anybody's where a client starts this.
    ///
    /// # Errors
    /// [`FailureKind::Usage`].
    pub fn refuse_relative_program(&self) -> Result<(), Failure> {
        if !words::is_relative_path(&self.program) {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Usage,
            "the key command's program is a relative path: kubectl would run another one in each folder",
            self.place(),
            "give its whole path, or put it on PATH and give its name",
        ))
    }

    /// The digest of the key that the command gave last, when that is noted. What is wrong with the note in any way is
    /// no note.
    #[must_use]
    pub fn noted_digest(&self) -> Option<KeyDigest> {
        let note = self.note.as_ref()?;
        let bytes = private_file::read_own(&note.path, NOTE_MAX).ok()?;
        let content: NoteContent = serde_json::from_slice(&bytes).ok()?;
        if content.id == note.id { content.digest.parse().ok() } else { None }
    }

    /// Runs the command within a `limit` that may be shorter than its own, and notes which key it gives when that was
    /// not `noted`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn read(&self, noted: Option<KeyDigest>, limit: Duration) -> Result<PlaintextKey, Failure> {
        verbose::note(format!("running the key command {}", self.program));
        let key = self.within(limit).run()?;
        if noted != Some(key.digest()) {
            self.note(key.digest());
        }
        Ok(key)
    }

    /// Runs the command of whose key nothing is noted.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn first_read(&self) -> Result<PlaintextKey, Failure> {
        self.read(None, Duration::MAX)
    }

    /// Notes which key the command gave. Whether that worked matters to nobody: without a note the command runs again.
    pub fn note(&self, digest: KeyDigest) {
        let Some(note) = &self.note else { return };
        let content = NoteContent { id: note.id.clone(), digest: digest.to_string() };
        let (Ok(bytes), Some(folder)) = (serde_json::to_vec(&content), note.path.parent()) else { return };
        if private_file::ensure_folder(folder).is_ok()
            && private_file::replace(&note.path, &bytes, Durability::Disposable).is_err()
            && note.path.is_dir()
        {
            private_file::make_way(&note.path);
            let _ = private_file::replace(&note.path, &bytes, Durability::Disposable);
        }
    }

    /// Runs the command and takes the first line that it prints as the key. Its standard error is the user's.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`] when it cannot be started, fails, takes too long, or prints no key.
    pub fn run(&self) -> Result<PlaintextKey, Failure> {
        let deadline = Instant::now() + self.limit;
        let mut child = Command::new(&self.program)
            .args(&self.args)
            // A key that lies about is none of its business.
            .env_remove(KEY_VARIABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| {
                self.failed(format!("the key command cannot be started: {error}"), platform::INSTALL)
            })?;
        let printed = match child.stdout.take() {
            Some(stdout) => printed_by(stdout, deadline),
            None => Some(Ok(Zeroizing::new(Vec::new()))),
        };
        let (Some(printed), Some(ended)) = (printed, ended_by(&mut child, deadline)) else {
            // One that has just ended cannot be killed, and need not be.
            let _ = child.kill();
            let _ = child.wait();
            return Err(self.failed(
                format!("the key command did not end within {} s", self.limit.as_secs()),
                "run it by hand: it may wait for an answer; --key-command-timeout gives it longer",
            ));
        };
        let status = ended.map_err(|error| self.unreadable(&error))?;
        if !status.success() {
            return Err(self.failed(
                format!("the key command failed: {status}"),
                "run it by hand to see why; its first line must be the key",
            ));
        }
        self.key_in(&printed.map_err(|error| self.unreadable(&error))?)
    }

    fn key_in(&self, printed: &[u8]) -> Result<PlaintextKey, Failure> {
        let first = printed.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = std::str::from_utf8(first).map(|line| line.strip_suffix('\r').unwrap_or(line));
        match line {
            Ok("") => Err(self.failed(
                "the key command printed no key".to_owned(),
                "run it by hand: its first line must be the key",
            )),
            Ok(line) => check(line, &self.place()),
            Err(_) => Err(self.failed(
                "what the key command printed is not text".to_owned(),
                "run it by hand: its first line must be the key",
            )),
        }
    }

    fn place(&self) -> String {
        format!("{KEY_COMMAND} {}", self.program)
    }

    fn failed(&self, what: String, remedy: &str) -> Failure {
        Failure::new(FailureKind::NoKey, what, self.place(), remedy)
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        self.failed(format!("the key command's output cannot be read: {error}"), "run it by hand")
    }
}

/// What the command printed, to its end, or none when it was not at its end by the deadline.
fn printed_by(mut stdout: ChildStdout, deadline: Instant) -> Option<io::Result<Zeroizing<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel();
    // It is left behind when the command does not end: the process ends soon after.
    thread::spawn(move || {
        // With room for all of it: a vector that grows leaves copies of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(PRINTED_MAX).unwrap_or_default()));
        let read = (&mut stdout).take(PRINTED_MAX).read_to_end(&mut bytes);
        // Read to its end: a command whose output is closed early fails.
        let read = read.and_then(|_| io::copy(&mut stdout, &mut io::sink()));
        let _ = sender.send(read.map(|_| bytes));
    });
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// How the command ended, or none when it had not by the deadline.
fn ended_by(child: &mut Child, deadline: Instant) -> Option<io::Result<ExitStatus>> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Ok(None) if Instant::now() >= deadline => return None,
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => return Some(Err(error)),
        }
    }
}

#[cfg(not(windows))]
mod platform {
    pub(super) const INSTALL: &str = "install the program, or give its whole path";
}

#[cfg(windows)]
mod platform {
    /// The system looks for no other ending than `.exe` by itself.
    pub(super) const INSTALL: &str =
        "install the program, or give its whole path; a batch file by its whole name, such as az.cmd";
}
