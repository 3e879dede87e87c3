//! The laws of the lock: enough denied uses close together lock a key, whoever writes them down and in which order;
//! fewer never do; and an unlock forgets what came before it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::api_key::{
    ADDRESS_DENIED, AfterDenial, Denial, LOCKED, LockPolicy, MAX_EVENTS, after_denial, lifted_at, lock_of,
};
use keyplane_crds::{ApiKey, ApiKeySpec, ApiKeyStatus, Lock, SecurityEvent};
use proptest::prelude::*;

fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
}

/// Late enough for every unlock here to be in effect.
fn late() -> DateTime<Utc> {
    moment(10_000_000)
}

fn policies() -> impl Strategy<Value = LockPolicy> {
    let denials = prop_oneof![Just(3_u32), 1..=20_u32];
    (denials, 1..=20_u32).prop_map(|(denials, window_seconds)| LockPolicy { denials, window_seconds })
}

/// Close enough together that every policy locks some and spares some.
fn denials(many: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Denial>> {
    let denial = (0..400_i64, 0..4_u8).prop_map(|(time, address)| Denial {
        time: moment(time * 250),
        address: (address > 0).then(|| IpAddr::V4(Ipv4Addr::new(198, 51, 100, address))),
    });
    prop::collection::vec(denial, many).prop_map(|mut denials| {
        denials.sort_by_key(|denial| (denial.time, std::cmp::Reverse(told(denial))));
        denials
    })
}

fn told(denial: &Denial) -> String {
    denial.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

/// The reference: does any window hold enough of the times?
fn locks(times: impl IntoIterator<Item = DateTime<Utc>>, policy: LockPolicy) -> bool {
    let times: Vec<DateTime<Utc>> = times.into_iter().collect();
    let window = TimeDelta::seconds(policy.window_seconds.into());
    times.iter().any(|start| {
        let within = times.iter().filter(|time| *time >= start && **time - *start <= window).count();
        within >= usize::try_from(policy.denials).unwrap()
    })
}

fn with(status: &ApiKeyStatus, after: AfterDenial) -> ApiKeyStatus {
    ApiKeyStatus { security_events: after.security_events, lock: after.lock, ..status.clone() }
}

/// The status after the denials, written one after the other.
fn written(denials: &[Denial], policy: LockPolicy) -> ApiKeyStatus {
    denials.iter().fold(ApiKeyStatus::default(), |status, denial| {
        let after = after_denial(&status, None, *denial, policy, denial.time);
        with(&status, after)
    })
}

fn key(status: ApiKeyStatus, unlocked_at: Option<DateTime<Utc>>) -> ApiKey {
    let spec = ApiKeySpec { unlocked_at, ..ApiKeySpec::default() };
    ApiKey { metadata: ObjectMeta::default(), spec, status: Some(status) }
}

/// Through the API server and back, as at a restart.
fn restarted(status: &ApiKeyStatus) -> ApiKeyStatus {
    serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap()
}

/// Anything that a status could hold, well-formed or not.
fn any_status() -> impl Strategy<Value = ApiKeyStatus> {
    let reasons = prop::sample::select(vec![ADDRESS_DENIED, LOCKED, "Other"]);
    let counts = prop_oneof![4 => Just(1_u64), 1 => any::<u64>()];
    let event = (any_time(), reasons, 0..4_u8, counts).prop_map(|(time, reason, address, count)| {
        SecurityEvent { time, reason: reason.to_owned(), address: format!("198.51.100.{address}"), count }
    });
    let lock = any_time().prop_map(|locked_at| Lock {
        locked_at,
        reason: ADDRESS_DENIED.to_owned(),
        address: "198.51.100.1".to_owned(),
    });
    (prop::collection::vec(event, 0..30), prop::option::of(lock))
        .prop_map(|(security_events, lock)| ApiKeyStatus { security_events, lock, ..ApiKeyStatus::default() })
}

fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![
        (0..100_000_i64).prop_map(moment),
        (0..100_000_i64, 0..1_000_000_i64).prop_map(|(ms, ns)| moment(ms) + TimeDelta::nanoseconds(ns)),
        Just(DateTime::<Utc>::MIN_UTC),
        Just(DateTime::<Utc>::MAX_UTC),
    ]
}

fn any_denial() -> impl Strategy<Value = Denial> {
    (any_time(), any::<Option<IpAddr>>()).prop_map(|(time, address)| Denial { time, address })
}

fn any_policy() -> impl Strategy<Value = LockPolicy> {
    prop_oneof![
        policies(),
        (any::<u32>(), any::<u32>())
            .prop_map(|(denials, window_seconds)| LockPolicy { denials, window_seconds }),
    ]
}

/// What happens at one of two replicas: it reads, or it writes what it decided, or it starts anew.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read(usize),
    Write(usize),
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..2_usize, 0..9_u8).prop_map(|(replica, what)| match what {
        0..4 => Step::Read(replica),
        4..8 => Step::Write(replica),
        _ => Step::Restart(replica),
    });
    prop::collection::vec(step, 0..80)
}

