//! Which credentials open the surface, and what the others are told.

use anyhow::{Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use http::Method;
use keyplane_tests::tenant::HeldKey;
use serde_json::{Value, json};

use super::PANEL;
use crate::ssh_key_api::{Stage, key_with_scope, until_known};

/// Documentation addresses (RFC 5737), from which no test comes.
const ELSEWHERE: [&str; 1] = ["203.0.113.0/24"];
/// How long an expiring key lives: long enough to become Ready.
const LIFE: TimeDelta = TimeDelta::seconds(8);

/// Every request of the surface with these headers has this status, and the seed's shape.
async fn ensure_refused(
    stage: &Stage,
    what: &str,
    headers: &[(&str, &str)],
    status: u16,
    says: &str,
) -> Result<()> {
    let body = json!({"name": "x", "publicKey": "nonsense"});
    let api = stage.own.http()?;
    for (method, behind, body) in [
        (Method::GET, "", &Value::Null),
        (Method::GET, "?page=0", &Value::Null),
        (Method::POST, "", &body),
        (Method::DELETE, "", &Value::Null),
        (Method::DELETE, "/", &Value::Null),
        (Method::DELETE, "/nobody", &Value::Null),
    ] {
        let path = format!("{}{behind}", PANEL.path());
        let answer = api.json(method.clone(), &path, headers, body).await?;
        ensure!(answer.status == status, "{what}: {method} {path}: {answer:?}");
        let message = answer.at("/message").unwrap_or_default();
        ensure!(
            answer.json()["success"] == false && message.contains(says),
            "{what}: {method} {path}: {answer:?}"
        );
    }
    Ok(())
}

async fn ensure_key_refused(stage: &Stage, what: &str, key: &HeldKey, status: u16, says: &str) -> Result<()> {
    let bearer = format!("Bearer {}", key.plaintext()?);
    ensure_refused(stage, what, &[("authorization", &bearer)], status, says).await
}

#[tokio::test]
async fn without_a_valid_credential_nothing_is_answered_but_401() -> Result<()> {
    let stage = Stage::start("panel-nobody").await?;
    let secret = stage.key.plaintext()?;
    let (bearer, twice) = (format!("Bearer {secret}"), format!("Bearer {secret}, {secret}"));
    let broken = format!("Bearer {secret}x");
    let unknown = stage.own.generate("undeclared", &["--scope", "ssh-keys"]).await?.0;
    let refused = "Missing, invalid, revoked, or expired API key";
    ensure_refused(&stage, "nothing", &[], 401, "Missing access token").await?;
    ensure_refused(&stage, "another scheme", &[("authorization", "Basic dXNlcjpwYXNz")], 401, "Missing")
        .await?;
    ensure_refused(&stage, "another header", &[("x-api-key", &secret)], 401, "Missing").await?;
    let two = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    ensure_refused(&stage, "two", &two, 401, "Missing").await?;
    ensure_refused(&stage, "a list", &[("authorization", &twice)], 401, refused).await?;
    ensure_refused(&stage, "a slip", &[("authorization", &broken)], 401, refused).await?;
    ensure_key_refused(&stage, "unknown", &unknown, 401, refused).await?;
    let token = [("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln")];
    ensure_refused(&stage, "no token of this cluster's", &token, 401, "does not accept this access token")
        .await
}

#[tokio::test]
async fn a_key_opens_the_surface_with_scope_all_or_ssh_keys_and_no_other() -> Result<()> {
    let stage = Stage::start("panel-scopes").await?;
    for (name, scope, status) in [
        ("everything", &["--scope", "all"][..], 200),
        ("ssh-only", &["--scope", "ssh-keys"], 200),
        ("images", &["--scope", "inference"], 403),
        ("pods", &["--all-namespaces"], 403),
    ] {
        let key = key_with_scope(&stage.own, name, scope, &[]).await?;
        until_known(&stage.own.http()?, &key).await?;
        if status == 403 {
            ensure_key_refused(&stage, name, &key, 403, "scope does not include ssh_keys").await?;
            continue;
        }
        let answer = PANEL.ask(&stage.own.http()?, &key.plaintext()?, Method::GET, "", &Value::Null).await?;
        ensure!(answer.status == 200, "{name}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_ended_is_401_and_one_that_is_locked_or_elsewhere_is_403() -> Result<()> {
    let stage = Stage::start("panel-ended").await?;
    let refused = "Missing, invalid, revoked, or expired API key";
    let end = (Utc::now() + LIFE).to_rfc3339_opts(SecondsFormat::Secs, true);
    let expiring =
        key_with_scope(&stage.own, "expiring", &["--scope", "ssh-keys", "--expires-at", &end], &[]).await?;
    let revoked = key_with_scope(&stage.own, "revoked", &["--scope", "ssh-keys"], &[]).await?;
    until_known(&stage.own.http()?, &revoked).await?;
    stage.own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    stage.own.key_with_reason("revoked", "Revoked").await?;
    ensure_key_refused(&stage, "revoked", &revoked, 401, refused).await?;

    let elsewhere = key_with_scope(&stage.own, "elsewhere", &["--scope", "ssh-keys"], &ELSEWHERE).await?;
    let api = stage.own.http()?;
    until_known(&api, &elsewhere).await?;
    let secret = elsewhere.plaintext()?;
    let second = PANEL.ask(&api, &secret, Method::GET, "", &Value::Null).await?;
    ensure!(second.status == 403, "{second:?}");
    ensure!(second.text.contains("may not be used from this address"), "{second:?}");
    // The third use from elsewhere locks it.
    ensure_key_refused(&stage, "locked", &elsewhere, 403, "is locked after uses").await?;

    stage.own.key_with_reason("expiring", "Expired").await?;
    ensure_key_refused(&stage, "expired", &expiring, 401, refused).await
}
