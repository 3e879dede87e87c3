//! Managing keys from the terminal, as far as no cluster is needed: what is refused before kubectl is asked, the helps, and
//! completion. The rest is in `tests/tests/suite/terminal.rs`, on a real control plane.

use std::fs;
use std::path::{Path, PathBuf};

use keyplane_credential_plugin::argument_values::{grace_period, patience, seconds};
use keyplane_credential_plugin::relative_time::{length, relative};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::played::{Play, calls, program};
use crate::stage::{Stage, failure};

const COMMANDS: [&[&str]; 11] = [
    &["apikeys"],
    &["apikeys", "list"],
    &["apikeys", "rotate"],
    &["apikeys", "revoke"],
    &["apikeys", "unlock"],
    &["reveal"],
    &["ssh-key"],
    &["ssh-key", "add"],
    &["ssh-key", "list"],
    &["ssh-key", "remove"],
    &["completion"],
];

#[test]
fn each_command_has_examples_that_fit_a_terminal_and_can_be_copied() {
    let stage = Stage::new();
    for command in COMMANDS {
        let output = stage.plugin().args(command).arg("--help").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let examples = text.split_once("Examples:").unwrap_or_else(|| panic!("{command:?}: {text}")).1;
        assert!(examples.lines().all(|line| line.len() < 80), "{examples}");
        let whole = examples.replace("\\\n", "");
        assert!(whole.lines().count() > 1, "{command:?}");
        assert!(whole.lines().skip(1).all(|line| line.contains("kubectl-keyplane")), "{whole}");
    }
}

#[test]
fn without_kubectl_it_is_told_what_is_missing() {
    let stage = Stage::new();
    let public = stage.file("key.pub", "ssh-ed25519 AAAA me", 0o644);
    for args in [
        vec!["apikeys", "list"],
        vec!["apikeys", "rotate", "ci"],
        vec!["apikeys", "revoke", "ci", "--yes"],
        vec!["apikeys", "unlock", "ci"],
        vec!["reveal", "ci", "--key-out", "-"],
        vec!["ssh-key", "add", &public],
        vec!["ssh-key", "list"],
    ] {
        let output = stage.plugin().env("PATH", stage.home.path()).args(&args).output().unwrap();
        let line = failure(&output, 14);
        assert!(line.contains("kubectl cannot be started") && line.contains("put kubectl on PATH"), "{line}");
    }
}

#[test]
fn a_new_key_is_not_made_before_the_old_one_was_found() {
    let stage = Stage::new();
    let output = stage
        .plugin()
        .env("PATH", stage.home.path())
        .args(["apikeys", "rotate", "ci", "--key-out", "ci.key"])
        .output()
        .unwrap();
    failure(&output, 14);
    assert!(!stage.path("ci.key").exists());
}

#[test]
fn a_key_that_is_certainly_not_declared_leaves_no_file_in_the_way_of_the_next_attempt() {
    let stage = Stage::new();
    for _ in 0..2 {
        let output = stage
            .plugin()
            .env("PATH", stage.home.path())
            .args(["generate", "--scope", "all", "--apply", "--key-out", "ci.key"])
            .output()
            .unwrap();
        let line = failure(&output, 14);
        assert!(line.contains("kubectl cannot be started"), "{line}");
        assert!(!stage.path("ci.key").exists());
    }
}

#[test]
fn a_key_that_may_be_declared_is_kept_and_its_file_named() {
    let stage = Stage::new();
    program(stage.home.path(), "kubectl", &[Play { says: "unexpected EOF\n", code: 1, ..Play::default() }]);
    let output = stage
        .plugin()
        .env("PATH", stage.home.path())
        .args(["generate", "--name", "ci", "-n", "acme", "--scope", "all", "--apply", "--key-out", "ci.key"])
        .output()
        .unwrap();
    let line = failure(&output, 14);
    assert!(line.contains("kubectl get apikey ci -n acme") && line.contains("ci.key"), "{line}");
    assert!(fs::read_to_string(stage.path("ci.key")).unwrap().starts_with("kpk_"));
}

#[test]
fn what_cannot_be_asked_is_refused_before_kubectl_is() {
    let stage = Stage::new();
    let private = stage.file("key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n", 0o600);
    for (args, words) in [
        (vec!["apikeys"], "see kubectl-keyplane apikeys --help"),
        (vec!["apikeys", "revoke"], "see kubectl-keyplane apikeys revoke --help"),
        (vec!["apikeys", "revoke", "Not_A_Name"], "lower-case letters"),
        (vec!["apikeys", "revoke", &stage.key], "[redacted]"),
        (vec!["apikeys", "rotate", "ci", "--grace", "31d"], "30 days at most"),
        (vec!["apikeys", "rotate", "ci", "--grace", "soon"], "give a time such as"),
        (vec!["apikeys", "unlock", "ci", "--timeout", "0"], "wait for 1s to 1h"),
        (vec!["apikeys", "list", "-A", "-n", "acme"], "cannot be used with"),
        (vec!["reveal", "ci"], "standard output is no terminal"),
        (vec!["ssh-key", "add", &private], "this is a private key, and was sent nowhere"),
    ] {
        let output = stage.plugin().env("PATH", stage.home.path()).args(&args).output().unwrap();
        // What has commands of its own shows them.
        if args.len() == 1 {
            assert_eq!(output.status.code(), Some(2));
            assert!(String::from_utf8(output.stderr).unwrap().contains("Usage:"));
            continue;
        }
        let line = failure(&output, 2);
        assert!(line.contains(words) && !line.contains(&stage.key), "{line}");
    }
    let line = failure(&stage.plugin().args(["ssh-key", "add"]).output().unwrap(), 11);
    assert!(line.contains("ssh-keygen -t ed25519") && line.contains("id_ecdsa.pub"), "{line}");
}

