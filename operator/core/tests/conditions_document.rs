//! docs/conditions.md is where people look a reason up: it must be what the lists of reasons say.
#![cfg(feature = "resources")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use chrono::{DateTime, Utc};
use keyplane_core::readiness::{
    Finding, LimitsReason, Outlook, Readiness, Reason, Status, UNUSED, UnusedReason, WITHIN_LIMITS, document,
};
use keyplane_crds::{AccountStatus, ApiKeyStatus, ConditionStatus, READY};

#[test]
fn the_committed_document_is_the_generated_one() {
    let committed = include_str!("../../../docs/conditions.md");
    assert!(
        committed == document(),
        "docs/conditions.md differs from operator/core/src/readiness: run `make generate`"
    );
}

#[test]
fn every_reason_has_one_row_with_a_meaning_and_a_remedy() {
    let document = document();
    let words = Reason::ALL
        .map(Reason::as_str)
        .into_iter()
        .chain(UnusedReason::ALL.map(UnusedReason::as_str))
        .chain(LimitsReason::ALL.map(LimitsReason::as_str));
    for word in words {
        let rows: Vec<&str> =
            document.lines().filter(|line| line.starts_with(&format!("| `{word}` |"))).collect();
        assert_eq!(rows.len(), 1, "rows of {word}");
        let cells: Vec<&str> = rows[0].trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "columns of {word}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "an empty cell of {word}");
        for sentence in &cells[2..] {
            assert!(sentence.ends_with('.') || sentence.ends_with(".)"), "{word}: {sentence}");
        }
    }
}

#[test]
fn a_key_that_ended_stays_so_and_only_that() {
    let last: Vec<_> = Reason::ALL.into_iter().filter(|reason| reason.outlook() == Outlook::Final).collect();
    assert_eq!(last, [Reason::Expired, Reason::Revoked]);
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

#[test]
fn a_finding_stands_beside_ready_and_keeps_its_time_until_its_status_changes() {
    let ready = Readiness::ready(Reason::Active, "the key can be used");
    let said = |reason, previous: &ApiKeyStatus, now| {
        ApiKeyStatus::default().saying(&ready, &previous.conditions, Some(1), now).also(
            &Finding::use_of_key(reason, "…"),
            &previous.conditions,
            Some(1),
            now,
        )
    };
    let first = said(UnusedReason::InUse, &ApiKeyStatus::default(), at(100));
    let again = said(UnusedReason::InUse, &first, at(200));
    assert_eq!(again, first);
    let unused = said(UnusedReason::Unused, &again, at(300));
    assert_eq!(unused.conditions[0], first.conditions[0]);
    assert_eq!(unused.conditions[0].type_, READY);
    let [_, finding] = &unused.conditions[..] else { unreachable!("two conditions") };
    assert_eq!((finding.type_.as_str(), finding.status), (UNUSED, ConditionStatus::True));
    assert_eq!((finding.reason.as_str(), finding.last_transition_time), ("Unused", at(300)));
    assert!(unused.is_ready_at(Some(1)), "a finding takes nothing away");
}

#[test]
fn a_finding_replaces_its_like_and_nothing_else() {
    let within = Finding::limits_of_account(LimitsReason::WithinLimits, "");
    let exceeded = Finding::limits_of_account(LimitsReason::LimitExceeded, "two too many");
    let status =
        AccountStatus::default().also(&within, &[], Some(7), at(1)).also(&exceeded, &[], Some(7), at(2));
    let [condition] = &status.conditions[..] else { unreachable!("one condition") };
    assert_eq!((condition.type_.as_str(), condition.status), (WITHIN_LIMITS, ConditionStatus::False));
    assert_eq!((condition.message.as_str(), condition.observed_generation), ("two too many", Some(7)));
    assert_eq!(status.observed_generation, Some(7));
}
