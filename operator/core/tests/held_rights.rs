//! A right that somebody holds in being with a finalizer is freed from it, and no key is Ready while it lasts.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::api_key::{ObservedApiKey, OwnedNamespace, RecipientKey, plan, shard_name};
use keyplane_core::child::Child;
use keyplane_core::plan::{Action, Plan, plan_orphans, teardown};
use keyplane_crds::{Account, ApiKey, ApiKeyStatus, GrantedNamespace};
use serde_json::{Value, json};

fn now() -> DateTime<Utc> {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn decode<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A key of role view in the namespace `db` of the account `acme`, with what was made for it before.
fn observed(children: Vec<Child>) -> ObservedApiKey {
    let key: ApiKey = decode(json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "ci", "namespace": "acme", "uid": "k1", "generation": 2,
            "creationTimestamp": "2026-11-20T00:00:00Z", "finalizers": ["keyplane.dev/cleanup"]},
        "spec": {"digest": format!("sha256:{}", "0".repeat(64)),
            "scope": {"kubernetesExec": {"namespaces": ["db"], "role": "view"}}},
    }));
    let account: Account = decode(json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "Account",
        "metadata": {"name": "acme", "uid": "a1"}, "spec": {},
    }));
    let namespace = GrantedNamespace {
        id: "n1".to_owned(),
        name: "db".to_owned(),
        kubernetes_name: "acme-db".to_owned(),
    };
    ObservedApiKey {
        key: Arc::new(key),
        account: Some(Arc::new(account)),
        namespaces: vec![OwnedNamespace { namespace, provisioned: true }],
        claims: BTreeMap::new(),
        remembered: BTreeSet::new(),
        rank: 0,
        tombstone_shard: shard_name("acme", 0),
        recipient: RecipientKey::Absent,
        children,
    }
}

fn binding(namespace: &str, finalizers: &[&str], terminating: bool) -> Child {
    let mut value = json!({
        "metadata": {"name": "keyplane-key-k1", "namespace": namespace, "uid": format!("b-{namespace}"),
            "finalizers": finalizers, "labels": {"keyplane.dev/owner-uid": "k1"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keyplane:admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "key-k1", "namespace": "keyplane-identities"}],
    });
    if terminating {
        value["metadata"]["deletionTimestamp"] = json!("2026-11-21T00:00:00Z");
    }
    Child::from(decode::<RoleBinding>(value))
}

/// What the key has after its plan was carried out once, beside the given objects.
fn settled(held: &Child) -> Plan<ApiKeyStatus> {
    let first = plan(&observed(Vec::new()), now());
    let made = first.actions.into_iter().filter_map(|action| match action {
        Action::Create(child) => Some(child),
        _ => None,
    });
    plan(&observed(made.chain([held.clone()]).collect()), now())
}

#[test]
fn a_right_that_is_no_longer_granted_is_deleted_then_released_and_the_key_is_not_ready_meanwhile() {
    let deleted = settled(&binding("acme-web", &["mallory.example/keep"], false));
    assert!(matches!(deleted.actions.as_slice(), [Action::Delete { .. }]), "{deleted:?}");

    let held = settled(&binding("acme-web", &["mallory.example/keep"], true));
    assert!(matches!(held.actions.as_slice(), [Action::Release { .. }]), "{held:?}");

    let going = settled(&binding("acme-web", &[], true));
    assert!(going.actions.is_empty(), "{going:?}");
    for plan in [deleted, held, going] {
        let status = plan.status.unwrap();
        assert_eq!(status.conditions[0].reason, "Provisioning");
    }
}

#[test]
fn a_wanted_right_that_is_held_while_it_goes_is_released_so_that_it_can_come_back() {
    let held = plan(&observed(vec![binding("acme-db", &["mallory.example/keep"], true)]), now());
    assert!(held.actions.iter().any(|action| matches!(action, Action::Release { .. })), "{held:?}");
}

#[test]
fn revocation_deletion_and_the_sweep_release_what_is_held() {
    let children = vec![binding("acme-db", &["mallory.example/keep"], true)];
    let mut revoked = observed(children.clone());
    Arc::make_mut(&mut revoked.key).spec.revoked = Some(true);
    for actions in [plan(&revoked, now()).actions, teardown(&children, true), plan_orphans(&children)] {
        let taken: Vec<&Action> =
            actions.iter().filter(|action| !matches!(action, Action::Remember(_))).collect();
        assert!(matches!(taken.as_slice(), [Action::Release { .. }]), "{actions:?}");
    }
}
