//! The audit log: events that the pure core makes (`keyplane_core::audit`), written before what they tell of is
//! acknowledged.
//!
//! Nothing here takes text from a request: an event's fields have types, and a key fits into none of them.

mod destination;
mod refusal_log;
mod writer;

use anyhow::Context as _;
use chrono::Utc;
use keyplane_core::audit::{AuditEvent, Code, EventId, Source};

pub use refusal_log::{Refusal, RefusalLog};
pub use writer::{AuditError, AuditLog};

/// Writes that a process began to write.
///
/// # Errors
/// When it cannot be written: then nothing could be issued either, which is better known at the start.
pub async fn began(log: &AuditLog, source: Source) -> anyhow::Result<()> {
    let id = EventId::random(*uuid::Uuid::new_v4().as_bytes());
    let version = concat!("keyplane ", env!("CARGO_PKG_VERSION"));
    let event = AuditEvent::new(Code::AuditLogStarted, source, id, Utc::now()).because(None, Some(version));
    log.write(&event).await.context("the audit log cannot be written: choose another --audit-log")
}
