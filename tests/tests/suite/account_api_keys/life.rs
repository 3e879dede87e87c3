//! A key's life over HTTP, and what kubectl shows of each step.

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::Method;
use keyplane_core::key_format::PlaintextKey;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{KEYS, Own, ensure_problem, id_of, told};

fn fields(object: &Value) -> Vec<&str> {
    object.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_key_is_shown_once_works_at_once_and_is_what_kubectl_shows() -> Result<()> {
    let own = Own::create("made").await?;
    let web = own.tenant.namespace_id("web").await?;
    let end = (Utc::now() + TimeDelta::days(30)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let scopes = json!({"kubernetes_exec": {"namespace_ids": [web]}});
    let asked = json!({
        "name": "CI of the main repository", "scopes": scopes, "expires_at": end, "allowed_cidrs": ["127.0.0.0/8", "::1"],
    });
    let answer = own.post(&asked).await?;
    ensure!(answer.status == 201, "{}", told(&answer));
    let key = own.held(&answer)?;
    ensure!(own.tenant.exchange(&key).await?.status == 200, "a key works when it is shown");

    let made = answer.json();
    let mut expected = [
        "id",
        "name",
        "prefix",
        "scopes",
        "status",
        "expires_at",
        "created_at",
        "allowed_cidrs",
        "last_used_at",
        "key",
    ];
    let mut found = fields(&made);
    expected.sort_unstable();
    found.sort_unstable();
    ensure!(found == expected, "{found:?}");
    for field in ["name", "scopes", "expires_at", "allowed_cidrs"] {
        ensure!(made[field] == asked[field], "{field}: {}", told(&answer));
    }
    ensure!(made["status"] == "active" && made["last_used_at"].is_null(), "{}", told(&answer));
    let created = made["created_at"].as_str().context("a time")?.parse::<DateTime<Utc>>()?;
    ensure!((Utc::now() - created).num_minutes().abs() < 5, "{created}");
    let id = id_of(&made)?;
    ensure!(answer.header("location") == Some(&format!("{KEYS}/{id}")), "{:?}", answer.headers);
    ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);

    let plaintext = key.plaintext()?;
    let plaintext = PlaintextKey::parse(&plaintext)?;
    ensure!(made["prefix"] == plaintext.prefix().to_string());
    let stored = own.stored_as(&id).await?;
    ensure!(stored.spec.digest == Some(plaintext.digest().to_string()));
    ensure!(stored.spec.display_name.as_deref() == Some("CI of the main repository"));
    ensure!(stored.name_any().starts_with("ci-of-the-main-repository-"), "{}", stored.name_any());
    ensure!(stored.annotations()["keyplane.dev/key-prefix"] == plaintext.prefix().to_string());
    ensure!(stored.spec.allowed_cidrs == ["127.0.0.0/8", "::1"]);

    let shown = own.get(&id).await?;
    ensure!(shown.get("key").is_none(), "a key is shown once");
    for field in expected.iter().filter(|field| !["key", "last_used_at"].contains(field)) {
        ensure!(shown[field] == made[field], "{field}: {shown}");
    }
    let kubernetes_name = format!("{}-web", own.tenant.account);
    let granted = json!([{"id": web, "name": "web", "kubernetes_name": kubernetes_name}]);
    ensure!(shown["namespaces"] == granted && shown["version"]["number"] == 1, "{shown}");
    ensure!(shown["lock"].is_null() && shown["security_events"] == json!([]), "{shown}");
    let used = own.until_shown(&id, "the use to be told", |shown| shown["usage"]["count"] == 1).await?;
    ensure!(used["usage"]["last_used_ip"] == "127.0.0.1", "{used}");
    ensure!(
        used["last_used_at"].is_string() && used["last_used_at"] == used["usage"]["last_used_at"],
        "{used}"
    );

    let (_, second) = own.made(&json!({"name": "…", "scopes": {"inference": true}})).await?;
    let listed = own.call(Method::GET, KEYS, &Value::Null).await?;
    let data = listed.json()["data"].as_array().cloned().context("data")?;
    let ids: Vec<&Value> = data.iter().map(|key| &key["id"]).collect();
    ensure!(ids == [&made["id"], &second["id"]], "the oldest first: {ids:?}");
    let mut of_list = fields(&data[0]);
    of_list.sort_unstable();
    expected.iter().filter(|field| **field != "key").zip(&of_list).try_for_each(|(one, other)| {
        ensure!(one == other, "{of_list:?}");
        Ok(())
    })?;
    // Nothing of that name can stand in a resource's.
    ensure!(own.stored_as(&id_of(&second)?).await?.name_any().starts_with("key-"));
    Ok(())
}

#[tokio::test]
async fn a_change_over_http_is_what_kubectl_shows_and_the_reverse() -> Result<()> {
    let own = Own::create("changed").await?;
    let (key, id) = own.made_for_web("before").await?;
    let name = own.stored_as(&id).await?.name_any();
    let end = (Utc::now() + TimeDelta::days(1)).to_rfc3339_opts(SecondsFormat::Secs, true);

    let answer =
        own.patch(&id, &json!({"name": "after", "expires_at": end, "allowed_cidrs": ["127.0.0.1"]})).await?;
    ensure!(answer.status == 200 && answer.json()["status"] == "active", "{}", told(&answer));
    ensure!(answer.json() == own.get(&id).await?, "what is answered is what is shown");
    let stored = own.tenant.stored_key(&name).await?;
    ensure!(stored.spec.display_name.as_deref() == Some("after") && stored.uid().as_deref() == Some(&*id));
    ensure!(stored.spec.expires_at == Some(end.parse()?) && stored.spec.allowed_cidrs == ["127.0.0.1"]);
    ensure!(own.tenant.exchange(&key).await?.status == 200);

    // Null takes an end away, an empty list the addresses, and a scope is replaced as a whole.
    let answer = own.patch(&id, &json!({"expires_at": null, "allowed_cidrs": []})).await?;
    ensure!(
        answer.json()["expires_at"].is_null() && answer.json()["allowed_cidrs"] == json!([]),
        "{}",
        told(&answer)
    );
    for scopes in [
        json!({"kubernetes_exec": {"all_namespaces": true, "role": "view"}}),
        json!({"kubernetes_exec": {"namespaces": ["web"]}}),
        json!({"all": true}),
        json!({"ssh_keys": true}),
        json!({"inference": true}),
    ] {
        let answer = own.patch(&id, &json!({ "scopes": scopes })).await?;
        ensure!(answer.status == 200 && answer.json()["scopes"] == scopes, "{scopes}: {}", told(&answer));
        ensure!(answer.json()["status"] == "active" && answer.json()["name"] == "after", "{}", told(&answer));
    }
    let stored = own.tenant.stored_key(&name).await?.spec;
    ensure!(stored.expires_at.is_none() && stored.allowed_cidrs.is_empty(), "{stored:?}");
    ensure!(stored.scope.inference == Some(true) && stored.scope.kubernetes_exec.is_none(), "{stored:?}");
    let refused = own.tenant.exchange(&key).await?;
    ensure!(
        refused.status == 403 && refused.code().as_deref() == Some("scope_without_kubernetes"),
        "{refused:?}"
    );

    own.tenant
        .patch_key(&name, r#"{"displayName": "by kubectl", "scope": {"inference": null, "all": true}}"#)
        .await?;
    let shown = own.get(&id).await?;
    ensure!(shown["name"] == "by kubectl" && shown["scopes"] == json!({"all": true}), "{shown}");
    own.until_shown(&id, "the key to be active again", |shown| shown["status"] == "active").await?;
    own.tenant.kubectl.run(["delete", "apikey", &name, "--namespace", &own.tenant.account]).await?;
    let answer = own.call(Method::GET, &format!("{KEYS}/{id}"), &Value::Null).await?;
    ensure_problem("deleted by kubectl", &answer, 404, "api_key_not_found")?;
    Ok(())
}

/// What an ended key refuses, whoever ended it.
async fn ensure_frozen(own: &Own, id: &str) -> Result<()> {
    let frozen = "Revoked or expired keys cannot be modified";
    for (what, answer) in [
        ("a name", own.patch(id, &json!({"name": "other"})).await?),
        ("an expiry", own.patch(id, &json!({"expires_at": null})).await?),
        ("addresses", own.patch(id, &json!({"allowed_cidrs": []})).await?),
        ("a scope", own.patch(id, &json!({"scopes": {"all": true}})).await?),
        ("revoke", own.post_to(id, "revoke", &Value::Null).await?),
        ("rotate", own.post_to(id, "rotate", &Value::Null).await?),
        ("unlock", own.post_to(id, "unlock", &Value::Null).await?),
    ] {
        let detail = ensure_problem(what, &answer, 409, "api_key_frozen")?;
        ensure!(detail == frozen, "{what}: {detail}");
    }
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_refused_frozen_and_gone_when_it_is_deleted() -> Result<()> {
    let own = Own::create("revoked").await?;
    let (key, id) = own.made_for_web("ci").await?;
    ensure!(own.tenant.exchange(&key).await?.status == 200);
    let answer = own.post_to(&id, "revoke", &Value::Null).await?;
    ensure!(answer.status == 200 && answer.json()["status"] == "revoked", "{}", told(&answer));
    own.until_refused(&key).await?;
    ensure!(own.stored_as(&id).await?.spec.revoked == Some(true));
    ensure_frozen(&own, &id).await?;
    own.until_shown(&id, "the controller's word", |shown| shown["reason"] == "Revoked").await?;
    ensure_frozen(&own, &id).await?;

    let path = format!("{KEYS}/{id}");
    let answer = own.call(Method::DELETE, &path, &Value::Null).await?;
    ensure!(answer.status == 204 && answer.text.is_empty(), "{}", told(&answer));
    for method in [Method::GET, Method::DELETE] {
        let answer = own.call(method, &path, &Value::Null).await?;
        ensure_problem("deleted", &answer, 404, "api_key_not_found")?;
    }
    let listed = own.call(Method::GET, KEYS, &Value::Null).await?;
    ensure!(listed.json() == json!({"data": []}), "{}", told(&listed));

    // One that lives can be deleted too, and is refused then.
    let (key, id) = own.made_for_web("another").await?;
    ensure!(own.call(Method::DELETE, &format!("{KEYS}/{id}"), &Value::Null).await?.status == 204);
    own.until_refused(&key).await
}

#[tokio::test]
async fn an_expired_key_is_shown_as_such_and_frozen() -> Result<()> {
    let own = Own::create("expired").await?;
    let end = (Utc::now() + TimeDelta::seconds(8)).to_rfc3339_opts(SecondsFormat::Millis, true);
    let scopes = json!({"kubernetes_exec": {"all_namespaces": true}});
    let (key, made) = own.made(&json!({"name": "ci", "scopes": scopes, "expires_at": end})).await?;
    let id = id_of(&made)?;
    own.until_shown(&id, "the key to expire", |shown| shown["status"] == "expired").await?;
    ensure_frozen(&own, &id).await?;
    own.until_refused(&key).await?;
    own.until_shown(&id, "the controller's word", |shown| shown["reason"] == "Expired").await?;
    ensure_frozen(&own, &id).await
}

/// Everybody changes one key at once: nothing of it is lost, and it ends once.
#[tokio::test]
async fn changes_at_once_are_all_made_and_a_key_ends_once() -> Result<()> {
    let own = Own::create("at-once").await?;
    let (_, id) = own.made_for_web("ci").await?;
    let end = (Utc::now() + TimeDelta::days(9)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let changes = [
        json!({"name": "renamed"}),
        json!({"expires_at": end}),
        json!({"allowed_cidrs": ["192.0.2.7"]}),
        json!({"scopes": {"all": true}}),
    ];
    let answers = futures::future::try_join_all(changes.iter().map(|change| own.patch(&id, change))).await?;
    for answer in &answers {
        ensure!(answer.status == 200, "{}", told(answer));
    }
    let shown = own.get(&id).await?;
    for (field, value) in changes.iter().flat_map(|change| change.as_object().into_iter().flatten()) {
        ensure!(&shown[field] == value, "{field}: {shown}");
    }
    let revoking = (0..8).map(|_| own.post_to(&id, "revoke", &Value::Null));
    let mut statuses: Vec<u16> =
        futures::future::try_join_all(revoking).await?.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    ensure!(statuses == [200, 409, 409, 409, 409, 409, 409, 409], "{statuses:?}");
    Ok(())
}
