//! What every single step must respect, whatever the state of the cluster: checked before each step is carried out.

use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::api_key::{KeyRecord, Known, holder};
use keyplane_core::child::{Child, ChildKind, ChildRef};
use keyplane_core::ownership::{
    ACCOUNT_LABEL, DELIVERY_BINDING, DIGEST_ANNOTATION, FINALIZER, OWNERS_BINDING, anchor_name,
    identity_name, is_made_for, key_binding_name, kubernetes_name, owner_uid,
};
use keyplane_core::plan::Action;
use keyplane_crds::IDENTITIES_NAMESPACE;

use crate::entitlement::is_home_of_live_account;
use crate::model::Cluster;
use crate::observe::{account_name, children_of};
use crate::observe_keys::candidates;

/// Rights are taken in the order in which they end soonest.
pub fn order(actions: &[Action]) {
    let ranks: Vec<u8> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Delete { child, .. } => match child.kind {
                ChildKind::RoleBinding => Some(0),
                ChildKind::Secret => Some(1),
                ChildKind::ServiceAccount => Some(2),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let is_replacing = actions.iter().any(Action::gives);
    assert!(
        is_replacing || ranks.is_sorted(),
        "RoleBindings, then Secrets, then ServiceAccounts: {actions:#?}"
    );
    assert!(actions.len() == 1 || !actions.contains(&Action::RemoveFinalizer), "the finalizer goes alone");
}

/// Only rights are freed from other people's finalizers: anything else harms nobody by lingering.
pub fn freed(actions: &[Action]) {
    for action in actions {
        let Action::Release { child, .. } = action else {
            continue;
        };
        let rights = [ChildKind::RoleBinding, ChildKind::Secret, ChildKind::ServiceAccount];
        assert!(rights.contains(&child.kind), "{child} is no right");
    }
}

/// Nothing is made for a resource that could then be deleted without a trace.
pub fn finalizer_first(resource: &ObjectMeta, actions: &[Action]) {
    let is_held = resource.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let at = actions.iter().position(|action| *action == Action::AddFinalizer);
    let gives = actions.iter().position(Action::gives);
    assert!(
        is_held || gives.is_none_or(|gives| at.is_some_and(|at| at < gives)),
        "made without a finalizer: {actions:#?}"
    );
}

/// One step for the resource with this metadata.
pub fn step(cluster: &Cluster, actor: &ObjectMeta, action: &Action) {
    let uid = actor.uid.as_deref().unwrap();
    match action {
        Action::AddFinalizer => {}
        Action::Remember(tombstone) => remembered(cluster, actor, &tombstone.digest),
        Action::Issue(issue) => {
            assert_eq!(issue.owner.uid, uid);
            assert!(actor.deletion_timestamp.is_none(), "no key is made for what is being deleted");
        }
        Action::RemoveFinalizer => {
            let left = children_of(cluster, uid, account_name(actor));
            assert!(left.is_empty(), "the finalizer goes while this is left: {left:#?}");
        }
        Action::Create(child) => given(cluster, actor, child),
        Action::Update { desired, .. } => {
            touched(cluster, actor, &desired.reference());
            given(cluster, actor, desired);
        }
        Action::Delete { child, .. } => touched(cluster, actor, child),
        Action::Release { child, .. } => {
            touched(cluster, actor, child);
            let found = cluster.objects.get(child);
            assert!(found.is_none_or(Child::is_terminating), "{child} is freed although nobody deletes it");
        }
    }
}

/// Only the key that holds a digest, or has it on record, in whichever copy is left, has it remembered.
fn remembered(cluster: &Cluster, actor: &ObjectMeta, digest: &str) {
    let candidates = candidates(cluster, digest);
    let is_actor = |known: &Known| known.key.metadata.uid == actor.uid;
    let holds = holder(&candidates, digest).is_some_and(is_actor);
    let children = children_of(cluster, actor.uid.as_deref().unwrap(), account_name(actor));
    let had = KeyRecord::among(&children).is_some_and(|record| record.digests().contains(&digest));
    assert!(holds || had, "{digest} is not the actor's: {actor:#?}");
}

/// An object that is changed or deleted was made for the actor: so its name says, its label, or the core Namespace in
/// which it has a reserved name.
fn touched(cluster: &Cluster, actor: &ObjectMeta, place: &ChildRef) {
    let uid = actor.uid.as_deref().unwrap();
    let Some(found) = cluster.objects.get(place) else {
        return;
    };
    let owner = owner_uid(found.metadata());
    if place.kind == ChildKind::Namespace {
        assert_eq!(owner, Some(uid), "{place} is not the actor's");
        return;
    }
    let stands_in_own = place.namespace.as_deref().and_then(|name| cluster.core(name));
    let is_own = owner == Some(uid) || stands_in_own.is_some_and(|core| is_made_for(core, Some(uid)));
    assert!(is_own, "{place} is not the actor's");
}

/// An object that is made or mended stands where the actor may have one, and gives no more than it may give.
fn given(cluster: &Cluster, actor: &ObjectMeta, child: &Child) {
    let uid = actor.uid.as_deref().unwrap();
    assert!(actor.deletion_timestamp.is_none(), "nothing is made for what is being deleted");
    let place = child.reference();
    let within = place.namespace.as_deref();
    let takes_objects = within
        .is_none_or(|name| cluster.core(name).is_some_and(|core| core.metadata.deletion_timestamp.is_none()));
    assert!(takes_objects, "{place} stands in a namespace that is being deleted, or in none");
    let is_within_own =
        || within.and_then(|name| cluster.core(name)).is_some_and(|core| is_made_for(core, Some(uid)));
    match child {
        Child::Namespace(core) => assert!(is_made_for(core, Some(uid))),
        Child::ServiceAccount(_) => {
            assert_eq!(within, Some(IDENTITIES_NAMESPACE));
            assert_eq!(place.name, identity_name(uid));
        }
        Child::Secret(anchor) => {
            assert_eq!(within, Some(IDENTITIES_NAMESPACE));
            let digest = anchor.metadata.annotations.as_ref().unwrap().get(DIGEST_ANNOTATION).unwrap();
            assert_eq!(place.name, anchor_name(uid, digest));
            assert!(anchor.data.is_none() && anchor.string_data.is_none(), "an anchor holds nothing");
        }
        Child::RoleBinding(binding) if place.name == OWNERS_BINDING => {
            assert!(is_within_own(), "owners are bound in the home namespace alone");
            assert_eq!(binding.role_ref.name, "keyplane:account-owner");
        }
        Child::RoleBinding(binding) if place.name == DELIVERY_BINDING => {
            assert!(is_within_own(), "keys are delivered in home namespaces alone");
            assert_eq!(binding.role_ref.name, "keyplane:delivery");
        }
        Child::RoleBinding(binding) => key_binding(cluster, actor, binding),
        Child::ResourceQuota(_) | Child::LimitRange(_) | Child::NetworkPolicy(_) => assert!(is_within_own()),
    }
}

/// Invariant I7.
fn key_binding(cluster: &Cluster, key: &ObjectMeta, binding: &RoleBinding) {
    let uid = key.uid.as_deref().unwrap();
    assert_eq!(binding.metadata.name.as_deref(), Some(key_binding_name(uid).as_str()));
    assert_eq!(binding.role_ref.kind, "ClusterRole");
    assert!(["keyplane:view", "keyplane:edit", "keyplane:admin"].contains(&binding.role_ref.name.as_str()));
    let [subject] = binding.subjects.as_deref().unwrap() else { panic!("one subject: the key") };
    assert_eq!((subject.kind.as_str(), &subject.name), ("ServiceAccount", &identity_name(uid)));
    assert_eq!(subject.namespace.as_deref(), Some(IDENTITIES_NAMESPACE));
    let home = key.namespace.as_deref().unwrap();
    assert!(is_home_of_live_account(cluster, home), "a key outside of an account's home is given nothing");
    let place = binding.metadata.namespace.as_deref().unwrap();
    let core = cluster.core(place).expect("a RoleBinding needs its namespace");
    let is_granted = cluster.namespaces.values().any(|namespace| {
        namespace.metadata.namespace.as_deref() == Some(home)
            && namespace.metadata.deletion_timestamp.is_none()
            && kubernetes_name(namespace) == place
            && is_made_for(core, namespace.metadata.uid.as_deref())
    });
    assert!(is_granted, "{place} was not made for a namespace of {home}");
    assert_eq!(core.metadata.labels.as_ref().unwrap().get(ACCOUNT_LABEL).map(String::as_str), Some(home));
}
