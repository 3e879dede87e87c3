//! What is refused, in which words.

use anyhow::{Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures::future::try_join_all;
use http::Method;
use serde_json::{Value, json};

use super::{KEYS, Own, ensure_problem, id_of, told};

/// A payload, and the code and the sentence that refuse it.
struct Row(Value, &'static str, &'static str);

/// What neither makes a key nor changes one.
fn rows() -> Vec<Row> {
    let past = (Utc::now() - TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let many: Vec<String> = (0..65).map(|host| format!("203.0.113.{host}")).collect();
    let scopes = |scopes: Value, told| Row(json!({ "scopes": scopes }), "invalid_scopes", told);
    let nowhere = "At least one namespace ID is required unless all_namespaces is true";
    let mixed = "Explicit mixed scopes are not supported";
    let all = "all cannot be combined with other scope fields";
    let expiry = |text: Value, told| Row(json!({ "expires_at": text }), "invalid_expiration", told);
    let cidrs = |list: Value, told| Row(json!({ "allowed_cidrs": list }), "invalid_allowed_cidrs", told);
    let body = |body: Value, told| Row(body, "invalid_body", told);
    vec![
        scopes(json!({}), "At least one explicit scope is required"),
        scopes(json!({"all": false}), "At least one explicit scope is required"),
        scopes(json!({"inference": true, "kubernetes_exec": {"all_namespaces": true}}), mixed),
        scopes(json!({"inference": true, "kubernetes_exec": {"namespace_ids": ["a"]}}), mixed),
        scopes(json!({"inference": true, "ssh_keys": true}), mixed),
        scopes(json!({"all": true, "inference": true}), all),
        scopes(json!({"all": true, "kubernetes_exec": {"all_namespaces": true}}), all),
        scopes(json!({"kubernetes_exec": {"namespace_ids": []}}), nowhere),
        scopes(json!({"kubernetes_exec": {}}), nowhere),
        scopes(
            json!({"kubernetes_exec": {"all_namespaces": true, "namespace_ids": ["a"]}}),
            "all_namespaces cannot be combined with a list of namespaces",
        ),
        Row(json!({"name": "x".repeat(65)}), "invalid_name", "Key names are limited to 64 characters"),
        Row(json!({"name": ""}), "invalid_name", "A key needs a name"),
        Row(json!({"name": "  "}), "invalid_name", "A key needs a name"),
        expiry(json!(past), "Expiration must be in the future"),
        expiry(json!("1999-01-01T00:00:00Z"), "Expiration must be in the future"),
        expiry(json!("2999-01-01T00:00:00"), "a time with a zone"),
        expiry(json!("tomorrow"), "a time with a zone"),
        cidrs(json!(["192.0.2.1", "office"]), "\"office\""),
        cidrs(json!(["::ffff:192.0.2.1"]), "\"::ffff:192.0.2.1\""),
        cidrs(json!(many), "at most 64"),
        body(json!({"name": 7}), "expected a string"),
        body(json!({"name": null}), "expected a string"),
        body(json!({"scopes": {"root": true}}), "unknown field `root`"),
        body(json!({"scopes": {"all": "yes"}}), "expected a boolean"),
        body(json!({"scopes": [true]}), "scopes must be a JSON object"),
        body(json!({"scopes": {"kubernetes_exec": [["a"]]}}), "kubernetes_exec must be a JSON object"),
        body(json!({"scopes": {"kubernetes_exec": {"role": "root"}}}), "expected"),
        body(json!({"digest": "sha256:00"}), "unknown field `digest`"),
        body(json!({"revoked": false}), "unknown field `revoked`"),
        body(json!(["a"]), "must be a JSON object"),
        body(json!("a"), "expected struct"),
    ]
}

#[tokio::test]
async fn each_rejected_payload_is_told_in_its_own_words_and_does_nothing() -> Result<()> {
    let own = Own::create("refused").await?;
    let (_, made) = own.made(&json!({"name": "ci", "scopes": {"inference": true}})).await?;
    let id = id_of(&made)?;
    let before = own.get(&id).await?;
    let foreign = Own::create("refused-else").await?;
    let foreign = foreign.tenant.namespace_id("web").await?;
    let absent = uuid::Uuid::new_v4().to_string();
    let mut rows = rows();
    for named in [&foreign, &absent] {
        let scopes =
            json!({"kubernetes_exec": {"namespace_ids": [own.tenant.namespace_id("web").await?, named]}});
        let told = "must reference namespaces owned by the current account, and these are not: ";
        rows.push(Row(json!({ "scopes": scopes }), "namespace_not_owned", told));
    }
    let scopes = json!({"kubernetes_exec": {"namespaces": ["web", "else"]}});
    rows.push(Row(json!({ "scopes": scopes }), "namespace_not_owned", "these are not: else"));
    let (asks, changed) = (&own, &id);
    try_join_all(rows.iter().map(|Row(fields, code, sentence)| async move {
        let mut creation = json!({"name": "new", "scopes": {"inference": true}});
        match (creation.as_object_mut(), fields.as_object()) {
            (Some(whole), Some(fields)) => whole.extend(fields.clone()),
            _ => creation.clone_from(fields),
        }
        for (what, answer) in
            [(&creation, asks.post(&creation).await?), (fields, asks.patch(changed, fields).await?)]
        {
            let detail = ensure_problem(&what.to_string(), &answer, 400, code)?;
            ensure!(detail.contains(*sentence), "{what}: {detail}");
        }
        anyhow::Ok(())
    }))
    .await?;
    // A foreign namespace is told like one that is not there.
    let mut details = Vec::new();
    for named in [&foreign, &absent] {
        let scopes = json!({"kubernetes_exec": {"namespace_ids": [named]}});
        let answer = own.post(&json!({"name": "new", "scopes": scopes})).await?;
        details
            .push(ensure_problem("a namespace", &answer, 400, "namespace_not_owned")?.replace(named, "ID"));
    }
    ensure!(details[0] == details[1], "{details:?}");

    for (body, told) in
        [(json!({"scopes": {"inference": true}}), "missing field `name`"), (json!({}), "missing field")]
    {
        let detail = ensure_problem("a creation", &own.post(&body).await?, 400, "invalid_body")?;
        ensure!(detail.contains(told), "{detail}");
    }
    let detail =
        ensure_problem("without scopes", &own.post(&json!({"name": "a"})).await?, 400, "invalid_scopes")?;
    ensure!(detail == "At least one explicit scope is required", "{detail}");
    ensure_problem("a change of nothing", &own.patch(&id, &json!({})).await?, 400, "nothing_to_change")?;
    for body in [&b"{"[..], b"", b"{\"name\": \"a\", \"name\": \"b\", \"scopes\": {\"all\": true}}", b"\xff"]
    {
        let bearer = format!("Bearer {}", own.token);
        let answer = own.http.send(Method::POST, KEYS, &[("authorization", &bearer)], body).await?;
        ensure_problem("no JSON", &answer, 400, "invalid_body")?;
    }
    let long = json!({"name": "x".repeat(70_000), "scopes": {"inference": true}});
    ensure_problem("a long body", &own.post(&long).await?, 413, "body_too_large")?;

    ensure!(own.get(&id).await? == before, "a refused change changed something");
    ensure!(own.stored().await?.len() == 1, "a refused creation made something");
    println!("{} payloads, each refused twice", rows.len());
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_not_there_is_told_like_another_accounts() -> Result<()> {
    let (own, other) = tokio::try_join!(Own::create("absent"), Own::create("absent-else"))?;
    let (_, foreign) = other.made_for_web("ci").await?;
    let mut told_of = Vec::new();
    for id in [&*foreign, "7b7d9a3e-0000-4000-8000-000000000000", "ci", "%ff", "..%2f..", " "] {
        let path = format!("{KEYS}/{}", id.replace(' ', "%20"));
        for (method, after, body) in [
            (Method::GET, "", Value::Null),
            (Method::PATCH, "", json!({"name": "mine"})),
            (Method::DELETE, "", Value::Null),
            (Method::POST, "/revoke", Value::Null),
            (Method::POST, "/rotate", Value::Null),
            (Method::POST, "/unlock", Value::Null),
        ] {
            let answer = own.call(method.clone(), &format!("{path}{after}"), &body).await?;
            let detail = ensure_problem(&format!("{method} {id}{after}"), &answer, 404, "api_key_not_found")?;
            ensure!(detail == "API key not found", "{detail}");
            told_of.push(answer.text);
        }
    }
    told_of.dedup();
    ensure!(told_of.len() == 1, "{told_of:?}");
    let shown = other.get(&foreign).await?;
    ensure!(shown["name"] == "ci" && shown["status"] == "active", "{shown}");
    let answer = own.call(Method::PUT, &format!("{KEYS}/{foreign}"), &json!({})).await?;
    ensure!(answer.status == 405 && answer.header("allow").is_some(), "{}", told(&answer));
    Ok(())
}
