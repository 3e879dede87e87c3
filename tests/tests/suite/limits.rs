//! An account's limits: the oldest come first, who waits comes in by itself, and a lower limit cuts nothing that lives.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace as CoreNamespace, Secret};
use keyplane_core::seniority::Seniority;
use keyplane_crds::{Account, ApiKey, Condition, Namespace, SshKey};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use serde_json::{Value, json};

async fn tenant(prefix: &str, limits: &Value) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    set_limits(&tenant, limits).await?;
    Ok(tenant)
}

async fn set_limits(own: &Tenant, limits: &Value) -> Result<()> {
    let accounts: Api<Account> = Api::all(own.client());
    let patch = Patch::Merge(json!({"spec": {"limits": limits}}));
    accounts.patch(&own.account, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until the Account's condition `WithinLimits` has this reason for the present limits, and gives its message.
async fn within_limits(own: &Tenant, reason: &str) -> Result<String> {
    let accounts: Api<Account> = Api::all(own.client());
    until(&format!("the account to be {reason}"), PATIENCE, || async {
        let account = accounts.get(&own.account).await?;
        let conditions = account.status.unwrap_or_default().conditions;
        let found = conditions.into_iter().find(|condition| condition.type_ == "WithinLimits");
        let found = found.context("an account has the condition WithinLimits")?;
        let holds = found.reason == reason && found.observed_generation == account.metadata.generation;
        Ok(if holds { Seen::Done(found.message) } else { Seen::NotYet(format!("{found:?}")) })
    })
    .await
}

/// A key of a random digest that reaches no cluster: only its place counts.
fn api_key(name: &str) -> Result<ApiKey> {
    let digest = format!("{0}{0}", uuid::Uuid::new_v4().simple());
    Ok(serde_json::from_value(json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey", "metadata": {"name": name},
        "spec": {"digest": format!("sha256:{digest}"), "scope": {"inference": true}},
    }))?)
}

fn names<K: Resource<DynamicType = ()>>(objects: &[K]) -> BTreeSet<String> {
    objects.iter().map(kube::ResourceExt::name_any).collect()
}

/// The names of objects, the oldest first: by the server's clock, and within a second by UID.
async fn by_age<K>(api: &Api<K>) -> Result<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut objects = api.list(&ListParams::default()).await?.items;
    objects.sort_by_key(|object| Seniority::of(object.meta()));
    Ok(objects.iter().map(kube::ResourceExt::name_any).collect())
}

fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

struct Keys {
    api: Api<ApiKey>,
}

impl Keys {
    fn of(own: &Tenant) -> Self {
        Self { api: Api::namespaced(own.client(), &own.account) }
    }

    async fn declare(&self, names: impl IntoIterator<Item = String>) -> Result<()> {
        try_join_all(names.into_iter().map(|name| async move {
            self.api.create(&PostParams::default(), &api_key(&name)?).await?;
            anyhow::Ok(())
        }))
        .await
        .map(drop)
    }

    /// Declares a key in another second than those before: within one the UID decides who is older.
    async fn declare_later(&self, name: &str) -> Result<()> {
        let key = self.api.create(&PostParams::default(), &api_key(name)?).await?;
        let created = key.metadata.creation_timestamp.context("stored")?.0.as_second();
        until("the next second", PATIENCE, || async {
            let is_over = Utc::now().timestamp() > created;
            Ok(if is_over { Seen::Done(()) } else { Seen::NotYet("the same second".to_owned()) })
        })
        .await
    }

