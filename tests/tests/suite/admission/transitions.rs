//! What may become of an object that exists.

use anyhow::{Context as _, Result, bail};
use http::Method;
use keyplane_tests::shared::shared_installation;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::Client;
use serde_json::{Value, json};

use super::Verdict::{Accepted, Rejected};
use super::delivery::{EXACTLY_ONE, REQUESTED_OF_ONES_OWN};
use super::{Verdict, digest, namespace_for, object_in, path_of, rejected};
use crate::request::{DRY_RUN, STRICT, send};

const FROZEN: &str = "Revoked or expired keys cannot be modified";
const NEVER_BACK: &str = "Revoked keys cannot be re-enabled";
const MAKING_FIXED: &str = "how a key is made and delivered is fixed: create another ApiKey";
const PUBLIC_KEY_FIXED: &str = "publicKey is immutable: delete this SshKey and create another";

/// A change, by what it shows: the patch and what must be said to it.
struct Change(&'static str, Value, Verdict);

/// Creates an object, gives it a status, and tries each change on it without storing any.
async fn assert_changes(object: Value, status: Option<Value>, changes: Vec<Change>) -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let client = cluster.client().await?;
    let collection = path_of(&object);
    let created = stored(send(&client, Method::POST, &collection, STRICT, &object).await?)?;
    let name =
        created.pointer("/metadata/name").and_then(Value::as_str).context("an object without a name")?;
    let path = format!("{collection}/{name}");
    let mut wrong = Vec::new();
    for Change(what, patch, verdict) in changes {
        if let Some(why) = tried(&client, &path, status.as_ref(), &patch, &verdict).await? {
            wrong.push(format!("{what}: {why}"));
        }
    }
    let namespace = created.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    cluster.kubectl().run(["delete", "--wait=false", "namespace", namespace]).await?;
    assert!(wrong.is_empty(), "{} changes of {path} ({status:?}):\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// A running Keyplane writes a status of its own; the change counts only when it met the one that was set here, which
/// the API server itself says by the resource version.
async fn tried(
    client: &Client,
    path: &str,
    status: Option<&Value>,
    change: &Value,
    verdict: &Verdict,
) -> Result<Option<String>> {
    until("a change to meet the status that was set", PATIENCE, || async {
        let current = match status {
            Some(status) => {
                let status = json!({ "status": status });
                send(client, Method::PATCH, &format!("{path}/status"), STRICT, &status).await?
            }
            None => send(client, Method::GET, path, "", &Value::Null).await?,
        };
        let change = at_version_of(&stored(current)?, change);
        let answer = send(client, Method::PATCH, path, DRY_RUN, &change).await?;
        Ok(match &answer {
            Err(status) if status.code == 409 => Seen::NotYet(status.message.clone()),
            answer => Seen::Done(verdict.contradicted_by(answer)),
        })
    })
    .await
}

/// The change, for exactly this state of the object.
fn at_version_of(current: &Value, change: &Value) -> Value {
    let metadata = change.get("metadata").and_then(Value::as_object);
    let mut metadata = metadata.cloned().unwrap_or_default();
    let version = current.pointer("/metadata/resourceVersion").cloned();
    metadata.insert("resourceVersion".to_owned(), version.unwrap_or_default());
    let mut whole = change.as_object().cloned().unwrap_or_default();
    whole.insert("metadata".to_owned(), metadata.into());
    whole.into()
}

fn stored(answer: crate::request::Answer) -> Result<Value> {
    match answer {
        Ok(object) => Ok(object),
        Err(status) => bail!("{}", status.message),
    }
}

async fn in_namespace(name: &str, kind: &str, spec: Value) -> Result<Value> {
    let (cluster, _) = shared_installation().await?;
    let namespace = namespace_for(cluster, name).await?;
    Ok(object_in(Some(&namespace), kind, "subject", &spec))
}

fn key_spec(revoked: bool) -> Value {
    json!({"displayName": "CI", "scope": {"inference": true}, "digest": digest(), "revoked": revoked})
}

fn spec(change: &Value) -> Value {
    json!({ "spec": change })
}

fn another_digest() -> Value {
    spec(&json!({"digest": format!("sha256:{}", "a".repeat(64))}))
}

/// Every kind of change of a spec.
fn spec_changes() -> Vec<(&'static str, Value)> {
    vec![
        ("another name", spec(&json!({"displayName": "CD"}))),
        ("no name", spec(&json!({"displayName": null}))),
        ("an end", spec(&json!({"expiresAt": "2099-01-01T00:00:00Z"}))),
        ("a wider scope", spec(&json!({"scope": {"inference": null, "all": true}}))),
        ("fewer addresses", spec(&json!({"allowedCidrs": ["203.0.113.7"]}))),
        ("a lock lifted", spec(&json!({"unlockedAt": "2026-11-21T10:00:00Z"}))),
        ("time for a rotation", spec(&json!({"rotation": {"gracePeriodSeconds": 60}}))),
        ("another digest", another_digest()),
        (
            "another digest, with time",
            spec(&json!({
                "digest": format!("sha256:{}", "b".repeat(64)),
                "rotation": {"gracePeriodSeconds": 60},
            })),
        ),
    ]
}

fn metadata_changes() -> Vec<Change> {
    vec![
        Change("a label", json!({"metadata": {"labels": {"a": "b"}}}), Accepted),
        Change("an annotation", json!({"metadata": {"annotations": {"a": "b"}}}), Accepted),
        Change("a finalizer", json!({"metadata": {"finalizers": ["keyplane.dev/cleanup"]}}), Accepted),
    ]
}

#[tokio::test]
async fn a_live_keys_spec_can_change_except_for_who_makes_the_key() -> Result<()> {
    let delivery = json!({"secretName": "ci-key"});
    for state in ["Pending", "Active", "Locked", "Invalid"] {
        let key = in_namespace(&format!("live-{}", state.to_lowercase()), "ApiKey", key_spec(false)).await?;
        let mut changes = metadata_changes();
        changes.extend(spec_changes().into_iter().map(|(what, patch)| Change(what, patch, Accepted)));
        changes.extend([
            Change("revoked", spec(&json!({"revoked": true})), Accepted),
            Change("revoked, and more", spec(&json!({"revoked": true, "displayName": "gone"})), Accepted),
            Change("revoked left out", spec(&json!({"revoked": false})), Accepted),
            Change(
                "no digest",
                spec(&json!({"digest": null})),
                Rejected(vec![("spec", EXACTLY_ONE), ("spec.delivery", MAKING_FIXED)]),
            ),
            Change(
                "a delivery instead",
                spec(&json!({"digest": null, "delivery": delivery})),
                rejected("spec.delivery", MAKING_FIXED),
            ),
            Change("a delivery besides", spec(&json!({"delivery": delivery})), rejected("spec", EXACTLY_ONE)),
            Change(
                "another key asked for",
                spec(&json!({"rotation": {"requestedAt": "2026-11-21T10:00:00Z"}})),
                rejected("spec.rotation.requestedAt", REQUESTED_OF_ONES_OWN),
            ),
        ]);
        assert_changes(key, Some(json!({"state": state})), changes).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_or_revoked_keys_spec_is_frozen_by_its_state() -> Result<()> {
    for state in ["Expired", "Revoked"] {
        let key = in_namespace(&format!("over-{}", state.to_lowercase()), "ApiKey", key_spec(false)).await?;
        let mut changes = metadata_changes();
        changes.extend(
            spec_changes().into_iter().map(|(what, patch)| Change(what, patch, rejected("spec", FROZEN))),
        );
        changes.extend([
            Change("the same name", spec(&json!({"displayName": "CI"})), Accepted),
            Change("revoked", spec(&json!({"revoked": true})), rejected("spec", FROZEN)),
        ]);
        assert_changes(key, Some(json!({"state": state})), changes).await?;
    }
    Ok(())
}

/// Before any controller has seen it: the wall stands in the spec itself.
#[tokio::test]
async fn a_revoked_keys_spec_is_frozen_and_revoked_never_goes_back() -> Result<()> {
    for (name, status) in [("revoked", None), ("revoked-active", Some(json!({"state": "Active"})))] {
        let key = in_namespace(name, "ApiKey", key_spec(true)).await?;
        let back = || Rejected(vec![("spec", FROZEN), ("spec.revoked", NEVER_BACK)]);
        let mut changes = metadata_changes();
        changes.extend(
            spec_changes().into_iter().map(|(what, patch)| Change(what, patch, rejected("spec", FROZEN))),
        );
        changes.extend([
            Change("still revoked", spec(&json!({"revoked": true})), Accepted),
            Change("not revoked", spec(&json!({"revoked": false})), back()),
            Change("revoked left out", spec(&json!({"revoked": null})), back()),
        ]);
        assert_changes(key, status, changes).await?;
    }
    Ok(())
}

/// For a key that Keyplane makes the way it is handed over is fixed too: the plaintext has been there.
#[tokio::test]
async fn a_delivered_keys_delivery_is_fixed_and_it_is_rotated_by_asking() -> Result<()> {
    for (name, delivery) in [
        ("delivered", json!({"secretName": "ci-key"})),
        ("sealed", json!({"sealedTo": {"sshKey": "laptop"}})),
    ] {
        let key_spec = json!({"scope": {"inference": true}, "delivery": delivery});
        let key = in_namespace(name, "ApiKey", key_spec).await?;
        let mut changes = metadata_changes();
        changes.extend(spec_changes().into_iter().map(|(what, patch)| {
            let with_digest = patch.pointer("/spec/digest").is_some();
            let both = Rejected(vec![("spec", EXACTLY_ONE), ("spec.delivery", MAKING_FIXED)]);
            Change(what, patch, if with_digest { both } else { Accepted })
        }));
        let other_name = json!({"secretName": "another", "sealedTo": null});
        let other_key = json!({"secretName": null, "sealedTo": {"sshKey": "desk"}});
        changes.extend([
            Change("the same delivery", spec(&json!({ "delivery": delivery })), Accepted),
            Change(
                "another Secret",
                spec(&json!({ "delivery": other_name })),
                rejected("spec.delivery", MAKING_FIXED),
            ),
            Change(
                "another SSH key",
                spec(&json!({ "delivery": other_key })),
                rejected("spec.delivery", MAKING_FIXED),
            ),
            Change("no delivery", spec(&json!({"delivery": null})), rejected("spec", EXACTLY_ONE)),
            Change(
                "a digest instead",
                spec(&json!({"delivery": null, "digest": digest()})),
                rejected("spec.delivery", MAKING_FIXED),
            ),
            Change(
                "another key asked for",
                spec(&json!({"rotation": {"requestedAt": "2026-11-21T10:00:00Z"}})),
                Accepted,
            ),
        ]);
        assert_changes(key, Some(json!({"state": "Active"})), changes).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_not_rotated_by_asking() -> Result<()> {
    let key_spec =
        json!({"scope": {"inference": true}, "delivery": {"secretName": "ci-key"}, "revoked": true});
    let key = in_namespace("revoked-delivered", "ApiKey", key_spec).await?;
    let changes = vec![Change(
        "another key asked for",
        spec(&json!({"rotation": {"requestedAt": "2026-11-21T10:00:00Z"}})),
        rejected("spec", FROZEN),
    )];
    assert_changes(key, None, changes).await
}

#[tokio::test]
async fn an_ssh_keys_public_key_is_fixed() -> Result<()> {
    let key = in_namespace("fixed", "SshKey", json!({"publicKey": "ssh-ed25519 AAAA laptop"})).await?;
    let changes = vec![
        Change(
            "another key",
            spec(&json!({"publicKey": "ssh-ed25519 BBBB"})),
            rejected("spec.publicKey", PUBLIC_KEY_FIXED),
        ),
        Change(
            "another comment",
            spec(&json!({"publicKey": "ssh-ed25519 AAAA desk"})),
            rejected("spec.publicKey", PUBLIC_KEY_FIXED),
        ),
        Change("asks to be the default", spec(&json!({"default": true})), Accepted),
        Change("a label", json!({"metadata": {"labels": {"a": "b"}}}), Accepted),
    ];
    assert_changes(key, None, changes).await
}
