//! Whether a presented key may be used (invariant I1), against the rules said once more in the plainest way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::api_key::{
    Admitted, KeyRecord, Known, Presented, Refusal, Retired, Version, admit, recognize,
};
use keyplane_core::readiness::{Readiness, Reason, Status};
use keyplane_crds::{ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, Delivery, Lock, Rotation, Scope};
use proptest::prelude::*;

const PRESENTED: usize = 0;

fn digest(at: usize) -> String {
    format!("sha256:{at:064x}")
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn metadata(created: i64, uid: u16, generation: i64, is_deleting: bool) -> ObjectMeta {
    let time = |seconds| Time(Timestamp::from_second(1_800_000_000 + seconds).unwrap());
    ObjectMeta {
        uid: Some(format!("{uid:04x}")),
        generation: Some(generation),
        creation_timestamp: Some(time(created)),
        deletion_timestamp: is_deleting.then(|| time(created)),
        ..ObjectMeta::default()
    }
}

fn version(digest_at: usize, since: i64) -> Version {
    Version { number: 1, digest: digest(digest_at), prefix: None, since: moment(since), requested_at: None }
}

/// A record whose versions are few enough to be presented often.
fn records() -> impl Strategy<Value = KeyRecord> {
    let version = || (0..3_usize, -5..5_i64).prop_map(|(digest, since)| version(digest, since));
    let retired = (version(), -5..15_i64, 0..20_i64).prop_map(|(version, at, lasts)| Retired {
        version,
        at: moment(at),
        until: moment(at + lasts),
    });
    let ended = prop::collection::vec((0..3_usize).prop_map(digest), 0..2);
    (
        prop::option::weighted(0.9, version()),
        prop::option::of(retired),
        prop::option::weighted(0.2, version()),
        ended,
    )
        .prop_map(|(live, previous, pending, ended)| KeyRecord {
            sequence: 1,
            admitted_under: 1,
            live,
            previous,
            pending,
            ended,
        })
}

fn statuses() -> impl Strategy<Value = ApiKeyStatus> {
    use ApiKeyState as S;
    let states =
        vec![S::Pending, S::Active, S::Active, S::Active, S::Locked, S::Expired, S::Revoked, S::Invalid];
    let reasons = vec![Reason::Active, Reason::Provisioning, Reason::DuplicateDigest, Reason::LimitReached];
    let lock = prop::option::weighted(
        0.3,
        (-5..15_i64).prop_map(|at| Lock {
            locked_at: moment(at),
            reason: "AddressDenied".to_owned(),
            address: "192.0.2.1".to_owned(),
        }),
    );
    let said = (prop::bool::weighted(0.7), prop::sample::select(reasons), 1..3_i64);
    (prop::option::weighted(0.9, prop::sample::select(states)), said, lock).prop_map(
        |(state, (ready, reason, generation), lock)| {
            let readiness = Readiness { ready, reason, message: "said".to_owned() };
            let said = ApiKeyStatus { state, lock, ..ApiKeyStatus::default() };
            said.saying(&readiness, &[], Some(generation), moment(0))
        },
    )
}

fn specs() -> impl Strategy<Value = ApiKeySpec> {
    let delivery = Delivery { secret_name: Some("key".to_owned()), sealed_to: None };
    let who = prop_oneof![
        4 => (0..3_usize).prop_map(|at| (Some(digest(at)), None)),
        2 => Just((None, Some(delivery.clone()))),
        1 => Just((None, None)),
        1 => Just((Some(digest(0)), Some(delivery))),
    ];
    let grace = prop::option::of(
        (0..20_u32).prop_map(|seconds| Rotation { grace_period_seconds: Some(seconds), requested_at: None }),
    );
    let addresses =
        prop::sample::select(vec![vec![], vec!["192.0.2.0/24"], vec!["2001:db8::1"], vec!["nonsense"]]);
    let life = (
        prop::option::of(-3..20_i64),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::of(-5..20_i64),
    );
    (who, grace, addresses, life).prop_map(
        |((digest, delivery), rotation, addresses, (expires_at, revoked, unlocked_at))| ApiKeySpec {
            scope: Scope { inference: Some(true), ..Scope::default() },
            digest,
            delivery,
            rotation,
            allowed_cidrs: addresses.into_iter().map(ToOwned::to_owned).collect(),
            expires_at: expires_at.map(moment),
            revoked,
            unlocked_at: unlocked_at.map(moment),
            ..ApiKeySpec::default()
        },
    )
}

fn known() -> impl Strategy<Value = Known> {
    let metadata = (-5..5_i64, any::<u16>(), 1..3_i64, prop::bool::weighted(0.1))
        .prop_map(|(created, uid, generation, is_deleting)| metadata(created, uid, generation, is_deleting));
    let status = prop::option::weighted(0.9, statuses());
    (metadata, specs(), status, prop::option::weighted(0.9, records())).prop_map(
        |(metadata, spec, status, record)| Known { key: Arc::new(ApiKey { metadata, spec, status }), record },
    )
}

fn uses() -> impl Strategy<Value = (Option<IpAddr>, DateTime<Utc>)> {
    let addresses = ["192.0.2.7", "::ffff:192.0.2.7", "198.51.100.1", "2001:db8::1", "2001:db8::2"];
    let address = prop::sample::select(addresses.to_vec()).prop_map(|text| text.parse().unwrap());
    (prop::option::weighted(0.9, address), (-5..25_i64).prop_map(moment))
}

/// Since when a record holds the presented digest, by a version that was or may still be given out; for good, if it ended.
fn recorded_since(known: &Known) -> Option<DateTime<Utc>> {
    let record = known.record.as_ref()?;
    if record.ended.contains(&digest(PRESENTED)) {
        return Some(DateTime::<Utc>::MIN_UTC);
    }
    let versions = [&record.live, &record.previous.as_ref().map(|old| old.version.clone()), &record.pending];
    let named = versions.into_iter().flatten().filter(|version| version.digest == digest(PRESENTED));
    named.map(|version| version.since).min()
}

/// Whether a key may be used, and what stands in the way, said plainly.
fn may_be_used(known: &Known, address: Option<IpAddr>, now: DateTime<Utc>) -> bool {
    let (key, spec) = (&known.key, &known.key.spec);
    let status = key.status.clone().unwrap_or_default();
    let created = moment(key.metadata.creation_timestamp.as_ref().unwrap().0.as_second() - 1_800_000_000);
    let is_alive = key.metadata.deletion_timestamp.is_none()
        && spec.revoked != Some(true)
        && !matches!(status.state, Some(ApiKeyState::Revoked | ApiKeyState::Expired))
        && spec.expires_at.is_none_or(|end| end > now && end > created);
    let is_locked = status
        .lock
        .as_ref()
        .is_some_and(|lock| !spec.unlocked_at.is_some_and(|at| at > lock.locked_at && at <= now));
    let is_allowed = match spec.allowed_cidrs.first().map(String::as_str) {
        None => true,
        Some("192.0.2.0/24") => {
            address.is_some_and(|address| address.to_canonical().to_string().starts_with("192.0.2."))
        }
        Some("2001:db8::1") => address.is_some_and(|address| address.to_string() == "2001:db8::1"),
        Some(_) => false,
    };
    is_alive
        && !is_locked
        && is_allowed
        && status.is_ready_at(key.metadata.generation)
        && verifies(known, now)
}

/// Whether the presented digest is of a version on record that the key still stands by.
fn verifies(known: &Known, now: DateTime<Utc>) -> bool {
    let spec = &known.key.spec;
    let grace = spec.rotation.as_ref().and_then(|rotation| rotation.grace_period_seconds).unwrap_or(0);
    let Some(record) = &known.record else { return false };
    if record.live.as_ref().is_some_and(|live| live.digest == digest(PRESENTED)) {
        let is_made_by_keyplane = spec.digest.is_none() && spec.delivery.is_some();
        return is_made_by_keyplane || spec.digest == Some(digest(PRESENTED)) || grace > 0;
    }
    record.previous.as_ref().is_some_and(|old| {
        let by_now = old.at + TimeDelta::seconds(grace.into());
        old.version.digest == digest(PRESENTED) && now < by_now && now < old.until
    })
}

/// Whether Keyplane made the presented key a moment ago, and it is about to take its place.
fn is_about_to_verify(known: &Known) -> bool {
    let pending = known.record.as_ref().and_then(|record| record.pending.as_ref());
    pending.is_some_and(|pending| pending.digest == digest(PRESENTED))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn a_key_is_admitted_exactly_when_its_holder_may_use_it(
        candidates in prop::collection::vec(known(), 0..4),
        (address, now) in uses(),
    ) {
        let presented = Presented { digest: &digest(PRESENTED), address, now };
        // Who has it on record came first; of those who only declare it, the oldest.
        let holder = candidates.iter().min_by_key(|known| {
            let metadata = &known.key.metadata;
            let since = recorded_since(known);
            (since.is_none(), since, metadata.creation_timestamp.clone(), metadata.uid.clone())
        });
        let expected = holder.filter(|known| may_be_used(known, address, now));
        let admitted = admit(&candidates, presented);
        prop_assert_eq!(
            admitted.as_ref().ok().map(|admitted| &admitted.key.metadata.uid),
            expected.map(|known| &known.key.metadata.uid),
            "{:?}",
            admitted
        );
        if let Ok(admitted) = &admitted {
            prop_assert!(admitted.ends.is_none_or(|ends| ends > now));
        }
    }

    #[test]
    fn what_is_over_or_unknown_is_not_told_apart(
        candidates in prop::collection::vec(known(), 0..4),
        (address, now) in uses(),
    ) {
        let over: Vec<Known> = candidates.into_iter().map(|known| {
            let mut key = known.key.as_ref().clone();
            key.spec.revoked = Some(true);
            key.metadata.deletion_timestamp = None;
            Known { key: Arc::new(key), record: known.record }
        }).collect();
        let presented = Presented { digest: &digest(PRESENTED), address, now };
        prop_assert_eq!(admit(&over, presented).err(), Some(Refusal::Unknown));
    }

    #[test]
    fn who_asks_who_they_are_is_refused_as_in_use_but_while_a_version_that_verifies_is_being_set_up(
        candidates in prop::collection::vec(known(), 0..4),
        (address, now) in uses(),
    ) {
        let presented = Presented { digest: &digest(PRESENTED), address, now };
        let of = |admitted: &Admitted| (admitted.key.metadata.uid.clone(), admitted.version, admitted.ends);
        let recognized = recognize(&candidates, presented);
        match (admit(&candidates, presented), recognized) {
            (Ok(admitted), Ok(recognized)) => prop_assert_eq!(of(&admitted), of(&recognized)),
            (Err(refusal), Err(told)) => prop_assert_eq!(refusal, told),
            (Err(Refusal::SettingUp), Ok(recognized)) => {
                let is_it = |known: &&Known| known.key.metadata.uid == recognized.key.metadata.uid;
                prop_assert!(candidates.iter().filter(is_it).any(|known| verifies(known, now)));
            }
            (admitted, recognized) => prop_assert!(false, "{:?} and {:?}", admitted, recognized),
        }
    }

    #[test]
    fn the_order_of_the_candidates_makes_no_difference(
        mut candidates in prop::collection::vec(known(), 0..4),
        (address, now) in uses(),
    ) {
        let uids: std::collections::BTreeSet<_> =
            candidates.iter().map(|known| known.key.metadata.uid.clone()).collect();
        prop_assume!(uids.len() == candidates.len());
        let presented = Presented { digest: &digest(PRESENTED), address, now };
        let told = |answer: Result<keyplane_core::api_key::Admitted, Refusal>| {
            answer.map(|admitted| (admitted.key.metadata.uid.clone(), admitted.version))
        };
        let before = told(admit(&candidates, presented));
        candidates.reverse();
        prop_assert_eq!(told(admit(&candidates, presented)), before);
    }

    #[test]
    fn a_lock_or_an_address_is_told_only_to_who_has_a_key_that_verifies_or_is_about_to(
        candidates in prop::collection::vec(known(), 1..4),
        (address, now) in uses(),
    ) {
        let presented = Presented { digest: &digest(PRESENTED), address, now };
        if let Err(Refusal::Locked(_) | Refusal::AddressNotAllowed) = admit(&candidates, presented) {
            let concerned = |known: &Known| {
                known.key.spec.revoked != Some(true)
                    && (verifies(known, now)
                        || known.key.spec.digest == Some(digest(PRESENTED))
                        || is_about_to_verify(known))
            };
            prop_assert!(candidates.iter().any(concerned));
        }
    }
}
