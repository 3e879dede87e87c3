//! What a change of a status is worth writing: the events of the controller.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_crds::{ApiKey, ApiKeyState, ApiKeyStatus, Condition, ConditionStatus, READY};

use super::code::{Code, Field};
use super::event::{AuditEvent, EventId, GenerationChange, Source};
use super::subject::{Subject, spec_actor};
use crate::readiness::{Outlook, Readiness, Reason, ResourceKind};

/// Something that changed about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub code: Code,
    /// What tells it apart from other changes of this code to the same resource.
    pub state: String,
    /// Why, as one word.
    pub reason: Option<String>,
    /// Why, for a person.
    pub message: Option<String>,
    /// Which version of a key.
    pub version: Option<u32>,
    /// The generations of a changed `spec`.
    pub generation: Option<GenerationChange>,
    /// The address that caused it.
    pub address: Option<IpAddr>,
}

impl Change {
    fn new(code: Code, state: String) -> Self {
        Self { code, state, reason: None, message: None, version: None, generation: None, address: None }
    }

    /// An ApiKey was deleted and nothing is left of it.
    #[must_use]
    pub fn deleted() -> Self {
        Self::new(Code::KeyDeleted, String::new())
    }

    /// A version of a key that verifies cannot be replaced as is asked, for want of a place to deliver the next to.
    #[must_use]
    pub fn rotation_failed(readiness: &Readiness, metadata: &ObjectMeta) -> Self {
        let state = format!("{}-{}", metadata.generation.unwrap_or_default(), readiness.reason.as_str());
        Self {
            reason: Some(readiness.reason.as_str().to_owned()),
            message: Some(readiness.message.clone()),
            ..Self::new(Code::KeyIssueFailed, state)
        }
    }

    /// The digest of a version of a key is remembered for ever.
    #[must_use]
    pub fn digest_remembered(digest: &str, version: Option<u32>) -> Self {
        Self { version, ..Self::new(Code::DigestRemembered, digest.to_owned()) }
    }

    /// The event that tells of it. Who asked is read from the object, where somebody asks for such a thing.
    #[must_use]
    pub fn event(
        &self,
        kind: ResourceKind,
        metadata: &ObjectMeta,
        source: Source,
        now: DateTime<Utc>,
    ) -> AuditEvent {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let actor = self.code.fields().contains(&Field::Actor).then(|| spec_actor(metadata)).flatten();
        AuditEvent::new(self.code, source, EventId::of_change(uid, self.code, &self.state), now)
            .about(Some(Subject::new(kind, metadata)))
            .because(self.reason.as_deref(), self.message.as_deref())
            .by(actor)
            .caused_from(self.address)
            .with_version(self.version)
            .with_generation(self.generation)
    }
}

/// What changes when an ApiKey's status becomes another. Both are whole: what the API wrote into the stored one stands in
/// the new one too, unless the controller takes it away.
#[must_use]
pub fn events_of(before: Option<&ApiKeyStatus>, after: &ApiKeyStatus, key: &ApiKey) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.is_none() {
        changes.push(Change::new(Code::KeyDeclared, String::new()));
    }
    changes.extend(spec_change(before, after));
    changes.extend(version_changes(before, after, key));
    changes.extend(lock_changes(before, after));
    let ready = ready_condition(&after.conditions);
    let reached = |state| before.and_then(|status| status.state) != Some(state) && after.state == Some(state);
    for (state, code) in [(ApiKeyState::Expired, Code::KeyExpired), (ApiKeyState::Revoked, Code::KeyRevoked)]
    {
        if reached(state) {
            changes.push(told(Change::new(code, String::new()), ready));
        }
    }
    // That a key is locked or ended has an event of its own.
    let is_told =
        matches!(after.state, Some(ApiKeyState::Locked | ApiKeyState::Expired | ApiKeyState::Revoked));
    let conditions = before.map_or(&[][..], |status| &status.conditions);
    if !is_told {
        changes.extend(readiness_event(ResourceKind::ApiKey, conditions, &after.conditions, &key.metadata));
    }
    changes
}

fn spec_change(before: Option<&ApiKeyStatus>, after: &ApiKeyStatus) -> Option<Change> {
    let (from, to) = (before?.observed_generation?, after.observed_generation?);
    (from < to).then(|| Change {
        generation: Some(GenerationChange { from, to }),
        ..Change::new(Code::KeyChanged, format!("{from}-{to}"))
    })
}

