//! Refusals of keys that nobody declared: anybody can cause any number of them, so they are only counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often they are reported at most.
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// Counts refusals, and reports them at most once a minute and without anything that the caller sent.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    unreported: u64,
    reported: Option<Instant>,
}

impl Refusals {
    /// One more.
    pub(crate) fn count(&self) {
        if let Some(refused) = self.due(Instant::now()) {
            tracing::info!(
                refused,
                "no token: missing, malformed or not accepted keys, counted since the last such line"
            );
        }
    }

    /// Counts one, and says how many are to be reported now.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count.unreported = count.unreported.saturating_add(1);
        if count.reported.is_some_and(|last| now.saturating_duration_since(last) < REPORT_EVERY) {
            return None;
        }
        count.reported = Some(now);
        Some(std::mem::take(&mut count.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute_and_none_is_left_uncounted() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.due(start), Some(1));
        for _ in 0..1000 {
            assert_eq!(refusals.due(start + Duration::from_secs(59)), None);
        }
        assert_eq!(refusals.due(start + REPORT_EVERY), Some(1001));
    }
}
