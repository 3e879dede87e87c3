//! The key that was found, of all sources: which one it is, and the key itself once it is needed.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use keyplane_core::key_format::{KeyDigest, PlaintextKey};

use crate::environment;
use crate::environment::{KEY_COMMAND_VARIABLE, KEY_VARIABLE};
use crate::exchange::address::BaseUrl;
use crate::failure::{Failure, FailureKind};
use crate::key_source::{KeptKey, KeyArgs, KeyCommand, Source, read_file, read_variable};
use crate::verbose;

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
    /// [`FailureKind::NoKey`], with what to mend; [`FailureKind::Usage`] for a key command that is none, and for a
    /// relative path where the folder is any.
    pub fn find(args: &KeyArgs, base: &BaseUrl, cache: Option<&Path>) -> Result<Self, Failure> {
        Self::find_where(args, base, cache, |command| command.first_read().map(FirstRun::Key))
    }

    /// As [`find`](Self::find), for a client's start, of which there may be many at once. A command whose key nobody has
    /// noted is run by `first_run`, in which another start may be first.
    ///
    /// # Errors
    /// As [`find`](Self::find), and what `first_run` fails with.
    pub fn find_for_client(
        args: &KeyArgs,
        base: &BaseUrl,
        cache: Option<&Path>,
        first_run: impl FnOnce(&KeyCommand) -> Result<FirstRun, Failure>,
    ) -> Result<Self, Failure> {
        let found = Self::find_where(args, base, cache, first_run)?;
        if let Some(warning) = found.instead_of_the_command_in(args) {
            verbose::note(warning);
        }
        Ok(found)
    }

    fn find_where(
        args: &KeyArgs,
        base: &BaseUrl,
        cache: Option<&Path>,
        first_run: impl FnOnce(&KeyCommand) -> Result<FirstRun, Failure>,
    ) -> Result<Self, Failure> {
        if let Some(path) = &args.key_file {
            if args.in_any_folder && !path.is_absolute() {
                return Err(Failure::new(
                    FailureKind::Usage,
                    "the key file's path is relative: kubectl would read another one in each folder",
                    path.display().to_string(),
                    "give its whole path to --key-file",
                ));
            }
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
                None => source.read(None, Duration::MAX).map(|key| Self::known(source, key)),
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
        if args.in_any_folder {
            command.refuse_relative_program()?;
        }
        let run = match command.noted_digest() {
            Some(digest) => FirstRun::Noted(digest),
            None => first_run(&command)?,
        };
        let source = Source::Command(command);
        Ok(match run {
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
