//! A revoked digest is remembered for good, whatever becomes of the ApiKey; and only its holder has it remembered.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use keyplane_crds::{ApiKey, ApiKeyState};
use keyplane_tests::exchange::Answer;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

const IN_WEB: [&str; 2] = ["--kubernetes-namespace", "web"];

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    tenant.namespace("web").await?;
    Ok(tenant)
}

/// Every remembered digest (64 hexadecimal digits), with the ConfigMap that holds it.
async fn remembered(own: &Tenant) -> Result<BTreeMap<String, String>> {
    let shards: Api<ConfigMap> = Api::namespaced(own.client(), "keyplane-identities");
    let mut found = BTreeMap::new();
    for shard in shards.list(&ListParams::default()).await? {
        let name = shard.metadata.name.unwrap_or_default();
        if name.starts_with("revoked-") {
            for digits in shard.data.unwrap_or_default().into_keys() {
                let other = found.insert(digits.clone(), name.clone());
                ensure!(other.is_none(), "{digits} is remembered in {name} and in {other:?}");
            }
        }
    }
    Ok(found)
}

/// The 64 digits of the digest that a key declares.
async fn digits(own: &Tenant, name: &str) -> Result<String> {
    let digest = own.stored_key(name).await?.spec.digest.context("a digest")?;
    Ok(digest.trim_start_matches("sha256:").to_owned())
}

async fn delete(own: &Tenant, name: &str) -> Result<String> {
    own.kubectl.run(["delete", "apikey", name, "--namespace", &own.account, "--timeout=60s"]).await
}

async fn revoke(own: &Tenant, name: &str) -> Result<ApiKey> {
    own.patch_key(name, r#"{"revoked":true}"#).await?;
    own.key_with_reason(name, "Revoked").await
}

/// Waits for an answer of the exchange, and gives it.
async fn answered(own: &Tenant, key: &HeldKey, status: u16) -> Result<Answer> {
    until(&format!("the answer {status} for {}", key.name), PATIENCE, || async {
        let answer = own.exchange(key).await?;
        Ok(if answer.status == status { Seen::Done(answer) } else { Seen::NotYet(answer.text) })
    })
    .await
}

/// What must hold of an ApiKey whose digest is remembered, and of its holder.
async fn stays_revoked(own: &Tenant, key: &HeldKey) -> Result<()> {
    let stored = own.key_with_reason(&key.name, "DigestRevoked").await?;
    let status = stored.status.context("a status")?;
    ensure!(status.state == Some(ApiKeyState::Invalid), "{status:?}");
    ensure!(status.access.is_none() && status.namespaces.is_empty(), "{status:?}");
    let message = status.conditions.first().map(|condition| condition.message.as_str()).unwrap_or_default();
    ensure!(message.contains("kubectl-keyplane generate"), "{status:?}");
    let answer = answered(own, key, 403).await?;
    ensure!(answer.at("/detail").is_some_and(|detail| detail.contains("revoked")), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_revived_by_no_manifest_of_its_account() -> Result<()> {
    let own = tenant("again").await?;
    let (key, manifest) = own.generate("ci", &IN_WEB).await?;
    own.kubectl.apply(&manifest).await?;
    own.wait_ready("apikey/ci").await?;
    answered(&own, &key, 200).await?;
    let digits = digits(&own, "ci").await?;

    revoke(&own, "ci").await?;
    delete(&own, "ci").await?;
    ensure!(remembered(&own).await?.get(&digits) == Some(&format!("revoked-{}-0", own.account)));
    own.kubectl.apply(&manifest).await?;
    stays_revoked(&own, &key).await?;
    // Deleted once more, without being revoked this time.
    delete(&own, "ci").await?;
    // A rotation to it is no way either.
    own.key("another", &IN_WEB).await?;
    own.patch_key("another", &format!(r#"{{"digest":"sha256:{digits}"}}"#)).await?;
    own.key_with_reason("another", "DigestRevoked").await?;
    delete(&own, "another").await?;
    own.kubectl.apply(&manifest).await?;
    stays_revoked(&own, &key).await
}

/// What is remembered binds the account whose key it was: else a neighbour who knows a digest could declare it while its
/// holder makes the key anew, revoke it, and so take it from the holder for good.
#[tokio::test]
async fn what_a_neighbour_had_remembered_binds_nobody_else() -> Result<()> {
    let (own, other) = tokio::try_join!(tenant("mine"), tenant("theirs"))?;
    let (key, manifest) = own.generate("ci", &IN_WEB).await?;
    own.kubectl.apply(&manifest).await?;
    own.wait_ready("apikey/ci").await?;
    let digits = digits(&own, "ci").await?;
    delete(&own, "ci").await?;

    other.kubectl.apply(&manifest.replace(&own.account, &other.account)).await?;
    other.wait_ready("apikey/ci").await?;
    revoke(&other, "ci").await?;
    delete(&other, "ci").await?;
    ensure!(remembered(&own).await?.get(&digits) == Some(&format!("revoked-{}-0", other.account)));

    own.kubectl.apply(&manifest).await?;
    own.wait_ready("apikey/ci").await?;
    answered(&own, &key, 200).await.map(drop)
}

/// Everything of a home namespace is written down, the Account is deleted and made again, and what was written down is
/// applied: as after a disaster, or with a cluster that is set up anew from files.
#[tokio::test]
async fn a_backup_that_is_restored_revives_no_revoked_key_and_the_others_work_again() -> Result<()> {
    let own = tenant("backup").await?;
    let live = own.key("live", &IN_WEB).await?;
    let before = own.key("before", &IN_WEB).await?;
    let after = own.key("after", &IN_WEB).await?;
    let made = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "made", "namespace": own.account},
        "spec": {"delivery": {"secretName": "made"}, "scope": {"kubernetesExec": {"namespaces": ["web"]}}},
    });
    own.kubectl.apply(&made.to_string()).await?;
    own.wait_ready("apikey/made").await?;
    let first = own.delivered_key("made").await?;
    revoke(&own, "before").await?;
    let kinds = "namespaces.keyplane.dev,apikeys,sshkeys,secrets";
    let home = format!("--namespace={}", own.account);
    let backup = own.kubectl.run(["get", kinds, &home, "--output=yaml"]).await?;
    revoke(&own, "after").await?;

    own.kubectl.run(["delete", "account", &own.account, "--timeout=90s"]).await?;
    for key in [&live, &before, &after, &first] {
        ensure!(own.exchange(key).await?.status == 401, "{} outlives its account", key.name);
    }
    let account = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "Account", "metadata": {"name": own.account}, "spec": {},
    });
    own.kubectl.apply(&account.to_string()).await?;
    own.wait_ready(&format!("account/{}", own.account)).await?;
    own.kubectl.capture(["apply", "--filename=-"], &backup).await?.success()?;

    own.wait_ready("apikey/live").await?;
    answered(&own, &live, 200).await?;
    stays_revoked(&own, &after).await?;
    own.key_with_reason("before", "Revoked").await?;
    ensure!(own.exchange(&before).await?.status == 401);
    // The Secret in the backup belongs to a key that is no more: it goes, and another key is made.
    own.wait_ready("apikey/made").await?;
    let second = own.delivered_key("made").await?;
    ensure!(second.plaintext()? != first.plaintext()?, "the key of a deleted ApiKey lives on");
    answered(&own, &second, 200).await?;
    ensure!(own.exchange(&first).await?.status == 401);
    Ok(())
}

