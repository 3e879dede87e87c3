//! A token that is shown comes back while it is good, and a new one else; nobody else's is shown to anybody.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{SecondsFormat, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::fault_proxy::FaultProxy;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::plaintext_registry;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::{expiry, tenant};
use crate::delivery::digest_of;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const IDENTITIES: &str = "keyplane-identities";

/// A replica whose requests to the API server are seen.
struct Stage {
    own: Tenant,
    proxy: FaultProxy,
    replica: Keyplane,
}

impl Stage {
    async fn set(name: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let own = tenant(name).await?;
        own.namespace("web").await?;
        let proxy = FaultProxy::start(shared.cluster, &shared.installation, &own.account).await?;
        let options = KeyplaneOptions::of(Mode::Api, &own.account, proxy.installation());
        let replica = Keyplane::start(shared.cluster.supervise(), shared.cluster.dir(), &options).await?;
        Ok(Self { own, proxy, replica })
    }

    /// A key that the replica knows.
    async fn key(&self, name: &str, arguments: &[&str]) -> Result<HeldKey> {
        let arguments = [&["--kubernetes-namespace", "web"], arguments].concat();
        let key = self.own.key(name, &arguments).await?;
        self.own.until_exchanged(&self.replica, &key, &[]).await?;
        Ok(key)
    }

    /// Presents a key, showing what stands in this status.
    async fn ask(&self, key: &HeldKey, status: &Value) -> Result<Answer> {
        let body = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status,
        });
        let headers = [("x-api-key", key.plaintext()?)];
        post(&self.replica.url(), self.replica.ca_file(), &headers, body.to_string().as_bytes()).await
    }

    async fn show(&self, key: &HeldKey, token: &str) -> Result<Answer> {
        self.ask(key, &json!({ "token": token })).await
    }

    async fn token(&self, key: &HeldKey) -> Result<String> {
        self.ask(key, &Value::Null).await?.token().context("a token")
    }

    /// What was asked of the API server since the last time: how many reviews, how many tokens.
    fn asked(&self) -> (usize, usize) {
        let writes = self.proxy.writes();
        self.proxy.forget_writes();
        let reviews = writes.iter().filter(|write| write.path == REVIEWS).count();
        (reviews, writes.iter().filter(|write| write.path.ends_with("/token")).count())
    }

    /// Shows a token, which must not come back.
    async fn ensure_replaced(&self, what: &str, key: &HeldKey, token: &str, reviews: usize) -> Result<()> {
        self.asked();
        let answer = self.show(key, token).await?;
        ensure!(
            answer.status == 200 && answer.token().as_deref() != Some(token),
            "{what}: {}",
            answer.status
        );
        let asked = self.asked();
        ensure!(asked == (reviews, 1), "{what}: {asked:?} reviews and tokens");
        Ok(())
    }

    /// Shows a token until another comes back.
    async fn until_replaced(&self, key: &HeldKey, token: &str) -> Result<String> {
        until("another token", PATIENCE, || async {
            let answer = self.show(key, token).await?;
            Ok(match answer.token() {
                Some(other) if other != token => Seen::Done(other),
                other => Seen::NotYet(format!("{}, a token: {}", answer.status, other.is_some())),
            })
        })
        .await
    }
}

