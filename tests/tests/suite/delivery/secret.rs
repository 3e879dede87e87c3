//! A key in a Secret: what is in it, whose it is, and what becomes of it.

use anyhow::{Context as _, Result, ensure};
use keyplane_core::ownership::DIGEST_ANNOTATION;
use keyplane_tests::kubectl::Kubectl;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use serde_json::json;

use super::{digest_of, tenant, to_secret};

async fn entries(own: &Tenant, secret: &str) -> Result<Vec<String>> {
    let found = own.secret(secret).await?.with_context(|| format!("no Secret {secret}"))?;
    Ok(found.data.unwrap_or_default().into_keys().collect())
}

async fn ensure_forbidden(kubectl: &Kubectl, arguments: &[&str]) -> Result<()> {
    let refusal = kubectl.capture(arguments, "").await?.failure()?;
    ensure!(refusal.contains("orbidden"), "{arguments:?}: {refusal}");
    Ok(())
}

#[tokio::test]
async fn a_delivered_kubeconfig_works_as_it_is_where_the_key_reaches_and_nowhere_else() -> Result<()> {
    let own = tenant("delivered").await?;
    let granted = [own.namespace("jobs").await?, own.namespace("web").await?];
    let other = own.namespace("other").await?;
    let scope = json!({"kubernetesExec": {"namespaces": ["jobs", "web"]}});
    own.declare("ci", &json!({"scope": scope, "delivery": {"secretName": "ci-key"}})).await?;
    own.wait_ready("apikey/ci").await?;

    ensure!(entries(&own, "ci-key").await? == ["key", "kubeconfig"]);
    let kubectl = own.delivered_kubectl("ci-key").await?;
    let contexts = kubectl.run(["config", "get-contexts", "--output=name"]).await?;
    let mut contexts: Vec<&str> = contexts.lines().collect();
    contexts.sort_unstable();
    ensure!(contexts == granted, "{contexts:?}");
    ensure!(granted.contains(&kubectl.run(["config", "current-context"]).await?.trim().to_owned()));
    for context in &granted {
        // Each context is in its namespace: what is made there is found there.
        let context_argument = format!("--context={context}");
        kubectl.run([&context_argument, "create", "configmap", "here"]).await?;
        kubectl.run(["get", "configmap", "here", "--namespace", context]).await?;
    }
    for elsewhere in [&other, &own.account, "keyplane-identities", "kube-system"] {
        ensure_forbidden(&kubectl, &["get", "pods", "--namespace", elsewhere]).await?;
    }
    ensure_forbidden(&kubectl, &["get", "pods", "--all-namespaces"]).await
}

