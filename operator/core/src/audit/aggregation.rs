//! Repeated failures: the first is written at once, the others of its minute become one line, so that nobody who
//! holds a wrong key can flood the log, and none goes uncounted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, TimeDelta, Utc};

use super::event::{AuditEvent, EventId, Repeated, Source};
use super::refusal::RefusalReason;
use super::subject::Subject;
use crate::client_address::ClientAddress;

/// How far apart the lines of one failure are at least.
pub const INTERVAL: TimeDelta = TimeDelta::seconds(60);
/// How many failures are told apart at a time, half of them with a declared key and half without; further ones are
/// counted together, by reason.
pub const MAXIMUM_FAILURES: usize = 10_000;

/// The bits of an IPv6 address that name a network: whoever has one address has all of it.
const NETWORK_BITS: u128 = !(u64::MAX as u128);

/// Where requests come from that are counted together, and how it was learnt: an IPv4 address, or an IPv6 network of
/// 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Network {
    address: IpAddr,
    source: &'static str,
}

impl Network {
    fn of(client: ClientAddress) -> Self {
        let address = match client.ip.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK_BITS)),
            address @ IpAddr::V4(_) => address,
        };
        Self { address, source: client.source.as_str() }
    }

    /// How its addresses were learnt.
    pub(super) fn source(&self) -> &'static str {
        self.source
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(formatter, "{address}"),
            IpAddr::V6(address) => write!(formatter, "{address}/64"),
        }
    }
}

/// What counts as the same failure: one key or none, one network and one reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    reason: RefusalReason,
    subject: Option<Subject>,
    network: Option<Network>,
}

impl Failure {
    /// The failure of a client, where its address is known, with a key, where one is declared.
    #[must_use]
    pub fn new(reason: RefusalReason, subject: Option<Subject>, client: Option<ClientAddress>) -> Self {
        Self { reason, subject, network: client.map(Network::of) }
    }

    /// What failures of this reason are counted as when there are too many to tell apart.
    fn shared(&self) -> Self {
        Self { reason: self.reason, subject: None, network: None }
    }
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it now.
    Write,
    /// It is counted, and written with others later.
    Counted,
}

/// Failures that were counted, to be written as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregated {
    /// What failed.
    pub failure: Failure,
    /// How often, and since when.
    pub repeated: Repeated,
}

impl Aggregated {
    /// The line's event.
    #[must_use]
    pub fn event(&self, source: Source, id: EventId, now: DateTime<Utc>) -> AuditEvent {
        let Failure { reason, subject, network } = &self.failure;
        AuditEvent::new(reason.code(), source, id, now)
            .about(subject.clone())
            .because(Some(reason.as_str()), None)
            .asked_from_network(network.as_ref())
            .standing_for(self.repeated)
    }
}

/// What is known of one failure since its last line.
#[derive(Debug)]
struct Entry {
    line_at: DateTime<Utc>,
    counted: Option<Repeated>,
}

impl Entry {
    /// Whether the next line may be written. When the clock stepped back, the interval is over too: else it would last
    /// as long as the step.
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        now < self.line_at || now - self.line_at >= INTERVAL
    }

    fn count(&mut self, more: Repeated) {
        let counted = self.counted.get_or_insert(Repeated { count: 0, ..more });
        counted.count = counted.count.saturating_add(more.count);
        counted.since = counted.since.min(more.since);
    }
}

/// Counts failures, and tells when which are to be written.
#[derive(Debug, Default)]
pub struct Aggregator {
    entries: BTreeMap<Failure, Entry>,
    /// How many of them concern a key that somebody declared.
    about_keys: usize,
}

impl Aggregator {
    /// Takes a failure in.
    pub fn observe(&mut self, failure: &Failure, now: DateTime<Utc>) -> Verdict {
        let failure = self.told_apart(failure);
        if let Some(entry) = self.entries.get_mut(&failure) {
            entry.count(Repeated { count: 1, since: now });
            return Verdict::Counted;
        }
        self.about_keys += usize::from(failure.subject.is_some());
        self.entries.insert(failure, Entry { line_at: now, counted: None });
        Verdict::Write
    }

    /// What is to be written now. Failures that did not happen again within their interval are forgotten.
    pub fn due(&mut self, now: DateTime<Utc>) -> Vec<Aggregated> {
        let mut due = Vec::new();
        self.entries.retain(|failure, entry| {
            if !entry.is_due(now) {
                return true;
            }
            let Some(repeated) = entry.counted.take() else { return false };
            entry.line_at = now;
            due.push(Aggregated { failure: failure.clone(), repeated });
            true
        });
        self.about_keys = self.entries.keys().filter(|failure| failure.subject.is_some()).count();
        due
    }

    /// Everything that was counted and not yet written, for the end of a process; forgets all.
    pub fn flush(&mut self) -> Vec<Aggregated> {
        self.about_keys = 0;
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|(failure, entry)| Some(Aggregated { failure, repeated: entry.counted? }))
            .collect()
    }

    /// Counts again what was to be written and could not be.
    pub fn put_back(&mut self, failure: &Failure, repeated: Repeated, now: DateTime<Utc>) {
        let failure = self.told_apart(failure);
        if !self.entries.contains_key(&failure) {
            self.about_keys += usize::from(failure.subject.is_some());
        }
        self.entries.entry(failure).or_insert(Entry { line_at: now, counted: None }).count(repeated);
    }

    /// How many failures are being counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is being counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The failure itself while there is room for it, else the one that is shared.
    fn told_apart(&self, failure: &Failure) -> Failure {
        // Strangers cannot use up the room of what concerns a key that somebody declared: each has half of it.
        let about_keys = self.about_keys;
        let alike = if failure.subject.is_some() {
            about_keys
        } else {
            self.entries.len().saturating_sub(about_keys)
        };
        if alike < MAXIMUM_FAILURES / 2 || self.entries.contains_key(failure) {
            failure.clone()
        } else {
            failure.shared()
        }
    }
}
