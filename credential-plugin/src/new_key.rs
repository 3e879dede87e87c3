//! A key that is made here: from the system's randomness, into a new private file or shown once.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use keyplane_core::key_format::{KeyType, PlaintextKey};

use crate::failure::{Failure, FailureKind};
use crate::private_file;
use crate::verbose;

/// A new key of an account.
///
/// # Errors
/// [`FailureKind::Local`] when the system gives no randomness.
pub fn make() -> Result<PlaintextKey, Failure> {
    let key = PlaintextKey::generate(&KeyType::account(), |buffer| {
        getrandom::fill(buffer).map_err(|error| {
            Failure::new(
                FailureKind::Local,
                format!("the system gives no randomness: {error}"),
                "",
                "run the command on a machine that does",
            )
        })
    })?;
    verbose::note(format_args!("made the key {} from the system's randomness", key.prefix()));
    Ok(key)
}

/// Where a new key goes before it is declared. A key that is declared and that nobody has could not be used, and would
/// stand in the place of one that could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover<'a> {
    /// Into a new file.
    File(&'a Path),
    /// Onto standard error, once.
    Shown,
}

impl<'a> Handover<'a> {
    /// What `--key-out` says.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for `-`, which elsewhere is standard output.
    pub fn of(key_out: Option<&'a Path>) -> Result<Self, Failure> {
        match key_out {
            Some(path) if path == Path::new("-") => Err(Failure::new(
                FailureKind::Usage,
                "a new key does not go to standard output",
                "--key-out -",
                "leave out --key-out, and the key is shown on standard error; or give it a file",
            )),
            Some(path) => Ok(Self::File(path)),
            None => Ok(Self::Shown),
        }
    }

    /// The key, in a sentence after it was handed over.
    #[must_use]
    pub fn whose(self) -> String {
        match self {
            Self::File(path) => format!("the new key in {}", path.display()),
            Self::Shown => "the new key above".to_owned(),
        }
    }

    /// The failure of a key that certainly is not declared. Its file is removed: it would be in the way of the next
    /// attempt.
    #[must_use]
    pub fn not_declared(self, failure: &Failure) -> Failure {
        let Self::File(path) = self else {
            return first(failure, "the new key above was not declared and is of no use: throw it away");
        };
        private_file::remove(path);
        if path.symlink_metadata().is_ok() {
            let whose = self.whose();
            return first(failure, &format!("{whose} was not declared and is of no use: remove the file"));
        }
        first(failure, &format!("the new key was not declared, and its file {} is removed", path.display()))
    }

    /// The failure of a key that may be declared; `look` is the command that shows the prefix of the key that is.
    #[must_use]
    pub fn in_doubt(self, failure: &Failure, key: &PlaintextKey, look: &str) -> Failure {
        let (whose, prefix) = (self.whose(), key.prefix());
        first(
            failure,
            &format!(
                "it is not known whether {whose} was declared: keep it, and see with {look}, which shows its prefix \
                 {prefix} only if it was"
            ),
        )
    }
}

/// The failure with something to do before the rest.
fn first(failure: &Failure, remedy: &str) -> Failure {
    let [what, place, rest] = failure.parts();
    Failure::new(failure.kind(), what, place, format!("{remedy}; {rest}"))
}

/// Writes the key into a new file of mode 0600, down to the disk.
///
/// # Errors
/// [`FailureKind::File`], also when the file is there: a key is never overwritten.
pub fn keep(key: &PlaintextKey, path: &Path) -> Result<(), Failure> {
    let failed = |error: &io::Error| {
        Failure::new(
            FailureKind::File,
            format!("the key's file cannot be made: {error}"),
            path.display().to_string(),
            "give --key-out a new file in a folder that is there and that you may write to",
        )
    };
    let mut file = private_file::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            FailureKind::File,
            "the key's file already exists",
            path.display().to_string(),
            "Keyplane never overwrites a key: give --key-out another file, or remove this one",
        ),
        _ => failed(&error),
    })?;
    write_key(&mut file, key).map_err(|error| {
        private_file::remove(path);
        failed(&error)
    })?;
    verbose::note(format_args!("wrote the key into the new file {}", path.display()));
    Ok(())
}

fn write_key(file: &mut File, key: &PlaintextKey) -> io::Result<()> {
    file.write_all(key.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Writes the lines and then the key, on a line of its own.
///
/// # Errors
/// [`FailureKind::Local`] when they cannot be written.
pub fn tell(terminal: &mut impl Write, lines: &[String], key: Option<&PlaintextKey>) -> Result<(), Failure> {
    lines
        .iter()
        .map(String::as_str)
        .chain(key.map(PlaintextKey::expose))
        .try_for_each(|line| {
            terminal.write_all(line.as_bytes())?;
            terminal.write_all(b"\n")
        })
        .and_then(|()| terminal.flush())
        .map_err(|error| Failure::output(&error))
}
