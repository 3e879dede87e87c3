//! Who waits for a slow exchange at a terminal sees for whom; nobody else does.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use chrono::TimeDelta;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::kept_key::{accepted, text};
use crate::parallel::until;
use crate::stage::{Stage, failure};
use crate::stand_in::{Reply, StandIn};

/// What a terminal was sent so far.
type Screen = Arc<Mutex<String>>;

/// The plugin with its standard error on a terminal that does not tell its width, and what that shows.
fn at_a_terminal(stage: &Stage, exchange: &StandIn, args: &[&str]) -> (Child, Screen) {
    at_a_terminal_of(0, stage, exchange, args)
}

/// As [`at_a_terminal`], of so many columns.
fn at_a_terminal_of(columns: u16, stage: &Stage, exchange: &StandIn, args: &[&str]) -> (Child, Screen) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    let terminal = File::options().read(true).write(true).custom_flags(flags).open(&name).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let child = Command::new(stage.plugin().get_program())
        .args(args)
        .args(["--server", &exchange.url, "--certificate-authority", &ca])
        .env_clear()
        .env("HOME", stage.home.path())
        .env("KEYPLANE_API_KEY", &stage.key)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let screen = Screen::default();
    let seen = Arc::clone(&screen);
    thread::spawn(move || {
        let (mut master, mut bytes) = (File::from(master), [0; 4096]);
        // It ends with an error when the program has closed the terminal.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        seen.lock().unwrap().push('\0');
    });
    (child, screen)
}

/// All that was sent, after the program's end.
fn whole(screen: &Screen) -> String {
    until("all is read", || screen.lock().unwrap().ends_with('\0'));
    screen.lock().unwrap().trim_end_matches('\0').to_owned()
}

#[test]
fn a_person_sees_who_is_waited_for_until_the_answer_comes() {
    for args in [&["whoami"][..], &["doctor"], &["login", "--from-env", "--store", "file"]] {
        let stage = Stage::new();
        // It answers when the line was seen, and not before.
        let line: Arc<Mutex<Option<Screen>>> = Arc::default();
        let seen = Arc::clone(&line);
        let exchange = StandIn::tls_by_path(move |path| {
            let is_seen = || {
                let screen = seen.lock().unwrap().clone();
                screen.is_some_and(|screen| screen.lock().unwrap().contains("waiting for "))
            };
            until("the line is seen", is_seen);
            if path == "/v1/whoami" {
                accepted()
            } else {
                Reply::token(TimeDelta::minutes(10), TimeDelta::zero())
            }
        });
        let (child, screen) = at_a_terminal(&stage, &exchange, args);
        *line.lock().unwrap() = Some(Arc::clone(&screen));
        let output = child.wait_with_output().unwrap();
        let screen = whole(&screen);
        assert!(!text(&output.stdout).contains("waiting for"), "{output:?}");
        let waiting = format!("\rwaiting for {}  (2 s)", exchange.url);
        let (before, after) = screen.split_once(&waiting).unwrap_or_else(|| panic!("{args:?}: {screen:?}"));
        assert_eq!(before, "", "silent at first");
        // Blanks over all of it, and what is said next begins at the left.
        let (cleared, next) = after.rsplit_once(&" ".repeat(waiting.len() - 1)).unwrap();
        assert!(cleared.ends_with('\r') && next.starts_with('\r') && !next.contains("waiting"), "{screen:?}");
        assert!(!screen.contains('\x1b'), "{screen:?}");
    }
}

#[test]
fn on_a_narrow_terminal_the_line_is_not_broken() {
    let stage = Stage::new();
    let silent = StandIn::handled(&crate::stand_in::Identity::default(), |stream| {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {}
        Ok(())
    });
    let (child, screen) = at_a_terminal_of(30, &stage, &silent, &["whoami", "--timeout", "4s"]);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(6));
    let screen = whole(&screen);
    let (signs, _) = screen.split_once("kubectl-keyplane: ").unwrap();
    assert!(signs.starts_with("\rwaiting for https") && signs.contains("...  (2 s)"), "{screen:?}");
    assert!(signs.split('\r').all(|line| line.len() < 30), "{screen:?}");
}

#[test]
fn kubectl_and_programs_see_nothing_but_the_failure() {
    // Each has its own: the CA's file is written anew for each start.
    let [stage, terminals, told] = [Stage::new(), Stage::new(), Stage::new()];
    let silent = StandIn::handled(&crate::stand_in::Identity::default(), |stream| {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {}
        Ok(())
    });
    let limit = ["--timeout", "4s"];
    let (get_token, screen) = at_a_terminal(&terminals, &silent, &[&["get-token"], &limit[..]].concat());
    let (verbose, steps) = at_a_terminal(&told, &silent, &[&["whoami", "--verbose"], &limit[..]].concat());
    let mut whoami = stage.command("whoami", &silent);
    failure(&whoami.env("KEYPLANE_API_KEY", &stage.key).args(limit).output().unwrap(), 6);
    assert_eq!(get_token.wait_with_output().unwrap().status.code(), Some(6));
    let screen = whole(&screen);
    assert!(screen.starts_with("kubectl-keyplane: ") && screen.matches('\n').count() == 1, "{screen:?}");
    assert_eq!(verbose.wait_with_output().unwrap().status.code(), Some(6));
    let steps = whole(&steps);
    assert!(steps.contains(": asks ") && !steps.contains("waiting for "), "{steps:?}");
}
