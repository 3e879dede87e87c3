//! SSH keys as the surfaces tell of them: those that stand, in their canonical form.

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::seniority::{Seniority, timestamp};
use keyplane_core::ssh_public_key::SshPublicKey;
use keyplane_crds::{Condition, ConditionStatus, READY, SshKey};
use kube::ResourceExt;

use super::refusal::Refusal;
use crate::declared::Home;

/// An SSH key that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    /// Its id: `metadata.uid`.
    pub(crate) id: String,
    /// What people call it: `spec.displayName`, else the resource's name.
    pub(crate) name: String,
    /// Type and base64, without a comment.
    pub(crate) public_key: String,
    /// As `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
    /// Whether it is the account's default.
    pub(crate) is_default: bool,
    /// When it was made. Kubernetes keeps whole seconds.
    pub(crate) created: DateTime<Utc>,
    /// When somebody last wrote something into its `spec`.
    pub(crate) updated: DateTime<Utc>,
}

impl Registered {
    /// What is told of a key; none of one whose text is no public key.
    pub(crate) fn of(key: &SshKey) -> Option<Self> {
        let public_key = SshPublicKey::parse(&key.spec.public_key).ok()?;
        let created = Seniority::of(&key.metadata).created();
        Some(Self {
            id: key.uid().unwrap_or_default(),
            name: key.spec.display_name.clone().unwrap_or_else(|| key.name_any()),
            public_key: public_key.canonical(),
            fingerprint: public_key.fingerprint().to_owned(),
            is_default: key.status.as_ref().is_some_and(|status| status.default),
            created,
            updated: spec_written(&key.metadata).map_or(created, |written| written.max(created)),
        })
    }
}

/// The account's keys that are registered, the oldest first.
///
/// # Errors
/// When the API server does not say.
pub(crate) async fn registered(home: &Home) -> Result<Vec<SshKey>, Refusal> {
    Ok(home.list().await?.into_iter().filter(is_registered).collect())
}

/// What the controller says of a key.
pub(super) fn readiness(key: &SshKey) -> Option<&Condition> {
    key.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == READY)
}

/// Whether the controller says that a key stands.
pub(super) fn is_registered(key: &SshKey) -> bool {
    readiness(key).is_some_and(|ready| ready.status == ConditionStatus::True)
}

/// Whether the controller has said something of the key as it is now.
pub(super) fn is_decided(key: &SshKey) -> bool {
    let answered = key.status.as_ref().and_then(|status| status.observed_generation);
    answered == key.metadata.generation && readiness(key).is_some()
}

/// A time as both seeds show times: UTC with milliseconds, such as `2024-01-15T10:30:00.000Z`.
pub(crate) fn iso_milliseconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The newest time at which somebody wrote something into `spec`. A field that went leaves no trace.
fn spec_written(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some()))
        .filter_map(|entry| entry.time.as_ref().map(timestamp))
        .max()
}
