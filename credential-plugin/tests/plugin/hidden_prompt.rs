//! A prompt that does not show what is typed gives the terminal back, however it ends.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::parallel::until;
use crate::stage::Stage;

/// `login` as the foreground of a terminal of its own.
struct Asked {
    keyboard: File,
    terminal: File,
    child: Child,
}

impl Asked {
    fn new(stage: &Stage) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let open = || {
            let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
            File::options().read(true).write(true).custom_flags(flags).open(&name).unwrap()
        };
        // setsid replaces itself by the program: the process is the plugin's.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(stage.plugin().get_program())
            .args(["login", "--server", "https://keyplane.example.com"])
            .env("HOME", stage.home.path())
            .stdin(open())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let asked = Self { keyboard: keyboard.into(), terminal: open(), child };
        until("something is asked", || !asked.shows_what_is_typed());
        asked
    }

    fn shows_what_is_typed(&self) -> bool {
        tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ECHO)
    }
}

#[test]
fn a_prompt_that_is_given_up_leaves_a_terminal_that_shows_what_is_typed() {
    for signal in [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP] {
        let stage = Stage::new();
        let mut asked = Asked::new(&stage);
        match signal {
            // As a person does.
            Signal::INT => asked.keyboard.write_all(b"\x03").unwrap(),
            signal => kill_process(Pid::from_child(&asked.child), signal).unwrap(),
        }
        let status = asked.child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "a shell sees that it was given up");
        assert!(asked.shows_what_is_typed(), "{signal:?}");
    }
}
