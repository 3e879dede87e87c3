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
        let oldest = Instant::now().checked_sub(CATCH_UP);
        *last = Some(oldest.map_or(due, |oldest| due.max(oldest)));
    }
}

fn gap(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turns(pace: &Pace, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        let mut count = 0;
        while tokio::time::timeout_at(end, pace.turn()).await.is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_has_more_turns_than_the_rate_allows() {
        for rate in [1, 20, 50, 1000] {
            let pace = Pace::per_second(rate);
            let burst = 2 + usize::try_from(rate).unwrap() / 50;
            for seconds in [1, 5] {
                let most = usize::try_from(rate).unwrap() * seconds + burst;
                let count = turns(&pace, Duration::from_secs(seconds.try_into().unwrap())).await;
                assert!(count <= most && count * 10 >= (most - burst) * 9, "{rate}: {count} in {seconds} s");
            }
            // Idle time is not saved up.
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_the_old_speed_goes_on_at_the_new_one() {
        let pace = Pace::per_second(1);
        pace.turn().await;
        let start = Instant::now();
        tokio::join!(pace.turn(), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            pace.change(100);
        });
        assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    }
}
