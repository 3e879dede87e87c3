//! Uses that are not written down yet, in memory, by key.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyplane_core::api_key::locked_uses::LockedUses;
use keyplane_core::api_key::usage::Uses;
use keyplane_crds::ApiKey;
use tokio::time::Instant;

use super::owned::{Attempt, Change, Owned};

/// In how many parts the keys are kept, so that uses of different keys seldom wait for each other.
const SHARDS: usize = 64;

/// What is to be added to one status.
#[derive(Clone, Debug, Default)]
pub(super) struct Addition {
    /// Uses to be added.
    pub(super) uses: Uses,
    /// A total that is kept elsewhere: the status is raised to it.
    pub(super) total: Uses,
    /// Denied uses while the key was locked, to be added.
    pub(super) locked_uses: LockedUses,
}

impl Addition {
    pub(super) fn merge(&mut self, other: Self) {
        self.uses = self.uses.merge(other.uses);
        self.total.count = self.total.count.max(other.total.count);
        self.total.last = self.total.last.max(other.total.last);
        self.locked_uses.merge(other.locked_uses);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.total.is_empty() && self.locked_uses.is_empty()
    }
}

impl Change for Addition {
    fn onto(&self, live: &ApiKey) -> Option<Owned> {
        let stored = Owned::of(live);
        let mut wanted = stored.clone();
        if !self.total.is_empty() {
            wanted.usage = Some(self.total.at_least(wanted.usage.as_ref()));
        }
        if !self.uses.is_empty() {
            wanted.usage = Some(self.uses.added_to(wanted.usage.as_ref()));
        }
        if !self.locked_uses.is_empty() {
            wanted.security_events = self.locked_uses.added_to(&stored.security_events);
        }
        (wanted != stored).then_some(wanted)
    }
}

/// What waits for one key.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The newest version of the key that was seen with a use.
    pub(super) key: Arc<ApiKey>,
    /// Since when something of it waits.
    pub(super) since: Instant,
    /// What to write.
    pub(super) addition: Addition,
    /// A write whose outcome is not known, and what it was to add. It comes first.
    pub(super) unsettled: Option<(Addition, Attempt)>,
}

impl Waiting {
    fn new(key: Arc<ApiKey>) -> Self {
        Self { key, since: Instant::now(), addition: Addition::default(), unsettled: None }
    }
}

/// What waits, by the key's UID: at most an entry for each key that was used.
pub(super) struct Ledger {
    shards: Vec<Mutex<HashMap<String, Waiting>>>,
    hasher: RandomState,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Adds to what waits for the key: a look-up and a few additions, without waiting for anything but another use
    /// of the same part.
    pub(super) fn add(&self, key: &Arc<ApiKey>, change: impl FnOnce(&mut Addition)) {
        let Some(uid) = key.metadata.uid.as_deref() else { return };
        let Some(mut shard) = self.shard(uid) else { return };
        let waiting = match shard.get_mut(uid) {
            Some(waiting) => waiting,
            None => shard.entry(uid.to_owned()).or_insert_with(|| Waiting::new(key.clone())),
        };
        if !Arc::ptr_eq(&waiting.key, key) {
            waiting.key = key.clone();
        }
        change(&mut waiting.addition);
    }

    /// Takes what waits for the key.
    pub(super) fn take(&self, uid: &str) -> Option<Waiting> {
        self.shard(uid)?.remove(uid)
    }

    /// Takes everything.
    pub(super) fn take_all(&self) -> Vec<(String, Waiting)> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *locked(shard))).collect()
    }

    /// Puts back what could not be written, together with what came meanwhile.
    pub(super) fn put_back(&self, uid: String, waiting: Waiting) {
        let Some(mut shard) = self.shard(&uid) else { return };
        match shard.entry(uid) {
            Entry::Vacant(vacant) => {
                vacant.insert(waiting);
            }
            Entry::Occupied(mut occupied) => {
                let fresh = occupied.get_mut();
                fresh.since = fresh.since.min(waiting.since);
                fresh.addition.merge(waiting.addition);
                // A key's writes do not overlap: what came meanwhile has sent nothing yet.
                fresh.unsettled = waiting.unsettled;
            }
        }
    }

    /// The keys that have waited longest, the longest first; at most `limit`.
    pub(super) fn longest_waiting(&self, limit: usize) -> Vec<String> {
        let mut all: Vec<(Instant, String)> = Vec::new();
        for shard in &self.shards {
            all.extend(locked(shard).iter().map(|(uid, waiting)| (waiting.since, uid.clone())));
        }
        all.sort_unstable();
        all.truncate(limit);
        all.into_iter().map(|(_, uid)| uid).collect()
    }

    /// For how many keys something waits.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).len()).sum()
    }

    /// How many uses wait.
    pub(super) fn uses(&self) -> u64 {
        let of = |waiting: &Waiting| waiting.addition.uses.count;
        self.shards.iter().map(|shard| locked(shard).values().map(of).fold(0, u64::saturating_add)).sum()
    }

    fn shard(&self, uid: &str) -> Option<MutexGuard<'_, HashMap<String, Waiting>>> {
        let shards = u64::try_from(self.shards.len()).ok()?;
        let index = usize::try_from(self.hasher.hash_one(uid).checked_rem(shards)?).ok()?;
        self.shards.get(index).map(locked)
    }
}

/// A panic elsewhere leaves whole entries behind: each change is one.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
