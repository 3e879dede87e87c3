//! Two replicas of the API on one control plane: what one of them sees counts at the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{TimeDelta, Utc};
use futures::future::try_join_all;
use keyplane_crds::{ApiKeyStatus, SecurityEvent};
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::{SharedKeyplane, shared_keyplane};
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What issue 4 promises for a lock on another replica.
const ENFORCED_WITHIN: Duration = Duration::from_secs(1);
/// Who connects is a proxy, whose word about its client is taken.
pub(crate) const BEHIND_PROXY: [&str; 2] = ["--trusted-proxy", "127.0.0.0/8"];
/// The list of a key that may be used from this machine, which is where a request without a header comes from.
pub(crate) const HOME: [&str; 1] = ["127.0.0.0/8"];

/// A further replica of the API on the shared control plane, under a name of the test's own.
pub(crate) async fn replica(name: &str, arguments: &[&str]) -> Result<Keyplane> {
    let shared = shared_keyplane().await?;
    let name = format!("{name}-{}", std::process::id());
    let options = KeyplaneOptions {
        extra: arguments.iter().map(ToString::to_string).collect(),
        ..KeyplaneOptions::of(Mode::Api, &name, &shared.installation)
    };
    Keyplane::start(shared.cluster.supervise(), shared.cluster.dir(), &options).await
}

/// An account, and two replicas that believe this machine's proxies.
struct Two {
    own: Tenant,
    shared: &'static SharedKeyplane,
    one: Keyplane,
    other: Keyplane,
}

impl Two {
    async fn start(name: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let own = Tenant::create(shared.cluster, &shared.keyplane, name).await?;
        own.namespace("web").await?;
        let (one, other) = (format!("{name}-one"), format!("{name}-other"));
        let (one, other) = tokio::try_join!(replica(&one, &BEHIND_PROXY), replica(&other, &BEHIND_PROXY))?;
        Ok(Self { own, shared, one, other })
    }

    /// A key that may be used from this machine, known to both. It has been used twice then, once at each.
    async fn key(&self, name: &str) -> Result<HeldKey> {
        let key = self.own.key_from(name, "web", &HOME).await?;
        for replica in [&self.one, &self.other] {
            self.own.until_exchanged(replica, &key, &[]).await?;
        }
        Ok(key)
    }

    async fn status(&self, name: &str) -> Result<ApiKeyStatus> {
        self.own.stored_key(name).await?.status.context("a status")
    }

    /// Waits until a key's status is as wanted.
    async fn until_status(
        &self,
        what: &str,
        name: &str,
        is_it: impl Fn(&ApiKeyStatus) -> bool,
    ) -> Result<ApiKeyStatus> {
        until(what, PATIENCE, || async {
            let status = self.status(name).await?;
            Ok(if is_it(&status) { Seen::Done(status) } else { Seen::NotYet(format!("{status:?}")) })
        })
        .await
    }
}

