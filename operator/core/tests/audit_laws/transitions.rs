//! What the controller writes when a status becomes another.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, Time};
use keyplane_core::audit::{Change, Code, Source, events_of, readiness_event, spec_actor};
use keyplane_core::readiness::{Readiness, Reason, ResourceKind, Status};
use keyplane_crds::{ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, Delivery, KeyVersion, Lock};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn key(delivered: bool) -> ApiKey {
    let delivery = delivered.then(Delivery::default);
    let mut key = ApiKey::new("ci", ApiKeySpec { delivery, ..ApiKeySpec::default() });
    key.metadata.namespace = Some("acme".to_owned());
    key.metadata.uid = Some("uid-1".to_owned());
    key.metadata.resource_version = Some("17".to_owned());
    key
}

fn status(state: ApiKeyState, readiness: &Readiness) -> ApiKeyStatus {
    ApiKeyStatus { state: Some(state), ..ApiKeyStatus::default() }.saying(readiness, &[], Some(1), at(0))
}

fn active() -> ApiKeyStatus {
    status(ApiKeyState::Active, &Readiness::ready(Reason::Active, "the key can be used"))
}

fn pending() -> ApiKeyStatus {
    status(ApiKeyState::Pending, &Readiness::not_ready(Reason::Provisioning, "wait"))
}

fn invalid(reason: Reason) -> ApiKeyStatus {
    status(ApiKeyState::Invalid, &Readiness::not_ready(reason, "mend it"))
}

fn with_version(number: u32, status: ApiKeyStatus) -> ApiKeyStatus {
    let version = KeyVersion { number, since: at(0), previous_until: None };
    ApiKeyStatus { version: Some(version), ..status }
}

fn with_lock(status: ApiKeyStatus) -> ApiKeyStatus {
    let lock = Lock { locked_at: at(5), reason: "AddressDenied".to_owned(), address: "192.0.2.1".to_owned() };
    ApiKeyStatus { lock: Some(lock), ..status }
}

fn locked() -> ApiKeyStatus {
    with_lock(status(ApiKeyState::Locked, &Readiness::not_ready(Reason::Locked, "unlock it")))
}

fn ended(state: ApiKeyState, reason: Reason) -> ApiKeyStatus {
    status(state, &Readiness::not_ready(reason, "it is over"))
}

fn codes(before: Option<&ApiKeyStatus>, after: &ApiKeyStatus, delivered: bool) -> Vec<Code> {
    events_of(before, after, &key(delivered)).iter().map(|change| change.code).collect()
}

#[test]
fn each_step_of_a_keys_life_is_told() {
    let revoked = ended(ApiKeyState::Revoked, Reason::Revoked);
    let expired = ended(ApiKeyState::Expired, Reason::Expired);
    let changed = ApiKeyStatus { observed_generation: Some(3), ..active() };
    let conflict = invalid(Reason::DeliveryConflict);
    for (name, before, after, delivered, expected) in vec![
        ("a new key is being set up", None, pending(), false, vec![Code::KeyDeclared]),
        ("a new key is live at once", None, active(), false, vec![Code::KeyDeclared, Code::KeyReady]),
        ("set up", Some(pending()), active(), false, vec![Code::KeyReady]),
        ("still so", Some(active()), active(), false, vec![]),
        ("changed", Some(active()), changed, false, vec![Code::KeyChanged]),
        ("broken", Some(active()), invalid(Reason::InvalidScope), false, vec![Code::KeyNotReady]),
        (
            "another reason",
            Some(invalid(Reason::InvalidScope)),
            invalid(Reason::NamespaceNotOwned),
            false,
            vec![Code::KeyNotReady],
        ),
        ("set up anew", Some(active()), pending(), false, vec![Code::KeyNotReady]),
        ("not delivered", Some(pending()), conflict, true, vec![Code::KeyIssueFailed]),
        ("locked", Some(with_lock(active())), locked(), false, vec![Code::KeyLocked]),
        ("still locked", Some(locked()), locked(), false, vec![]),
        ("unlocked", Some(locked()), active(), false, vec![Code::KeyUnlocked, Code::KeyReady]),
        ("expired", Some(active()), expired.clone(), false, vec![Code::KeyExpired]),
        ("still expired", Some(expired.clone()), expired, false, vec![]),
        ("revoked", Some(active()), revoked.clone(), false, vec![Code::KeyRevoked]),
        ("revoked while locked", Some(locked()), revoked.clone(), false, vec![Code::KeyRevoked]),
        ("declared revoked", None, revoked, false, vec![Code::KeyDeclared, Code::KeyRevoked]),
        ("own key's first version", Some(active()), with_version(1, active()), false, vec![]),
        (
            "made and delivered",
            Some(pending()),
            with_version(1, active()),
            true,
            vec![Code::KeyIssued, Code::KeyReady],
        ),
        (
            "own key rotated",
            Some(with_version(1, active())),
            with_version(2, active()),
            false,
            vec![Code::KeyRotated],
        ),
        (
            "made key rotated",
            Some(with_version(1, active())),
            with_version(2, active()),
            true,
            vec![Code::KeyIssued, Code::KeyRotated],
        ),
    ] {
        assert_eq!(codes(before.as_ref(), &after, delivered), expected, "{name}");
    }
}

#[test]
fn a_lock_tells_why_and_from_where() {
    let changes = events_of(Some(&active()), &locked(), &key(false));
    let [lock] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(lock.reason.as_deref(), Some("AddressDenied"));
    assert_eq!(lock.message.as_deref(), Some("unlock it"));
    assert_eq!(lock.address, Some([192, 0, 2, 1].into()));
}

