//! The public keys of the SshKeys in memory, each read once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyplane_core::ssh_key::KeySummary;
use keyplane_core::ssh_public_key::SshPublicKeyError;
use keyplane_crds::SshKey;

/// What reading a `spec.publicKey` gave.
pub(crate) type Reading = Result<KeySummary, SshPublicKeyError>;

/// Readings by UID and text. Reading takes curve arithmetic, and every SshKey is asked about whenever another of its
/// account changes: without this, who has many keys would keep the controller busy with them.
pub(super) struct SshKeyReads {
    read: fn(&str) -> Reading,
    known: Mutex<HashMap<String, (Box<str>, Reading)>>,
}

impl SshKeyReads {
    /// Nothing read yet. `read` is [`KeySummary::read`], unless a test counts.
    pub(super) fn new(read: fn(&str) -> Reading) -> Self {
        Self { read, known: Mutex::default() }
    }

    /// Reads a key that is taken into memory, and keeps what it says until [`Self::forget`].
    pub(super) fn learn(&self, key: &SshKey) -> Reading {
        let uid = key.metadata.uid.as_deref().unwrap_or_default();
        self.recall(uid, &key.spec.public_key).unwrap_or_else(|| {
            let text = &key.spec.public_key;
            let reading = (self.read)(text);
            self.known().insert(uid.to_owned(), (text.as_str().into(), reading.clone()));
            reading
        })
    }

    /// What a key says. One that is not in memory any more is read again, and not kept.
    pub(super) fn of(&self, key: &SshKey) -> Reading {
        let uid = key.metadata.uid.as_deref().unwrap_or_default();
        self.recall(uid, &key.spec.public_key).unwrap_or_else(|| (self.read)(&key.spec.public_key))
    }

    /// Drops what the key with this UID said.
    pub(super) fn forget(&self, uid: &str) {
        self.known().remove(uid);
    }

    /// How many keys are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known().len()
    }

    fn recall(&self, uid: &str, text: &str) -> Option<Reading> {
        self.known().get(uid).filter(|(known, _)| &**known == text).map(|(_, reading)| reading.clone())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Box<str>, Reading)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
