//! A token that died before its end: the client that was refused asks again, and is not handed it a second time.

use std::fs;
use std::os::unix::fs::symlink;

use assert_cmd::Command;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::stage::{Stage, credential, failure, files_in, mode};
use crate::stand_in::{Reply, StandIn, now};

const SENTENCE: &str = "Missing, invalid, revoked, or expired API key";

/// Tokens that a test can tell apart by their lives.
fn healthy() -> StandIn {
    StandIn::tls(|count| {
        Reply::token(TimeDelta::minutes(count.try_into().unwrap()) + TimeDelta::minutes(9), TimeDelta::zero())
    })
}

/// A key that is revoked after its first token.
fn revoked() -> StandIn {
    StandIn::tls(|count| match count {
        1 => Reply::token(TimeDelta::minutes(10), TimeDelta::zero()),
        _ => Reply::problem(401, SENTENCE),
    })
}

/// `get-token` as this very process, a client, calls it.
fn asked_by_this_client(stage: &Stage, exchange: &StandIn) -> Command {
    let info = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {}});
    let mut command = stage.get_token(exchange);
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command
}

/// The record of hand-outs, the only one.
fn record(stage: &Stage) -> std::path::PathBuf {
    let files = files_in(&stage.cache_folder());
    let handed = |file: &&std::path::PathBuf| file.extension().is_some_and(|end| end == "handed");
    files.iter().find(handed).unwrap().clone()
}

fn edit_record(stage: &Stage, change: impl Fn(&mut Value)) {
    let file = record(stage);
    let mut hand_outs: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    hand_outs.iter_mut().for_each(change);
    fs::write(&file, Value::from(hand_outs).to_string()).unwrap();
}

#[test]
fn the_client_that_was_just_handed_the_token_is_given_a_new_one() {
    let (stage, exchange) = (Stage::new(), healthy());
    let first = credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let second = credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2);
    assert_ne!(first["status"]["expirationTimestamp"], second["status"]["expirationTimestamp"]);
    assert_eq!(mode(&record(&stage)), 0o600);
    // What it was given is in the cache, for the others.
    edit_record(&stage, |hand_out| hand_out["to"] = json!(1));
    let others = credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    assert_eq!((others, exchange.asked().len()), (second, 2));
}

#[test]
fn another_client_is_handed_the_cached_token() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let ca = stage.path("ca.pem");
    for _ in 0..3 {
        // Each shell is a client of its own; the second command keeps it from becoming the plugin itself.
        let output = std::process::Command::new("sh")
            .args(["-c", "\"$@\"; exit $?", "sh"])
            .arg(assert_cmd::cargo::cargo_bin("kubectl-keyplane"))
            .args(["get-token", "--server", &exchange.url, "--certificate-authority"])
            .arg(&ca)
            .env_clear()
            .env("HOME", stage.home.path())
            .env("KEYPLANE_API_KEY", &stage.key)
            .env(
                "KUBERNETES_EXEC_INFO",
                r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"}"#,
            )
            .output()
            .unwrap();
        credential(&output);
    }
    assert_eq!(exchange.asked().len(), 1);
}

#[test]
fn a_client_that_asks_later_is_believed_the_second_time() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    for wrong in [TimeDelta::seconds(-11), TimeDelta::minutes(1)] {
        edit_record(&stage, |hand_out| hand_out["at"] = json!(now() + wrong));
        credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    }
    assert_eq!(exchange.asked().len(), 1);
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn a_person_who_asks_twice_by_hand_is_handed_the_cached_token() {
    let (stage, exchange) = (Stage::new(), healthy());
    for _ in 0..3 {
        credential(&stage.get_token(&exchange).output().unwrap());
    }
    assert_eq!((exchange.asked().len(), files_in(&stage.cache_folder()).len()), (1, 1));
}

#[test]
fn after_revocation_the_refused_client_reads_one_line_and_the_token_is_forgotten() {
    let (stage, exchange) = (Stage::new(), revoked());
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let file = record(&stage).with_extension("json");
    assert!(file.exists());
    let line = failure(&asked_by_this_client(&stage, &exchange).output().unwrap(), 4);
    assert!(line.contains(SENTENCE), "{line}");
    assert!(line.contains(&format!("kubectl get apikeys -A shows PREFIX {}", &stage.key[..8])), "{line}");
    assert!(!file.exists());
    // Nobody is handed it any more.
    failure(&stage.get_token(&exchange).output().unwrap(), 4);
}

#[test]
fn an_exchange_that_is_away_does_not_cost_the_cached_token() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| match count {
        1 => Reply::token(TimeDelta::minutes(10), TimeDelta::zero()),
        _ => Reply::new(401, "<html>a proxy</html>"),
    });
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    failure(&asked_by_this_client(&stage, &exchange).output().unwrap(), 8);
    credential(&stage.get_token(&exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn a_record_that_is_damaged_costs_nothing_and_heals() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let huge = " ".repeat(100_000);
    for content in ["", "[", "[{}]", "null", &huge, "a link"] {
        let file = record(&stage);
        if content == "a link" {
            fs::remove_file(&file).unwrap();
            symlink(stage.path("ca.pem"), &file).unwrap();
        } else {
            fs::write(&file, content).unwrap();
        }
        let asked = exchange.asked().len();
        credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
        assert_eq!(exchange.asked().len(), asked, "{content:?}");
        credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
        assert_eq!(exchange.asked().len(), asked + 1, "{content:?}");
    }
}
