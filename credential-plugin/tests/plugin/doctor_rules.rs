//! doctor's rules, from what was seen to what is said: tables, and laws of the clock.

use std::ffi::OsStr;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_credential_plugin::doctor::access;
use keyplane_credential_plugin::doctor::clock;
use keyplane_credential_plugin::doctor::config_files::{self, ConfigFile};
use keyplane_credential_plugin::doctor::finding::{Finding, Outcome};
use keyplane_credential_plugin::doctor::key::judge_token;
use keyplane_credential_plugin::doctor::kuberc::{KubercSeen, Policy, parse};
use keyplane_credential_plugin::doctor::plugin_policy::PolicySeen;
use keyplane_credential_plugin::doctor::programs::{FirstOnPath, KubectlSeen, PluginSeen, Release};
use keyplane_credential_plugin::token::life::TokenLife;
use proptest::prelude::*;

use crate::stage::{Stage, new_key};

const HEAD: &str = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n";

fn policy(kind: &str, allowlist: Option<&[&str]>) -> Policy {
    let allowlist = allowlist.map(|list| list.iter().map(|&entry| entry.to_owned()).collect());
    Policy { kind: kind.to_owned(), allowlist }
}

fn release(minor: u32) -> Release {
    Release { major: 1, minor }
}

#[test]
fn kuberc_is_read_as_kubectl_reads_it() {
    let table = [
        ("", Some(Policy::default())),
        (HEAD, Some(Policy::default())),
        (&format!("{HEAD}credentialPluginPolicy: DenyAll\n"), Some(policy("DenyAll", None))),
        (
            &format!(
                "{HEAD}credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- name: a\n- command: b\n"
            ),
            Some(policy("Allowlist", Some(&["a", "b"]))),
        ),
        // The first document that holds preferences counts.
        (
            &format!("kind: Other\n---\n{HEAD}credentialPluginPolicy: AllowAll\n---\n{HEAD}"),
            Some(policy("AllowAll", None)),
        ),
        // v1alpha1 has no policy.
        (
            "apiVersion: kubectl.config.k8s.io/v1alpha1\nkind: Preference\ncredentialPluginPolicy: DenyAll\n",
            Some(Policy::default()),
        ),
        ("kind: Preference\n", None),
        ("garbage: [", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn a_policy_that_kubectl_refuses_is_a_problem_from_1_35_on() {
    let table = [
        (policy("", None), true),
        (policy("AllowAll", None), true),
        (policy("DenyAll", None), true),
        (policy("Allowlist", Some(&["a"])), true),
        (policy("Allowlist", Some(&[])), false),
        (policy("Allowlist", Some(&[""])), false),
        (policy("Allowlist", None), false),
        (policy("AllowAll", Some(&["a"])), false),
        (policy("", Some(&[])), false),
        (policy("Nope", None), false),
    ];
    for (policy, sound) in table {
        assert_eq!(policy.defect().is_none(), sound, "{policy:?}");
        let seen = KubercSeen::Says { path: "/home/a/.kube/kuberc".into(), policy };
        let expected = if sound { Outcome::Ok } else { Outcome::Problem };
        assert_eq!(seen.judge(Some(release(35))).outcome, expected);
        assert_eq!(seen.judge(None).outcome, expected);
        assert_eq!(seen.judge(Some(release(34))).outcome, Outcome::Ok);
    }
}

#[test]
fn kuberc_is_looked_for_where_kubectl_looks() {
    let stage = Stage::new();
    let home = stage.home.path();
    let look = |variable: Option<&str>| KubercSeen::look(variable.map(OsStr::new), Some(home));
    assert_eq!(look(Some("off")), KubercSeen::Off);
    assert_eq!(look(None), KubercSeen::Absent);
    assert_eq!(look(Some("")), KubercSeen::Absent);
    assert!(matches!(look(Some("/no/such/file")), KubercSeen::Unusable { named: true, .. }));
    std::fs::create_dir(stage.path(".kube")).unwrap();
    stage.file(".kube/kuberc", "garbage: [", 0o644);
    // kubectl warns of it and goes on.
    assert_eq!(look(None).judge(None).outcome, Outcome::Hint);
    stage.file(".kube/kuberc", HEAD, 0o644);
    assert_eq!(look(None).policy(), Some(&Policy::default()));
}

fn seen(policy: Policy, kubectl: u32, listed: &[Option<&str>]) -> PolicySeen {
    PolicySeen {
        policy,
        file: Some("/home/a/.kube/kuberc".into()),
        kubectl: Some(release(kubectl)),
        command: "kubectl-keyplane".to_owned(),
        program: Some("/usr/bin/kubectl-keyplane".into()),
        listed: listed.iter().map(|path| path.map(PathBuf::from)).collect(),
    }
}

#[test]
fn the_allowlist_is_compared_as_kubectl_compares_it() {
    let table = [
        ("kubectl-keyplane", Some("/usr/bin/kubectl-keyplane"), true),
        ("/usr/bin/kubectl-keyplane", None, true),
        ("./bin/kubectl-keyplane", Some("/usr/bin/kubectl-keyplane"), true),
        // The same program by another name is another entry.
        ("keyplane", Some("/usr/bin/kubectl-keyplane"), false),
        ("/opt/kubectl-keyplane", Some("/opt/kubectl-keyplane"), false),
        ("aws-iam-authenticator", None, false),
    ];
    for (entry, resolved, allowed) in table {
        let finding = seen(policy("Allowlist", Some(&[entry])), 36, &[resolved]).judge();
        assert_eq!(finding.outcome == Outcome::Ok, allowed, "{entry}");
    }
    assert_eq!(seen(policy("DenyAll", None), 34, &[]).judge().outcome, Outcome::Ok);
    assert_eq!(seen(policy("", None), 36, &[]).judge().outcome, Outcome::Ok);
}

/// A word that needs quotes, as the remedies have it: for a POSIX shell, or for PowerShell and `cmd`.
pub(crate) fn quoted(word: &str) -> String {
    if cfg!(windows) { format!("\"{word}\"") } else { format!("'{word}'") }
}

const PUT_FIRST: &str = if cfg!(windows) {
    "$env:Path = '/opt/my tools;' + $env:Path"
} else {
    "export PATH='/opt/my tools':\"$PATH\""
};

#[test]
fn the_command_that_allows_the_plugin_keeps_what_was_allowed() {
    let others = policy("Allowlist", Some(&["aws-iam-authenticator", "o'k"]));
    let remedy = seen(others.clone(), 36, &[None, None]).judge().remedy.unwrap();
    assert_eq!(
        remedy,
        format!(
            "kubectl kuberc set --section credentialplugin --policy Allowlist --allowlist-entry {} \
             --allowlist-entry \"command=o'k\" --allowlist-entry {}",
            quoted("command=aws-iam-authenticator"),
            quoted("command=kubectl-keyplane")
        )
    );
    // kubectl 1.35 has the policy and no command for it.
    let remedy = seen(others, 35, &[None, None]).judge().remedy.unwrap();
    assert!(remedy.starts_with("let /home/a/.kube/kuberc say credentialPluginPolicy: Allowlist"), "{remedy}");
    assert!(remedy.contains("{name: \"o'k\"}, {name: \"kubectl-keyplane\"}"), "{remedy}");
}

#[test]
fn programs_are_judged_by_place_and_version() {
    let plugin = |first: Option<(bool, Option<&str>)>| {
        let first = first.map(|(is_this, version)| FirstOnPath {
            path: "/usr/bin/kubectl-keyplane".into(),
            is_this,
            version: version.map(str::to_owned),
        });
        PluginSeen { running: "/opt/my tools/kubectl-keyplane".into(), version: "1.2.3", first }.judge()
    };
    assert_eq!(plugin(Some((true, None))).outcome, Outcome::Ok);
    // Built twice from the same release.
    assert_eq!(plugin(Some((false, Some("1.2.3")))).outcome, Outcome::Hint);
    assert_eq!(plugin(Some((false, Some("1.2.2")))).outcome, Outcome::Problem);
    assert_eq!(plugin(Some((false, None))).outcome, Outcome::Problem);
    assert_eq!(plugin(None).remedy.unwrap(), PUT_FIRST);
    let kubectl =
        |version: &str| KubectlSeen::Version("/usr/bin/kubectl".into(), version.to_owned()).judge().outcome;
    assert_eq!(kubectl("v1.28.0"), Outcome::Ok);
    assert_eq!(kubectl("v1.36.3"), Outcome::Ok);
    assert_eq!(kubectl("v1.27.16-eks-1"), Outcome::Problem);
    assert_eq!(Release::of("v1.36.3"), Some(release(36)));
    assert_eq!(Release::of("v1.9.11"), Some(release(9)));
    assert_eq!(Release::of("unknown"), None);
}

#[test]
fn a_kubeconfig_is_a_problem_only_when_it_holds_a_key_and_others_can_read_it() {
    for (open_to_others, holds_key) in [(false, false), (false, true), (true, false), (true, true)] {
        let file = ConfigFile { path: "/home/a/.kube/config".into(), open_to_others, holds_key };
        let findings = config_files::judge(&[file]);
        assert_eq!(findings[0].outcome == Outcome::Problem, open_to_others && holds_key);
    }
    assert_eq!(config_files::judge(&[])[0].outcome, Outcome::NotChecked);
}

#[test]
fn access_is_asked_for_in_the_contexts_namespace_else_the_keys_first_else_kubectls_default() {
    let reached = ["acme-web".to_owned(), "acme-db".to_owned()];
    assert_eq!(access::namespace(Some("own"), Some(&reached)), "own");
    assert_eq!(access::namespace(None, Some(&reached)), "acme-web");
    assert_eq!(access::namespace(None, Some(&[])), "default");
    assert_eq!(access::namespace(None, None), "default");
    assert_eq!(
        access::answer(br#"{"kind": "SelfSubjectAccessReview", "status": {"allowed": true}}"#),
        Some(true)
    );
    assert_eq!(access::answer(br#"{"kind": "SelfSubjectAccessReview", "status": {}}"#), Some(false));
    assert_eq!(access::answer(br#"{"kind": "Status", "status": {"allowed": true}}"#), None);
    assert!(access::is_kubernetes(br#"{"apiVersion": "v1", "kind": "Status"}"#));
    assert!(!access::is_kubernetes(b"<html>"));
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

#[test]
fn a_token_needs_75_seconds_of_life() {
    let token = |life: i64| judge_token(Ok(TokenLife::of_answer(at(0), None, at(life))), at(0)).outcome;
    assert_eq!(token(74), Outcome::Problem);
    assert_eq!(token(75), Outcome::Ok);
}

#[test]
fn half_a_minute_of_skew_is_tolerated_and_more_is_not() {
    for (ahead, outcome) in [
        (0, Outcome::Ok),
        (30, Outcome::Ok),
        (-30, Outcome::Ok),
        (31, Outcome::Problem),
        (-31, Outcome::Problem),
    ] {
        assert_eq!(clock::judge(Some(TimeDelta::seconds(ahead))).outcome, outcome, "{ahead}");
    }
    assert_eq!(clock::judge(None).outcome, Outcome::NotChecked);
}

#[test]
fn a_finding_is_one_line_without_keys() {
    let key = new_key();
    let finding = Finding::problem("key", format!("first\nsecond {key}\x1b[31m"), format!("third {key}"));
    let body = key.split_once('_').unwrap().1;
    for text in [&finding.found, finding.remedy.as_ref().unwrap()] {
        assert!(!text.contains(body) && !text.contains(char::is_control), "{text}");
    }
}

proptest! {
    #[test]
    fn a_right_clock_is_never_found_wrong_however_long_the_answer_took(
        asked in 0_i64..1000, took in 0_i64..600, within in 0_i64..600,
    ) {
        let date = at(asked + within.min(took));
        prop_assert_eq!(clock::ahead(at(asked), at(asked + took), date), TimeDelta::zero());
    }

    #[test]
    fn a_wrong_clock_is_never_found_more_wrong_than_it_is_nor_less_than_the_answer_took(
        skew in -100_000_i64..100_000, took in 0_i64..600, within in 0_i64..600,
    ) {
        // The exchange's clock is right; ours is ahead of it by `skew`.
        let ahead = clock::ahead(at(skew), at(skew + took), at(within.min(took))).num_seconds();
        prop_assert!(ahead == 0 || ahead.signum() == skew.signum());
        prop_assert!(ahead.abs() <= skew.abs());
        prop_assert!(ahead.abs() >= skew.abs() - took - 1);
    }
}