#[tokio::test]
async fn a_good_token_comes_back_after_a_review_and_nothing_is_minted_or_written_down() -> Result<()> {
    let stage = Stage::set("held").await?;
    let key = stage.key("ci", &[]).await?;
    let uid = stage.own.stored_key("ci").await?.uid().context("a UID")?;
    let first = stage.ask(&key, &Value::Null).await?;
    let token = first.token().context("a token")?;
    let lines = || {
        let events = stage.replica.audit_events()?;
        let about = events.iter().filter(|event| event["data"]["id"] == uid.as_str());
        anyhow::Ok(about.filter(|event| event["data"]["code"] == "K1020I").count())
    };
    let (before, _) = (lines()?, stage.asked());
    for count in 1..=3 {
        let answer = stage.show(&key, &token).await?;
        ensure!(answer.status == 200 && answer.token().as_ref() == Some(&token), "{}", answer.status);
        let moved = expiry(&answer)? - expiry(&first)?;
        ensure!(moved.num_seconds().abs() <= 1, "the end moved by {moved}");
        ensure!(stage.asked() == (1, 0), "the {count}. time");
    }
    ensure!(lines()? == before, "a line for a token that was not minted");
    // Nothing is shown, in either way.
    for status in [json!({}), json!({ "token": null }), Value::Null] {
        let answer = stage.ask(&key, &status).await?;
        ensure!(answer.status == 200 && answer.token().as_ref() != Some(&token), "{status}");
        ensure!(stage.asked() == (0, 1), "{status}");
    }
    until("all uses to be counted", PATIENCE, || async {
        let usage = stage.own.stored_key("ci").await?.status.unwrap_or_default().usage;
        Ok(match usage {
            Some(usage) if usage.count == 8 => Seen::Done(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
    .await
}

#[tokio::test]
async fn what_is_no_token_of_this_very_key_is_shown_to_nobody() -> Result<()> {
    let stage = Stage::set("held-foreign").await?;
    let key = stage.key("ci", &[]).await?;
    let other = stage.key("other", &[]).await?;
    let token = stage.token(&key).await?;
    let theirs = stage.token(&other).await?;
    let person = stage.own.owner_token().await?;
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        anyhow::bail!("a token in another form")
    };
    let mut made_up: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    made_up["sub"] = json!("system:serviceaccount:kube-system:default");
    let made_up = format!("{head}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(made_up.to_string()));
    for (what, text) in [
        ("another key's", theirs.as_str()),
        ("a person's", &person),
        ("of another subject", &made_up),
        ("garbage", "garbage"),
        ("dots", "a.b.c"),
        ("nothing", ""),
        ("16 KiB", &"x".repeat(16 << 10)),
        ("a long token", &format!("{token}{}", "x".repeat(16 << 10))),
    ] {
        stage.ensure_replaced(what, &key, text, 0).await?;
    }
    // It says to be this key's, and the API server knows better.
    let reversed: String = signature.chars().rev().collect();
    let forged = format!("{head}.{claims}.{reversed}");
    plaintext_registry::token(&forged)?;
    stage.ensure_replaced("forged", &key, &forged, 1).await?;
    for (what, status) in [
        ("a text", json!("s3cret")),
        ("a number", json!({ "token": 5 })),
        ("a list", json!({ "token": ["s3cret"] })),
    ] {
        let answer = stage.ask(&key, &status).await?;
        ensure!(answer.status == 400 && !answer.text.contains("s3cret"), "{what}: {answer:?}");
        ensure!(answer.code().as_deref() == Some("invalid_exec_credential"), "{what}: {answer:?}");
    }
    ensure!(stage.asked() == (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_token_whose_anchor_or_identity_was_made_anew_is_replaced() -> Result<()> {
    let stage = Stage::set("held-anew").await?;
    let key = stage.key("ci", &[]).await?;
    let uid = stage.own.stored_key("ci").await?.uid().context("a UID")?;
    let secrets: Api<Secret> = Api::namespaced(stage.own.client(), IDENTITIES);
    let identities: Api<ServiceAccount> = Api::namespaced(stage.own.client(), IDENTITIES);
    let token = stage.token(&key).await?;
    ensure!(stage.show(&key, &token).await?.token().as_ref() == Some(&token));

    let of_key = ListParams::default().labels(&format!("keyplane.dev/owner-uid={uid}"));
    for anchor in secrets.list(&of_key).await? {
        secrets.delete(&anchor.name_any(), &DeleteParams::default()).await?;
    }
    let second = stage.until_replaced(&key, &token).await?;
    // The API server goes on accepting it for a while, and is not asked.
    stage.ensure_replaced("of the anchor before", &key, &token, 0).await?;
    ensure!(stage.show(&key, &second).await?.token().as_ref() == Some(&second));

    identities.delete(&format!("key-{uid}"), &DeleteParams::default()).await?;
    stage.until_replaced(&key, &second).await?;
    until("the identity to be settled", PATIENCE, || async {
        let fresh = stage.own.until_exchanged(&stage.replica, &key, &[]).await?.token().context("a token")?;
        let again = stage.show(&key, &fresh).await?.token();
        Ok(if again.as_ref() == Some(&fresh) { Seen::Done(()) } else { Seen::NotYet("another".to_owned()) })
    })
    .await?;
    stage.ensure_replaced("of the identity before", &key, &second, 0).await
}

#[tokio::test]
async fn a_token_comes_back_to_its_own_version_of_a_key_only_and_to_none_that_ended() -> Result<()> {
    let stage = Stage::set("held-versions").await?;
    let old = stage.key("ci", &[]).await?;
    let token = stage.token(&old).await?;
    let (new, _) = stage.own.generate("ci-2", &["--scope", "inference"]).await?;
    let spec = json!({"digest": digest_of(&new)?, "rotation": {"gracePeriodSeconds": 60}});
    stage.own.patch_key("ci", &spec.to_string()).await?;
    stage.own.until_exchanged(&stage.replica, &new, &[]).await?;
    let answer = stage.show(&old, &token).await?;
    ensure!(answer.token().as_ref() == Some(&token), "{}", answer.status);
    let version = stage.own.stored_key("ci").await?.status.and_then(|status| status.version);
    let end = version.and_then(|version| version.previous_until).context("previousUntil")?;
    ensure!(expiry(&answer)? <= end, "a token of the old version outlives it");
    stage.ensure_replaced("of the version before", &new, &token, 0).await?;

    let soon = (Utc::now() + TimeDelta::seconds(30)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let ending = stage.key("ending", &["--expires-at", &soon]).await?;
    let token = stage.token(&ending).await?;
    let answer = stage.show(&ending, &token).await?;
    ensure!(answer.token().as_ref() == Some(&token), "{}", answer.status);
    ensure!(answer.at("/status/expirationTimestamp") == Some(soon), "the key's end is the token's");
    stage.own.patch_key("ending", r#"{"revoked":true}"#).await?;
    until("the revoked key to be refused", PATIENCE, || async {
        let answer = stage.show(&ending, &token).await?;
        let is_refused = answer.status == 401 && answer.code().as_deref() == Some("api_key_revoked");
        Ok(if is_refused { Seen::Done(()) } else { Seen::NotYet(answer.status.to_string()) })
    })
    .await
}

#[tokio::test]
async fn when_the_api_server_does_not_say_a_new_token_comes() -> Result<()> {
    let stage = Stage::set("held-silence").await?;
    let key = stage.key("ci", &[]).await?;
    let token = stage.token(&key).await?;
    stage.proxy.leave_unanswered(REVIEWS);
    stage.ensure_replaced("unanswered", &key, &token, 0).await?;
    stage.proxy.resume();
    ensure!(stage.show(&key, &token).await?.token().as_ref() == Some(&token));
    Ok(())
}
