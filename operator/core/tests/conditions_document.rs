//! docs/conditions.md is where people look a reason up: it must have each, and no other.
#![cfg(feature = "resources")]

use std::collections::BTreeSet;

use keyplane_core::readiness::Reason;

const DOCUMENT: &str = include_str!("../../../docs/conditions.md");

/// The columns of a reason's row: the reason, the kinds that say it, what it means, what to do.
const COLUMNS: usize = 4;

/// The rows that begin with a word in code, each with that word and its cells.
fn rows() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    DOCUMENT.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let reason = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((reason, cells))
    })
}

#[test]
fn every_reason_is_documented_once_and_nothing_else_is() {
    let reasons: BTreeSet<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
    let documented: BTreeSet<&str> = rows().map(|(reason, _)| reason).collect();
    let missing: Vec<_> = reasons.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&reasons).collect();
    assert!(missing.is_empty(), "docs/conditions.md lacks a row for {missing:?}");
    assert!(unknown.is_empty(), "docs/conditions.md has a row for {unknown:?}, which is no Reason");
    assert_eq!(rows().count(), documented.len(), "docs/conditions.md has a reason twice");
}

#[test]
fn every_documented_reason_says_where_what_and_what_to_do() {
    for (reason, cells) in rows() {
        assert_eq!(cells.len(), COLUMNS, "columns of {reason}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "an empty cell of {reason}");
    }
}
