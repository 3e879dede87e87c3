//! A key's lifecycle, read from its own object: the rules that need no other object.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_crds::{ApiKey, ApiKeyState};

use crate::seniority::timestamp;

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be used, as far as its own object tells.
    Live,
    /// Its object is being deleted.
    Deleting,
    /// It was revoked; for good.
    Revoked,
    /// Its time is over; for good.
    Expired,
    /// Its expiry lay in the past when it was created. It was never live, and can still be mended.
    ExpiredAtCreation,
}

/// Where a key stands at `now`.
///
/// The stored states Expired and Revoked hold, even when a clock steps back. A status only ever takes away here: nobody gains
/// by writing one.
#[must_use]
pub fn standing(key: &ApiKey, now: DateTime<Utc>) -> Standing {
    if key.metadata.deletion_timestamp.is_some() {
        return Standing::Deleting;
    }
    let state = key.status.as_ref().and_then(|status| status.state);
    if key.spec.revoked == Some(true) || state == Some(ApiKeyState::Revoked) {
        return Standing::Revoked;
    }
    if expired_at_creation(&key.metadata, key.spec.expires_at) {
        return Standing::ExpiredAtCreation;
    }
    if state == Some(ApiKeyState::Expired) || key.spec.expires_at.is_some_and(|end| end <= now) {
        return Standing::Expired;
    }
    Standing::Live
}

fn expired_at_creation(metadata: &ObjectMeta, expires_at: Option<DateTime<Utc>>) -> bool {
    matches!((expires_at, &metadata.creation_timestamp), (Some(end), Some(created)) if end <= timestamp(created))
}
