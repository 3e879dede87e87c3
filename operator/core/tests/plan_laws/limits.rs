//! How much an account may have: the same winners in any order of events, the oldest, and nobody is cut by a lower limit.

use std::collections::BTreeSet;

use keyplane_core::readiness::Status;
use keyplane_crds::{Account, AccountLimits, AccountSpec, ApiKey, ApiKeySpec, Namespace, NamespaceSpec};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::driver::{Budget, converge, look_at_all};
use crate::edits::{edit, edit_key_at};
use crate::model::Cluster;
use crate::resource::{Place, Resource};
use crate::specs;

#[derive(Clone, Debug)]
enum Step {
    Create,
    Delete(Index),
    /// Revokes a key; deletes a namespace.
    End(Index),
    Pass(i64),
    Reconcile(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        6 => Just(Step::Create),
        2 => any::<Index>().prop_map(Step::Delete),
        1 => any::<Index>().prop_map(Step::End),
        1 => (0..3_i64).prop_map(Step::Pass),
        4 => (any::<u64>(), prop_oneof![2 => 0..12_usize, 1 => Just(usize::MAX)])
            .prop_map(|(seed, writes)| Step::Reconcile(seed, writes)),
    ];
    prop::collection::vec(one, 1..24)
}

/// A kind of resource whose number is limited.
trait Limited: Resource {
    fn made(at: usize) -> Self;
    fn end(cluster: &mut Cluster, place: &Place);
    fn set(limits: &mut AccountLimits, limit: u32);
}

impl Limited for ApiKey {
    fn made(at: usize) -> Self {
        let mut key = Self::new("", ApiKeySpec::default());
        key.metadata = Place::within("a", &format!("key-{at}")).metadata();
        key.spec.digest = Some(specs::digest(at));
        key.spec.scope.inference = Some(true);
        key
    }

    fn end(cluster: &mut Cluster, place: &Place) {
        edit_key_at(cluster, place, |key| key.spec.revoked = Some(true));
    }

    fn set(limits: &mut AccountLimits, limit: u32) {
        limits.active_api_keys = Some(limit);
    }
}

impl Limited for Namespace {
    fn made(at: usize) -> Self {
        let metadata = Place::within("a", &format!("n{at}")).metadata();
        Self { metadata, spec: NamespaceSpec {}, status: None }
    }

    fn end(cluster: &mut Cluster, place: &Place) {
        cluster.delete::<Self>(place);
    }

    fn set(limits: &mut AccountLimits, limit: u32) {
        limits.namespaces = Some(limit);
    }
}

fn set_limit<R: Limited>(cluster: &mut Cluster, limit: u32) {
    edit::<Account>(cluster, &Place::cluster("a"), |account| {
        R::set(account.spec.limits.get_or_insert_default(), limit);
    });
}

fn account<R: Limited>(limit: u32) -> Cluster {
    let mut cluster = Cluster::new();
    let spec = AccountSpec { owners: Vec::new(), limits: None, namespace_defaults: None };
    cluster.create(Account { metadata: Place::cluster("a").metadata(), spec, status: None }).unwrap();
    set_limit::<R>(&mut cluster, limit);
    converge(&mut cluster, 1);
    cluster
}

/// Carries out the steps; with a number, the controller looks as the number says instead of as the steps do.
fn run<R: Limited>(cluster: &mut Cluster, steps: &[Step], first: usize, otherwise: Option<u64>) {
    for (at, step) in steps.iter().enumerate() {
        let places: Vec<Place> = R::table(cluster)
            .iter()
            .filter(|(_, one)| one.metadata().deletion_timestamp.is_none())
            .map(|(place, _)| place.clone())
            .collect();
        match step {
            Step::Create => {
                cluster.create(R::made(first + at)).unwrap();
                // Of two of one second the UID decides, which is another in another run.
                cluster.pass(1);
            }
            Step::Delete(at) if !places.is_empty() => cluster.delete::<R>(at.get(&places)),
            Step::End(at) if !places.is_empty() => R::end(cluster, at.get(&places)),
            Step::Pass(seconds) => cluster.pass(*seconds),
            Step::Reconcile(seed, writes) => match otherwise {
                None => look_at_all(cluster, *seed, &mut Budget::of(*writes)),
                Some(other) => {
                    let writes = usize::try_from(other % 9).unwrap();
                    look_at_all(cluster, seed ^ other, &mut Budget::of(writes));
                }
            },
            _ => {}
        }
    }
}

