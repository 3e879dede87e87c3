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
/// Columns of the line on a terminal that does not tell its width: a line that it breaks could not be cleared.
const COLUMNS: usize = 60;

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
        let whom = visible(address);
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

/// The line, no longer than so many characters: who is waited for is shortened, and how long it takes stays.
fn line(whom: &str, seconds: u64, longest: usize) -> String {
    let (before, after) = ("waiting for ", format!("  ({seconds} s)"));
    let room = longest.saturating_sub(before.len() + after.len());
    let whom = if whom.chars().count() <= room {
        whom.to_owned()
    } else {
        format!("{}...", whom.chars().take(room.saturating_sub(3)).collect::<String>())
    };
    format!("{before}{whom}{after}").chars().take(longest).collect()
}

fn write_until(end: &Receiver<()>, whom: &str) {
    let started = Instant::now();
    let mut width = 0;
    let mut pause = SILENCE;
    while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = STEP;
        // In the last column some terminals begin the next line. The width is asked for anew: it may change.
        let longest = platform::columns().unwrap_or(COLUMNS).saturating_sub(1);
        let line = line(whom, started.elapsed().as_secs(), longest);
        width = line.chars().count();
        // Who cannot read it is not helped by a failure.
        let _ = write!(io::stderr(), "\r{line}");
    }
    if width > 0 {
        // Blanks, and not a terminal's own commands: every terminal knows them.
        let _ = write!(io::stderr(), "\r{:width$}\r", "");
    }
}

#[cfg(unix)]
mod platform {
    use std::io;

    use rustix::termios::tcgetwinsize;

    /// How wide the terminal at standard error is; none when it does not tell.
    pub(super) fn columns() -> Option<usize> {
        let size = tcgetwinsize(io::stderr()).ok()?;
        (size.ws_col > 0).then_some(size.ws_col.into())
    }
}

#[cfg(not(unix))]
mod platform {
    pub(super) const fn columns() -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_line_is_never_longer_than_allowed_and_says_how_long_it_takes() {
        let whom = "https://keyplane.a-rather-long-name.of.a-company.example.com:8443";
        assert_eq!(line(whom, 7, 100), format!("waiting for {whom}  (7 s)"));
        assert_eq!(line(whom, 7, 59), "waiting for https://keyplane.a-rather-long-name.o...  (7 s)");
        assert_eq!(line(whom, 7, 31), "waiting for https://k...  (7 s)");
        for longest in 0..100 {
            assert!(line(whom, 123, longest).chars().count() <= longest);
        }
    }
}
