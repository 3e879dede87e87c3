//! Ten thousand uses a second cost the API server no more than the configured rate, and none of them is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use keyplane_crds::ApiKey;
use keyplane_operator::key_use::Settings;
use keyplane_tests::audit_log::AuditEvent;
use keyplane_tests::control_plane::ControlPlane;
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::stage::{Replica, Stage, moment, settings, usage};

const USES_A_SECOND: usize = 10_000;
const SECONDS: usize = 30;
const KEYS: usize = 10_000;
const WRITES_A_SECOND: u32 = 40;

/// Uses keys in turn, evenly spread over the time: the nth use at `moment(n)`.
async fn flood(replica: &Replica, keys: &[Arc<ApiKey>]) {
    let began = Instant::now();
    let all = USES_A_SECOND * SECONDS;
    let mut turns = keys.iter().cycle();
    let mut made = 0;
    while made < all {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let due = usize::try_from(began.elapsed().as_micros()).unwrap_or(all) / (1_000_000 / USES_A_SECOND);
        for key in turns.by_ref().take(due.min(all).saturating_sub(made)) {
            replica.used(key, moment(i64::try_from(made).unwrap_or_default()));
            made += 1;
        }
    }
}

fn is_a_write_of_the_api(event: &AuditEvent) -> bool {
    event.is_write() && event.user.username.ends_with(":keyplane-api")
}

/// When the API's identity wrote, in milliseconds, in order.
fn writes(events: &[AuditEvent]) -> Result<Vec<i64>> {
    let times = events.iter().filter(|event| is_a_write_of_the_api(event)).map(|event| {
        anyhow::Ok(event.request_received_timestamp.parse::<DateTime<Utc>>()?.timestamp_millis())
    });
    let mut times = times.collect::<Result<Vec<i64>>>()?;
    times.sort_unstable();
    Ok(times)
}

/// No stretch of time has more writes than the rate allows for it; requests that were sent evenly may arrive up to a
/// second apart from that on a busy machine.
fn ensure_bounded(times: &[i64]) -> Result<()> {
    let rate = i64::from(WRITES_A_SECOND);
    for (index, begin) in times.iter().enumerate() {
        for (further, end) in times.iter().enumerate().skip(index) {
            let count = i64::try_from(further - index + 1)?;
            ensure!(count <= rate * (end - begin) / 1000 + rate, "{count} writes in {} ms", end - begin);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_uses_a_second_are_counted_exactly_with_few_writes() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let stage = Stage::own(&cluster, "flood").await?;
    let keys = stage.declare(KEYS).await?;
    let audit = cluster.audit_log()?;
    let settings = Settings {
        interval: Duration::from_secs(1),
        writes_per_second: WRITES_A_SECOND,
        drain: Duration::from_mins(2),
        ..settings()
    };

    let first = keys.first().context("a key")?;
    let mark = audit.mark()?;
    let replica = Replica::start(stage.api_client(None).await?, &settings)?;
    flood(&replica, std::slice::from_ref(first)).await;
    let on_one_key = writes(&audit.since(mark)?)?;
    ensure_bounded(&on_one_key)?;
    // Written every second, in two requests at most: what this test hands over is never the newest version.
    ensure!((2..=2 * SECONDS + 4).contains(&on_one_key.len()), "{} writes", on_one_key.len());
    replica.end().await?;
    let stored = stage.usage(&first.name_any()).await?;
    let all = u64::try_from(USES_A_SECOND * SECONDS)?;
    ensure!(stored.count == all, "{} of {all}", stored.count);
    ensure!(stored.last_used_at == Some(moment(i64::try_from(all)? - 1)), "{stored:?}");

    let mark = audit.mark()?;
    let replica = Replica::start(stage.api_client(None).await?, &settings)?;
    flood(&replica, &keys).await;
    let on_all_keys = writes(&audit.since(mark)?)?;
    ensure_bounded(&on_all_keys)?;
    let least = usize::try_from(WRITES_A_SECOND)? * SECONDS / 2;
    ensure!(on_all_keys.len() >= least, "{} writes: the keys wait too long", on_all_keys.len());
    replica.end().await?;
    let each = all / u64::try_from(KEYS)?;
    let mut wrong = BTreeMap::new();
    for key in stage.keys.list(&ListParams::default()).await? {
        let before = if key.name_any() == first.name_any() { all } else { 0 };
        let count = usage(&key).map(|usage| usage.count).unwrap_or_default();
        if count != before + each {
            wrong.insert(key.name_any(), count);
        }
    }
    ensure!(wrong.is_empty(), "{} keys with a wrong count: {wrong:?}", wrong.len());
    Ok(())
}
