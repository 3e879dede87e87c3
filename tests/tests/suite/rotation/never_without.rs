//! Never zero valid keys: whoever uses the newest key that he knows is never refused while keys are rotated with a grace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::Utc;
use keyplane_tests::tenant::{HeldKey, Tenant};

use super::{declare_digest, request_rotation, until_version};
use crate::delivery::{digest_of, tenant, to_secret};

/// How often a key is rotated.
const ROTATIONS: u32 = 5;

/// Uses the newest key, and once more, whichever is the newest then, when the exchange asks for it.
async fn used<F: AsyncFn() -> Result<HeldKey>>(own: &Tenant, newest: F) -> Result<(HeldKey, u16)> {
    let key = newest().await?;
    let answer = own.exchange(&key).await?;
    let (503, Some(seconds)) = (answer.status, answer.retry_after) else { return Ok((key, answer.status)) };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let key = newest().await?;
    let status = own.exchange(&key).await?.status;
    Ok((key, status))
}

#[tokio::test]
async fn whoever_reads_the_secret_and_uses_the_key_is_never_refused_over_rotations_in_a_row() -> Result<()> {
    let own = tenant("never-delivered").await?;
    own.namespace("web").await?;
    let mut spec = to_secret("ci-key");
    spec["rotation"] = serde_json::json!({"gracePeriodSeconds": 60});
    own.declare("ci", &spec).await?;
    own.wait_ready("apikey/ci").await?;
    let stop = AtomicBool::new(false);
    let client = async {
        let mut uses = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let (key, status) = used(&own, async || own.delivered_key("ci-key").await).await?;
            let version = own.stored_key("ci").await?.status.unwrap_or_default();
            let is_told = version.digest == Some(digest_of(&key)?);
            ensure!(
                status == 200,
                "use {uses}: the key in the Secret is refused with {status}; the status names its digest: {is_told}, \
                 {:?}",
                version.version
            );
            uses += 1;
        }
        Ok(uses)
    };
    let rotations = async {
        for number in 0..ROTATIONS {
            request_rotation(&own, "ci", Utc::now()).await?;
            until_version(&own, "ci", number + 2).await?;
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    };
    let (uses, ()) = tokio::try_join!(client, rotations)?;
    println!("rotation: {uses} uses over {ROTATIONS} rotations, none refused");
    Ok(())
}

#[tokio::test]
async fn whoever_changes_to_a_declared_key_when_it_is_ready_is_never_refused() -> Result<()> {
    let own = tenant("never-declared").await?;
    own.namespace("web").await?;
    let first = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let newest = tokio::sync::watch::Sender::new(first);
    let stop = AtomicBool::new(false);
    let client = async {
        let mut uses = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let (key, status) = used(&own, async || Ok(newest.borrow().clone())).await?;
            ensure!(status == 200, "use {uses}: {} is refused with {status}", key.name);
            uses += 1;
        }
        Ok(uses)
    };
    let rotations = async {
        for number in 0..ROTATIONS {
            let (next, _) = own.generate(&format!("ci-{number}"), &["--scope", "inference"]).await?;
            declare_digest(&own, "ci", &next, 60).await?;
            until_version(&own, "ci", number + 2).await?;
            newest.send_replace(next);
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    };
    let (uses, ()) = tokio::try_join!(client, rotations)?;
    println!("rotation: {uses} uses over {ROTATIONS} rotations, none refused");
    Ok(())
}
