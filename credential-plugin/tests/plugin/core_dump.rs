//! A plugin that waits for the exchange, with the key in its memory, is one of which the system takes no core dump.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;

use chrono::TimeDelta;

use crate::parallel::{token, until};
use crate::stage::Stage;
use crate::stand_in::StandIn;

/// A user without rights of its own: what root starts is root's in any case.
const NOBODY: u32 = 65534;

#[test]
fn the_system_takes_no_core_dump_of_a_start_even_where_a_program_gets_them() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let exchange = StandIn::tls(move |_| {
        let _ = released.lock().unwrap().recv();
        token("late", TimeDelta::minutes(10))
    });
    let stage = Stage::new();
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("kubectl-keyplane"));
    command
        .args(["get-token", "--server", &exchange.url, "--certificate-authority", &ca])
        .env_clear()
        .envs(stage.environment())
        .env("KEYPLANE_API_KEY", &stage.key)
        .current_dir(stage.home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if rustix::process::geteuid().is_root() {
        chown(stage.home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut start = command.spawn().unwrap();
    until("it asks", || exchange.asked().len() == 1);
    let about = format!("/proc/{}", start.id());
    // proc(5): what tells of the memory of a process of which no dump is taken is root's, whoever runs it.
    let owner = fs::metadata(format!("{about}/mem")).unwrap().uid();
    // For what it starts.
    let limits = fs::read_to_string(format!("{about}/limits")).unwrap();
    release.send(()).unwrap();
    assert!(start.wait().unwrap().success());
    assert_eq!(owner, 0);
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(limit.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
}
