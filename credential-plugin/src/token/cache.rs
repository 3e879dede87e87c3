//! The token cache on disk: one file for each identity, private, replaced in one step, and never trusted blindly.
//!
//! A slot stands for one exchange (its address, and the CA by which it is trusted), one key and one cluster (server, CA,
//! TLS server name): two of any never share one. The key's digest stands for account and user as well, since a key is of
//! one account and has one identity; the exchange decides the audience, which is its cluster's. Whose cache it is on a
//! machine of many people is the file's owner.
//!
//! A hit takes no lock. What is wrong with a file in any way is a miss, and the next token heals it. Where nothing can be
//! written the plugin works without a cache.

use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use chrono::{DateTime, Utc};
use keyplane_core::key_format::KeyDigest;
use serde::{Deserialize, Serialize};

use crate::exchange::address::{ExchangeAddress, Trust};
use crate::exec_protocol::Cluster;
use crate::field_digest::field_digest;
use crate::private_file::{self, Durability};
use crate::secret_json;
use crate::token::BearerToken;
use crate::token::failure_memory::FailureMemory;
use crate::token::life::TokenLife;
use crate::token::single_flight::SingleFlight;
use crate::token::slot_family::SlotFamily;

/// The version of the file's layout: another's files are misses.
const LAYOUT: u32 = 2;
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
        let name = exchange.tls_server_name.as_deref().unwrap_or_default().as_bytes();
        let fields = [exchange.base.as_str().as_bytes(), trust, pem, name, key.as_bytes()];
        let digest = field_digest(fields.into_iter().chain(cluster.map(str::as_bytes)));
        let family = SlotFamily::of(&exchange.base, key);
        Self(format!("{}{digest}", family.as_str()))
    }

    /// The slot of this name, if it is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_hexadecimal = |text: &str, len: usize| {
            text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let (family, rest) = name.split_once('-')?;
        (is_hexadecimal(family, 16) && is_hexadecimal(rest, 64)).then(|| Self(name.to_owned()))
    }

    /// The slot's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The slot's file with this extension.
    #[must_use]
    pub fn file(&self, folder: &Path, extension: &str) -> PathBuf {
        folder.join(&self.0).with_extension(extension)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry<S, T> {
    layout: u32,
    slot: S,
    token: T,
    life: TokenLife,
    checks: u32,
}

/// A token as the cache has it.
#[derive(Debug)]
pub struct Cached {
    /// The token.
    pub token: BearerToken,
    /// Its life since the exchange was asked last.
    pub life: TokenLife,
    /// How many times in a row the exchange was asked because a client's token seemed to be refused.
    pub checks: u32,
}

/// Why the cache has no token to hand out.
#[derive(Debug)]
pub enum Miss {
    /// There is no file.
    Absent,
    /// The file is not this user's alone, too large, or the system does not give it.
    Unreadable(io::Error),
    /// The file is not what the plugin writes for this slot.
    Damaged,
    /// The token has too little life left, or comes from the future.
    Ended,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no cached token"),
            Self::Unreadable(error) => write!(f, "the cached token cannot be read: {error}"),
            Self::Damaged => f.write_str("the cached token's file is damaged"),
            Self::Ended => f.write_str("the cached token has less than 75 s left, or the clock was set back"),
        }
    }
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
        self.beside("json")
    }

    /// The file that remembers who was handed the slot's token.
    #[must_use]
    pub fn hand_outs(&self) -> PathBuf {
        self.beside("handed")
    }

    /// The memory of the slot's latest failure.
    #[must_use]
    pub fn failures(&self) -> FailureMemory {
        FailureMemory::new(self.beside("failed"), self.slot.0.clone())
    }

    /// Who of many asks the exchange for the slot's token.
    #[must_use]
    pub fn flight(&self) -> SingleFlight {
        SingleFlight::new(self.beside("lock"), self.beside("lock2"))
    }

    /// Makes the folder where it is missing. Whether it is one that this user alone may write in.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        private_file::ensure_folder(&self.folder).is_ok()
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
        self.look(now).ok().map(|cached| (cached.token, cached.life))
    }

    /// The cached token, or why there is none that may be handed out now.
    ///
    /// # Errors
    /// Every [`Miss`]: the next token heals it.
    pub fn look(&self, now: DateTime<Utc>) -> Result<Cached, Miss> {
        let bytes = private_file::read_own(&self.path(), FILE_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Miss::Absent,
            _ => Miss::Unreadable(error),
        })?;
        self.parse(&bytes, now)
    }

    /// When the slot's token ended, if the file is what the plugin writes for this slot and no longer of use.
    #[must_use]
    pub fn ended_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let bytes = private_file::read_own(&self.path(), FILE_MAX).ok()?;
        let entry: Entry<String, BearerToken> = serde_json::from_slice(&bytes).ok()?;
        let is_ended =
            entry.layout == LAYOUT && entry.slot == self.slot.0 && !entry.life.may_be_handed_out(now);
        is_ended.then(|| entry.life.expires_at())
    }

    /// The token in the bytes of this slot's file, or why it is none that may be handed out now. Pure and total.
    ///
    /// # Errors
    /// [`Miss::Damaged`] and [`Miss::Ended`].
    pub fn parse(&self, bytes: &[u8], now: DateTime<Utc>) -> Result<Cached, Miss> {
        // The parser's own words could quote the token.
        let entry: Entry<String, BearerToken> = serde_json::from_slice(bytes).map_err(|_| Miss::Damaged)?;
        if entry.layout != LAYOUT || entry.slot != self.slot.0 {
            return Err(Miss::Damaged);
        }
        if !entry.life.may_be_handed_out(now) {
            return Err(Miss::Ended);
        }
        Ok(Cached { token: entry.token, life: entry.life, checks: entry.checks })
    }

    /// Forgets the token.
    pub fn remove(&self) {
        // What cannot be removed ends by itself.
        let _ = fs::remove_file(self.path());
    }

    /// Keeps a token. Whether that worked matters to nobody: without a cache the next start asks the exchange.
    pub fn write(&self, token: &BearerToken, life: TokenLife) {
        self.write_checked(token, life, 0);
    }

    /// Keeps a token for which the exchange was asked that many times in a row because one seemed to be refused.
    pub fn write_checked(&self, token: &BearerToken, life: TokenLife, checks: u32) {
        let entry = Entry { layout: LAYOUT, slot: &self.slot.0, token, life, checks };
        let Ok(bytes) = secret_json::to_vec(&entry) else { return };
        if !self.is_writable() {
            return;
        }
        let path = self.path();
        if private_file::replace(&path, &bytes, Durability::Disposable).is_err() && path.is_dir() {
            // Nothing else in the file's place stops a replacement.
            private_file::make_way(&path);
            let _ = private_file::replace(&path, &bytes, Durability::Disposable);
        }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.slot.file(&self.folder, extension)
    }
}
