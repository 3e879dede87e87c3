//! What is decided once for each change of what it rests on: accounts' places, digests' holders. Thousands of keys of one
//! account, or of one digest, cost the others nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Decisions by name.
pub(super) struct Decided<V>(Mutex<HashMap<String, V>>);

impl<V> Default for Decided<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Decided<V> {
    /// The decision about a name, made by `decide` where it is not known. That there is none is not kept.
    pub(super) fn of(&self, name: &str, decide: impl FnOnce() -> Option<V>) -> Option<V> {
        // Held while it is decided: what was decided before a change must not be kept after it.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decision) = known.get(name) {
            return Some(decision.clone());
        }
        let decision = decide()?;
        known.insert(name.to_owned(), decision.clone());
        Some(decision)
    }

    /// Something that it rests on has changed. Returns the decision that held until now, where it was known.
    pub(super) fn forget(&self, name: &str) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
}
