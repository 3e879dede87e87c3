//! What is kept in `keyplane-identities` besides anchors: the records of keys' versions, which only the controller
//! writes, and the tombstones of revoked keys, which only grow.

use anyhow::Result;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::shared::shared_installation;
use serde_json::{Map, Value, json};

use super::attempt::Outcome::{self, Accepted, Forbidden, Refused};
use super::attempt::{ADMINISTRATOR, API, Attempt, CONTROLLER, person};

const IDENTITIES: &str = "keyplane-identities";
const PATH: &str = "/api/v1/namespaces/keyplane-identities";
const ONLY_TOMBSTONES: &str = "holds only the ConfigMaps of revoked keys";
const NEVER_FORGOTTEN: &str = "no revoked key is ever forgotten";
const NOT_DELETED: &str = "nothing is deleted from keyplane-identities that remembers revoked keys";
const RECORDS: &str = "only Keyplane's controller writes annotations and labels keyplane.dev/*";

const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";
const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

async fn each(cluster: &ControlPlane, user: &str, rows: Vec<(Attempt, Outcome)>) -> Result<()> {
    for (attempt, outcome) in rows {
        attempt.comes_to(cluster, user, outcome).await?;
    }
    Ok(())
}

/// A user who may do anything with what is in `keyplane-identities`, as far as RBAC goes, and is no administrator: a
/// GitOps controller or a backup, say. The name is the test's.
async fn somebody_with_all_rights(cluster: &ControlPlane, name: &str) -> Result<String> {
    let name = format!("{name}-{}", std::process::id());
    let verbs = ["get", "list", "create", "patch", "update", "delete", "deletecollection"];
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"namespace": IDENTITIES, "name": name},
        "rules": [{"apiGroups": [""], "resources": ["configmaps", "secrets", "serviceaccounts"], "verbs": verbs}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"namespace": IDENTITIES, "name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [person("User", &name)],
    });
    for object in [role, binding] {
        Attempt::create(object).done(cluster, ADMINISTRATOR).await?;
    }
    Ok(name)
}

async fn forget(cluster: &ControlPlane, user: &str) -> Result<()> {
    for kind in ["roles", "rolebindings"] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{IDENTITIES}/{kind}/{user}");
        Attempt::delete(path).done(cluster, ADMINISTRATOR).await?;
    }
    Ok(())
}

/// The digest of no key: the number in hexadecimal.
fn digest(number: usize) -> String {
    format!("{number:064x}")
}

fn tombstones(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": IDENTITIES,
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "keyplane"},
        },
        "data": data,
    })
}

fn one(name: &str, key: &str) -> Value {
    tombstones(name, &json!({key: "2026-11-21T10:00:00Z"}))
}

fn with(mut object: Value, field: &str, value: Value) -> Attempt {
    if let Value::Object(fields) = &mut object {
        fields.insert(field.to_owned(), value);
    }
    Attempt::create(object)
}

#[tokio::test]
async fn a_tombstone_is_a_config_map_of_digests() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let somebody = somebody_with_all_rights(cluster, "tombstone-shape").await?;
    let rows = || {
        let unlabelled = json!({"namespace": IDENTITIES, "name": "revoked-shape-0"});
        let labelled_otherwise = json!({
            "namespace": IDENTITIES,
            "name": "revoked-shape-0",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
        });
        vec![
            (Attempt::create(one("revoked-shape-0", &digest(1))), Accepted),
            (Attempt::create(tombstones("revoked-shape-0", &json!({}))), Accepted),
            (Attempt::create(tombstones("revoked-shape-0", &Value::Null)), Accepted),
            (Attempt::create(one("shape", &digest(1))), Refused(ONLY_TOMBSTONES)),
            (Attempt::create(one("not-revoked-shape-0", &digest(1))), Refused(ONLY_TOMBSTONES)),
            (Attempt::create(one("revoked-shape-0", &digest(10).to_uppercase())), Refused(ONLY_TOMBSTONES)),
            (Attempt::create(one("revoked-shape-0", &"a".repeat(63))), Refused(ONLY_TOMBSTONES)),
            (Attempt::create(one("revoked-shape-0", &"a".repeat(65))), Refused(ONLY_TOMBSTONES)),
            (Attempt::create(one("revoked-shape-0", "settings.yaml")), Refused(ONLY_TOMBSTONES)),
            (
                with(one("revoked-shape-0", &digest(1)), "binaryData", json!({digest(2): "YQ=="})),
                Refused(ONLY_TOMBSTONES),
            ),
            (with(one("revoked-shape-0", &digest(1)), "metadata", unlabelled), Refused(ONLY_TOMBSTONES)),
            (
                with(one("revoked-shape-0", &digest(1)), "metadata", labelled_otherwise),
                Refused(ONLY_TOMBSTONES),
            ),
        ]
    };
    each(cluster, CONTROLLER, rows()).await?;
    each(cluster, &somebody, rows()).await?;
    each(cluster, API, vec![(Attempt::create(one("revoked-shape-0", &digest(1))), Forbidden)]).await?;
    let by_an_administrator = vec![(Attempt::create(one("notes", "settings.yaml")), Accepted)];
    each(cluster, ADMINISTRATOR, by_an_administrator).await?;
    forget(cluster, &somebody).await
}

