//! Where and how Keyplane's own controller delivers keys, whatever RBAC would let pass.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::attempt::Outcome::{Accepted, Forbidden, Refused};
use super::attempt::{ADMINISTRATOR, API, Attempt, CONTROLLER, Stage, person, role_binding, service_account};

const ITSELF: &str = "binds keyplane:delivery only to itself";
const WHERE: &str = "binds keyplane:account-owner and keyplane:delivery in an account's home namespace";
const HOME: &str = "delivers keys only to home namespaces of accounts";
const SAME_KEY: &str = "changes only Secrets in which it delivered a key of the same ApiKey";
const SHAPE: &str = "delivers keys only in Secrets of type Opaque";

const OWNER: &str = "6f1c9f0e-8a4f-4c1e-9d5e-0a7b1c2d3e4f";
const ANOTHER: &str = "00000000-8a4f-4c1e-9d5e-0a7b1c2d3e4f";

fn controller() -> Value {
    service_account("keyplane-system", "keyplane-controller")
}

/// The Secret of a delivered key.
fn delivered(namespace: &str, name: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "keyplane", "keyplane.dev/owner-uid": owner},
            "ownerReferences": [
                {"apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey", "name": "ci", "uid": owner},
            ],
        },
        "type": "Opaque",
        "stringData": {"key": "not a key"},
    })
}

/// The same with something else in one place.
fn but(mut secret: Value, pointer: &str, value: Value) -> Attempt {
    if let Some(place) = secret.pointer_mut(pointer) {
        *place = value;
    }
    Attempt::create(secret)
}

/// Lets the controller deliver in all of the stage's namespaces as far as RBAC goes. An administrator binds it, under
/// another name: a running Keyplane takes away what has a name of its own and serves no account.
async fn let_it_deliver_everywhere(stage: &Stage) -> Result<()> {
    for namespace in [&stage.home, &stage.web, &stage.plain] {
        let binding = role_binding(namespace, "test-delivery", "keyplane:delivery", &controller());
        Attempt::create(binding).done(stage.cluster, ADMINISTRATOR).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_controller_binds_delivery_in_home_namespaces_by_one_name_and_to_itself() -> Result<()> {
    let stage = Stage::set("delivery-binding").await?;
    let (home, web) = (stage.home.as_str(), stage.web.as_str());
    let bind = |place: &str, name: &str, role, subject: Value| {
        Attempt::create(role_binding(place, name, role, &subject))
    };
    let delivery = |place: &str, subject| bind(place, "keyplane-delivery", "keyplane:delivery", subject);
    let mut both = role_binding(home, "keyplane-delivery", "keyplane:delivery", &controller());
    both["subjects"] = json!([controller(), person("User", "eve")]);
    let mut nobody = both.clone();
    nobody["subjects"] = json!([]);
    let rows = vec![
        (delivery(home, controller()), Accepted),
        (delivery(web, controller()), Refused(WHERE)),
        // Two policies refuse these.
        (delivery(&stage.plain, controller()), Refused("Keyplane's controller")),
        (delivery("kube-system", controller()), Refused("Keyplane's controller")),
        (delivery("keyplane-system", controller()), Refused("Keyplane's controller")),
        (delivery("keyplane-identities", controller()), Refused("Keyplane's controller")),
        (delivery(home, person("User", "eve")), Refused(ITSELF)),
        (delivery(home, person("User", CONTROLLER)), Refused(ITSELF)),
        (delivery(home, person("Group", "system:serviceaccounts:keyplane-system")), Refused(ITSELF)),
        (delivery(home, service_account("keyplane-system", "keyplane-api")), Refused(ITSELF)),
        (delivery(home, service_account(home, "keyplane-controller")), Refused(ITSELF)),
        (delivery(home, service_account("keyplane-identities", "key-1")), Refused(ITSELF)),
        (Attempt::create(both), Refused(ITSELF)),
        (Attempt::create(nobody), Refused(ITSELF)),
        (bind(home, "another", "keyplane:delivery", controller()), Refused(ITSELF)),
        (bind(home, "keyplane-owners", "keyplane:delivery", controller()), Refused(ITSELF)),
        (bind(home, "keyplane-delivery", "keyplane:account-owner", person("User", "alice")), Refused(ITSELF)),
        (
            bind(web, "keyplane-delivery", "keyplane:view", service_account("keyplane-identities", "key-1")),
            Refused(ITSELF),
        ),
    ];
    stage.each(CONTROLLER, rows).await?;
    stage.clear().await
}

#[tokio::test]
async fn without_that_binding_the_controller_writes_no_secret_anywhere() -> Result<()> {
    let stage = Stage::set("not-delivering").await?;
    let mut rows = Vec::new();
    for place in [stage.home.as_str(), &stage.web, &stage.plain, "default", "kube-system", "keyplane-system"]
    {
        rows.push((Attempt::create(delivered(place, "ci-key", OWNER)), Forbidden));
    }
    stage.each(CONTROLLER, rows).await?;
    let rows = vec![(Attempt::create(delivered(&stage.home, "ci-key", OWNER)), Forbidden)];
    stage.each(API, rows).await?;
    stage.clear().await
}

#[tokio::test]
async fn the_controller_delivers_only_to_home_namespaces_and_only_what_is_an_api_keys() -> Result<()> {
    let stage = Stage::set("delivers").await?;
    let_it_deliver_everywhere(&stage).await?;
    let key = || delivered(&stage.home, "ci-key", OWNER);
    let reference = "/metadata/ownerReferences/0";
    let mut rows = vec![
        (Attempt::create(key()), Accepted),
        (Attempt::create(delivered(&stage.web, "ci-key", OWNER)), Refused(HOME)),
        (Attempt::create(delivered(&stage.plain, "ci-key", OWNER)), Refused(HOME)),
    ];
    for (pointer, value) in [
        ("/type", json!("example.dev/another")),
        ("/metadata/labels", Value::Null),
        ("/metadata/labels/app.kubernetes.io~1managed-by", json!("Helm")),
        ("/metadata/labels/keyplane.dev~1owner-uid", json!("")),
        ("/metadata/labels/keyplane.dev~1owner-uid", json!(ANOTHER)),
        ("/metadata/ownerReferences", Value::Null),
        ("/metadata/ownerReferences/0/uid", json!(ANOTHER)),
        ("/metadata/ownerReferences/0/kind", json!("SshKey")),
        ("/metadata/ownerReferences/0/apiVersion", json!("elsewhere.example/v1")),
    ] {
        rows.push((but(key(), pointer, value), Refused(SHAPE)));
    }
    let two = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": ANOTHER},
        key().pointer(reference).cloned(),
    ]);
    rows.push((but(key(), "/metadata/ownerReferences", two), Accepted));
    stage.each(CONTROLLER, rows).await?;
    stage.clear().await
}

