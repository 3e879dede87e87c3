//! How long it took until this replica refused a revoked key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use keyplane_crds::ApiKey;
use tokio::sync::Notify;

use super::owned::{Change, Owned};
use super::pace::Pace;
use super::status_writer::{StatusWriter, Written};

/// Of how many revocations it is remembered at most: of those that the controller has not answered yet.
const MOST_REMEMBERED: usize = 10_000;
/// How long to wait before one that could not be written is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// When this replica refused a key for the first time.
#[derive(Clone, Debug)]
struct Refused {
    at: DateTime<Utc>,
    /// The key, once its status tells when the revocation was asked for.
    answered: Option<Arc<ApiKey>>,
}

/// The moment of the first refusal. The status keeps the slowest replica's.
struct RefusedAt(DateTime<Utc>);

impl Change for RefusedAt {
    fn onto(&self, live: &ApiKey) -> Option<Owned> {
        let stored = Owned::of(live);
        let requested_at = live.status.as_ref()?.revocation.as_ref()?.requested_at;
        let took = self.0.signed_duration_since(requested_at).num_milliseconds();
        // A clock that is behind the controller's would give less than nothing.
        let took = u64::try_from(took).unwrap_or_default();
        (stored.refused_after_millis.is_none_or(|stored| stored < took))
            .then_some(Owned { refused_after_millis: Some(took), ..stored })
    }
}

/// The revocations that are not written down yet.
pub(super) struct Revocations {
    refused: Mutex<HashMap<String, Refused>>,
    answered: Notify,
    writer: StatusWriter,
    pace: Arc<Pace>,
}

impl Revocations {
    pub(super) fn new(writer: StatusWriter, pace: Arc<Pace>) -> Self {
        Self { refused: Mutex::default(), answered: Notify::new(), writer, pace }
    }

    /// Remembers the first refusal of a revoked key.
    pub(super) fn seen(&self, key: &Arc<ApiKey>, at: DateTime<Utc>) {
        let Some(uid) = key.metadata.uid.as_deref() else { return };
        {
            let mut refused = self.refused();
            if !refused.contains_key(uid) && refused.len() >= MOST_REMEMBERED {
                let oldest = refused.iter().min_by_key(|(_, refused)| refused.at).map(|(uid, _)| uid.clone());
                oldest.and_then(|oldest| refused.remove(&oldest));
            }
            refused.entry(uid.to_owned()).or_insert(Refused { at, answered: None });
        }
        self.observed(key);
    }

    /// Takes note of a version of a key that the watch tells of.
    pub(super) fn observed(&self, key: &Arc<ApiKey>) {
        let is_answered = key.status.as_ref().is_some_and(|status| status.revocation.is_some());
        let Some(uid) = key.metadata.uid.as_deref().filter(|_| is_answered) else { return };
        if let Some(refused) = self.refused().get_mut(uid) {
            refused.answered = Some(key.clone());
            self.answered.notify_one();
        }
    }

    /// Forgets a key that was deleted.
    pub(super) fn forget(&self, uid: &str) {
        self.refused().remove(uid);
    }

    /// Writes them down as the controller answers, for as long as the process runs.
    pub(super) async fn write(&self) {
        loop {
            self.answered.notified().await;
            while !self.write_answered().await {
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }

    /// Writes those that the controller has answered. Says whether all of them could be written.
    async fn write_answered(&self) -> bool {
        let answered: Vec<(String, Arc<ApiKey>, DateTime<Utc>)> = {
            let refused = self.refused();
            let answered = |(uid, refused): (&String, &Refused)| {
                Some((uid.clone(), refused.answered.clone()?, refused.at))
            };
            refused.iter().filter_map(answered).collect()
        };
        let mut is_complete = true;
        for (uid, key, at) in answered {
            self.pace.turn().await;
            // An unknown outcome needs no care: the same number may be written twice.
            match self.writer.write(&key, &RefusedAt(at), &mut None, Some(&self.pace)).await {
                Ok(Written::Done(_) | Written::Gone) => self.forget(&uid),
                Err(error) => {
                    tracing::debug!(key = uid, %error, "how long a revocation took is written later");
                    is_complete = false;
                }
            }
        }
        is_complete
    }

    /// A panic elsewhere leaves whole entries behind.
    fn refused(&self) -> MutexGuard<'_, HashMap<String, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
