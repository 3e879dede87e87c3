//! A key's life as a state machine: no edit that admission lets through, no clock and no restart leads out of Revoked or
//! Expired, and out of Locked only what is meant to.

use chrono::TimeDelta;
use keyplane_core::api_key::{Presented, admit};
use keyplane_core::child::ChildKind;
use keyplane_crds::{
    Account, AccountSpec, ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, Namespace, NamespaceSpec,
};
use proptest::prelude::*;

use crate::driver::{Budget, converge, look_at_all};
use crate::edits::{edit_key_at, lock};
use crate::model::Cluster;
use crate::observe::children_of;
use crate::observe_keys::{candidates, uid_of};
use crate::resource::Place;
use crate::specs;

#[derive(Clone, Debug)]
enum Step {
    Expiry(Option<i64>),
    Unlock(Option<i64>),
    Revoke,
    Unrevoke,
    Digest(usize),
    Grace(Option<u32>),
    Scope(bool),
    Addresses(bool),
    Lock,
    /// The clock goes on, or back.
    Clock(i64),
    /// The controller looks and is killed after so many writes.
    Restart(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let moment = || prop::option::weighted(0.8, -30..60_i64);
    let one = prop_oneof![
        2 => moment().prop_map(Step::Expiry),
        2 => moment().prop_map(Step::Unlock),
        1 => Just(Step::Revoke),
        1 => Just(Step::Unrevoke),
        2 => (0..4_usize).prop_map(Step::Digest),
        1 => prop::option::of(0..40_u32).prop_map(Step::Grace),
        1 => any::<bool>().prop_map(Step::Scope),
        1 => any::<bool>().prop_map(Step::Addresses),
        2 => Just(Step::Lock),
        4 => prop_oneof![3 => 0..40_i64, 1 => -100..0_i64].prop_map(Step::Clock),
        8 => (any::<u64>(), prop_oneof![1 => 0..6_usize, 2 => Just(usize::MAX)])
            .prop_map(|(seed, writes)| Step::Restart(seed, writes)),
    ];
    prop::collection::vec(one, 1..40)
}

fn place() -> Place {
    Place::within("a", "key")
}

fn start() -> Cluster {
    let mut cluster = Cluster::new();
    let spec = AccountSpec { owners: Vec::new(), limits: None, namespace_defaults: None };
    cluster.create(Account { metadata: Place::cluster("a").metadata(), spec, status: None }).unwrap();
    converge(&mut cluster, 1);
    let metadata = Place::within("a", "n").metadata();
    cluster.create(Namespace { metadata, spec: NamespaceSpec {}, status: None }).unwrap();
    let mut key = ApiKey::new("", ApiKeySpec::default());
    key.metadata = place().metadata();
    key.spec.digest = Some(specs::digest(0));
    key.spec.scope.all = Some(true);
    cluster.create(key).unwrap();
    converge(&mut cluster, 1);
    cluster
}

fn take(cluster: &mut Cluster, step: &Step) {
    let now = cluster.now;
    let after = |seconds: &Option<i64>| seconds.map(|seconds| now + TimeDelta::seconds(seconds));
    let mut change = |change: &dyn Fn(&mut ApiKeySpec)| {
        edit_key_at(cluster, &place(), |key| change(&mut key.spec));
    };
    match step {
        Step::Expiry(at) => change(&|spec| spec.expires_at = after(at)),
        Step::Unlock(at) => change(&|spec| spec.unlocked_at = after(at)),
        Step::Revoke => change(&|spec| spec.revoked = Some(true)),
        Step::Unrevoke => change(&|spec| spec.revoked = Some(false)),
        Step::Digest(digest) => change(&|spec| spec.digest = Some(specs::digest(*digest))),
        Step::Grace(seconds) => change(&|spec| {
            spec.rotation.get_or_insert_default().grace_period_seconds = *seconds;
        }),
        Step::Scope(all) => change(&|spec| {
            spec.scope.all = all.then_some(true);
            spec.scope.inference = (!all).then_some(true);
        }),
        Step::Addresses(some) => change(&|spec| {
            spec.allowed_cidrs = some.then(|| "203.0.113.0/24".to_owned()).into_iter().collect();
        }),
        Step::Lock => lock(cluster, &place()),
        Step::Clock(seconds) => cluster.pass(*seconds),
        Step::Restart(seed, writes) => look_at_all(cluster, *seed, &mut Budget::of(*writes)),
    }
}

fn status(cluster: &Cluster) -> ApiKeyStatus {
    cluster.api_keys[&place()].status.clone().unwrap_or_default()
}

fn is_final(state: Option<ApiKeyState>) -> bool {
    matches!(state, Some(ApiKeyState::Revoked | ApiKeyState::Expired))
}

/// Whether any digest that there is verifies.
fn verifies(cluster: &Cluster) -> bool {
    (0..4).map(specs::digest).any(|digest| {
        let presented = Presented { digest: &digest, address: "203.0.113.7".parse().ok(), now: cluster.now };
        admit(&candidates(cluster, &digest), presented).is_ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_leads_out_of_revoked_or_expired_and_only_what_is_meant_to_out_of_locked(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let mut cluster = start();
        for step in &steps {
            let before = cluster.api_keys[&place()].clone();
            let was = before.status.clone().unwrap();
            take(&mut cluster, step);
            let (key, now) = (&cluster.api_keys[&place()], status(&cluster));
            if is_final(was.state) {
                prop_assert_eq!(&key.spec, &before.spec, "a key that is over is frozen");
                prop_assert!(now.state == was.state, "{:?} after {:?} by {:?}", now.state, was.state, step);
                prop_assert!(!verifies(&cluster));
            }
            if let (Some(lock), None) = (&was.lock, &now.lock) {
                let unlocked_at = key.spec.unlocked_at;
                prop_assert!(unlocked_at.is_some_and(|at| at > lock.locked_at && at <= cluster.now), "{:?}", step);
            }
            if was.state == Some(ApiKeyState::Locked) && now.lock.is_some() {
                let is_unlocked = now.lock.as_ref().is_some_and(|lock| {
                    key.spec.unlocked_at.is_some_and(|at| at > lock.locked_at && at <= cluster.now)
                });
                prop_assert!(is_unlocked || !verifies(&cluster));
                prop_assert!(now.state == Some(ApiKeyState::Locked) || is_final(now.state) || is_unlocked
                    || now.state == Some(ApiKeyState::Invalid), "{:?}", now.state);
            }
            if key.spec.revoked == Some(true) {
                prop_assert!(!verifies(&cluster));
            }
        }
        converge(&mut cluster, seed);
        let state = status(&cluster).state;
        prop_assert_eq!(cluster.api_keys[&place()].spec.revoked == Some(true), state == Some(ApiKeyState::Revoked));
    }

    #[test]
    fn a_revocation_keeps_its_time_and_is_unbound_only_once_nothing_is_bound(steps in steps(), seed in any::<u64>()) {
        let mut cluster = start();
        let mut said = None;
        let look = |cluster: &Cluster, said: &mut Option<keyplane_crds::Revocation>| {
            let key = &cluster.api_keys[&place()];
            let now = status(cluster).revocation;
            if let Some(said) = &said {
                let now = now.as_ref().unwrap();
                assert_eq!(now.requested_at, said.requested_at);
                assert!(said.unbound_after_millis.is_none() || now.unbound_after_millis == said.unbound_after_millis);
            }
            if now.as_ref().is_some_and(|now| now.unbound_after_millis.is_some()) {
                let children = children_of(cluster, uid_of(key), "a");
                assert!(children.iter().all(|child| child.kind() != ChildKind::RoleBinding));
            }
            *said = now;
        };
        for step in &steps {
            take(&mut cluster, step);
            look(&cluster, &mut said);
        }
        edit_key_at(&mut cluster, &place(), |key| key.spec.revoked = Some(true));
        for round in 0..6 {
            look_at_all(&mut cluster, seed ^ round, &mut Budget::of(usize::try_from(round).unwrap()));
            look(&cluster, &mut said);
        }
        converge(&mut cluster, seed);
        look(&cluster, &mut said);
        let is_revoked = status(&cluster).state == Some(ApiKeyState::Revoked);
        prop_assert_eq!(said.is_some_and(|said| said.unbound_after_millis.is_some()), is_revoked);
    }
}
