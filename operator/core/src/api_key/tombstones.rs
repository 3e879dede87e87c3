//! What is remembered of revoked keys: their digests, for good, so that a manifest that is applied again, or a backup
//! of the home namespace, revives none.
//!
//! A digest is an entry of a ConfigMap `revoked-<account>-<n>` in `keyplane-identities`. Each account fills its own, so
//! that nobody can use up another's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_crds::IDENTITIES_NAMESPACE;

use crate::key_format::KeyDigest;
use crate::ownership::{ACCOUNT_LABEL, MANAGED_BY, MANAGED_BY_LABEL};

/// Begins the name of every ConfigMap of tombstones.
const NAME_PREFIX: &str = "revoked-";

/// How many digests one ConfigMap takes. Each entry that is added writes the whole ConfigMap anew, so that few make it
/// cheap: some 40 kB.
pub const SHARD_LIMIT: usize = 250;

/// A digest to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The ConfigMap that it goes to.
    pub shard: String,
    /// The account whose key it was.
    pub account: String,
    /// `sha256:` and the digest.
    pub digest: String,
    /// Which version of the key it was, where it was recorded.
    pub version: Option<u32>,
    /// Whose it was and when, for people.
    pub note: String,
}

impl Tombstone {
    /// The entry's name: the digest's 64 hexadecimal digits.
    #[must_use]
    pub fn entry(&self) -> &str {
        digits(&self.digest)
    }

    /// The ConfigMap that holds this tombstone alone, for when there is none yet.
    #[must_use]
    pub fn first_of_shard(&self) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.shard.clone()),
                namespace: Some(IDENTITIES_NAMESPACE.to_owned()),
                labels: Some(BTreeMap::from([
                    (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
                    (ACCOUNT_LABEL.to_owned(), self.account.clone()),
                ])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(self.entry().to_owned(), self.note.clone())])),
            ..ConfigMap::default()
        }
    }
}

/// The name of an account's `n`th ConfigMap of tombstones.
#[must_use]
pub fn shard_name(account: &str, n: usize) -> String {
    format!("{NAME_PREFIX}{account}-{n}")
}

/// Whether a ConfigMap holds tombstones.
#[must_use]
pub fn is_shard(shard: &ConfigMap) -> bool {
    shard.metadata.name.as_deref().is_some_and(|name| name.starts_with(NAME_PREFIX))
}

/// The digests that a ConfigMap remembers, in the form `sha256:…`. What is no digest is not.
pub fn digests_of(shard: &ConfigMap) -> impl Iterator<Item = String> {
    let entries = shard.data.iter().flatten().map(|(entry, _)| format!("sha256:{entry}"));
    entries.filter(|digest| digest.parse::<KeyDigest>().is_ok())
}

fn digits(digest: &str) -> &str {
    digest.rsplit(':').next().unwrap_or_default()
}
