//! Invariant I6: whatever is deleted, wherever the controller is killed, in whatever order it looks: the end is the
//! same.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use keyplane_core::child::{Child, ChildRef};
use keyplane_core::readiness::Status;
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::driver::{Budget, converge, look_at_all};
use crate::model::Cluster;
use crate::operations::{DISTINCT, Operation, any_operation, benign, history};
use crate::resource::Resource;
use crate::stored_form::metadata_mut;
use crate::tampering::{Tampering, derived, is_within_reach, tamper, undone_tampering};

/// A cluster without what differs from run to run: UIDs and times of the objects that Keyplane makes, and the times of
/// conditions.
type Outcome = (BTreeMap<String, String>, BTreeMap<ChildRef, Child>);

fn outcome(cluster: &Cluster) -> Outcome {
    let mut resources = BTreeMap::new();
    describe::<Account>(cluster, "Account", &mut resources);
    describe::<Namespace>(cluster, "Namespace", &mut resources);
    describe::<ApiKey>(cluster, "ApiKey", &mut resources);
    describe::<SshKey>(cluster, "SshKey", &mut resources);
    let mut objects = cluster.objects.clone();
    for object in objects.values_mut() {
        let metadata = metadata_mut(object);
        metadata.uid = None;
        metadata.creation_timestamp = None;
    }
    (resources, objects)
}

fn describe<R: Resource>(cluster: &Cluster, kind: &str, into: &mut BTreeMap<String, String>) {
    for (place, resource) in R::table(cluster) {
        let mut resource = resource.clone();
        if let Some(mut status) = resource.status().cloned() {
            let generation = status.conditions().first().and_then(|condition| condition.observed_generation);
            let mut conditions = status.conditions().to_vec();
            for condition in &mut conditions {
                condition.last_transition_time = DateTime::<Utc>::MIN_UTC;
            }
            status.set_conditions(conditions, generation);
            resource.set_status(status);
        }
        into.insert(format!("{kind} {place:?}"), format!("{resource:#?}"));
    }
}

fn after(steps: &[Operation]) -> Cluster {
    let mut cluster = Cluster::new();
    for step in steps {
        step.apply(&mut cluster, DISTINCT);
    }
    cluster
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn killed_between_any_two_writes_and_in_any_order_it_ends_the_same(
        steps in history(any_operation()),
        seed in any::<u64>(),
        kills in prop::collection::vec((0..12_usize, any::<u64>()), 1..5),
    ) {
        let start = after(&steps);
        let mut undisturbed = start.clone();
        converge(&mut undisturbed, seed);
        let mut disturbed = start;
        for (writes, order) in kills {
            look_at_all(&mut disturbed, order, &mut Budget::of(writes));
        }
        converge(&mut disturbed, !seed);
        prop_assert_eq!(outcome(&undisturbed), outcome(&disturbed));
    }

    #[test]
    fn any_derived_object_is_made_again_as_it_was(
        steps in history(benign()),
        at in any::<Index>(),
        seed in any::<u64>(),
    ) {
        let mut cluster = after(&steps);
        converge(&mut cluster, seed);
        let expected = outcome(&cluster);
        let places = derived(&cluster);
        prop_assume!(!places.is_empty());
        let place = at.get(&places);
        // With its home namespace an account's declarations go too: those are not derived.
        prop_assume!(!cluster.accounts.keys().any(|account| account.name == place.name));
        let uid = cluster.objects[place].uid().to_owned();
        cluster.delete_child(place, &uid).unwrap();
        converge(&mut cluster, !seed);
        prop_assert_eq!(outcome(&cluster), expected);
    }

    #[test]
    fn any_derived_object_that_was_tampered_with_is_mended(
        steps in history(benign()),
        at in any::<Index>(),
        how in undone_tampering(),
        seed in any::<u64>(),
    ) {
        let mut cluster = after(&steps);
        converge(&mut cluster, seed);
        let expected = outcome(&cluster);
        // What claims another owner where only its label tells is refused, not taken over.
        let is_refused = |place: &ChildRef| how == Tampering::Relabel && !place.name.starts_with("keyplane-key-");
        let places: Vec<ChildRef> = derived(&cluster)
            .into_iter()
            .filter(|place| is_within_reach(place, how) && !is_refused(place))
            .collect();
        prop_assume!(!places.is_empty());
        tamper(&mut cluster, at.get(&places), how);
        converge(&mut cluster, !seed);
        prop_assert_eq!(outcome(&cluster), expected);
    }

    #[test]
    fn the_end_depends_on_what_is_declared_and_not_on_what_was(
        steps in history(benign()),
        seed in any::<u64>(),
    ) {
        let mut cluster = after(&steps);
        converge(&mut cluster, seed);
        let expected = outcome(&cluster);
        // Nothing of what earlier declarations led to is left to build on, but the homes the declarations stand in.
        let homes: Vec<String> = cluster.accounts.keys().map(|place| place.name.clone()).collect();
        for place in derived(&cluster).iter().filter(|place| !homes.contains(&place.name)) {
            let Some(uid) = cluster.objects.get(place).map(|child| child.uid().to_owned()) else { continue };
            cluster.delete_child(place, &uid).unwrap();
        }
        cluster.collect_namespaces();
        converge(&mut cluster, !seed);
        prop_assert_eq!(outcome(&cluster), expected);
    }
}
