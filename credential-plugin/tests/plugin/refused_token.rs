//! A token that died before its end: the client that was refused asks again, and is not handed it a second time.

use std::fs;

use assert_cmd::Command;
use chrono::{DateTime, TimeDelta};
use keyplane_credential_plugin::token::hand_out::{checks_after, may_check};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::parallel::{Starts, outputs, token};
use crate::stage::{Stage, credential, failure, has_mode};
use crate::stand_in::{Reply, StandIn, TOKEN, now};

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

fn edit_hand_outs(stage: &Stage, change: impl Fn(&mut Value)) {
    stage.edit_cached("handed", |record| record.as_array_mut().unwrap().iter_mut().for_each(&change));
}

/// The token that the n-th request showed to the exchange.
fn shown(exchange: &StandIn, n: usize) -> Option<String> {
    let body: Value = serde_json::from_str(&exchange.asked()[n - 1].body).unwrap();
    body["status"]["token"].as_str().map(str::to_owned)
}

#[test]
fn the_client_that_was_just_handed_the_token_is_given_a_new_one() {
    let (stage, exchange) = (Stage::new(), healthy());
    let first = credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let second = credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2);
    assert_eq!((shown(&exchange, 1), shown(&exchange, 2)), (None, Some(TOKEN.to_owned())));
    assert_ne!(first["status"]["expirationTimestamp"], second["status"]["expirationTimestamp"]);
    assert!(has_mode(&stage.cache_file_ending("handed"), 0o600));
    // What it was given is in the cache, for the others.
    edit_hand_outs(&stage, |hand_out| hand_out["to"] = json!(1));
    let others = credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    assert_eq!((others, exchange.asked().len()), (second, 2));
}

#[test]
fn clients_that_are_refused_at_once_are_one_question() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| token(&format!("token-{count}"), TimeDelta::minutes(10)));
    let starts = Starts::new(&stage, &exchange, &[]).by_this_client();
    credential(&outputs(vec![starts.start()])[0]);
    let started = std::time::Instant::now();
    for output in outputs(starts.many(20)) {
        assert_ne!(credential(&output)["status"]["token"], "token-1", "it is not handed out again");
    }
    let later = usize::try_from(started.elapsed().as_secs() / 2).unwrap();
    assert!((2..=2 + later).contains(&exchange.asked().len()), "{}", exchange.asked().len());
    assert_eq!(shown(&exchange, 2), Some("token-1".to_owned()));
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
            .envs(stage.environment())
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
        edit_hand_outs(&stage, |hand_out| hand_out["at"] = json!(now() + wrong));
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
    assert_eq!(exchange.asked().len(), 1);
    assert!(!stage.cache_file().with_extension("handed").exists());
}

#[test]
fn after_revocation_the_refused_client_reads_one_line_and_the_token_is_forgotten() {
    let (stage, exchange) = (Stage::new(), revoked());
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let file = stage.cache_file_ending("handed").with_extension("json");
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
    // Others go on with the cached token, and so does this client a moment later.
    credential(&stage.get_token(&exchange).output().unwrap());
    edit_hand_outs(&stage, |hand_out| hand_out["at"] = json!(now() - TimeDelta::seconds(11)));
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn a_program_that_makes_many_clients_asks_the_exchange_ever_more_seldom() {
    let (stage, exchange) = (Stage::new(), healthy());
    let started = std::time::Instant::now();
    for _ in 0..20 {
        credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    }
    let (asked, took) = (exchange.asked().len(), started.elapsed());
    println!("20 clients of one program: {asked} requests in {took:?}");
    // The first, one that shows the token, and then at most one in 2 s.
    let later = usize::try_from(took.as_secs() / 2).unwrap();
    assert!((2..=2 + later).contains(&asked), "{asked}");
}

proptest! {
    #[test]
    fn however_often_clients_ask_the_exchange_is_asked_seldom(
        gaps in proptest::collection::vec(0_i64..3_000, 0..600),
    ) {
        let start = DateTime::UNIX_EPOCH;
        let (mut now, mut checks, mut checked_at, mut asked) = (start, 0, start, 0_i64);
        for gap in gaps {
            now += TimeDelta::milliseconds(gap);
            if may_check(checks, checked_at, now) {
                (checks, checked_at, asked) = (checks_after(checks, checked_at, now), now, asked + 1);
            }
        }
        prop_assert!(asked <= 7 + (now - start).num_seconds() / 64, "{asked} in {}", now - start);
    }

    #[test]
    fn after_a_calm_time_the_first_question_is_asked_at_once(checks: u32, calm in 120_i64..1_000_000) {
        let start = DateTime::UNIX_EPOCH;
        let now = start + TimeDelta::seconds(calm);
        prop_assert!(may_check(checks, start, now));
        prop_assert_eq!(checks_after(checks, start, now), 1);
    }
}

#[test]
fn a_record_that_is_damaged_costs_nothing_and_heals() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
    let huge = " ".repeat(100_000);
    for content in ["", "[", "[{}]", "null", &huge, "a link"] {
        let file = stage.cache_file_ending("handed");
        if content == "a link" {
            fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink(stage.path("ca.pem"), &file).unwrap();
        } else {
            fs::write(&file, content).unwrap();
        }
        let asked = exchange.asked().len();
        credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
        assert_eq!(exchange.asked().len(), asked, "{content:?}");
        stage.edit_cached("json", |entry| entry["checks"] = json!(0));
        credential(&asked_by_this_client(&stage, &exchange).output().unwrap());
        assert_eq!(exchange.asked().len(), asked + 1, "{content:?}");
    }
}
