//! Where the API key comes from. Never an argument, which every user of the machine can read.
//!
//! In this order: `--key-file`, or the name of a kept key; the variable `KEYPLANE_API_KEY`; the key that `login` kept for
//! the exchange; the key command. What a person asks for by name comes before what only lies about.

mod command;
mod config_folder;
mod found;
mod kept;
mod key_text;
mod keyring;
pub mod shared_run;
mod surroundings;
pub mod words;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use serde::Serialize;

pub use self::command::KeyCommand;
pub use self::config_folder::NONE_IS_NAMED;
pub use self::found::{FirstRun, FoundKey, is_another};
pub use self::kept::{Forgotten, Kept, KeptKey, Record, Store, StoreChoice};
pub use self::key_text::read_file;
pub(crate) use self::key_text::{read_input, read_variable};
use crate::argument_values::key_command_timeout;
use crate::environment;
pub use crate::environment::KEY_VARIABLE;
use crate::failure::Failure;

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
    /// Command whose first line of output is the key, where no other source has one; one text must always mean one
    /// identity [default: `KEYPLANE_KEY_COMMAND`]
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["key_file", "key_name"])]
    pub key_command: Option<String>,
    /// How long the key command may take, 1s to 10m; a number alone is seconds [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = key_command_timeout)]
    pub key_command_timeout: Option<u64>,
    /// Whether a client may start this in whatever folder: then no path may depend on it.
    #[arg(skip)]
    pub in_any_folder: bool,
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
            Self::Command(command) => command.read(noted, limit),
        }
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
