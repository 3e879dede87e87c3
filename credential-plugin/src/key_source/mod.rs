//! Where the API key comes from. Never an argument, which every user of the machine can read.
//!
//! In this order: `--key-file`, or the name of a kept key; the variable `KEYPLANE_API_KEY`; the key that `login` kept for
//! the exchange; the key command. What a person asks for by name comes before what only lies about.

mod command;
mod config_folder;
mod kept;
mod key_text;
mod keyring;
mod record_name;
pub mod shared_run;
pub mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use serde::Serialize;

pub use self::command::KeyCommand;
pub use self::kept::{Forgotten, Kept, KeptKey, Record, Store, StoreChoice};
pub use self::key_text::{read, read_file};
pub(crate) use self::key_text::{read_input, read_variable};
use crate::argument_values::key_command_timeout;
use crate::environment;
use crate::environment::KEY_COMMAND_VARIABLE;
pub use crate::environment::KEY_VARIABLE;
use crate::exchange::address::BaseUrl;
use crate::failure::{Failure, FailureKind};
use crate::verbose;

/// Seconds that a key command may take: a person may have to unlock something, and kubectl waits.
const COMMAND_SECONDS: u64 = 60;

/// Which key.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyArgs {
    /// File with the API key alone, readable by nobody but you
    #[arg(long, value_name = "FILE", conflicts_with = "key_name")]
    pub key_file: Option<PathBuf>,
    /// The key that login kept under this name
    #[arg(long, value_name = "NAME", value_parser = kept_key_name)]
    pub key_name: Option<String>,
    /// Command whose first line of output is the key, where no other source has one [default: `KEYPLANE_KEY_COMMAND`]
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["key_file", "key_name"])]
    pub key_command: Option<String>,
    /// How long the key command may take, 1s to 10m; a number alone is seconds [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = key_command_timeout)]
    pub key_command_timeout: Option<u64>,
}

impl KeyArgs {
    /// Whether they name a source, and do not only say how to use one.
    #[must_use]
    pub const fn name_a_source(&self) -> bool {
        self.key_file.is_some() || self.key_name.is_some() || self.key_command.is_some()
    }

    /// What the key command may take.
    #[must_use]
    pub fn command_limit(&self) -> Duration {
        Duration::from_secs(self.key_command_timeout.unwrap_or(COMMAND_SECONDS))
    }
}

/// A name of a kept key.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn kept_key_name(text: &str) -> Result<String, String> {
    let sound = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if sound {
        Ok(text.to_owned())
    } else {
        Err("a name has up to 64 letters, digits, '-', '_' and '.'".to_owned())
    }
}

/// Where a key was found.
#[derive(Clone, Debug)]
pub enum Source {
    /// The file of `--key-file`.
    File(PathBuf),
    /// The variable [`KEY_VARIABLE`].
    Variable,
    /// What `login` kept.
    Kept(KeptKey, Record),
    /// What the key command prints.
    Command(KeyCommand),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the key file {}", path.display()),
            Self::Variable => write!(f, "the environment variable {KEY_VARIABLE}"),
            Self::Kept(place, record) => {
                write!(f, "login, which keeps it in {}", place.place(record.store()))
            }
            Self::Command(command) => write!(f, "the key command {}", command.program()),
        }
    }
}

/// What kind of source, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The file of `--key-file`.
    KeyFile,
    /// The variable [`KEY_VARIABLE`].
    Environment,
    /// What `login` kept in the keyring.
    Keyring,
    /// What `login` kept in a file.
    KeptFile,
    /// What the key command prints.
    KeyCommand,
}

impl Source {
    /// Reads the key within a `limit` that may be shorter than its own, and notes which it is when that was not `noted`.
    fn read(&self, noted: Option<KeyDigest>, limit: Duration) -> Result<PlaintextKey, Failure> {
        match self {
            Self::File(path) => read_file(path),
            Self::Variable => read_variable(environment::value(KEY_VARIABLE).unwrap_or_default()),
            Self::Kept(place, record) => place.read(record, limit),
            Self::Command(command) => {
                verbose::note(format!("running the key command {}", command.program()));
                let key = command.within(limit).run()?;
                if noted != Some(key.digest()) {
                    command.note(key.digest());
                }
                Ok(key)
            }
        }
    }

    /// Reads the key of which nothing is noted.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend.
    pub fn first_read(&self) -> Result<PlaintextKey, Failure> {
        self.read(None, Duration::MAX)
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::File(_) => SourceKind::KeyFile,
            Self::Variable => SourceKind::Environment,
            Self::Kept(_, record) => match record.store() {
                Store::Keyring => SourceKind::Keyring,
                Store::File => SourceKind::KeptFile,
            },
            Self::Command(_) => SourceKind::KeyCommand,
        }
    }
}

/// What came of the first run of a key command.
#[derive(Debug)]
pub enum FirstRun {
    /// Another start has run it, and noted which key it gave.
    Noted(KeyDigest),
    /// This start has.
    Key(PlaintextKey),
}

/// A key that was found. Some sources cost time, or a question to a person: they are read when the key is needed, not when
/// its digest is.
#[derive(Debug)]
pub struct FoundKey {
    source: Source,
    /// The digest when the key was found.
    first_digest: KeyDigest,
    key: OnceLock<PlaintextKey>,
}

impl FoundKey {
    /// Finds the key for the exchange at `base`. In the `cache` folder it is noted which key a command gave last.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend; [`FailureKind::Usage`] for a key command that is none.
    pub fn find(args: &KeyArgs, base: &BaseUrl, cache: Option<&Path>) -> Result<Self, Failure> {
        Self::find_where(args, base, cache, |source, command| match command.noted_digest() {
            Some(digest) => Ok(FirstRun::Noted(digest)),
            None => source.first_read().map(FirstRun::Key),
        })
    }

