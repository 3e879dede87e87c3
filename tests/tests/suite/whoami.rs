//! `GET /v1/whoami`: whoever has a key learns whose it is and what it may do, and nobody else learns anything.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::delivery::{digest_of, until_answered};
use crate::replicas::replica;

const PATH: &str = "/v1/whoami";

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

async fn ask(own: &Tenant, key: &HeldKey) -> Result<HttpAnswer> {
    own.call_with_key(key, Method::GET, PATH, &Value::Null).await
}

/// What is told of a key, once it is.
async fn told(own: &Tenant, key: &HeldKey) -> Result<Value> {
    let answer = until(&format!("an answer about {}", key.name), PATIENCE, || async {
        let answer = ask(own, key).await?;
        Ok(if answer.status == 200 { Seen::Done(answer) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    ensure!(answer.header("cache-control") == Some("no-store"), "{answer:?}");
    ensure!(answer.header("content-type") == Some("application/json"), "{answer:?}");
    ensure!(!answer.text.contains(&key.plaintext()?), "the key is in the answer");
    Ok(answer.json())
}

fn ensure_problem(what: &str, answer: &HttpAnswer, status: u16, code: &str) -> Result<()> {
    let is_it = answer.status == status && answer.at("/code").as_deref() == Some(code);
    ensure!(is_it, "{what}: {status} {code} expected: {answer:?}");
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{what}: {answer:?}");
    ensure!(answer.header("cache-control") == Some("no-store"), "{what}: {answer:?}");
    Ok(())
}

/// A namespace as it is told.
async fn namespace(own: &Tenant, name: &str) -> Result<Value> {
    let kubernetes_name = own.namespace(name).await?;
    Ok(json!({"id": own.namespace_id(name).await?, "name": name, "kubernetes_name": kubernetes_name}))
}

#[tokio::test]
async fn a_key_of_each_scope_is_told_what_it_is_and_what_it_reaches() -> Result<()> {
    let own = tenant("whoami").await?;
    let web = namespace(&own, "web").await?;
    let jobs = namespace(&own, "jobs").await?;
    for (name, arguments, scopes, reached) in [
        ("all", vec!["--scope", "all"], json!({"all": true}), vec![&web, &jobs]),
        ("inference", vec!["--scope", "inference"], json!({"inference": true}), vec![]),
        ("ssh-keys", vec!["--scope", "ssh-keys"], json!({"ssh_keys": true}), vec![]),
        (
            "one",
            vec!["--kubernetes-namespace", "web"],
            json!({"kubernetes_exec": {"namespaces": ["web"], "role": "edit"}}),
            vec![&web],
        ),
    ] {
        let key = own.key(name, &arguments).await?;
        let mut said = told(&own, &key).await?;
        sort_namespaces(&mut said);
        let mut expected = json!({
            "account": own.account,
            "id": own.stored_key(name).await?.uid().context("a UID")?,
            "name": name,
            "display_name": null,
            "prefix": key.plaintext()?.get(..8),
            "scopes": scopes,
            "expires_at": null,
            "allowed_cidrs": [],
            "namespaces": reached,
        });
        sort_namespaces(&mut expected);
        ensure!(said == expected, "{said}\n{expected}");
    }

    let end = (Utc::now() + Duration::from_hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let (key, manifest) = own.generate("every", &["--all-namespaces", "--expires-at", &end]).await?;
    let spec = "spec:\n  displayName: All of them\n  allowedCidrs: [127.0.0.0/8, '::1']\n";
    own.kubectl.apply(&manifest.replacen("spec:\n", spec, 1)).await?;
    own.wait_ready("apikey/every").await?;
    let mut said = told(&own, &key).await?;
    sort_namespaces(&mut said);
    ensure!(said["display_name"] == "All of them" && said["expires_at"] == end.as_str(), "{said}");
    ensure!(said["allowed_cidrs"] == json!(["127.0.0.0/8", "::1"]), "{said}");
    ensure!(said["scopes"]["kubernetes_exec"]["all_namespaces"] == true, "{said}");
    ensure!(said["namespaces"].as_array().is_some_and(|namespaces| namespaces.len() == 2), "{said}");
    // What comes later is told later.
    let late = namespace(&own, "late").await?;
    until("the new namespace to be told", PATIENCE, || async {
        let said = told(&own, &key).await?;
        let is_told = said["namespaces"].as_array().is_some_and(|all| all.contains(&late));
        Ok(if is_told { Seen::Done(()) } else { Seen::NotYet(said.to_string()) })
    })
    .await
}

fn sort_namespaces(said: &mut Value) {
    if let Some(namespaces) = said["namespaces"].as_array_mut() {
        namespaces.sort_by_key(|one| one["name"].to_string());
    }
}

#[tokio::test]
async fn asking_counts_as_a_use() -> Result<()> {
    let own = tenant("whoami-use").await?;
    let key = own.key("ci", &["--scope", "inference"]).await?;
    told(&own, &key).await?;
    until("the use to be counted", PATIENCE, || async {
        let usage = own.stored_key("ci").await?.status.unwrap_or_default().usage;
        Ok(match usage {
            Some(usage) if usage.count == 1 && usage.last_used_ip.is_some() => Seen::Done(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
    .await
}

#[tokio::test]
async fn a_replaced_version_is_told_its_own_beginning_and_end() -> Result<()> {
    let own = tenant("whoami-grace").await?;
    let old = own.key("ci", &["--scope", "inference"]).await?;
    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    let spec = json!({"digest": digest_of(&new)?, "rotation": {"gracePeriodSeconds": 600}});
    own.patch_key("ci", &spec.to_string()).await?;
    let fresh = told(&own, &new).await?;
    ensure!(
        fresh["expires_at"].is_null() && fresh["prefix"].as_str() == new.plaintext()?.get(..8),
        "{fresh}"
    );
    let said = told(&own, &old).await?;
    ensure!(said["id"] == fresh["id"] && said["prefix"].as_str() == old.plaintext()?.get(..8), "{said}");
    let end: DateTime<Utc> = said["expires_at"].as_str().context("an end")?.parse()?;
    let left = (end - Utc::now()).num_seconds();
    ensure!((1..=600).contains(&left), "{said}");
    own.patch_key("ci", r#"{"rotation":{"gracePeriodSeconds":0}}"#).await?;
    until("the old key to be unknown", PATIENCE, || async {
        let answer = ask(&own, &old).await?;
        let is_unknown = answer.at("/code").as_deref() == Some("invalid_api_key");
        Ok(if is_unknown { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await
}

#[tokio::test]
async fn a_key_whose_access_is_being_set_up_is_told_what_it_reaches_so_far() -> Result<()> {
    let own = tenant("whoami-pending").await?;
    // A namespace that is the account's but cannot stand: its core name is taken by somebody else.
    own.kubectl.run(["create", "namespace", &format!("{}-taken", own.account)]).await?;
    let home = &own.account;
    own.kubectl
        .apply(&format!(
            "apiVersion: keyplane.dev/v1alpha1\nkind: Namespace\nmetadata: {{name: taken, namespace: {home}}}\n"
        ))
        .await?;
    let (key, manifest) = own.generate("waiting", &["--kubernetes-namespace", "taken"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("waiting", "NamespaceNotReady").await?;
    let said = told(&own, &key).await?;
    ensure!(said["namespaces"] == json!([]) && said["name"] == "waiting", "{said}");
    until_answered(&own, &key, 503).await
}

#[tokio::test]
async fn whoever_has_no_good_key_is_refused_as_everywhere() -> Result<()> {
    let own = tenant("whoami-refused").await?;
    let key = own.key("ci", &["--scope", "all"]).await?;
    let revoked = own.key("revoked", &["--scope", "all"]).await?;
    let soon = (Utc::now() + Duration::from_secs(6)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let expired = own.key("expired", &["--scope", "all", "--expires-at", &soon]).await?;
    told(&own, &revoked).await?;
    own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    own.key_with_reason("revoked", "Revoked").await?;
    own.key_with_reason("expired", "Expired").await?;
    let (unknown, _) = own.generate("unknown", &["--scope", "all"]).await?;
    let (wrong, manifest) = own.generate("wrong", &["--kubernetes-namespace", "nowhere"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("wrong", "NamespaceNotOwned").await?;
    let (far, manifest) = own.generate("far", &["--scope", "all"]).await?;
    own.kubectl.apply(&manifest.replacen("spec:\n", "spec:\n  allowedCidrs: [203.0.113.7]\n", 1)).await?;
    own.wait_ready("apikey/far").await?;
    for (name, key, status, code) in [
        ("unknown", &unknown, 401, "invalid_api_key"),
        ("revoked", &revoked, 401, "api_key_revoked"),
        ("expired", &expired, 401, "api_key_expired"),
        ("wrong", &wrong, 403, "key_not_ready"),
        ("far", &far, 403, "address_not_allowed"),
    ] {
        let answer = until(code, PATIENCE, || async {
            let answer = ask(&own, key).await?;
            let is_it = answer.at("/code").as_deref() == Some(code);
            Ok(if is_it { Seen::Done(answer) } else { Seen::NotYet(format!("{answer:?}")) })
        })
        .await?;
        ensure_problem(name, &answer, status, code)?;
        ensure!(name == "wrong" || !answer.text.contains(&own.account), "{name}: {answer:?}");
    }
    for _ in 0..2 {
        ask(&own, &far).await?;
    }
    ensure_problem("locked", &ask(&own, &far).await?, 403, "key_locked")?;

    let text = key.plaintext()?;
    let bearer = format!("Bearer {text}");
    let owner = format!("Bearer {}", own.owner_token().await?);
    let headers: [(&str, Vec<(&str, &str)>); 5] = [
        ("nothing", vec![]),
        ("no key", vec![("x-api-key", "kpk_nothing")]),
        ("two", vec![("x-api-key", &text), ("x-api-key", &text)]),
        ("a key as a token", vec![("authorization", &bearer)]),
        ("a person", vec![("authorization", &owner)]),
    ];
    for (what, headers) in headers {
        let answer = own.http()?.send(Method::GET, PATH, &headers, b"").await?;
        ensure_problem(what, &answer, 401, "invalid_api_key")?;
    }
    let answer = own.http()?.send(Method::POST, PATH, &[("x-api-key", &text)], b"").await?;
    ensure_problem("POST", &answer, 405, "method_not_allowed")
}

#[tokio::test]
async fn it_goes_with_the_exchange() -> Result<()> {
    let off = replica("whoami-off", &["--disable-surface", "exchange"]).await?;
    let api = HttpApi::at(&off.url(), Some(off.ca_file()))?;
    ensure_problem("switched off", &api.send(Method::GET, PATH, &[], b"").await?, 404, "not_found")
}
