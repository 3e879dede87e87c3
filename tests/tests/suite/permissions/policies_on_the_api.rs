//! What the policies keep Keyplane's own API to: what it saw of a key's use, and nothing else of its status.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use keyplane_tests::waiting::{PATIENCE, until};
use keyplane_tests::workspace;
use serde_json::{Map, Value, json};

use super::attempt::Outcome::{self, Accepted, Refused};
use super::attempt::{ADMINISTRATOR, API, Attempt, CONTROLLER, Stage};
use super::policies_on_api_declaring::ONLY_AT_HOME;

const ONLY_USE: &str = "writes only usage, lock, securityEvents and revocation.refusedAfterMillis";
const NEVER_LIFTED: &str = "locks keys and never lifts a lock";
const NEVER_FEWER: &str = "never counts a use away";

const EARLIER: &str = "2026-11-21T10:00:00Z";
const LATER: &str = "2026-11-22T10:00:00Z";
/// The fields of the status that the API writes; of the last a part.
const REPORTED: [&str; 4] = ["usage", "lock", "securityEvents", "revocation"];

fn lock(since: &str) -> Value {
    json!({"lockedAt": since, "reason": "AddressDenied", "address": "198.51.100.7"})
}

fn event() -> Value {
    json!({"time": EARLIER, "reason": "AddressDenied", "address": "198.51.100.7", "count": 1})
}

/// A status with every field.
fn full_status() -> Value {
    json!({
        "state": "Active",
        "prefix": "kpk_Ab3d",
        "digest": format!("sha256:{:064x}", 3),
        "version": {"number": 2, "since": EARLIER, "previousUntil": LATER},
        "access": "edit in web",
        "namespaces": [{"id": "1", "name": "web", "kubernetesName": "acme-web"}],
        "usage": {"count": 5, "lastUsedAt": EARLIER, "lastUsedIp": "203.0.113.7", "lastUsedVersion": 2},
        "lock": lock(EARLIER),
        "securityEvents": [event()],
        "revocation": {"requestedAt": EARLIER, "refusedAfterMillis": 5, "unboundAfterMillis": 7},
        "sealedKey": "age",
        "observedGeneration": 1,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Active", "message": "", "observedGeneration": 1,
            "lastTransitionTime": EARLIER,
        }],
    })
}

/// Another value of each field, of its type.
fn changed(value: &Value) -> Value {
    match value {
        Value::String(text) if text == EARLIER => json!(LATER),
        Value::String(text) if text == LATER => json!(EARLIER),
        Value::String(text) if text == "Active" => json!("Revoked"),
        Value::String(text) => json!(format!("{text}-another")),
        Value::Number(number) => json!(number.as_i64().unwrap_or_default() + 1),
        Value::Array(_) => json!([]),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), changed(value))).collect(),
        other => other.clone(),
    }
}

/// A key in a namespace that is no account's.
struct Key<'a> {
    stage: &'a Stage,
    path: String,
}

impl<'a> Key<'a> {
    async fn stored(stage: &'a Stage) -> Result<Self> {
        let key = json!({
            "apiVersion": "keyplane.dev/v1alpha1",
            "kind": "ApiKey",
            "metadata": {"namespace": stage.plain, "name": "key"},
            "spec": {"scope": {"inference": true}, "digest": format!("sha256:{:064x}", 3)},
        });
        Attempt::create(key).done(stage.cluster, ADMINISTRATOR).await?;
        let path = format!("/apis/keyplane.dev/v1alpha1/namespaces/{}/apikeys/key", stage.plain);
        Ok(Self { stage, path })
    }

    /// Tries each change on the key while it has exactly this status. A running Keyplane writes one of its own; an
    /// attempt counts only when it met the one that was set here, which the API server itself says by the resource
    /// version.
    async fn each_on(&self, status: &Value, user: &str, rows: Vec<(Value, Outcome)>) -> Result<()> {
        let mut exact: Map<String, Value> =
            fields_of_a_status()?.into_iter().map(|field| (field, Value::Null)).collect();
        exact.extend(status.as_object().cloned().context("a status")?);
        let path = format!("{}/status", self.path);
        let set = Attempt::merge(&path, json!({ "status": exact }));
        for (change, outcome) in rows {
            let what = format!("{change} by {user} on {status} to be {outcome:?}");
            until(&what, PATIENCE, || async {
                let current = set.done(self.stage.cluster, ADMINISTRATOR).await?;
                let version = json!({"resourceVersion": current.pointer("/metadata/resourceVersion")});
                let attempt = Attempt::merge(&path, json!({"metadata": version, "status": change}));
                attempt.once(self.stage.cluster, user, outcome).await
            })
            .await?;
        }
        Ok(())
    }
}

/// The fields of a key's status, from the shipped definition: none that is added later is forgotten here.
fn fields_of_a_status() -> Result<BTreeSet<String>> {
    let folder = workspace::root().join("crds/generated");
    for file in std::fs::read_dir(folder)? {
        let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(file?.path())?)?;
        if definition.pointer("/spec/names/kind") == Some(&json!("ApiKey")) {
            let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
            let fields = definition.pointer(fields).and_then(Value::as_object).context("a status")?;
            return Ok(fields.keys().cloned().collect());
        }
    }
    anyhow::bail!("crds/generated holds no ApiKey")
}

