//! How fast statuses are written: one after the other, evenly spaced.

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// How much time may be caught up with when a timer fires late. Timers have whole milliseconds: without this, a
/// thousand writes a second could not be reached. It lets at most a fiftieth of a second's writes come at once.
const CATCH_UP: Duration = Duration::from_millis(20);

/// A token bucket with next to no bucket: what was not used is not saved up. Who asks first is served first.
#[derive(Debug)]
pub(super) struct Pace {
    last: Mutex<Option<Instant>>,
    gap: watch::Sender<Duration>,
}

impl Pace {
    /// At most so many a second.
    pub(super) fn per_second(writes: u32) -> Self {
        Self { last: Mutex::default(), gap: watch::Sender::new(gap(writes)) }
    }

    /// Another speed from now on, also for those who wait already.
    pub(super) fn change(&self, per_second: u32) {
        self.gap.send_replace(gap(per_second));
    }

    /// Waits until the next write may begin.
    pub(super) async fn turn(&self) {
        let mut gap = self.gap.subscribe();
        let mut last = self.last.lock().await;
        let Some(before) = *last else {
            *last = Some(Instant::now());
            return;
        };
        let due = loop {
            let due = before + *gap.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(due) => break due,
                changed = gap.changed() => if changed.is_err() { break due },
            }
        };
        *last = Some(counted_from(due, Instant::now()));
    }
}

/// From when the gap to the next turn is counted, for a turn that was due and came now.
fn counted_from(due: Instant, now: Instant) -> Instant {
    now.checked_sub(CATCH_UP).map_or(due, |oldest| due.max(oldest))
}

fn gap(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The turns of somebody who always waits for the next one, whose timers are late by up to `late`.
    fn turns(rate: u32, late: Duration, limit: Duration) -> usize {
        let start = Instant::now();
        let (mut last, mut now, mut count) = (start, start, 1);
        loop {
            let due = last + gap(rate);
            now = now.max(due + late);
            if now > start + limit {
                return count;
            }
            last = counted_from(due, now);
            count += 1;
        }
    }

    #[test]
    fn no_stretch_of_time_has_more_turns_than_the_rate_allows_and_late_timers_cost_none() {
        for rate in [1, 20, 50, 1000] {
            for late in [0, 1, 10, 500] {
                let limit = Duration::from_secs(10);
                let count = turns(rate, Duration::from_millis(late), limit);
                let most = usize::try_from(rate).unwrap() * 10 + 1;
                assert!(count <= most, "{rate}: {count}");
                assert!(late > 10 || count + 2 + most / 500 >= most, "{rate}, {late} ms late: {count}");
            }
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let now = start + Duration::from_mins(1);
        assert!(counted_from(start, now) + CATCH_UP >= now);
    }

    /// At the old speed the second turn would come in the year after next.
    #[tokio::test]
    async fn who_waits_at_the_old_speed_goes_on_at_the_new_one() {
        let pace = Pace { last: Mutex::default(), gap: watch::Sender::new(Duration::from_hours(10_000)) };
        pace.turn().await;
        tokio::join!(pace.turn(), async {
            tokio::task::yield_now().await;
            pace.change(1000);
        });
    }
}