#[tokio::test]
async fn a_key_deleted_without_being_revoked_is_not_remembered_and_works_when_applied_again() -> Result<()> {
    let own = tenant("forgotten").await?;
    let (key, manifest) = own.generate("ci", &IN_WEB).await?;
    for _ in 0..2 {
        own.kubectl.apply(&manifest).await?;
        own.wait_ready("apikey/ci").await?;
        answered(&own, &key, 200).await?;
        let digits = digits(&own, "ci").await?;
        delete(&own, "ci").await?;
        ensure!(own.exchange(&key).await?.status == 401);
        let remembered = remembered(&own).await?;
        ensure!(!remembered.contains_key(&digits), "{remembered:?}");
        ensure!(remembered.values().all(|shard| !shard.contains(&own.account)), "{remembered:?}");
    }
    Ok(())
}

/// A digest is no secret. A neighbour who learns one can neither have it remembered nor disturb its holder.
#[tokio::test]
async fn only_its_holder_has_a_digest_remembered() -> Result<()> {
    let (own, other) = tokio::try_join!(tenant("holder"), tenant("neighbour"))?;
    // Older than the holder's key.
    other.key("old", &IN_WEB).await?;
    let old = digits(&other, "old").await?;
    let key = own.key("ci", &IN_WEB).await?;
    let held = digits(&own, "ci").await?;
    let spec = json!({"digest": format!("sha256:{held}")}).to_string();

    let copy = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "copy", "namespace": other.account},
        "spec": {"digest": format!("sha256:{held}"), "scope": {"kubernetesExec": {"namespaces": ["web"]}}},
    });
    other.kubectl.apply(&copy.to_string()).await?;
    other.key_with_reason("copy", "DuplicateDigest").await?;
    other.patch_key("old", &spec).await?;
    other.key_with_reason("old", "DuplicateDigest").await?;
    for name in ["copy", "old"] {
        revoke(&other, name).await?;
        own.still_admitted(&key)
            .await
            .with_context(|| format!("{name} is revoked, and the holder with it"))?;
        delete(&other, name).await?;
        own.still_admitted(&key)
            .await
            .with_context(|| format!("{name} is deleted, and the holder with it"))?;
    }
    let after = remembered(&own).await?;
    ensure!(!after.contains_key(&held), "{:?}", after.get(&held));
    // What it once held itself is its own to give up.
    ensure!(after.get(&old) == Some(&format!("revoked-{}-0", other.account)), "{:?}", after.get(&old));
    // A look at the key anew comes to the same.
    own.patch_key("ci", r#"{"displayName":"looked at anew"}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    own.until_admitted(&key).await?;

    revoke(&own, "ci").await?;
    let shard = until("the holder's own revocation to be remembered", PATIENCE, || async {
        let shard = remembered(&own).await?.remove(&held);
        Ok(shard.map_or_else(|| Seen::NotYet("no entry".to_owned()), Seen::Done))
    })
    .await?;
    ensure!(shard == format!("revoked-{}-0", own.account), "{shard}");
    Ok(())
}

