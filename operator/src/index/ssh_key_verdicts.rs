//! The verdicts about each account's SshKeys, decided once for each change and shared by all of its keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyplane_core::ssh_key::Verdict;

/// The verdicts about one account's keys, by UID.
pub(crate) type Verdicts = Arc<BTreeMap<String, Verdict>>;

/// Verdicts by home namespace.
#[derive(Default)]
pub(super) struct SshKeyVerdicts {
    decided: Mutex<Decided>,
}

#[derive(Default)]
struct Decided {
    /// How many changes there were: what was gathered before one is not kept after it.
    changes: u64,
    by_home: HashMap<String, (u32, Verdicts)>,
}

impl SshKeyVerdicts {
    /// The verdicts about the account's keys under its limit, the key with this UID among them; `decide` is asked
    /// when they are not known.
    pub(super) fn of(
        &self,
        home: &str,
        limit: u32,
        uid: &str,
        decide: impl FnOnce() -> BTreeMap<String, Verdict>,
    ) -> Verdicts {
        let changes = {
            let decided = self.decided();
            let known = decided.by_home.get(home).filter(|(under, _)| *under == limit);
            if let Some((_, verdicts)) = known.filter(|(_, verdicts)| verdicts.contains_key(uid)) {
                return verdicts.clone();
            }
            decided.changes
        };
        let verdicts = Arc::new(decide());
        let mut decided = self.decided();
        if decided.changes == changes {
            decided.by_home.insert(home.to_owned(), (limit, verdicts.clone()));
        }
        verdicts
    }

    /// Drops the verdicts of these homes: their keys, or rivals of them, have changed.
    pub(super) fn forget(&self, homes: &BTreeSet<String>) {
        let mut decided = self.decided();
        decided.changes = decided.changes.wrapping_add(1);
        for home in homes {
            decided.by_home.remove(home);
        }
    }

    fn decided(&self) -> MutexGuard<'_, Decided> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(verdict: Verdict) -> BTreeMap<String, Verdict> {
        BTreeMap::from([("one".to_owned(), verdict)])
    }

    #[test]
    fn what_was_gathered_before_a_change_is_not_kept_after_it() {
        let verdicts = SshKeyVerdicts::default();
        let homes = BTreeSet::from(["acme".to_owned()]);
        verdicts.of("acme", 1, "one", || {
            verdicts.forget(&homes);
            one(Verdict::Duplicate)
        });
        assert_eq!(*verdicts.of("acme", 1, "one", || one(Verdict::Invalid)), one(Verdict::Invalid));
    }

    #[test]
    fn another_limit_or_a_key_not_decided_about_is_decided_anew() {
        let verdicts = SshKeyVerdicts::default();
        verdicts.of("acme", 1, "one", || one(Verdict::LimitReached));
        assert_eq!(*verdicts.of("acme", 1, "one", BTreeMap::new), one(Verdict::LimitReached));
        assert!(verdicts.of("acme", 1, "two", BTreeMap::new).is_empty());
        verdicts.of("acme", 1, "one", || one(Verdict::LimitReached));
        assert!(verdicts.of("acme", 2, "one", BTreeMap::new).is_empty());
    }
}
