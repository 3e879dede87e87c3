//! Slots that nobody uses any more are removed, and nothing else.

use std::collections::BTreeSet;
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_core::key_format::KeyDigest;
use keyplane_credential_plugin::exchange::address::{BaseUrl, ExchangeAddress, Trust};
use keyplane_credential_plugin::token::BearerToken;
use keyplane_credential_plugin::token::cache::{Slot, TokenCache};
use keyplane_credential_plugin::token::dead_slots;
use keyplane_credential_plugin::token::life::TokenLife;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::parallel::{Starts, outputs, token};
use crate::stage::{Stage, credential, files_in, new_key, set_mode};
use crate::stand_in::{StandIn, now};

const ENDINGS: [&str; 4] = ["handed", "failed", "lock", "lock2"];

fn slot(key: usize) -> Slot {
    let exchange = ExchangeAddress::new(BaseUrl::parse("https://exchange.example").unwrap(), Trust::Platform);
    Slot::of(&exchange, KeyDigest::of(key.to_string().as_bytes()), None)
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    set_mode(folder.path(), 0o700);
    folder
}

/// Writes a private file, last written this long ago.
fn file(path: &Path, content: &str, age: Duration) {
    fs::write(path, content).unwrap();
    set_mode(path, 0o600);
    fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

/// Fills a slot whose token ended at this time, with what stands beside it.
fn fill(folder: &Path, slot: &Slot, ended: DateTime<Utc>) {
    let asked = ended - TimeDelta::minutes(10);
    let life = TokenLife::of_answer(asked, None, ended);
    TokenCache::new(folder.to_owned(), slot.clone())
        .write(&BearerToken::new("a.token".to_owned()).unwrap(), life);
    for ending in ENDINGS {
        file(&slot.file(folder, ending), "", Duration::ZERO);
    }
}

fn is_gone(folder: &Path, slot: &Slot) -> bool {
    files_in(folder).iter().all(|path| !path.file_name().unwrap().to_str().unwrap().starts_with(slot.name()))
}

fn long_ago() -> DateTime<Utc> {
    now() - TimeDelta::days(2)
}

#[test]
fn a_start_that_gets_a_token_removes_the_slot_of_a_key_that_was_rotated_long_ago() {
    let (mut stage, exchange) =
        (Stage::new(), StandIn::tls(|count| token(&format!("token-{count}"), TimeDelta::minutes(10))));
    credential(&stage.get_token(&exchange).output().unwrap());
    let old = stage.cache_file();
    stage.edit_cached("json", |entry| {
        let life = entry["life"].as_object_mut().unwrap();
        life.insert("obtainedAt".to_owned(), (long_ago() - TimeDelta::minutes(10)).to_rfc3339().into());
        life.insert("expiresAt".to_owned(), long_ago().to_rfc3339().into());
    });
    stage.key = new_key();
    credential(&stage.get_token(&exchange).output().unwrap());
    assert!(!old.exists() && !old.with_extension("lock").exists(), "{:?}", files_in(&stage.cache_folder()));
    let kept = files_in(&stage.cache_folder());
    // A warm start looks at no other slot.
    fill(&stage.cache_folder(), &slot(1), long_ago());
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(files_in(&stage.cache_folder()).len(), kept.len() + 5);
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn a_dead_slot_whose_lock_is_held_stays() {
    for ending in ["lock", "lock2"] {
        let folder = folder();
        fill(folder.path(), &slot(1), long_ago());
        let held = fs::File::open(slot(1).file(folder.path(), ending)).unwrap();
        held.lock().unwrap();
        dead_slots::remove(folder.path(), &slot(0), now());
        assert_eq!(files_in(folder.path()).len(), 5);
        held.unlock().unwrap();
        dead_slots::remove(folder.path(), &slot(0), now());
        assert!(is_gone(folder.path(), &slot(1)));
    }
}

#[test]
fn what_is_not_certainly_a_dead_slot_stays() {
    let folder = folder();
    let place = |name: &str| folder.path().join(name);
    let old = Duration::from_hours(72);
    let name = slot(1).name().to_owned();
    for other in [
        "notes.json",
        "0123456789abcdef-01.lock",
        &format!("{}.key-command", &name[17..]),
        &format!("{name}.command-lock"),
        &format!("{name}.json.aside"),
        &format!("{}.lock", name.to_uppercase()),
        &format!("x{name}.lock"),
    ] {
        file(&place(other), "", old);
    }
    // The token's file is damaged, another slot's, or a link.
    file(&slot(2).file(folder.path(), "json"), "{}", old);
    fill(folder.path(), &slot(3), long_ago());
    fs::rename(slot(3).file(folder.path(), "json"), slot(4).file(folder.path(), "json")).unwrap();
    #[cfg(unix)]
    {
        fill(folder.path(), &slot(5), long_ago());
        let elsewhere = place("precious");
        fs::rename(slot(5).file(folder.path(), "json"), &elsewhere).unwrap();
        symlink(&elsewhere, slot(5).file(folder.path(), "json")).unwrap();
    }
    let before: BTreeSet<_> = files_in(folder.path()).into_iter().collect();
    for _ in 0..20 {
        dead_slots::remove(folder.path(), &slot(0), now());
    }
    assert_eq!(files_in(folder.path()).into_iter().collect::<BTreeSet<_>>(), before);
}

#[test]
fn many_other_files_hide_no_dead_slot() {
    let folder = folder();
    for command in 0..700 {
        for ending in ["command-lock", "command-lock2", "command-failed"] {
            file(&slot(1000 + command).file(folder.path(), ending), "", Duration::ZERO);
        }
    }
    for dead in 1..=8 {
        fill(folder.path(), &slot(dead), long_ago());
    }
    dead_slots::remove(folder.path(), &slot(0), now());
    assert_eq!(files_in(folder.path()).len(), 2100, "the eight are gone, and nothing else is");
}

#[test]
fn what_logout_left_of_a_slot_is_removed_when_it_is_old() {
    let folder = folder();
    for (at, age) in [(1, 2), (2, 0)] {
        file(&slot(at).file(folder.path(), "lock"), "", Duration::from_hours(age * 24));
    }
    dead_slots::remove(folder.path(), &slot(0), now());
    assert!(is_gone(folder.path(), &slot(1)) && !is_gone(folder.path(), &slot(2)));
}

#[test]
fn what_a_killed_start_began_to_write_is_removed_and_what_may_be_written_now_is_not() {
    let folder = folder();
    let place = |name: &str| folder.path().join(name);
    let old = Duration::from_mins(3);
    let left = place(".keyplane-Ab3dE9fG7hI1.begun");
    file(&left, "a token", old);
    // Names that people give, and such as nobody gives.
    let others = [
        ".keyplane-laptop",
        ".keyplane-productive00",
        ".keyplane-Ab3dE9fG7hI.begun",
        ".keyplane-Ab3dE9fG7hI1x.begun",
        ".keyplane-Ab3dE9fG7h.1.begun",
        "keyplane-Ab3dE9fG7hI1.begun",
        "x.keyplane-Ab3dE9fG7hI1.begun",
    ];
    for other in others {
        file(&place(other), "", old);
    }
    file(&place(".keyplane-writesnow123.begun"), "", Duration::from_mins(1));
    fs::create_dir(place(".keyplane-folder123456.begun")).unwrap();
    #[cfg(unix)]
    {
        file(&place(".keyplane-public123456.begun"), "", old);
        set_mode(&place(".keyplane-public123456.begun"), 0o644);
        symlink(place(".keyplane-laptop"), place(".keyplane-linked123456.begun")).unwrap();
    }
    let before: BTreeSet<_> = files_in(folder.path()).into_iter().collect();
    dead_slots::remove(folder.path(), &slot(0), now());
    let after: BTreeSet<_> = files_in(folder.path()).into_iter().collect();
    assert_eq!(before.difference(&after).collect::<Vec<_>>(), [&left]);
}

#[test]
fn starts_of_a_slot_that_is_removed_at_the_same_time_all_get_a_token() {
    let (stage, exchange) =
        (Stage::new(), StandIn::tls(|count| token(&format!("token-{count}"), TimeDelta::minutes(10))));
    credential(&stage.get_token(&exchange).output().unwrap());
    let place = stage.cache_file();
    let mine = Slot::parse(place.file_stem().unwrap().to_str().unwrap()).unwrap();
    let folder = stage.cache_folder();
    let starts = Starts::new(&stage, &exchange, &[]);
    thread::scope(|scope| {
        let running: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..5 {
                        credential(&outputs(vec![starts.start()])[0]);
                    }
                })
            })
            .collect();
        while running.iter().any(|starts| !starts.is_finished()) {
            // As dead as it will be for a start whose clock is two days ahead.
            dead_slots::remove(&folder, &slot(0), now() + TimeDelta::days(2));
            thread::yield_now();
        }
    });
    credential(&stage.get_token(&exchange).output().unwrap());
    assert!(mine.file(&folder, "json").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn those_and_only_those_that_ended_over_a_day_ago_are_removed_at_last(
        ages in proptest::collection::vec(-10_000_i64..400_000, 1..12),
        used: prop::sample::Index,
    ) {
        let (folder, now) = (folder(), crate::stand_in::now());
        let used = used.index(ages.len());
        for (at, age) in ages.iter().enumerate() {
            fill(folder.path(), &slot(at), now - TimeDelta::seconds(*age));
        }
        // Each time it looks at a few, from anywhere on.
        for step in 0..100 {
            dead_slots::remove(folder.path(), &slot(used), now + TimeDelta::nanoseconds(step));
        }
        for (at, age) in ages.iter().enumerate() {
            let gone = at != used && TimeDelta::seconds(*age) > dead_slots::DEAD_FOR;
            prop_assert_eq!(is_gone(folder.path(), &slot(at)), gone, "{} of {:?}", at, &ages);
        }
    }
}
