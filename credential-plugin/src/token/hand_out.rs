//! Which client was handed which token of a slot lately, and what it means that the same one asks again.
//!
//! A client keeps its token in memory until it ends (client-go's exec authenticator), and asks before only after the
//! API server said 401 to it. kubectl asks once a process. So the same parent process asking again, shortly after it
//! was handed the very token that the cache holds, says that this token is dead although it has not ended: its
//! anchor or its ServiceAccount was made anew. Handing it out again would lock a live key out until the token ends.
//!
//! Whoever asks later is handed the token once more, and is believed the second time.
//!
//! It may also be mistaken: a program that makes several clients asks once for each. So the exchange is shown the token,
//! which is cheap, and asked ever more seldom when that goes on.
//!
//! Where the platform does not tell who asks (Windows), all clients count as one, and the suspicion is weak: the exchange
//! is shown the token too, but where it does not answer the token is handed out all the same.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::private_file;
use crate::token::life::TokenLife;

/// How long after a hand-out the same client's question means that its token was refused. A refusal comes with the
/// first request; longer would mistake a program that makes several clients, and a process id in its second life.
pub const REFUSED_WITHIN: TimeDelta = TimeDelta::seconds(10);
/// How long nobody must have seemed refused for the next refusal to be the first in a row again.
pub const CALM_AFTER: TimeDelta = TimeDelta::minutes(2);
/// Hand-outs that are remembered: parallel clients share a slot.
const REMEMBERED: usize = 8;
/// Bytes of the record's file: that many hand-outs and more.
const FILE_LEN: usize = 2048;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The process that started the plugin.
    Process(u32),
    /// One of all, for the platform does not tell.
    Unknown,
}

impl Client {
    /// Who started this process.
    #[must_use]
    pub fn asking() -> Self {
        platform::parent().map_or(Self::Unknown, Self::Process)
    }

    /// As it stands in the record: no process that starts others has the number 0.
    const fn number(self) -> u32 {
        match self {
            Self::Process(number) => number,
            Self::Unknown => 0,
        }
    }
}

/// Whether the exchange may be asked now, because a client seems to be refused, when it was asked so `checks` times in
/// a row, the last time at `checked_at`: at once, then after 2 s, 4 s and so on, up to 64 s.
#[must_use]
pub fn may_check(checks: u32, checked_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    checks == 0 || now.signed_duration_since(checked_at) >= TimeDelta::seconds(1 << checks.min(6))
}

/// The checks in a row once the exchange was asked again at `now`.
#[must_use]
pub fn checks_after(checks: u32, checked_at: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
    let calm = now.signed_duration_since(checked_at) >= CALM_AFTER;
    if calm { 1 } else { checks.saturating_add(1) }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct HandOut {
    to: u32,
    at: DateTime<Utc>,
    /// Two tokens of one slot were never obtained at the same nanosecond: the life tells them apart.
    life: TokenLife,
}

impl HandOut {
    fn is_recent(&self, now: DateTime<Utc>) -> bool {
        let age = now.signed_duration_since(self.at);
        age >= TimeDelta::zero() && age <= REFUSED_WITHIN
    }
}

/// The latest hand-outs of one slot, in a private file of their own: it holds no token.
#[derive(Clone, Debug)]
pub struct HandOutRecord {
    path: PathBuf,
    client: Client,
    latest: Vec<HandOut>,
}

impl HandOutRecord {
    /// Reads the record for this `client`. What is wrong with the file in any way is an empty record.
    #[must_use]
    pub fn read(path: PathBuf, client: Client, now: DateTime<Utc>) -> Self {
        let mut latest: Vec<HandOut> = private_file::read_own(&path, FILE_LEN as u64)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        latest.retain(|hand_out| hand_out.is_recent(now));
        Self { path, client, latest }
    }

    /// Whether this client asks again for the token of this life, which means that it was refused.
    #[must_use]
    pub fn says_refused(&self, life: TokenLife) -> bool {
        self.latest.iter().any(|hand_out| hand_out.to == self.client.number() && hand_out.life == life)
    }

    /// Remembers that this client is handed the token of this life now. Whether that worked matters to nobody: what
    /// is forgotten is handed out once more.
    pub fn remember(mut self, life: TokenLife, now: DateTime<Utc>) {
        // Once is enough: a client that asks often must not push out what it was handed before.
        self.latest.retain(|hand_out| hand_out.to != self.client.number() || hand_out.life != life);
        let surplus = (self.latest.len() + 1).saturating_sub(REMEMBERED);
        self.latest.drain(..surplus);
        self.latest.push(HandOut { to: self.client.number(), at: now, life });
        let (Ok(mut bytes), Some(folder)) = (serde_json::to_vec(&self.latest), self.path.parent()) else {
            return;
        };
        // Blanks over whatever stood there: JSON does not mind them.
        bytes.resize(bytes.len().max(FILE_LEN), b' ');
        if private_file::ensure_folder(folder).is_ok()
            && private_file::overwrite_own(&self.path, &bytes).is_err()
        {
            // Something else stands in the record's place.
            private_file::make_way(&self.path);
            let _ = private_file::overwrite_own(&self.path, &bytes);
        }
    }
}

#[cfg(unix)]
mod platform {
    #[expect(clippy::unnecessary_wraps, reason = "not every platform tells the parent process")]
    pub(super) fn parent() -> Option<u32> {
        Some(std::os::unix::process::parent_id())
    }
}

#[cfg(not(unix))]
mod platform {
    pub(super) fn parent() -> Option<u32> {
        None
    }
}
