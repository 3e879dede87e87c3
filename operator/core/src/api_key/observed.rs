//! What is known about an `ApiKey` when it is decided about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyplane_crds::{Account, ApiKey};

use super::claim::Claim;
use super::scope::OwnedNamespace;
use crate::child::Child;

/// What is known about an `ApiKey`.
#[derive(Clone, Debug)]
pub struct ObservedApiKey {
    /// The `ApiKey`.
    pub key: Arc<ApiKey>,
    /// The account whose home namespace it stands in, if it is one's.
    pub account: Option<Arc<Account>>,
    /// The account's namespaces.
    pub namespaces: Vec<OwnedNamespace>,
    /// The other keys' claims, anywhere in the cluster, on the digests that this key declares or has recorded.
    pub claims: BTreeMap<String, Vec<Claim>>,
    /// Which of those digests are remembered as revoked.
    pub remembered: BTreeSet<String>,
    /// The key's place among the account's live keys: 0 is the oldest.
    pub rank: u32,
    /// The ConfigMap that the account's next tombstone goes to.
    pub tombstone_shard: String,
    /// The SSH key that `delivery.sealedTo` names.
    pub recipient: RecipientKey,
    /// What was made for it.
    pub children: Vec<Child>,
}

/// The SSH key that a key is to be sealed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecipientKey {
    /// A registered one: its OpenSSH line.
    Registered(String),
    /// A registered one of a type that nothing can be sealed to.
    Unsupported(String),
    /// None, or one that is not registered.
    #[default]
    Absent,
}

impl ObservedApiKey {
    /// The others' claims on a digest.
    #[must_use]
    pub fn claims_on(&self, digest: &str) -> &[Claim] {
        self.claims.get(digest).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a digest is remembered as revoked.
    #[must_use]
    pub fn is_remembered(&self, digest: &str) -> bool {
        self.remembered.contains(digest)
    }
}