    async fn patch(&self, name: &str, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn revoke(&self, name: &str) -> Result<()> {
        self.patch(name, json!({"revoked": true})).await
    }

    /// Waits until exactly these keys are Ready and all others that live wait for room. In between there are never more
    /// Ready than `limit`.
    async fn settle(&self, wanted: &[String], limit: usize) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        until(&format!("exactly {wanted:?} to be Ready"), PATIENCE, || async {
            let keys = self.api.list(&ListParams::default()).await?.items;
            let mut by_reason: BTreeMap<String, Vec<ApiKey>> = BTreeMap::new();
            for key in keys {
                let is_ending = key.spec.revoked == Some(true)
                    || key.metadata.deletion_timestamp.is_some()
                    || key.spec.expires_at.is_some_and(|end| end <= Utc::now());
                let conditions = key.status.as_ref().map_or(&[][..], |status| &status.conditions);
                let reason = ready(conditions).map(|condition| condition.reason.clone());
                if !is_ending {
                    by_reason.entry(reason.unwrap_or_default()).or_default().push(key);
                }
            }
            let active = by_reason.remove("Active").map(|keys| names(&keys)).unwrap_or_default();
            ensure!(active.len() <= limit, "{active:?} are live, and the limit is {limit}");
            by_reason.remove("LimitReached");
            let is_settled = active == wanted && by_reason.is_empty();
            let others: Vec<&String> = by_reason.keys().collect();
            Ok(if is_settled { Seen::Done(()) } else { Seen::NotYet(format!("{active:?}; {others:?}")) })
        })
        .await
    }
}

#[tokio::test]
async fn the_oldest_keys_are_ready_and_whoever_is_next_comes_in_when_one_ends() -> Result<()> {
    let own = tenant("limit", &json!({"activeApiKeys": 3})).await?;
    let keys = Keys::of(&own);
    for number in 0..6 {
        keys.declare_later(&format!("key-{number}")).await?;
    }
    let order = by_age(&keys.api).await?;
    keys.settle(&order[..3], 3).await?;
    within_limits(&own, "WithinLimits").await?;
    let waiting = own.key_with_reason(&order[5], "LimitReached").await?;
    let status = waiting.status.context("a status")?;
    let message = &status.conditions[0].message;
    for part in ["may have 3 live API keys", "revoke or delete one", "by itself"] {
        ensure!(message.contains(part), "{message}");
    }
    ensure!(status.access.is_none(), "{status:?}");

    keys.revoke(&order[0]).await?;
    keys.settle(&[order[1].clone(), order[2].clone(), order[3].clone()], 3).await?;
    own.kubectl.run(["delete", "apikey", &order[1], "--namespace", &own.account]).await?;
    keys.settle(&order[2..5], 3).await?;
    let stamp = (Utc::now() + TimeDelta::seconds(3)).to_rfc3339_opts(SecondsFormat::Secs, true);
    keys.patch(&order[2], json!({"expiresAt": stamp})).await?;
    keys.settle(&order[3..6], 3).await?;

    // Younger ones than all wait, and a higher limit lets them in, the older of them first.
    for name in ["late", "later"] {
        keys.declare_later(name).await?;
    }
    let ended = [&order[0], &order[2]];
    let mut wanted = by_age(&keys.api).await?;
    wanted.retain(|name| !ended.contains(&name));
    keys.settle(&wanted[..3], 3).await?;
    set_limits(&own, &json!({"activeApiKeys": 4})).await?;
    keys.settle(&wanted[..4], 4).await?;
    set_limits(&own, &json!({"activeApiKeys": null})).await?;
    keys.settle(&wanted, 50).await
}

