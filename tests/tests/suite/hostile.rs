//! A hostile customer against its neighbour: nothing that an account's owner writes yields a right in a namespace
//! that is not the account's, at any moment (invariant I7).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a poisoned lock is the test's own panic; its figures are its report"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_crds::ApiKey;
use keyplane_tests::kubectl::Kubectl;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

/// Every RoleBinding that ever existed since the watch began, as (name, namespace).
struct Witness {
    seen: Arc<Mutex<BTreeSet<(String, String)>>>,
    failure: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Witness {
    /// A raw watch from a listed version on: unlike a reflector it misses nothing in between, and says so when it
    /// would.
    async fn begin(tenant: &Tenant) -> Result<Self> {
        let bindings: Api<RoleBinding> = Api::all(tenant.client());
        let listed = bindings.list(&ListParams::default()).await?;
        let version = listed.metadata.resource_version.context("a list has a version")?;
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let failure = Arc::new(Mutex::new(None));
        let (into, failed) = (seen.clone(), failure.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = follow(&bindings, version, &into).await {
                *failed.lock().unwrap() = Some(format!("{error:#}"));
            }
        });
        Ok(Self { seen, failure, task })
    }

    /// Waits until the witness has seen this binding, so that it has seen all that came before.
    async fn has_seen(&self, name: &str) -> Result<()> {
        until(&format!("the witness to see {name}"), PATIENCE, || async {
            if let Some(error) = self.failure.lock().unwrap().clone() {
                bail!("the watch over RoleBindings has a gap: {error}");
            }
            let seen = self.seen.lock().unwrap().iter().any(|(seen, _)| seen == name);
            Ok(if seen { Seen::Done(()) } else { Seen::NotYet("nothing".to_owned()) })
        })
        .await
    }
}

async fn follow(
    bindings: &Api<RoleBinding>,
    from: String,
    seen: &Mutex<BTreeSet<(String, String)>>,
) -> Result<()> {
    let mut version = from;
    loop {
        let mut events = bindings.watch(&WatchParams::default(), &version).await?.boxed();
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(binding) | WatchEvent::Modified(binding) | WatchEvent::Deleted(binding) => {
                    version = binding.resource_version().context("a stored object has a version")?;
                    seen.lock()
                        .unwrap()
                        .insert((binding.name_any(), binding.namespace().unwrap_or_default()));
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => bail!("{}", status.message),
            }
        }
    }
}

/// kubectl of an account's owner: the rights of `keyplane:account-owner` in the home namespace, no others.
struct Owner<'a> {
    kubectl: &'a Kubectl,
    user: String,
    home: String,
}

impl Owner<'_> {
    async fn apply(&self, manifest: &str) -> Result<()> {
        let user = format!("--as={}", self.user);
        self.kubectl.capture(["apply", &user, "-f", "-"], manifest).await?.success()?;
        Ok(())
    }

    async fn patch(&self, name: &str, patch: &str) -> Result<()> {
        let (user, home) = (format!("--as={}", self.user), format!("--namespace={}", self.home));
        self.kubectl.run(["patch", "apikey", name, &user, &home, "--type=merge", "-p", patch]).await?;
        Ok(())
    }

    async fn delete(&self, what: &str) -> Result<()> {
        let (user, home) = (format!("--as={}", self.user), format!("--namespace={}", self.home));
        self.kubectl.run(["delete", what, &user, &home, "--timeout=60s"]).await?;
        Ok(())
    }
}

fn key_manifest(home: &str, name: &str, exec: &str) -> String {
    let digest: String = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    format!(
        "apiVersion: keyplane.dev/v1alpha1\nkind: ApiKey\nmetadata: {{name: {name}, namespace: {home}}}\n\
         spec: {{digest: 'sha256:{digest}', scope: {{kubernetesExec: {exec}}}}}\n"
    )
}

fn namespace_manifest(home: &str, name: &str) -> String {
    format!(
        "apiVersion: keyplane.dev/v1alpha1\nkind: Namespace\nmetadata: {{name: {name}, namespace: {home}}}\n"
    )
}

