//! Invariant I6: whatever is deleted, wherever the controller is killed, in whatever order it looks: the end is the
//! same.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use keyplane_core::api_key::{KeyRecord, VERSIONS_ANNOTATION, Version};
use keyplane_core::child::{Child, ChildKind, ChildRef};
use keyplane_core::ownership::{DIGEST_ANNOTATION, owner_uid};
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::driver::{Budget, converge, look_at_all};
use crate::model::Cluster;
use crate::operations::{DISTINCT, Operation, any_operation, benign, history};
use crate::resource::Resource;
use crate::specs::is_issued;
use crate::stored_form::metadata_mut;
use crate::tampering::{Tampering, derived, is_within_reach, tamper, undone_tampering};

/// A cluster without what differs from run to run: UIDs and times of the objects that Keyplane makes, the times of
/// conditions and of records, and which of the keys it made it was that reached its owner.
type Outcome = (BTreeMap<String, String>, BTreeMap<ChildRef, Child>, BTreeSet<String>);

fn outcome(cluster: &Cluster) -> Outcome {
    let mut resources = BTreeMap::new();
    describe::<Account>(cluster, "Account", &mut resources);
    describe::<Namespace>(cluster, "Namespace", &mut resources);
    describe::<ApiKey>(cluster, "ApiKey", &mut resources);
    describe::<SshKey>(cluster, "SshKey", &mut resources);
    let mut objects = BTreeMap::new();
    for mut object in cluster.objects.values().cloned() {
        let metadata = metadata_mut(&mut object);
        metadata.uid = None;
        metadata.creation_timestamp = None;
        metadata.resource_version = None;
        let digest = metadata.annotations.iter_mut().find_map(|map| map.remove(DIGEST_ANNOTATION));
        if let Some(digest) = digest.filter(|digest| is_issued(digest)) {
            let mark = digest.trim_start_matches("sha256:").get(..32).unwrap().to_owned();
            metadata.name = metadata.name.take().map(|name| name.replace(&mark, "issued"));
        }
        let record = KeyRecord::of(metadata);
        if let (Some(record), Some(annotations)) = (record, &mut metadata.annotations) {
            annotations.insert(VERSIONS_ANNOTATION.to_owned(), gist(&record));
        }
        // An anchor carries a copy, which that of a replaced version keeps as it was.
        if object.kind() == ChildKind::Secret {
            metadata_mut(&mut object).annotations = None;
        }
        objects.insert(object.reference(), object);
    }
    let tombstones = cluster.tombstones.iter().filter(|digest| !is_issued(digest)).cloned().collect();
    (resources, objects, tombstones)
}

/// What a record says, without its times and numbers.
fn gist(record: &KeyRecord) -> String {
    let name = |version: &Version| {
        if is_issued(&version.digest) { "issued".to_owned() } else { version.digest.clone() }
    };
    let live = record.live.as_ref().map(name);
    let previous = record.previous.as_ref().map(|retired| name(&retired.version));
    let waiting = record.ended.len() + usize::from(record.pending.is_some());
    format!("{live:?} {previous:?} {waiting} {}", record.admitted_under)
}

fn describe<R: Resource>(cluster: &Cluster, kind: &str, into: &mut BTreeMap<String, String>) {
    for (place, resource) in R::table(cluster) {
        let mut resource = resource.clone();
        if let Some(status) = resource.status() {
            let mut text = serde_json::to_value(status).unwrap();
            without_times(&mut text);
            resource.set_status(serde_json::from_value(text).unwrap());
        }
        into.insert(format!("{kind} {place:?}"), format!("{resource:#?}"));
    }
}

/// Takes out of a status what differs from run to run.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "lastTransitionTime" | "since" | "previousUntil" | "requestedAt" => {
                        *field = json!(DateTime::<Utc>::UNIX_EPOCH);
                    }
                    "number" | "unboundAfterMillis" => *field = json!(0),
                    "digest" | "sealedKey" => *field = json!("issued"),
                    _ => without_times(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

fn after(steps: &[Operation]) -> Cluster {
    let mut cluster = Cluster::new();
    for step in steps {
        step.apply(&mut cluster, DISTINCT);
    }
    cluster
}

/// Whether the object is the ServiceAccount of a key that has no anchor now, and so no copy of its record.
fn is_only_record(cluster: &Cluster, place: &ChildRef) -> bool {
    let owner = owner_uid(cluster.objects[place].metadata());
    let is_anchor = |child: &Child| child.kind() == ChildKind::Secret && owner_uid(child.metadata()) == owner;
    place.kind == ChildKind::ServiceAccount && !cluster.objects.values().any(is_anchor)
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
        let mut places = derived(&cluster);
        places.retain(|place| !is_only_record(&cluster, place));
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
        // Nothing of what earlier declarations led to is left to build on, but the homes the declarations stand in and
        // the records: which keys were handed over, no declaration says.
        let homes: Vec<String> = cluster.accounts.keys().map(|place| place.name.clone()).collect();
        let mut places = derived(&cluster);
        places.retain(|place| place.kind != ChildKind::ServiceAccount && !homes.contains(&place.name));
        for place in &places {
            let Some(uid) = cluster.objects.get(place).map(|child| child.uid().to_owned()) else { continue };
            cluster.delete_child(place, &uid).unwrap();
        }
        cluster.collect_namespaces();
        converge(&mut cluster, !seed);
        prop_assert_eq!(outcome(&cluster), expected);
    }
}
