//! Of many starts whose key a command prints, one runs it: each run may be a question to a person.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::parallel::{outputs, token, until};
use crate::single_flight::platform::until_they_wait;
use crate::stage::{Stage, credential, failure, files_in, new_key};
use crate::stand_in::{Reply, StandIn};

const LIFE: TimeDelta = TimeDelta::minutes(10);

/// Starts whose key command is a script that leaves a line in `runs`.
struct Asking<'a> {
    stage: &'a Stage,
    exchange: &'a StandIn,
    script: String,
    ca: String,
    arguments: &'a [&'a str],
}

impl<'a> Asking<'a> {
    fn new(stage: &'a Stage, exchange: &'a StandIn, body: &str) -> Self {
        let ca = stage.file("ca.pem", &exchange.ca, 0o644);
        let this = Self { stage, exchange, script: "asking".to_owned(), ca, arguments: &[] };
        this.says(body);
        this
    }

    /// What the command does from now on.
    fn says(&self, body: &str) {
        let runs = self.stage.path("runs");
        // In one step: a shell reads its script while it runs.
        let next = self.stage.file("next", &format!("echo run >> '{}'\n{body}\n", runs.display()), 0o600);
        fs::rename(next, self.stage.path(&self.script)).unwrap();
    }

    fn start(&self) -> Child {
        self.start_with(&[])
    }

    /// A start in a shell that has these variables besides.
    fn start_with(&self, variables: &[(&str, &str)]) -> Child {
        let script = format!("sh {}", self.stage.path(&self.script).display());
        Command::new(assert_cmd::cargo::cargo_bin("kubectl-keyplane"))
            .args(["get-token", "--server", &self.exchange.url, "--certificate-authority", &self.ca])
            .args(["--key-command", &script])
            .args(self.arguments)
            .env_clear()
            .env("HOME", self.stage.home.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn one(&self) -> Output {
        outputs(vec![self.start()]).remove(0)
    }

    fn many(&self, count: usize) -> Vec<Child> {
        (0..count).map(|_| self.start()).collect()
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.stage.path("runs")).map_or(0, |text| text.lines().count())
    }
}

fn exchange(takes: Duration) -> StandIn {
    StandIn::tls(move |count| {
        thread::sleep(takes);
        token(&format!("token-{count}"), LIFE)
    })
}

/// The script's words that take this long and then print the key.
fn printing(key: &str) -> String {
    format!("sleep 0.3; echo {key}")
}

#[test]
fn of_30_parallel_cold_starts_one_runs_the_command_and_asks() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::from_millis(300)));
    let asking = Asking::new(&stage, &exchange, &printing(&stage.key));
    let started = Instant::now();
    for output in outputs(asking.many(30)) {
        assert_eq!(credential(&output)["status"]["token"], "token-1");
    }
    println!("30 cold starts, command and exchange of 300 ms each: {:?}", started.elapsed());
    assert_eq!((asking.runs(), exchange.asked().len()), (1, 1));
    for file in files_in(&stage.cache_folder()) {
        let content = fs::read_to_string(&file).unwrap();
        assert!(!content.contains(&stage.key[4..]), "the key is in {}", file.display());
    }
}

#[test]
fn of_parallel_starts_that_know_the_key_but_have_no_token_one_runs_the_command() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::from_millis(100)));
    let asking = Asking::new(&stage, &exchange, &printing(&stage.key));
    credential(&asking.one());
    fs::remove_file(stage.cache_file()).unwrap();
    for output in outputs(asking.many(20)) {
        assert_eq!(credential(&output)["status"]["token"], "token-2");
    }
    assert_eq!((asking.runs(), exchange.asked().len()), (2, 2));
}

#[test]
fn of_parallel_starts_that_know_another_key_one_learns_the_new_one_for_all() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::from_millis(100)));
    let asking = Asking::new(&stage, &exchange, &printing(&stage.key));
    credential(&asking.one());
    fs::remove_file(stage.cache_file()).unwrap();
    let other = new_key();
    asking.says(&printing(&other));
    for output in outputs(asking.many(20)) {
        assert_eq!(credential(&output)["status"]["token"], "token-2");
    }
    let asked = exchange.asked();
    assert_eq!((asking.runs(), asked.len()), (2, 2));
    assert_eq!(asked[1].header("x-api-key"), Some(other.as_str()));
}

