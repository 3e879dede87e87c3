//! What somebody asks of a key over HTTP: what is refused and how it is said, what a change leaves of what stood before,
//! when two requests are one, and what a key is shown to be meanwhile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod idempotency;
mod presentation;
mod refused;
mod replaced;

use chrono::{DateTime, Utc};

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
}
