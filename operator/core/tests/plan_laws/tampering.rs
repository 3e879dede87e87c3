//! What people with rights in a namespace do to the objects that Keyplane made in it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceQuotaSpec;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use keyplane_core::child::{Child, ChildKind, ChildRef};
use keyplane_core::ownership::{
    DELIVERY_BINDING, MANAGED_BY, MANAGED_BY_LABEL, OWNER_UID_LABEL, OWNERS_BINDING, key_binding_name,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::Cluster;
use crate::stored_form::metadata_mut;

/// A change that the API server lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// All labels are taken off.
    StripLabels,
    /// The label names another owner.
    Relabel,
    /// The content is changed: subjects, selectors, amounts.
    Content,
    /// A finalizer is put on, so that a deletion does not end it.
    Hold,
}

/// Tampering that Keyplane undoes. A finalizer does no harm before the object is deleted.
pub fn undone_tampering() -> impl Strategy<Value = Tampering> {
    prop::sample::select(vec![Tampering::StripLabels, Tampering::Relabel, Tampering::Content])
}

/// The objects that Keyplane made.
pub fn derived(cluster: &Cluster) -> Vec<ChildRef> {
    let is_derived = |child: &Child| {
        child.metadata().labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL)).map(String::as_str)
            == Some(MANAGED_BY)
    };
    cluster.objects.values().filter(|child| is_derived(child)).map(Child::reference).collect()
}

pub fn delete_one(cluster: &mut Cluster, at: Index, core: bool) {
    let places: Vec<ChildRef> =
        derived(cluster).into_iter().filter(|place| (place.kind == ChildKind::Namespace) == core).collect();
    if !places.is_empty() {
        let place = at.get(&places);
        let uid = cluster.objects[place].uid().to_owned();
        cluster.delete_child(place, &uid).unwrap();
    }
}

pub fn tamper_with_one(cluster: &mut Cluster, at: Index, how: Tampering) {
    let places: Vec<ChildRef> =
        derived(cluster).into_iter().filter(|place| is_within_reach(place, how)).collect();
    if !places.is_empty() {
        tamper(cluster, at.get(&places), how);
    }
}

/// Whether somebody who is no administrator of the cluster can do this: nobody else writes core Namespaces, home
/// namespaces and identities, or gives rights there.
pub fn is_within_reach(place: &ChildRef, how: Tampering) -> bool {
    match place.kind {
        ChildKind::Namespace | ChildKind::ServiceAccount | ChildKind::Secret => how == Tampering::Content,
        ChildKind::RoleBinding => {
            ![OWNERS_BINDING, DELIVERY_BINDING].contains(&place.name.as_str()) || how == Tampering::Content
        }
        // Who holds these holds no right: only a namespace of their own.
        ChildKind::ResourceQuota | ChildKind::LimitRange | ChildKind::NetworkPolicy => how != Tampering::Hold,
    }
}

pub fn tamper(cluster: &mut Cluster, place: &ChildRef, how: Tampering) {
    let child = cluster.objects.get_mut(place).unwrap();
    match how {
        Tampering::StripLabels => metadata_mut(child).labels = None,
        Tampering::Relabel => {
            let labels = metadata_mut(child).labels.get_or_insert_default();
            labels.insert(OWNER_UID_LABEL.to_owned(), "somebody-else".to_owned());
        }
        Tampering::Content => change_content(child),
        Tampering::Hold => metadata_mut(child).finalizers = Some(vec!["example.com/hold".to_owned()]),
    }
}

fn change_content(child: &mut Child) {
    let elsewhere = || BTreeMap::from([("no".to_owned(), "pod".to_owned())]);
    match child {
        Child::Namespace(core) => {
            core.metadata.labels.get_or_insert_default().remove("pod-security.kubernetes.io/enforce");
        }
        Child::ServiceAccount(account) => account.automount_service_account_token = Some(true),
        Child::Secret(secret) => secret.immutable = None,
        Child::RoleBinding(binding) => binding.subjects = None,
        Child::ResourceQuota(quota) => quota.spec = Some(ResourceQuotaSpec::default()),
        Child::LimitRange(range) => {
            for item in range.spec.iter_mut().flat_map(|spec| &mut spec.limits) {
                let quantity = k8s_openapi::apimachinery::pkg::api::resource::Quantity("7".to_owned());
                item.default_request.get_or_insert_default().insert("extra".to_owned(), quantity);
            }
        }
        Child::NetworkPolicy(policy) => {
            let spec = policy.spec.get_or_insert_default();
            spec.pod_selector =
                Some(LabelSelector { match_labels: Some(elsewhere()), ..LabelSelector::default() });
            for rule in spec.ingress.iter_mut().flatten() {
                let anybody = LabelSelector::default();
                rule.from = Some(vec![NetworkPolicyPeer {
                    namespace_selector: Some(anybody.clone()),
                    pod_selector: Some(anybody),
                    ..NetworkPolicyPeer::default()
                }]);
            }
        }
    }
}

/// A `RoleBinding` with the name of a key's, in any core Namespace, to a Role of the attacker's own.
pub fn forge_binding(cluster: &mut Cluster, key: Index, within: Index) {
    let cores: Vec<ChildRef> =
        derived(cluster).into_iter().filter(|place| place.kind == ChildKind::Namespace).collect();
    let mut uids: Vec<String> =
        cluster.api_keys.values().filter_map(|key| key.metadata.uid.clone()).collect();
    uids.push("nobody".to_owned());
    if cores.is_empty() {
        return;
    }
    let metadata = ObjectMeta {
        name: Some(key_binding_name(&uids[key.index(uids.len())])),
        namespace: Some(within.get(&cores).name.clone()),
        ..ObjectMeta::default()
    };
    let role_ref = RoleRef { kind: "Role".to_owned(), name: "everything".to_owned(), ..RoleRef::default() };
    let _ = cluster.create_child(&Child::RoleBinding(RoleBinding { metadata, role_ref, subjects: None }));
}