#[test]
fn when_the_one_that_runs_the_command_is_killed_one_other_runs_it() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let asking = Asking::new(&stage, &exchange, "exec sleep 5");
    let mut leader = asking.start();
    until("the first one runs it", || asking.runs() == 1);
    asking.says(&printing(&stage.key));
    let rest = asking.many(20);
    until_they_wait(&rest);
    kill_process(Pid::from_child(&leader), Signal::KILL).unwrap();
    leader.wait().unwrap();
    for output in outputs(rest) {
        assert_eq!(credential(&output)["status"]["token"], "token-1");
    }
    assert_eq!((asking.runs(), exchange.asked().len()), (2, 1));
}

#[test]
fn when_the_one_that_runs_the_command_is_stopped_another_runs_it_beside() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let mut asking = Asking::new(&stage, &exchange, "exec sleep 5");
    asking.arguments = &["--key-command-timeout", "1", "--timeout", "3"];
    let mut leader = asking.start();
    until("the first one runs it", || asking.runs() == 1);
    kill_process(Pid::from_child(&leader), Signal::STOP).unwrap();
    asking.says(&printing(&stage.key));
    for output in outputs(asking.many(10)) {
        assert_eq!(credential(&output)["status"]["token"], "token-1");
    }
    assert_eq!((asking.runs(), exchange.asked().len()), (2, 1));
    leader.kill().unwrap();
    leader.wait().unwrap();
}

#[test]
fn a_command_that_fails_is_run_once_for_all_that_start_together_and_again_later() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    // Nobody comes so late that the first failure does not count any more.
    let asking = Asking::new(&stage, &exchange, "sleep 0.3; exit 7");
    let started = Instant::now();
    let said: Vec<String> = outputs(asking.many(30))
        .iter()
        .map(|output| failure(output, 3).split(';').next().unwrap().to_owned())
        .collect();
    let took = started.elapsed();
    assert!(said.iter().all(|line| line == &said[0]), "{said:?}");
    assert!(said[0].contains("the key command failed: exit status: 7"), "{said:?}");
    // A failure counts for a second first.
    assert!(u64::try_from(asking.runs()).unwrap() <= 1 + took.as_secs(), "{} in {took:?}", asking.runs());
    asking.says(&printing(&stage.key));
    until("it is tried again", || asking.one().status.success());
    let again = asking.runs();
    credential(&asking.one());
    assert_eq!((asking.runs(), exchange.asked().len()), (again, 1));
}

#[test]
fn a_failure_of_the_command_is_told_again_with_when_it_runs_anew_and_not_without_a_cache() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let mut asking = Asking::new(&stage, &exchange, "exit 7");
    let first = failure(&asking.one(), 3);
    assert!(!first.contains("told again"), "{first}");
    let again = failure(&asking.one(), 3);
    assert!(again.contains("told again") && again.contains("the key command runs anew in"), "{again}");
    asking.arguments = &["--no-cache"];
    let runs = asking.runs();
    let own = failure(&asking.one(), 3);
    assert!(!own.contains("told again") && asking.runs() == runs + 1, "{own}");
}