    /// As [`find`](Self::find), for a start by a client in whatever folder: a key command that is a relative path is
    /// refused. A command whose key nobody has noted is run by `first_run`, in which another start may be first.
    ///
    /// # Errors
    /// As [`find`](Self::find), [`FailureKind::Usage`] for such a command, and what `first_run` fails with.
    pub fn find_for_client(
        args: &KeyArgs,
        base: &BaseUrl,
        cache: Option<&Path>,
        first_run: impl FnOnce(&Source, &KeyCommand) -> Result<FirstRun, Failure>,
    ) -> Result<Self, Failure> {
        let found = Self::find_where(args, base, cache, |source, command| {
            command.refuse_relative_program()?;
            match command.noted_digest() {
                Some(digest) => Ok(FirstRun::Noted(digest)),
                None => first_run(source, command),
            }
        })?;
        if let Some(warning) = found.instead_of_the_command_in(args) {
            verbose::note(warning);
        }
        Ok(found)
    }

    fn find_where(
        args: &KeyArgs,
        base: &BaseUrl,
        cache: Option<&Path>,
        first: impl FnOnce(&Source, &KeyCommand) -> Result<FirstRun, Failure>,
    ) -> Result<Self, Failure> {
        if let Some(path) = &args.key_file {
            return Ok(Self::known(Source::File(path.clone()), read_file(path)?));
        }
        if args.key_name.is_none()
            && let Some(value) = environment::value(KEY_VARIABLE)
        {
            return Ok(Self::known(Source::Variable, read_variable(value)?));
        }
        let place = KeptKey::of(base, args.key_name.as_deref());
        if let Some((place, record)) = place.and_then(|place| place.record().map(|record| (place, record))) {
            let noted = record.digest();
            let source = Source::Kept(place, record);
            return match noted {
                Some(digest) => Ok(Self::later(source, digest)),
                None => source.first_read().map(|key| Self::known(source, key)),
            };
        }
        if let Some(name) = &args.key_name {
            return Err(Failure::new(
                FailureKind::NoKey,
                format!("no key is kept under the name {name}"),
                base.as_str(),
                format!("keep one with: kubectl keyplane login --key-name {name} --server {}", base.as_str()),
            ));
        }
        let text = match &args.key_command {
            Some(text) => text.clone(),
            None => environment::text(KEY_COMMAND_VARIABLE)?.ok_or_else(|| none(base))?,
        };
        let command = KeyCommand::parse(&text, args.command_limit(), base, cache)?;
        let source = Source::Command(command.clone());
        Ok(match first(&source, &command)? {
            FirstRun::Noted(digest) => Self::later(source, digest),
            FirstRun::Key(key) => Self::known(source, key),
        })
    }

    fn known(source: Source, key: PlaintextKey) -> Self {
        Self { source, first_digest: key.digest(), key: OnceLock::from(key) }
    }

    /// A key that is read when it is needed.
    fn later(source: Source, first_digest: KeyDigest) -> Self {
        Self { source, first_digest, key: OnceLock::new() }
    }

    /// Where it was found.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// What to tell who gave a key command when the key comes from elsewhere: it may be another identity's.
    #[must_use]
    pub fn instead_of_the_command_in(&self, given: &KeyArgs) -> Option<String> {
        let is_passed_over = given.key_command.is_some() && !matches!(self.source, Source::Command(_));
        is_passed_over.then(|| {
            format!("warning: --key-command is not used, for it comes last: the key is from {}", self.source)
        })
    }

    /// The key's digest: what the cache knows it by.
    ///
    /// Before [`read`](Self::read) it may be that of the key which the source gave the last time; after it, it is the true
    /// one. What is written for a key that was read belongs to the digest after.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        self.key.get().map_or(self.first_digest, PlaintextKey::digest)
    }

    /// The key itself.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend.
    pub fn read(&self) -> Result<&PlaintextKey, Failure> {
        self.read_within(Duration::MAX)
    }

    /// The key itself, which may take this long and no longer than its source may.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend.
    pub fn read_within(&self, limit: Duration) -> Result<&PlaintextKey, Failure> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = self.source.read(Some(self.first_digest), limit)?;
        Ok(self.key.get_or_init(|| key))
    }

    /// Whether the key has been read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.key.get().is_some()
    }

    /// The digest as it is known now: of the key that was read, else of the one that a command gave last, to whichever
    /// start.
    #[must_use]
    pub fn latest_digest(&self) -> KeyDigest {
        let noted = || match &self.source {
            Source::Command(command) => command.noted_digest(),
            _ => None,
        };
        self.key.get().map(PlaintextKey::digest).or_else(noted).unwrap_or(self.first_digest)
    }
}

/// The source has another key than it had before. Whoever asked for the old one's token begins again with the new one.
#[must_use]
pub fn is_another() -> Failure {
    Failure::new(
        FailureKind::NoKey,
        "the key has changed since it was last read",
        "",
        "run the command again",
    )
}

fn none(base: &BaseUrl) -> Failure {
    let server = base.as_str();
    let login = format!("kubectl keyplane login --server {server}, or give --key-file FILE of mode 0600");
    let (kept, remedy) = match KeptKey::names(base).join(", ") {
        names if names.is_empty() => (String::new(), format!("run {login}")),
        names => (format!("; kept under names: {names}"), format!("give --key-name NAME, or run {login}")),
    };
    Failure::new(
        FailureKind::NoKey,
        "there is no API key",
        format!(
            "neither --key-file nor {KEY_VARIABLE} nor --key-command is given, and none is kept for {server}{kept}"
        ),
        remedy,
    )
}
