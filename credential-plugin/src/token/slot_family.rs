//! All slots of one key at one exchange: what `logout` forgets and `whoami` counts.
//!
//! A slot is a hash of many things, of which a command outside kubectl knows only two. Those two stand before it in the
//! names of its files.

use std::fs;
use std::path::Path;

use keyplane_core::key_format::KeyDigest;
use sha2::{Digest as _, Sha256};

use crate::exchange::address::BaseUrl;
use crate::private_file;

/// Bytes of the hash that are shown: names are to be told apart, not protected.
const SHOWN: usize = 8;

/// What the names of a family's files begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFamily(String);

impl SlotFamily {
    /// The slots of this key at the exchange at `base`.
    #[must_use]
    pub fn of(base: &BaseUrl, key: KeyDigest) -> Self {
        // The digest has one length: no two pairs run together into the same bytes.
        let hash = Sha256::new().chain_update(key.as_bytes()).chain_update(base.as_str()).finalize();
        let shown = hash.get(..SHOWN).unwrap_or(&hash);
        Self(format!("{:x}-", base16ct::HexDisplay(shown)))
    }

    /// The family as it stands before a slot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of the family's files in the cache's folder; none when it cannot be read.
    #[must_use]
    pub fn files_in(&self, folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(&self.0))
            .collect()
    }

    /// Forgets the family's tokens, and what is noted beside them. Locks stay: whoever holds one goes on with it.
    pub fn forget(&self, folder: &Path) {
        for name in self.files_in(folder) {
            let ending = Path::new(&name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if !ending.starts_with("lock") {
                // What cannot be removed ends by itself.
                private_file::remove(&folder.join(name));
            }
        }
    }
}
