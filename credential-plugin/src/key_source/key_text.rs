//! A key as text from a file, a variable, a terminal or a command: its shape and checksum are checked at once, so that a
//! typing error is told before any network.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use keyplane_core::key_format::PlaintextKey;
use zeroize::Zeroizing;

use crate::environment::KEY_VARIABLE;
use crate::failure::{Failure, FailureKind};
use crate::private_file;

/// Bytes of a text that holds a key: far above any key, far below a mistake.
const KEY_TEXT_MAX: u64 = 4096;

/// Reads the value of [`KEY_VARIABLE`].
///
/// # Errors
/// [`FailureKind::NoKey`], with what to mend.
pub(crate) fn read_variable(value: OsString) -> Result<PlaintextKey, Failure> {
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
    // Before it is opened: Windows opens no folder.
    if path.is_dir() {
        return Err(Failure::new(
            FailureKind::NoKey,
            "the key file is a folder",
            &place,
            "give the file in it that holds the key",
        ));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if private_file::is_open_to_others(&metadata) {
        return Err(Failure::new(
            FailureKind::NoKey,
            "the key file is open to other users",
            &place,
            format!("run: chmod 600 {place}"),
        ));
    }
    let bytes = private_file::read_bounded(file, KEY_TEXT_MAX).map_err(unreadable)?;
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
    let line = only_line(text, "the key file").map_err(|what| {
        Failure::new(
            FailureKind::NoKey,
            what,
            &place,
            "give a file that holds the API key alone, on one line",
        )
    })?;
    check(line, &place)
}

/// Reads the key from an input of one line, such as a pipe.
///
/// # Errors
/// [`FailureKind::NoKey`], with what to mend.
pub(crate) fn read_input(input: impl Read, place: &str) -> Result<PlaintextKey, Failure> {
    let wrong = |what: String| {
        Failure::new(FailureKind::NoKey, what, place, "give the whole key, and nothing else, on one line")
    };
    // With room for all of it: a vector that grows leaves copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(KEY_TEXT_MAX).unwrap_or_default()));
    input
        .take(KEY_TEXT_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(format!("the key cannot be read: {error}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("the key is not text".to_owned()))?;
    if text.trim().is_empty() {
        return Err(wrong("no key was given".to_owned()));
    }
    check(only_line(text, "the input").map_err(wrong)?, place)
}

/// The only line of the text, without its end and blank lines after it; else what is wrong with its `holder`. Nothing of
/// the text is repeated.
fn only_line<'a>(text: &'a str, holder: &str) -> Result<&'a str, String> {
    let line = text.trim_end_matches([' ', '\t', '\r', '\n']);
    // RFC 7468; OpenSSH writes its private keys so too.
    let label = line.trim_start().strip_prefix("-----BEGIN ").and_then(|rest| rest.split("-----").next());
    match label {
        Some(label) if label.ends_with("PRIVATE KEY") => {
            Err(format!("{holder} holds a private key of SSH or TLS, which is not an API key"))
        }
        Some(_) => Err(format!("{holder} holds PEM, such as a certificate, which is not an API key")),
        None if line.contains(['\r', '\n']) => Err(format!("{holder} holds more than one line")),
        None => Ok(line),
    }
}

/// Takes a text, which came from `place`, as a key.
///
/// # Errors
/// [`FailureKind::NoKey`], with what to mend; the text is not repeated.
pub(crate) fn check(text: &str, place: &str) -> Result<PlaintextKey, Failure> {
    PlaintextKey::parse(text).map_err(|error| {
        // The error's own text says what is wrong and what to do, parted by a semicolon.
        let message = error.to_string();
        let (what, remedy) = message.split_once("; ").unwrap_or((&message, "copy the whole key again"));
        Failure::new(FailureKind::NoKey, what, place, remedy)
    })
}
