//! What the harness says while somebody waits.

use std::io::Write as _;

/// Prints one line to standard error.
///
/// Written to the stream itself: libtest captures what goes through `eprintln!` and shows it only after a
/// failure, and a first build of five minutes in silence looks like a hang.
pub fn say(line: impl std::fmt::Display) {
    // Nobody reads standard error any more: nothing is left to tell, and the work goes on.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