/// Two replicas that write the denials of their clients on top of what they read, if nobody else wrote meanwhile.
fn by_two_replicas(denials: &[(Denial, bool)], steps: &[Step], policy: LockPolicy) -> ApiKeyStatus {
    let mut queues: [Vec<Denial>; 2] = [Vec::new(), Vec::new()];
    for (denial, second) in denials.iter().rev() {
        queues[usize::from(*second)].push(*denial);
    }
    let (mut stored, mut version) = (ApiKeyStatus::default(), 0);
    let mut reads: [Option<(u32, ApiKeyStatus)>; 2] = [None, None];
    let rest = (0..denials.len()).flat_map(|_| [0, 1]).flat_map(|r| [Step::Read(r), Step::Write(r)]);
    for step in steps.iter().copied().chain(rest) {
        match step {
            Step::Read(replica) => reads[replica] = Some((version, restarted(&stored))),
            Step::Restart(replica) => reads[replica] = None,
            Step::Write(replica) => {
                let (Some((read, status)), Some(denial)) = (reads[replica].take(), queues[replica].last())
                else {
                    continue;
                };
                let after = after_denial(&status, None, *denial, policy, denial.time);
                if read == version {
                    stored = with(&status, after);
                    version += 1;
                    queues[replica].pop();
                }
            }
        }
    }
    assert!(queues.iter().all(Vec::is_empty));
    stored
}