#[tokio::test]
async fn no_hostile_sequence_ever_yields_a_role_binding_in_anothers_namespace() -> Result<()> {
    let shared = shared_keyplane().await?;
    let victim = Tenant::create(shared.cluster, &shared.keyplane, "victim").await?;
    // Account `victim-x` and its namespace `yard` would have the core name of account `victim`'s namespace `x-yard`.
    let shadow = Tenant::named(shared.cluster, &shared.keyplane, &format!("{}-x", victim.account)).await?;
    let hostile = Tenant::create(shared.cluster, &shared.keyplane, "hostile").await?;
    victim.namespace("web").await?;
    victim.namespace("x-yard").await?;
    victim.key("own", &["--all-namespaces"]).await?;
    let (web, secret) = (victim.namespace_id("web").await?, victim.namespace_id("x-yard").await?);
    let witness = Witness::begin(&hostile).await?;
    let owner = Owner { kubectl: &hostile.kubectl, user: hostile.owner(), home: hostile.account.clone() };
    let home = &hostile.account;

    // By the neighbour's id, alone and beside a namespace of one's own.
    hostile.namespace("mine").await?;
    owner.apply(&key_manifest(home, "by-id", &format!("{{namespaceIds: [{web}]}}"))).await?;
    owner
        .apply(&key_manifest(home, "beside", &format!("{{namespaces: [mine], namespaceIds: [{secret}]}}")))
        .await?;
    // By every name the neighbour's namespace has.
    let core_web = format!("{}-web", victim.account);
    owner.apply(&key_manifest(home, "by-name", &format!("{{namespaces: [web, {core_web}]}}"))).await?;
    for name in ["by-id", "beside", "by-name"] {
        let key = hostile.key_with_reason(name, "NamespaceNotOwned").await?;
        let status = key.status.unwrap_or_default();
        ensure!(status.namespaces.is_empty(), "{name}: {status:?}");
        ensure!(status.state == Some(keyplane_crds::ApiKeyState::Invalid), "{name}: {status:?}");
    }
    let message = hostile.stored_key("by-id").await?.status.unwrap_or_default().conditions.remove(0).message;
    ensure!(message.contains(&web), "the message names the id: {message}");

    // A key that works, turned towards the neighbour while it is in use, and back.
    owner.apply(&key_manifest(home, "turning", "{namespaces: [mine], role: admin}")).await?;
    hostile.key_with_reason("turning", "Active").await?;
    owner.patch("turning", &format!(r#"{{"spec":{{"scope":{{"kubernetesExec":{{"namespaces":null,"namespaceIds":["{web}"]}}}}}}}}"#)).await?;
    hostile.key_with_reason("turning", "NamespaceNotOwned").await?;
    owner
        .patch(
            "turning",
            r#"{"spec":{"scope":{"kubernetesExec":{"namespaces":["mine"],"namespaceIds":null}}}}"#,
        )
        .await?;
    hostile.key_with_reason("turning", "Active").await?;

    // A rename: a namespace of one's own goes, and comes back under the neighbour's name.
    owner.delete("namespaces.keyplane.dev/mine").await?;
    hostile.key_with_reason("turning", "NamespaceNotOwned").await?;
    owner.apply(&namespace_manifest(home, "web")).await?;
    hostile.wait_ready("namespaces.keyplane.dev/web").await?;
    owner.patch("turning", &format!(r#"{{"spec":{{"scope":{{"kubernetesExec":{{"namespaces":["web"],"namespaceIds":["{web}"]}}}}}}}}"#)).await?;
    hostile.key_with_reason("turning", "NamespaceNotOwned").await?;

    // The colliding core name: the neighbour's namespace is not adopted, and no key reaches it through the shadow.
    let shadow_owner = Owner { kubectl: &shadow.kubectl, user: shadow.owner(), home: shadow.account.clone() };
    shadow_owner.apply(&namespace_manifest(&shadow.account, "yard")).await?;
    shadow_owner.apply(&key_manifest(&shadow.account, "all", "{allNamespaces: true, role: admin}")).await?;
    shadow_owner.apply(&key_manifest(&shadow.account, "named", "{namespaces: [yard], role: admin}")).await?;
    shadow.key_with_reason("all", "Active").await?;
    shadow.key_with_reason("named", "NamespaceNotReady").await?;

    // A status forged by an administrator's slip gives nothing either.
    let forged = format!(
        r#"{{"status":{{"state":"Active","namespaces":[{{"id":"{web}","name":"web","kubernetesName":"{core_web}"}}]}}}}"#
    );
    let at_home = format!("--namespace={home}");
    hostile
        .kubectl
        .run(["patch", "apikey", "by-id", &at_home, "--subresource=status", "--type=merge", "-p", &forged])
        .await?;
    until("the forged status to be set right", PATIENCE, || async {
        let status = hostile.stored_key("by-id").await?.status.unwrap_or_default();
        Ok(if status.namespaces.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{status:?}")) })
    })
    .await?;

    // The end mark: once the witness has seen this, it has seen everything before it.
    let mark = format!("witness-{}", hostile.account);
    hostile
        .kubectl
        .run(["create", "rolebinding", &mark, "--clusterrole=view", "--user=nobody", &at_home])
        .await?;
    witness.has_seen(&mark).await?;
    witness.task.abort();
    every_binding_was_within_its_account(&hostile, &witness).await
}

/// Whatever binding of a key was seen, its namespace says the key's own account.
async fn every_binding_was_within_its_account(tenant: &Tenant, witness: &Witness) -> Result<()> {
    let keys: Api<ApiKey> = Api::all(tenant.client());
    let account_of: BTreeMap<String, String> = keys
        .list(&ListParams::default())
        .await?
        .iter()
        .map(|key| (key.uid().unwrap_or_default(), key.namespace().unwrap_or_default()))
        .collect();
    let namespaces: Api<CoreNamespace> = Api::all(tenant.client());
    let seen = witness.seen.lock().unwrap().clone();
    let mut judged = 0;
    for (name, namespace) in seen {
        let Some(account) = name.strip_prefix("keyplane-key-").and_then(|uid| account_of.get(uid)) else {
            continue;
        };
        let labels =
            namespaces.get_opt(&namespace).await?.map(|found| found.labels().clone()).unwrap_or_default();
        match labels.get("keyplane.dev/account") {
            Some(label) => {
                ensure!(label == account, "{name} of account {account} was in {namespace} of {label}");
            }
            // The namespace is gone by now; its name tells, and no other account's begins with this one's.
            None => ensure!(
                namespace.starts_with(&format!("{account}-")),
                "{name} of {account} was in {namespace}"
            ),
        }
        judged += 1;
    }
    ensure!(judged > 0, "the witness saw no binding of a key at all");
    println!("hostile: {judged} bindings of keys witnessed, each within its account");
    Ok(())
}
