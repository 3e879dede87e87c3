//! Waiting for what Keyplane does, within a limit; on a terminal a line tells what is waited for.

use std::io::{self, IsTerminal as _, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::verbose;

/// The pause after the first look. Each look starts a kubectl.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// From here on a person wonders whether anything happens.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Looks until there is something, and gives it; nothing when `limit` has passed. It looks at least once. `what` ends the
/// line "Waiting for ...".
///
/// # Errors
/// What a look fails with, at once.
pub fn until<T>(
    what: &str,
    limit: Duration,
    terminal: &mut impl Write,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    verbose::note(format_args!("waiting up to {} s for {what}", limit.as_secs()));
    let mut silent = io::stderr().is_terminal();
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        if silent && start.elapsed() >= SILENCE {
            silent = false;
            // Who cannot read it is not helped by a failure.
            let _ = writeln!(terminal, "Waiting up to {} s for {what} ...", limit.as_secs());
        }
        thread::sleep(pause.min(left));
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}
