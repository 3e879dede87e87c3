//! What is kept of digests is what a look would find, after any change and under any number of readers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use chrono::Utc;
use keyplane_core::api_key::{VERSIONS_ANNOTATION, Version};
use kube::runtime::watcher::Event;
use proptest::prelude::*;
use serde_json::json;

use super::*;

impl Records {
    fn apply_key(&self, event: &Event<ApiKey>) {
        if let Some(change) = self.keys.apply(event) {
            self.key_changed(&change);
        }
    }

    fn apply_identity(&self, event: &Event<ServiceAccount>) {
        if let Some(change) = self.identities.apply(event) {
            self.identity_changed(&change);
        }
    }

    fn looked_up(&self, digest: &KeyDigest) -> Vec<Known> {
        let text = digest.to_string();
        let keys = contenders(&self.keys, &self.identities, &text);
        keys.into_iter().map(|key| Known { record: self.record_of(&key), key }).collect()
    }
}

fn digest(number: usize) -> KeyDigest {
    KeyDigest::of(format!("key {number}").as_bytes())
}

fn key(number: usize, uid: &str, declared: Option<usize>, revoked: bool) -> ApiKey {
    serde_json::from_value(json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {
            "name": format!("key-{number}"), "namespace": "acme", "uid": uid, "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "digest": declared.map(|number| digest(number).to_string()),
            "delivery": declared.is_none().then(|| json!({"secretName": "one"})),
            "scope": {"inference": true},
            "revoked": revoked.then_some(true),
        },
        "status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "Active", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    }))
    .unwrap()
}

fn identity(uid: &str, live: Option<usize>, ended: Option<usize>) -> ServiceAccount {
    let record = KeyRecord {
        sequence: 1,
        live: live.map(|number| Version {
            number: 1,
            digest: digest(number).to_string(),
            prefix: None,
            since: "2026-01-01T00:00:00Z".parse().unwrap(),
            requested_at: None,
        }),
        ended: ended.map(|number| digest(number).to_string()).into_iter().collect(),
        ..KeyRecord::default()
    };
    serde_json::from_value(json!({"metadata": {
        "name": identity_name(uid), "namespace": IDENTITIES_NAMESPACE, "uid": format!("of-{uid}"),
        "annotations": {VERSIONS_ANNOTATION: record.to_annotation()},
    }}))
    .unwrap()
}

/// Something that a watch tells.
#[derive(Clone, Debug)]
enum Told {
    Key {
        name: usize,
        uid: usize,
        declared: Option<usize>,
        revoked: bool,
    },
    KeyGone {
        name: usize,
    },
    Identity {
        uid: usize,
        live: Option<usize>,
        ended: Option<usize>,
    },
    IdentityGone {
        uid: usize,
    },
    /// A list, in which only these names are left.
    Keys {
        left: Vec<usize>,
    },
    Identities {
        left: Vec<usize>,
    },
}

/// So many of each: few, so that they meet.
const FEW: usize = 4;

fn told() -> impl Strategy<Value = Told> {
    let one = || 0..FEW;
    let perhaps = || proptest::option::of(0..FEW);
    prop_oneof![
        6 => (one(), one(), perhaps(), any::<bool>())
            .prop_map(|(name, uid, declared, revoked)| Told::Key { name, uid, declared, revoked }),
        2 => one().prop_map(|name| Told::KeyGone { name }),
        6 => (one(), perhaps(), perhaps()).prop_map(|(uid, live, ended)| Told::Identity { uid, live, ended }),
        2 => one().prop_map(|uid| Told::IdentityGone { uid }),
        1 => proptest::collection::vec(one(), 0..FEW).prop_map(|left| Told::Keys { left }),
        1 => proptest::collection::vec(one(), 0..FEW).prop_map(|left| Told::Identities { left }),
    ]
}

fn list<K: Clone>(objects: Vec<K>) -> Vec<Event<K>> {
    let listed = objects.into_iter().map(Event::InitApply);
    std::iter::once(Event::Init).chain(listed).chain([Event::InitDone]).collect()
}

fn tell(records: &Records, told: &Told) {
    let uid = |number: usize| format!("uid-{number}");
    let key_named = |name: usize| records.keys.get(Some("acme"), &format!("key-{name}"));
    let identity_of =
        |number: usize| records.identities.get(Some(IDENTITIES_NAMESPACE), &identity_name(&uid(number)));
    match told {
        Told::Key { name, uid: of, declared, revoked } => {
            records.apply_key(&Event::Apply(key(*name, &uid(*of), *declared, *revoked)));
        }
        Told::KeyGone { name } => {
            if let Some(key) = key_named(*name) {
                records.apply_key(&Event::Delete(key.as_ref().clone()));
            }
        }
        Told::Identity { uid: of, live, ended } => {
            records.apply_identity(&Event::Apply(identity(&uid(*of), *live, *ended)));
        }
        Told::IdentityGone { uid: of } => {
            if let Some(identity) = identity_of(*of) {
                records.apply_identity(&Event::Delete(identity.as_ref().clone()));
            }
        }
        Told::Keys { left } => {
            let left = left.iter().filter_map(|name| key_named(*name)).map(|key| key.as_ref().clone());
            for event in list(left.collect()) {
                records.apply_key(&event);
            }
        }
        Told::Identities { left } => {
            let left =
                left.iter().filter_map(|of| identity_of(*of)).map(|identity| identity.as_ref().clone());
            for event in list(left.collect()) {
                records.apply_identity(&event);
            }
        }
    }
}

/// The same objects, not only the same content.
fn by_identity(keys: &[Known]) -> Vec<(*const ApiKey, Option<KeyRecord>)> {
    let mut all: Vec<_> = keys.iter().map(|known| (Arc::as_ptr(&known.key), known.record.clone())).collect();
    all.sort_by_key(|(key, _)| *key);
    all
}

proptest! {
    #[test]
    fn what_is_kept_is_what_a_look_would_find_after_whatever_the_watches_tell(
        story in proptest::collection::vec((told(), proptest::collection::vec(0..FEW, 0..FEW)), 1..40),
    ) {
        let records = Records::new();
        for (told, asked) in story {
            tell(&records, &told);
            for number in 0..FEW {
                let digest = digest(number);
                let found = records.looked_up(&digest);
                prop_assert_eq!(by_identity(&records.digests.peek(&digest, &found)), by_identity(&found), "{:?}", told);
            }
            // What is asked for is kept until something of it changes.
            for number in asked {
                records.named(&digest(number));
            }
        }
        for name in 0..FEW {
            tell(&records, &Told::KeyGone { name });
        }
        prop_assert_eq!(records.digests.sizes(), (0, 0));
    }
}

#[test]
fn nobody_who_asks_after_a_revocation_was_applied_is_told_the_key_from_before() {
    const KEYS: usize = 2000;
    let records = Records::new();
    let uid = |number: usize| format!("uid-{number}");
    for number in 0..KEYS {
        records.apply_identity(&Event::Apply(identity(&uid(number), Some(number), None)));
        records.apply_key(&Event::Apply(key(number, &uid(number), Some(number), false)));
    }
    let now = Utc::now();
    let is_admitted = |number: usize| records.named(&digest(number)).admit(None, now).is_ok();
    assert!((0..KEYS).all(is_admitted));
    // By key: whether its revocation, or the loss of its record, has been applied.
    let over: Vec<AtomicBool> = (0..KEYS).map(|_| AtomicBool::new(false)).collect();
    let (is_done, admitted, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for reader in 0..4 {
            let (records, over, is_done, admitted, refused) =
                (&records, &over, &is_done, &admitted, &refused);
            scope.spawn(move || {
                let mut turn = reader;
                while !is_done.load(Ordering::Acquire) {
                    turn += 1;
                    // Most of the time around the one that changes next, which others ask for too.
                    let next = over.partition_point(|over| over.load(Ordering::Acquire));
                    let number =
                        if turn % 4 == 0 { turn % KEYS } else { next.saturating_sub(turn % 3).min(KEYS - 1) };
                    let was_over = over[number].load(Ordering::Acquire);
                    let answer = records.named(&digest(number)).admit(None, now);
                    assert!(!was_over || answer.is_err(), "admitted after it was over");
                    if answer.is_ok() { admitted } else { refused }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for (number, over) in over.iter().enumerate() {
            match number % 4 {
                // The status is written all the time, which changes nothing of the decision.
                0 => records.apply_key(&Event::Apply(key(number, &uid(number), Some(number), false))),
                1 => records.apply_identity(&Event::Apply(identity(&uid(number), Some(number), None))),
                _ => {}
            }
            match number % 3 {
                0 => records.apply_key(&Event::Apply(key(number, &uid(number), Some(number), true))),
                1 => records.apply_identity(&Event::Apply(identity(&uid(number), None, Some(number)))),
                _ => records.apply_key(&Event::Delete(key(number, &uid(number), Some(number), false))),
            }
            over.store(true, Ordering::Release);
        }
        is_done.store(true, Ordering::Release);
    });
    assert!(!(0..KEYS).any(is_admitted));
    assert!(admitted.into_inner() + refused.into_inner() > 0);
}

#[test]
fn digests_that_nobody_names_are_not_kept() {
    let records = Records::new();
    records.apply_key(&Event::Apply(key(0, "uid-0", Some(0), false)));
    for number in 0..10_000 {
        records.named(&digest(number));
    }
    assert_eq!(records.digests.sizes(), (1, 1));
}
