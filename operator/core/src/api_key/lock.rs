//! When uses from addresses outside its list lock a key, and when the lock ends.
//!
//! A denied use is written into the key's status, by whichever replica refused it, and only on top of the status that
//! was read (compare-and-swap). What is decided here is decided from that status alone, so that replicas and restarts
//! make no difference. Nor does the order in which denials are written, as long as none comes so late that newer ones
//! have taken its place in the list: with `n` denials locking a key, it may be overtaken by `MAX_EVENTS + 1 - n`.

use std::cmp::Reverse;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use keyplane_crds::{ApiKey, ApiKeyStatus, Lock, SecurityEvent};

/// The reason of an event that tells of a use from an address outside the key's list, and of the lock that follows.
pub const ADDRESS_DENIED: &str = "AddressDenied";
/// The reason of an event that tells of uses from such an address while the key was locked.
pub const LOCKED: &str = "Locked";
/// How many events a status keeps: the newest.
pub const MAX_EVENTS: usize = 20;

/// What an event calls the address of a client behind a proxy that did not tell it.
pub(super) const UNKNOWN_ADDRESS: &str = "unknown";

/// How many denied uses lock a key, and how close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockPolicy {
    /// How many; from 1 to [`MAX_EVENTS`], because no more are kept.
    pub denials: u32,
    /// Within how many seconds; two that lie exactly as far apart are within.
    pub window_seconds: u32,
}

/// A use of a key, whose secret was right, from an address outside the key's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When.
    pub time: DateTime<Utc>,
    /// From where; `None` when the address is unknown.
    pub address: Option<IpAddr>,
}

/// What a key's status says after a denied use.
#[derive(Clone, Debug, PartialEq)]
pub struct AfterDenial {
    /// `status.securityEvents`.
    pub security_events: Vec<SecurityEvent>,
    /// The lock that holds now: the one that held before, or a new one. `None` when the key is not locked; a lifted
    /// lock that the status may still show is not this one's to clear.
    pub lock: Option<Lock>,
}

/// The lock that holds at `now`: it stands in the status, and no `spec.unlockedAt` has lifted it.
#[must_use]
pub fn lock_of(key: &ApiKey, now: DateTime<Utc>) -> Option<&Lock> {
    holding(key.status.as_ref()?, key.spec.unlocked_at, now)
}

/// When the lock that holds at `now` will be lifted, where `spec.unlockedAt` names a moment to come.
#[must_use]
pub fn lifted_at(key: &ApiKey, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let lock = lock_of(key, now)?;
    key.spec.unlocked_at.filter(|unlocked_at| *unlocked_at > lock.locked_at)
}

/// What the status says after the denied use.
///
/// Each denial counts once for each call: whoever does not know whether a write succeeded looks before writing anew.
/// The key locks when some window of the policy's length has the denial and enough others in it. Only uses after an
/// unlock that is in effect count, and none that came while the key was locked.
#[must_use]
pub fn after_denial(
    status: &ApiKeyStatus,
    unlocked_at: Option<DateTime<Utc>>,
    denial: Denial,
    policy: LockPolicy,
    now: DateTime<Utc>,
) -> AfterDenial {
    let event = SecurityEvent {
        time: in_milliseconds(denial.time),
        reason: ADDRESS_DENIED.to_owned(),
        address: denial
            .address
            .map_or_else(|| UNKNOWN_ADDRESS.to_owned(), |address| address.to_canonical().to_string()),
        count: 1,
    };
    let mut events = status.security_events.clone();
    let lock = if let Some(lock) = holding(status, unlocked_at, now) {
        note_while_locked(&mut events, event);
        Some(lock.clone())
    } else {
        let at = event.time;
        events.push(event);
        let unlocked_at = unlocked_at.filter(|unlocked_at| *unlocked_at <= now);
        lock_for(&events, at, unlocked_at, policy)
    };
    // The newest first; what happened at once is in an order of its own, whoever wrote it first.
    events.sort_by(|a, b| newest_first(a).cmp(&newest_first(b)));
    events.truncate(MAX_EVENTS);
    AfterDenial { security_events: events, lock }
}

fn newest_first(event: &SecurityEvent) -> (Reverse<DateTime<Utc>>, &str, &str, u64) {
    (Reverse(event.time), &event.reason, &event.address, event.count)
}

/// Whether an unlock is in effect that is later than the lock.
#[must_use]
pub fn is_lifted(lock: &Lock, unlocked_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    unlocked_at.is_some_and(|at| at > lock.locked_at && at <= now)
}

fn holding(status: &ApiKeyStatus, unlocked_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<&Lock> {
    status.lock.as_ref().filter(|lock| !is_lifted(lock, unlocked_at, now))
}

/// One event for each address, so that whoever goes on trying from there cannot push out what locked the key.
fn note_while_locked(events: &mut Vec<SecurityEvent>, event: SecurityEvent) {
    let noted = events.iter_mut().find(|noted| noted.reason == LOCKED && noted.address == event.address);
    match noted {
        Some(noted) => {
            noted.count = noted.count.saturating_add(event.count);
            noted.time = noted.time.max(event.time);
        }
        None => events.push(SecurityEvent { reason: LOCKED.to_owned(), ..event }),
    }
}

/// The lock that the denial at `at`, one of the events, brings about.
///
/// It is dated by the newest denial in the window, not by `now`: an unlock between the two is meant for it.
fn lock_for(
    events: &[SecurityEvent],
    at: DateTime<Utc>,
    unlocked_at: Option<DateTime<Utc>>,
    policy: LockPolicy,
) -> Option<Lock> {
    let counted: Vec<&SecurityEvent> = events
        .iter()
        .filter(|event| event.reason == ADDRESS_DENIED && unlocked_at.is_none_or(|since| event.time > since))
        .collect();
    let window_from = |start: DateTime<Utc>| {
        let within = move |time: DateTime<Utc>| {
            let after = time.timestamp_millis().saturating_sub(start.timestamp_millis());
            (0..=i64::from(policy.window_seconds).saturating_mul(1000)).contains(&after)
        };
        counted.iter().copied().filter(move |event| within(event.time))
    };
    let locks = |start: &DateTime<Utc>| {
        let denials = window_from(*start).fold(0_u64, |sum, event| sum.saturating_add(event.count));
        window_from(*start).any(|event| event.time == at) && denials >= u64::from(policy.denials)
    };
    let start = counted.iter().map(|event| event.time).filter(locks).max()?;
    let newest = window_from(start).max_by_key(|event| (event.time, &event.address))?;
    Some(Lock { locked_at: newest.time, reason: ADDRESS_DENIED.to_owned(), address: newest.address.clone() })
}

/// What a status can hold, so that what was written is read back as it was.
fn in_milliseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time)
}
