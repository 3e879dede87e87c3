//! Where the API key comes from: a private file, or the environment. Never an argument, which every user of the
//! machine can read.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::private_file;

/// The environment variable that holds the key. A kubeconfig's `exec.env` arrives in it too.
pub const KEY_VARIABLE: &str = "KEYPLANE_API_KEY";

/// Bytes of a key file: far above any key, far below a mistake.
const KEY_FILE_MAX: u64 = 4096;

/// Which key.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyArgs {
    /// File with the API key alone, readable by nobody but you
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// A key that was found. Some sources cost time, or a question to a person: they are read when the key is needed, not when
/// its digest is.
#[derive(Debug)]
pub struct FoundKey {
    key: PlaintextKey,
}

impl FoundKey {
    /// Finds the key that the arguments or the environment name.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend.
    pub fn find(args: &KeyArgs) -> Result<Self, Failure> {
        Ok(Self { key: read(args.key_file.as_deref(), env::var_os(KEY_VARIABLE))? })
    }

    /// The key's digest: what the cache knows it by.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        self.key.digest()
    }

    /// The key itself.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend.
    pub fn read(&self) -> Result<&PlaintextKey, Failure> {
        Ok(&self.key)
    }
}

/// Reads the key from `key_file` when given, else from `variable`, the value of [`KEY_VARIABLE`].
///
/// Its shape and checksum are checked: a typing error is told before any network.
///
/// # Errors
/// [`FailureKind::NoKey`], with what to mend.
pub fn read(key_file: Option<&Path>, variable: Option<OsString>) -> Result<PlaintextKey, Failure> {
    if let Some(path) = key_file {
        return read_file(path);
    }
    let Some(value) = variable.filter(|value| !value.is_empty()) else {
        return Err(Failure::new(
            FailureKind::NoKey,
            "there is no API key",
            format!("neither --key-file nor {KEY_VARIABLE} is given"),
            format!("put the key into a file of mode 0600 and give --key-file FILE, or set {KEY_VARIABLE}"),
        ));
    };
    let value = value.into_string().map(Zeroizing::new).map_err(|_| {
        Failure::new(FailureKind::NoKey, "the API key is not text", KEY_VARIABLE, "copy the whole key again")
    })?;
    check(&value, KEY_VARIABLE)
}

/// Reads the key from a file of one line that nobody but its owner can read, as ssh asks of its keys.
///
/// # Errors
/// [`FailureKind::NoKey`], with what to mend.
pub fn read_file(path: &Path) -> Result<PlaintextKey, Failure> {
    let place = path.display().to_string();
    let unreadable = |error: io::Error| {
        Failure::new(
            FailureKind::NoKey,
            format!("the key file cannot be read: {error}"),
            &place,
            "give a file that holds the API key alone, readable by you",
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Failure::new(
            FailureKind::NoKey,
            "the key file is a folder",
            &place,
            "give the file in it that holds the key",
        ));
    }
    if private_file::is_open_to_others(&metadata) {
        return Err(Failure::new(
            FailureKind::NoKey,
            "the key file is open to other users",
            &place,
            format!("run: chmod 600 {place}"),
        ));
    }
    let bytes = private_file::read_bounded(file, KEY_FILE_MAX).map_err(unreadable)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not text")))?;
    if text.trim().is_empty() {
        return Err(Failure::new(
            FailureKind::NoKey,
            "the key file is empty",
            &place,
            "put the whole key into it, or give the file that holds it",
        ));
    }
    let line = text.strip_suffix('\n').unwrap_or(text);
    check(line.strip_suffix('\r').unwrap_or(line), &place)
}

fn check(text: &str, place: &str) -> Result<PlaintextKey, Failure> {
    PlaintextKey::parse(text).map_err(|error| {
        // The error's own text says what is wrong and what to do, parted by a semicolon.
        let message = error.to_string();
        let (what, remedy) = message.split_once("; ").unwrap_or((&message, "copy the whole key again"));
        Failure::new(FailureKind::NoKey, what, place, remedy)
    })
}
