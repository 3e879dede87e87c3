//! Which SSH keys stand: the same winners in any order of events, never more than the limit, one default.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::account::ssh_key_limit;
use keyplane_core::readiness::Status;
use keyplane_core::ssh_key::{SshKeyFacts, Verdict, verdict};
use keyplane_crds::{SshKey, SshKeySpec};
use proptest::prelude::*;

use crate::driver::converge;
use crate::model::Cluster;
use crate::observe::{account_of, facts_of};
use crate::operations::{DISTINCT, any_operation, history};
use crate::specs;

const HOMES: [&str; 3] = ["a", "b", "c"];

/// Keys of three accounts, many of one second, many with the same public key.
fn registrations() -> impl Strategy<Value = Vec<SshKeyFacts>> {
    let one = (
        0..3_usize,
        0..specs::PUBLIC_KEYS,
        0..4_i64,
        any::<bool>(),
        prop::bool::weighted(0.15),
    );
    prop::collection::btree_map(any::<u16>(), one, 0..12).prop_map(|by_uid| {
        by_uid
            .into_iter()
            .map(|(uid, (home, key, created, default, is_deleting))| {
                let time = |seconds| Time(Timestamp::from_second(seconds).unwrap());
                facts_of(&SshKey {
                    metadata: ObjectMeta {
                        namespace: Some(HOMES[home].to_owned()),
                        uid: Some(format!("{uid:04x}")),
                        creation_timestamp: Some(time(created)),
                        deletion_timestamp: is_deleting.then(|| time(9)),
                        ..ObjectMeta::default()
                    },
                    spec: SshKeySpec {
                        public_key: specs::public_key(key),
                        default: Some(default),
                    },
                    status: None,
                })
            })
            .collect()
    })
}

fn fingerprint(facts: &SshKeyFacts) -> Option<&str> {
    facts
        .key
        .as_ref()
        .ok()
        .map(keyplane_core::ssh_public_key::SshPublicKey::fingerprint)
}

/// The rivals that the controller gathers: the account's keys, and all that share a fingerprint with one of them.
fn rivals(all: &[SshKeyFacts], home: &str) -> Vec<SshKeyFacts> {
    let own: BTreeSet<_> = all
        .iter()
        .filter(|facts| facts.home == home)
        .filter_map(fingerprint)
        .collect();
    all.iter()
        .filter(|facts| facts.home == home || fingerprint(facts).is_some_and(|text| own.contains(text)))
        .cloned()
        .collect()
}

