//! The laws of the audit log: a line is a line whatever its texts hold, repeated failures are bounded and none is lost,
//! and each change of a status is told once.
#![cfg(feature = "resources")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod aggregation;
mod lines;
mod transitions;
