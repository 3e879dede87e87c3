//! Asks at the terminal without showing what is typed. Whoever gives up with Ctrl-C finds the terminal as it was before.

use std::io;

use zeroize::Zeroizing;

/// Prints `prompt` on the terminal and reads one line that is not shown.
///
/// A signal that ends the process meanwhile first restores the terminal. It goes on ending the process afterwards, as
/// without this: a shell sees 128 and the signal's number.
///
/// # Errors
/// When there is no terminal, or nothing can be read from it.
pub fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    platform::restore_on_signals()?;
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
    // Ctrl-C arrives as a byte: the prompt sends the signal itself, and goes on.
    if typed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        platform::end_by_interrupt();
    }
    if typed.is_err() {
        // Ctrl-D leaves the cursor behind the prompt.
        platform::end_line();
    }
    typed
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io::{self, Write as _};
    use std::process;
    use std::thread;
    use std::time::Duration;

    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    /// From now on each signal that ends the process first restores the terminal as it is now. A handler cannot be taken
    /// back to what the system does by itself, so the thread stays until the process ends.
    pub(super) fn restore_on_signals() -> io::Result<()> {
        let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        thread::Builder::new().spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // What fails here fails for a terminal that is gone.
                let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
                let _ = terminal.write_all(b"\n");
                let _ = emulate_default_handler(signal);
                process::exit(128 + signal);
            }
        })?;
        Ok(())
    }

    /// Ends the line on the terminal, if that is still there.
    pub(super) fn end_line() {
        if let Ok(mut terminal) = File::options().write(true).open("/dev/tty") {
            let _ = terminal.write_all(b"\n");
        }
    }

    /// Lets the thread end the process, which the signal has woken.
    pub(super) fn end_by_interrupt() {
        thread::park_timeout(Duration::from_secs(1));
        process::exit(128 + SIGINT);
    }
}

#[cfg(not(unix))]
mod platform {
    use std::io;

    /// The system itself gives the console back.
    #[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
    pub(super) const fn restore_on_signals() -> io::Result<()> {
        Ok(())
    }

    /// The failure says it.
    pub(super) const fn end_by_interrupt() {}

    /// The console's prompt ends only with a line.
    pub(super) const fn end_line() {}
}
