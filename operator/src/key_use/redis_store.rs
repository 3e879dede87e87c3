//! Totals of uses in Redis: every replica adds what it counted, and writes the totals to the statuses.
//!
//! A batch is added by one script, together with its number: a batch whose answer was lost is sent again, and added
//! once. The script is atomic, and so is its trace in Redis' append-only file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use keyplane_core::api_key::usage::{LastUse, Uses};
use keyplane_crds::ApiKey;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use uuid::Uuid;

use super::ledger::{Ledger, Waiting};
use super::usage_store::RedisAddress;

/// How many keys one script adds to: some milliseconds in which Redis does nothing else.
const BATCH: usize = 500;
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long Redis remembers the number of an instance's last batch, in seconds: a week, longer than any outage after
/// which the same process sends the same batch again.
const MARK_SECONDS: u64 = 7 * 24 * 60 * 60;
/// How long a total outlives the key's last use, in seconds: thirty days. It goes on from the status then.
const TOTAL_SECONDS: u64 = 30 * 24 * 60 * 60;

/// A total as the script answers it: count, milliseconds, version, address.
type Answer = (Option<String>, Option<String>, Option<String>, Option<String>);

/// Uses under a number of their own.
struct Batch {
    number: u64,
    uses: Vec<(String, Arc<ApiKey>, Uses)>,
}

/// The totals in Redis.
pub(super) struct RedisStore {
    connection: ConnectionManager,
    script: Script,
    /// Tells this process's batches from every other's.
    instance: Uuid,
    numbers: u64,
    /// Not known to be added, in the order of their numbers.
    unsent: VecDeque<Batch>,
    is_away: bool,
}

impl RedisStore {
    /// A store that connects when it is first needed.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub(super) fn new(address: &RedisAddress) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let client = Client::open(address.connection())?;
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config)?,
            script: Script::new(include_str!("add_uses.lua")),
            instance: Uuid::new_v4(),
            numbers: 0,
            unsent: VecDeque::new(),
            is_away: false,
        })
    }

    /// Adds what was counted to the totals in Redis, and leaves the totals to be written to the statuses. While Redis
    /// is away, the counts wait. Says whether everything is added.
    pub(super) async fn add(&mut self, counted: &Ledger, totals: &Ledger) -> bool {
        // Before anything new is given a number, what was sent before must be settled.
        if self.unsent.is_empty() {
            self.collect(counted, totals);
        }
        while let Some(batch) = self.unsent.front() {
            match self.send(batch).await {
                Ok(answers) => {
                    for ((_, key, _), answer) in batch.uses.iter().zip(answers) {
                        totals.add(key, |addition| addition.total = of_answer(&answer));
                    }
                    self.unsent.pop_front();
                    if std::mem::take(&mut self.is_away) {
                        tracing::info!(
                            "Redis answers again: uses that were counted meanwhile are being added"
                        );
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.is_away, true) {
                        tracing::warn!(
                            "Redis does not add uses ({}); they are counted in memory meanwhile",
                            said(&error)
                        );
                    }
                    return false;
                }
            }
        }
        counted.len() == 0
    }

    /// How many uses wait that are not known to be added.
    pub(super) fn uses(&self) -> u64 {
        let of =
            |batch: &Batch| batch.uses.iter().map(|(_, _, uses)| uses.count).fold(0, u64::saturating_add);
        self.unsent.iter().map(of).fold(0, u64::saturating_add)
    }

    fn collect(&mut self, counted: &Ledger, totals: &Ledger) {
        let mut fresh = Vec::new();
        for (uid, Waiting { key, addition, .. }) in counted.take_all() {
            if !addition.locked_uses.is_empty() {
                totals.add(&key, |wanted| wanted.locked_uses.merge(addition.locked_uses));
            }
            if !addition.uses.is_empty() {
                fresh.push((uid, key, addition.uses));
            }
        }
        let mut fresh = fresh.into_iter().peekable();
        while fresh.peek().is_some() {
            self.numbers += 1;
            self.unsent.push_back(Batch { number: self.numbers, uses: fresh.by_ref().take(BATCH).collect() });
        }
    }

    async fn send(&self, batch: &Batch) -> Result<Vec<Answer>, RedisError> {
        let mut call = self.script.prepare_invoke();
        call.key(format!("keyplane:{{usage}}:batch:{}", self.instance));
        call.arg(batch.number).arg(MARK_SECONDS).arg(TOTAL_SECONDS);
        for (uid, key, uses) in &batch.uses {
            let in_status =
                key.status.as_ref().and_then(|status| status.usage.as_ref()).map_or(0, |usage| usage.count);
            let last = uses.last;
            call.key(format!("keyplane:{{usage}}:key:{uid}"))
                .arg(in_status)
                .arg(uses.count)
                .arg(last.map_or(-1, |last| last.at.timestamp_millis()))
                .arg(last.map_or(0, |last| last.version))
                .arg(
                    last.and_then(|last| last.address)
                        .map_or_else(String::new, |address| address.to_string()),
                );
        }
        call.invoke_async(&mut self.connection.clone()).await
    }
}

fn of_answer((count, at, version, address): &Answer) -> Uses {
    let at =
        at.as_deref().and_then(|text| text.parse().ok()).and_then(DateTime::<Utc>::from_timestamp_millis);
    Uses {
        count: count.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
        last: at.map(|at| LastUse {
            at,
            version: version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
            address: address.as_deref().and_then(|text| text.parse().ok()),
        }),
    }
}

/// What went wrong, without anything of the address.
fn said(error: &RedisError) -> String {
    error.code().map_or_else(|| error.category().to_owned(), ToOwned::to_owned)
}
