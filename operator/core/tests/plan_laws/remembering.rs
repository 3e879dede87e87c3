//! Revoked digests are remembered, and only their holders' word counts.

use keyplane_core::child::ChildKind;
use keyplane_core::readiness::Status;
use keyplane_crds::{Account, AccountSpec, ApiKey, ApiKeySpec};
use proptest::prelude::*;

use crate::driver::{Budget, converge, look_at_all};
use crate::edits::edit_key_at;
use crate::model::Cluster;
use crate::observe_keys::{record_of, uid_of};
use crate::resource::{Place, Resource};
use crate::specs;

const HOLDER: &str = "holder";
const NEIGHBOUR: &str = "neighbour";

fn key_of(home: &str, digest: usize) -> ApiKey {
    let mut key = ApiKey::new("", ApiKeySpec::default());
    key.metadata = Place::within(home, "key").metadata();
    key.spec.digest = Some(specs::digest(digest));
    key.spec.scope.inference = Some(true);
    key
}

fn at(home: &str) -> Place {
    Place::within(home, "key")
}

/// Two accounts, settled.
fn accounts() -> Cluster {
    let mut cluster = Cluster::new();
    for name in [HOLDER, NEIGHBOUR] {
        let spec = AccountSpec { owners: Vec::new(), limits: None, namespace_defaults: None };
        cluster.create(Account { metadata: Place::cluster(name).metadata(), spec, status: None }).unwrap();
    }
    converge(&mut cluster, 1);
    cluster
}

fn reason(cluster: &Cluster, home: &str) -> String {
    let conditions = cluster.api_keys[&at(home)].status.as_ref().unwrap().conditions();
    conditions[0].reason.clone()
}

/// What a neighbour does with an object of their own.
#[derive(Clone, Debug)]
enum Move {
    Declare(usize),
    Grace(Option<u32>),
    Revoke,
    Delete,
    Create(usize),
    Pass(i64),
    Reconcile(u64, usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..3_usize).prop_map(Move::Declare),
        1 => prop::option::of(1..20_u32).prop_map(Move::Grace),
        1 => Just(Move::Revoke),
        1 => Just(Move::Delete),
        2 => (0..3_usize).prop_map(Move::Create),
        1 => (0..30_i64).prop_map(Move::Pass),
        5 => (any::<u64>(), prop_oneof![3 => 0..8_usize, 1 => Just(usize::MAX)])
            .prop_map(|(seed, writes)| Move::Reconcile(seed, writes)),
    ];
    prop::collection::vec(one, 1..20)
}