#[tokio::test]
async fn no_entry_of_a_tombstone_is_changed_or_removed_but_by_an_administrator() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let somebody = somebody_with_all_rights(cluster, "tombstone-growth").await?;
    let name = format!("revoked-growth-{}-0", std::process::id());
    let stored = tombstones(&name, &json!({digest(1): "a", digest(2): "b"}));
    Attempt::create(stored).done(cluster, CONTROLLER).await?;
    let path = format!("{PATH}/configmaps/{name}");
    let data = |change: Value| Attempt::merge(&path, json!({ "data": change }));
    let label = |value: Value| {
        Attempt::merge(&path, json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": value}}}))
    };
    let rows = || {
        vec![
            (data(json!({digest(3): "c"})), Accepted),
            (data(json!({digest(1): "a"})), Accepted),
            (Attempt::merge(&path, json!({"metadata": {"annotations": {"a": "b"}}})), Accepted),
            (data(json!({digest(1): null})), Refused(NEVER_FORGOTTEN)),
            (data(json!({digest(1): null, digest(3): "a"})), Refused(NEVER_FORGOTTEN)),
            (data(json!({digest(2): "another"})), Refused(NEVER_FORGOTTEN)),
            (data(Value::Null), Refused(NEVER_FORGOTTEN)),
            (data(json!({"a": "b"})), Refused(ONLY_TOMBSTONES)),
            (label(Value::Null), Refused(ONLY_TOMBSTONES)),
        ]
    };
    each(cluster, CONTROLLER, rows()).await?;
    each(cluster, &somebody, rows()).await?;
    let rows = vec![
        (Attempt::delete(&path), Refused(NOT_DELETED)),
        (Attempt::delete_by(&path, "Foreground"), Refused(NOT_DELETED)),
        (Attempt::delete(format!("{PATH}/configmaps")), Refused(NOT_DELETED)),
    ];
    each(cluster, &somebody, rows).await?;
    each(cluster, CONTROLLER, vec![(Attempt::delete(&path), Forbidden)]).await?;
    each(cluster, GARBAGE_COLLECTOR, vec![(Attempt::delete(&path), Refused(NOT_DELETED))]).await?;
    each(cluster, NAMESPACE_CONTROLLER, vec![(Attempt::delete(&path), Accepted)]).await?;
    let by_an_administrator =
        vec![(data(json!({digest(1): null})), Accepted), (Attempt::delete(&path), Accepted)];
    each(cluster, ADMINISTRATOR, by_an_administrator).await?;

    Attempt::delete(&path).done(cluster, ADMINISTRATOR).await?;
    forget(cluster, &somebody).await
}

/// A policy that is too dear to judge refuses: a full ConfigMap (1 MiB) could not be added to any more.
#[tokio::test]
async fn a_full_tombstone_is_still_judged() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let name = format!("revoked-full-{}-0", std::process::id());
    // 64 characters and a few for each: under 1 MiB.
    let entries = 14_000;
    let data: Map<String, Value> = (0..entries).map(|number| (digest(number), json!("x"))).collect();
    Attempt::create(tombstones(&name, &data.into())).done(cluster, ADMINISTRATOR).await?;
    let path = format!("{PATH}/configmaps/{name}");
    let data = |change: Value| Attempt::merge(&path, json!({ "data": change }));
    let rows = vec![
        (data(json!({digest(entries): "x"})), Accepted),
        (data(json!({digest(entries - 1): null})), Refused(NEVER_FORGOTTEN)),
        (data(json!({digest(0): "y"})), Refused(NEVER_FORGOTTEN)),
    ];
    each(cluster, CONTROLLER, rows).await?;
    Attempt::delete(&path).done(cluster, ADMINISTRATOR).await.map(drop)
}

