//! The main job: a key is declared and swapped, and reaches exactly what it grants.

use anyhow::{Result, ensure};
use keyplane_tests::kubectl::Kubectl;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;

const DEPLOYMENT: &str = "--image=example.invalid/app:1";

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

async fn ensure_forbidden(kubectl: &Kubectl, arguments: &[&str]) -> Result<()> {
    let refusal = kubectl.capture(arguments, "").await?.failure()?;
    ensure!(refusal.to_lowercase().contains("forbidden"), "{arguments:?}: {refusal}");
    Ok(())
}

#[tokio::test]
async fn a_key_of_one_namespace_reaches_that_namespace_and_nothing_else() -> Result<()> {
    let (own, other) = tokio::try_join!(tenant("one"), tenant("other"))?;
    let web = own.namespace("web").await?;
    let jobs = own.namespace("jobs").await?;
    let foreign = other.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let kubectl = own.kubectl_of(&key).await?;

    kubectl.run(["get", "pods", "--namespace", &web]).await?;
    for elsewhere in [&jobs, &foreign, &own.account, &other.account, "keyplane-identities", "kube-system"] {
        ensure_forbidden(&kubectl, &["get", "pods", "--namespace", elsewhere]).await?;
    }
    ensure_forbidden(&kubectl, &["get", "pods", "--all-namespaces"]).await?;
    ensure_forbidden(&kubectl, &["get", "apikeys", "--namespace", &own.account]).await?;

    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    let identity = kubectl.run(["auth", "whoami"]).await?;
    ensure!(identity.contains(&format!("system:serviceaccount:keyplane-identities:key-{uid}")), "{identity}");
    Ok(())
}

#[tokio::test]
async fn a_key_by_namespace_id_reaches_the_same_as_one_by_name() -> Result<()> {
    let own = tenant("by-id").await?;
    let web = own.namespace("web").await?;
    let id = own.namespace_id("web").await?;
    let key = own.key("by-id", &["--namespace-id", &id, "--role", "view"]).await?;
    own.kubectl_of(&key).await?.run(["get", "pods", "--namespace", &web]).await?;
    Ok(())
}