#[tokio::test]
async fn nobody_but_an_administrator_takes_a_digest_out() -> Result<()> {
    let own = tenant("out").await?;
    let (key, manifest) = own.generate("ci", &IN_WEB).await?;
    own.kubectl.apply(&manifest).await?;
    own.wait_ready("apikey/ci").await?;
    let digits = digits(&own, "ci").await?;
    revoke(&own, "ci").await?;
    delete(&own, "ci").await?;
    own.kubectl.apply(&manifest).await?;
    stays_revoked(&own, &key).await?;

    // A user with all rights, in no group of administrators.
    let admin = format!("{}-cluster-admin", own.account);
    let user = format!("--user={admin}");
    own.kubectl.run(["create", "clusterrolebinding", &admin, "--clusterrole=cluster-admin", &user]).await?;
    let shard = format!("configmap/revoked-{}-0", own.account);
    let place = "--namespace=keyplane-identities";
    let removal = json!({"data": {&digits: null}}).to_string();
    let impersonation = format!("--as={admin}");
    let patch = ["patch", &shard, place, "--type=merge", "--patch", &removal];
    for (command, sentence) in [
        (patch.to_vec(), "no revoked key is ever forgotten"),
        (vec!["delete", &shard, place], "nothing is deleted from keyplane-identities"),
    ] {
        until(&format!("{command:?} to be refused by policy"), PATIENCE, || async {
            let mut command = command.clone();
            command.push(&impersonation);
            let refusal = own.kubectl.capture(command, "").await?.failure()?;
            // The binding takes effect a moment after it was stored.
            let is_judged = refusal.contains("ValidatingAdmissionPolicy") && refusal.contains(sentence);
            Ok(if is_judged { Seen::Done(()) } else { Seen::NotYet(refusal) })
        })
        .await?;
    }
    let owner = own.owner();
    let refusal = own.kubectl.capture(["get", &shard, place, "--as", &owner], "").await?.failure()?;
    ensure!(refusal.to_lowercase().contains("forbidden"), "{refusal}");
    own.kubectl.run(["delete", "clusterrolebinding", &admin]).await?;
    ensure!(remembered(&own).await?.contains_key(&digits));

    // The administrator's way back, such as after a revocation by mistake: the key is one again, by itself.
    own.kubectl.run(patch).await?;
    own.key_with_reason("ci", "Active").await?;
    answered(&own, &key, 200).await.map(drop)
}

#[tokio::test]
async fn a_key_revoked_and_deleted_in_one_breath_is_remembered_each_time() -> Result<()> {
    const KEYS: usize = 20;
    let own = tenant("breath").await?;
    let (mut manifests, mut held) = (Vec::new(), Vec::new());
    for number in 0..KEYS {
        let (key, manifest) = own.generate(&format!("key-{number}"), &IN_WEB).await?;
        held.push(key);
        manifests.push(manifest);
    }
    let all = manifests.join("\n---\n");
    own.kubectl.apply(&all).await?;
    for key in &held {
        own.wait_ready(&format!("apikey/{}", key.name)).await?;
    }
    let mut wanted = Vec::new();
    for key in &held {
        wanted.push(digits(&own, &key.name).await?);
    }

    let keys: Api<ApiKey> = Api::namespaced(own.client(), &own.account);
    let revoke = Patch::Merge(json!({"spec": {"revoked": true}}));
    try_join_all(held.iter().map(|key| async {
        keys.patch(&key.name, &PatchParams::default(), &revoke).await?;
        keys.delete(&key.name, &DeleteParams::default()).await
    }))
    .await?;
    until("the keys to be gone", PATIENCE, || async {
        let left = keys.list(&ListParams::default()).await?.items.len();
        Ok(if left == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{left} keys")) })
    })
    .await?;
    // The finalizer goes last: what is gone is remembered.
    let remembered = remembered(&own).await?;
    let missing: Vec<&String> = wanted.iter().filter(|digits| !remembered.contains_key(*digits)).collect();
    ensure!(missing.is_empty(), "{} of {KEYS} are forgotten: {missing:?}", missing.len());
    own.kubectl.apply(&all).await?;
    for key in &held {
        own.key_with_reason(&key.name, "DigestRevoked").await?;
    }
    Ok(())
}