#[tokio::test]
async fn the_controller_changes_only_the_secret_of_the_same_api_key() -> Result<()> {
    let stage = Stage::set("redelivers").await?;
    let_it_deliver_everywhere(&stage).await?;
    let home = stage.home.as_str();
    // One that lives: Kubernetes collects what refers to an owner that does not.
    let key = json!({
        "apiVersion": "keyplane.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": {"namespace": home, "name": "ci"},
        "spec": {"scope": {"inference": true}, "digest": format!("sha256:{:064x}", 4)},
    });
    let key = Attempt::create(key).done(stage.cluster, ADMINISTRATOR).await?;
    let owner = key.pointer("/metadata/uid").and_then(Value::as_str).context("a UID")?;
    let mut anothers = delivered(home, "anothers", ANOTHER);
    anothers["metadata"]["ownerReferences"] = Value::Null;
    let somebodys = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": home, "name": "somebodys"},
        "stringData": {"password": "of somebody"},
    });
    for secret in [delivered(home, "ours", owner), anothers, somebodys] {
        Attempt::create(secret).done(stage.cluster, ADMINISTRATOR).await?;
    }
    let path = |name: &str| format!("/api/v1/namespaces/{home}/secrets/{name}");
    // Everything that makes a Secret look delivered, as an apply over it would bring.
    let taking = |name: &str| {
        let metadata = delivered(home, name, owner)["metadata"].clone();
        Attempt::merge(path(name), json!({"metadata": metadata, "stringData": {"key": "another"}}))
    };
    let labels =
        |name: &str, change: Value| Attempt::merge(path(name), json!({"metadata": {"labels": change}}));
    let rows = vec![
        (Attempt::merge(path("ours"), json!({"stringData": {"key": "another"}})), Accepted),
        (taking("ours"), Accepted),
        (taking("anothers"), Refused(SAME_KEY)),
        (taking("somebodys"), Refused(SAME_KEY)),
        (Attempt::merge(path("somebodys"), json!({"stringData": {"key": "x"}})), Refused(SAME_KEY)),
        (labels("ours", json!({"keyplane.dev/owner-uid": ANOTHER})), Refused(SAME_KEY)),
        (labels("ours", json!({"keyplane.dev/owner-uid": null})), Refused(SAME_KEY)),
        (labels("ours", json!({"app.kubernetes.io/managed-by": null})), Refused(SHAPE)),
        (Attempt::merge(path("ours"), json!({"metadata": {"ownerReferences": null}})), Refused(SHAPE)),
        (Attempt::delete(path("ours")), Forbidden),
    ];
    stage.each(CONTROLLER, rows).await?;
    stage.clear().await
}
