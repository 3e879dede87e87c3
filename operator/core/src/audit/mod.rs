//! The audit log: what is written down of each key's life, as `CloudEvents` with stable codes, one JSON line each.
//!
//! `code.rs` lists what is written, `event.rs` gives it its form, `transitions.rs` tells what a change of a status is
//! worth, and `aggregation.rs` keeps repeated failures from flooding it. docs/audit-events.md is made from here.

mod aggregation;
mod code;
mod document;
mod event;
mod refusal;
mod requested_change;
mod subject;
mod token_id;
mod transitions;

pub use aggregation::{Aggregated, Aggregator, Failure, INTERVAL, MAXIMUM_FAILURES, Verdict};
pub use code::{Code, Field, Outcome};
pub use document::document;
pub use event::{AuditEvent, EventId, GenerationChange, Repeated, Source};
pub use refusal::RefusalReason;
pub use requested_change::RequestedChange;
pub use subject::{Actor, Subject, spec_actor};
pub use token_id::TokenId;
pub use transitions::{Change, events_of, readiness_event};