#[tokio::test]
async fn a_key_that_is_declared_before_its_namespace_is_delivered_when_that_stands() -> Result<()> {
    // Several, because what matters is the moment between a Namespace and its core Namespace.
    for name in ["one", "two", "three"] {
        let own = tenant("early-key").await?;
        own.declare(name, &to_secret("ci-key")).await?;
        own.key_with_reason(name, "NamespaceNotOwned").await?;
        let granted = own.namespace("web").await?;
        own.wait_ready(&format!("apikey/{name}")).await?;
        let kubectl = own.delivered_kubectl("ci-key").await?;
        let context = kubectl.run(["config", "current-context"]).await?;
        ensure!(context.trim() == granted, "{context}");
        kubectl.run(["get", "configmaps"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_status_tells_which_key_was_delivered() -> Result<()> {
    let own = tenant("told-digest").await?;
    own.namespace("web").await?;
    own.declare("ci", &to_secret("ci-key")).await?;
    own.wait_ready("apikey/ci").await?;
    let key = own.delivered_key("ci-key").await?;
    let stored = own.stored_key("ci").await?;
    let uid = stored.uid().unwrap_or_default();
    let status = stored.status.context("a status")?;

    let digest = digest_of(&key)?;
    ensure!(status.digest.as_deref() == Some(digest.as_str()), "{:?}", status.digest);
    ensure!(status.prefix.is_some_and(|prefix| key.plaintext().is_ok_and(|text| text.starts_with(&prefix))));
    ensure!(status.version.is_some_and(|version| version.number == 1 && version.previous_until.is_none()));
    let secret = own.secret("ci-key").await?.context("the Secret")?;
    ensure!(secret.type_.as_deref() == Some("Opaque"));
    ensure!(secret.annotations().get(DIGEST_ANNOTATION) == Some(&digest));
    ensure!(secret.owner_references().iter().any(|owner| owner.uid == uid && owner.kind == "ApiKey"));

    // And it says who he is.
    let identity = own.delivered_kubectl("ci-key").await?.run(["auth", "whoami"]).await?;
    ensure!(identity.contains(&format!("system:serviceaccount:keyplane-identities:key-{uid}")), "{identity}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_does_not_reach_kubernetes_gets_no_kubeconfig() -> Result<()> {
    let own = tenant("no-kubeconfig").await?;
    for (name, scope) in [("inference", json!({"inference": true})), ("ssh-keys", json!({"sshKeys": true}))] {
        own.declare(name, &json!({"scope": scope, "delivery": {"secretName": name}})).await?;
        own.wait_ready(&format!("apikey/{name}")).await?;
        ensure!(entries(&own, name).await? == ["key"]);
        let answer = own.exchange(&own.delivered_key(name).await?).await?;
        ensure!(answer.at("/code").as_deref() == Some("scope_without_kubernetes"), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_for_all_namespaces_of_an_account_that_has_none_is_delivered_with_a_kubeconfig() -> Result<()> {
    let own = tenant("no-namespaces").await?;
    let scope = json!({"kubernetesExec": {"allNamespaces": true}});
    own.declare("ci", &json!({"scope": scope, "delivery": {"secretName": "ci-key"}})).await?;
    own.wait_ready("apikey/ci").await?;
    let kubectl = own.delivered_kubectl("ci-key").await?;
    ensure_forbidden(&kubectl, &["get", "pods"]).await?;
    // The namespace that comes later is reached with the same kubeconfig.
    let web = own.namespace("web").await?;
    until("access to the new namespace", PATIENCE, || async {
        let seen = kubectl.capture(["get", "pods", "--namespace", &web], "").await?;
        Ok(if seen.code == Some(0) { Seen::Done(()) } else { Seen::NotYet(seen.to_string()) })
    })
    .await
}

#[tokio::test]
async fn an_owner_reads_and_discards_a_delivered_secret_and_makes_none() -> Result<()> {
    let own = tenant("owners-secret").await?;
    own.namespace("web").await?;
    own.declare("ci", &to_secret("ci-key")).await?;
    own.wait_ready("apikey/ci").await?;
    let key = own.delivered_key("ci-key").await?;

    let (as_owner, home) = (format!("--as={}", own.owner()), format!("--namespace={}", own.account));
    let by_owner = |arguments: &[&str]| -> Vec<String> {
        arguments.iter().copied().chain([as_owner.as_str(), home.as_str()]).map(ToOwned::to_owned).collect()
    };
    // What is printed holds the key, so it goes into no message.
    let output = "--output=go-template={{.data.key | base64decode}}";
    let read = own.kubectl.capture(by_owner(&["get", "secret", "ci-key", output]), "").await?;
    ensure!(read.code == Some(0), "{}", read.stderr);
    ensure!(read.stdout == key.plaintext()?, "another key than the one that was delivered");
    for forbidden in [
        vec!["create", "secret", "generic", "another", "--from-literal=key=mine"],
        vec!["patch", "secret", "ci-key", "--type=merge", "-p", r#"{"stringData":{"key":"mine"}}"#],
    ] {
        let refusal = own.kubectl.capture(by_owner(&forbidden), "").await?.failure()?;
        ensure!(refusal.contains("orbidden"), "{forbidden:?}: {refusal}");
    }
    own.kubectl.run(by_owner(&["delete", "secret", "ci-key"])).await?;
    ensure!(own.secret("ci-key").await?.is_none(), "the Secret is still there");
    Ok(())
}

#[tokio::test]
async fn with_its_apikey_goes_the_secret() -> Result<()> {
    let own = tenant("goes").await?;
    own.namespace("web").await?;
    own.declare("ci", &to_secret("ci-key")).await?;
    own.wait_ready("apikey/ci").await?;
    let key = own.delivered_key("ci-key").await?;
    own.kubectl.run(["delete", "apikey", "ci", "--namespace", &own.account, "--timeout=60s"]).await?;
    until("the Secret to be gone", PATIENCE, || async {
        let found = own.secret("ci-key").await?;
        Ok(if found.is_none() { Seen::Done(()) } else { Seen::NotYet("still there".to_owned()) })
    })
    .await?;
    ensure!(own.exchange(&key).await?.status == 401);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_deleted_by_hand_changes_nothing_for_the_key_and_is_not_made_anew() -> Result<()> {
    let own = tenant("discarded").await?;
    own.namespace("web").await?;
    own.declare("ci", &to_secret("ci-key")).await?;
    own.wait_ready("apikey/ci").await?;
    let key = own.delivered_key("ci-key").await?;
    let digest = own.stored_key("ci").await?.status.unwrap_or_default().digest;
    own.kubectl.run(["delete", "secret", "ci-key", "--namespace", &own.account]).await?;
    // The controller looks at the key once more, for another reason.
    own.patch_key("ci", r#"{"displayName":"kept elsewhere"}"#).await?;
    let status = own.key_with_reason("ci", "Active").await?.status.unwrap_or_default();
    ensure!(status.digest == digest && status.version.is_some_and(|version| version.number == 1));
    own.until_admitted(&key).await?;
    ensure!(own.secret("ci-key").await?.is_none(), "a Secret was made anew");
    Ok(())
}
