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
