//! This machine's clock beside the exchange's.

use chrono::{DateTime, TimeDelta, Utc};

use crate::doctor::finding::Finding;

/// The check's name.
pub const CHECK: &str = "clock";
/// The most by which a clock that something sets goes wrong.
const TOLERATED: TimeDelta = TimeDelta::seconds(30);
/// The `date` header counts whole seconds.
const DATE_GRAIN: TimeDelta = TimeDelta::seconds(1);

/// By how much this machine's clock is ahead of that which wrote the `date` of an answer, at the least; negative when it
/// is behind. The request left at `asked_at` and the answer came at `answered_at`, both by this machine's clock.
#[must_use]
pub fn ahead(asked_at: DateTime<Utc>, answered_at: DateTime<Utc>, date: DateTime<Utc>) -> TimeDelta {
    let latest = date + DATE_GRAIN;
    if latest < asked_at {
        asked_at.signed_duration_since(latest)
    } else if date > answered_at {
        answered_at.signed_duration_since(date)
    } else {
        TimeDelta::zero()
    }
}

/// Whether the clock is right; none when the exchange does not tell its time.
#[must_use]
pub fn judge(ahead: Option<TimeDelta>) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::not_checked(CHECK, "the exchange's answer has no date");
    };
    if ahead.abs() <= TOLERATED {
        return Finding::ok(CHECK, "this machine's and the exchange's agree");
    }
    let direction = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    Finding::problem(
        CHECK,
        format!(
            "this machine's is {} s {direction} the exchange's: tokens are reckoned with that, but certificates seem \
             expired or not valid yet, and kubectl shows wrong ages",
            ahead.num_seconds().abs()
        ),
        platform::SET_CLOCK,
    )
}

#[cfg(target_os = "linux")]
mod platform {
    pub(super) const SET_CLOCK: &str = "sudo timedatectl set-ntp true";
}

#[cfg(target_os = "macos")]
mod platform {
    pub(super) const SET_CLOCK: &str = "sudo sntp -sS time.apple.com";
}

#[cfg(windows)]
mod platform {
    pub(super) const SET_CLOCK: &str = "w32tm /resync";
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
mod platform {
    pub(super) const SET_CLOCK: &str = "set the clock, or let NTP set it";
}