#[tokio::test]
async fn an_edit_key_deploys_but_mints_no_token_and_impersonates_nobody() -> Result<()> {
    let own = tenant("edit").await?;
    let web = own.namespace("web").await?;
    let key = own.key("edit", &["--kubernetes-namespace", "web", "--role", "edit"]).await?;
    let kubectl = own.kubectl_of(&key).await?;
    let within = ["--namespace", &web];

    kubectl.run(["create", "deployment", "app", DEPLOYMENT].into_iter().chain(within)).await?;
    until("the Deployment's ReplicaSet", PATIENCE, || async {
        let sets = kubectl.run(["get", "replicasets", "--output=name"].into_iter().chain(within)).await?;
        Ok(if sets.contains("app-") { Seen::Done(()) } else { Seen::NotYet(sets) })
    })
    .await?;

    ensure_forbidden(&kubectl, &["create", "token", "default", "--namespace", &web]).await?;
    let impersonated = format!("--as=system:serviceaccount:{web}:default");
    ensure_forbidden(&kubectl, &["get", "pods", "--namespace", &web, &impersonated]).await?;
    ensure_forbidden(
        &kubectl,
        &["create", "rolebinding", "up", "--clusterrole=keyplane:admin", "--user=me", "--namespace", &web],
    )
    .await?;
    let secret = format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n\
         metadata: {{name: loot, namespace: {web}, annotations: {{kubernetes.io/service-account.name: default}}}}\n"
    );
    let refusal = kubectl.capture(["create", "-f", "-"], &secret).await?.failure()?;
    ensure!(refusal.contains("ValidatingAdmissionPolicy"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn a_view_key_changes_nothing_and_reads_no_secret() -> Result<()> {
    let own = tenant("view").await?;
    let web = own.namespace("web").await?;
    let key = own.key("view", &["--kubernetes-namespace", "web", "--role", "view"]).await?;
    let kubectl = own.kubectl_of(&key).await?;
    kubectl.run(["get", "pods,deployments,configmaps", "--namespace", &web]).await?;
    ensure_forbidden(&kubectl, &["create", "deployment", "app", DEPLOYMENT, "--namespace", &web]).await?;
    ensure_forbidden(&kubectl, &["get", "secrets", "--namespace", &web]).await
}

#[tokio::test]
async fn a_namespace_joins_and_leaves_an_all_namespaces_key_by_itself() -> Result<()> {
    let own = tenant("joins").await?;
    own.namespace("web").await?;
    let key = own.key("all", &["--all-namespaces", "--role", "view"]).await?;
    let generation = own.stored_key("all").await?.metadata.generation;
    let kubectl = own.kubectl_of(&key).await?;

    let later = own.namespace("later").await?;
    until("access to the new namespace", PATIENCE, || async {
        let seen = kubectl.capture(["get", "pods", "--namespace", &later], "").await?;
        Ok(if seen.code == Some(0) { Seen::Done(()) } else { Seen::NotYet(seen.to_string()) })
    })
    .await?;
    let stored = own.stored_key("all").await?;
    ensure!(stored.metadata.generation == generation, "the key's spec was touched");

    own.kubectl.run(["delete", "namespaces.keyplane.dev", "later", "--namespace", &own.account]).await?;
    until("the status without the deleted namespace", PATIENCE, || async {
        let namespaces = own.stored_key("all").await?.status.unwrap_or_default().namespaces;
        let gone = namespaces.iter().all(|namespace| namespace.name != "later");
        Ok(if gone { Seen::Done(()) } else { Seen::NotYet(format!("{namespaces:?}")) })
    })
    .await?;
    ensure_forbidden(&kubectl, &["get", "pods", "--namespace", &later]).await
}

#[tokio::test]
async fn a_key_for_everything_administers_the_accounts_namespaces_and_no_others() -> Result<()> {
    let (own, other) = tokio::try_join!(tenant("all"), tenant("all-other"))?;
    let web = own.namespace("web").await?;
    let foreign = other.namespace("web").await?;
    let key = own.key("everything", &["--scope", "all"]).await?;
    let kubectl = own.kubectl_of(&key).await?;
    kubectl
        .run([
            "create",
            "rolebinding",
            "bob",
            "--clusterrole=keyplane:view",
            "--user=bob",
            "--namespace",
            &web,
        ])
        .await?;
    // Kubernetes' own `edit` holds impersonation, which no key has and so none can give.
    ensure_forbidden(
        &kubectl,
        &["create", "rolebinding", "eve", "--clusterrole=edit", "--user=eve", "--namespace", &web],
    )
    .await?;
    ensure_forbidden(&kubectl, &["get", "pods", "--namespace", &foreign]).await
}

#[tokio::test]
async fn a_key_without_kubernetes_scope_is_told_so() -> Result<()> {
    let own = tenant("scopes").await?;
    for scope in ["inference", "ssh-keys"] {
        let key = own.key(scope, &["--scope", scope]).await?;
        let answer = own.exchange(&key).await?;
        ensure!(answer.status == 403, "{answer:?}");
        ensure!(answer.at("/code").as_deref() == Some("scope_without_kubernetes"), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_key_reaches_follows_a_change_of_its_scope() -> Result<()> {
    let own = tenant("change").await?;
    let web = own.namespace("web").await?;
    let jobs = own.namespace("jobs").await?;
    let key = own.key("moving", &["--kubernetes-namespace", "web"]).await?;
    let kubectl = own.kubectl_of(&key).await?;
    kubectl.run(["get", "pods", "--namespace", &web]).await?;

    own.patch_key("moving", r#"{"scope":{"kubernetesExec":{"namespaces":["jobs"],"role":"view"}}}"#).await?;
    own.key_with_reason("moving", "Active").await?;
    ensure_forbidden(&kubectl, &["get", "pods", "--namespace", &web]).await?;
    kubectl.run(["get", "pods", "--namespace", &jobs]).await?;
    ensure_forbidden(&kubectl, &["create", "deployment", "app", DEPLOYMENT, "--namespace", &jobs]).await?;

    own.patch_key("moving", r#"{"scope":{"kubernetesExec":{"role":"edit"}}}"#).await?;
    own.key_with_reason("moving", "Active").await?;
    kubectl.run(["create", "deployment", "app", DEPLOYMENT, "--namespace", &jobs]).await?;
    Ok(())
}
