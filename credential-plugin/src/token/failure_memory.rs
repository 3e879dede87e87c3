//! A failure of the exchange counts for a short time also for other starts: kubectl alone calls the plugin several
//! times where it fails, and a hundred starts that are refused are one refusal.
//!
//! The time grows with each further failure in a row, and stays short: a key that is unlocked works again within
//! seconds. What the exchange says about the key counts for every start; what went wrong on the way to it, or in a key
//! command, only for a start that goes the same [way](crate::token::way) and has no more time. What is wrong with the file
//! in any way, and a clock that was set back, is no failure at all.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::private_file::{self, Durability};
use crate::token::way::Way;

/// How long the first failure counts; each further one in a row counts twice as long.
pub const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(1);
/// How long any failure counts that came without a `Retry-After`.
pub const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(10);
/// How much of a `Retry-After` is respected: whoever waits at a terminal tries again anyway.
pub const LONGEST_ASKED_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// How long after a failure has stopped to count the next one is still one in a row with it.
pub const IN_A_ROW_WITHIN: TimeDelta = TimeDelta::seconds(30);

/// The version of the file's layout: another's files are no failures.
const LAYOUT: u32 = 3;
/// Bytes of the file: three bounded texts and their surroundings.
const FILE_MAX: u64 = 16 * 1024;

/// A failure of the exchange or of a key command, and until when it counts. It holds no key and no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RememberedFailure {
    in_a_row: u32,
    at: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Whether it was met in the short time of an early refresh: then it says nothing to who has more time.
    early: bool,
    /// How the exchange was asked, or the command run.
    way: Way,
    exit_code: u8,
    what: String,
    place: String,
    remedy: String,
}

impl RememberedFailure {
    /// The failure of this `way` as it is remembered after `previous`; none for one that is this start's alone.
    #[must_use]
    pub fn of(
        failure: &Failure,
        early: bool,
        way: Way,
        previous: Option<&Self>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        if !meets_others(failure.kind()) {
            return None;
        }
        let of_this_way = |previous: &&Self| meets_every_way(failure.kind()) || previous.way.leads_as(&way);
        let before = previous
            .filter(|previous| previous.is_in_a_row(now))
            .filter(of_this_way)
            .map_or(0, |previous| previous.in_a_row);
        let in_a_row = before.saturating_add(1);
        let until = now.checked_add_signed(pause(in_a_row, failure.asked_pause()))?;
        let [what, place, remedy] = failure.parts();
        Some(Self {
            in_a_row,
            at: now,
            until,
            early,
            way,
            exit_code: failure.kind().exit_code(),
            what,
            place,
            remedy,
        })
    }

    /// Whether it counts at this time.
    #[must_use]
    pub fn counts(&self, now: DateTime<Utc>) -> bool {
        self.at <= now && now < self.until && self.is_believable()
    }

    /// Whether it counts at this time for a start that goes this way.
    #[must_use]
    pub fn counts_for(&self, way: &Way, now: DateTime<Utc>) -> bool {
        let meets = |kind| meets_every_way(kind) || self.way.covers(way);
        self.counts(now) && self.kind().is_some_and(meets)
    }

    /// The failure to tell a start that has no token at this time, if it counts then and for such a start on this way.
    #[must_use]
    pub fn told_again(&self, way: &Way, now: DateTime<Utc>) -> Option<Failure> {
        if self.early || !self.counts_for(way, now) {
            return None;
        }
        let kind = self.kind()?;
        let ago = now.signed_duration_since(self.at).num_seconds();
        // Rounded up: after that many seconds it is true.
        let left = self.until.signed_duration_since(now).num_milliseconds().div_euclid(1000) + 1;
        let anew = if kind == FailureKind::NoKey { "the key command runs" } else { "the exchange is asked" };
        meets_others(kind).then(|| {
            Failure::new(
                kind,
                &*self.what,
                &*self.place,
                format!("told again from {ago} s ago, {anew} anew in {left} s; {}", self.remedy),
            )
        })
    }

    fn kind(&self) -> Option<FailureKind> {
        FailureKind::ALL.into_iter().find(|kind| kind.exit_code() == self.exit_code)
    }

