//! Whether an account has room for another live key, as far as its keys' own objects tell.

use chrono::{DateTime, Utc};
use keyplane_crds::{ApiKey, ApiKeyState};

use super::lifecycle::{Standing, standing};
use super::presentation::verdict_of;
use crate::limits::ranks;
use crate::readiness::Reason;
use crate::seniority::Seniority;

/// How many of an account's keys are live. One whose declaration cannot be met is not.
#[must_use]
pub fn live_keys(keys: &[ApiKey], now: DateTime<Utc>) -> u32 {
    let is_invalid =
        |key: &ApiKey| key.status.as_ref().is_some_and(|status| status.state == Some(ApiKeyState::Invalid));
    let live = keys.iter().filter(|key| standing(key, now) == Standing::Live && !is_invalid(key));
    u32::try_from(live.count()).unwrap_or(u32::MAX)
}

/// The place of the key with this UID among its account's keys, by age: 0 is the oldest. Keys that ended take no place, nor
/// do those whose digest is not their own; whoever is none of these keys comes last.
#[must_use]
pub fn place_of(uid: &str, keys: &[ApiKey], now: DateTime<Utc>) -> u32 {
    let without_place = [Reason::DuplicateDigest, Reason::DigestRevoked];
    let takes_place = |key: &&ApiKey| {
        standing(key, now) == Standing::Live
            && !verdict_of(key).is_some_and(|condition| {
                without_place.iter().any(|reason| reason.as_str() == condition.reason)
            })
    };
    let places = ranks(keys.iter().filter(takes_place).map(|key| Seniority::of(&key.metadata)));
    places.get(uid).copied().unwrap_or(u32::MAX)
}
