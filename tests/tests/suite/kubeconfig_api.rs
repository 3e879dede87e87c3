//! `GET /v1/kubernetes/kubeconfig`: kubectl works with it as it came, and the key is not in it.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::kubectl::Kubectl;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use crate::replicas::replica;

const PATH: &str = "/v1/kubernetes/kubeconfig";

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

/// The kubeconfig in an answer.
fn kubeconfig(answer: &HttpAnswer) -> Result<Value> {
    ensure!(answer.status == 200, "{answer:?}");
    for (name, value) in [
        ("content-type", "application/yaml"),
        ("content-disposition", "attachment; filename=\"keyplane.kubeconfig\""),
        ("cache-control", "no-store"),
    ] {
        ensure!(answer.header(name) == Some(value), "{name}: {answer:?}");
    }
    Ok(serde_saphyr::from_str(&answer.text)?)
}

async fn contexts(kubectl: &Kubectl) -> Result<Vec<String>> {
    let names = kubectl.run(["config", "get-contexts", "--output=name"]).await?;
    let mut names: Vec<String> = names.lines().map(ToOwned::to_owned).collect();
    names.sort();
    Ok(names)
}

fn ensure_problem(what: &str, answer: &HttpAnswer, status: u16, code: &str) -> Result<()> {
    let is_it = answer.status == status && answer.at("/code").as_deref() == Some(code);
    ensure!(is_it, "{what}: {status} {code}: {answer:?}");
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn kubectl_works_with_a_keys_kubeconfig_in_each_context_and_nowhere_else() -> Result<()> {
    let own = tenant("kubeconfig-key").await?;
    let mut granted = [own.namespace("web").await?, own.namespace("jobs").await?];
    granted.sort();
    let other = own.namespace("other").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web", "--kubernetes-namespace", "jobs"]).await?;
    let answer = own.call_with_key(&key, Method::GET, PATH, &Value::Null).await?;
    let config = kubeconfig(&answer)?;
    ensure!(!answer.text.contains(&key.plaintext()?), "the key is in the kubeconfig");
    until("the use to be counted", PATIENCE, || async {
        let usage = own.stored_key("ci").await?.status.unwrap_or_default().usage;
        Ok(match usage {
            Some(usage) if usage.count == 1 => Seen::Done(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
    .await?;

    let kubectl = own.kubectl_with(&answer.text, &key)?;
    ensure!(contexts(&kubectl).await? == granted);
    for context in &granted {
        let in_context = format!("--context={context}");
        kubectl.run([&in_context, "get", "pods"]).await?;
        // Each context is in its namespace: what is made there is found there.
        kubectl.run([&in_context, "create", "configmap", "here"]).await?;
        kubectl.run(["get", "configmap", "here", "--namespace", context]).await?;
    }
    let refusal = kubectl.capture(["get", "pods", "--namespace", &other], "").await?.failure()?;
    ensure!(refusal.contains("orbidden"), "{refusal}");

    // The same as `kubectl-keyplane kubeconfig` writes.
    let exec = &config["users"][0]["user"]["exec"];
    ensure!(exec["command"] == "kubectl-keyplane" && exec["args"][0] == "get-token", "{exec}");
    ensure!(exec["provideClusterInfo"] == true && exec["interactiveMode"] == "Never", "{exec}");
    let hint = exec["installHint"].as_str().context("a hint")?;
    let written = own.kubectl_of(&key).await?.run(["config", "view", "--raw", "-o", "json"]).await?;
    let written: Value = serde_json::from_str(&written)?;
    ensure!(written["users"][0]["user"]["exec"]["installHint"] == hint, "{written}");
    ensure!(exec.get("env").is_none_or(Value::is_null), "{exec}");
    Ok(())
}

#[tokio::test]
async fn a_person_gets_every_namespace_that_is_ready() -> Result<()> {
    let own = tenant("kubeconfig-person").await?;
    let (owner, viewer) = (own.owner_token().await?, own.viewer_token().await?);
    // Without a namespace there is a context all the same.
    let empty = kubeconfig(&own.call(&owner, Method::GET, PATH, &Value::Null).await?)?;
    ensure!(empty["current-context"] == "keyplane", "{empty}");
    let mut ready = [own.namespace("web").await?, own.namespace("jobs").await?];
    ready.sort();
    let taken = format!("{}-taken", own.account);
    own.kubectl.run(["create", "namespace", &taken]).await?;
    let manifest = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "Namespace",
        "metadata": {"name": "taken", "namespace": own.account},
    });
    own.kubectl.apply(&manifest.to_string()).await?;
    let key = own.key("all", &["--scope", "all"]).await?;
    let named = format!("{PATH}?account={}", own.account);
    for (token, path) in [(&owner, PATH), (&viewer, named.as_str())] {
        let answer = own.call(token, Method::GET, path, &Value::Null).await?;
        kubeconfig(&answer)?;
        let kubectl = own.kubectl_with(&answer.text, &key)?;
        ensure!(contexts(&kubectl).await? == ready);
        for context in &ready {
            kubectl.run([&format!("--context={context}"), "get", "pods"]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn whoever_may_not_have_it_is_told_why() -> Result<()> {
    let (own, other) = (tenant("kubeconfig-refused").await?, tenant("kubeconfig-other").await?);
    own.namespace("web").await?;
    let stranger = format!("Bearer {}", other.owner_token().await?);
    let owner = format!("Bearer {}", own.owner_token().await?);
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?.plaintext()?;
    let inference = own.key("inference", &["--scope", "inference"]).await?.plaintext()?;
    let unknown = own.generate("unknown", &["--scope", "all"]).await?.0.plaintext()?;
    let as_bearer = format!("Bearer {key}");
    let named = format!("{PATH}?account={}", own.account);
    let twice = format!("{PATH}?account=a&account=b");
    for (what, path, headers, status, code) in [
        ("nothing", PATH, vec![], 401, "missing_access_token"),
        ("a key as a token", PATH, vec![("authorization", as_bearer.as_str())], 401, "missing_access_token"),
        ("no token", PATH, vec![("authorization", "Bearer no.real.token")], 401, "invalid_access_token"),
        ("no key", PATH, vec![("x-api-key", "kpk_nothing")], 401, "invalid_api_key"),
        ("a key of nobody", PATH, vec![("x-api-key", &unknown)], 401, "invalid_api_key"),
        (
            "a key and a token",
            PATH,
            vec![("x-api-key", &key), ("authorization", &owner)],
            401,
            "invalid_api_key",
        ),
        ("another scope", PATH, vec![("x-api-key", &inference)], 403, "insufficient_scope"),
        ("another's owner", &named, vec![("authorization", &stranger)], 403, "forbidden"),
        ("two accounts", &twice, vec![("authorization", &owner)], 400, "invalid_account"),
    ] {
        let answer = own.http()?.send(Method::GET, path, &headers, b"").await?;
        ensure_problem(what, &answer, status, code)?;
    }
    let answer = own.http()?.send(Method::POST, PATH, &[("x-api-key", &key)], b"").await?;
    ensure_problem("POST", &answer, 405, "method_not_allowed")?;

    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    until("the revoked key to be refused", PATIENCE, || async {
        let answer = own.http()?.send(Method::GET, PATH, &[("x-api-key", &key)], b"").await?;
        Ok(if answer.status == 401 { Seen::Done(()) } else { Seen::NotYet(format!("{}", answer.status)) })
    })
    .await
}

#[tokio::test]
async fn without_its_own_address_keyplane_says_what_to_configure() -> Result<()> {
    let own = tenant("kubeconfig-unset").await?;
    own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?.plaintext()?;
    let keyplane = replica("kubeconfig-unset", &[]).await?;
    let api = HttpApi::at(&keyplane.url(), Some(keyplane.ca_file()))?;
    let answer = api.send(Method::GET, PATH, &[("x-api-key", &key)], b"").await?;
    ensure_problem("unset", &answer, 503, "kubeconfig_not_configured")?;
    ensure!(answer.at("/detail").is_some_and(|detail| detail.contains("--public-url")), "{answer:?}");
    ensure!(answer.header("retry-after").is_none(), "{answer:?}");
    let answer = api.send(Method::GET, PATH, &[], b"").await?;
    ensure_problem("nobody", &answer, 401, "missing_access_token")?;

    let switched_off = replica("kubeconfig-off", &["--disable-surface", "kubeconfig"]).await?;
    let api = HttpApi::at(&switched_off.url(), Some(switched_off.ca_file()))?;
    let answer = api.send(Method::GET, PATH, &[("x-api-key", &key)], b"").await?;
    ensure_problem("switched off", &answer, 404, "not_found")
}
