//! What each change of a key writes, as a JSON merge patch. Each names the key's UID, so that it never meets another key
//! of the same name.

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_core::key_format::PlaintextKey;
use serde_json::{Value, json};

use crate::resources::api_key::{ApiKey, PREFIX_ANNOTATION};
use crate::resources::timestamp;

/// Ends the key.
#[must_use]
pub fn revoke(key: &ApiKey) -> Value {
    json!({"metadata": {"uid": key.metadata.uid}, "spec": {"revoked": true}})
}

/// Lifts the lock that holds.
#[must_use]
pub fn unlock(key: &ApiKey, now: DateTime<Utc>) -> Value {
    json!({"metadata": {"uid": key.metadata.uid}, "spec": {"unlockedAt": timestamp(unlocked_at(key, now))}})
}

/// The moment that lifts the lock: now, but later than the lock even where this machine's clock is behind.
fn unlocked_at(key: &ApiKey, now: DateTime<Utc>) -> DateTime<Utc> {
    let locked_at = key.status.lock.as_ref().and_then(|lock| lock.locked_at);
    locked_at.map_or(now, |locked_at| now.max(just_after(locked_at)))
}

/// Whether a lock holds. A status may still show one that was lifted.
#[must_use]
pub fn is_locked(key: &ApiKey, now: DateTime<Utc>) -> bool {
    let lifted = |locked_at| key.spec.unlocked_at.is_some_and(|at| at > locked_at && at <= now);
    let locked_at = key.status.lock.as_ref().and_then(|lock| lock.locked_at);
    locked_at.map_or(key.status.state.as_deref() == Some("Locked"), |locked_at| !lifted(locked_at))
}

/// Asks for another key, of a key that Keyplane makes.
#[must_use]
pub fn request_rotation(key: &ApiKey, grace_seconds: Option<u32>, now: DateTime<Utc>) -> Value {
    let at = timestamp(requested_at(key, now));
    // Of two who ask at once, the second must learn that there is a new key already.
    let metadata = json!({"uid": key.metadata.uid, "resourceVersion": key.metadata.resource_version});
    let mut rotation = json!({"requestedAt": at});
    add_grace(&mut rotation, grace_seconds);
    json!({"metadata": metadata, "spec": {"rotation": rotation}})
}

/// The moment that asks for another key: now, but later than the request that the present version answers, even where
/// this machine's clock is behind.
fn requested_at(key: &ApiKey, now: DateTime<Utc>) -> DateTime<Utc> {
    let since = key.status.version.as_ref().and_then(|version| version.since);
    let answered = key.spec.rotation.requested_at.filter(|at| since.is_some_and(|since| since >= *at));
    answered.map_or(now, |answered| now.max(just_after(answered)))
}

/// Declares another key, of a key that its holder makes.
#[must_use]
pub fn declare(key: &ApiKey, new: &PlaintextKey, grace_seconds: Option<u32>) -> Value {
    let metadata = json!({
        "uid": key.metadata.uid,
        "resourceVersion": key.metadata.resource_version,
        "annotations": {PREFIX_ANNOTATION: new.prefix().as_str()},
    });
    let mut spec = json!({"digest": new.digest().to_string()});
    if grace_seconds.is_some() {
        let mut rotation = json!({});
        add_grace(&mut rotation, grace_seconds);
        add(&mut spec, "rotation", rotation);
    }
    json!({"metadata": metadata, "spec": spec})
}

fn add_grace(rotation: &mut Value, grace_seconds: Option<u32>) {
    if let Some(seconds) = grace_seconds {
        add(rotation, "gracePeriodSeconds", seconds.into());
    }
}

fn add(object: &mut Value, field: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(field.to_owned(), value);
    }
}

/// The next moment that a timestamp can tell from this one.
fn just_after(time: DateTime<Utc>) -> DateTime<Utc> {
    let whole = DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time);
    whole.checked_add_signed(TimeDelta::milliseconds(1)).unwrap_or(time)
}
