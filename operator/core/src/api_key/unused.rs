//! When a key that nobody uses is flagged.

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_crds::ApiKey;

use crate::readiness::{Finding, UnusedReason};
use crate::seniority::timestamp;

/// After how long (seed 001: 90 days).
pub const UNUSED_AFTER: TimeDelta = TimeDelta::days(90);

/// From which moment on a key counts as unused. None for an object that was never stored.
#[must_use]
pub fn unused_from(key: &ApiKey) -> Option<DateTime<Utc>> {
    let used =
        key.status.as_ref().and_then(|status| status.usage.as_ref()).and_then(|usage| usage.last_used_at);
    let created = key.metadata.creation_timestamp.as_ref().map(timestamp)?;
    used.map_or(created, |used| used.max(created)).checked_add_signed(UNUSED_AFTER)
}

/// The condition `Unused`, which takes nothing away.
pub(super) fn finding(key: &ApiKey, now: DateTime<Utc>) -> Finding {
    if unused_from(key).is_some_and(|from| from <= now) {
        let text = "not used for 90 days: revoke or delete the key if nobody needs it";
        return Finding::use_of_key(UnusedReason::Unused, text);
    }
    Finding::use_of_key(UnusedReason::InUse, "used, or made, within 90 days")
}