#[test]
fn a_lock_by_an_unknown_address_is_told_without_one() {
    let mut locked = locked();
    locked.lock.as_mut().unwrap().address = "unknown".to_owned();
    assert_eq!(events_of(Some(&active()), &locked, &key(false))[0].address, None);
}

fn states() -> impl Strategy<Value = ApiKeyStatus> {
    let bases = prop_oneof![
        Just(active()),
        Just(pending()),
        Just(locked()),
        Just(invalid(Reason::InvalidScope)),
        Just(invalid(Reason::RecipientNotReady)),
        Just(ended(ApiKeyState::Expired, Reason::Expired)),
        Just(ended(ApiKeyState::Revoked, Reason::Revoked)),
    ];
    (bases, proptest::option::of(1_u32..4), 1_i64..4, any::<bool>()).prop_map(
        |(status, version, generation, lock)| {
            let status = ApiKeyStatus { observed_generation: Some(generation), ..status };
            let status = version.map_or(status.clone(), |number| with_version(number, status));
            if lock { with_lock(status) } else { status }
        },
    )
}

proptest! {
    #[test]
    fn what_did_not_change_is_not_told(status in states(), delivered: bool) {
        prop_assert_eq!(codes(Some(&status), &status, delivered), vec![]);
    }

    #[test]
    fn a_change_is_told_once_with_an_id_of_its_own_and_its_fields_only(
        before in proptest::option::of(states()),
        after in states(),
        delivered: bool,
    ) {
        let key = key(delivered);
        let lines = || -> Vec<Value> {
            events_of(before.as_ref(), &after, &key)
                .iter()
                .map(|change| change.event(ResourceKind::ApiKey, &key.metadata, Source::controller(), at(9)))
                .map(|event| serde_json::from_str(&event.line()).unwrap())
                .collect()
        };
        let changes = events_of(before.as_ref(), &after, &key);
        let told: BTreeSet<Code> = changes.iter().map(|change| change.code).collect();
        prop_assert_eq!(told.len(), changes.len());
        let ids: BTreeSet<String> = lines().iter().map(|line| line["id"].to_string()).collect();
        prop_assert_eq!(ids.len(), changes.len());
        prop_assert_eq!(lines(), lines(), "written twice, it has the same id");
        for (change, line) in changes.iter().zip(lines()) {
            let known: BTreeSet<&str> = change.code.fields().iter().map(|field| field.as_str()).collect();
            for field in line["data"].as_object().unwrap().keys().filter(|field| *field != "code") {
                prop_assert!(known.contains(field.as_str()), "{} has {field}", change.code.as_str());
            }
        }
    }

    #[test]
    fn a_final_state_is_told_whatever_was_before(before in proptest::option::of(states()), delivered: bool) {
        for (state, reason, code) in [
            (ApiKeyState::Revoked, Reason::Revoked, Code::KeyRevoked),
            (ApiKeyState::Expired, Reason::Expired, Code::KeyExpired),
        ] {
            let was = before.as_ref().and_then(|status| status.state) == Some(state);
            let told = codes(before.as_ref(), &ended(state, reason), delivered);
            prop_assert_eq!(told.contains(&code), !was);
        }
    }
}

#[test]
fn other_resources_tell_when_they_become_ready_and_cease_to_be() {
    let metadata = ObjectMeta { resource_version: Some("5".to_owned()), ..ObjectMeta::default() };
    let ready = active().conditions;
    let refused = invalid(Reason::DuplicatePublicKey).conditions;
    let code = |kind, before: &[_], after: &[_]| {
        readiness_event(kind, before, after, &metadata).map(|change: Change| change.code)
    };
    for (kind, good, bad) in [
        (ResourceKind::Account, Code::AccountReady, Code::AccountNotReady),
        (ResourceKind::Namespace, Code::NamespaceReady, Code::NamespaceNotReady),
        (ResourceKind::SshKey, Code::SshKeyRegistered, Code::SshKeyRefused),
    ] {
        assert_eq!(code(kind, &[], &ready), Some(good));
        assert_eq!(code(kind, &ready, &refused), Some(bad));
        assert_eq!(code(kind, &[], &refused), Some(bad));
        assert_eq!(code(kind, &refused, &refused), None);
        assert_eq!(code(kind, &ready, &ready), None);
        assert_eq!(code(kind, &ready, &[]), None);
    }
}

fn entry(manager: &str, seconds: i64, fields: Value, subresource: Option<&str>) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        time: serde_json::from_value::<Time>(json!(at(seconds).to_rfc3339())).ok(),
        fields_v1: Some(FieldsV1(fields)),
        subresource: subresource.map(ToOwned::to_owned),
        ..ManagedFieldsEntry::default()
    }
}

#[test]
fn the_actor_is_who_last_wrote_the_spec() {
    let metadata = ObjectMeta {
        managed_fields: Some(vec![
            entry("helm", 10, json!({"f:spec": {"f:scope": {}}}), None),
            entry("flux", 20, json!({"f:metadata": {}, "f:spec": {"f:revoked": {}}}), None),
            entry("kubectl-label", 30, json!({"f:metadata": {}}), None),
            entry("keyplane", 40, json!({"f:status": {}}), Some("status")),
        ]),
        ..ObjectMeta::default()
    };
    assert_eq!(spec_actor(&metadata).and_then(|actor| actor.manager).as_deref(), Some("flux"));
    assert_eq!(spec_actor(&ObjectMeta::default()), None);
}
