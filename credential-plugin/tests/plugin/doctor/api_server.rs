//! Faults of the API server, of the way to it, and of what it lets the token do.

use chrono::TimeDelta;
use serde_json::json;

use super::patient::{Patient, review, silent};
use crate::stand_in::{Identity, Reply, StandIn, now};

fn status(code: u16, reason: &str) -> StandIn {
    let body = json!({"apiVersion": "v1", "kind": "Status", "reason": reason}).to_string();
    StandIn::tls(move |_| Reply::new(code, body.clone()).with("content-type", "application/json"))
}

#[test]
fn a_cluster_entry_that_does_not_fit_its_server() {
    let set = "kubectl config set-cluster prod ";
    let mut patient = Patient::healthy();
    let other = StandIn::tls(|_| review(true));
    patient.cluster()["server"] = json!(other.url);
    let report = patient.examine();
    report.is_ill(
        "api-server",
        "no CA that the cluster's entry trusts",
        &format!("{set}--certificate-authority=FILE"),
    );
    assert_eq!(report.outcome("access"), "not-checked");
    assert!(other.asked().is_empty(), "the token did not go there");

    let name = Identity { name: "inner.example.com".to_owned(), ..Identity::default() };
    let mut patient = Patient::with_api_server(StandIn::of(&name, |_| review(true)));
    patient.examine().is_ill("api-server", "for another name", &format!("{set}--tls-server-name=NAME"));
    patient.cluster()["tls-server-name"] = json!("inner.example.com");
    assert_eq!(patient.examine().code, Some(0));

    let over = (now() - TimeDelta::days(9), now() - TimeDelta::days(2));
    let expired = Identity { valid: over, ..Identity::default() };
    let patient = Patient::with_api_server(StandIn::of(&expired, |_| review(true)));
    patient.examine().is_ill("api-server", "not valid now", "renews it");

    let mut patient = Patient::healthy();
    patient.cluster()["insecure-skip-tls-verify"] = json!(true);
    patient.examine().is_ill(
        "api-server",
        "whoever answers gets the token",
        "--insecure-skip-tls-verify=false",
    );
    assert!(patient.api_server.asked().is_empty());

    let mut patient = Patient::healthy();
    patient.cluster()["server"] = json!("http://api.example.com");
    patient.examine().is_ill("api-server", "has no https address", &format!("{set}--server="));
}

#[test]
fn a_server_that_is_not_there_or_silent_or_something_else() {
    let mut patient = Patient::healthy();
    patient.cluster()["server"] = json!("https://api.invalid:6443");
    patient.examine().is_ill("api-server", "its name is not known", "--server=https://HOST:PORT");
    let mut patient = Patient::with_api_server(silent());
    patient.timeout = "4";
    patient.examine().is_ill("api-server", "does not answer in time", "check the network");
    let portal = StandIn::tls(|_| Reply::new(200, "<html>Log in</html>"));
    Patient::with_api_server(portal).examine().is_ill(
        "api-server",
        "answers 200, and not as an API server does",
        "--server=https://HOST:PORT",
    );
}

#[test]
fn a_refused_token_says_that_cluster_and_exchange_do_not_belong_together() {
    let report = Patient::with_api_server(status(401, "Unauthorized")).examine();
    report.is_ill("api-server", "do not belong together", "kubectl keyplane kubeconfig");
    assert_eq!(report.outcome("access"), "not-checked");
    let report = Patient::with_api_server(status(403, "Forbidden")).examine();
    report.is_ill("api-server", "does not let it ask", "system:basic-user");
}

#[test]
fn a_namespace_beyond_the_keys_reach_is_told_with_what_it_reaches() {
    let mut patient = Patient::with_api_server(StandIn::tls(|_| review(false)));
    patient.config["contexts"][0]["context"]["namespace"] = json!("kube-system");
    let report = patient.examine();
    let (found, remedy) = report.only_problem("access");
    assert!(found.contains("namespace kube-system is forbidden: the key reaches acme-web"), "{found}");
    assert_eq!(remedy, "kubectl config set-context prod-web --namespace=acme-web");
    assert_eq!(report.outcome("api-server"), "ok");
    // Without a namespace of the context's own it is the first that the key reaches.
    let mut patient = Patient::healthy();
    patient.config["contexts"][0]["context"]["namespace"] = json!(null);
    assert_eq!(patient.examine().code, Some(0));
    assert!(patient.api_server.asked()[0].body.contains(r#""namespace":"acme-web""#));
}
