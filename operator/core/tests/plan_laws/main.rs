//! The laws of the plans: sequences of random steps by accounts, administrators and attackers against a cluster in
//! memory, on which the plans are carried out as the controller does.
//!
//! `model.rs` is the API server, `observe.rs` and `driver.rs` the controller, `operations.rs` the people. `lawful.rs`
//! judges each single step and `entitlement.rs` each settled state; the other files are the laws.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod adoption;
mod convergence;
mod driver;
mod edits;
mod entitlement;
mod fixpoint;
mod issuing;
mod key_life;
mod lawful;
mod lifecycle;
mod limits;
mod model;
mod observe;
mod observe_keys;
mod operations;
mod quantities;
mod quantity_rows;
mod remembering;
mod resource;
mod rights;
mod rotation;
mod specs;
mod ssh_keys;
mod stored_form;
mod strange;
mod tampering;
mod totality;
