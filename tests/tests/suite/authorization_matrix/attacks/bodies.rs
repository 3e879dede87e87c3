//! What a body and its headers could smuggle in.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Neighbours;
use crate::authorization_matrix::operations::{KEYS, NAMESPACES};
use crate::authorization_matrix::outcome::told;

#[tokio::test]
async fn a_body_says_nothing_but_its_fields_and_each_once() -> Result<()> {
    let all = Neighbours::meet("bodies").await?;
    let before = all.keys().await?;
    let bearer = format!("Bearer {}", all.owner);
    let one = format!("{KEYS}/{}", all.one);
    for (method, path, body) in [
        (Method::POST, KEYS, r#"{"name":"a","name":"b","scopes":{"inference":true}}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true},"scopes":{"all":true}}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true,"inference":true}}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true,"\u0061ll":true}}"#),
        (
            Method::POST,
            KEYS,
            r#"{"name":"a","scopes":{"inference":true},"metadata":{"namespace":"kube-system"}}"#,
        ),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true},"account":"other"}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true},"digest":"sha256:0"}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true}}{"name":"b"}"#),
        (Method::PATCH, &one, r#"{"spec":{"scope":{"all":true}}}"#),
        (Method::PATCH, &one, r#"{"name":"a","revoked":false}"#),
        (Method::PATCH, &one, r#"{"name":"a","metadata":{"annotations":{"a":"b"}}}"#),
        (Method::PATCH, &one, r#"{"name":"a","name":"b"}"#),
        (Method::PATCH, &one, r#"[{"op":"replace","path":"/spec/scope","value":{"all":true}}]"#),
        (Method::PATCH, &one, r#"{"id":"x"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a","name":"b"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"../kube-system"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a/b"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"A"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a\u0000"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a","spec":{}}"#),
        (Method::POST, NAMESPACES, r#"{"name":""}"#),
    ] {
        for kind in ["application/json", "application/merge-patch+json", "text/plain"] {
            let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
            let answer = all.http.send(method.clone(), path, &headers, body.as_bytes()).await?;
            ensure!(answer.status == 400, "{method} {path} {body}: {}", told(&answer));
        }
    }
    all.ensure_unchanged(&before).await
}

#[tokio::test]
async fn a_keys_name_is_shown_and_is_nothing_else() -> Result<()> {
    let all = Neighbours::meet("bodies-name").await?;
    // A name is shown and is no path, no field and no other object's name.
    for name in [
        "../../default/apikeys/x",
        "two",
        "a\",\"b\":\"c",
        "\u{202e}kcab",
        "a: b\n---\nkind: Secret",
        "${HOME}",
        "%2e%2e",
    ] {
        let body = json!({"name": name, "scopes": {"inference": true}});
        let answer = all.ask(&all.owner, Method::POST, KEYS, &[], &body).await?;
        if answer.status == 400 {
            continue;
        }
        ensure!(answer.status == 201 && answer.at("/name").as_deref() == Some(name), "{}", told(&answer));
        let found = all
            .ask(
                &all.owner,
                Method::DELETE,
                &format!("{KEYS}/{}", answer.at("/id").context("an id")?),
                &[],
                &Value::Null,
            )
            .await?;
        ensure!(found.status == 204, "{}", told(&found));
    }
    ensure!(all.own.stored_key("two").await?.uid().as_deref() == Some(&*all.two));
    Ok(())
}

#[tokio::test]
async fn what_a_client_calls_its_retry_is_the_accounts_own() -> Result<()> {
    let all = Neighbours::meet("bodies-retry").await?;
    // The same name for a retry in two accounts makes two keys, and neither's owner sees the other's.
    let retry = [("idempotency-key", "the-same-in-both")];
    let body = json!({"name": "x", "scopes": {"inference": true}});
    let mut ids = Vec::new();
    for token in [&all.owner, &all.stranger] {
        let answer = all.ask(token, Method::POST, KEYS, &retry, &body).await?;
        ensure!(answer.status == 201, "{}", told(&answer));
        let again = all.ask(token, Method::POST, KEYS, &retry, &body).await?;
        ensure!(again.status == 200 && again.at("/id") == answer.at("/id") && again.at("/key").is_none());
        ids.push(answer.at("/id"));
    }
    ensure!(ids.first() != ids.last(), "{ids:?}");
    // Somebody who may only read learns by it neither that it was used nor for what.
    let naming = [("x-keyplane-account", all.own.account.as_str()), retry[0]];
    for token in [&all.viewer, &all.stranger] {
        let answer = all.ask(token, Method::POST, KEYS, &naming, &body).await?;
        all.ensure_nothing("a retry", &answer, &[403])?;
    }
    Ok(())
}
