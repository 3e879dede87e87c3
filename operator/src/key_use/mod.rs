//! What an API replica writes down about keys: uses, denials and the locks that follow, and how long revocations took.
//!
//! [`KeyUse::used`] is for the hot path and only counts in memory. [`KeyUse::run`] writes, one status after the other
//! and no faster than configured; a crash loses what was counted since the last write. Every write is a
//! compare-and-swap, so that replicas and the controller do not undo each other. Nothing is ever reset.

mod denials;
mod flush;
mod ledger;
mod owned;
mod pace;
mod redis_store;
mod revocations;
mod status_writer;
mod usage_store;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use keyplane_core::api_key::locked_uses::LockedUses;
use keyplane_core::api_key::usage::Uses;
use keyplane_core::api_key::{Denial, LockPolicy, lock_of};
use keyplane_crds::{ApiKey, Lock};
use kube::Client;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use denials::Denials;
use flush::{DRAIN_PAUSE, Flush};
use ledger::Ledger;
use pace::Pace;
use redis_store::RedisStore;
use revocations::Revocations;
use status_writer::StatusWriter;

pub use denials::Denied;
pub use usage_store::{RedisAddress, UsageStore, UsageStoreError};

/// How uses are written down.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often: what a crash may lose.
    pub interval: Duration,
    /// How many statuses are written a second at most, for uses and revocations. Denials are written at once; there
    /// are few, because they lock the key.
    pub writes_per_second: u32,
    /// How long writing down what is left may take when the process ends.
    pub drain: Duration,
    /// When denials lock a key.
    pub lock: LockPolicy,
    /// Where uses are counted.
    pub store: UsageStore,
}

/// What one API replica writes down about keys.
pub struct KeyUse {
    interval: Duration,
    drain: Duration,
    /// How many statuses are written in one pass at most.
    pass: usize,
    counted: Arc<Ledger>,
    /// What waits for the statuses: `counted` itself, or the totals of Redis.
    written: Arc<Ledger>,
    redis: Option<Mutex<RedisStore>>,
    writer: StatusWriter,
    flush: Flush,
    denials: Denials,
    revocations: Revocations,
}

impl KeyUse {
    /// Needs a tokio runtime. Nothing is connected to before there is something to write.
    ///
    /// # Errors
    /// When the address of Redis cannot be used.
    pub fn new(client: Client, settings: &Settings) -> anyhow::Result<Self> {
        let counted = Arc::new(Ledger::new());
        let (written, redis) = match &settings.store {
            UsageStore::Kubernetes => (counted.clone(), None),
            UsageStore::Redis(address) => {
                let store = RedisStore::new(address)
                    .map_err(|error| anyhow::anyhow!("{}", error.category()))
                    .context("--usage-store: Redis cannot be used")?;
                (Arc::new(Ledger::new()), Some(Mutex::new(store)))
            }
        };
        let writer = StatusWriter::new(client);
        let rate = settings.writes_per_second.max(1);
        let pace = Arc::new(Pace::per_second(rate));
        let pass = u64::from(rate).saturating_mul(settings.interval.as_secs().max(1));
        Ok(Self {
            interval: settings.interval,
            drain: settings.drain,
            pass: usize::try_from(pass).unwrap_or(usize::MAX),
            flush: Flush::new(written.clone(), writer.clone(), pace.clone(), rate),
            denials: Denials::new(writer.clone(), settings.lock),
            revocations: Revocations::new(writer.clone(), pace),
            writer,
            counted,
            written,
            redis,
        })
    }

    /// Counts a use of a key, in memory: for the hot path. `version` is the number of the key's version that was
    /// presented.
    pub fn used(&self, key: &Arc<ApiKey>, version: u32, address: Option<IpAddr>, now: DateTime<Utc>) {
        self.counted.add(key, |waiting| waiting.uses = waiting.uses.merge(Uses::one(now, version, address)));
    }

