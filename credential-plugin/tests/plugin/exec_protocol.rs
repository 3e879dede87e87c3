//! The exec credential protocol: versions, cluster information, and what the exchange is told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use keyplane_credential_plugin::exchange::address::BaseUrl;
use keyplane_credential_plugin::exchange::allowed::AllowedExchange;
use serde_json::{Value, json};

use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn, TOKEN, now};

const TEN_MINUTES: TimeDelta = TimeDelta::minutes(10);

fn healthy() -> StandIn {
    StandIn::tls(|_| Reply::token(TEN_MINUTES, TimeDelta::zero()))
}

fn expiry(credential: &Value) -> DateTime<Utc> {
    credential["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap()
}

fn info(version: &str, spec: &Value) -> String {
    json!({
        "apiVersion": format!("client.authentication.k8s.io/{version}"),
        "kind": "ExecCredential",
        "spec": spec,
    })
    .to_string()
}

#[test]
fn the_output_has_the_version_that_was_asked_for_and_nothing_but_the_credential() {
    for version in ["v1", "v1beta1"] {
        let (stage, exchange) = (Stage::new(), healthy());
        let output = stage
            .get_token(&exchange)
            .env("KUBERNETES_EXEC_INFO", info(version, &json!({"interactive": false})))
            .output()
            .unwrap();
        let credential = credential(&output);
        let api_version = format!("client.authentication.k8s.io/{version}");
        assert_eq!(credential["apiVersion"], api_version);
        assert_eq!(credential["kind"], "ExecCredential");
        assert_eq!(credential["status"]["token"], TOKEN);
        assert_eq!(credential["status"].as_object().unwrap().len(), 2);

        let asked = &exchange.asked()[0];
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(body, json!({"apiVersion": api_version, "kind": "ExecCredential", "spec": {}}));
    }
}

#[test]
fn without_exec_info_the_output_is_v1() {
    let (stage, exchange) = (Stage::new(), healthy());
    let output = stage.get_token(&exchange).output().unwrap();
    assert_eq!(credential(&output)["apiVersion"], "client.authentication.k8s.io/v1");
}

#[test]
fn the_key_travels_in_the_header_and_nowhere_else() {
    let (stage, exchange) = (Stage::new(), healthy());
    credential(&stage.get_token(&exchange).output().unwrap());
    let asked = exchange.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].head.starts_with("POST /v1/kubernetes/exec-credential HTTP/1.1\r\n"));
    assert_eq!(asked[0].header("x-api-key"), Some(stage.key.as_str()));
    assert_eq!(asked[0].head.matches(&stage.key).count(), 1);
    assert!(!asked[0].body.contains(&stage.key));
}

#[test]
fn the_clusters_extension_says_where_the_exchange_is_and_whom_to_trust() {
    let (stage, exchange) = (Stage::new(), healthy());
    let data = json!({"server": exchange.url, "certificateAuthorityData": STANDARD.encode(&exchange.ca)});
    let file =
        json!({"server": exchange.url, "certificateAuthority": stage.file("x.pem", &exchange.ca, 0o644)});
    for config in [data, file] {
        let spec = json!({
            "interactive": true,
            "cluster": {
                "server": "https://api.example:6443",
                "certificate-authority-data": "QUJD",
                "tls-server-name": "api",
                "insecure-skip-tls-verify": false,
                "proxy-url": "http://proxy.example",
                "disable-compression": true,
                "config": config,
            },
        });
        let base = BaseUrl::parse(&exchange.url).unwrap();
        let allowed = AllowedExchange::new(base, Some(exchange.ca.as_bytes())).unwrap();
        let output = stage
            .plugin()
            .args(["get-token", "--no-cache", "--allow-server", &allowed.to_string()])
            .env("KEYPLANE_API_KEY", &stage.key)
            .env("KUBERNETES_EXEC_INFO", info("v1", &spec))
            .output()
            .unwrap();
        credential(&output);
    }
    for asked in exchange.asked() {
        assert!(!asked.head.contains("api.example") && !asked.body.contains("api.example"));
    }
}

#[test]
fn an_argument_wins_over_the_clusters_extension_and_the_environment_serves_as_one() {
    let (stage, exchange) = (Stage::new(), healthy());
    let elsewhere = json!({"cluster": {"config": {"server": "https://elsewhere.invalid"}}});
    let output =
        stage.get_token(&exchange).env("KUBERNETES_EXEC_INFO", info("v1", &elsewhere)).output().unwrap();
    credential(&output);
    let output = stage
        .plugin()
        .args(["get-token", "--no-cache"])
        .env("KEYPLANE_API_KEY", &stage.key)
        .env("KEYPLANE_URL", format!("{}/", exchange.url))
        .env("KEYPLANE_CA_FILE", stage.path("ca.pem"))
        .output()
        .unwrap();
    credential(&output);
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn exec_info_that_cannot_be_used_is_told_without_asking_anyone() {
    let (stage, exchange) = (Stage::new(), healthy());
    let relative = json!({"cluster": {"config": {"server": exchange.url, "certificateAuthority": "ca.pem"}}});
    let no_base64 = json!({"cluster": {"config": {"server": exchange.url, "certificateAuthorityData": "%"}}});
    for (text, part) in [
        ("{".to_owned(), "line 1 column 1"),
        (info("v1alpha1", &json!({})), "v1alpha1"),
        (json!({"apiVersion": "v1", "kind": "Pod"}).to_string(), "Pod"),
        (info("v1", &json!({"cluster": {"config": 7}})), "cannot be read"),
        (info("v1", &json!({})), "address is not known"),
        (info("v1", &relative), "absolute"),
        (info("v1", &no_base64), "base64"),
    ] {
        let output = stage
            .plugin()
            .args(["get-token", "--allow-server", &exchange.url])
            .env("KEYPLANE_API_KEY", &stage.key)
            .env("KUBERNETES_EXEC_INFO", &text)
            .output()
            .unwrap();
        let line = failure(&output, 2);
        assert!(line.contains(part), "{line}");
    }
    assert!(exchange.asked().is_empty());
}

#[test]
fn a_clock_that_is_off_does_not_change_the_life_of_a_token() {
    for ahead in [TimeDelta::days(-400), TimeDelta::zero(), TimeDelta::days(400)] {
        let stage = Stage::new();
        let exchange = StandIn::tls(move |_| Reply::token(TEN_MINUTES, ahead));
        let before = now();
        let output = stage.get_token(&exchange).output().unwrap();
        let expires = expiry(&credential(&output));
        // One second for the date's grain, one for each whole second in the answer and in the output.
        assert!(expires >= before + TEN_MINUTES - TimeDelta::seconds(3), "{expires}");
        assert!(expires <= now() + TEN_MINUTES, "{expires}");
    }
}

#[test]
fn without_a_date_the_timestamp_is_believed() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| Reply::undated_token(TEN_MINUTES));
    let before = now();
    let output = stage.get_token(&exchange).output().unwrap();
    let expires = expiry(&credential(&output));
    assert!(expires >= before + TEN_MINUTES - TimeDelta::seconds(2) && expires <= now() + TEN_MINUTES);
}
