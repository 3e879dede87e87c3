//! The audit log: events that the pure core makes (`keyplane_core::audit`), written before what they tell of is
//! acknowledged.
//!
//! Nothing here takes text from a request: an event's fields have types, and a key fits into none of them.

mod destination;
mod refusal_log;
mod writer;

pub use refusal_log::{Refusal, RefusalLog};
pub use writer::{AuditError, AuditLog};
