//! What `--verbose` tells: lines on standard error, without keys or tokens.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::secret_text::without_keys;
use crate::visible_text::visible;

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Switches the telling on or off.
pub fn set(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Tells a step, when that was asked for. What looks like a key is not shown.
pub fn note(step: impl Display) {
    if VERBOSE.load(Ordering::Relaxed) {
        // Who cannot read it is not helped by a failure.
        let _ = writeln!(io::stderr(), "kubectl-keyplane: {}", without_keys(&visible(&step.to_string())));
    }
}
