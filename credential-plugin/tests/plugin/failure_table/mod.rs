//! The table of failures: each row a fault, the exit code, and the words of its one line; or success, where the plugin
//! heals itself. Each is also held to the time limit, and to showing neither key nor token.

mod answers;
mod connection;
mod machine;

use std::any::Any;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use chrono::{DateTime, TimeDelta, Utc};

use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn, TOKEN, now};

/// What a run may take beyond its time limit on a busy machine.
const SLACK: Duration = Duration::from_secs(8);
/// The time limit of most rows, in seconds: a busy machine needs some for what is not about time.
const LIMIT: u64 = 5;

/// One fault.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    scene: fn() -> Scene,
    /// The exit code.
    code: i32,
    /// What the line says, besides; of a success nothing.
    words: &'static [&'static str],
}

/// A fault ready to be met.
struct Scene {
    stage: Stage,
    command: Command,
    /// Requests that the exchange shall have seen afterwards.
    asked: Option<(StandIn, usize)>,
    /// How long it may take.
    limit: Duration,
    /// Servers that shall live until then.
    kept: Vec<Box<dyn Any>>,
}

impl Scene {
    /// `get-token` against this exchange.
    fn with(exchange: StandIn) -> Self {
        let stage = Stage::new();
        let command = stage.get_token(&exchange);
        let mut scene = Self::of(stage, command);
        scene.kept.push(Box::new(exchange));
        scene.args(&["--timeout", &LIMIT.to_string()])
    }

    /// As [`Scene::with`], and the exchange is asked so often.
    fn counted(exchange: StandIn, times: usize) -> Self {
        let stage = Stage::new();
        let command = stage.get_token(&exchange);
        Self { asked: Some((exchange, times)), ..Self::of(stage, command) }
    }

    fn of(stage: Stage, command: Command) -> Self {
        let limit = Duration::from_secs(30);
        Self { stage, command, asked: None, limit, kept: Vec::new() }
    }

    /// `get-token` with these arguments and a key, and no more.
    fn bare(args: &[&str]) -> Self {
        let stage = Stage::new();
        let mut command = stage.plugin();
        command.env("KEYPLANE_API_KEY", &stage.key).arg("get-token").args(args);
        Self::of(stage, command)
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        if args.contains(&"--timeout") {
            self.limit = Duration::from_secs(LIMIT);
        }
        self
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn keep(mut self, server: impl Any) -> Self {
        self.kept.push(Box::new(server));
        self
    }
}

fn healthy() -> StandIn {
    StandIn::tls(|_| token())
}

fn token() -> Reply {
    Reply::token(TimeDelta::minutes(10), TimeDelta::zero())
}

fn meet(row: &Row) {
    let mut scene = (row.scene)();
    let (began, instant) = (now(), Instant::now());
    let output = scene.command.output().unwrap();
    let took = instant.elapsed();
    eprintln!("{}: {}", row.name, String::from_utf8_lossy(&output.stderr).trim_end());
    assert!(took < scene.limit + SLACK, "{}: {took:?}", row.name);
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    let secret = scene.stage.key.split_once('_').unwrap().1;
    assert!(!line.contains(secret) && !line.contains(TOKEN), "{}: {line}", row.name);
    if row.code == 0 {
        let credential = credential(&output);
        assert_eq!(credential["status"]["token"], TOKEN, "{}", row.name);
        // Whatever any clock says, it is what is left of ten minutes.
        let ends: DateTime<Utc> =
            credential["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
        assert!(ends > began + TimeDelta::seconds(590) && ends <= now() + TimeDelta::minutes(10), "{ends}");
    } else {
        failure(&output, row.code);
        for words in row.words {
            assert!(line.contains(words), "{}: no {words:?} in {line}", row.name);
        }
    }
    if let Some((exchange, times)) = &scene.asked {
        assert_eq!(exchange.asked().len(), *times, "{}: requests", row.name);
    }
}

/// Meets the rows, some at once: most of them wait.
fn meet_all(rows: &[Row]) {
    thread::scope(|scope| {
        let workers: Vec<_> = rows
            .chunks(rows.len().div_ceil(6))
            .map(|rows| scope.spawn(|| rows.iter().for_each(meet)))
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn each_bad_answer_of_the_exchange_has_its_code_and_its_words() {
    meet_all(&answers::rows());
}

#[test]
fn each_fault_on_the_way_to_the_exchange_has_its_code_and_its_words() {
    meet_all(&connection::rows());
}

#[test]
fn each_fault_of_this_machine_has_its_code_and_its_words_or_heals() {
    meet_all(&machine::rows());
}

#[test]
fn the_table_has_no_row_twice() {
    let rows = [answers::rows(), connection::rows(), machine::rows()].concat();
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
    assert!(rows.len() >= 40, "{} rows", rows.len());
}
