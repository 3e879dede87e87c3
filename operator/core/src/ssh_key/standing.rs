//! Which SSH keys stand: duplicates and limits are decided by seniority alone, so that every replica, at any
//! time and in any order of events, finds the same winners.

use keyplane_crds::SshKey;

use crate::seniority::Seniority;
use crate::ssh_public_key::{SshPublicKey, SshPublicKeyError};

/// What matters about a registered key, parsed once.
#[derive(Clone, Debug)]
pub struct SshKeyFacts {
    /// Its place among its rivals.
    pub seniority: Seniority,
    /// Its home namespace.
    pub home: String,
    /// The key, or why it is none.
    pub key: Result<SshPublicKey, SshPublicKeyError>,
    /// Whether it asks to be the default.
    pub asks_for_default: bool,
    /// Whether it is being deleted, and so no rival any more.
    pub is_deleting: bool,
}

impl SshKeyFacts {
    /// The facts of an `SshKey`.
    #[must_use]
    pub fn of(ssh_key: &SshKey) -> Self {
        Self {
            seniority: Seniority::of(&ssh_key.metadata),
            home: ssh_key.metadata.namespace.clone().unwrap_or_default(),
            key: SshPublicKey::parse(&ssh_key.spec.public_key),
            asks_for_default: ssh_key.spec.default == Some(true),
            is_deleting: ssh_key.metadata.deletion_timestamp.is_some(),
        }
    }

    fn fingerprint(&self) -> Option<&str> {
        self.key.as_ref().ok().map(SshPublicKey::fingerprint)
    }
}

/// Whether a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Decides about `own` among `rivals` (the account's other keys, and every key with the same fingerprint).
#[must_use]
pub fn verdict(own: &SshKeyFacts, rivals: &[SshKeyFacts], limit: u32) -> Verdict {
    let Some(fingerprint) = own.fingerprint() else { return Verdict::Invalid };
    let live: Vec<&SshKeyFacts> =
        rivals.iter().filter(|rival| !rival.is_deleting && rival.seniority != own.seniority).collect();
    let is_duplicate = |facts: &SshKeyFacts, fingerprint: &str| {
        live.iter()
            .copied()
            .chain([own])
            .any(|other| other.fingerprint() == Some(fingerprint) && other.seniority < facts.seniority)
    };
    if is_duplicate(own, fingerprint) {
        return Verdict::Duplicate;
    }
    // The account's keys that count, oldest first. A duplicate or unreadable key takes nobody's place.
    let mut counted: Vec<&SshKeyFacts> = live
        .iter()
        .copied()
        .filter(|rival| rival.home == own.home)
        .filter(|rival| rival.fingerprint().is_some_and(|fingerprint| !is_duplicate(rival, fingerprint)))
        .chain([own])
        .collect();
    counted.sort_by(|left, right| left.seniority.cmp(&right.seniority));
    counted.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if !counted.iter().any(|facts| facts.seniority == own.seniority) {
        return Verdict::LimitReached;
    }
    let default = counted.iter().find(|facts| facts.asks_for_default).or_else(|| counted.first());
    Verdict::Registered { default: default.is_some_and(|facts| facts.seniority == own.seniority) }
}