#[tokio::test]
async fn the_api_changes_no_field_of_a_status_but_those_about_use() -> Result<()> {
    let stage = Stage::set("api-fields").await?;
    let key = Key::stored(&stage).await?;
    let full = full_status();
    let fields = full.as_object().context("an object")?;
    assert_eq!(
        fields.keys().cloned().collect::<BTreeSet<_>>(),
        fields_of_a_status()?,
        "every field is tried"
    );

    let one = |field: &str, value: Value| Value::Object(Map::from_iter([(field.to_owned(), value)]));
    let (mut on_full, mut on_none) = (Vec::new(), Vec::new());
    for (field, value) in fields {
        if REPORTED.contains(&field.as_str()) {
            continue;
        }
        on_full.extend([
            (one(field, changed(value)), Refused(ONLY_USE)),
            (one(field, Value::Null), Refused(ONLY_USE)),
            (one(field, value.clone()), Accepted),
        ]);
        on_none.push((one(field, value.clone()), Refused(ONLY_USE)));
    }
    for field in ["usage", "lock", "securityEvents"] {
        let value = changed(fields.get(field).context("a field")?);
        on_full.push((one(field, value.clone()), Accepted));
        on_none.push((one(field, value), Accepted));
    }
    let revocation = |fields: Value| json!({ "revocation": fields });
    on_full.extend([
        (revocation(json!({"refusedAfterMillis": 9})), Accepted),
        (revocation(json!({"requestedAt": LATER})), Refused(ONLY_USE)),
        (revocation(json!({"unboundAfterMillis": 9})), Refused(ONLY_USE)),
        (revocation(json!({"unboundAfterMillis": null})), Refused(ONLY_USE)),
        (revocation(Value::Null), Refused(ONLY_USE)),
        (Value::Null, Refused(ONLY_USE)),
        (json!({"usage": {"count": 6}, "state": "Revoked"}), Refused(ONLY_USE)),
    ]);
    on_none.push((revocation(json!({"requestedAt": EARLIER, "refusedAfterMillis": 1})), Refused(ONLY_USE)));
    key.each_on(&full, API, on_full).await?;
    key.each_on(&json!({}), API, on_none).await?;
    let begun = revocation(json!({"requestedAt": EARLIER}));
    key.each_on(&begun, API, vec![(revocation(json!({"refusedAfterMillis": 9})), Accepted)]).await?;
    stage.clear().await
}

#[tokio::test]
async fn the_api_locks_and_never_unlocks_and_counts_only_up() -> Result<()> {
    let stage = Stage::set("api-locks").await?;
    let key = Key::stored(&stage).await?;
    let open = json!({"state": "Active"});
    let locked = json!({"state": "Locked", "lock": lock(EARLIER), "usage": {"count": 5}});
    let usage = |count: u32| json!({"usage": {"count": count}});
    let rows = vec![
        (json!({"lock": lock(EARLIER), "securityEvents": [event()]}), Accepted),
        (usage(1), Accepted),
        (usage(0), Accepted),
    ];
    key.each_on(&open, API, rows).await?;
    let rows = vec![
        (json!({"lock": lock(LATER)}), Accepted),
        (json!({"lock": null}), Refused(NEVER_LIFTED)),
        (usage(5), Accepted),
        (usage(6), Accepted),
        (usage(4), Refused(NEVER_FEWER)),
        (json!({"usage": null}), Refused(NEVER_FEWER)),
    ];
    key.each_on(&locked, API, rows).await?;
    // The controller clears a lock that was lifted, and is not judged.
    let rows = vec![(json!({"lock": null, "state": "Active"}), Accepted), (usage(4), Accepted)];
    key.each_on(&locked, CONTROLLER, rows).await?;
    stage.clear().await
}

/// By way of the status nothing else of a key can be written; the API server itself sees to that.
#[tokio::test]
async fn through_a_status_the_api_changes_nothing_else_and_outside_of_home_namespaces_nothing() -> Result<()>
{
    let stage = Stage::set("api-metadata").await?;
    let key = Key::stored(&stage).await?;
    let path = format!("{}/status", key.path);
    let metadata = json!({
        "labels": {"a": "b"},
        "annotations": {"keyplane.dev/key-prefix": "kpk_Ab3d"},
        "finalizers": ["attacker.example/hold"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1"}],
    });
    let whole = json!({
        "metadata": metadata,
        "spec": {"revoked": true, "scope": {"inference": null, "all": true}},
        "status": {"usage": {"count": 1}},
    });
    let attempt = Attempt::merge(&path, whole);
    attempt.comes_to(stage.cluster, API, Accepted).await?;
    let after = attempt.done(stage.cluster, API).await?;
    assert_eq!(after.pointer("/status/usage/count"), Some(&json!(1)));
    assert_eq!(after.pointer("/spec/revoked"), None);
    assert_eq!(after.pointer("/spec/scope"), Some(&json!({"inference": true})));
    for field in ["labels", "annotations", "ownerReferences"] {
        assert_eq!(after["metadata"].get(field), None, "{field}");
    }
    let finalizers = after.pointer("/metadata/finalizers").cloned().unwrap_or(json!([]));
    assert!(!finalizers.to_string().contains("attacker"), "{finalizers}");

    let rows = vec![
        (Attempt::merge(&key.path, json!({"metadata": {"labels": {"a": "b"}}})), Refused(ONLY_AT_HOME)),
        (Attempt::merge(&key.path, json!({"spec": {"revoked": true}})), Refused(ONLY_AT_HOME)),
        (Attempt::delete(&key.path), Refused(ONLY_AT_HOME)),
    ];
    stage.each(API, rows).await?;
    stage.clear().await
}