#[tokio::test]
async fn of_keys_declared_at_once_exactly_as_many_as_there_is_room_for_are_live() -> Result<()> {
    for (count, limit) in [(12, 3), (40, 25)] {
        let own = tenant("at-once", &json!({"activeApiKeys": limit})).await?;
        let keys = Keys::of(&own);
        keys.declare((0..count).map(|number| format!("key-{number}"))).await?;
        let order = by_age(&keys.api).await?;
        keys.settle(&order[..limit], count).await?;
        // It stays so when they are all looked at anew.
        set_limits(&own, &json!({"activeApiKeys": limit, "namespaces": 3})).await?;
        within_limits(&own, "WithinLimits").await?;
        keys.settle(&order[..limit], count).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lower_limit_cuts_no_key_and_lets_none_in_until_there_is_room() -> Result<()> {
    let own = tenant("lower", &json!({"activeApiKeys": 4})).await?;
    own.namespace("web").await?;
    let mut held = Vec::new();
    for number in 0..4 {
        held.push(own.key(&format!("key-{number}"), &["--kubernetes-namespace", "web"]).await?);
    }
    let keys = Keys::of(&own);
    let order = by_age(&keys.api).await?;
    set_limits(&own, &json!({"activeApiKeys": 1})).await?;
    let message = within_limits(&own, "LimitExceeded").await?;
    ensure!(message.contains("4 API keys are live, and spec.limits.activeApiKeys is 1"), "{message}");
    // Each is looked at anew, with a changed spec.
    for key in &held {
        own.patch_key(&key.name, r#"{"displayName":"looked at anew"}"#).await?;
        own.key_with_reason(&key.name, "Active").await?;
        own.still_admitted(key).await.with_context(|| format!("{} was cut", key.name))?;
    }

    // One that Keyplane would make is not made.
    let made = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "made", "namespace": own.account},
        "spec": {"delivery": {"secretName": "made"}, "scope": {"kubernetesExec": {"namespaces": ["web"]}}},
    });
    own.kubectl.apply(&made.to_string()).await?;
    let waiting = own.key_with_reason("made", "LimitReached").await?.status.context("a status")?;
    ensure!(waiting.digest.is_none() && waiting.version.is_none(), "{waiting:?}");
    let secrets: Api<Secret> = Api::namespaced(own.client(), &own.account);
    for (at, name) in order.iter().enumerate() {
        ensure!(secrets.get_opt("made").await?.is_none(), "a key over the limit was delivered");
        keys.revoke(name).await?;
        own.key_with_reason(name, "Revoked").await?;
        let left = order.get(at + 1..).unwrap_or_default();
        if !left.is_empty() {
            keys.settle(left, 4).await?;
        }
        if left.len() == 1 {
            // One is live, as many as the limit allows: nobody else comes in.
            within_limits(&own, "WithinLimits").await?;
            own.key_with_reason("made", "LimitReached").await?;
        }
    }
    own.key_with_reason("made", "Active").await?;
    let key = own.delivered_key("made").await?;
    own.until_admitted(&key).await?;
    Ok(())
}

async fn namespace_reason(own: &Tenant, name: &str, reason: &str) -> Result<String> {
    let namespaces: Api<Namespace> = Api::namespaced(own.client(), &own.account);
    until(&format!("Namespace {name}: {reason}"), PATIENCE, || async {
        let conditions = namespaces.get(name).await?.status.unwrap_or_default().conditions;
        let found = ready(&conditions).filter(|condition| condition.reason == reason);
        let found = found.map(|condition| condition.message.clone());
        Ok(found.map_or_else(|| Seen::NotYet(format!("{conditions:?}")), Seen::Done))
    })
    .await
}