#[tokio::test]
async fn denials_at_either_replica_add_up() -> Result<()> {
    let two = Two::start("spread").await?;
    for (name, places) in [
        ("one-two", [&two.one, &two.other, &two.other]),
        ("two-one", [&two.one, &two.one, &two.other]),
        ("in-turn", [&two.other, &two.one, &two.other]),
    ] {
        let key = two.key(name).await?;
        let mut codes = Vec::new();
        for (number, place) in places.into_iter().enumerate() {
            let answer = two.own.exchange_from(place, &key, &format!("198.51.100.{number}")).await?;
            ensure!(answer.status == 403, "{name}: {answer:?}");
            codes.push(answer.code().unwrap_or_default());
        }
        ensure!(codes == ["address_not_allowed", "address_not_allowed", "key_locked"], "{name}: {codes:?}");
        let locked = two.own.key_with_reason(name, "Locked").await?.status.context("a status")?;
        let addresses: Vec<&str> =
            locked.security_events.iter().map(|event| event.address.as_str()).collect();
        ensure!(addresses == ["198.51.100.2", "198.51.100.1", "198.51.100.0"], "{name}: {addresses:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_lock_at_one_replica_is_enforced_at_the_other_within_a_second() -> Result<()> {
    let two = Two::start("enforced").await?;
    for turn in 0..5 {
        let name = format!("key-{turn}");
        let key = two.key(&name).await?;
        for _ in 0..2 {
            two.own.exchange_from(&two.one, &key, "198.51.100.1").await?;
        }
        let third = two.own.exchange_from(&two.one, &key, "198.51.100.1").await?;
        let start = Instant::now();
        ensure!(third.code().as_deref() == Some("key_locked"), "{third:?}");
        // From where it may be used: nothing but the lock is in the way.
        let took = loop {
            let answer = two.own.exchange_at(&two.other, &key, &[]).await?;
            if answer.code().as_deref() == Some("key_locked") {
                break start.elapsed();
            }
            ensure!(answer.status == 200, "{answer:?}");
            if start.elapsed() > ENFORCED_WITHIN {
                bail!("not enforced at the other replica within {ENFORCED_WITHIN:?}");
            }
        };
        println!("lock: enforced at the other replica after {} ms, of {ENFORCED_WITHIN:?}", took.as_millis());
        ensure!(took < ENFORCED_WITHIN, "enforced at the other replica after {took:?} only");
    }
    Ok(())
}

fn counted(events: &[SecurityEvent]) -> BTreeMap<&str, u64> {
    let mut counted = BTreeMap::new();
    for event in events {
        *counted.entry(event.address.as_str()).or_default() += event.count;
    }
    counted
}

#[tokio::test]
async fn twenty_denied_uses_at_once_lock_the_key_once_and_none_is_lost() -> Result<()> {
    const USES: u64 = 20;
    let two = Two::start("at-once").await?;
    let key = two.key("ci").await?;
    let uid = two.own.stored_key("ci").await?.uid().context("a UID")?;
    let uses = (0..USES).map(|number| {
        let place = if number % 2 == 0 { &two.one } else { &two.other };
        let address = format!("198.51.100.{}", number % 5);
        let (own, key) = (&two.own, &key);
        async move { own.exchange_from(place, key, &address).await }
    });
    let answers = try_join_all(uses).await?;
    let codes: Vec<String> = answers.iter().filter_map(keyplane_tests::exchange::Answer::code).collect();
    ensure!(answers.iter().all(|answer| answer.status == 403), "{answers:?}");
    let refused = codes.iter().filter(|code| *code == "address_not_allowed").count();
    let locked = codes.iter().filter(|code| *code == "key_locked").count();
    ensure!(refused + locked == answers.len() && locked > 0, "{codes:?}");

    let in_sum = |status: &ApiKeyStatus| counted(&status.security_events).values().sum::<u64>() == USES;
    let status = two.until_status("all twenty to be written down", "ci", in_sum).await?;
    let events = &status.security_events;
    let by_address = counted(events);
    ensure!(by_address.len() == 5 && by_address.values().all(|count| *count == USES / 5), "{events:?}");
    ensure!(events.is_sorted_by(|newer, older| newer.time >= older.time), "{events:?}");
    let denials = events.iter().filter(|event| event.reason == "AddressDenied").count();
    ensure!(denials >= 3, "{events:?}");
    let lock = status.lock.context("a lock")?;
    let is_cause = |event: &SecurityEvent| event.time == lock.locked_at && event.reason == "AddressDenied";
    ensure!(events.iter().any(is_cause), "{lock:?} {events:?}");

    two.own.key_with_reason("ci", "Locked").await?;
    // A line may be written again when its status was changed meanwhile: with the same id, by which it is told apart.
    let controller = two.shared.keyplane.audit_events()?;
    let is_lock = |event: &&Value| event["data"]["id"] == *uid && event["data"]["code"] == "K1030W";
    let locks: BTreeSet<String> =
        controller.iter().filter(is_lock).map(|event| event["id"].to_string()).collect();
    ensure!(locks.len() == 1, "the key was locked {} times", locks.len());
    Ok(())
}

#[tokio::test]
async fn uses_at_two_replicas_are_counted_exactly_and_shown() -> Result<()> {
    const USES: u64 = 30;
    let two = Two::start("counted").await?;
    let unused = two.own.key_from("unused", "web", &[]).await?;
    let key = two.key("ci").await?;
    let start = Utc::now();
    let uses = (0..USES).map(|number| {
        let place = if number % 3 == 0 { &two.one } else { &two.other };
        let (own, key) = (&two.own, &key);
        async move { own.exchange_at(place, key, &[]).await }
    });
    let answers = try_join_all(uses).await?;
    ensure!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    // The last use is from another address of this machine; what is refused is no use.
    ensure!(two.own.exchange_from(&two.one, &key, "198.51.100.1").await?.status == 403);
    ensure!(two.own.exchange_from(&two.other, &key, "127.0.0.77").await?.status == 200);
    // Two to learn that both know the key, and one at last.
    let total = USES + 3;
    let count = |status: &ApiKeyStatus| status.usage.as_ref().map_or(0, |usage| usage.count);
    let status = two.until_status("all uses to be counted", "ci", |status| count(status) >= total).await?;
    let usage = status.usage.context("a usage")?;
    ensure!(usage.count == total, "{usage:?} and not {total}");
    ensure!(usage.last_used_ip.as_deref() == Some("127.0.0.77"), "{usage:?}");
    ensure!(usage.last_used_at.is_some_and(|at| at >= start && at <= Utc::now()), "{usage:?}");
    ensure!(usage.last_used_version == Some(1), "{usage:?}");
    // A replica that ends writes down what it has left; nothing was left.
    two.one.stop();
    two.other.stop();
    ensure!(count(&two.status("ci").await?) == total);

    let home = format!("--namespace={}", two.own.account);
    let table = two.own.kubectl.run(["get", "apikeys", &home]).await?;
    let wide = two.own.kubectl.run(["get", "apikeys", &home, "--output=wide"]).await?;
    println!("{wide}");
    ensure!(column(&table, "ci", "LAST-USED")?.ends_with('s'), "an age in seconds: {table}");
    ensure!(column(&table, "unused", "LAST-USED")?.is_empty(), "{table}");
    ensure!(!table.contains("USES") && !table.contains("LAST-ADDRESS"), "{table}");
    ensure!(column(&wide, "ci", "USES")? == total.to_string(), "{wide}");
    ensure!(column(&wide, "ci", "LAST-ADDRESS")? == "127.0.0.77", "{wide}");

    for name in ["ci", &unused.name] {
        let conditions = two.status(name).await?.conditions;
        let unused = conditions.iter().find(|condition| condition.type_ == "Unused").context("Unused")?;
        ensure!(format!("{:?}", unused.status) == "False" && unused.reason == "InUse", "{unused:?}");
    }
    Ok(())
}

/// What kubectl shows of an object under a heading. Cells may hold spaces and be empty: they begin where it does.
fn column<'a>(table: &'a str, name: &str, heading: &str) -> Result<&'a str> {
    let mut lines = table.lines();
    let head = lines.next().context("a head")?;
    let start = head.find(&format!("{heading} ")).with_context(|| format!("no {heading}: {head}"))?;
    let width = head[start..].find("   ").map_or(head.len() - start, |width| width + 3);
    let row = lines.find(|line| line.split(' ').next() == Some(name)).with_context(|| table.to_owned())?;
    let cell = row.get(start..(start + width).min(row.len())).unwrap_or_default();
    Ok(cell.trim())
}

