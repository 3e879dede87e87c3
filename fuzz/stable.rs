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

#[path = "src/key_format.rs"]
mod key_format;
#[path = "src/ssh_public_key.rs"]
mod ssh_public_key;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

/// A change as a careless hand or a hostile one makes it.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// The start of this seed, then the rest of another.
    Cross(Index, Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let len = bytes.len();
        // One place more than there are bytes: something may be added at the end.
        let at = |index: &Index| index.index(len + 1);
        match self {
            Self::Flip(index, bit) => {
                bytes.iter_mut().skip(at(index)).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Self::Set(index, by) => bytes.iter_mut().skip(at(index)).take(1).for_each(|byte| *byte = *by),
            Self::Insert(index, more) => drop(bytes.splice(at(index)..at(index), more.iter().copied())),
            Self::Remove(index, count) => drop(bytes.drain(at(index)..len.min(at(index) + count))),
            Self::Cross(index, other) => {
                bytes.truncate(at(index));
                bytes.extend(other.get(seeds).iter().skip(at(index)));
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let more = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        prop::sample::select(vec![
            " ", "\t", "\n", "\r", "\0", "=", "_", "\u{202e}", "ssh-rsa ", "no-pty ", "sha256:"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, by)| Change::Set(at, by)),
        (any::<Index>(), more).prop_map(|(at, more)| Change::Insert(at, more)),
        (any::<Index>(), 1..20_usize).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, other)| Change::Cross(at, other)),
    ]
}

/// The committed seeds of a target, by name.
fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// Runs `check` on every seed, whose name tells the verdict, and on changed ones.
fn look_for_a_breach(target: &str, check: impl Fn(&[u8]) -> bool) {
    let seeds = seeds(target);
    assert!(seeds.len() >= 10, "the seeds are there");
    for (name, seed) in &seeds {
        assert_eq!(check(seed), name.starts_with("accepted-"), "{name}");
    }
    let seeds: Vec<_> = seeds.into_values().collect();
    let default = ProptestConfig::default();
    let config = ProptestConfig {
        cases: default.cases * 32,
        // Each step of making a breach small prints it.
        max_shrink_iters: 256,
        failure_persistence: None,
        ..default
    };
    let cases = config.cases;
    let accepted = Cell::new(0_u32);
    let changed = (any::<Index>(), prop::collection::vec(changes(), 1..4)).prop_map(|(seed, changes)| {
        let mut bytes = seed.get(&seeds).clone();
        for change in &changes {
            change.apply(&mut bytes, &seeds);
        }
        bytes
    });
    let outcome = TestRunner::new(config).run(&changed, |bytes| {
        accepted.set(accepted.get() + u32::from(check(&bytes)));
        Ok(())
    });
    if let Err(breach) = outcome {
        panic!("{breach}");
    }
    println!("{target}: {cases} changed seeds, {} of them accepted", accepted.get());
    assert!(accepted.get() > 0, "some changes leave a key");
}

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
