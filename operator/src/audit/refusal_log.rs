//! Refusals: anybody can cause any number of them, so those that are alike are written together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::Utc;
use keyplane_core::audit::{
    Actor, Aggregated, Aggregator, AuditEvent, EventId, Failure, RefusalReason, Repeated, Source, Subject,
    Verdict,
};
use keyplane_core::client_address::ClientAddress;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::writer::{AuditError, AuditLog};

/// How often is looked for counts whose interval is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A request for a token that is refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The key, where one is declared that has the presented digest.
    pub subject: Option<Subject>,
    /// Who asked, where the address is known.
    pub client: Option<ClientAddress>,
    /// Why, for a person: of a key that is not Ready, what its condition says. Nothing of the request.
    pub message: Option<String>,
    /// Which version of the key was presented.
    pub version: Option<u32>,
    /// Who asked, where the API server authenticated somebody.
    pub actor: Option<Actor>,
}

/// Writes refusals to the audit log, the first of each kind at once and further ones as a count. Clones count together.
#[derive(Clone, Debug)]
pub struct RefusalLog(Arc<Counting>);

#[derive(Debug)]
struct Counting {
    log: AuditLog,
    source: Source,
    aggregator: Mutex<Aggregator>,
}

impl RefusalLog {
    /// Refusals that `source` tells. Counts are written by a task that ends with the last clone; call it on a tokio
    /// runtime.
    #[must_use]
    pub fn start(log: AuditLog, source: Source) -> Self {
        let counting = Arc::new(Counting { log, source, aggregator: Mutex::default() });
        tokio::spawn(write_counts(Arc::downgrade(&counting)));
        Self(counting)
    }

    /// Writes the refusal, or counts it where its like was written within the last minute.
    ///
    /// # Errors
    /// When it was to be written and could not be. It is counted then, and told when the log can be written again.
    pub async fn refused(&self, refusal: Refusal) -> Result<(), AuditError> {
        let Refusal { reason, subject, client, message, version, actor } = refusal;
        let failure = Failure::new(reason, subject.clone(), client);
        let now = Utc::now();
        if self.0.aggregator().observe(&failure, now) == Verdict::Counted {
            return Ok(());
        }
        let event = AuditEvent::new(reason.code(), self.0.source.clone(), new_id(), now)
            .about(subject)
            .because(Some(reason.as_str()), message.as_deref())
            .asked_from(client)
            .with_version(version)
            .by(actor);
        let counting = Arc::clone(&self.0);
        // A task of its own: a client that goes away at once does not keep its refusal out of the log.
        let writing = tokio::spawn(async move {
            let written = counting.log.write(&event).await;
            if written.is_err() {
                counting.aggregator().put_back(&failure, Repeated { count: 1, since: now }, now);
            }
            written
        });
        writing.await.map_err(|_| AuditError::Ended)?
    }

    /// Writes everything that was counted: for the end of the process.
    ///
    /// # Errors
    /// When some of it could not be written.
    pub async fn flush(&self) -> Result<(), AuditError> {
        let counted = self.0.aggregator().flush();
        self.0.write(counted).await
    }
}

impl Counting {
    fn aggregator(&self) -> MutexGuard<'_, Aggregator> {
        self.aggregator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes counts; counts again what could not be written.
    async fn write(&self, counted: Vec<Aggregated>) -> Result<(), AuditError> {
        let mut result = Ok(());
        for counted in counted {
            let now = Utc::now();
            let event = counted.event(self.source.clone(), new_id(), now);
            if let Err(error) = self.log.write(&event).await {
                self.aggregator().put_back(&counted.failure, counted.repeated, now);
                result = Err(error);
            }
        }
        result
    }
}

/// Writes counts when their interval is over, as long as somebody counts.
async fn write_counts(counting: Weak<Counting>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(counting) = counting.upgrade() else { return };
        let due = counting.aggregator().due(Utc::now());
        if let Err(error) = counting.write(due).await {
            tracing::error!("refusals are counted but not written: {error}");
        }
    }
}

fn new_id() -> EventId {
    EventId::random(Uuid::new_v4().into_bytes())
}
