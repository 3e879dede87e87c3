//! Changed seeds: inputs as a careless hand or a hostile one makes them of the committed ones.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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
            " ", "\t", "\n", "\r", "\0", "=", "_", "\u{202e}", "ssh-rsa ", "no-pty ", "sha256:", "{", "]",
            "\"", ",", "1e999", "@", "#", "://", "kpk_"
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
    // The laws of two crates are looked at, which lie at different depths.
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder =
        roots.map(|root| root.join("fuzz/seeds")).find(|folder| folder.is_dir()).expect("seeds").join(target);
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// Runs `check` on every seed, whose name tells the verdict, and on changed ones.
pub(crate) fn look_for_a_breach(target: &str, check: impl Fn(&[u8]) -> bool) {
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
    assert!(accepted.get() > 0, "some changes leave what is accepted");
}
