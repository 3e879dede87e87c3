//! What a key's record becomes: of any sequence of declarations, deliveries, graces and moments at most two versions
//! verify, what ended stays so, and every digest that was given out ends up remembered.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::api_key::{KeyRecord, VERSIONS_ANNOTATION, Version};
use keyplane_core::child::Child;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Another digest is declared: the next one, or one of those before.
    Declare(usize),
    Make,
    Promote,
    Grace(u32),
    Pass(i64),
    /// What ended is remembered.
    Remember,
    Admit(u32),
}

/// What happens to a key that its holder makes, or to one that Keyplane makes: which of the two is fixed.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let declared = (0..4_usize).prop_map(Step::Declare).boxed();
    let made = prop_oneof![Just(Step::Make), Just(Step::Promote)].boxed();
    prop_oneof![steps_with(declared), steps_with(made)]
}

fn steps_with(rotation: BoxedStrategy<Step>) -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        4 => rotation,
        2 => prop::sample::select(vec![0, 1, 10, 100]).prop_map(Step::Grace),
        4 => (0..60_i64).prop_map(Step::Pass),
        3 => Just(Step::Remember),
        1 => any::<u32>().prop_map(Step::Admit),
    ];
    prop::collection::vec(one, 1..48)
}

fn digest(at: usize) -> String {
    format!("sha256:{at:064x}")
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A record, and what became of all that was ever in it.
struct History {
    record: KeyRecord,
    grace: u32,
    now: DateTime<Utc>,
    digests: usize,
    ever_live: BTreeSet<String>,
    ended: BTreeSet<String>,
    remembered: BTreeSet<String>,
}

impl History {
    fn new() -> Self {
        Self {
            record: KeyRecord::default(),
            grace: 0,
            now: start(),
            digests: 0,
            ever_live: BTreeSet::new(),
            ended: BTreeSet::new(),
            remembered: BTreeSet::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        let before = self.record.clone();
        match step {
            Step::Declare(back) => {
                self.digests += 1;
                let declared = digest(self.digests.saturating_sub(*back));
                // What ended is refused before it is declared.
                if !self.ended.contains(&declared) {
                    self.record = self.record.declaring(&declared, self.grace, self.now);
                }
            }
            Step::Make if self.record.may_rotate() => {
                self.digests += 1;
                let version = Version {
                    number: self.record.next_number(),
                    digest: digest(self.digests),
                    prefix: None,
                    since: self.now,
                    requested_at: None,
                };
                self.record = self.record.with_pending(version);
            }
            Step::Make => {}
            Step::Promote => self.record = self.record.promoted(self.grace, self.now),
            Step::Grace(seconds) => self.grace = *seconds,
            Step::Pass(seconds) => self.now += TimeDelta::seconds(*seconds),
            Step::Remember => self.remembered.extend(self.record.ended.iter().cloned()),
            Step::Admit(limit) => {
                self.record = self.record.admitted(*limit);
                assert!(self.record.admitted_under >= before.admitted_under.max(*limit));
            }
        }
        self.record = self.record.at(self.grace, self.now, |digest| self.remembered.contains(digest));
        assert!(
            self.record.sequence > before.sequence || self.record == before,
            "a change that no copy tells"
        );
        self.look();
    }

    fn look(&mut self) {
        let record = &self.record;
        let verifying: Vec<&String> =
            record.verifying(self.grace, self.now).iter().map(|version| &version.digest).collect();
        let distinct: BTreeSet<&&String> = verifying.iter().collect();
        assert!(verifying.len() <= 2 && distinct.len() == verifying.len(), "{record:#?}");
        assert_eq!(verifying.is_empty(), record.live.is_none());
        assert!(verifying.iter().all(|digest| !self.ended.contains(*digest)), "it ended before: {record:#?}");
        self.ended.extend(record.ended.iter().cloned());
        self.ever_live.extend(verifying.into_iter().cloned());
        for digest in &self.ever_live {
            let is_kept = record.digests().contains(&digest.as_str()) || self.remembered.contains(digest);
            assert!(is_kept, "{digest} is forgotten: {record:#?}");
        }
        if let Some(pending) = &record.pending {
            assert!(record.live.as_ref().is_none_or(|live| live.number < pending.number));
        }
    }
}

fn carried_by(identity: &KeyRecord, anchor: &KeyRecord) -> [Child; 2] {
    let metadata = |record: &KeyRecord| ObjectMeta {
        annotations: Some([(VERSIONS_ANNOTATION.to_owned(), record.to_annotation())].into()),
        ..ObjectMeta::default()
    };
    [
        Child::from(ServiceAccount { metadata: metadata(identity), ..ServiceAccount::default() }),
        Child::from(Secret { metadata: metadata(anchor), ..Secret::default() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn two_versions_at_most_verify_what_ended_stays_so_and_nothing_is_forgotten(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
    }

    #[test]
    fn a_shorter_grace_counts_at_once_and_a_longer_one_prolongs_nothing(
        first in 0..100_u32,
        second in 0..100_u32,
        at in 0..120_i64,
    ) {
        let record = KeyRecord::default().declaring(&digest(1), first, start());
        let record = record.declaring(&digest(2), first, start());
        let now = start() + TimeDelta::seconds(at);
        let verifies = record.verifying(second, now).iter().any(|version| version.digest == digest(1));
        prop_assert_eq!(verifies, at < i64::from(first.min(second)));
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
        let [identity, _] = carried_by(&history.record, &history.record);
        prop_assert_eq!(KeyRecord::of(identity.metadata()), Some(history.record));
    }

    #[test]
    fn of_the_copies_the_newest_counts_and_of_equally_new_ones_the_identitys(
        steps in steps(),
        kept in 0..48_usize,
        is_reversed in any::<bool>(),
    ) {
        let mut history = History::new();
        let mut older = KeyRecord::default();
        for (at, step) in steps.iter().enumerate() {
            history.take(step);
            if at == kept {
                older = history.record.clone();
            }
        }
        for anchor in [older.for_anchor(), history.record.for_anchor()] {
            let mut copies = carried_by(&history.record, &anchor);
            if is_reversed {
                copies.reverse();
            }
            // The anchor's copy lacks what is under way, which must not be lost with it.
            prop_assert_eq!(KeyRecord::among(&copies), Some(history.record.clone()));
        }
        let [_, anchor] = carried_by(&history.record, &history.record.for_anchor());
        let restored = KeyRecord::among(&[anchor]).unwrap();
        prop_assert_eq!(restored.live, history.record.live);
        prop_assert_eq!(restored.previous, history.record.previous);
    }
}
