//! Laws of what each change of a key writes.

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_credential_plugin::commands::apikeys::patch;
use keyplane_credential_plugin::resources::api_key::ApiKey;
use keyplane_credential_plugin::resources::timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Moments within a second of each other, with more digits than a timestamp has.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..1_000_000_000)
        .prop_map(|nanos| DateTime::from_timestamp(1_900_000_000, 0).unwrap() + TimeDelta::nanoseconds(nanos))
}

fn key(of: &Value) -> ApiKey {
    serde_json::from_value(of.clone()).unwrap()
}

fn time_in(patch: &Value, pointer: &str) -> DateTime<Utc> {
    patch.pointer(pointer).and_then(Value::as_str).unwrap().parse().unwrap()
}

proptest! {
    #[test]
    fn an_unlock_is_later_than_the_lock_whatever_this_machines_clock_says(now in moment(), locked_at in moment()) {
        let locked_at = DateTime::from_timestamp_millis(locked_at.timestamp_millis()).unwrap();
        let locked = key(&json!({
            "metadata": {"uid": "u"}, "status": {"state": "Locked", "lock": {"lockedAt": timestamp(locked_at)}},
        }));
        let patch = patch::unlock(&locked, now);
        let at = time_in(&patch, "/spec/unlockedAt");
        prop_assert!(at > locked_at);
        prop_assert!(at <= now.max(locked_at + TimeDelta::milliseconds(1)));
        // What was read before the patch and after it, on a machine whose clock agrees.
        prop_assert!(patch::is_locked(&locked, now));
        let lifted = key(&json!({
            "spec": {"unlockedAt": timestamp(at)},
            "status": {"state": "Locked", "lock": {"lockedAt": timestamp(locked_at)}},
        }));
        prop_assert!(!patch::is_locked(&lifted, at));
        prop_assert!(patch::is_locked(&lifted, at - TimeDelta::milliseconds(1)));
    }

    #[test]
    fn a_rotation_asks_later_than_the_one_that_was_answered(
        now in moment(),
        asked in moment(),
        since in proptest::option::of(moment()),
        grace in proptest::option::of(0_u32..2_592_000),
    ) {
        let asked = DateTime::from_timestamp_millis(asked.timestamp_millis()).unwrap();
        let found = key(&json!({
            "metadata": {"uid": "u", "resourceVersion": "7"},
            "spec": {"delivery": {"secretName": "s"}, "rotation": {"requestedAt": timestamp(asked)}},
            "status": {"version": since.map(|since| json!({"number": 1, "since": since.to_rfc3339()}))},
        }));
        let patch = patch::request_rotation(&found, grace, now);
        let at = time_in(&patch, "/spec/rotation/requestedAt");
        if since.is_some_and(|since| since >= asked) {
            prop_assert!(at > asked);
        } else {
            // A rotation that is only planned is brought forward.
            prop_assert_eq!(timestamp(at), timestamp(now));
        }
        prop_assert_eq!(patch.pointer("/spec/rotation/gracePeriodSeconds").cloned(), grace.map(|grace| json!(grace)));
        prop_assert_eq!(&patch["metadata"], &json!({"uid": "u", "resourceVersion": "7"}));
    }

    #[test]
    fn a_new_key_is_declared_by_its_digest_and_prefix_and_never_itself(grace in proptest::option::of(0_u32..2_592_000)) {
        let new = PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap();
        let found = key(&json!({"metadata": {"uid": "u", "resourceVersion": "7"}}));
        let patch = patch::declare(&found, &new, grace);
        prop_assert_eq!(&patch["metadata"]["uid"], "u");
        prop_assert_eq!(&patch["metadata"]["resourceVersion"], "7");
        prop_assert_eq!(&patch["metadata"]["annotations"]["keyplane.dev/key-prefix"], &new.prefix().to_string());
        prop_assert_eq!(&patch["spec"]["digest"], &new.digest().to_string());
        // A grace period that is not named stays as it is declared.
        let rotation = grace.map(|grace| json!({"gracePeriodSeconds": grace}));
        prop_assert_eq!(patch["spec"].get("rotation").cloned(), rotation);
        prop_assert!(!patch.to_string().contains(new.expose()));
    }
}

#[test]
fn a_revocation_names_the_key_by_its_uid_and_changes_nothing_else() {
    let found = key(&json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"digest": "d"}}));
    assert_eq!(patch::revoke(&found), json!({"metadata": {"uid": "u"}, "spec": {"revoked": true}}));
}
