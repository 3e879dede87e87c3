//! The fuzzed laws of the credential plugin on a stable compiler, as `stable.rs` has those of the core.
//!
//! `PROPTEST_CASES=100000 cargo test -p keyplane-credential-plugin --test fuzzed_laws` looks longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells how much it did"
)]

#[path = "src/answer.rs"]
mod answer;
#[path = "changed_seeds.rs"]
mod changed_seeds;
#[path = "src/exchange_address.rs"]
mod exchange_address;
#[path = "src/exec_info.rs"]
mod exec_info;
#[path = "src/token_cache.rs"]
mod token_cache;
#[path = "src/told.rs"]
mod told;

use changed_seeds::look_for_a_breach;

#[test]
fn no_change_of_a_seed_breaches_a_law_of_the_exchanges_answers() {
    look_for_a_breach("answer", answer::check);
}

#[test]
fn no_change_of_a_seed_breaches_a_law_of_exchange_addresses() {
    look_for_a_breach("exchange_address", exchange_address::check);
}

#[test]
fn no_change_of_a_seed_breaches_a_law_of_clients_requests() {
    look_for_a_breach("exec_info", exec_info::check);
}

#[test]
fn no_change_of_a_seed_breaches_a_law_of_cache_files() {
    look_for_a_breach("token_cache", token_cache::check);
}