    /// Writes down a use from an address outside the key's list, whose secret was right. It is written when this
    /// returns, unless that takes ten seconds or the API server is away: then it is written later, and what it locks
    /// is locked here meanwhile. Uses of a key that is locked already are only counted.
    pub async fn denied(&self, key: &Arc<ApiKey>, address: Option<IpAddr>, now: DateTime<Utc>) -> Denied {
        if let Some(lock) = self.lock(key, now) {
            self.counted.add(key, |waiting| waiting.locked_uses.merge(LockedUses::one(now, address)));
            return Denied { locked: Some(lock), newly_locked: false };
        }
        self.denials.denied(key, Denial { time: now, address }, now).await
    }

    /// Whether the key is locked: its status says so, or a denial here locked it a moment ago.
    #[must_use]
    pub fn is_locked(&self, key: &ApiKey, now: DateTime<Utc>) -> bool {
        self.lock(key, now).is_some()
    }

    fn lock(&self, key: &ApiKey, now: DateTime<Utc>) -> Option<Lock> {
        lock_of(key, now).cloned().or_else(|| self.denials.lock(key, now))
    }

    /// Remembers when this replica began to refuse a key because it was revoked: for a key that it would have
    /// admitted before, not for one that was revoked already when the replica started.
    pub fn revocation_seen(&self, key: &Arc<ApiKey>, at: DateTime<Utc>) {
        self.revocations.seen(key, at);
    }

    /// Takes note of a key as the watch tells of it: for every key that is added or changed.
    pub fn observed(&self, key: &Arc<ApiKey>, now: DateTime<Utc>) {
        self.writer.observed(key);
        self.denials.observed(key, now);
        self.revocations.observed(key);
    }

    /// Takes note that a key was deleted.
    pub fn deleted(&self, uid: &str) {
        self.counted.take(uid);
        self.written.take(uid);
        self.writer.forget(uid);
        self.denials.forget(uid);
        self.revocations.forget(uid);
    }

    /// How many uses are counted in memory only: what a crash would lose.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.counted.uses()
    }

    /// How many statuses were written to take down uses.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.flush.writes()
    }

    /// Writes until `shutdown` comes, and then what is left, within the drain time. No request may be answered any
    /// more when `shutdown` comes.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let stop = watch::Sender::new(false);
        let stopping = async {
            shutdown.await;
            // A pass that is under way goes on, at the speed of the end.
            self.flush.hurry(self.drain);
            stop.send_replace(true);
            tokio::time::sleep(self.drain).await;
        };
        let writing = async {
            tokio::join!(self.count(stop.subscribe()), self.write(stop.subscribe()));
            self.finish().await;
        };
        tokio::select! {
            () = stopping => self.say_what_is_lost().await,
            () = writing => {}
            () = self.denials.retry() => {}
            () = self.revocations.write() => {}
        }
    }

    /// Adds what was counted to Redis, if that is where uses are counted.
    async fn count(&self, mut stop: watch::Receiver<bool>) {
        let Some(redis) = &self.redis else { return };
        while self.is_due(&mut stop).await {
            redis.lock().await.add(&self.counted, &self.written).await;
        }
    }

    /// Writes statuses.
    async fn write(&self, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.flush.pass(self.pass).await;
        }
    }

    /// Waits for an interval. False when the process ends.
    async fn is_due(&self, stop: &mut watch::Receiver<bool>) -> bool {
        tokio::time::timeout(self.interval, stop.wait_for(|stop| *stop)).await.is_err()
    }

    /// Writes everything that is left.
    async fn finish(&self) {
        if let Some(redis) = &self.redis {
            while !redis.lock().await.add(&self.counted, &self.written).await {
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
        }
        tokio::join!(self.flush.drain(self.drain), self.denials.settled());
    }

    async fn say_what_is_lost(&self) {
        let in_redis_queue = match &self.redis {
            Some(redis) => redis.lock().await.uses(),
            None => 0,
        };
        let uses = self.counted.uses().saturating_add(in_redis_queue);
        let keys = self.written.len();
        tracing::warn!(
            uses,
            keys,
            "the time to end was over before all uses were written down; these are lost"
        );
    }
}
