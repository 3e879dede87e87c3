//! Times as a person reads them in a table: how far away, in one unit, as kubectl shows an age.

use chrono::{DateTime, Utc};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How far a time is from now: `in 3d` or `3d ago`.
#[must_use]
pub fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = time.signed_duration_since(now).num_seconds();
    if seconds > 0 {
        format!("in {}", length(seconds))
    } else {
        format!("{} ago", length(seconds.saturating_neg()))
    }
}

/// A length of time in the largest unit of which there are at least two.
#[must_use]
pub fn length(seconds: i64) -> String {
    let units = [(YEAR, "y"), (DAY, "d"), (HOUR, "h"), (MINUTE, "m")];
    let unit = units.iter().find(|(unit, _)| seconds >= unit.saturating_mul(2));
    unit.map_or_else(
        || format!("{seconds}s"),
        |(unit, name)| format!("{}{name}", seconds.checked_div(*unit).unwrap_or_default()),
    )
}
