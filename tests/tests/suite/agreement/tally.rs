//! What was asked and what came back, by status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts answers.
#[derive(Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub(super) fn add(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// Everything that was counted, a line each, and how much it is.
    pub(super) fn told(&self) -> (String, u64) {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = counted.iter().map(|(what, count)| format!("  {count:>6} {what}")).collect();
        (lines.join("\n"), counted.values().sum())
    }
}
