//! Which SSH keys stand: the same winners in any order of events, never more than the limit, one default.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::limits::ssh_key_limit;
use keyplane_core::readiness::Status;
use keyplane_core::ssh_key::{SshKeyFacts, Verdict, verdicts};
use keyplane_crds::{SshKey, SshKeySpec};
use proptest::prelude::*;

use crate::driver::converge;
use crate::model::Cluster;
use crate::observe::{account_of, facts_of, fingerprint, rivals};
use crate::operations::{DISTINCT, any_operation, history};
use crate::specs;

const HOMES: [&str; 3] = ["a", "b", "c"];

/// Keys of three accounts, many of one second, many with the same public key, in any order.
fn registrations() -> impl Strategy<Value = Vec<SshKeyFacts>> {
    let one = (0..3_usize, 0..specs::PUBLIC_KEYS, 0..4_i64, any::<bool>(), prop::bool::weighted(0.15));
    let by_uid = prop::collection::btree_map(any::<u16>(), one, 0..12);
    by_uid
        .prop_map(|by_uid| by_uid.into_iter().map(|(uid, made)| registration(uid, made)).collect::<Vec<_>>())
        .prop_shuffle()
}

fn registration(
    uid: u16,
    (home, key, created, default, is_deleting): (usize, usize, i64, bool, bool),
) -> SshKeyFacts {
    let time = |seconds| Time(Timestamp::from_second(seconds).unwrap());
    facts_of(&SshKey {
        metadata: ObjectMeta {
            namespace: Some(HOMES[home].to_owned()),
            uid: Some(format!("{uid:04x}")),
            creation_timestamp: Some(time(created)),
            deletion_timestamp: is_deleting.then(|| time(9)),
            ..ObjectMeta::default()
        },
        spec: SshKeySpec { display_name: None, public_key: specs::public_key(key), default: Some(default) },
        status: None,
    })
}

/// The live keys with their verdicts, each account decided about on its own, oldest first.
fn decided(all: &[SshKeyFacts], limit: u32) -> Vec<(&SshKeyFacts, Verdict)> {
    let by_home = HOMES.map(|home| (home, verdicts(home, &rivals(all, home), limit)));
    let verdict = |facts: &SshKeyFacts| {
        let (_, verdicts) = by_home.iter().find(|(home, _)| *home == facts.home).unwrap();
        verdicts[facts.seniority.uid()]
    };
    let live = all.iter().filter(|facts| !facts.is_deleting);
    let mut decided: Vec<_> = live.map(|facts| (facts, verdict(facts))).collect();
    decided.sort_by(|(left, _), (right, _)| left.seniority.cmp(&right.seniority));
    decided
}

