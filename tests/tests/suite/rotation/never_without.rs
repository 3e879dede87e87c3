//! Never zero valid keys: whoever uses the newest key that he knows is never refused while keys are rotated with a grace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::Utc;
use keyplane_tests::tenant::{HeldKey, Tenant};

use super::{declare_digest, request_rotation, rotating, until_version};
use crate::delivery::{digest_of, tenant, to_secret, until_answered};

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
    let grace = serde_json::json!({"gracePeriodSeconds": 60});
    own.declare("ci", &rotating(to_secret("ci-key"), grace)).await?;
    own.wait_ready("apikey/ci").await?;
    let stop = AtomicBool::new(false);
    let client = async {
        let mut uses = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let (key, status) = used(&own, async || own.delivered_key("ci-key").await).await?;
            ensure!(
                status == 200,
                "use {uses}: the key in the Secret, {}, is refused with {status}",
                digest_of(&key)?
            );
            uses += 1;
        }
        Ok(uses)
    };
    let rotations = async {
        for number in 0..ROTATIONS {
            // At a moment to come, when nobody touches the ApiKey: it is Ready all the time.
            request_rotation(&own, "ci", Utc::now() + Duration::from_secs(2)).await?;
            until_version(&own, "ci", number + 2).await?;
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    };
    let (uses, ()) = tokio::try_join!(client, rotations)?;
    println!("rotation: {uses} uses over {ROTATIONS} rotations, none refused");
    Ok(())
}

/// Whoever watches the Secret has the next key before Keyplane has written down that it verifies.
#[tokio::test]
async fn whoever_uses_the_next_key_the_moment_it_is_in_the_secret_is_asked_to_come_again_at_worst()
-> Result<()> {
    let own = tenant("never-early").await?;
    own.namespace("web").await?;
    let grace = serde_json::json!({"gracePeriodSeconds": 60});
    own.declare("ci", &rotating(to_secret("ci-key"), grace)).await?;
    own.wait_ready("apikey/ci").await?;
    let mut digest = digest_of(&own.delivered_key("ci-key").await?)?;
    for number in 0..ROTATIONS {
        request_rotation(&own, "ci", Utc::now() + Duration::from_secs(1)).await?;
        let next = loop {
            let key = own.delivered_key("ci-key").await?;
            if digest_of(&key)? != digest {
                break key;
            }
        };
        digest = digest_of(&next)?;
        let status = own.exchange(&next).await?.status;
        ensure!(
            [200, 503].contains(&status),
            "rotation {number}: the key in the Secret is refused with {status}"
        );
        until_version(&own, "ci", number + 2).await?;
        until_answered(&own, &next, 200).await?;
    }
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
            // The specs change faster than anybody comes again: once more is not always enough.
            ensure!([200, 503].contains(&status), "use {uses}: {} is refused with {status}", key.name);
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
