//! Repeated failures: bounded in lines and in memory, and exactly counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::audit::{
    Aggregated, Aggregator, EventId, Failure, INTERVAL, MAXIMUM_FAILURES, RefusalReason, Source, Subject,
    Verdict,
};
use keyplane_core::client_address::{AddressSource, ClientAddress};
use keyplane_core::readiness::ResourceKind;
use proptest::prelude::*;
use serde_json::Value;

fn at(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap()
}

fn client(address: impl Into<IpAddr>) -> ClientAddress {
    ClientAddress::new(address.into(), AddressSource::Connection)
}

fn key(number: u8) -> Subject {
    let metadata = ObjectMeta {
        namespace: Some("acme".to_owned()),
        name: Some(format!("key-{number}")),
        uid: Some(format!("uid-{number}")),
        ..ObjectMeta::default()
    };
    Subject::new(ResourceKind::ApiKey, &metadata)
}

fn failures() -> impl Strategy<Value = Failure> {
    let subjects = proptest::option::of((0_u8..2).prop_map(key));
    let clients = proptest::option::of((0_u8..2).prop_map(|last| client([192, 0, 2, last])));
    let reasons = proptest::sample::select(&RefusalReason::ALL[..3]);
    (reasons, subjects, clients).prop_map(|(reason, subject, client)| Failure::new(reason, subject, client))
}

#[derive(Clone, Debug)]
enum Step {
    Observe(Failure),
    Due,
    /// What is due cannot be written.
    DueInVain,
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        12 => failures().prop_map(Step::Observe),
        4 => Just(Step::Due),
        1 => Just(Step::DueInVain),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec((0_i64..40_000, step), 0..120)
}

fn count(aggregated: &[Aggregated]) -> u64 {
    aggregated.iter().map(|line| line.repeated.count).sum()
}

proptest! {
    #[test]
    fn every_failure_is_written_once_alone_or_in_one_count(steps in steps(), backwards in any::<bool>()) {
        let mut aggregator = Aggregator::default();
        let (mut now, mut observed, mut written) = (1_000_000_000, 0, 0);
        for (milliseconds, step) in steps {
            now += if backwards && milliseconds % 7 == 0 { -milliseconds } else { milliseconds };
            match step {
                Step::Observe(failure) => {
                    observed += 1;
                    written += u64::from(aggregator.observe(&failure, at(now)) == Verdict::Write);
                }
                Step::Due => written += count(&aggregator.due(at(now))),
                Step::DueInVain => {
                    for line in aggregator.due(at(now)) {
                        aggregator.put_back(&line.failure, line.repeated, at(now));
                    }
                }
                Step::Flush => {
                    written += count(&aggregator.flush());
                    prop_assert_eq!(written, observed);
                }
            }
        }
        written += count(&aggregator.flush());
        prop_assert_eq!(written, observed);
        prop_assert!(aggregator.is_empty());
    }

    #[test]
    fn the_lines_of_one_failure_are_an_interval_apart_and_tell_since_when(steps in steps()) {
        let mut aggregator = Aggregator::default();
        let mut now = 0;
        let mut last_line: BTreeMap<Failure, DateTime<Utc>> = BTreeMap::new();
        let mut first_counted: BTreeMap<Failure, DateTime<Utc>> = BTreeMap::new();
        for (milliseconds, step) in steps {
            now += milliseconds;
            let lines = match step {
                Step::Observe(failure) => match aggregator.observe(&failure, at(now)) {
                    Verdict::Write => vec![failure],
                    Verdict::Counted => {
                        first_counted.entry(failure).or_insert(at(now));
                        Vec::new()
                    }
                },
                _ => aggregator
                    .due(at(now))
                    .into_iter()
                    .map(|line| {
                        assert!(line.repeated.count > 0);
                        assert_eq!(first_counted.remove(&line.failure), Some(line.repeated.since));
                        line.failure
                    })
                    .collect(),
            };
            for failure in lines {
                if let Some(last) = last_line.insert(failure, at(now)) {
                    prop_assert!(at(now) - last >= INTERVAL);
                }
            }
        }
    }

    #[test]
    fn whoever_has_an_ipv6_network_is_one_client(network in any::<u64>(), hosts in any::<[u64; 2]>()) {
        let failure = |host: u64| {
            let address = Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host));
            Failure::new(RefusalReason::Unknown, None, Some(client(address)))
        };
        prop_assume!(u128::from(network) != 0);
        prop_assert_eq!(failure(hosts[0]), failure(hosts[1]));
    }

    #[test]
    fn an_ipv4_address_is_one_client_however_it_is_written(first in any::<u32>(), second in any::<u32>()) {
        let failure = |address: IpAddr| Failure::new(RefusalReason::Unknown, None, Some(client(address)));
        let (first, second) = (Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(second));
        prop_assert_eq!(failure(first.into()), failure(first.to_ipv6_mapped().into()));
        prop_assert_eq!(failure(first.into()) == failure(second.into()), first == second);
    }
}

