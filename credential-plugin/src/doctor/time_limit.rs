//! The time that the whole examination may take, and work that is not waited for beyond it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// When the whole examination has to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit(Instant);

impl TimeLimit {
    pub(super) fn after(whole: Duration) -> Self {
        Self(Instant::now() + whole)
    }

    /// What one step may take: half of what is left, so that one that hangs leaves time for others.
    pub(super) fn step(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()) / 2
    }

    /// What the work gives, or none when it takes longer than a step may. Then it is left alone: names that are looked
    /// up and files on dead network shares cannot be called back, and the program ends soon.
    pub(super) fn within<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, outcome) = mpsc::channel();
        // Nobody waits for who comes too late.
        thread::spawn(move || sender.send(work()));
        outcome.recv_timeout(self.step()).ok()
    }
}