proptest! {
    #[test]
    fn enough_denials_in_some_window_lock_a_key_and_fewer_never_do_in_whatever_order_they_are_written(
        (sorted, shuffled) in denials(0..MAX_EVENTS + 1)
            .prop_flat_map(|denials| (Just(denials.clone()), Just(denials).prop_shuffle())),
        policy in policies(),
    ) {
        let expected = locks(sorted.iter().map(|denial| denial.time), policy);
        prop_assert_eq!(written(&sorted, policy).lock.is_some(), expected);
        prop_assert_eq!(written(&shuffled, policy).lock.is_some(), expected);
    }

    /// The list is short. A denial may be overtaken by as many as it has room for beside those that lock.
    #[test]
    fn of_any_number_of_denials_each_may_come_late(
        sorted in denials(0..90), delays in prop::collection::vec(any::<prop::sample::Index>(), 90), policy in policies(),
    ) {
        let room = MAX_EVENTS + 1 - usize::try_from(policy.denials).unwrap();
        let mut arriving: Vec<(usize, Denial)> =
            sorted.iter().enumerate().map(|(at, denial)| (at + delays[at].index(room + 1), *denial)).collect();
        arriving.sort_by_key(|(at, _)| *at);
        let arriving: Vec<Denial> = arriving.into_iter().map(|(_, denial)| denial).collect();
        let expected = locks(sorted.iter().map(|denial| denial.time), policy);
        prop_assert_eq!(written(&sorted, policy).lock.is_some(), expected);
        prop_assert_eq!(written(&arriving, policy).lock.is_some(), expected);
    }

    #[test]
    fn unlocked_keys_have_the_same_events_in_whatever_order_they_were_written(
        (sorted, shuffled) in denials(0..50)
            .prop_flat_map(|denials| (Just(denials.clone()), Just(denials).prop_shuffle())),
    ) {
        let never = LockPolicy { denials: u32::MAX, window_seconds: 1 };
        prop_assert_eq!(written(&sorted, never), written(&shuffled, never));
    }

    #[test]
    fn two_replicas_that_restart_and_meet_conflicts_give_what_one_gives(
        denials in denials(0..15).prop_flat_map(|denials| {
            let many = denials.len();
            (Just(denials), prop::collection::vec(any::<bool>(), many))
        }),
        steps in steps(), policy in policies(),
    ) {
        let (sorted, replicas) = denials;
        let assigned: Vec<(Denial, bool)> = sorted.iter().copied().zip(replicas).collect();
        let one = written(&sorted, policy);
        let two = by_two_replicas(&assigned, &steps, policy);
        prop_assert_eq!(one.lock.is_some(), two.lock.is_some());
        let uses = |status: &ApiKeyStatus| status.security_events.iter().map(|event| event.count).sum::<u64>();
        prop_assert_eq!(uses(&two), u64::try_from(sorted.len()).unwrap());
        prop_assert_eq!(uses(&one), uses(&two));
        if one.lock.is_none() {
            prop_assert_eq!(one, two);
        }
    }

    #[test]
    fn an_unlock_in_effect_forgets_what_came_before_it(
        earlier in denials(0..20), denial in denials(1..2), unlock in prop_oneof![0..120_000_i64, (0..400_i64).prop_map(|at| at * 250)], policy in policies(),
    ) {
        let (denial, unlock) = (denial[0], moment(unlock));
        let status = written(&earlier, policy);
        let after = after_denial(&status, Some(unlock), denial, policy, late());
        if status.lock.as_ref().is_some_and(|lock| unlock <= lock.locked_at) {
            prop_assert_eq!(after.lock, status.lock);
        } else {
            let newer = |event: &SecurityEvent| event.time > unlock;
            let forgotten = ApiKeyStatus {
                security_events: status.security_events.iter().filter(|event| newer(event)).cloned().collect(),
                ..ApiKeyStatus::default()
            };
            let expected = after_denial(&forgotten, None, denial, policy, late()).lock;
            prop_assert_eq!(&after.lock, &expected.filter(|_| denial.time > unlock));
            if after.lock.is_some() {
                let times = earlier.iter().map(|denial| denial.time).chain([denial.time]);
                prop_assert!(locks(times.filter(|time| *time > unlock), policy));
                // Nor does the unlock lift the lock that came after it.
                prop_assert!(lock_of(&key(with(&status, after), Some(unlock)), late()).is_some());
            }
        }
    }

    #[test]
    fn an_unlock_to_come_changes_nothing_yet(
        earlier in denials(0..20), denial in denials(1..2), policy in policies(),
    ) {
        let status = written(&earlier, policy);
        let (now, to_come) = (moment(100_000), moment(100_001));
        prop_assert_eq!(
            after_denial(&status, Some(to_come), denial[0], policy, now),
            after_denial(&status, None, denial[0], policy, now)
        );
    }

    #[test]
    fn a_lock_holds_until_the_unlock_and_the_moment_is_foretold(
        status in any_status(), unlocked_at in prop::option::of(any_time()), now in any_time(),
    ) {
        let key = key(status.clone(), unlocked_at);
        let holds = lock_of(&key, now).is_some();
        let expected = status.lock.as_ref().is_some_and(|lock| {
            !unlocked_at.is_some_and(|unlock| unlock > lock.locked_at && unlock <= now)
        });
        prop_assert_eq!(holds, expected);
        if let Some(moment) = lifted_at(&key, now) {
            prop_assert!(holds && moment > now);
            prop_assert!(lock_of(&key, moment).is_none());
        } else if holds {
            prop_assert!(lock_of(&key, DateTime::<Utc>::MAX_UTC).is_some());
        }
    }

    #[test]
    fn a_locked_key_is_told_of_each_address_once_and_how_often(
        denials in denials(1..60).prop_shuffle(), before in denials(0..10), policy in policies(),
    ) {
        let status = ApiKeyStatus {
            lock: Some(Lock { locked_at: moment(0), reason: ADDRESS_DENIED.to_owned(), address: "::1".to_owned() }),
            ..written(&before, LockPolicy { denials: u32::MAX, window_seconds: 1 })
        };
        let after = denials.iter().fold(status.clone(), |status, denial| {
            let after = after_denial(&status, None, *denial, policy, denial.time);
            with(&status, after)
        });
        prop_assert_eq!(&after.lock, &status.lock);
        let of = |status: &ApiKeyStatus, reason| -> Vec<SecurityEvent> {
            status.security_events.iter().filter(|event| event.reason == reason).cloned().collect()
        };
        prop_assert_eq!(of(&after, ADDRESS_DENIED), of(&status, ADDRESS_DENIED));
        for event in of(&after, LOCKED) {
            let tries: Vec<&Denial> = denials.iter().filter(|denial| told(denial) == event.address).collect();
            prop_assert_eq!(event.count, u64::try_from(tries.len()).unwrap());
            prop_assert_eq!(Some(event.time), tries.iter().map(|denial| denial.time).max());
        }
        prop_assert_eq!(of(&after, LOCKED).iter().map(|event| event.count).sum::<u64>(), u64::try_from(denials.len()).unwrap());
    }

    #[test]
    fn deciding_is_total_and_what_is_kept_is_the_newest_twenty(
        status in any_status(), unlocked_at in prop::option::of(any_time()), denial in any_denial(),
        policy in any_policy(), now in any_time(),
    ) {
        let after = after_denial(&status, unlocked_at, denial, policy, now);
        let events = &after.security_events;
        prop_assert!(events.len() <= MAX_EVENTS);
        prop_assert!(events.len() >= status.security_events.len().min(MAX_EVENTS));
        prop_assert!(events.is_sorted_by(|a, b| a.time >= b.time));
        let oldest = events.iter().map(|event| event.time).min().unwrap();
        let dropped = status.security_events.iter().filter(|event| !events.contains(event));
        // An event that grew is another one now.
        for event in dropped.filter(|event| event.reason != LOCKED) {
            prop_assert!(event.time <= oldest);
        }
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was(denials in denials(1..30), nanos in 0..1_000_000_i64, policy in policies()) {
        let finer: Vec<Denial> = denials
            .iter()
            .map(|denial| Denial { time: denial.time + TimeDelta::nanoseconds(nanos), ..*denial })
            .collect();
        let status = written(&finer, policy);
        prop_assert_eq!(&restarted(&status), &status);
        prop_assert_eq!(status, written(&denials, policy));
    }
}

#[test]
fn three_uses_within_five_minutes_lock_and_the_newest_names_the_lock() {
    let policy = LockPolicy { denials: 3, window_seconds: 300 };
    let from = |last, seconds: i64| Denial {
        time: moment(seconds * 1000),
        address: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))),
    };
    assert_eq!(written(&[from(1, 0), from(2, 150)], policy).lock, None);
    assert_eq!(written(&[from(1, 0), from(2, 150), from(3, 301)], policy).lock, None);
    let lock = written(&[from(1, 0), from(3, 300), from(2, 150)], policy).lock.unwrap();
    assert_eq!(
        (lock.locked_at, lock.address.as_str(), lock.reason.as_str()),
        (moment(300_000), "203.0.113.3", ADDRESS_DENIED)
    );
}

#[test]
fn uses_that_an_unlock_had_forgotten_lock_nothing_when_the_unlock_is_withdrawn() {
    let policy = LockPolicy { denials: 3, window_seconds: 300 };
    let at = |seconds: i64| Denial { time: moment(seconds * 1000), address: None };
    let unlocked = ApiKeyStatus { lock: None, ..written(&[at(0), at(1), at(2)], policy) };
    let later = after_denial(&unlocked, None, at(1000), policy, moment(1_000_000));
    assert_eq!(later.lock, None);
    assert_eq!(later.security_events.len(), 4);
    assert_eq!(later.security_events[0].address, "unknown");
}

#[test]
fn a_use_at_the_very_moment_of_an_unlock_is_forgotten_with_those_before_it() {
    let policy = LockPolicy { denials: 1, window_seconds: 300 };
    let lock_at = |millis| {
        let denial = Denial { time: moment(millis), address: None };
        after_denial(&ApiKeyStatus::default(), Some(moment(0)), denial, policy, late()).lock
    };
    assert_eq!(lock_at(0), None);
    assert_eq!(lock_at(1).unwrap().locked_at, moment(1));
}
