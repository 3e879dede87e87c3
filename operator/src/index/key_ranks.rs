//! The places of accounts' keys by age, decided once for each change of what they rest on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The places of one account's live keys, by UID.
pub(crate) type Ranks = Arc<BTreeMap<String, u32>>;

/// The places that were decided, by home namespace.
#[derive(Default)]
pub(super) struct KeyRanks(Mutex<HashMap<String, Ranks>>);

impl KeyRanks {
    /// The places of this account's keys, decided by `decide` where they are not known.
    pub(super) fn of(&self, home: &str, decide: impl FnOnce() -> BTreeMap<String, u32>) -> Ranks {
        // Held while it is decided: what was decided before a change must not be kept after it.
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decided.entry(home.to_owned()).or_insert_with(|| Arc::new(decide())).clone()
    }

    /// Something that they rest on has changed.
    pub(super) fn forget(&self, home: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(home);
    }
}