/// The live keys with their verdicts.
fn verdicts(all: &[SshKeyFacts], limit: u32) -> Vec<(&SshKeyFacts, Verdict)> {
    all.iter()
        .filter(|facts| !facts.is_deleting)
        .map(|facts| (facts, verdict(facts, &rivals(all, &facts.home), limit)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_order_of_rivals_and_rivals_that_do_not_matter_change_nothing(
        all in registrations(),
        shuffled in registrations().prop_shuffle(),
        limit in 0..5_u32,
        turn in any::<usize>(),
    ) {
        for (facts, expected) in verdicts(&all, limit) {
            let mut some = rivals(&all, &facts.home);
            some.reverse();
            let middle = turn % some.len();
            some.rotate_left(middle);
            prop_assert_eq!(&verdict(facts, &some, limit), &expected);
            some.retain(|rival| rival.seniority != facts.seniority);
            prop_assert_eq!(&verdict(facts, &some, limit), &expected);
            prop_assert_eq!(&verdict(facts, &all, limit), &expected);
        }
        let mut sorted = shuffled.clone();
        sorted.sort_by(|left, right| left.seniority.cmp(&right.seniority));
        for (facts, expected) in verdicts(&shuffled, limit) {
            prop_assert_eq!(verdict(facts, &sorted, limit), expected);
        }
    }

    #[test]
    fn never_more_than_the_limit_stand_and_the_oldest_do(all in registrations(), limit in 0..5_u32) {
        let verdicts = verdicts(&all, limit);
        for home in HOMES {
            let of_home = |wanted: fn(&Verdict) -> bool| -> Vec<&SshKeyFacts> {
                verdicts.iter().filter(|(facts, verdict)| facts.home == home && wanted(verdict)).map(|(facts, _)| *facts).collect()
            };
            let standing = of_home(|verdict| matches!(verdict, Verdict::Registered { .. }));
            let beyond = of_home(|verdict| *verdict == Verdict::LimitReached);
            prop_assert!(standing.len() <= limit as usize);
            for facts in beyond {
                prop_assert_eq!(standing.len(), limit as usize);
                prop_assert!(standing.iter().all(|other| other.seniority < facts.seniority));
            }
        }
    }

    #[test]
    fn of_one_public_key_the_oldest_alone_is_no_duplicate(all in registrations(), limit in 0..5_u32) {
        let mut oldest: BTreeMap<&str, &SshKeyFacts> = BTreeMap::new();
        for facts in all.iter().filter(|facts| !facts.is_deleting) {
            let Some(text) = fingerprint(facts) else { continue };
            let known = oldest.entry(text).or_insert(facts);
            if facts.seniority < known.seniority {
                *known = facts;
            }
        }
        for (facts, verdict) in verdicts(&all, limit) {
            match fingerprint(facts) {
                None => prop_assert_eq!(verdict, Verdict::Invalid),
                Some(text) => {
                    prop_assert_eq!(verdict == Verdict::Duplicate, oldest[text].seniority != facts.seniority);
                }
            }
        }
    }

    #[test]
    fn an_account_with_a_standing_key_has_exactly_one_default(all in registrations(), limit in 0..5_u32) {
        let verdicts = verdicts(&all, limit);
        for home in HOMES {
            let mut standing: Vec<(&SshKeyFacts, bool)> = verdicts
                .iter()
                .filter(|(facts, _)| facts.home == home)
                .filter_map(|(facts, verdict)| match verdict {
                    Verdict::Registered { default } => Some((*facts, *default)),
                    _ => None,
                })
                .collect();
            standing.sort_by(|(left, _), (right, _)| left.seniority.cmp(&right.seniority));
            let asking = standing.iter().position(|(facts, _)| facts.asks_for_default);
            let expected = asking.or((!standing.is_empty()).then_some(0));
            let defaults: Vec<usize> =
                standing.iter().enumerate().filter(|(_, (_, default))| *default).map(|(at, _)| at).collect();
            prop_assert_eq!(defaults, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_younger_registration_takes_no_older_one_its_place(all in registrations(), limit in 0..5_u32) {
        let Some(youngest) = all.iter().max_by(|left, right| left.seniority.cmp(&right.seniority)) else { return Ok(()) };
        let before: Vec<SshKeyFacts> =
            all.iter().filter(|facts| facts.seniority != youngest.seniority).cloned().collect();
        for (facts, verdict) in verdicts(&before, limit) {
            let with_it = verdicts(&all, limit);
            let (_, after) = with_it.iter().find(|(other, _)| other.seniority == facts.seniority).unwrap();
            let stands = |verdict: &Verdict| matches!(verdict, Verdict::Registered { .. });
            prop_assert_eq!(stands(after), stands(&verdict));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn after_any_history_the_statuses_say_so(steps in history(any_operation()), seed in any::<u64>()) {
        let mut cluster = Cluster::new();
        for step in &steps {
            step.apply(&mut cluster, DISTINCT);
        }
        converge(&mut cluster, seed);
        let all: Vec<SshKeyFacts> = cluster.ssh_keys.values().map(facts_of).collect();
        for key in cluster.ssh_keys.values() {
            let status = key.status.as_ref().unwrap();
            let home = key.metadata.namespace.as_deref().unwrap();
            let expected = account_of(&cluster, home)
                .map_or(Verdict::Invalid, |account| verdict(&facts_of(key), &all, ssh_key_limit(&account)));
            prop_assert_eq!(
                (status.is_ready_at(key.metadata.generation), status.default),
                match expected {
                    Verdict::Registered { default } => (true, default),
                    _ => (false, false),
                }
            );
        }
    }
}
