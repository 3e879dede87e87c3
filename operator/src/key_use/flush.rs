//! Writes down what waits, longest waiting first, no faster than allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::ledger::{Ledger, Waiting};
use super::pace::Pace;
use super::status_writer::{StatusWriter, WriteError, Written};

/// How many writes may be under way at once: enough for the rate on a slow API server.
const CONCURRENCY: usize = 32;
/// How fast statuses are written at most when the process ends.
const DRAIN_PER_SECOND: u32 = 1000;
/// How long to wait before what could not be written, to a status or to Redis, is tried again when the process ends.
pub(super) const DRAIN_PAUSE: Duration = Duration::from_millis(200);

/// Writes what waits in a ledger.
pub(super) struct Flush {
    ledger: Arc<Ledger>,
    writer: StatusWriter,
    pace: Arc<Pace>,
    per_second: u32,
    /// Whether the last that was said of the API server's refusals was that it refuses.
    refused: AtomicBool,
    /// How many statuses were written.
    writes: AtomicU64,
}

impl Flush {
    /// Writes `per_second` statuses at most, at the given pace that others may share.
    pub(super) fn new(ledger: Arc<Ledger>, writer: StatusWriter, pace: Arc<Pace>, per_second: u32) -> Self {
        let refused = AtomicBool::new(false);
        Self { ledger, writer, pace, per_second, refused, writes: AtomicU64::new(0) }
    }

    /// How many statuses were written so far.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Writes for at most `limit` keys. What fails waits on, and keeps its place.
    pub(super) async fn pass(&self, limit: usize) {
        let due = self.ledger.longest_waiting(limit);
        futures::stream::iter(due).for_each_concurrent(CONCURRENCY, |uid| self.write(uid)).await;
    }

    async fn write(&self, uid: String) {
        self.pace.turn().await;
        let Some(mut waiting) = self.ledger.take(&uid) else { return };
        let Waiting { key, unsettled, .. } = &mut waiting;
        if let Some((addition, attempt)) = unsettled.take() {
            let mut open = Some(attempt);
            match self.writer.write(key, &addition, &mut open, Some(&self.pace)).await {
                Ok(Written::Done(live)) => {
                    self.writes.fetch_add(1, Ordering::Relaxed);
                    *key = live;
                }
                Ok(Written::Gone) => return,
                Err(error) => {
                    self.failed(&uid, &error);
                    match open {
                        Some(attempt) => *unsettled = Some((addition, attempt)),
                        None => waiting.addition.merge(addition),
                    }
                    return self.ledger.put_back(uid, waiting);
                }
            }
            if !waiting.addition.is_empty() {
                self.ledger.put_back(uid, waiting);
            }
            return;
        }
        let mut open = None;
        match self.writer.write(&waiting.key, &waiting.addition, &mut open, Some(&self.pace)).await {
            Ok(written) => {
                self.refused.store(false, Ordering::Relaxed);
                self.writes.fetch_add(u64::from(matches!(written, Written::Done(_))), Ordering::Relaxed);
            }
            Err(error) => {
                self.failed(&uid, &error);
                if let Some(attempt) = open {
                    waiting.unsettled = Some((std::mem::take(&mut waiting.addition), attempt));
                }
                self.ledger.put_back(uid, waiting);
            }
        }
    }

    /// An API server that is away is reported by those who watch it; a refusal is said here, once.
    fn failed(&self, uid: &str, error: &WriteError) {
        if matches!(error, WriteError::Refused(_)) && !self.refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(key = uid, %error, "uses of keys cannot be written down; they are kept and tried again");
        } else {
            tracing::debug!(key = uid, %error, "uses are kept, and written later");
        }
    }

    /// Writes everything that waits within about `limit`, faster than usual if need be. Ends when nothing is left.
    pub(super) async fn drain(&self, limit: Duration) {
        self.hurry(limit);
        loop {
            let before = Instant::now();
            self.pass(usize::MAX).await;
            if self.ledger.len() == 0 {
                return;
            }
            tokio::time::sleep_until(before + DRAIN_PAUSE).await;
        }
    }

    /// From now on writes as fast as is needed for all that waits, and no faster than is allowed in the end.
    pub(super) fn hurry(&self, limit: Duration) {
        // A fifth of the time is left for what must be tried again.
        let milliseconds = limit.as_millis().saturating_mul(4).saturating_div(5).max(1);
        let needed = (self.ledger.len() as u128).saturating_mul(1000).div_ceil(milliseconds);
        let per_second = u32::try_from(needed).unwrap_or(DRAIN_PER_SECOND);
        self.pace.change(per_second.min(DRAIN_PER_SECOND).max(self.per_second));
    }
}
