//! How long a token may be handed out: the skew-proof expiry and the 75 second rule. Pure.
//!
//! client-go compares `now > expirationTimestamp` with the local clock and allows no skew; kube-rs asks again 60 s
//! early. So what counts is the life that remains, measured on the exchange's clock and counted on ours.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The least life in what is handed out: above the 60 s by which kube-rs refreshes early, so that it never loops.
pub const LEAST_LIFE: TimeDelta = TimeDelta::seconds(75);

/// The most life that is believed. Without a `date` header a slow local clock would stretch a life; asking the
/// exchange once a day costs nothing.
pub const LONGEST_LIFE: TimeDelta = TimeDelta::days(1);

/// The `date` header counts whole seconds: the answer may be this much younger than it says.
const DATE_GRAIN: TimeDelta = TimeDelta::seconds(1);

/// The life of one token, on the local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenLife {
    obtained_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl TokenLife {
    /// The life of a token that the exchange just gave.
    ///
    /// `asked_at` is the local time before the request left; `server_date` the answer's `date` header (RFC 9110);
    /// `expiration` the answer's `status.expirationTimestamp`. The result never lies later than the true end, and at
    /// most [`LONGEST_LIFE`] after `asked_at`. Without a date the timestamp has to be believed as it is.
    #[must_use]
    pub fn of_answer(
        asked_at: DateTime<Utc>,
        server_date: Option<DateTime<Utc>>,
        expiration: DateTime<Utc>,
    ) -> Self {
        let remaining = match server_date {
            Some(date) => expiration.signed_duration_since(date) - DATE_GRAIN,
            None => expiration.signed_duration_since(asked_at),
        };
        let remaining = remaining.clamp(TimeDelta::zero(), LONGEST_LIFE);
        Self { obtained_at: asked_at, expires_at: asked_at.checked_add_signed(remaining).unwrap_or(asked_at) }
    }

    /// Whether the token may be handed out at this local time: at least [`LEAST_LIFE`] is left of it.
    ///
    /// A token from the future (the clock was set back) or of an unbelievable life (the cache was tampered with) is
    /// not.
    #[must_use]
    pub fn may_be_handed_out(&self, now: DateTime<Utc>) -> bool {
        self.obtained_at <= now
            && self.expires_at.signed_duration_since(now) >= LEAST_LIFE
            && self.expires_at.signed_duration_since(self.obtained_at) <= LONGEST_LIFE
    }

    /// Whether it is time to ask for the next token, while this one may still be handed out: in the last quarter of
    /// the time in which it may be.
    ///
    /// A quarter of that time, not of the life: a token of 5 minutes is in its last quarter of life only when it may no
    /// longer be handed out.
    #[must_use]
    pub fn is_due_for_refresh(&self, now: DateTime<Utc>) -> bool {
        let usable = self.expires_at.signed_duration_since(self.obtained_at) - LEAST_LIFE;
        let left = self.expires_at.signed_duration_since(now) - LEAST_LIFE;
        left < usable / 4
    }

    /// When the exchange was asked, on the local clock.
    #[must_use]
    pub const fn obtained_at(&self) -> DateTime<Utc> {
        self.obtained_at
    }

    /// When the token ends, on the local clock.
    #[must_use]
    pub const fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}
