//! A lock lasts until its owner lifts it, over every restart, and the key comes back as it was.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Pod;
use keyplane_crds::ApiKeyState;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::tenant::Tenant;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{denied, events, tenant, until_access};
use crate::replicas::{BEHIND_PROXY, HOME, replica};

/// Sets `spec.unlockedAt`, and says when it is.
async fn unlock(own: &Tenant, name: &str, at: DateTime<Utc>) -> Result<()> {
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    own.patch_key(name, &json!({"unlockedAt": at}).to_string()).await.map(drop)
}

#[tokio::test]
async fn an_unlock_brings_the_same_key_back_and_a_later_lock_stays() -> Result<()> {
    let (_, own) = tenant("unlocked").await?;
    let replica = replica("unlocked", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    own.until_exchanged(&replica, &key, &[]).await?;
    denied(&own, &replica, &key, &["198.51.100.1"; 3]).await?;
    own.key_with_reason("ci", "Locked").await?;
    until_access(&own, &uid, false).await?;

    // A moment before the lock lifts nothing.
    let lock = own.stored_key("ci").await?.status.and_then(|status| status.lock).context("a lock")?;
    unlock(&own, "ci", lock.locked_at - TimeDelta::milliseconds(1)).await?;
    own.key_with_reason("ci", "Locked").await?;
    ensure!(own.exchange_at(&replica, &key, &[]).await?.code().as_deref() == Some("key_locked"));

    let first = Utc::now();
    unlock(&own, "ci", first).await?;
    let active = own.key_with_reason("ci", "Active").await?;
    let status = active.status.context("a status")?;
    ensure!(status.lock.is_none() && status.state == Some(ApiKeyState::Active), "{status:?}");
    ensure!(status.security_events.len() == 3, "what happened is not forgotten: {status:?}");
    until_access(&own, &uid, true).await?;
    let token = own.client_with(&own.until_exchanged(&replica, &key, &[]).await?)?;
    let pods: Api<Pod> = Api::namespaced(token, &format!("{}-web", own.account));
    pods.list(&ListParams::default()).await?;

    // The three of before are over: it takes three more. That lock is younger than the unlock, and stays.
    let codes = denied(&own, &replica, &key, &["198.51.100.2"; 3]).await?;
    ensure!(codes == ["address_not_allowed", "address_not_allowed", "key_locked"], "{codes:?}");
    own.key_with_reason("ci", "Locked").await?;
    unlock(&own, "ci", first).await?;
    ensure!(own.exchange_at(&replica, &key, &[]).await?.code().as_deref() == Some("key_locked"));

    // A moment to come lifts it then, by itself.
    let then = Utc::now() + TimeDelta::seconds(4);
    unlock(&own, "ci", then).await?;
    own.key_with_reason("ci", "Locked").await?;
    let early = own.exchange_at(&replica, &key, &[]).await?;
    let was_early = Utc::now() < then;
    ensure!(was_early && early.code().as_deref() == Some("key_locked"), "{was_early}: {early:?}");
    own.key_with_reason("ci", "Active").await?;
    let late = Utc::now() - then;
    ensure!(late >= TimeDelta::zero(), "{late} too early");
    println!("unlock: state Active seen {} ms after the moment that was named", late.num_milliseconds());
    own.until_exchanged(&replica, &key, &[]).await?;
    Ok(())
}

#[tokio::test]
async fn two_denials_before_an_unlock_are_not_counted_after_it() -> Result<()> {
    let (_, own) = tenant("two").await?;
    let replica = replica("two", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    denied(&own, &replica, &key, &["198.51.100.1"; 2]).await?;
    unlock(&own, "ci", Utc::now()).await?;
    own.key_with_reason("ci", "Active").await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    let codes = denied(&own, &replica, &key, &["198.51.100.2"; 2]).await?;
    ensure!(codes == ["address_not_allowed"; 2], "{codes:?}");
    let stored = own.stored_key("ci").await?;
    ensure!(events(&stored).len() == 4, "{:?}", events(&stored));
    ensure!(stored.status.is_some_and(|status| status.lock.is_none()));
    ensure!(own.exchange_at(&replica, &key, &[]).await?.status == 200);
    let third = denied(&own, &replica, &key, &["198.51.100.3"]).await?;
    ensure!(third == ["key_locked"], "{third:?}");
    Ok(())
}

/// A Keyplane of one's own on a control plane of one's own, so that both halves can be killed.
struct Halves {
    controller: Keyplane,
    api: Keyplane,
}

impl Halves {
    async fn start(cluster: &ControlPlane) -> Result<Self> {
        let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
        let controller =
            KeyplaneOptions::of(Mode::Controller, "controller", &installation).with_lease_seconds(3);
        let mut api = KeyplaneOptions::of(Mode::Api, "api", &installation);
        api.extra = BEHIND_PROXY.map(ToOwned::to_owned).into();
        let dir: &Path = cluster.dir();
        let (controller, api) = tokio::try_join!(
            Keyplane::start(cluster.supervise(), dir, &controller),
            Keyplane::start(cluster.supervise(), dir, &api)
        )?;
        Ok(Self { controller, api })
    }
}

#[tokio::test]
async fn a_lock_survives_that_both_halves_are_killed() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let halves = Halves::start(&cluster).await?;
    let own = Tenant::create(&cluster, &halves.api, "survives").await?;
    own.namespace("web").await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    own.until_exchanged(&halves.api, &key, &[]).await?;
    let codes = denied(&own, &halves.api, &key, &["198.51.100.1"; 2]).await?;
    ensure!(codes == ["address_not_allowed"; 2], "{codes:?}");

    // What was denied before a restart counts after it; the controller is not there to see the lock.
    halves.controller.kill_9()?;
    halves.api.kill_9()?;
    halves.api.restart().await?;
    ensure!(own.exchange_at(&halves.api, &key, &[]).await?.status == 200, "two do not lock");
    let third = denied(&own, &halves.api, &key, &["198.51.100.2"]).await?;
    ensure!(third == ["key_locked"], "{third:?}");
    halves.api.kill_9()?;
    halves.api.restart().await?;
    for _ in 0..2 {
        let answer = own.exchange_at(&halves.api, &key, &[]).await?;
        ensure!(answer.code().as_deref() == Some("key_locked"), "{answer:?}");
    }
    halves.controller.restart().await?;
    let locked = own.key_with_reason("ci", "Locked").await?;
    let lock = locked.status.and_then(|status| status.lock).context("a lock")?;
    until_access(&own, &uid, false).await?;

    halves.controller.kill_9()?;
    halves.api.kill_9()?;
    tokio::try_join!(halves.controller.restart(), halves.api.restart())?;
    let answer = own.exchange_at(&halves.api, &key, &[]).await?;
    ensure!(answer.code().as_deref() == Some("key_locked"), "{answer:?}");
    let still = own.key_with_reason("ci", "Locked").await?.status.and_then(|status| status.lock);
    ensure!(still.as_ref() == Some(&lock), "{still:?}");
    until_access(&own, &uid, false).await?;

    unlock(&own, "ci", Utc::now()).await?;
    own.key_with_reason("ci", "Active").await?;
    own.until_exchanged(&halves.api, &key, &[]).await?;
    until_access(&own, &uid, true).await
}