#[test]
fn a_flood_from_everywhere_is_bounded_and_counted_by_reason() {
    let mut aggregator = Aggregator::default();
    let mut lines = 0;
    for address in 0..30_000 {
        for reason in [RefusalReason::Unknown, RefusalReason::Malformed] {
            let failure = Failure::new(reason, None, Some(client(Ipv4Addr::from_bits(address))));
            lines += u64::from(aggregator.observe(&failure, at(0)) == Verdict::Write);
        }
        assert!(aggregator.len() <= MAXIMUM_FAILURES + RefusalReason::ALL.len());
    }
    assert_eq!(lines, MAXIMUM_FAILURES as u64 / 2 + 2, "one each, and one for each reason");
    // What concerns a declared key is told apart nevertheless.
    let denied = Failure::new(RefusalReason::AddressDenied, Some(key(1)), Some(client([192, 0, 2, 1])));
    assert_eq!(aggregator.observe(&denied, at(0)), Verdict::Write);
    assert_eq!(aggregator.observe(&denied, at(0)), Verdict::Counted);
    let due = aggregator.due(at(0) + INTERVAL);
    assert_eq!(due.len(), 3);
    assert_eq!(lines + count(&due), 60_001);
    for line in due.into_iter().filter(|line| line.failure != denied) {
        let text = line.event(Source::controller(), EventId::random([0; 16]), at(0)).line();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["data"]["address"], Value::Null);
        assert_eq!(value["data"]["repeated"]["count"], 27_499);
    }
}

#[test]
fn a_steady_flood_is_one_line_a_minute_and_afterwards_forgotten() {
    let mut aggregator = Aggregator::default();
    let failure = Failure::new(RefusalReason::AddressDenied, Some(key(1)), Some(client([192, 0, 2, 1])));
    let mut counts = Vec::new();
    for second in 0..180 {
        let now = at(second * 1000);
        counts.extend(aggregator.due(now).iter().map(|line| line.repeated.count));
        assert_eq!(aggregator.observe(&failure, now) == Verdict::Write, second == 0);
    }
    assert_eq!(counts, [59, 60]);
    assert_eq!(count(&aggregator.due(at(180_000))), 60);
    assert!(aggregator.due(at(180_000) + INTERVAL).is_empty());
    assert!(aggregator.is_empty());
    assert_eq!(aggregator.observe(&failure, at(180_000) + INTERVAL * 2), Verdict::Write);
}

#[test]
fn a_clock_that_steps_back_does_not_silence_a_failure() {
    let mut aggregator = Aggregator::default();
    let failure = Failure::new(RefusalReason::Unknown, None, None);
    let now = at(10_000_000);
    assert_eq!(aggregator.observe(&failure, now), Verdict::Write);
    assert_eq!(aggregator.observe(&failure, now - TimeDelta::hours(1)), Verdict::Counted);
    assert_eq!(count(&aggregator.due(now - TimeDelta::hours(1))), 1);
}

#[test]
fn a_repeated_line_names_the_key_the_network_and_the_count() {
    let mut aggregator = Aggregator::default();
    let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let failure = Failure::new(RefusalReason::AddressDenied, Some(key(1)), Some(client(address)));
    aggregator.observe(&failure, at(0));
    aggregator.observe(&failure, at(1500));
    let due = aggregator.flush();
    let line = due[0].event(Source::controller(), EventId::random([0; 16]), at(60_000)).line();
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        value["data"],
        serde_json::json!({
            "code": "K1021W", "account": "acme", "id": "uid-1", "name": "key-1", "reason": "AddressDenied",
            "address": "2001:db8::/64", "addressSource": "connection",
            "repeated": {"count": 1, "since": "1970-01-01T00:00:01.500Z"},
        })
    );
}