/// kubectl that answers with this object.
pub(crate) fn kubectl_that_answers(stage: &Stage, object: &Value) -> PathBuf {
    program(stage.home.path(), "kubectl", &[Play { prints: &object.to_string(), ..Play::default() }])
}

pub(crate) fn folder(program: &Path) -> &Path {
    program.parent().unwrap()
}

#[test]
fn what_an_answer_names_is_never_a_flag_of_kubectl() {
    let stage = Stage::new();
    let evil = "--kubeconfig=/tmp/evil";
    let kubectl = kubectl_that_answers(
        &stage,
        &json!({
            "metadata": {"name": "ci"},
            "spec": {"delivery": {"sealedTo": {"sshKey": evil}}},
            "status": {"sealedKey": "-----BEGIN AGE ENCRYPTED FILE-----"},
        }),
    );
    let args = ["reveal", "ci", "--key-out", "-"];
    let line = failure(&stage.plugin().env("PATH", folder(&kubectl)).args(args).output().unwrap(), 3);
    assert!(line.contains("spec.delivery.sealedTo.sshKey") && !line.contains(evil), "{line}");
    let calls = calls(&kubectl);
    assert_eq!(calls, "get --output=json --request-timeout=20s -- apikeys.keyplane.dev ci\n");
}

#[test]
fn names_stand_where_kubectl_reads_no_flags_any_more() {
    let stage = Stage::new();
    let kubectl = kubectl_that_answers(
        &stage,
        &json!({"metadata": {"name": "ci", "uid": "u", "resourceVersion": "1"}, "spec": {"digest": "sha256:0"}}),
    );
    let args = ["apikeys", "revoke", "ci", "--yes"];
    // Whatever comes of it: the answer does not say that the key is revoked.
    stage.plugin().env("PATH", folder(&kubectl)).args(args).args(["--timeout", "1s"]).output().unwrap();
    let calls = calls(&kubectl);
    assert!(calls.lines().any(|call| call.starts_with("patch ")), "{calls}");
    for call in calls.lines() {
        let (flags, names) = call.split_once(" -- ").unwrap_or_else(|| panic!("{call}"));
        assert!(["apikeys.keyplane.dev ci", "events"].contains(&names), "{call}");
        assert!(flags.split(' ').skip(1).all(|flag| flag.starts_with("--")), "{call}");
    }
}

#[test]
fn completion_answers_kubectl_as_cobra_does_and_never_fails() {
    let stage = Stage::new();
    let complete = |words: &[&str]| {
        let mut command = stage.plugin();
        let output =
            command.env("PATH", stage.home.path()).args(["__complete", "--"]).args(words).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete(&["apikeys", "rev"]), "revoke\tEnd a key for good\n:4\n");
    assert_eq!(complete(&["apikeys", "revoke", ""]), ":4\n", "no kubectl, no names");
    assert_eq!(complete(&["apikeys", "list", "--help", "-"]).lines().last(), Some(":4"));
    assert_eq!(complete(&["ssh-key", "add", ""]), ":0\n");
    assert_eq!(complete(&[]), ":4\n");
    let help = String::from_utf8(stage.plugin().arg("--help").output().unwrap().stdout).unwrap();
    assert!(!help.contains("__complete"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stage.plugin().args(["completion", shell]).output().unwrap();
        assert!(String::from_utf8(script.stdout).unwrap().contains("apikeys"), "{shell}");
    }
}

proptest! {
    #[test]
    fn a_length_of_time_is_read_as_it_is_written(number in 0_u64..1_000_000, unit in 0_usize..5) {
        let (name, factor) = [("", 1), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)][unit];
        let text = format!("{number}{name}");
        prop_assert_eq!(seconds(&text), Ok(number * factor));
        prop_assert_eq!(grace_period(&text).is_ok(), number * factor <= 2_592_000);
        prop_assert_eq!(patience(&text).is_ok(), (1..=3600).contains(&(number * factor)));
    }

    #[test]
    fn any_text_is_a_length_of_time_or_an_error(text in "\\PC{0,30}") {
        let _ = seconds(&text);
    }

    #[test]
    fn a_time_is_shown_in_at_most_three_digits_within_a_lifetime(seconds in -1_000_000_000_i64..1_000_000_000) {
        let now = chrono::DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        let shown = relative(now + chrono::TimeDelta::seconds(seconds), now);
        let digits = shown.chars().filter(char::is_ascii_digit).count();
        prop_assert!((1..=3).contains(&digits), "{}", shown);
        prop_assert_eq!(shown.starts_with("in "), seconds > 0);
        prop_assert!(shown.contains(&length(seconds.abs())));
    }
}
