//! When to ask the exchange again, and how long to pause before. Pure.

use std::time::Duration;

/// Attempts at a connection: kubectl calls the plugin again for each of its own requests, so giving up early is kind.
const CONNECTION_ATTEMPTS: u32 = 4;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that is our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why an attempt gave no answer that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// No connection, or it broke.
    Unreachable,
    /// The exchange said 503: it or the key is not ready yet. With the `Retry-After` it gave, if any.
    NotReady(Option<Duration>),
}

/// The pause before the next attempt, or none when it is time to give up.
///
/// `attempts` counts those made (1 after the first); `remaining` is what is left of the total time limit. A pause is
/// always shorter than `remaining`, and at least a quarter of a second, so that `Retry-After: 0` is no busy loop.
#[must_use]
pub fn pause_before_retry(setback: Setback, attempts: u32, remaining: Duration) -> Option<Duration> {
    let doublings = attempts.saturating_sub(1).min(8);
    let own = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let pause = match setback {
        Setback::Unreachable if attempts >= CONNECTION_ATTEMPTS => return None,
        Setback::Unreachable | Setback::NotReady(None) => own,
        Setback::NotReady(Some(asked)) => asked.max(FIRST_PAUSE),
    };
    (pause < remaining).then_some(pause)
}
