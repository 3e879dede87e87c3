//! Denied uses of a key that is locked already: they are only counted, one event for each address.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, SubsecRound as _, Utc};
use keyplane_crds::SecurityEvent;

use super::lock::{LOCKED, MAX_EVENTS, UNKNOWN_ADDRESS};

/// Denied uses from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    last: DateTime<Utc>,
    count: u64,
}

/// Denied uses of one locked key by address, of as many addresses as a status keeps events. Merging is commutative;
/// of too many addresses those that were seen longest ago are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedUses(BTreeMap<Option<IpAddr>, Tally>);

impl LockedUses {
    /// One denied use.
    #[must_use]
    pub fn one(at: DateTime<Utc>, address: Option<IpAddr>) -> Self {
        let address = address.map(|address| address.to_canonical());
        Self(BTreeMap::from([(address, Tally { last: at.trunc_subsecs(3), count: 1 })]))
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the other's.
    pub fn merge(&mut self, other: Self) {
        for (address, more) in other.0 {
            let tally = self.0.entry(address).or_insert(Tally { last: more.last, count: 0 });
            tally.last = tally.last.max(more.last);
            tally.count = tally.count.saturating_add(more.count);
        }
        while self.0.len() > MAX_EVENTS {
            let oldest = self.0.iter().min_by_key(|(address, tally)| (tally.last, **address));
            let Some(oldest) = oldest.map(|(address, _)| *address) else { return };
            self.0.remove(&oldest);
        }
    }

    /// The events of a status with these in it: newest first, bounded.
    #[must_use]
    pub fn added_to(&self, stored: &[SecurityEvent]) -> Vec<SecurityEvent> {
        let mut events = stored.to_vec();
        for (address, tally) in &self.0 {
            let address = address.map_or_else(|| UNKNOWN_ADDRESS.to_owned(), |address| address.to_string());
            match events.iter_mut().find(|event| event.reason == LOCKED && event.address == address) {
                Some(event) => {
                    event.count = event.count.saturating_add(tally.count).min(i64::MAX.unsigned_abs());
                    event.time = event.time.max(tally.last);
                }
                None => events.push(SecurityEvent {
                    time: tally.last,
                    reason: LOCKED.to_owned(),
                    address,
                    count: tally.count,
                }),
            }
        }
        events.sort_by(|a, b| {
            let order =
                |event: &SecurityEvent| (Reverse(event.time), event.reason.clone(), event.address.clone());
            order(a).cmp(&order(b))
        });
        events.truncate(MAX_EVENTS);
        events
    }
}
