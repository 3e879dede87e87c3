//! Whose each digest is, decided once for each change of what that rests on: a digest that thousands of keys name costs
//! the others nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyplane_core::api_key::Claim;

/// The key that holds a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its UID.
    pub(crate) uid: String,
    /// Its claim.
    pub(crate) claim: Claim,
}

/// The holders that were decided, by digest.
#[derive(Default)]
pub(super) struct DigestHolders(Mutex<HashMap<String, Holder>>);

impl DigestHolders {
    /// The holder of a digest, decided by `decide` where it is not known.
    pub(super) fn of(&self, digest: &str, decide: impl FnOnce() -> Option<Holder>) -> Option<Holder> {
        // Held while it is decided: what was decided before a change must not be kept after it.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = known.get(digest) {
            return Some(holder.clone());
        }
        let holder = decide()?;
        known.insert(digest.to_owned(), holder.clone());
        Some(holder)
    }

    /// Something that it rests on has changed. Returns who held the digest until now, where that was known.
    pub(super) fn forget(&self, digest: &str) -> Option<Holder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }
}
