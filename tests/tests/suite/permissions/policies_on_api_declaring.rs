//! Where the policies let Keyplane's own API declare resources for people, and what it leaves alone of them.

use anyhow::Result;
use serde_json::{Value, json};

use super::attempt::Outcome::{Accepted, Refused};
use super::attempt::{ADMINISTRATOR, API, Attempt, Stage};

pub(super) const ONLY_AT_HOME: &str = "declares and deletes resources only in home namespaces";
const NEVER_HELD: &str = "never writes finalizers or owner references";

fn declared(kind: &str, namespace: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": kind,
        "metadata": {"namespace": namespace, "name": "declared"}, "spec": spec,
    })
}

fn with_metadata(mut object: Value, field: &str, value: &Value) -> Value {
    object["metadata"][field] = value.clone();
    object
}

#[tokio::test]
async fn the_api_declares_in_home_namespaces_only_and_holds_nothing_up() -> Result<()> {
    let stage = Stage::set("api-declares").await?;
    let key = json!({"scope": {"inference": true}, "digest": format!("sha256:{:064x}", 77)});
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let all = [("ApiKey", key.clone()), ("SshKey", json!({"publicKey": line})), ("Namespace", json!({}))];
    let mut rows = Vec::new();
    for (kind, spec) in &all {
        let at = |namespace: &str| declared(kind, namespace, spec);
        rows.push((Attempt::create(at(&stage.home)), Accepted));
        rows.push((Attempt::create(at(&stage.web)), Refused(ONLY_AT_HOME)));
        rows.push((Attempt::create(at(&stage.plain)), Refused(ONLY_AT_HOME)));
        rows.push((Attempt::create(at("default")), Refused(ONLY_AT_HOME)));
        let held = with_metadata(at(&stage.home), "finalizers", &json!(["example.com/hold"]));
        rows.push((Attempt::create(held), Refused(NEVER_HELD)));
        let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]);
        let referring = with_metadata(at(&stage.home), "ownerReferences", &owner);
        rows.push((Attempt::create(referring), Refused(NEVER_HELD)));
    }
    stage.each(API, rows).await?;

    let held =
        with_metadata(declared("ApiKey", &stage.home, &key), "finalizers", &json!(["example.com/hold"]));
    Attempt::create(held).done(stage.cluster, ADMINISTRATOR).await?;
    let path = format!("/apis/keyplane.dev/v1alpha1/namespaces/{}/apikeys/declared", stage.home);
    let merge = |change: Value| Attempt::merge(path.clone(), change);
    let rows = vec![
        (merge(json!({"spec": {"revoked": true}})), Accepted),
        (merge(json!({"metadata": {"finalizers": null}})), Refused(NEVER_HELD)),
        (
            merge(json!({"metadata": {"finalizers": ["example.com/hold", "example.com/b"]}})),
            Refused(NEVER_HELD),
        ),
    ];
    stage.each(API, rows).await?;
    merge(json!({"metadata": {"finalizers": null}})).done(stage.cluster, ADMINISTRATOR).await?;
    stage.clear().await
}
