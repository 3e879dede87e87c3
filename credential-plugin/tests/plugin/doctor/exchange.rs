//! Faults of the exchange, of the way to it, and of what it says to the key.

use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::json;

use super::patient::{Patient, exchange, exchange_of, refusal, silent, sound};
use crate::kept_key::{accepted, identity};
use crate::stand_in::{Identity, Reply, StandIn, now};

impl Patient {
    /// The same with the exchange elsewhere, which its user allows.
    pub(super) fn with_exchange_at(mut self, url: &str) -> Self {
        let ca = self.stage.file("ca.pem", &self.exchange.ca, 0o644);
        let key = self.stage.path("key");
        self.cluster()["extensions"][0]["extension"] = json!({"server": url});
        self.exec()["args"] =
            json!(["get-token", "--allow-server", url, "--certificate-authority", ca, "--key-file", key]);
        self
    }
}

#[test]
fn an_exchange_that_the_user_does_not_allow_gets_no_key() {
    let mut patient = Patient::healthy();
    let other = StandIn::tls(|_| refusal(TimeDelta::zero()));
    patient.cluster()["extensions"][0]["extension"]["certificateAuthorityData"] =
        json!(STANDARD.encode(&other.ca));
    let report = patient.examine();
    report.is_ill(
        "exchange",
        "with which this user's exchange is not allowed",
        "kubectl keyplane kubeconfig --merge --server ",
    );
    assert!(patient.exchange.asked().is_empty());
    assert_eq!(report.outcome("key"), "not-checked");
    let mut patient = Patient::healthy();
    patient.cluster()["extensions"][0]["extension"]["server"] = json!("https://elsewhere.example.com");
    patient.examine().is_ill("exchange", "to which this user's key may not go", "--allow-server");
}

#[test]
fn a_name_that_is_not_known_and_a_port_where_nobody_listens() {
    let report = Patient::healthy().with_exchange_at("https://exchange.invalid").examine();
    report.is_ill("exchange-name", "name", "check the address");
    assert_eq!(report.outcome("exchange-connection"), "not-checked");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = Patient::healthy().with_exchange_at(&format!("https://{free}")).examine();
    report.is_ill("exchange-connection", "cannot be reached", "check the address");
    assert_eq!((report.outcome("exchange-name"), report.outcome("exchange-tls")), ("ok", "not-checked"));
}

#[test]
fn a_proxy_that_is_not_there() {
    let mut patient = Patient::healthy().with_exchange_at("https://exchange.invalid");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    patient.environment.push(("HTTPS_PROXY", format!("http://{free}")));
    let report = patient.examine();
    report.is_ill("exchange-connection", &format!("the proxy {free}"), "HTTPS_PROXY");
    assert_eq!(report.outcome("exchange-name"), "hint");
}

#[test]
fn a_certificate_of_another_ca_or_name_or_time() {
    let other = StandIn::tls(|_| refusal(TimeDelta::zero()));
    let report = Patient::healthy().with_exchange_at(&other.url).examine();
    report.is_ill("exchange-tls", "no CA that is trusted here", "--certificate-authority FILE");
    let name = Identity { name: "elsewhere.example.com".to_owned(), ..Identity::default() };
    let report = Patient::with_exchange(exchange_of(&name, sound)).examine();
    report.is_ill("exchange-tls", "is for elsewhere.example.com, not for", "--tls-server-name");
    let over = (now() - TimeDelta::days(9), now() - TimeDelta::days(2));
    let expired = Identity { valid: over, ..Identity::default() };
    let report = Patient::with_exchange(exchange_of(&expired, sound)).examine();
    report.is_ill("exchange-tls", "expired at", "renews it");
    assert_eq!((report.outcome("exchange-connection"), report.outcome("clock")), ("ok", "not-checked"));
}

#[test]
fn something_else_that_answers_and_nothing_that_does() {
    let portal = exchange(|_| Reply::new(200, "<html>Log in</html>").with("content-type", "text/html"));
    let report = Patient::with_exchange(portal).examine();
    let answer = report.finding("exchange-answer");
    assert!(answer["found"].as_str().unwrap().contains("answers 200, and not as"), "{answer}");
    assert_eq!(report.outcome("whoami"), "not-checked");
    let mut patient = Patient::with_exchange(silent());
    patient.timeout = "4";
    let report = patient.examine();
    report.is_ill("exchange-answer", "did not answer in time", "check the address");
    assert_eq!(report.outcome("cache"), "ok", "what comes after is checked all the same");
}

#[test]
fn a_clock_that_differs_from_the_exchanges() {
    for (ahead, words) in [(-95, "s ahead of the exchange's"), (95, "s behind the exchange's")] {
        let patient = Patient::with_exchange(exchange(move |asked| match asked.header("x-api-key") {
            None => refusal(TimeDelta::seconds(ahead)),
            Some(_) => sound(asked),
        }));
        patient.examine().is_ill("clock", words, "");
    }
}

#[test]
fn a_refused_key_is_told_once_and_not_shown_to_anybody_else() {
    let patient = Patient::with_exchange(exchange(|asked| match asked.header("x-api-key") {
        None => refusal(TimeDelta::zero()),
        Some(_) => Reply::coded(401, "api_key_revoked", "Missing, invalid, revoked, or expired API key"),
    }));
    let report = patient.examine();
    report.is_ill("whoami", "revoked", "give another one");
    for check in ["token", "api-server", "access"] {
        assert_eq!(report.outcome(check), "not-checked");
    }
    assert!(patient.api_server.asked().is_empty());
    assert_eq!(
        patient.exchange.asked().iter().filter(|asked| asked.header("x-api-key").is_some()).count(),
        1
    );
}

#[test]
fn a_key_without_kubernetes_access_and_one_that_ends_soon() {
    let with = |change: fn(&mut serde_json::Value)| {
        Patient::with_exchange(exchange(move |asked| {
            let mut identity = identity();
            change(&mut identity);
            match (asked.header("x-api-key"), asked.path()) {
                (Some(_), "/v1/whoami") => Reply::new(200, identity.to_string()),
                _ => sound(asked),
            }
        }))
    };
    let report = with(|identity| identity["scopes"] = json!({"inference": {}})).examine();
    report.is_ill("whoami", "no access with kubectl", "kubernetes_exec");
    let report = with(|identity| identity["expires_at"] = json!(now() + TimeDelta::days(2))).examine();
    assert_eq!((report.code, report.outcome("whoami")), (Some(0), "hint"));
    assert!(report.finding("whoami")["remedy"].as_str().unwrap().contains("apikeys rotate ci"));
}

#[test]
fn a_token_that_lives_too_short() {
    let patient = Patient::with_exchange(exchange(|asked| match (asked.header("x-api-key"), asked.path()) {
        (Some(_), "/v1/whoami") => accepted(),
        (Some(_), _) => Reply::token(TimeDelta::seconds(60), TimeDelta::zero()),
        (None, _) => sound(asked),
    }));
    patient.examine().is_ill("token", "less than 75 s left", "lives longer");
}
