//! The token cache on disk: one file for each identity, private, replaced in one step, and never trusted blindly.
//!
//! A slot stands for one exchange, one key and one cluster: two of any never share one. What is wrong with a file in
//! any way is a miss, and the next token heals it. Where nothing can be written the plugin works without a cache.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use keyplane_core::key_format::KeyDigest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::exchange::address::{ExchangeAddress, Trust};
use crate::exec_protocol::Cluster;
use crate::private_file::{self, Durability};
use crate::token::BearerToken;
use crate::token::life::TokenLife;
use crate::token::slot_family::SlotFamily;

/// The version of the file's layout: another's files are misses.
const LAYOUT: u32 = 1;
/// Bytes of a cache file: the longest token and its surroundings.
const FILE_MAX: u64 = 32 * 1024;

/// The name of a cache slot: its family, and the SHA-256 of what makes a token interchangeable, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot(String);

impl Slot {
    /// The slot for this exchange, key and cluster, whatever the protocol's version.
    #[must_use]
    pub fn of(exchange: &ExchangeAddress, key: KeyDigest, cluster: Option<&Cluster>) -> Self {
        let (trust, pem): (&[u8], &[u8]) = match &exchange.trust {
            Trust::Platform => (b"platform", b""),
            Trust::Pem(pem) => (b"pem", pem),
        };
        let cluster = cluster.map_or([""; 3], |cluster| {
            [&cluster.server, &cluster.tls_server_name, &cluster.certificate_authority_data]
        });
        let mut hash = Sha256::new();
        let name = exchange.tls_server_name.as_deref().unwrap_or_default().as_bytes();
        let fields = [exchange.base.as_str().as_bytes(), trust, pem, name, key.as_bytes()];
        for field in fields.into_iter().chain(cluster.map(str::as_bytes)) {
            // The length first: no two lists of fields run together into the same bytes.
            hash.update(field.len().to_be_bytes());
            hash.update(field);
        }
        let family = SlotFamily::of(&exchange.base, key);
        Self(format!("{}{:x}", family.as_str(), base16ct::HexDisplay(&hash.finalize())))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry<S, T> {
    layout: u32,
    slot: S,
    token: T,
    life: TokenLife,
}

/// What the content of a cache file gives for this slot at this time; anything but a sound entry gives nothing. Pure.
#[must_use]
pub fn parse(bytes: &[u8], slot: &Slot, now: DateTime<Utc>) -> Option<(BearerToken, TokenLife)> {
    let entry: Entry<String, BearerToken> = serde_json::from_slice(bytes).ok()?;
    (entry.layout == LAYOUT && entry.slot == slot.0 && entry.life.may_be_handed_out(now))
        .then_some((entry.token, entry.life))
}

/// One slot of the cache in a folder.
#[derive(Clone, Debug)]
pub struct TokenCache {
    folder: PathBuf,
    slot: Slot,
}

impl TokenCache {
    /// The cache for one identity. Touches nothing yet.
    #[must_use]
    pub fn new(folder: PathBuf, slot: Slot) -> Self {
        Self { folder, slot }
    }

    /// The slot's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(Path::new(&self.slot.0).with_extension("json"))
    }

    /// The file that remembers who was handed the slot's token.
    #[must_use]
    pub fn hand_outs(&self) -> PathBuf {
        self.folder.join(Path::new(&self.slot.0).with_extension("handed"))
    }

    /// The slots of a family that have a token now, each with its life; in no order.
    #[must_use]
    pub fn lives_of(folder: &Path, family: &SlotFamily, now: DateTime<Utc>) -> Vec<TokenLife> {
        let life = |name: &str| {
            let slot = Slot(name.strip_suffix(".json")?.to_owned());
            Self::new(folder.to_owned(), slot).read(now).map(|(_, life)| life)
        };
        family.files_in(folder).iter().filter_map(|name| life(name)).collect()
    }

    /// The cached token, when there is one that may be handed out now.
    #[must_use]
    pub fn read(&self, now: DateTime<Utc>) -> Option<(BearerToken, TokenLife)> {
        let bytes = private_file::read_own(&self.path(), FILE_MAX).ok()?;
        parse(&bytes, &self.slot, now)
    }

    /// Forgets the token.
    pub fn remove(&self) {
        // What cannot be removed ends by itself.
        let _ = fs::remove_file(self.path());
    }

    /// Keeps the token. Whether that worked matters to nobody: without a cache the next start asks the exchange.
    pub fn write(&self, token: &BearerToken, life: TokenLife) {
        let entry = Entry { layout: LAYOUT, slot: &self.slot.0, token, life };
        let Ok(bytes) = serde_json::to_vec(&entry).map(Zeroizing::new) else {
            return;
        };
        if private_file::ensure_folder(&self.folder).is_ok() {
            let _ = private_file::replace(&self.path(), &bytes, Durability::Disposable);
        }
    }
}