/// The certificate that Kubernetes publishes here too is nobody's tombstone.
#[tokio::test]
async fn the_certificate_that_kubernetes_publishes_is_not_judged() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let somebody = somebody_with_all_rights(cluster, "published").await?;
    let path = format!("{PATH}/configmaps/kube-root-ca.crt");
    let change = Attempt::merge(&path, json!({"data": {"ca.crt": "another"}}));
    each(cluster, &somebody, vec![(change, Accepted), (Attempt::delete(&path), Accepted)]).await?;
    forget(cluster, &somebody).await
}

/// Annotations and labels as on the record of a key. Without the UID of an owner: a running Keyplane sweeps what has one
/// that does not live.
fn record_metadata(name: &str) -> Value {
    json!({
        "namespace": IDENTITIES,
        "name": name,
        "labels": {
            "app.kubernetes.io/managed-by": "keyplane",
            "keyplane.dev/account": "of-no-account",
            "app": "anything",
        },
        "annotations": {"keyplane.dev/versions": "{}", "note": "anything"},
    })
}

fn service_account(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
}

fn anchor(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "keyplane.dev/anchor", "metadata": metadata})
}

#[tokio::test]
async fn only_the_controller_says_which_keys_verify_and_whose_they_are() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let somebody = somebody_with_all_rights(cluster, "records").await?;
    let name = format!("record-{}", std::process::id());
    let plain = |name: &str, field: &str, entries: Value| json!({"namespace": IDENTITIES, "name": name, field: entries});
    for make in [service_account, anchor] {
        let stored = Attempt::create(make(&record_metadata(&name))).done(cluster, ADMINISTRATOR).await?;
        let plural = if stored["kind"] == "Secret" { "secrets" } else { "serviceaccounts" };
        let path = format!("{PATH}/{plural}/{name}");
        let new = |field: &str, entries: Value| Attempt::create(make(&plain("new", field, entries)));
        let set = |field: &str, entries: Value| Attempt::merge(&path, json!({"metadata": {field: entries}}));
        let keyplanes = || {
            vec![
                Attempt::create(make(&record_metadata("new"))),
                new("annotations", json!({"keyplane.dev/versions": "{}"})),
                new("labels", json!({"keyplane.dev/owner-uid": "of-no-key"})),
                new("labels", json!({"app.kubernetes.io/managed-by": "keyplane"})),
                set("annotations", json!({"keyplane.dev/versions": "{\"live\":{}}"})),
                set("annotations", json!({"keyplane.dev/versions": null})),
                set("annotations", json!({"keyplane.dev/another": "a"})),
                set("annotations", Value::Null),
                set("labels", json!({"keyplane.dev/owner-uid": "anothers"})),
                set("labels", json!({"keyplane.dev/account": "anothers"})),
                set("labels", json!({"keyplane.dev/account": null})),
                set("labels", json!({"app.kubernetes.io/managed-by": null})),
                set("labels", Value::Null),
            ]
        };
        let anybodys = || {
            vec![
                new("labels", json!({"app": "anything"})),
                new("annotations", json!({"note": "anything"})),
                new("annotations", Value::Null),
                set("labels", json!({"app": null})),
                set("annotations", json!({"note": "another"})),
                set("labels", json!({"kubernetes.io/legacy-token-last-used": "2026-11-21"})),
            ]
        };
        for user in [CONTROLLER, ADMINISTRATOR] {
            let rows = keyplanes().into_iter().chain(anybodys()).map(|attempt| (attempt, Accepted));
            each(cluster, user, rows.collect()).await?;
        }
        let refused = keyplanes().into_iter().map(|attempt| (attempt, Refused(RECORDS)));
        let accepted = anybodys().into_iter().map(|attempt| (attempt, Accepted));
        each(cluster, &somebody, refused.chain(accepted).collect()).await?;
        let by_the_api = vec![(set("annotations", json!({"keyplane.dev/versions": "{}"})), Forbidden)];
        each(cluster, API, by_the_api).await?;
        Attempt::delete(&path).done(cluster, ADMINISTRATOR).await?;
    }
    forget(cluster, &somebody).await
}