#[tokio::test]
async fn namespaces_wait_for_room_and_one_that_stands_is_never_taken_down() -> Result<()> {
    let own = tenant("limit-ns", &json!({"namespaces": 2})).await?;
    let cores: Api<CoreNamespace> = Api::all(own.client());
    let (one, two) = (own.namespace("one").await?, own.namespace("two").await?);
    let uids = (cores.get(&one).await?.uid(), cores.get(&two).await?.uid());
    let third = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "Namespace",
        "metadata": {"name": "three", "namespace": own.account},
    });
    own.kubectl.apply(&third.to_string()).await?;
    let message = namespace_reason(&own, "three", "LimitReached").await?;
    ensure!(message.contains("may have 2 namespaces") && message.contains("delete one"), "{message}");
    let three = format!("{}-three", own.account);
    ensure!(cores.get_opt(&three).await?.is_none());

    set_limits(&own, &json!({"namespaces": 1})).await?;
    let message = within_limits(&own, "LimitExceeded").await?;
    ensure!(message.contains("2 namespaces are provisioned, and spec.limits.namespaces is 1"), "{message}");
    for name in ["one", "two"] {
        namespace_reason(&own, name, "Provisioned").await?;
    }
    ensure!(uids == (cores.get(&one).await?.uid(), cores.get(&two).await?.uid()));
    // What stands is still mended.
    own.kubectl.run(["delete", "resourcequota", "keyplane", "--namespace", &two]).await?;
    until("the quota to be made anew", PATIENCE, || async {
        let seen = own.kubectl.capture(["get", "resourcequota", "keyplane", "--namespace", &two], "").await?;
        Ok(if seen.code == Some(0) { Seen::Done(()) } else { Seen::NotYet(seen.to_string()) })
    })
    .await?;

    let home = format!("--namespace={}", own.account);
    own.kubectl.run(["delete", "namespaces.keyplane.dev", "one", &home, "--timeout=60s"]).await?;
    within_limits(&own, "WithinLimits").await?;
    namespace_reason(&own, "three", "LimitReached").await?;
    set_limits(&own, &json!({"namespaces": 2})).await?;
    namespace_reason(&own, "three", "Provisioned").await?;
    ensure!(cores.get(&two).await?.uid() == uids.1);
    // A deletion makes room as well as a higher limit.
    own.kubectl.apply(&third.to_string().replace("three", "four")).await?;
    namespace_reason(&own, "four", "LimitReached").await?;
    own.kubectl.run(["delete", "namespaces.keyplane.dev", "two", &home, "--timeout=60s"]).await?;
    namespace_reason(&own, "four", "Provisioned").await.map(drop)
}

/// A fresh public key.
async fn ssh_line(own: &Tenant, name: &str) -> Result<String> {
    let file = own.dir().join(name);
    let made = tokio::process::Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t", "ed25519", "-C", name, "-f"])
        .arg(&file)
        .output()
        .await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(std::fs::read_to_string(file.with_extension("pub"))?.trim_end().to_owned())
}

/// Waits until exactly these SSH keys are registered, and all others wait for room.
async fn registered(keys: &Api<SshKey>, wanted: &[String]) -> Result<()> {
    until(&format!("exactly {wanted:?} to be registered"), PATIENCE, || async {
        let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in keys.list(&ListParams::default()).await? {
            let conditions = key.status.clone().unwrap_or_default().conditions;
            let reason = ready(&conditions).map(|condition| condition.reason.clone()).unwrap_or_default();
            reasons.entry(reason).or_default().push(key.name_any());
        }
        let standing: BTreeSet<String> =
            reasons.remove("Registered").unwrap_or_default().into_iter().collect();
        reasons.remove("LimitReached");
        let holds = standing == wanted.iter().cloned().collect() && reasons.is_empty();
        Ok(if holds { Seen::Done(()) } else { Seen::NotYet(format!("{standing:?}, {reasons:?}")) })
    })
    .await
}

/// An SSH key makes nothing in the cluster, so nothing says that it stood before: age alone decides.
#[tokio::test]
async fn of_ssh_keys_the_oldest_stand_whatever_the_limit_becomes() -> Result<()> {
    let own = tenant("limit-ssh", &json!({"sshKeys": 2})).await?;
    let keys: Api<SshKey> = Api::namespaced(own.client(), &own.account);
    for name in ["one", "two", "three", "four"] {
        let key = serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": "SshKey", "metadata": {"name": name},
            "spec": {"publicKey": ssh_line(&own, name).await?},
        }))?;
        keys.create(&PostParams::default(), &key).await?;
    }
    let order = by_age(&keys).await?;
    registered(&keys, &order[..2]).await?;
    set_limits(&own, &json!({"sshKeys": 1})).await?;
    registered(&keys, &order[..1]).await?;
    let message = within_limits(&own, "LimitExceeded").await?;
    ensure!(message.contains("spec.limits.sshKeys is 1"), "{message}");
    set_limits(&own, &json!({"sshKeys": 3})).await?;
    registered(&keys, &order[..3]).await?;
    own.kubectl.run(["delete", "sshkey", &order[0], "--namespace", &own.account]).await?;
    registered(&keys, &order[1..]).await?;
    within_limits(&own, "WithinLimits").await.map(drop)
}
