//! Where the system does not tell who asks, whoever asks again soon may have been refused: the exchange says it, and
//! where it does not answer nobody is worse off.

use assert_cmd::Command;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::parallel::token;
use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn};

const LIFE: TimeDelta = TimeDelta::minutes(10);

/// `get-token` as a client calls it.
fn asked_by_a_client(stage: &Stage, exchange: &StandIn) -> Command {
    let info = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {}});
    let mut command = stage.get_token(exchange);
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command
}

#[test]
fn who_asks_again_soon_is_given_what_the_exchange_says_to_the_token() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| token(&format!("token-{count}"), LIFE));
    for wanted in ["token-1", "token-2"] {
        let given = credential(&asked_by_a_client(&stage, &exchange).output().unwrap());
        assert_eq!(given["status"]["token"], wanted);
    }
    let asked = exchange.asked();
    let shown: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert_eq!((asked.len(), &shown["status"]["token"]), (2, &json!("token-1")));
    // Once was enough: whoever is in doubt again is not heard at once.
    asked_by_a_client(&stage, &exchange).assert().success();
    asked_by_a_client(&stage, &exchange).assert().success();
    assert!(exchange.asked().len() <= 3, "{:?}", exchange.asked().len());
}

#[test]
fn an_exchange_that_is_away_takes_no_token_from_anybody() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| match count {
        1 => token("token-1", LIFE),
        _ => Reply::problem(500, "out of order"),
    });
    for _ in 0..4 {
        let given = credential(&asked_by_a_client(&stage, &exchange).output().unwrap());
        assert_eq!(given["status"]["token"], "token-1");
    }
}

#[test]
fn a_key_that_was_revoked_is_told_to_who_asks_again_soon() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| match count {
        1 => token("token-1", LIFE),
        _ => Reply::problem(401, "Missing, invalid, revoked, or expired API key"),
    });
    asked_by_a_client(&stage, &exchange).assert().success();
    failure(&asked_by_a_client(&stage, &exchange).output().unwrap(), 4);
}
