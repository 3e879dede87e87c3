//! Rotation over HTTP: the new key works when it is shown, the old one as long as was asked.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use keyplane_core::key_format::PlaintextKey;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{Own, ensure_problem, told};

#[tokio::test]
async fn a_rotated_key_works_when_it_is_shown_and_the_old_one_is_refused() -> Result<()> {
    let own = Own::create("rotated").await?;
    let (mut before, id) = own.made_for_web("ci").await?;
    for version in 2..6 {
        let asking = Instant::now();
        let answer = own.post_to(&id, "rotate", &Value::Null).await?;
        println!("rotate: answered after {} ms", asking.elapsed().as_millis());
        ensure!(answer.status == 200, "{}", told(&answer));
        let after = own.held(&answer)?;
        own.ensure_works(&after, &answer).await?;
        let refused = own.tenant.exchange(&before).await?;
        ensure!(refused.status == 401, "the version before {version}: {refused:?}");
        let body = answer.json();
        ensure!(body["id"] == *id, "{}", told(&answer));
        let is_next = |shown: &Value| shown["version"]["number"] == version && shown["status"] == "active";
        let shown = own.until_shown(&id, "the next version", is_next).await?;
        ensure!(shown["version"]["previous_until"].is_null(), "{shown}");
        let prefix = PlaintextKey::parse(&after.plaintext()?)?.prefix().to_string();
        ensure!(body["prefix"] == prefix && own.get(&id).await?["prefix"] == prefix, "{}", told(&answer));
        ensure!(answer.header("cache-control") == Some("no-store"));
        before = after;
    }
    Ok(())
}

#[tokio::test]
async fn a_replaced_key_goes_on_for_the_grace_period_that_was_asked() -> Result<()> {
    let own = Own::create("grace").await?;
    let (first, id) = own.made_for_web("ci").await?;
    for (body, code) in [
        (json!({"grace_period_seconds": -1}), "invalid_grace_period"),
        (json!({"grace_period_seconds": 2_592_001}), "invalid_grace_period"),
        (json!({"grace_period_seconds": "7"}), "invalid_body"),
        (json!({"grace_period_seconds": null}), "invalid_body"),
        (json!({"grace": 7}), "invalid_body"),
        (json!([7]), "invalid_body"),
    ] {
        ensure_problem(&body.to_string(), &own.post_to(&id, "rotate", &body).await?, 400, code)?;
    }
    ensure!(own.get(&id).await?["version"]["number"] == 1);
    let answer = own.post_to(&id, "rotate", &json!({"grace_period_seconds": 3600})).await?;
    let second = own.held(&answer)?;
    own.ensure_works(&second, &answer).await?;
    let shown = own.until_shown(&id, "two versions", |shown| shown["version"]["number"] == 2).await?;
    let until =
        shown["version"]["previous_until"].as_str().context("a grace period")?.parse::<DateTime<Utc>>()?;
    ensure!((3500..=3600).contains(&(until - Utc::now()).num_seconds()), "{until}");
    for key in [&first, &second] {
        ensure!(own.tenant.exchange(key).await?.status == 200);
    }
    let rotation = own.stored_as(&id).await?.spec.rotation.unwrap_or_default();
    ensure!(rotation.grace_period_seconds == Some(3600));
    // It is the key's from now on; and it can be taken back.
    let answer = own.post_to(&id, "rotate", &json!({})).await?;
    let third = own.held(&answer)?;
    own.ensure_works(&third, &answer).await?;
    ensure!(own.tenant.exchange(&second).await?.status == 200, "{}", told(&answer));
    own.post_to(&id, "rotate", &json!({"grace_period_seconds": 0})).await?;
    own.until_refused(&third).await
}

/// Of rotations at once, an answer with a key is one whose key was the key's.
#[tokio::test]
async fn of_rotations_at_once_the_last_key_works() -> Result<()> {
    let own = Own::create("rotated-at-once").await?;
    let (_, id) = own.made_for_web("ci").await?;
    let rotating = (0..6).map(|_| own.post_to(&id, "rotate", &Value::Null));
    let answers = futures::future::try_join_all(rotating).await?;
    let digest = own.stored_as(&id).await?.spec.digest.context("a digest")?;
    own.until_shown(&id, "the key to be active", |shown| shown["status"] == "active").await?;
    let mut working = 0;
    for answer in &answers {
        ensure!([200, 409].contains(&answer.status), "{}", told(answer));
        if answer.status == 200 {
            let key = own.held(answer)?;
            let is_last = PlaintextKey::parse(&key.plaintext()?)?.digest().to_string() == digest;
            if is_last {
                own.until_taken(&key).await?;
            } else {
                own.until_refused(&key).await?;
            }
            working += i32::from(is_last);
        }
    }
    ensure!(working == 1, "{working} keys work");
    Ok(())
}

#[tokio::test]
async fn a_key_that_keyplane_delivers_is_delivered_anew_and_not_shown() -> Result<()> {
    let own = Own::create("rotated-made").await?;
    let scope = json!({"kubernetesExec": {"namespaces": ["web"]}});
    own.tenant.declare("ci", &json!({"scope": scope, "delivery": {"secretName": "ci-key"}})).await?;
    own.tenant.wait_ready("apikey/ci").await?;
    let first = own.tenant.delivered_key("ci-key").await?;
    let id = own.tenant.stored_key("ci").await?.uid().context("a UID")?;
    for version in 2..4 {
        let answer = own.post_to(&id, "rotate", &Value::Null).await?;
        ensure!(answer.status == 200 && answer.json().get("key").is_none(), "{}", told(&answer));
        own.until_shown(&id, "the next version", |shown| shown["version"]["number"] == version).await?;
    }
    let third = own.tenant.delivered_key("ci-key").await?;
    until("the new key to be taken", PATIENCE, || async {
        let answer = own.tenant.exchange(&third).await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    own.until_refused(&first).await?;
    let prefix = PlaintextKey::parse(&third.plaintext()?)?.prefix().to_string();
    ensure!(own.get(&id).await?["prefix"] == prefix);
    Ok(())
}