#[test]
fn a_command_that_fails_in_one_shell_runs_in_another_in_which_it_works() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let body = format!("test \"$SESSION\" = secret-session || exit 7; echo {}", stage.key);
    let asking = Asking::new(&stage, &exchange, &body);
    let with = |variables: &[(&str, &str)]| outputs(vec![asking.start_with(variables)]).remove(0);
    // Whatever a client tells about each call, it is the same shell.
    let told = (0..10)
        .filter(|call| {
            let spec = json!({"interactive": call % 2 == 0});
            let info = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": spec})
                .to_string();
            failure(&with(&[("KUBERNETES_EXEC_INFO", &info)]), 3).contains("told again")
        })
        .count();
    assert!(told > 0 && asking.runs() == 10 - told, "{told} of 10, {} runs", asking.runs());
    credential(&with(&[("SESSION", "secret-session")]));
    assert_eq!((asking.runs(), exchange.asked().len()), (11 - told, 1));
    // What fails first in a shell counts for a second, however often it failed in others.
    for file in ["json", "key-command"] {
        fs::remove_file(stage.cache_file_ending(file)).unwrap();
    }
    for wrong in ["one", "two", "three"] {
        failure(&with(&[("SESSION", wrong)]), 3);
        let remembered = fs::read_to_string(stage.cache_file_ending("command-failed")).unwrap();
        assert!(remembered.contains(r#""inARow":1,"#) && !remembered.contains(wrong), "{remembered}");
    }
}

#[test]
fn what_is_remembered_of_a_command_that_fails_holds_no_key() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let mistyped = &stage.key[..stage.key.len() - 1];
    let asking = Asking::new(&stage, &exchange, "");
    for body in
        [format!("echo {mistyped}x"), format!("echo ' {}'", stage.key), format!("echo {}; exit 1", stage.key)]
    {
        asking.says(&body);
        failure(&asking.one(), 3);
        let remembered = stage.cache_file_ending("command-failed");
        let content = fs::read_to_string(&remembered).unwrap();
        assert!(!content.contains(&stage.key[8..20]), "{body}: {content}");
        fs::remove_file(remembered).unwrap();
    }
}

#[test]
fn without_a_cache_that_can_be_used_each_start_runs_the_command() {
    for no_cache in [true, false] {
        let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
        let mut asking = Asking::new(&stage, &exchange, &printing(&stage.key));
        if no_cache {
            asking.arguments = &["--no-cache"];
        } else {
            fs::create_dir_all(stage.cache_folder()).unwrap();
            fs::set_permissions(stage.cache_folder(), fs::Permissions::from_mode(0o777)).unwrap();
        }
        for output in outputs(asking.many(4)) {
            credential(&output);
        }
        assert_eq!((asking.runs(), exchange.asked().len()), (4, 4));
        assert!(files_in(&stage.cache_folder()).is_empty());
    }
}

#[test]
fn a_refusal_of_the_commands_key_is_told_to_all_who_waited_for_it() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| Reply::problem(401, "Missing, invalid, revoked, or expired API key"));
    let asking = Asking::new(&stage, &exchange, &printing(&stage.key));
    let started = Instant::now();
    for output in outputs(asking.many(20)) {
        failure(&output, 4);
    }
    let most = 1 + started.elapsed().as_secs();
    assert!(u64::try_from(asking.runs()).unwrap() <= most && exchange.asked().len() <= asking.runs());
}

#[test]
fn an_early_refresh_waits_for_no_question_and_asks_it_seldom() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let asking = Asking::new(&stage, &exchange, &printing(&stage.key));
    let cold = credential(&asking.one());
    // In the last quarter of its time.
    stage.edit_cached("json", |entry| {
        let life = entry["life"].as_object_mut().unwrap();
        let now = crate::stand_in::now();
        life.insert("obtainedAt".to_owned(), (now - TimeDelta::minutes(9)).to_rfc3339().into());
        life.insert("expiresAt".to_owned(), (now + TimeDelta::minutes(2)).to_rfc3339().into());
    });
    asking.says("exec sleep 50");
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(credential(&asking.one())["status"]["token"], cold["status"]["token"]);
    }
    // The command would take its whole minute.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!((asking.runs(), exchange.asked().len()), (2, 1));
}

#[test]
fn a_folder_in_the_notes_place_is_moved_aside() {
    let (stage, exchange) = (Stage::new(), exchange(Duration::ZERO));
    let asking = Asking::new(&stage, &exchange, &printing(&stage.key));
    credential(&asking.one());
    let note = stage.cache_file_ending("key-command");
    fs::remove_file(&note).unwrap();
    fs::create_dir(&note).unwrap();
    for _ in 0..2 {
        credential(&asking.one());
    }
    assert!(note.is_file() && asking.runs() == 2);
}
