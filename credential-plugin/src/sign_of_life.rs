//! A line on the terminal that says who is waited for, as long as no answer comes. It leaves nothing behind.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::visible_text::visible;
use crate::wait::SILENCE;

/// Between two looks at the clock.
const STEP: Duration = Duration::from_secs(1);
/// Characters of who is waited for: a line that the terminal breaks could not be cleared.
const WHOM_MAX: usize = 50;

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Switches the line on or off. It is off at first: who starts the plugin for kubectl has a terminal that is not its own.
pub fn show(is_shown: bool) {
    SHOWN.store(is_shown, Ordering::Relaxed);
}

/// Says who is waited for until it is dropped, once that takes long.
#[derive(Debug)]
pub struct SignOfLife(Option<(Sender<()>, JoinHandle<()>)>);

impl SignOfLife {
    /// Begins to wait for the server at this address.
    #[must_use]
    pub fn while_waiting_for(address: &str) -> Self {
        if !SHOWN.load(Ordering::Relaxed) {
            return Self(None);
        }
        let (ended, end) = mpsc::channel();
        let whom = shortened(address);
        // Without a thread it waits in silence.
        let writer = thread::Builder::new().spawn(move || write_until(&end, &whom)).ok();
        Self(writer.map(|writer| (ended, writer)))
    }
}

impl Drop for SignOfLife {
    fn drop(&mut self) {
        if let Some((ended, writer)) = self.0.take() {
            drop(ended);
            // What is written next begins on a clear line.
            let _ = writer.join();
        }
    }
}

fn shortened(address: &str) -> String {
    let address = visible(address);
    if address.chars().count() <= WHOM_MAX {
        return address;
    }
    format!("{}...", address.chars().take(WHOM_MAX).collect::<String>())
}

fn write_until(end: &Receiver<()>, whom: &str) {
    let started = Instant::now();
    let mut width = 0;
    let mut pause = SILENCE;
    while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = STEP;
        let line = format!("waiting for {whom}  ({} s)", started.elapsed().as_secs());
        width = line.chars().count();
        // Who cannot read it is not helped by a failure.
        let _ = write!(io::stderr(), "\r{line}");
    }
    if width > 0 {
        // Blanks, and not a terminal's own commands: every terminal knows them.
        let _ = write!(io::stderr(), "\r{:width$}\r", "");
    }
}
