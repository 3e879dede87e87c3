//! What an `ApiKey`'s status says.

use chrono::{DateTime, Utc};
use keyplane_crds::{ApiKey, ApiKeyState, ApiKeyStatus, KEY_PREFIX_ANNOTATION, KeyVersion, READY};

use super::access::describe;
use super::issue::grace_seconds;
use super::lock::lock_of;
use super::observed::ObservedApiKey;
use super::plan::{is_left_by_an_attempt, is_ready};
use super::record::KeyRecord;
use super::revocation::revocation;
use super::unused;
use super::verdict::Verdict;
use crate::key_format::KeyPrefix;
use crate::plan::Convergence;
use crate::readiness::{Readiness, Reason, Status};

/// What a status is made of.
pub(super) struct Facts<'a> {
    pub(super) observed: &'a ObservedApiKey,
    pub(super) verdict: &'a Verdict,
    pub(super) record: Option<&'a KeyRecord>,
    pub(super) convergence: &'a Convergence,
    /// Whether everything that the key is to have is there.
    pub(super) is_settled: bool,
}

impl Facts<'_> {
    fn stored(&self) -> Option<&ApiKeyStatus> {
        self.observed.key.status.as_ref()
    }

    fn is_pending(&self) -> bool {
        self.verdict.readiness.ready && !self.is_settled
    }

    /// The state and the condition, as far as what was found allows them to be said.
    fn said(&self) -> (ApiKeyState, Readiness) {
        match self.convergence.conflict() {
            Some(conflict) if self.verdict.readiness.ready => (ApiKeyState::Pending, conflict),
            _ if self.is_pending() => (
                ApiKeyState::Pending,
                Readiness::not_ready(Reason::Provisioning, "the key's access is being set up"),
            ),
            _ => (self.verdict.state, self.verdict.readiness.clone()),
        }
    }
}

/// Whether the stored status stays as it is for now. A key that works goes on working while something is added or
/// mended beside it; and why a delivery failed is told until another attempt says otherwise.
pub(super) fn stays(facts: &Facts<'_>) -> bool {
    let key = &facts.observed.key;
    let generation = key.metadata.generation;
    let (_, readiness) = facts.said();
    let is_mending = facts.is_pending()
        && readiness.reason == Reason::Provisioning
        && is_ready(facts.stored(), generation);
    let conditions = facts.stored().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let was_refused = readiness.reason == Reason::Issuing
        && conditions.iter().any(|condition| {
            condition.type_ == READY
                && condition.observed_generation == generation
                && is_left_by_an_attempt(&condition.reason)
        });
    is_mending || was_refused
}

/// The status.
pub(super) fn of(facts: &Facts<'_>, now: DateTime<Utc>) -> ApiKeyStatus {
    let key = &facts.observed.key;
    let stored = facts.stored().cloned().unwrap_or_default();
    let (state, readiness) = facts.said();
    let granted = facts.verdict.grant.as_ref().filter(|_| state == ApiKeyState::Active);
    let is_over = matches!(state, ApiKeyState::Revoked | ApiKeyState::Expired);
    let is_pending = facts.record.is_some_and(|record| record.pending.is_some());
    let Recorded { version, digest, prefix } = recorded(key, facts.record, &stored, now);
    let is_made_here = key.spec.delivery.is_some();
    ApiKeyStatus {
        state: Some(state),
        prefix,
        access: (state == ApiKeyState::Active).then(|| describe(&key.spec.scope, granted)),
        namespaces: granted.map(|grant| grant.namespaces.iter().cloned().collect()).unwrap_or_default(),
        version,
        sealed_key: stored
            .sealed_key
            .filter(|_| !is_over && is_made_here && (is_pending || stored.digest == digest)),
        digest,
        usage: stored.usage,
        lock: lock_of(key, now).cloned(),
        security_events: stored.security_events,
        revocation: (state == ApiKeyState::Revoked).then(|| revocation(key, &facts.observed.children, now)),
        ..ApiKeyStatus::default()
    }
    .saying(&readiness, &stored.conditions, key.metadata.generation, now)
    .also(&unused::finding(key, now), &stored.conditions, key.metadata.generation, now)
}

/// What a status says from the record; when that is gone, from what was said of it.
struct Recorded {
    version: Option<KeyVersion>,
    digest: Option<String>,
    prefix: Option<String>,
}

fn recorded(key: &ApiKey, record: Option<&KeyRecord>, stored: &ApiKeyStatus, now: DateTime<Utc>) -> Recorded {
    let live = record.and_then(|record| record.live.as_ref());
    let is_pending = record.is_some_and(|record| record.pending.is_some());
    let is_made_here = key.spec.delivery.is_some();
    let digest = match live {
        // Between making and delivering, what is stored is the evidence of a delivery.
        Some(live) if !is_pending => Some(live.digest.clone()),
        _ => stored.digest.clone(),
    };
    Recorded {
        version: version(record, grace_seconds(key), now).or_else(|| stored.version.clone()),
        digest: digest.filter(|_| is_made_here),
        prefix: live
            .and_then(|live| live.prefix.clone())
            .or_else(|| prefix(key))
            .or_else(|| stored.prefix.clone().filter(|_| is_made_here)),
    }
}

/// Whether the stored status says all that it is to say from the record. The record of a key that ended is kept for
/// that long: what it says is the same then wherever the controller was killed.
pub(super) fn is_told(key: &ApiKey, record: Option<&KeyRecord>, now: DateTime<Utc>) -> bool {
    let nothing = ApiKeyStatus::default();
    let stored = key.status.as_ref().unwrap_or(&nothing);
    let Recorded { version, digest, prefix } = recorded(key, record, stored, now);
    version == stored.version && digest == stored.digest && prefix == stored.prefix
}

fn version(record: Option<&KeyRecord>, grace_seconds: u32, now: DateTime<Utc>) -> Option<KeyVersion> {
    let record = record?;
    let live = record.live.as_ref()?;
    let previous_until = record.previous.as_ref().map(|retired| retired.ends(grace_seconds));
    Some(KeyVersion {
        number: live.number,
        since: live.since,
        previous_until: previous_until.filter(|until| *until > now),
    })
}

/// The display prefix that the key's maker left, where it is one.
fn prefix(key: &ApiKey) -> Option<String> {
    let text = key.metadata.annotations.as_ref()?.get(KEY_PREFIX_ANNOTATION)?;
    text.parse::<KeyPrefix>().ok().map(|prefix| prefix.to_string())
}
