//! A kubeconfig that others use at the same time: locks, other commands, and programs that have it open.

use std::process::Stdio;
use std::{fs, process, thread};

use assert_cmd::cargo::CommandCargoExt as _;

use crate::kubeconfig_files::{THEIRS, arguments, names, read};
#[cfg(any(target_os = "macos", windows))]
use crate::kubeconfig_files::{list, merging};
use crate::kubeconfig_styles::has_lines;
use crate::stage::Stage;

#[test]
fn many_at_once_lose_nothing() {
    let stage = Stage::new();
    fs::create_dir(stage.path(".kube")).unwrap();
    stage.file(".kube/config", THEIRS, 0o600);
    let other_name = platform::another_name(&stage, ".kube/config");
    let clusters: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let started: Vec<_> = clusters
        .iter()
        .enumerate()
        .map(|(n, cluster)| {
            let mut command = process::Command::cargo_bin("kubectl-keyplane").unwrap();
            command.env_clear().envs(stage.environment()).current_dir(stage.home.path());
            command.args(arguments(cluster)).stderr(Stdio::piped());
            // By two names of the same file.
            let command =
                if n % 2 == 0 { command.arg("--merge") } else { command.args(["--merge-into", &other_name]) };
            command.spawn().unwrap()
        })
        .collect();
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let text = fs::read_to_string(stage.path(".kube/config")).unwrap();
    has_lines(&text, THEIRS.lines()).unwrap();
    let mut found = names(&read(&stage, ".kube/config"), "contexts");
    found.sort();
    assert_eq!(found, clusters);
    assert!(!stage.path(".kube/config.lock").exists());
}

#[test]
fn kubectls_lock_is_waited_for() {
    let stage = Stage::new();
    stage.file("config", THEIRS, 0o600);
    let lock = stage.file("config.lock", "", 0o000);
    let mut command = process::Command::cargo_bin("kubectl-keyplane").unwrap();
    command.env_clear().envs(stage.environment()).current_dir(stage.home.path());
    command.args(arguments("prod")).args(["--merge-into", "config", "--verbose"]).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // As soon as it says that it waits, the other command is done.
    while !line.contains("waiting for") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut told, &mut line).unwrap(), 0);
    }
    assert_eq!(fs::read_to_string(stage.path("config")).unwrap(), THEIRS);
    fs::remove_file(&lock).unwrap();
    thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    assert!(child.wait().unwrap().success());
    assert_eq!(names(&read(&stage, "config"), "clusters"), ["theirs", "prod"]);
}

#[cfg(any(target_os = "macos", windows))]
#[test]
fn a_file_that_is_listed_in_two_letter_cases_is_locked_once() {
    for exists in [true, false] {
        let stage = Stage::new();
        if exists {
            stage.file("config", THEIRS, 0o600);
        }
        let output = merging(&stage, "prod").env("KUBECONFIG", list(&["config", "CONFIG"])).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let expected: &[&str] = if exists { &["theirs", "prod"] } else { &["prod"] };
        assert_eq!(names(&read(&stage, "config"), "clusters"), expected);
        assert!(!stage.path("config.lock").exists());
    }
}

/// As an editor or kubectl itself may have it open at that moment.
#[cfg(windows)]
#[test]
fn a_file_that_others_have_open_is_replaced() {
    use std::os::windows::fs::OpenOptionsExt as _;

    use crate::parallel::until;
    let stage = Stage::new();
    stage.file("config", THEIRS, 0o600);
    let (read, write, delete) = (1, 2, 4);
    // As Rust opens files, and as Go does: the second lets nobody replace the file, so that is waited for.
    for (cluster, share) in [("one", read | write | delete), ("two", read | write)] {
        let open = fs::OpenOptions::new().read(true).share_mode(share).open(stage.path("config")).unwrap();
        // Until the merge is about to replace the file: then it has backed up what the file held.
        let backup = stage.path("config.keyplane-backup");
        let _ = fs::remove_file(&backup);
        let closing = thread::spawn(move || {
            until("the merge has begun", || backup.exists());
            // Nothing tells that it has met the open file: it does within this time, or the test proves less.
            thread::sleep(std::time::Duration::from_millis(50));
            drop(open);
        });
        let output = merging(&stage, cluster).env("KUBECONFIG", "config").output().unwrap();
        closing.join().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(names(&self::read(&stage, "config"), "contexts"), ["one", "two"]);
}

#[cfg(unix)]
mod platform {
    use std::os::unix::fs::symlink;

    use crate::stage::Stage;

    /// Another name of the same file.
    pub(super) fn another_name(stage: &Stage, name: &str) -> String {
        symlink(stage.path(name), stage.path("other-name")).unwrap();
        "other-name".to_owned()
    }
}

#[cfg(windows)]
mod platform {
    use crate::stage::Stage;

    /// Another name of the same file.
    pub(super) fn another_name(stage: &Stage, name: &str) -> String {
        format!(r"{}\.\.kube\..\{name}", stage.home.path().display())
    }
}
