//! docs/conditions.md is what people find when they look up a reason: it must have each, and no other.
#![cfg(feature = "resources")]

use std::collections::BTreeSet;

use keyplane_core::readiness::Reason;

const DOCUMENT: &str = include_str!("../../../docs/conditions.md");

/// The columns of a reason's row: the reason, where `Ready` has it, what it means, what to do.
const COLUMNS: usize = 4;

/// The tables' rows, cell by cell, without their heads.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells[0].starts_with('`'))
}

fn documented() -> Vec<&'static str> {
    rows().map(|cells| cells[0].trim_matches('`')).collect()
}

#[test]
fn every_reason_is_documented_once_and_nothing_else_is() {
    let reasons: BTreeSet<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
    let documented = documented();
    let distinct: BTreeSet<&str> = documented.iter().copied().collect();
    let missing: Vec<_> = reasons.difference(&distinct).collect();
    let unknown: Vec<_> = distinct.difference(&reasons).collect();
    assert!(missing.is_empty(), "docs/conditions.md lacks {missing:?}: add a row for each");
    assert!(unknown.is_empty(), "docs/conditions.md tells of {unknown:?}, which Reason does not have");
    assert_eq!(documented.len(), distinct.len(), "docs/conditions.md has a reason twice: {documented:?}");
}

#[test]
fn every_documented_reason_says_where_what_and_what_to_do() {
    for cells in rows() {
        assert_eq!(cells.len(), COLUMNS, "columns of {cells:?}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "an empty cell: {cells:?}");
    }
}
