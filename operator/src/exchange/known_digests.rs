//! Who names a digest that was presented, put together once for each change of what that rests on: it takes several
//! look-ups, and reading records.
//!
//! Invariant: when [`KnownDigests::changed`] has returned, nobody who asks from then on is told what was before the change.
//! What is put together while something changes is given to whoever asked meanwhile, and not kept. Only digests that
//! somebody names are kept, so that strangers cannot fill the memory.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use keyplane_core::api_key::{Admitted, Known, Presented, Refusal, admit, holder, recognize};
use keyplane_core::key_format::KeyDigest;
use keyplane_crds::ApiKey;

/// A digest, and the keys that may hold it.
pub(crate) struct Named {
    digest: String,
    keys: Vec<Known>,
}

impl Named {
    /// Decides about a use of the key.
    ///
    /// # Errors
    /// Why it may not be used.
    pub(crate) fn admit(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<Admitted, Refusal> {
        admit(&self.keys, Presented { digest: &self.digest, address, now })
    }

    /// Decides about a key that asks who it is.
    ///
    /// # Errors
    /// Why it is not told.
    pub(crate) fn recognize(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<Admitted, Refusal> {
        recognize(&self.keys, Presented { digest: &self.digest, address, now })
    }

    /// The key that holds the digest, live or not: for the log, and for the word in a refusal.
    pub(crate) fn holder(&self) -> Option<&Arc<ApiKey>> {
        holder(&self.keys, &self.digest).map(|known| &known.key)
    }
}

/// What is known of digests. Who asks takes part of one lock; who changes something takes the other one first.
#[derive(Default)]
pub(super) struct KnownDigests {
    known: DashMap<KeyDigest, Arc<Named>>,
    /// How often something changed. Written under the lock of `kept` only.
    changes: AtomicU64,
    kept: Mutex<Kept>,
}

/// By a key's UID the digests in whose answers it is.
type Kept = HashMap<String, BTreeSet<KeyDigest>>;

impl KnownDigests {
    /// Who names a digest; `look` finds out where that is not known.
    pub(super) fn of(&self, digest: &KeyDigest, look: impl FnOnce(&str) -> Vec<Known>) -> Arc<Named> {
        if let Some(named) = self.known.get(digest) {
            return named.clone();
        }
        // Before it is looked: what changes from here on may or may not be seen.
        let changes = self.changes.load(Ordering::Acquire);
        let text = digest.to_string();
        let named = Arc::new(Named { keys: look(&text), digest: text });
        if !named.keys.is_empty() {
            self.keep(digest, &named, changes);
        }
        named
    }

    fn keep(&self, digest: &KeyDigest, named: &Arc<Named>, seen: u64) {
        let mut kept = self.kept();
        if self.changes.load(Ordering::Relaxed) != seen {
            return;
        }
        for uid in named.keys.iter().filter_map(|known| known.key.metadata.uid.as_ref()) {
            kept.entry(uid.clone()).or_default().insert(*digest);
        }
        self.known.insert(*digest, named.clone());
    }

    /// Keys with these UIDs, or their records, have changed, or what these digests lead to has. To be called after the
    /// change can be seen.
    pub(super) fn changed<'a>(
        &self,
        uids: impl IntoIterator<Item = &'a str>,
        digests: impl IntoIterator<Item = KeyDigest>,
    ) {
        let mut kept = self.kept();
        self.changes.fetch_add(1, Ordering::Release);
        let of_keys: BTreeSet<_> = uids.into_iter().filter_map(|uid| kept.remove(uid)).flatten().collect();
        for digest in of_keys.into_iter().chain(digests) {
            let Some((_, named)) = self.known.remove(&digest) else { continue };
            for uid in named.keys.iter().filter_map(|known| known.key.metadata.uid.as_deref()) {
                if let Some(digests) = kept.get_mut(uid) {
                    digests.remove(&digest);
                    if digests.is_empty() {
                        kept.remove(uid);
                    }
                }
            }
        }
    }

    /// Anything may have changed.
    pub(super) fn all_changed(&self) {
        let mut kept = self.kept();
        self.changes.fetch_add(1, Ordering::Release);
        kept.clear();
        self.known.clear();
    }

    /// A panic elsewhere can leave a key's digest behind that is not known any more, which does no harm.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept about a digest; `otherwise` where nothing is.
    #[cfg(test)]
    pub(super) fn peek(&self, digest: &KeyDigest, otherwise: &[Known]) -> Vec<Known> {
        self.known.get(digest).map_or_else(|| otherwise.to_vec(), |named| named.keys.clone())
    }

    /// How many digests are kept, and of how many keys.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.known.len(), self.kept().len())
    }
}
