//! Several replicas count the same keys: their counts come together, whatever is lost on the way.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, Utc};
use keyplane_crds::ApiKey;
use keyplane_operator::key_use::Settings;
use keyplane_tests::redis::Redis;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use super::gate::Gate;
use super::stage::{Replica, Stage, address, in_time, moment, quiet_cluster, server_url, settings};

const ROUNDS: i64 = 40;

/// Uses every key once for each replica, with some time between.
async fn use_all(replicas: &[&Replica], keys: &[Arc<ApiKey>], round: i64) {
    for (number, replica) in (0..).zip(replicas) {
        for key in keys {
            replica.used(key, moment(round * 10 + number));
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn ensure_counts(stage: &Stage, keys: &[Arc<ApiKey>], count: i64, last: i64) -> Result<()> {
    for key in keys {
        let stored = stage.usage(&key.name_any()).await?;
        ensure!(i64::try_from(stored.count)? == count, "{}: {} of {count}", key.name_any(), stored.count);
        ensure!(stored.last_used_at == Some(moment(last)), "{stored:?}");
        ensure!(stored.last_used_ip.as_deref() == Some("203.0.113.1"), "{stored:?}");
        ensure!(stored.last_used_version == Some(1), "{stored:?}");
    }
    Ok(())
}

/// Neither knows of the other's writes before it meets them, nor of the controller's.
#[tokio::test]
async fn two_replicas_and_the_controller_write_the_same_statuses_and_nothing_is_lost() -> Result<()> {
    let stage = Stage::shared("usage-replicas").await?;
    let keys = stage.declare(5).await?;
    let one = Replica::start(stage.api_client(None).await?, &settings())?;
    let two = Replica::start(stage.api_client(None).await?, &settings())?;
    for round in 0..ROUNDS {
        use_all(&[&one, &two], &keys, round).await;
        stage.write_status("key-0", &json!({"access": format!("as of round {round}")})).await?;
    }
    tokio::try_join!(one.end(), two.end())?;
    ensure_counts(&stage, &keys, 2 * ROUNDS, (ROUNDS - 1) * 10 + 1).await?;
    let status = stage.get("key-0").await?.status.clone().unwrap_or_default();
    ensure!(status.access == Some(format!("as of round {}", ROUNDS - 1)), "{status:?}");
    Ok(())
}

/// Requests get through and their answers do not, or nothing gets through at all.
#[tokio::test]
async fn lost_answers_and_an_api_server_that_is_away_lose_and_double_no_use() -> Result<()> {
    let stage = Stage::shared("usage-lost-answers").await?;
    let keys = stage.declare(5).await?;
    let gate = Gate::before(&server_url(quiet_cluster().await?.access())?).await?;
    let replica =
        Replica::start(stage.api_client(Some(&format!("https://{}", gate.address()))).await?, &settings())?;
    for round in 0..ROUNDS {
        match round % 4 {
            1 => gate.swallow_answers(),
            2 => gate.shut(),
            _ => gate.open(),
        }
        // As the watch tells them: a write on top of them is accepted.
        let newest = stage.keys.list(&ListParams::default()).await?.items.into_iter().map(Arc::new);
        let newest: Vec<_> = newest.collect();
        use_all(&[&replica], &newest, round).await;
        use_all(&[&replica], &newest, round).await;
        // Long enough for a write of each kind of failure.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    gate.open();
    replica.end().await?;
    ensure_counts(&stage, &keys, 2 * ROUNDS, (ROUNDS - 1) * 10).await
}

/// The watch has not told yet of the first write when the second is made: both are one use more than nothing, at one moment.
#[tokio::test]
async fn of_two_uses_of_one_moment_none_is_lost_with_the_answer_to_the_second_write() -> Result<()> {
    let stage = Stage::shared("usage-one-moment").await?;
    let keys = stage.declare(1).await?;
    let key = keys.first().context("a key")?;
    let gate = Gate::before(&server_url(quiet_cluster().await?.access())?).await?;
    let replica =
        Replica::start(stage.api_client(Some(&format!("https://{}", gate.address()))).await?, &settings())?;
    replica.used(key, moment(1));
    until("the first write", PATIENCE, || async {
        Ok(if replica.key_use.writes() == 1 { Seen::Done(()) } else { Seen::NotYet("none".to_owned()) })
    })
    .await?;
    gate.swallow_answers();
    replica.used(key, moment(1));
    until("an answer to be lost", PATIENCE, || async {
        Ok(if gate.swallowed() > 0 { Seen::Done(()) } else { Seen::NotYet("none".to_owned()) })
    })
    .await?;
    gate.open();
    replica.end().await?;
    ensure_counts(&stage, &keys, 2, 1).await
}

#[tokio::test]
async fn a_key_that_is_gone_is_forgotten_and_its_successor_of_the_same_name_is_not_charged() -> Result<()> {
    let stage = Stage::shared("usage-gone").await?;
    let keys = stage.declare(2).await?;
    let replica = Replica::start(stage.api_client(None).await?, &settings())?;
    for name in ["key-0", "key-1"] {
        stage.keys.delete(name, &DeleteParams::default()).await?;
    }
    until("both keys to be gone", PATIENCE, || async {
        let left = stage.keys.list(&ListParams::default()).await?.items.len();
        Ok(if left == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{left} left")) })
    })
    .await?;
    let successors = stage.declare(1).await?;
    for key in &keys {
        replica.used(key, moment(1));
    }
    for key in &successors {
        replica.used(key, moment(2));
    }
    in_time("the end", replica.end()).await??;
    ensure_counts(&stage, &successors, 1, 2).await
}

#[tokio::test]
async fn totals_in_redis_are_exact_also_when_answers_are_lost_and_redis_is_killed_and_started_again()
-> Result<()> {
    let stage = Stage::shared("usage-redis").await?;
    let cluster = quiet_cluster().await?;
    let redis = Redis::start(cluster.supervise(), cluster.dir(), "redis-usage").await?;
    let keys = stage.declare(5).await?;
    // What was counted before Redis came is counted on.
    let before = stage.write_status("key-0", &json!({"usage": {"count": 1000}})).await?;
    let keys: Vec<_> = std::iter::once(before).chain(keys.into_iter().skip(1)).collect();
    // One replica's way to Redis loses answers besides.
    let gate = Gate::before(&redis.url()).await?;
    let through_gate = Settings { store: format!("redis://{}", gate.address()).parse()?, ..settings() };
    let directly = Settings { store: redis.url().parse()?, ..settings() };
    let one = Replica::start(stage.api_client(None).await?, &through_gate)?;
    let two = Replica::start(stage.api_client(None).await?, &directly)?;
    for round in 0..2 * ROUNDS {
        match round % 20 {
            0 => gate.swallow_answers(),
            8 => gate.open(),
            12 => redis.kill_9()?,
            16 => redis.restart().await?,
            _ => {}
        }
        use_all(&[&one, &two], &keys, round).await;
    }
    in_time("the end of both", async { tokio::try_join!(one.end(), two.end()) }).await??;
    let (first, others) = keys.split_first().context("keys")?;
    let last = (2 * ROUNDS - 1) * 10 + 1;
    ensure_counts(&stage, std::slice::from_ref(first), 1000 + 4 * ROUNDS, last).await?;
    ensure_counts(&stage, others, 4 * ROUNDS, last).await
}

#[tokio::test]
async fn the_slowest_replica_says_how_long_a_revocation_took() -> Result<()> {
    let stage = Stage::shared("usage-revocation").await?;
    stage.declare(1).await?;
    let one = Replica::start(stage.api_client(None).await?, &settings())?;
    let two = Replica::start(stage.api_client(None).await?, &settings())?;
    let requested = Utc::now();
    let seen = stage.get("key-0").await?;
    // Before the controller has answered, and after; the second replica is the slower one.
    one.key_use.revocation_seen(&seen, requested + TimeDelta::milliseconds(12));
    let answered = stage
        .write_status("key-0", &json!({"revocation": {"requestedAt": requested, "unboundAfterMillis": 7}}))
        .await?;
    one.key_use.observed(&answered, Utc::now());
    two.key_use.revocation_seen(&answered, requested + TimeDelta::milliseconds(34));
    until("the slower replica's time", PATIENCE, || async {
        let status = stage.get("key-0").await?.status.clone().unwrap_or_default();
        let revocation = status.revocation.context("no revocation")?;
        ensure!(revocation.unbound_after_millis == Some(7), "{revocation:?}");
        Ok(match revocation.refused_after_millis {
            Some(34) => Seen::Done(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
    .await?;
    // A quicker one has nothing to add.
    let three = Replica::start(stage.api_client(None).await?, &settings())?;
    let version = stage.get("key-0").await?.resource_version();
    three.key_use.revocation_seen(&stage.get("key-0").await?, requested - TimeDelta::milliseconds(5));
    three.key_use.used(&stage.get("key-0").await?, 1, Some(address(1)), moment(0));
    tokio::try_join!(one.end(), two.end(), three.end())?;
    let key = stage.get("key-0").await?;
    ensure!(key.resource_version() != version, "the use was not written");
    let revocation = key.status.clone().and_then(|status| status.revocation).context("no revocation")?;
    ensure!(revocation.refused_after_millis == Some(34), "{revocation:?}");
    Ok(())
}
