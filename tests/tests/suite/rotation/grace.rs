//! A grace period: both keys verify until it ends.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Secret;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::{declare_digest, present, until_version};
use crate::delivery::{tenant, until_answered};

async fn anchors(own: &Tenant, name: &str) -> Result<usize> {
    let uid = own.stored_key(name).await?.uid().unwrap_or_default();
    let anchors: Api<Secret> = Api::namespaced(own.client(), "keyplane-identities");
    let own = ListParams::default().labels(&format!("keyplane.dev/owner-uid={uid}"));
    Ok(anchors.list(&own).await?.items.len())
}

async fn until_previous(own: &Tenant, name: &str, wanted: Option<DateTime<Utc>>) -> Result<()> {
    until(&format!("{name} with the version before until {wanted:?}"), PATIENCE, || async {
        let key = own.stored_key(name).await?;
        let status = key.status.unwrap_or_default();
        let is_current = status.observed_generation == key.metadata.generation;
        let previous = status.version.context("a version")?.previous_until;
        Ok(if is_current && previous == wanted {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{previous:?}"))
        })
    })
    .await
}

#[tokio::test]
async fn both_keys_are_accepted_until_the_grace_ends_and_then_only_the_new_one() -> Result<()> {
    let own = tenant("grace").await?;
    own.namespace("web").await?;
    let old = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    let stop = AtomicBool::new(false);
    let rotate = async {
        let before = Utc::now();
        declare_digest(&own, "ci", &new, 6).await?;
        let version = until_version(&own, "ci", 2).await?;
        let end = version.previous_until.context("previousUntil")?;
        ensure!(version.since > before - TimeDelta::milliseconds(1), "{version:?}");
        ensure!(end - version.since == TimeDelta::seconds(6), "{version:?}");
        until_answered(&own, &new, 200).await?;
        let ready = Utc::now();
        ensure!(anchors(&own, "ci").await? == 2, "an anchor for each version");
        let answer = own.exchange(&old).await?;
        let expiry: DateTime<Utc> =
            answer.at("/status/expirationTimestamp").context("a token of the old key")?.parse()?;
        ensure!(expiry <= end, "a token of the old key says to live until {expiry}, the key until {end}");
        until_previous(&own, "ci", None).await?;
        stop.store(true, Ordering::Relaxed);
        Ok((end, ready))
    };
    let (old_uses, (end, ready)) = tokio::try_join!(present(&own, &old, &stop), rotate)?;
    for use_ in &old_uses {
        match use_.status {
            200 => ensure!(use_.began < end, "accepted after {end}: {use_:?}"),
            401 => ensure!(use_.ended >= end, "refused before {end}: {use_:?}"),
            // Until the controller has answered a changed spec, whoever uses the key is asked to come again.
            503 => ensure!(use_.began < ready, "asked to come again after {ready}: {use_:?}"),
            _ => anyhow::bail!("{use_:?}"),
        }
    }
    ensure!(old_uses.iter().any(|use_| use_.status == 401), "the old key was never refused");
    ensure!(own.exchange(&old).await?.status == 401);
    own.until_admitted(&new).await?;
    until("the old anchor to be gone", PATIENCE, || async {
        let left = anchors(&own, "ci").await?;
        Ok(if left == 1 { Seen::Done(()) } else { Seen::NotYet(left.to_string()) })
    })
    .await
}

#[tokio::test]
async fn a_shorter_grace_counts_at_once_and_a_longer_one_does_not() -> Result<()> {
    let own = tenant("shorter").await?;
    own.namespace("web").await?;
    let old = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    declare_digest(&own, "ci", &new, 3600).await?;
    let version = until_version(&own, "ci", 2).await?;
    let end = version.previous_until.context("previousUntil")?;

    own.patch_key("ci", r#"{"rotation":{"gracePeriodSeconds":86400}}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    until_previous(&own, "ci", Some(end)).await?;
    own.patch_key("ci", r#"{"rotation":{"gracePeriodSeconds":600}}"#).await?;
    until_previous(&own, "ci", Some(version.since + TimeDelta::seconds(600))).await?;
    until_answered(&own, &old, 200).await?;
    own.patch_key("ci", r#"{"rotation":null}"#).await?;
    until_previous(&own, "ci", None).await?;
    ensure!(own.exchange(&old).await?.status == 401, "the old key outlives its grace");
    // What has ended does not come back with a longer grace.
    own.patch_key("ci", r#"{"rotation":{"gracePeriodSeconds":86400}}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    ensure!(own.exchange(&old).await?.status == 401, "the old key was revived");
    own.until_admitted(&new).await?;
    Ok(())
}

#[tokio::test]
async fn of_three_keys_within_one_grace_the_oldest_ends_at_once() -> Result<()> {
    let own = tenant("three").await?;
    own.namespace("web").await?;
    let first = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let (second, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    let (third, _) = own.generate("ci-3", &["--scope", "inference"]).await?;
    declare_digest(&own, "ci", &second, 3600).await?;
    until_version(&own, "ci", 2).await?;
    declare_digest(&own, "ci", &third, 3600).await?;
    until_version(&own, "ci", 3).await?;
    until_answered(&own, &third, 200).await?;
    own.until_admitted(&second).await?;
    ensure!(own.exchange(&first).await?.status == 401);
    Ok(())
}

#[tokio::test]
async fn the_status_tells_which_version_was_used_last() -> Result<()> {
    let own = tenant("last-used").await?;
    own.namespace("web").await?;
    let old = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let (new, _) = own.generate("ci-2", &["--scope", "inference"]).await?;
    declare_digest(&own, "ci", &new, 3600).await?;
    until_version(&own, "ci", 2).await?;
    until_answered(&own, &new, 200).await?;
    for (key, number) in [(&old, 1), (&new, 2), (&old, 1)] {
        until_answered(&own, key, 200).await?;
        until(&format!("version {number} as the last used"), PATIENCE, || async {
            let usage = own.stored_key("ci").await?.status.unwrap_or_default().usage;
            let last = usage.as_ref().and_then(|usage| usage.last_used_version);
            Ok(if last == Some(number) { Seen::Done(()) } else { Seen::NotYet(format!("{usage:?}")) })
        })
        .await?;
    }
    Ok(())
}