fn make(cluster: &mut Cluster, step: &Move) {
    let place = at(NEIGHBOUR);
    let exists = cluster.api_keys.contains_key(&place);
    match step {
        Move::Declare(digest) if exists => {
            edit_key_at(cluster, &place, |key| key.spec.digest = Some(specs::digest(*digest)));
        }
        Move::Grace(seconds) if exists => edit_key_at(cluster, &place, |key| {
            key.spec.rotation.get_or_insert_default().grace_period_seconds = *seconds;
        }),
        Move::Revoke if exists => edit_key_at(cluster, &place, |key| key.spec.revoked = Some(true)),
        Move::Delete => cluster.delete::<ApiKey>(&place),
        Move::Create(digest) => drop(cluster.create(key_of(NEIGHBOUR, *digest))),
        Move::Pass(seconds) => cluster.pass(*seconds),
        Move::Reconcile(seed, writes) => look_at_all(cluster, *seed, &mut Budget::of(*writes)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_neighbour_does_with_a_digest_changes_nothing_for_its_holder(
        before in moves(),
        after in moves(),
        seed in any::<u64>(),
    ) {
        let mut cluster = accounts();
        // The neighbour's object may be older, and it may have had other digests: never the holder's, which is 0.
        for step in before.iter().filter(|step| !matches!(step, Move::Declare(0) | Move::Create(0))) {
            make(&mut cluster, step);
        }
        cluster.create(key_of(HOLDER, 0)).unwrap();
        converge(&mut cluster, seed);
        let holder = cluster.api_keys[&at(HOLDER)].clone();
        prop_assert!(holder.status.as_ref().unwrap().is_ready_at(holder.metadata.generation));
        for step in &after {
            make(&mut cluster, step);
            prop_assert!(!cluster.tombstones.contains(&specs::digest(0)));
            prop_assert_eq!(&cluster.api_keys[&at(HOLDER)], &holder);
        }
        converge(&mut cluster, !seed);
        prop_assert_eq!(&cluster.api_keys[&at(HOLDER)], &holder);
        prop_assert!(!cluster.tombstones.contains(&specs::digest(0)));
        if let Some(key) = cluster.api_keys.get(&at(NEIGHBOUR)) {
            let is_ready = key.status().unwrap().is_ready_at(key.metadata.generation);
            prop_assert!(!is_ready || key.spec.digest != Some(specs::digest(0)));
        }
    }

    #[test]
    fn a_manifest_that_is_applied_again_works_unless_it_was_revoked(
        kills in prop::collection::vec((any::<u64>(), 0..8_usize), 0..6),
        is_revoked in any::<bool>(),
        is_rotated in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut cluster = accounts();
        cluster.create(key_of(HOLDER, 0)).unwrap();
        converge(&mut cluster, seed);
        if is_rotated {
            edit_key_at(&mut cluster, &at(HOLDER), |key| key.spec.digest = Some(specs::digest(1)));
        }
        let mut restarts = kills.iter();
        let mut restart = |cluster: &mut Cluster| {
            for (order, writes) in restarts.by_ref().take(3) {
                look_at_all(cluster, *order, &mut Budget::of(*writes));
            }
        };
        restart(&mut cluster);
        if is_revoked {
            edit_key_at(&mut cluster, &at(HOLDER), |key| key.spec.revoked = Some(true));
        }
        restart(&mut cluster);
        let was_recorded = record_of(&cluster, &cluster.api_keys[&at(HOLDER)]).map(|record| record.live.unwrap().digest);
        cluster.delete::<ApiKey>(&at(HOLDER));
        converge(&mut cluster, seed);
        prop_assert!(!cluster.api_keys.contains_key(&at(HOLDER)));
        for digest in 0..2 {
            cluster.create(key_of(HOLDER, digest)).unwrap();
            converge(&mut cluster, seed);
            // The first of them ended when the second took its place on record, the last when it was revoked.
            let was_used = digest == 0 || is_rotated;
            let was_replaced = digest == 0 && is_rotated && was_recorded != Some(specs::digest(0));
            let expected = if (is_revoked && was_used) || was_replaced { "DigestRevoked" } else { "Active" };
            prop_assert_eq!(reason(&cluster, HOLDER), expected);
            cluster.delete::<ApiKey>(&at(HOLDER));
            converge(&mut cluster, seed);
        }
    }

    #[test]
    fn what_only_the_record_of_a_key_that_ended_says_is_told_before_the_record_goes(
        written in 0..8_usize,
        kills in prop::collection::vec((any::<u64>(), 0..4_usize), 0..4),
        seed in any::<u64>(),
    ) {
        let mut cluster = accounts();
        cluster.create(key_of(HOLDER, 0)).unwrap();
        look_at_all(&mut cluster, seed, &mut Budget::of(written));
        let recorded = record_of(&cluster, &cluster.api_keys[&at(HOLDER)]).and_then(|record| record.live);
        edit_key_at(&mut cluster, &at(HOLDER), |key| key.spec.revoked = Some(true));
        for (order, writes) in kills {
            look_at_all(&mut cluster, order, &mut Budget::of(writes));
        }
        converge(&mut cluster, !seed);
        let key = &cluster.api_keys[&at(HOLDER)];
        let told = key.status().unwrap().version.as_ref().map(|version| version.number);
        prop_assert_eq!(told, recorded.map(|live| live.number));
        prop_assert!(record_of(&cluster, key).is_none());
    }

    #[test]
    fn a_revoked_digest_is_remembered_though_somebody_deleted_the_identity_that_carries_the_record(
        (is_deleted, is_stripped) in (any::<bool>(), any::<bool>()),
        kills in prop::collection::vec((any::<u64>(), 0..4_usize), 0..5),
        seed in any::<u64>(),
    ) {
        let mut cluster = accounts();
        cluster.create(key_of(HOLDER, 0)).unwrap();
        converge(&mut cluster, seed);
        let key_uid = uid_of(&cluster.api_keys[&at(HOLDER)]).to_owned();
        let identity = cluster.identity(&key_uid).unwrap();
        let (place, uid) = (identity.reference(), identity.uid().to_owned());
        cluster.delete_child(&place, &uid).unwrap();
        edit_key_at(&mut cluster, &at(HOLDER), |key| key.spec.revoked = Some(true));
        if is_deleted {
            cluster.delete::<ApiKey>(&at(HOLDER));
        } else if is_stripped {
            // Its owner takes the finalizer off as often as the controller looks.
            cluster.api_keys.get_mut(&at(HOLDER)).unwrap().metadata.finalizers = None;
        }
        for (order, writes) in kills {
            look_at_all(&mut cluster, order, &mut Budget::of(writes));
        }
        converge(&mut cluster, !seed);
        // Nothing is made for a key that ended, so that nothing can keep it from ending.
        prop_assert!(cluster.identity(&key_uid).is_none());
        prop_assert!(cluster.tombstones.contains(&specs::digest(0)));
        prop_assert!(cluster.objects.keys().all(|left| left.kind != ChildKind::Secret));
    }
}