/// The keys of an account that stand, oldest first, and whether each is the default.
fn standing<'a>(decided: &[(&'a SshKeyFacts, Verdict)], home: &str) -> Vec<(&'a SshKeyFacts, bool)> {
    let stands = |(facts, verdict): &(&'a SshKeyFacts, Verdict)| match verdict {
        Verdict::Registered { default } if facts.home == home => Some((*facts, *default)),
        _ => None,
    };
    decided.iter().filter_map(stands).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_order_repetition_and_surplus_of_rivals_change_nothing(
        all in registrations(),
        limit in 0..5_u32,
        turn in any::<prop::sample::Index>(),
    ) {
        for home in HOMES {
            let some = rivals(&all, home);
            let expected = verdicts(home, &some, limit);
            prop_assert_eq!(&verdicts(home, &all, limit), &expected);
            prop_assert_eq!(&verdicts(home, some.iter().chain(&some), limit), &expected);
            let mut turned = some;
            turned.reverse();
            let middle = turn.index(turned.len() + 1);
            turned.rotate_left(middle);
            prop_assert_eq!(&verdicts(home, &turned, limit), &expected);
        }
    }

    #[test]
    fn exactly_the_live_keys_of_the_account_are_decided_about(all in registrations(), limit in 0..5_u32) {
        for home in HOMES {
            let live = all.iter().filter(|facts| facts.home == home && !facts.is_deleting);
            let mut expected: Vec<&str> = live.map(|facts| facts.seniority.uid()).collect();
            expected.sort_unstable();
            let verdicts = verdicts(home, &all, limit);
            prop_assert_eq!(verdicts.keys().map(String::as_str).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn never_more_than_the_limit_stand_and_the_oldest_do(all in registrations(), limit in 0..5_u32) {
        let decided = decided(&all, limit);
        for home in HOMES {
            let standing = standing(&decided, home);
            prop_assert!(standing.len() <= limit as usize);
            let is_beyond = |(facts, verdict): &&(&SshKeyFacts, Verdict)| {
                facts.home == home && *verdict == Verdict::LimitReached
            };
            for (facts, _) in decided.iter().filter(is_beyond) {
                prop_assert_eq!(standing.len(), limit as usize);
                prop_assert!(standing.iter().all(|(other, _)| other.seniority < facts.seniority));
            }
        }
    }

    #[test]
    fn of_one_public_key_the_oldest_alone_is_no_duplicate(all in registrations(), limit in 0..5_u32) {
        let decided = decided(&all, limit);
        let mut oldest: BTreeMap<&str, &SshKeyFacts> = BTreeMap::new();
        for (facts, _) in decided.iter().rev() {
            oldest.extend(fingerprint(facts).map(|text| (text, *facts)));
        }
        for (facts, verdict) in decided {
            match fingerprint(facts) {
                None => prop_assert_eq!(verdict, Verdict::Invalid),
                Some(text) => {
                    let is_oldest = oldest[text].seniority == facts.seniority;
                    prop_assert_eq!(verdict == Verdict::Duplicate, !is_oldest);
                    prop_assert_ne!(verdict, Verdict::Invalid);
                }
            }
        }
    }

    #[test]
    fn an_account_with_a_standing_key_has_exactly_one_default_the_oldest_that_asks_or_the_oldest(
        all in registrations(),
        limit in 0..5_u32,
    ) {
        let decided = decided(&all, limit);
        for home in HOMES {
            let standing = standing(&decided, home);
            let asking = standing.iter().position(|(facts, _)| facts.asks_for_default);
            let expected = asking.or((!standing.is_empty()).then_some(0));
            let defaults = standing.iter().enumerate().filter(|(_, (_, default))| *default).map(|(at, _)| at);
            prop_assert_eq!(defaults.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_younger_registration_takes_no_older_one_its_place(all in registrations(), limit in 0..5_u32) {
        let mut before = all.clone();
        before.sort_by(|left, right| left.seniority.cmp(&right.seniority));
        let Some(youngest) = before.pop() else { return Ok(()) };
        let stands = |verdict: &Verdict| matches!(verdict, Verdict::Registered { .. });
        let stood = |decided: &[(&SshKeyFacts, Verdict)]| -> Vec<(String, bool)> {
            let uid = |facts: &SshKeyFacts| facts.seniority.uid().to_owned();
            let older = decided.iter().filter(|(facts, _)| facts.seniority != youngest.seniority);
            older.map(|(facts, verdict)| (uid(facts), stands(verdict))).collect()
        };
        prop_assert_eq!(stood(&decided(&before, limit)), stood(&decided(&all, limit)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn after_any_order_of_creations_and_deletions_the_statuses_say_what_stands(
        steps in history(any_operation()),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            step.apply(&mut cluster, DISTINCT);
        }
        converge(&mut cluster, seed);
        let all: Vec<SshKeyFacts> = cluster.ssh_keys.values().map(facts_of).collect();
        for key in cluster.ssh_keys.values() {
            let status = key.status.as_ref().unwrap();
            let home = key.metadata.namespace.as_deref().unwrap();
            let expected = account_of(&cluster, home).map(|account| {
                verdicts(home, &all, ssh_key_limit(&account))[key.metadata.uid.as_deref().unwrap()]
            });
            let said = (status.is_ready_at(key.metadata.generation), status.default);
            prop_assert_eq!(said, match expected {
                Some(Verdict::Registered { default }) => (true, default),
                _ => (false, false),
            });
        }
    }
}
