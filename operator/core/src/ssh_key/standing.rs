//! Which SSH keys stand: duplicates and limits are decided by seniority alone, so that every replica, at any
//! time and in any order of events, finds the same winners.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use keyplane_crds::SshKey;

use crate::seniority::Seniority;
use crate::ssh_public_key::{SshKeyType, SshPublicKey, SshPublicKeyError};

/// What the rules need of a public key. Reading one takes curve arithmetic; a copy of this costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    key_type: SshKeyType,
    fingerprint: Arc<str>,
    warning: Option<&'static str>,
}

impl KeySummary {
    /// Reads `spec.publicKey`.
    ///
    /// # Errors
    /// Why the text is no key that can be registered.
    pub fn read(text: &str) -> Result<Self, SshPublicKeyError> {
        SshPublicKey::parse(text).map(|key| Self {
            key_type: key.key_type(),
            fingerprint: key.fingerprint().into(),
            warning: key.warning(),
        })
    }

    /// The key's type.
    #[must_use]
    pub fn key_type(&self) -> SshKeyType {
        self.key_type
    }

    /// `SHA256:` and the unpadded base64 digest of the canonical blob, as `ssh-keygen -l` prints it. Two keys are
    /// the same key when these are equal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What the user should know of a key that is accepted nevertheless.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        self.warning
    }
}

/// What matters about a registered key.
#[derive(Clone, Debug)]
pub struct SshKeyFacts {
    /// Its place among its rivals.
    pub seniority: Seniority,
    /// Its home namespace.
    pub home: String,
    /// The key, or why it is none.
    pub key: Result<KeySummary, SshPublicKeyError>,
    /// Whether it asks to be the default.
    pub asks_for_default: bool,
    /// Whether it is being deleted, and so no rival any more.
    pub is_deleting: bool,
}

impl SshKeyFacts {
    /// The facts of an `SshKey` whose `spec.publicKey` was read as `key`. Who asks often keeps what was read: the
    /// text never changes while the object lives.
    #[must_use]
    pub fn of(ssh_key: &SshKey, key: Result<KeySummary, SshPublicKeyError>) -> Self {
        Self {
            seniority: Seniority::of(&ssh_key.metadata),
            home: ssh_key.metadata.namespace.clone().unwrap_or_default(),
            key,
            asks_for_default: ssh_key.spec.default == Some(true),
            is_deleting: ssh_key.metadata.deletion_timestamp.is_some(),
        }
    }

    fn fingerprint(&self) -> Option<&str> {
        self.key.as_ref().ok().map(KeySummary::fingerprint)
    }
}

/// Whether a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is registered.
    Registered {
        /// Whether it is the account's default.
        default: bool,
    },
    /// An older `SshKey` holds the same public key.
    Duplicate,
    /// The account's limit is used up by older keys.
    LimitReached,
    /// It is no key that Keyplane registers.
    Invalid,
}

/// Decides about all live keys of the account whose home namespace is `home`, by UID. `keys` are the account's, in
/// any order, and every key in the cluster that shares a fingerprint with one of them; more change nothing. `limit`
/// is how many of the account's may stand.
///
/// One pass over the keys in order of age: an account with many keys costs what it has, not the square of it.
#[must_use]
pub fn verdicts<'a>(
    home: &str,
    keys: impl IntoIterator<Item = &'a SshKeyFacts>,
    limit: u32,
) -> BTreeMap<String, Verdict> {
    let mut live: Vec<&SshKeyFacts> = keys.into_iter().filter(|facts| !facts.is_deleting).collect();
    live.sort_by(|left, right| left.seniority.cmp(&right.seniority));
    live.dedup_by(|left, right| left.seniority == right.seniority);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut held = HashSet::new();
    let mut standing: Vec<&SshKeyFacts> = Vec::new();
    let mut verdicts = BTreeMap::new();
    for facts in live {
        // The oldest anywhere in the cluster holds a public key, whether its own account's limit lets it stand or not.
        let is_oldest = facts.fingerprint().map(|fingerprint| held.insert(fingerprint));
        if facts.home != home {
            continue;
        }
        // A duplicate or unreadable key takes nobody's place.
        let verdict = match is_oldest {
            None => Verdict::Invalid,
            Some(false) => Verdict::Duplicate,
            Some(true) if standing.len() >= limit => Verdict::LimitReached,
            Some(true) => {
                standing.push(facts);
                Verdict::Registered { default: false }
            }
        };
        verdicts.insert(facts.seniority.uid().to_owned(), verdict);
    }
    if let Some(default) = standing.iter().find(|facts| facts.asks_for_default).or_else(|| standing.first()) {
        verdicts.insert(default.seniority.uid().to_owned(), Verdict::Registered { default: true });
    }
    verdicts
}
