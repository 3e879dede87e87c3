//! The report itself: its two forms, its exit code, and that nothing secret is in it.

use chrono::TimeDelta;
use std::sync::Arc;

use super::patient::{Patient, exchange, refusal, sound};
use crate::kept_key::{shows_no_key, text};
use crate::stand_in::{Asked, Reply, StandIn, TOKEN};

#[test]
fn a_healthy_setup_is_ok_in_every_line() {
    let patient = Patient::healthy();
    let report = patient.examine();
    assert!(report.findings.iter().all(|finding| finding["outcome"] == "ok"), "{:?}", report.findings);
    assert_eq!((report.code, report.terminal.as_str()), (Some(0), ""));
    let table = patient.command(&[]).output().unwrap();
    assert!(table.status.success() && table.stderr.is_empty(), "{table:?}");
    let table = text(&table.stdout);
    assert_eq!(table.lines().count(), report.findings.len(), "{table}");
    assert!(table.lines().all(|line| line.starts_with("ok        ")), "{table}");
    assert!(!table.contains('\x1b'), "no colour where there is no terminal");
    // The token went nowhere but to the API server, and into no file.
    let asked: Vec<Asked> = patient.api_server.asked();
    let bearer = format!("Bearer {TOKEN}");
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some(&bearer)), "{asked:?}");
    assert!(crate::stage::files_in(&patient.stage.cache_folder()).is_empty());
}

#[test]
fn json_is_an_array_of_check_outcome_found_and_remedy() {
    let mut patient = Patient::healthy();
    patient.kuberc("credentialPluginPolicy: DenyAll");
    for finding in patient.examine().findings {
        let fields: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["check", "found", "outcome", "remedy"]);
        assert_eq!(finding["remedy"].is_string(), finding["outcome"] == "problem", "{finding}");
    }
}

#[test]
fn a_problem_has_its_remedy_on_the_next_line_of_the_table() {
    let mut patient = Patient::healthy();
    patient.kuberc("credentialPluginPolicy: DenyAll");
    let output = patient.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    let mut lines = table.lines().skip_while(|line| !line.starts_with("problem"));
    assert!(lines.next().unwrap().starts_with("problem   plugin-policy "), "{table}");
    let remedy = lines.next().unwrap().trim();
    assert!(remedy.starts_with("-> kubectl kuberc set --section credentialplugin"), "{table}");
}

#[test]
fn what_is_not_checked_for_one_reason_is_one_line_of_the_table_and_all_of_it_is_in_json() {
    let patient = Patient::healthy().with_exchange_at("https://exchange.invalid");
    let report = patient.examine();
    let output = patient.command(&[]).output().unwrap();
    let table = text(&output.stdout);
    let line =
        |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
    let reached = line("-         6 checks ");
    let names = "exchange-connection, exchange-tls, exchange-answer, clock, whoami, token";
    assert!(
        reached.ends_with(&format!("   not checked: the exchange was not reached ({names})")),
        "{reached}"
    );
    let token = line("-         2 checks ");
    assert!(token.ends_with("   not checked: there is no token (api-server, access)"), "{token}");
    assert_eq!(table.matches("not checked: ").count(), 2, "{table}");
    for check in names.split(", ").chain(["api-server", "access"]) {
        assert_eq!(report.outcome(check), "not-checked");
    }
    let order: Vec<&str> = report.findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    let place = |check| order.iter().position(|&found| found == check);
    assert!(place("exchange-name") < place("clock") && place("token") < place("cache"), "{order:?}");
    // One alone keeps its name.
    let table = text(&patient.command(&["--server", "https://exchange.invalid"]).output().unwrap().stdout);
    assert!(table.lines().any(|line| line.starts_with("-         context  ")), "{table}");
}

#[test]
fn what_a_hostile_exchange_and_api_server_repeat_is_not_shown() {
    let echo = |asked: &Asked| {
        let held = format!("{} {}", asked.header("x-api-key").unwrap_or_default(), asked.body);
        match asked.header("x-api-key") {
            Some(_) => Reply::problem(401, &held),
            None => refusal(TimeDelta::zero()),
        }
    };
    let exchange_echoes = Patient::with_exchange(exchange(echo));
    let api_server_echoes = Patient::with_api_server(StandIn::scripted(
        &crate::stand_in::Identity::default(),
        Arc::new(|_, asked| Reply::new(401, asked.header("authorization").unwrap_or_default())),
    ));
    for patient in [exchange_echoes, api_server_echoes] {
        for args in [&["--verbose"][..], &["--output", "json"], &[]] {
            let output = patient.command(args).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            shows_no_key(&output, &patient.stage.key);
            assert!(!text(&output.stdout).contains(TOKEN) && !text(&output.stderr).contains(TOKEN));
        }
    }
}

#[test]
fn an_exchange_alone_is_examined_without_a_kubeconfig() {
    let patient = Patient::with_exchange(exchange(sound));
    let ca = patient.stage.file("ca.pem", &patient.exchange.ca, 0o644);
    let key = patient.stage.path("key");
    let args = ["--server", &patient.exchange.url, "--certificate-authority", &ca];
    let report = patient.examine_with(&[&args[..], &["--key-file", key.to_str().unwrap()]].concat());
    assert_eq!(report.code, Some(0), "{:?}", report.findings);
    for check in ["context", "user", "api-server", "access"] {
        assert_eq!(report.outcome(check), "not-checked");
    }
    for check in ["key", "exchange-tls", "exchange-answer", "whoami", "token", "cache"] {
        assert_eq!(report.outcome(check), "ok");
    }
}