    fn is_in_a_row(&self, now: DateTime<Utc>) -> bool {
        self.at <= now && now.signed_duration_since(self.until) <= IN_A_ROW_WITHIN && self.is_believable()
    }

    fn is_believable(&self) -> bool {
        self.until.signed_duration_since(self.at) <= LONGEST_ASKED_PAUSE
    }
}

/// How long the n-th failure in a row counts (n from 1), when the exchange asked for this pause.
#[must_use]
pub fn pause(in_a_row: u32, asked: Option<Duration>) -> TimeDelta {
    let doublings = in_a_row.saturating_sub(1).min(8);
    let own = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
    let asked = asked.map(|asked| TimeDelta::from_std(asked).unwrap_or(TimeDelta::MAX));
    asked.map_or(own, |asked| asked.clamp(own, LONGEST_ASKED_PAUSE))
}

/// Whether the exchange, or the way to it, or the key command failed: that meets other starts too. What is wrong with one
/// start's arguments is its own.
const fn meets_others(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Refused
        | FailureKind::Forbidden
        | FailureKind::Unreachable
        | FailureKind::Tls
        | FailureKind::Server
        | FailureKind::Busy
        | FailureKind::ShortLived
        | FailureKind::Locked
        | FailureKind::Expired
        | FailureKind::NoKey => true,
        FailureKind::Local | FailureKind::Usage | FailureKind::File | FailureKind::Kubectl => false,
    }
}

/// Whether the exchange has spoken about the key: what it says is the same on every way.
const fn meets_every_way(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Refused
            | FailureKind::Forbidden
            | FailureKind::Expired
            | FailureKind::Locked
            | FailureKind::ShortLived
    )
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<S, F> {
    layout: u32,
    slot: S,
    failure: F,
}

/// The latest failure of one slot, or of one key command, in a private file of its own.
#[derive(Clone, Debug)]
pub struct FailureMemory {
    path: PathBuf,
    slot: String,
    of_key_command: bool,
}

impl FailureMemory {
    /// The memory of the slot with this name, in this file. Touches nothing yet.
    #[must_use]
    pub fn new(path: PathBuf, slot: String) -> Self {
        Self { path, slot, of_key_command: false }
    }

    /// The memory of a key command that stands for this slot, in this file: of no other failure. Touches nothing yet.
    #[must_use]
    pub fn of_key_command(path: PathBuf, slot: String) -> Self {
        Self { path, slot, of_key_command: true }
    }

    /// The latest failure, whether it counts or not.
    #[must_use]
    pub fn read(&self) -> Option<RememberedFailure> {
        self.parse(&private_file::read_own(&self.path, FILE_MAX).ok()?)
    }

    /// The failure in the bytes of this slot's file. Pure and total.
    #[must_use]
    pub fn parse(&self, bytes: &[u8]) -> Option<RememberedFailure> {
        let entry: Entry<String, RememberedFailure> = serde_json::from_slice(bytes).ok()?;
        let is_mine = entry.layout == LAYOUT && entry.slot == self.slot && self.is_for(entry.failure.kind()?);
        is_mine.then_some(entry.failure)
    }

    /// Remembers a failure, met on this way. Whether that worked matters to nobody: the next start asks the exchange.
    pub fn remember(&self, failure: &Failure, early: bool, way: Way, now: DateTime<Utc>) {
        if !self.is_for(failure.kind()) {
            return;
        }
        let Some(failure) = RememberedFailure::of(failure, early, way, self.read().as_ref(), now) else {
            return;
        };
        let Ok(bytes) = serde_json::to_vec(&Entry { layout: LAYOUT, slot: &self.slot, failure }) else {
            return;
        };
        if private_file::replace(&self.path, &bytes, Durability::Disposable).is_err() {
            private_file::make_way(&self.path);
            let _ = private_file::replace(&self.path, &bytes, Durability::Disposable);
        }
    }

    /// Whether failures of this kind are remembered here.
    fn is_for(&self, kind: FailureKind) -> bool {
        (kind == FailureKind::NoKey) == self.of_key_command
    }

    /// Forgets the failure: the exchange gave a token, or the command a key.
    pub fn clear(&self) {
        // What cannot be removed stops to count by itself.
        let _ = fs::remove_file(&self.path);
    }
}
