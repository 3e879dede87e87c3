//! Where nothing can be stored, parallel starts do not ask one after another.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::parallel::{outputs, token, until};
use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn};

const TAKES: Duration = Duration::from_secs(1);

/// Starts for whom each writing fails, as on a full disk; the signal that comes with it is ignored.
fn start(stage: &Stage, exchange: &StandIn, ca: &str) -> Child {
    Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""])
        .arg(assert_cmd::cargo::cargo_bin("kubectl-keyplane"))
        .args(["get-token", "--server", &exchange.url, "--certificate-authority", ca, "--timeout", "60"])
        .env_clear()
        .env("HOME", stage.home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("KEYPLANE_API_KEY", &stage.key)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How long it takes until 20 starts have ended that came while one asked.
fn time_of_20(stage: &Stage, exchange: &StandIn, code: i32) -> Duration {
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let leader = start(stage, exchange, &ca);
    until("the first one asks", || exchange.asked().len() == 1);
    let started = Instant::now();
    let rest: Vec<Child> = (0..20).map(|_| start(stage, exchange, &ca)).collect();
    for output in outputs(rest).iter().chain(&outputs(vec![leader])) {
        if code == 0 { drop(credential(output)) } else { drop(failure(output, code)) }
    }
    started.elapsed()
}

#[test]
fn parallel_starts_that_can_store_no_token_ask_beside_each_other() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| {
        thread::sleep(TAKES);
        token(&format!("token-{count}"), TimeDelta::minutes(10))
    });
    let took = time_of_20(&stage, &exchange, 0);
    println!("21 starts on a full disk against an exchange of {TAKES:?}: {took:?}");
    // One after another they take 21 times as long as one.
    assert!(took < TAKES * 10, "{took:?}");
}

#[test]
fn parallel_starts_that_can_store_no_failure_ask_beside_each_other() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| {
        thread::sleep(TAKES);
        Reply::problem(401, "Missing, invalid, revoked, or expired API key")
    });
    let took = time_of_20(&stage, &exchange, 4);
    println!("21 starts on a full disk that are refused after {TAKES:?}: {took:?}");
    assert!(took < TAKES * 10, "{took:?}");
}
