//! Making a key and handing it over: what is to be done, as data.

use chrono::{DateTime, Utc};
use keyplane_crds::ApiKey;

use super::record::{KeyRecord, Version};
use crate::key_format::{KeyDigest, KeyPrefix};
use crate::ownership::Owner;

/// Where a key is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The Secret of this name in the home namespace.
    Secret(String),
    /// The holder of this SSH public key (one OpenSSH line).
    SshPublicKey(String),
    /// The holder of an SSH key, the SshKey of this name, that is not registered any more. What was handed over already
    /// counts; nothing more can be.
    Gone(String),
}

/// A key to make and to hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Whose key it is.
    pub owner: Owner,
    /// The `ApiKey`'s namespace.
    pub home: String,
    /// The `ApiKey`'s name.
    pub name: String,
    /// The UID of the ServiceAccount that carries the record.
    pub identity_uid: String,
    /// The record that this was decided on.
    pub record: KeyRecord,
    /// How long the version before goes on verifying, in seconds.
    pub grace_seconds: u32,
    /// The `spec.rotation.requestedAt` that is answered.
    pub requested_at: Option<DateTime<Utc>>,
    /// To whom.
    pub recipient: Recipient,
    /// The core Namespaces that the key reaches, for its kubeconfig; none where its scope has no Kubernetes.
    pub namespaces: Option<Vec<String>>,
}

impl Issue {
    /// The version that a freshly made key becomes.
    #[must_use]
    pub fn version(&self, digest: &KeyDigest, prefix: &KeyPrefix, now: DateTime<Utc>) -> Version {
        Version {
            number: self.record.next_number(),
            digest: digest.to_string(),
            prefix: Some(prefix.to_string()),
            since: now,
            requested_at: self.requested_at,
        }
    }
}

/// The rotation that is asked for and whose time has come.
#[must_use]
pub fn due_request(key: &ApiKey, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    key.spec.rotation.as_ref().and_then(|rotation| rotation.requested_at).filter(|at| *at <= now)
}

/// Whether a key that Keyplane makes is to be made (again): there is none, or a later rotation is asked for than the
/// one that the live version answers.
#[must_use]
pub fn is_due(key: &ApiKey, record: &KeyRecord, now: DateTime<Utc>) -> bool {
    match &record.live {
        None => true,
        // What was begun is brought to its end, whatever is asked for meanwhile.
        Some(live) => {
            record.may_rotate() && (record.pending.is_some() || due_request(key, now) > live.requested_at)
        }
    }
}

/// How long a replaced version goes on verifying, in seconds.
#[must_use]
pub fn grace_seconds(key: &ApiKey) -> u32 {
    key.spec.rotation.as_ref().and_then(|rotation| rotation.grace_period_seconds).unwrap_or_default()
}
