//! docs/audit-events.md is where people look a code up: it must be what the list of codes says.
#![cfg(feature = "resources")]

use std::collections::BTreeSet;

use keyplane_core::audit::{Code, Field, Outcome, RefusalReason, document};

#[test]
fn the_committed_document_is_the_generated_one() {
    let committed = include_str!("../../../docs/audit-events.md");
    assert!(
        committed == document(),
        "docs/audit-events.md differs from operator/core/src/audit: run `make generate`"
    );
}

#[test]
fn codes_and_types_are_each_ones_own_and_end_in_the_outcome() {
    assert_eq!(Code::ALL.map(Code::as_str).into_iter().collect::<BTreeSet<_>>().len(), Code::ALL.len());
    assert_eq!(Code::ALL.map(Code::event_type).into_iter().collect::<BTreeSet<_>>().len(), Code::ALL.len());
    for code in Code::ALL {
        let severity = match code.outcome() {
            Outcome::Success => 'I',
            Outcome::Failure => 'W',
        };
        assert!(code.as_str().ends_with(severity), "{}", code.as_str());
    }
}

#[test]
fn a_row_is_a_row_whatever_its_sentence() {
    let sentences = Code::ALL
        .map(Code::meaning)
        .into_iter()
        .chain(Field::ALL.map(Field::meaning))
        .chain(RefusalReason::ALL.map(RefusalReason::meaning));
    for sentence in sentences {
        assert!(!sentence.contains(['|', '\n']) && sentence.ends_with('.'), "{sentence}");
    }
}
