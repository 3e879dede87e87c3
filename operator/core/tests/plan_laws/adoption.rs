//! Keyplane never takes over what it did not make, and takes away all that it did.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef};
use keyplane_core::child::{Child, ChildKind, ChildRef};
use keyplane_core::ownership::{MANAGED_BY_LABEL, OWNER_UID_LABEL, OWNERS_BINDING};
use keyplane_crds::{Account, ApiKey, IDENTITIES_NAMESPACE, Namespace};
use proptest::prelude::*;

use crate::driver::converge;
use crate::model::{Cluster, core_namespace};
use crate::operations::{COLLIDING, DISTINCT, any_operation, benign, history};
use crate::resource::{Place, Resource};
use crate::stored_form::metadata_mut;
use crate::tampering::derived;

/// Core Namespaces where accounts `a` and `a-b` and their namespaces would be, and what stands in them: with our label
/// and another owner, with our managed-by label alone, and with nothing of ours.
fn squatters() -> impl Strategy<Value = Vec<Child>> {
    let names = prop::sample::subsequence(vec!["a", "a-b", "a-c", "a-b-c", "b"], 1..5);
    (names, prop::collection::vec(0..3_u8, 5)).prop_map(|(names, kinds)| {
        let made = |(name, kind): (&&str, &u8)| {
            let mut core = core_namespace(name);
            let labels = metadata_mut(&mut core).labels.get_or_insert_default();
            match kind {
                0 => drop(labels.insert(OWNER_UID_LABEL.to_owned(), "another".to_owned())),
                1 => drop(labels.insert(MANAGED_BY_LABEL.to_owned(), "keyplane".to_owned())),
                _ => {}
            }
            let metadata = Place::within(name, OWNERS_BINDING).metadata();
            let role_ref =
                RoleRef { kind: "Role".to_owned(), name: "theirs".to_owned(), ..RoleRef::default() };
            [core, Child::RoleBinding(RoleBinding { metadata, role_ref, subjects: None })]
        };
        names.iter().zip(&kinds).flat_map(made).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_others_made_is_as_they_left_it_after_any_history(
        squatters in squatters(),
        steps in history(benign()),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for squatter in &squatters {
            cluster.create_child(squatter).unwrap();
        }
        let theirs: BTreeMap<ChildRef, Child> = cluster.objects.clone();
        for step in &steps {
            step.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        for (place, child) in &theirs {
            prop_assert_eq!(cluster.objects.get(place), Some(child));
            // Nothing of ours was put beside it either.
            if place.kind == ChildKind::Namespace && place.name != IDENTITIES_NAMESPACE {
                let beside = |other: &&ChildRef| other.namespace.as_ref() == Some(&place.name);
                prop_assert!(cluster.objects.keys().filter(beside).all(|other| theirs.contains_key(other)));
            }
        }
    }

    #[test]
    fn when_every_resource_is_deleted_nothing_that_was_made_is_left(
        steps in history(benign()),
        seed in any::<u64>(),
        by_account in any::<bool>(),
    ) {
        let mut cluster = Cluster::new();
        let empty = cluster.objects.clone();
        for step in &steps {
            step.apply(&mut cluster, DISTINCT);
        }
        if !by_account {
            delete_all::<ApiKey>(&mut cluster);
            delete_all::<Namespace>(&mut cluster);
            converge(&mut cluster, seed);
            prop_assert!(cluster.api_keys.is_empty() && cluster.namespaces.is_empty());
        }
        delete_all::<Account>(&mut cluster);
        converge(&mut cluster, !seed);
        prop_assert!(cluster.accounts.is_empty() && cluster.api_keys.is_empty() && cluster.namespaces.is_empty());
        prop_assert_eq!(&cluster.objects, &empty);
    }

    #[test]
    fn a_taken_name_comes_to_its_resource_once_its_squatter_is_gone(
        steps in history(any_operation()),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            step.apply(&mut cluster, DISTINCT);
        }
        converge(&mut cluster, seed);
        let ours = derived(&cluster);
        let squatters: Vec<ChildRef> = cluster
            .objects
            .keys()
            .filter(|place| place.kind == ChildKind::Namespace && !ours.contains(place))
            .filter(|place| !["default", IDENTITIES_NAMESPACE].contains(&place.name.as_str()))
            .cloned()
            .collect();
        for place in squatters {
            let uid = cluster.objects[&place].uid().to_owned();
            cluster.delete_child(&place, &uid).unwrap();
        }
        converge(&mut cluster, !seed);
        for account in cluster.accounts.values() {
            let home = account.metadata.name.as_deref().unwrap();
            prop_assert!(crate::observe::account_of(&cluster, home).is_some());
        }
    }
}

fn delete_all<R: Resource>(cluster: &mut Cluster) {
    let places: Vec<Place> = R::table(cluster).keys().cloned().collect();
    for place in places {
        cluster.delete::<R>(&place);
    }
}