#[tokio::test]
async fn how_long_a_revocation_took_is_told_and_the_slower_replica_counts() -> Result<()> {
    let two = Two::start("slower").await?;
    for name in ["soon", "late"] {
        two.key(name).await?;
    }
    two.own.patch_key("soon", r#"{"revoked":true}"#).await?;
    let is_whole = |status: &ApiKeyStatus| {
        status.revocation.as_ref().is_some_and(|revocation| {
            revocation.refused_after_millis.is_some() && revocation.unbound_after_millis.is_some()
        })
    };
    let status = two.until_status("a revocation that is measured", "soon", is_whole).await?;
    let revocation = status.revocation.context("a revocation")?;
    println!("revocation: {revocation:?}");
    ensure!(revocation.refused_after_millis.is_some_and(|millis| millis < 5000), "{revocation:?}");
    ensure!(revocation.unbound_after_millis.is_some_and(|millis| millis < 5000), "{revocation:?}");
    let ago = Utc::now() - revocation.requested_at;
    ensure!(ago >= TimeDelta::zero() && ago < TimeDelta::seconds(60), "{revocation:?}");

    // One replica hears of nothing for two seconds.
    let process = Pid::from_raw(i32::try_from(two.other.pid())?).context("a process id")?;
    kill_process(process, Signal::STOP)?;
    two.own.patch_key("late", r#"{"revoked":true}"#).await?;
    let others = two.until_status("what the other replicas measured", "late", is_whole).await;
    let held = async {
        let revocation = others?.revocation.context("a revocation")?;
        until("two seconds", PATIENCE, || async {
            let held = Utc::now() - revocation.requested_at;
            Ok(if held > TimeDelta::seconds(2) { Seen::Done(()) } else { Seen::NotYet(held.to_string()) })
        })
        .await?;
        anyhow::Ok(revocation)
    }
    .await;
    // Whatever happened, it must be able to end.
    kill_process(process, Signal::CONT)?;
    let before = held?;
    ensure!(before.refused_after_millis.is_some_and(|millis| millis < 2000), "{before:?}");
    let is_slower = |status: &ApiKeyStatus| {
        let revocation = status.revocation.as_ref();
        revocation.and_then(|revocation| revocation.refused_after_millis).is_some_and(|millis| millis >= 2000)
    };
    let after = two.until_status("the slower replica's measure", "late", is_slower).await?;
    let after = after.revocation.context("a revocation")?;
    println!("revocation: {before:?}, and with a replica that was held for two seconds {after:?}");
    ensure!(after.requested_at == before.requested_at, "{after:?}");
    ensure!(after.unbound_after_millis == before.unbound_after_millis, "{after:?}");
    Ok(())
}