/// The names of those that are Ready, and of those that wait for room.
fn standing<R: Limited>(cluster: &Cluster) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut said = (BTreeSet::new(), BTreeSet::new());
    for (place, resource) in R::table(cluster) {
        let status = resource.status().unwrap();
        if status.is_ready_at(resource.metadata().generation) {
            said.0.insert(place.name.clone());
        } else if status.conditions()[0].reason == "LimitReached" {
            said.1.insert(place.name.clone());
        }
    }
    said
}

fn oldest(cluster: &Cluster, names: &BTreeSet<String>, limit: u32) -> BTreeSet<String> {
    let mut by_age: Vec<_> = cluster
        .api_keys
        .values()
        .map(|key| &key.metadata)
        .chain(cluster.namespaces.values().map(|namespace| &namespace.metadata))
        .filter(|metadata| names.contains(metadata.name.as_ref().unwrap()))
        .map(|metadata| {
            (metadata.creation_timestamp.clone(), metadata.uid.clone(), metadata.name.clone().unwrap())
        })
        .collect();
    by_age.sort();
    by_age.into_iter().take(usize::try_from(limit).unwrap()).map(|(.., name)| name).collect()
}

fn the_oldest_win<R: Limited>(limit: u32, steps: &[Step], seed: u64) {
    let mut cluster = account::<R>(limit);
    let mut otherwise = cluster.clone();
    run::<R>(&mut cluster, steps, 100, None);
    converge(&mut cluster, seed);
    let (ready, waiting) = standing::<R>(&cluster);
    let all: BTreeSet<String> = ready.union(&waiting).cloned().collect();
    assert!(ready.len() <= usize::try_from(limit).unwrap());
    assert!(waiting.is_empty() || ready.len() == usize::try_from(limit).unwrap());
    assert_eq!(ready, oldest(&cluster, &all, limit));
    run::<R>(&mut otherwise, steps, 100, Some(seed));
    converge(&mut otherwise, !seed);
    assert_eq!(standing::<R>(&otherwise), (ready, waiting));
}

fn a_lower_limit_cuts_nobody<R: Limited>(limits: (u32, u32), steps: &[Step], later: &[Step], seed: u64) {
    let mut cluster = account::<R>(limits.0.max(limits.1));
    run::<R>(&mut cluster, steps, 100, None);
    converge(&mut cluster, seed);
    let (before, _) = standing::<R>(&cluster);
    let lower = limits.0.min(limits.1);
    set_limit::<R>(&mut cluster, lower);
    converge(&mut cluster, seed);
    assert_eq!(standing::<R>(&cluster).0, before);
    // Nothing is added while there is no room, and what was cut by nobody is cut by nothing later.
    run::<R>(&mut cluster, later, 200, None);
    converge(&mut cluster, seed);
    let (ready, _) = standing::<R>(&cluster);
    let kept: BTreeSet<String> = before.intersection(&ready).cloned().collect();
    assert!(ready.len() <= usize::try_from(lower).unwrap() || ready == kept);
    let lost: Vec<&String> = before.difference(&ready).collect();
    for (place, resource) in R::table(&cluster).iter().filter(|(place, _)| lost.contains(&&place.name)) {
        assert_ne!(resource.status().unwrap().conditions()[0].reason, "LimitReached", "{place:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn at_a_constant_limit_the_oldest_keys_win_in_any_order(limit in 0..4_u32, steps in steps(), seed in any::<u64>()) {
        the_oldest_win::<ApiKey>(limit, &steps, seed);
    }

    #[test]
    fn at_a_constant_limit_the_oldest_namespaces_win_in_any_order(
        limit in 0..4_u32,
        steps in steps(),
        seed in any::<u64>(),
    ) {
        the_oldest_win::<Namespace>(limit, &steps, seed);
    }

    #[test]
    fn a_lower_limit_cuts_no_key_and_adds_none(
        limits in (0..6_u32, 0..6_u32),
        steps in steps(),
        later in steps(),
        seed in any::<u64>(),
    ) {
        a_lower_limit_cuts_nobody::<ApiKey>(limits, &steps, &later, seed);
    }

    #[test]
    fn a_lower_limit_cuts_no_namespace_and_adds_none(
        limits in (0..6_u32, 0..6_u32),
        steps in steps(),
        later in steps(),
        seed in any::<u64>(),
    ) {
        a_lower_limit_cuts_nobody::<Namespace>(limits, &steps, &later, seed);
    }
}
