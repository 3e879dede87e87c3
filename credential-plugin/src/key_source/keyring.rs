//! The operating system's keyring: Keychain, Credential Manager, or a Secret Service.
//!
//! It may ask a person to unlock it, and a hung one must not hang kubectl: each question has a time limit.

use std::fmt;
use std::time::Duration;

use keyplane_core::key_format::PlaintextKey;
use zeroize::Zeroizing;

/// What kubectl-keyplane's entries are filed under.
#[cfg(any(feature = "keyring", target_os = "macos", windows))]
const SERVICE: &str = "kubectl-keyplane";

/// Why the keyring did not do what it was asked, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringError {
    /// There is no such entry.
    NoEntry,
    /// This program was built without it, it does not run, it is locked, or it took too long.
    Unusable(String),
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry => f.write_str("it has no such entry"),
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

/// Puts the key into the keyring, in the place of what the entry of this name held.
///
/// # Errors
/// [`KeyringError::Unusable`].
pub fn set(entry: &str, key: &PlaintextKey) -> Result<(), KeyringError> {
    platform::set(entry, Zeroizing::new(key.expose().to_owned()))
}

/// The text that the entry of this name holds. The question takes at most `limit`, and no longer than any may.
///
/// # Errors
/// Either kind.
pub fn get(entry: &str, limit: Duration) -> Result<Zeroizing<String>, KeyringError> {
    platform::get(entry, limit)
}

/// Removes the entry of this name.
///
/// # Errors
/// Either kind.
pub fn delete(entry: &str) -> Result<(), KeyringError> {
    platform::delete(entry)
}

#[cfg(any(feature = "keyring", target_os = "macos", windows))]
mod platform {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use keyring::{Entry, Error};
    use zeroize::Zeroizing;

    use super::{KeyringError, SERVICE};

    /// How long a question may take: a person may have to type a password to unlock the keyring.
    const LIMIT: Duration = Duration::from_mins(1);

    pub(super) fn set(entry: &str, key: Zeroizing<String>) -> Result<(), KeyringError> {
        ask(entry, LIMIT, move |entry| entry.set_password(&key))
    }

    pub(super) fn get(entry: &str, limit: Duration) -> Result<Zeroizing<String>, KeyringError> {
        ask(entry, limit.min(LIMIT), |entry| entry.get_password().map(Zeroizing::new))
    }

    pub(super) fn delete(entry: &str) -> Result<(), KeyringError> {
        ask(entry, LIMIT, Entry::delete_credential)
    }

    fn ask<T: Send + 'static>(
        entry: &str,
        limit: Duration,
        question: impl FnOnce(&Entry) -> keyring::Result<T> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let (sender, receiver) = mpsc::channel();
        let entry = entry.to_owned();
        // It is left behind when the keyring does not answer: the process ends soon after.
        thread::spawn(move || {
            let answer = match Entry::store_status() {
                Ok(()) => Entry::new(SERVICE, &entry).and_then(|entry| question(&entry)).map_err(told),
                Err(error) => Err(unusable(error)),
            };
            let _ = sender.send(answer);
        });
        receiver.recv_timeout(limit).unwrap_or_else(|_| {
            Err(KeyringError::Unusable(format!("it did not answer within {} s", limit.as_secs())))
        })
    }

    fn told(error: Error) -> KeyringError {
        match error {
            Error::NoEntry => KeyringError::NoEntry,
            error => unusable(&error),
        }
    }

    fn unusable(error: &Error) -> KeyringError {
        KeyringError::Unusable(match error {
            // Their own words hold bytes of the secret.
            Error::BadEncoding(_) | Error::BadDataFormat(..) => "its entry is not text".to_owned(),
            error => error.to_string(),
        })
    }
}

#[cfg(not(any(feature = "keyring", target_os = "macos", windows)))]
mod platform {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::KeyringError;

    fn not_built<T>() -> Result<T, KeyringError> {
        Err(KeyringError::Unusable("this kubectl-keyplane is built without one".to_owned()))
    }

    pub(super) fn set(_: &str, _: Zeroizing<String>) -> Result<(), KeyringError> {
        not_built()
    }

    pub(super) fn get(_: &str, _: Duration) -> Result<Zeroizing<String>, KeyringError> {
        not_built()
    }

    pub(super) fn delete(_: &str) -> Result<(), KeyringError> {
        not_built()
    }
}