/// A new version was delivered, where Keyplane makes the key, and replaced another, where there was one.
fn version_changes(before: Option<&ApiKeyStatus>, after: &ApiKeyStatus, key: &ApiKey) -> Vec<Change> {
    let number = |status: &ApiKeyStatus| status.version.as_ref().map(|version| version.number);
    let (was, Some(is)) = (before.and_then(number), number(after)) else { return Vec::new() };
    if was.is_some_and(|was| is <= was) {
        return Vec::new();
    }
    let issued = key.spec.delivery.as_ref().map(|_| Code::KeyIssued);
    let rotated = was.map(|_| Code::KeyRotated);
    issued
        .into_iter()
        .chain(rotated)
        .map(|code| Change { version: Some(is), ..Change::new(code, is.to_string()) })
        .collect()
}

fn lock_changes(before: Option<&ApiKeyStatus>, after: &ApiKeyStatus) -> Vec<Change> {
    let since = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let mut changes = Vec::new();
    let lifted = before.and_then(|status| status.lock.as_ref()).filter(|_| after.lock.is_none());
    let has_ended = matches!(after.state, Some(ApiKeyState::Expired | ApiKeyState::Revoked));
    if let Some(lock) = lifted.filter(|_| !has_ended) {
        changes.push(Change::new(Code::KeyUnlocked, since(lock.locked_at)));
    }
    // The lock itself is the API's to write, and stands in both; the state is the controller's answer to it.
    let was_locked = before.and_then(|status| status.state) == Some(ApiKeyState::Locked);
    if let Some(lock) =
        after.lock.as_ref().filter(|_| after.state == Some(ApiKeyState::Locked) && !was_locked)
    {
        let message = ready_condition(&after.conditions).map(|condition| condition.message.clone());
        changes.push(Change {
            reason: Some(lock.reason.clone()),
            message,
            address: lock.address.parse().ok(),
            ..Change::new(Code::KeyLocked, since(lock.locked_at))
        });
    }
    changes
}

/// What to write when a resource becomes Ready, ceases to be, or is not for another reason than before. That something
/// new is still being set up is not worth a line.
#[must_use]
pub fn readiness_event(
    kind: ResourceKind,
    before: &[Condition],
    after: &[Condition],
    metadata: &ObjectMeta,
) -> Option<Change> {
    let after = ready_condition(after)?;
    let before = ready_condition(before);
    let was_ready = before.is_some_and(|condition| condition.status == ConditionStatus::True);
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == after.reason);
    let code = if after.status == ConditionStatus::True {
        if was_ready {
            return None;
        }
        ready_code(kind)
    } else {
        let is_another = before.is_none_or(|condition| condition.reason != after.reason);
        let passes = reason.is_some_and(|reason| reason.outlook() == Outlook::Passes);
        if !was_ready && (passes || !is_another) {
            return None;
        }
        not_ready_code(kind, reason)
    };
    // The version that the status answers: the same for the same change, another for each later one.
    let state = metadata.resource_version.clone().unwrap_or_default();
    Some(told(Change::new(code, state), Some(after)))
}

fn ready_code(kind: ResourceKind) -> Code {
    match kind {
        ResourceKind::Account => Code::AccountReady,
        ResourceKind::Namespace => Code::NamespaceReady,
        ResourceKind::ApiKey => Code::KeyReady,
        ResourceKind::SshKey => Code::SshKeyRegistered,
    }
}

fn not_ready_code(kind: ResourceKind, reason: Option<Reason>) -> Code {
    match (kind, reason) {
        (ResourceKind::Account, _) => Code::AccountNotReady,
        (ResourceKind::Namespace, _) => Code::NamespaceNotReady,
        (ResourceKind::SshKey, _) => Code::SshKeyRefused,
        (
            ResourceKind::ApiKey,
            Some(Reason::DeliveryConflict | Reason::RecipientNotReady | Reason::RecipientUnsupported),
        ) => Code::KeyIssueFailed,
        (ResourceKind::ApiKey, _) => Code::KeyNotReady,
    }
}

/// The change with what a condition says of it.
fn told(change: Change, condition: Option<&Condition>) -> Change {
    Change {
        reason: condition.map(|condition| condition.reason.clone()),
        message: condition.map(|condition| condition.message.clone()),
        ..change
    }
}

fn ready_condition(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == READY)
}
