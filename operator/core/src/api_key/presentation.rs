//! What a key is shown to be, between a change of it and the controller's answer.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use keyplane_crds::{ApiKey, ApiKeyState, Condition, READY};

use super::lifecycle::{Standing, standing};
use super::lock::lock_of;
use crate::readiness::{Outlook, Reason};

/// A key's state at `now`. That it ended or is locked is true at once; what the controller says counts once it has seen the
/// present declaration.
#[must_use]
pub fn state_at(key: &ApiKey, now: DateTime<Utc>) -> ApiKeyState {
    match standing(key, now) {
        Standing::Revoked | Standing::Deleting => return ApiKeyState::Revoked,
        Standing::Expired => return ApiKeyState::Expired,
        Standing::ExpiredAtCreation => return ApiKeyState::Invalid,
        Standing::Live => {}
    }
    if lock_of(key, now).is_some() {
        return ApiKeyState::Locked;
    }
    let said = key.status.as_ref().filter(|status| status.observed_generation == key.metadata.generation);
    match said.and_then(|status| status.state) {
        Some(state @ (ApiKeyState::Active | ApiKeyState::Invalid)) => state,
        // A lock that was lifted a moment ago is still written there.
        _ => ApiKeyState::Pending,
    }
}

/// What the controller says of the present declaration, if it has seen it.
#[must_use]
pub fn verdict_of(key: &ApiKey) -> Option<&Condition> {
    let conditions = key.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().find(|condition| {
        condition.type_ == READY && condition.observed_generation == key.metadata.generation
    })
}

/// Whether the controller has said what becomes of the present declaration. That the key waits for a namespace is such an
/// answer; that its access is being set up is none.
#[must_use]
pub fn is_decided(key: &ApiKey) -> bool {
    let is_under_way = |condition: &Condition| {
        let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == condition.reason);
        reason
            .is_some_and(|reason| reason.outlook() == Outlook::Passes && reason != Reason::NamespaceNotReady)
    };
    verdict_of(key).is_some_and(|condition| !is_under_way(condition))
}

/// Whether the controller says that the account's limit has no room for the key.
#[must_use]
pub fn is_beyond_limit(key: &ApiKey) -> bool {
    verdict_of(key).is_some_and(|condition| condition.reason == Reason::LimitReached.as_str())
}

/// The `spec.rotation.requestedAt` that asks for another version now: later than one that was answered already, also where
/// the clocks differ; sooner than one whose time has not come.
#[must_use]
pub fn next_rotation_request(key: &ApiKey, now: DateTime<Utc>) -> DateTime<Utc> {
    let now = now.trunc_subsecs(3);
    let Some(asked) = key.spec.rotation.as_ref().and_then(|rotation| rotation.requested_at) else {
        return now;
    };
    let version = key.status.as_ref().and_then(|status| status.version.as_ref());
    let is_answered = asked <= now || version.is_some_and(|version| version.since >= asked);
    if is_answered { now.max(just_after(asked)) } else { now }
}

/// The `spec.unlockedAt` that lifts the lock that holds at `now`; none where none does.
#[must_use]
pub fn next_unlock(key: &ApiKey, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let lock = lock_of(key, now)?;
    Some(now.trunc_subsecs(3).max(just_after(lock.locked_at)))
}

/// The next millisecond, which is as fine as a status has it.
fn just_after(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.trunc_subsecs(3).checked_add_signed(TimeDelta::milliseconds(1)).unwrap_or(moment)
}
