//! What is refused is refused alike: one sentence for all, and a code that only whoever has the whole key gets to see.

use anyhow::{Context as _, Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use k8s_openapi::api::core::v1::ServiceAccount;
use keyplane_tests::exchange::Answer;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{V1, ask, tenant};
use crate::delivery::{digest_of, to_secret, until_answered};

const REFUSED: &str = "Missing, invalid, revoked, or expired API key";
const UNKNOWN: &str = "invalid_api_key";
const REVOKED: &str = "api_key_revoked";
const EXPIRED: &str = "api_key_expired";

/// Whether an answer is the one refusal, with this code.
fn ensure_refused(what: &str, answer: &Answer, code: &str) -> Result<()> {
    ensure!(answer.status == 401, "{what}: {answer:?}");
    ensure!(answer.content_type == "application/problem+json", "{what}: {answer:?}");
    ensure!(answer.retry_after.is_none(), "{what}: {answer:?}");
    let expected = json!({
        "type": "about:blank", "title": "Unauthorized", "status": 401, "detail": REFUSED, "code": code,
    });
    ensure!(answer.json() == expected, "{what}: {answer:?}");
    Ok(())
}

#[tokio::test]
async fn every_key_that_is_not_accepted_gets_the_same_sentence_and_only_its_holder_another_code() -> Result<()>
{
    let own = tenant("refusals").await?;
    own.namespace("web").await?;
    let live = own.key("live", &["--kubernetes-namespace", "web"]).await?;
    let revoked = own.key("revoked", &["--kubernetes-namespace", "web"]).await?;
    own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    own.key_with_reason("revoked", "Revoked").await?;
    let deleted = own.key("deleted", &["--kubernetes-namespace", "web"]).await?;
    own.kubectl.run(["delete", "apikey", "deleted", "--namespace", &own.account]).await?;
    let replaced = own.key("rotated", &["--kubernetes-namespace", "web"]).await?;
    let (replacement, _) = own.generate("rotated-2", &["--scope", "inference"]).await?;
    own.patch_key("rotated", &json!({"digest": digest_of(&replacement)?}).to_string()).await?;
    until_answered(&own, &replacement, 200).await?;
    let graced = own.key("graced", &["--kubernetes-namespace", "web"]).await?;
    let (current, _) = own.generate("graced-2", &["--scope", "inference"]).await?;
    let spec = json!({"digest": digest_of(&current)?, "rotation": {"gracePeriodSeconds": 600}});
    own.patch_key("graced", &spec.to_string()).await?;
    until_answered(&own, &current, 200).await?;
    until_answered(&own, &graced, 200).await?;
    own.patch_key("graced", r#"{"revoked":true}"#).await?;
    own.key_with_reason("graced", "Revoked").await?;
    let (unknown, _) = own.generate("unknown", &["--scope", "inference"]).await?;
    let (past, manifest) = own.generate("past", &["--kubernetes-namespace", "web"]).await?;
    own.kubectl.apply(&manifest.replace("spec:\n", "spec:\n  expiresAt: 2020-01-01T00:00:00Z\n")).await?;
    own.key_with_reason("past", "ExpiredAtCreation").await?;
    let text = live.plaintext()?;
    let digest = own.stored_key("live").await?.spec.digest.unwrap_or_default();
    let typo = |key: &str| {
        let mut typo: Vec<char> = key.chars().collect();
        typo[10] = if typo[10] == 'a' { 'b' } else { 'a' };
        typo.into_iter().collect::<String>()
    };
    let one = |text: String| vec![("x-api-key", text)];
    let ended = revoked.plaintext()?;

    let rows = [
        ("no key", vec![], UNKNOWN),
        ("an empty key", one(String::new()), UNKNOWN),
        ("a revoked key", one(ended.clone()), REVOKED),
        ("a revoked key with one character changed", one(typo(&ended)), UNKNOWN),
        ("the digest of a revoked key", one(digest_of(&revoked)?), UNKNOWN),
        (
            "a revoked key and another",
            vec![("x-api-key", ended.clone()), ("x-api-key", text.clone())],
            UNKNOWN,
        ),
        ("a deleted key", one(deleted.plaintext()?), UNKNOWN),
        ("a key that another has replaced", one(replaced.plaintext()?), UNKNOWN),
        ("the present version of a revoked key", one(current.plaintext()?), REVOKED),
        ("the version before, in its grace", one(graced.plaintext()?), UNKNOWN),
        ("an unknown key", one(unknown.plaintext()?), UNKNOWN),
        ("a key that was expired when it was made", one(past.plaintext()?), EXPIRED),
        ("a key with one character changed", one(typo(&text)), UNKNOWN),
        ("the digest of a live key", one(digest.clone()), UNKNOWN),
        ("the hex of the digest", one(digest.trim_start_matches("sha256:").to_owned()), UNKNOWN),
        ("two keys in one header", one(format!("{text}, {text}")), UNKNOWN),
        ("two headers", vec![("x-api-key", text.clone()), ("x-api-key", text.clone())], UNKNOWN),
        ("a long text", one("k".repeat(4096)), UNKNOWN),
        ("a live key in another header", vec![("authorization", format!("Bearer {text}"))], UNKNOWN),
        ("a revoked key in another header", vec![("authorization", format!("Bearer {ended}"))], UNKNOWN),
    ];
    for (what, headers, code) in rows {
        ensure_refused(what, &ask(&headers, V1).await?, code)?;
    }
    ensure!(ask(&[("x-api-key", text)], V1).await?.status == 200, "the live key goes on working");
    Ok(())
}

/// What Keyplane made is on record with its identity only, which goes when the key ends.
#[tokio::test]
async fn the_holder_of_a_key_that_keyplane_made_is_told_how_it_ended_when_its_record_is_gone() -> Result<()> {
    let own = tenant("refusals-made").await?;
    own.namespace("web").await?;
    let soon = (Utc::now() + TimeDelta::seconds(8)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut ending = to_secret("ending");
    ending["expiresAt"] = json!(soon);
    own.declare("ending", &ending).await?;
    own.declare("revoked", &to_secret("revoked")).await?;
    let ending = delivered(&own, "ending").await?;
    let revoked = delivered(&own, "revoked").await?;
    own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    for (name, key, reason, code) in
        [("revoked", &revoked, "Revoked", REVOKED), ("ending", &ending, "Expired", EXPIRED)]
    {
        own.key_with_reason(name, reason).await?;
        let uid = own.stored_key(name).await?.uid().context("a UID")?;
        let identities: Api<ServiceAccount> = Api::namespaced(own.client(), "keyplane-identities");
        until("the identity to be gone", PATIENCE, || async {
            let found = identities.get_opt(&format!("key-{uid}")).await?;
            Ok(if found.is_none() { Seen::Done(()) } else { Seen::NotYet("there".to_owned()) })
        })
        .await?;
        for _ in 0..3 {
            ensure_refused(name, &own.exchange(key).await?, code)?;
        }
        own.kubectl.run(["delete", "apikey", name, "--namespace", &own.account]).await?;
        ensure_refused("deleted", &until_code(&own, key, UNKNOWN).await?, UNKNOWN)?;
    }
    Ok(())
}

async fn delivered(own: &Tenant, name: &str) -> Result<HeldKey> {
    own.wait_ready(&format!("apikey/{name}")).await?;
    let key = own.delivered_key(name).await?;
    until_answered(own, &key, 200).await?;
    Ok(key)
}

async fn until_code(own: &Tenant, key: &HeldKey, code: &str) -> Result<Answer> {
    until(&format!("the code {code}"), PATIENCE, || async {
        let answer = own.exchange(key).await?;
        let is_it = answer.code().as_deref() == Some(code);
        Ok(if is_it { Seen::Done(answer) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await
}
