//! What a key is shown to be between a change and the controller's answer, and which places are taken.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use keyplane_core::api_key::{
    is_beyond_limit, is_decided, is_lifted, live_keys, next_rotation_request, next_unlock, place_of, state_at,
};
use keyplane_core::readiness::Reason;
use keyplane_crds::{
    ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, Condition, ConditionStatus, KeyVersion, Lock, READY,
    Rotation,
};
use proptest::prelude::*;

use super::moment;

fn time(moment: DateTime<Utc>) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_millisecond(moment.timestamp_millis()).unwrap())
}

/// A key of generation 2 that was made at `moment(0)`, about whose generation `seen` the controller says this.
fn key(state: ApiKeyState, reason: Reason, seen: i64) -> ApiKey {
    let mut key = ApiKey::new("ci", ApiKeySpec::default());
    key.metadata.uid = Some("uid".to_owned());
    key.metadata.generation = Some(2);
    key.metadata.creation_timestamp = Some(time(moment(0)));
    let status = if reason == Reason::Active { ConditionStatus::True } else { ConditionStatus::False };
    let condition = Condition {
        type_: READY.to_owned(),
        status,
        reason: reason.as_str().to_owned(),
        message: String::new(),
        last_transition_time: moment(0),
        observed_generation: Some(seen),
    };
    key.status = Some(ApiKeyStatus {
        state: Some(state),
        observed_generation: Some(seen),
        conditions: vec![condition],
        ..ApiKeyStatus::default()
    });
    key
}

fn locked(mut key: ApiKey, at: DateTime<Utc>) -> ApiKey {
    let lock = Lock { locked_at: at, reason: "AddressDenied".to_owned(), address: "192.0.2.1".to_owned() };
    key.status.as_mut().unwrap().lock = Some(lock);
    key
}

#[test]
fn what_ended_or_is_locked_is_shown_at_once_and_the_rest_when_the_controller_has_seen_it() {
    let now = moment(10_000);
    let active = || key(ApiKeyState::Active, Reason::Active, 2);
    assert_eq!(state_at(&active(), now), ApiKeyState::Active);
    assert_eq!(state_at(&key(ApiKeyState::Active, Reason::Active, 1), now), ApiKeyState::Pending);
    assert_eq!(state_at(&key(ApiKeyState::Invalid, Reason::LimitReached, 1), now), ApiKeyState::Pending);
    assert_eq!(state_at(&key(ApiKeyState::Invalid, Reason::LimitReached, 2), now), ApiKeyState::Invalid);
    assert_eq!(state_at(&ApiKey::new("ci", ApiKeySpec::default()), now), ApiKeyState::Pending);

    let mut revoked = active();
    revoked.spec.revoked = Some(true);
    assert_eq!(state_at(&revoked, now), ApiKeyState::Revoked);
    let mut expired = active();
    expired.spec.expires_at = Some(now);
    assert_eq!(state_at(&expired, now), ApiKeyState::Expired);
    expired.spec.expires_at = Some(moment(-1));
    assert_eq!(state_at(&expired, now), ApiKeyState::Invalid, "it was never live, and can be mended");

    let mut locked = locked(active(), moment(5000));
    assert_eq!(state_at(&locked, now), ApiKeyState::Locked);
    locked.status.as_mut().unwrap().state = Some(ApiKeyState::Locked);
    locked.spec.unlocked_at = Some(moment(5001));
    assert_eq!(state_at(&locked, now), ApiKeyState::Pending);
    locked.spec.revoked = Some(true);
    assert_eq!(state_at(&locked, now), ApiKeyState::Revoked);
}

#[test]
fn a_verdict_is_one_about_the_present_declaration_that_does_not_pass_in_a_moment() {
    for (reason, decided) in [
        (Reason::Active, true),
        (Reason::LimitReached, true),
        (Reason::NamespaceNotReady, true),
        (Reason::Locked, true),
        (Reason::Provisioning, false),
        (Reason::Issuing, false),
        (Reason::ApplyFailed, false),
    ] {
        assert_eq!(is_decided(&key(ApiKeyState::Pending, reason, 2)), decided, "{reason:?}");
        assert!(!is_decided(&key(ApiKeyState::Pending, reason, 1)), "{reason:?} of the generation before");
    }
    assert!(is_beyond_limit(&key(ApiKeyState::Invalid, Reason::LimitReached, 2)));
    assert!(!is_beyond_limit(&key(ApiKeyState::Invalid, Reason::LimitReached, 1)));
    assert!(!is_decided(&ApiKey::new("ci", ApiKeySpec::default())));
}

#[test]
fn places_go_by_age_and_what_ended_or_is_not_its_own_takes_none() {
    let now = moment(100_000);
    let made = |uid: &str, second: i64, state, reason| {
        let mut key = key(state, reason, 2);
        key.metadata.uid = Some(uid.to_owned());
        key.metadata.creation_timestamp = Some(time(moment(second * 1000)));
        key
    };
    let mut revoked = made("a", 0, ApiKeyState::Active, Reason::Active);
    revoked.spec.revoked = Some(true);
    let keys = [
        revoked,
        made("e", 2, ApiKeyState::Active, Reason::Active),
        made("c", 1, ApiKeyState::Invalid, Reason::NamespaceNotOwned),
        made("d", 1, ApiKeyState::Pending, Reason::Provisioning),
        made("b", 0, ApiKeyState::Invalid, Reason::DuplicateDigest),
    ];
    let places = ["a", "b", "c", "d", "e", "f"].map(|uid| place_of(uid, &keys, now));
    assert_eq!(places, [u32::MAX, u32::MAX, 0, 1, 2, u32::MAX]);
    assert_eq!(live_keys(&keys, now), 2, "the one being set up, and the active one");
}

proptest! {
    /// However the clocks differ, an unlock lifts the lock that it is meant for, and a rotation that is asked for is one.
    #[test]
    fn an_unlock_lifts_and_a_rotation_is_another(lock in -5000..5000_i64, asked in -5000..5000_i64, lag in 0..3000_i64, answered: bool) {
        let now = moment(0) + TimeDelta::microseconds(300);
        let locked = locked(key(ApiKeyState::Active, Reason::Active, 2), moment(lock));
        let at = next_unlock(&locked, now).unwrap();
        prop_assert!(is_lifted(locked.status.as_ref().unwrap().lock.as_ref().unwrap(), Some(at), now.max(at)));
        prop_assert!(lock >= 0 || at <= now, "a lock of before is lifted now");

        let mut key = key(ApiKeyState::Active, Reason::Active, 2);
        prop_assert!(next_unlock(&key, now).is_none());
        prop_assert!(next_rotation_request(&key, now) <= now);
        key.spec.rotation = Some(Rotation { requested_at: Some(moment(asked)), ..Rotation::default() });
        let since = if answered { moment(asked + lag) } else { moment(asked - 10_000) };
        key.status.as_mut().unwrap().version = Some(KeyVersion { number: 2, since, previous_until: None });
        let next = next_rotation_request(&key, now);
        if answered || asked <= 0 {
            prop_assert!(next > moment(asked));
        } else {
            prop_assert!(next <= now, "one that was to come is asked for now");
        }
    }
}
