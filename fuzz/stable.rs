//! The fuzzed laws on a stable compiler: on every seed, and on a bounded number of changed ones.
//!
//! `PROPTEST_CASES=100000 cargo test -p keyplane-core --test fuzzed_laws` looks longer; libFuzzer, which is guided by
//! what the code does, looks better: see CONTRIBUTING.md. An input that breaches a law belongs into `fuzz/seeds`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells how much it did"
)]

#[path = "changed_seeds.rs"]
mod changed_seeds;
#[path = "src/key_format.rs"]
mod key_format;
#[path = "src/ssh_public_key.rs"]
mod ssh_public_key;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use changed_seeds::look_for_a_breach;

#[test]
fn no_change_of_a_seed_breaches_a_law_of_ssh_public_keys() {
    let lines = RefCell::new(BTreeMap::new());
    look_for_a_breach("ssh_public_key", |bytes| {
        let keys = ssh_public_key::check(bytes);
        let is_accepted = !keys.is_empty();
        lines
            .borrow_mut()
            .extend(keys.into_iter().map(|key| (key.canonical(), key.fingerprint().to_owned())));
        is_accepted
    });
    is_listed_by_ssh_keygen(lines.into_inner());
}

/// ssh-keygen lists every key that was accepted, with the fingerprint that we give it.
fn is_listed_by_ssh_keygen(mut keys: BTreeMap<String, String>) {
    let known = Command::new("ssh").args(["-Q", "key"]).output().expect("install openssh-client");
    if !String::from_utf8(known.stdout).unwrap().lines().any(|name| name == "ssh-dss") {
        keys.retain(|line, _| !line.starts_with("ssh-dss"));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, keys.keys().flat_map(|line| [line, "\n"]).collect::<String>()).unwrap();
    let listed = Command::new("ssh-keygen").args(["-l", "-E", "sha256", "-f"]).arg(&file).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed: Vec<_> = listed.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(listed, keys.values().collect::<Vec<_>>());
    println!("ssh-keygen lists all {} different keys that were accepted", keys.len());
}

#[test]
fn no_change_of_a_seed_breaches_a_law_of_api_keys() {
    look_for_a_breach("key_format", key_format::check);
}
