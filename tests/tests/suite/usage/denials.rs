//! Uses from elsewhere: written at once, merged, shared by replicas; a lock holds before anybody else knows of it.

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use keyplane_core::api_key::{ADDRESS_DENIED, LOCKED};
use keyplane_crds::{ApiKeyStatus, SecurityEvent};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::json;

use super::gate::Gate;
use super::stage::{Replica, Stage, address, in_time, quiet_cluster, server_url, settings};

fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

async fn status(stage: &Stage) -> Result<ApiKeyStatus> {
    Ok(stage.get("key-0").await?.status.clone().unwrap_or_default())
}

fn with_reason<'a>(events: &'a [SecurityEvent], reason: &str) -> Vec<&'a SecurityEvent> {
    events.iter().filter(|event| event.reason == reason).collect()
}

#[tokio::test]
async fn three_denials_at_two_replicas_lock_the_key_and_no_denial_is_lost() -> Result<()> {
    let stage = Stage::shared("denials-replicas").await?;
    stage.declare(1).await?;
    let key = stage.write_status("key-0", &json!({"access": "everything"})).await?;
    let one = Replica::start(stage.api_client(None).await?, &settings())?;
    let two = Replica::start(stage.api_client(None).await?, &settings())?;
    let at = now();
    let later = |milliseconds| at + TimeDelta::milliseconds(milliseconds);
    // None is told by a watch: each replica has the key as it was at first.
    let first = one.key_use.denied(&key, Some(address(1)), at).await;
    let second = two.key_use.denied(&key, Some(address(2)), later(1)).await;
    ensure!(first.locked.is_none() && second.locked.is_none(), "{first:?} {second:?}");
    ensure!(!one.key_use.is_locked(&key, later(1)));
    let third = one.key_use.denied(&key, Some(address(1)), later(2)).await;
    let lock = third.locked.clone().context("not locked by the third denial")?;
    ensure!(third.newly_locked && lock.locked_at == later(2) && lock.address == "203.0.113.1", "{third:?}");
    ensure!(one.key_use.is_locked(&key, later(2)), "the lock does not hold where it was decided");
    let stored = status(&stage).await?;
    ensure!(
        stored.lock == Some(lock.clone()) && stored.access.as_deref() == Some("everything"),
        "{stored:?}"
    );
    ensure!(with_reason(&stored.security_events, ADDRESS_DENIED).len() == 3, "{stored:?}");

    // The other replica meets the lock when it writes, or is told by the watch.
    let fourth = two.key_use.denied(&key, Some(address(3)), later(3)).await;
    ensure!(fourth.locked == Some(lock.clone()) && !fourth.newly_locked, "{fourth:?}");
    for number in 0..100 {
        let denied = two.key_use.denied(&key, Some(address(3)), later(4 + number)).await;
        ensure!(denied.locked.is_some() && !denied.newly_locked, "{denied:?}");
    }
    tokio::try_join!(one.end(), two.end())?;
    let stored = status(&stage).await?;
    let counted = with_reason(&stored.security_events, LOCKED);
    ensure!(counted.len() == 1 && counted.iter().all(|event| event.count == 101), "{stored:?}");
    ensure!(
        counted.iter().all(|event| event.address == "203.0.113.3" && event.time == later(103)),
        "{stored:?}"
    );
    ensure!(stored.lock == Some(lock), "{stored:?}");
    Ok(())
}

#[tokio::test]
async fn denials_that_come_at_once_are_all_written_and_one_caller_is_told_of_the_lock() -> Result<()> {
    let stage = Stage::shared("denials-at-once").await?;
    let keys = stage.declare(1).await?;
    let key = keys.first().context("a key")?;
    let replica = Replica::start(stage.api_client(None).await?, &settings())?;
    let at = now();
    let denials = (1..=20u8).map(|number| {
        replica.key_use.denied(key, Some(address(number)), at + TimeDelta::milliseconds(i64::from(number)))
    });
    let told = in_time("all denials", futures::future::join_all(denials)).await?;
    ensure!(told.iter().filter(|denied| denied.newly_locked).count() == 1, "{told:?}");
    replica.end().await?;
    let stored = status(&stage).await?;
    ensure!(stored.lock.is_some(), "{stored:?}");
    let all: u64 = stored.security_events.iter().map(|event| event.count).sum();
    ensure!(all == 20, "{all} of 20: {stored:?}");
    Ok(())
}

#[tokio::test]
async fn without_an_api_server_the_lock_holds_here_and_is_written_when_there_is_one_again() -> Result<()> {
    let stage = Stage::shared("denials-away").await?;
    let keys = stage.declare(1).await?;
    let key = keys.first().context("a key")?;
    let gate = Gate::before(&server_url(quiet_cluster().await?.access())?).await?;
    let replica =
        Replica::start(stage.api_client(Some(&format!("https://{}", gate.address()))).await?, &settings())?;
    let at = now();
    let first = replica.key_use.denied(key, Some(address(1)), at).await;
    ensure!(first.locked.is_none(), "{first:?}");
    // The second is written, and its answer is lost; the third and fourth get nowhere.
    let key = &stage.get("key-0").await?;
    gate.swallow_answers();
    let second = replica.key_use.denied(key, Some(address(1)), at + TimeDelta::milliseconds(1)).await;
    ensure!(second.locked.is_none(), "{second:?}");
    gate.shut();
    for number in 2..=4 {
        let moment = at + TimeDelta::milliseconds(number);
        replica.key_use.denied(key, Some(address(1)), moment).await;
    }
    ensure!(replica.key_use.is_locked(key, now()), "three denials that wait do not lock");
    ensure!(status(&stage).await?.lock.is_none(), "the gate is not shut");
    gate.open();
    let stored = until("the lock in the status", PATIENCE, || async {
        let stored = status(&stage).await?;
        Ok(if stored.lock.is_some() { Seen::Done(stored) } else { Seen::NotYet(format!("{stored:?}")) })
    })
    .await?;
    let all: u64 = stored.security_events.iter().map(|event| event.count).sum();
    ensure!(all == 5, "each of five denials once: {stored:?}");

    // The owner lifts it: the process must not hold on to it.
    let unlocked = json!({"spec": {"unlockedAt": now() + TimeDelta::milliseconds(10)}});
    let patch = kube::api::Patch::Merge(unlocked);
    let key = stage.keys.patch("key-0", &kube::api::PatchParams::default(), &patch).await?;
    ensure!(!replica.key_use.is_locked(&key, now() + TimeDelta::seconds(1)), "a lifted lock still holds");
    replica.end().await
}
