//! Another key on request, in the Secret of the one before.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, Utc};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{request_rotation, rotating, stamp, until_version};
use crate::delivery::{digest_of, tenant, to_secret, until_answered};

/// A key `ci` in the Secret `ci-key`, and its first version.
async fn delivered(prefix: &str, rotation: Value) -> Result<(Tenant, HeldKey)> {
    let own = tenant(prefix).await?;
    own.namespace("web").await?;
    own.declare("ci", &rotating(to_secret("ci-key"), rotation)).await?;
    own.wait_ready("apikey/ci").await?;
    let key = own.delivered_key("ci-key").await?;
    until_answered(&own, &key, 200).await?;
    Ok((own, key))
}

#[tokio::test]
async fn a_requested_rotation_puts_another_key_into_the_secret_and_the_old_one_dies_at_once() -> Result<()> {
    let (own, old) = delivered("again", json!({})).await?;
    let secret_uid = own.secret("ci-key").await?.and_then(|secret| secret.uid());
    request_rotation(&own, "ci", Utc::now()).await?;
    let version = until_version(&own, "ci", 2).await?;
    ensure!(version.previous_until.is_none(), "{version:?}");
    let new = own.delivered_key("ci-key").await?;
    ensure!(new.plaintext()? != old.plaintext()?, "the same key again");
    until_answered(&own, &new, 200).await?;
    ensure!(own.exchange(&old).await?.status == 401);
    ensure!(own.stored_key("ci").await?.status.unwrap_or_default().digest == Some(digest_of(&new)?));
    ensure!(own.secret("ci-key").await?.and_then(|secret| secret.uid()) == secret_uid, "another Secret");
    // The kubeconfig that came with it holds the new key too.
    let pods = ["get", "pods"];
    own.delivered_kubectl("ci-key").await?.run(pods).await?;

    // The audit log names the versions.
    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    let events = shared_keyplane().await?.keyplane.audit_events()?;
    for (code, version) in [("K1010I", 1), ("K1010I", 2), ("K1040I", 2)] {
        let found = events.iter().any(|event| {
            let data = &event["data"];
            data["code"] == code && data["id"] == uid.as_str() && data["version"] == version
        });
        ensure!(found, "{code} of version {version} is not in the audit log");
    }
    Ok(())
}

#[tokio::test]
async fn with_a_grace_the_old_key_goes_on_until_it_ends() -> Result<()> {
    let (own, old) = delivered("again-grace", json!({"gracePeriodSeconds": 5})).await?;
    request_rotation(&own, "ci", Utc::now()).await?;
    let version = until_version(&own, "ci", 2).await?;
    let end = version.previous_until.context("previousUntil")?;
    ensure!(end - version.since == TimeDelta::seconds(5), "{version:?}");
    let new = own.delivered_key("ci-key").await?;
    until_answered(&own, &new, 200).await?;
    let (began, status) = (Utc::now(), own.exchange(&old).await?.status);
    ensure!(
        status == 200 || Utc::now() >= end,
        "the old key at {began}, within its grace to {end}: {status}"
    );
    until_answered(&own, &old, 401).await?;
    ensure!(Utc::now() >= end, "the old key was refused before {end}");
    own.until_admitted(&new).await?;
    Ok(())
}

#[tokio::test]
async fn a_rotation_for_a_moment_to_come_is_made_then() -> Result<()> {
    let (own, old) = delivered("to-come", json!({})).await?;
    let at = Utc::now() + Duration::from_secs(4);
    request_rotation(&own, "ci", at).await?;
    own.key_with_reason("ci", "Active").await?;
    let seen = (own.stored_key("ci").await?.status.unwrap_or_default(), Utc::now());
    ensure!(seen.0.version.is_some_and(|version| version.number == 1) || seen.1 >= at, "rotated before {at}");
    let version = until_version(&own, "ci", 2).await?;
    ensure!(stamp(version.since) >= stamp(at), "rotated at {}, asked for at {at}", version.since);
    println!("rotation: {} ms after the moment", (version.since - at).num_milliseconds());
    until_answered(&own, &own.delivered_key("ci-key").await?, 200).await?;
    ensure!(own.exchange(&old).await?.status == 401);
    Ok(())
}

#[tokio::test]
async fn an_older_request_and_the_same_one_again_make_no_other_key() -> Result<()> {
    let asked = Utc::now() - Duration::from_mins(1);
    // The first version answers the request that it was declared with.
    let (own, key) = delivered("older", json!({"requestedAt": stamp(asked)})).await?;
    for (seconds, what) in [(3600, "an hour before"), (1, "a second before"), (0, "the same")] {
        request_rotation(&own, "ci", asked - Duration::from_secs(seconds)).await?;
        own.key_with_reason("ci", "Active").await?;
        own.patch_key("ci", &json!({"displayName": what}).to_string()).await?;
        let status = own.key_with_reason("ci", "Active").await?.status.unwrap_or_default();
        ensure!(status.version.is_some_and(|version| version.number == 1), "{what}: another version");
    }
    // Nor does taking the request back.
    own.patch_key("ci", r#"{"rotation":null}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    let now = own.delivered_key("ci-key").await?;
    ensure!(now.plaintext()? == key.plaintext()?, "another key in the Secret");
    own.until_admitted(&key).await?;
    request_rotation(&own, "ci", asked + Duration::from_secs(1)).await?;
    until_version(&own, "ci", 2).await?;
    Ok(())
}

#[tokio::test]
async fn after_the_secret_was_discarded_a_rotation_makes_it_anew() -> Result<()> {
    let (own, old) = delivered("discard-rotate", json!({})).await?;
    own.kubectl.run(["delete", "secret", "ci-key", "--namespace", &own.account]).await?;
    request_rotation(&own, "ci", Utc::now()).await?;
    until_version(&own, "ci", 2).await?;
    until_answered(&own, &own.delivered_key("ci-key").await?, 200).await?;
    ensure!(own.exchange(&old).await?.status == 401);
    Ok(())
}
