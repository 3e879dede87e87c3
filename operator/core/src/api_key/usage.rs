//! How often a key was used: what several replicas counted, put together so that nothing is lost and nothing is
//! counted twice.

use std::net::IpAddr;

use chrono::{DateTime, SubsecRound as _, Utc};
use keyplane_crds::Usage;

/// The largest count that a status can hold: its schema has signed integers.
const LARGEST: u64 = i64::MAX.unsigned_abs();

/// One use, as the last of several. Ordered by time first; the rest decides between uses of one millisecond, so that
/// all replicas choose the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LastUse {
    /// When, in whole milliseconds.
    pub at: DateTime<Utc>,
    /// Which version of the key; 0 when it is not known.
    pub version: u32,
    /// From which address, when it is known.
    pub address: Option<IpAddr>,
}

/// Uses of one key: how many, and the last of them. Merging is commutative and associative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uses {
    /// How many.
    pub count: u64,
    /// The last of them.
    pub last: Option<LastUse>,
}

impl Uses {
    /// One use.
    #[must_use]
    pub fn one(at: DateTime<Utc>, version: u32, address: Option<IpAddr>) -> Self {
        Self { count: 1, last: Some(LastUse { at: at.trunc_subsecs(3), version, address }) }
    }

    /// What a status says. An address that is none counts as unknown.
    #[must_use]
    pub fn stored(usage: &Usage) -> Self {
        let last = usage.last_used_at.map(|at| LastUse {
            at,
            version: usage.last_used_version.unwrap_or_default(),
            address: usage.last_used_ip.as_deref().and_then(|text| text.parse().ok()),
        });
        Self { count: usage.count, last }
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.last.is_none()
    }

    /// Both together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { count: sum(self.count, other.count), last: self.last.max(other.last) }
    }

    /// The stored usage with these uses added to it.
    #[must_use]
    pub fn added_to(&self, stored: Option<&Usage>) -> Usage {
        let stored = stored.cloned().unwrap_or_default();
        Usage { count: sum(stored.count, self.count), ..self.last_onto(stored) }
    }

    /// The stored usage, raised to these uses where they are more: for totals that are kept elsewhere.
    #[must_use]
    pub fn at_least(&self, stored: Option<&Usage>) -> Usage {
        let stored = stored.cloned().unwrap_or_default();
        Usage { count: stored.count.max(self.count.min(LARGEST)), ..self.last_onto(stored) }
    }

    /// The stored usage with the last use moved forward, never back.
    fn last_onto(&self, stored: Usage) -> Usage {
        match self.last {
            Some(last) if Some(last) > Self::stored(&stored).last => Usage {
                count: stored.count,
                last_used_at: Some(last.at),
                last_used_ip: last.address.map(|address| address.to_string()),
                last_used_version: (last.version != 0).then_some(last.version),
            },
            _ => stored,
        }
    }
}

fn sum(one: u64, other: u64) -> u64 {
    one.saturating_add(other).min(LARGEST)
}

/// What became of a write whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing was written yet, and the write may still arrive: the same one may be sent again, for only one of
    /// the two can be accepted.
    Open,
    /// It was accepted.
    Committed,
    /// It was not accepted and never will be.
    NotCommitted,
    /// It cannot be told: another replica has counted more since. Taken for accepted, so that no use is ever
    /// counted twice; at worst the count is short by what this write added.
    Doubtful,
}

/// Tells from the usage that is stored now whether a write of `tried` onto `base` was accepted, when another write
/// than that one, or that one itself, has changed the object since. Counts only grow and times only move forward,
/// which is what makes most cases certain.
#[must_use]
pub fn trace(base: Option<&Usage>, tried: &Usage, stored: Option<&Usage>) -> Settled {
    let [before, wanted, now] =
        [base, Some(tried), stored].map(|usage| usage.map(Uses::stored).unwrap_or_default());
    if now.count < wanted.count || now.last < wanted.last {
        Settled::NotCommitted
    } else if now.last == wanted.last && wanted.last > before.last {
        // The last use that this write brought stands there. Nobody else knew of it, unless another replica had one of the
        // same millisecond, version and address; that cannot be told, and is taken for accepted as what is doubtful is.
        // A write that brings no newer last use leaves no such mark: even where all stands as it wanted, another replica
        // may have added as many.
        Settled::Committed
    } else {
        Settled::Doubtful
    }
}
