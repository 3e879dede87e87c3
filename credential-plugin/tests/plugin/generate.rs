//! `generate`: the manifest on stdout, the key on stderr or in a file, and the digest is the key's.

use std::fs;
use std::process::{Command, Output};

use keyplane_core::key_format::PlaintextKey;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::stage::{Stage, failure, has_mode};

fn manifest(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_saphyr::from_slice(&output.stdout).unwrap()
}

/// The key among the lines of stderr.
fn shown_key(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let keys: Vec<&str> = text.lines().filter(|line| PlaintextKey::parse(line).is_ok()).collect();
    assert_eq!(keys.len(), 1, "shown once, on a line of its own");
    keys[0].to_owned()
}

fn sha256sum(key: &str) -> String {
    base16ct::HexDisplay(&Sha256::digest(key)).to_string().to_lowercase()
}

#[test]
fn the_manifest_is_on_stdout_the_key_on_stderr_and_the_digest_is_its_sha256() {
    let stage = Stage::new();
    let output = stage
        .plugin()
        .args(["generate", "--name", "ci", "--namespace", "acme", "--display-name", "CI: main"])
        .args(["--kubernetes-namespace", "web", "--kubernetes-namespace", "db", "--role", "view"])
        .args(["--expires-at", "2199-01-01T02:00:00+02:00"])
        .output()
        .unwrap();
    let key = shown_key(&output);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(key.split_once('_').unwrap().1));
    assert_eq!(
        manifest(&output),
        json!({
            "apiVersion": "keyplane.dev/v1alpha1",
            "kind": "ApiKey",
            "metadata": {"name": "ci", "namespace": "acme", "annotations": {"keyplane.dev/key-prefix": &key[..8]}},
            "spec": {
                "displayName": "CI: main",
                "scope": {"kubernetesExec": {"namespaces": ["web", "db"], "role": "view"}},
                "expiresAt": "2199-01-01T00:00:00Z",
                "digest": format!("sha256:{}", sha256sum(&key)),
            },
        })
    );
}

#[test]
fn with_key_out_the_key_is_in_a_new_private_file_and_nowhere_else() {
    let stage = Stage::new();
    let mut command = stage.plugin();
    command.args(["generate", "--all-namespaces", "--key-out", "key"]);
    let output = command.output().unwrap();
    let path = stage.path("key");
    assert!(has_mode(&path, 0o600));
    let key = fs::read_to_string(&path).unwrap().trim_end().to_owned();
    PlaintextKey::parse(&key).unwrap();
    let digest = manifest(&output)["spec"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest, format!("sha256:{}", sha256sum(&key)));
    let secret = key.split_once('_').unwrap().1;
    assert!(!String::from_utf8_lossy(&output.stderr).contains(secret));
    assert!(!String::from_utf8_lossy(&output.stdout).contains(secret));

    let line = failure(&command.output().unwrap(), 11);
    assert!(line.contains("already exists") && line.contains("Keyplane never overwrites a key"), "{line}");
    assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), key, "an old key is never lost");
}

#[test]
fn a_new_key_does_not_go_into_a_file_called_minus() {
    let stage = Stage::new();
    for args in [
        vec!["generate", "--scope", "all", "--key-out", "-"],
        vec!["generate", "--scope", "all", "--apply", "--key-out", "-"],
        vec!["apikeys", "rotate", "ci", "--key-out", "-"],
    ] {
        let output = stage.plugin().env("PATH", stage.home.path()).args(&args).output().unwrap();
        let line = failure(&output, 2);
        assert!(line.contains("--key-out -") && line.contains("standard error"), "{line}");
        assert!(!stage.path("-").exists());
    }
}

#[test]
fn the_help_is_broken_by_hand_and_each_of_its_sentences_begins_a_line_of_the_manual_page() {
    let output = Stage::new().plugin().args(["generate", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let text = &help[help.find("The manifest goes to").unwrap()..];
    assert!(text.lines().all(|line| line.len() < 80), "{text}");
    let page =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man/kubectl-keyplane-generate.1");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("sha256sum\n.PP\nWith"), "a paragraph ends where a command does: {page}");
}

#[test]
fn a_manifest_without_a_namespace_comes_with_a_warning() {
    let stage = Stage::new();
    for (more, warned) in [(vec![], true), (vec!["--namespace", "acme"], false)] {
        let output = stage.plugin().args(["generate", "--scope", "all"]).args(&more).output().unwrap();
        shown_key(&output);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.contains("warning: no --namespace"), warned, "{said}");
    }
}

#[test]
fn each_scope_is_written_as_the_resource_has_it() {
    let id = "0b6e4c0e-5d6b-4f0e-9d7c-1f2a3b4c5d6e";
    for (args, scope) in [
        (vec!["--scope", "all"], json!({"all": true})),
        (vec!["--scope", "inference"], json!({"inference": true})),
        (vec!["--scope", "ssh-keys"], json!({"sshKeys": true})),
        (
            vec!["--scope", "kubernetes", "--all-namespaces"],
            json!({"kubernetesExec": {"allNamespaces": true, "role": "edit"}}),
        ),
        (
            vec!["--namespace-id", id, "--role", "admin"],
            json!({"kubernetesExec": {"namespaceIds": [id], "role": "admin"}}),
        ),
    ] {
        let stage = Stage::new();
        let output = stage.plugin().arg("generate").args(&args).output().unwrap();
        let manifest = manifest(&output);
        assert_eq!(manifest["spec"]["scope"], scope);
        let digest = manifest["spec"]["digest"].as_str().unwrap();
        assert_eq!(manifest["metadata"]["name"], format!("key-{}", &digest[7..17]));
    }
}

#[test]
fn what_admission_rejects_is_refused_in_its_words_and_makes_no_key() {
    for (args, words) in [
        (vec![], "At least one explicit scope is required"),
        (
            vec!["--scope", "kubernetes"],
            "At least one namespace ID is required unless all_namespaces is true",
        ),
        (vec!["--role", "view"], "At least one namespace ID is required"),
        (vec!["--scope", "all", "--all-namespaces"], "all cannot be combined with other scope fields"),
        (
            vec!["--scope", "inference", "--kubernetes-namespace", "web"],
            "Explicit mixed scopes are not supported",
        ),
        (
            vec!["--all-namespaces", "--kubernetes-namespace", "web"],
            "all_namespaces cannot be combined with a list of namespaces",
        ),
        (vec!["--scope", "all", "--expires-at", "2001-01-01T00:00:00Z"], "Expiration must be in the future"),
        (vec!["--scope", "all", "--expires-at", "tomorrow"], "--expires-at"),
        (vec!["--scope", "all", "--expires-at", "2099-01-01"], "give a time such as 2030-01-01T00:00:00Z"),
        (vec!["--scope", "inference", "--role", "view"], "--role is for Kubernetes scopes"),
        (vec!["--scope", "all", "--name", "Not_A_Name"], "lower-case letters"),
        (vec!["--scope", "all", "--name", LONG], "limited to 64 characters"),
        (vec!["--scope", "all", "--display-name", LONG], "limited to 64 characters"),
        (vec!["--namespace-id", "web"], "UUID"),
        (vec!["--kubernetes-namespace", "a.b"], "namespace's name"),
    ] {
        let stage = Stage::new();
        let output = stage.plugin().args(["generate", "--key-out", "key"]).args(&args).output().unwrap();
        let line = failure(&output, 2);
        assert!(line.contains(words), "{line}");
        assert!(!stage.path("key").exists());
    }
}

const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_key_whose_manifest_cannot_be_written_is_not_kept() {
    let stage = Stage::new();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(assert_cmd::cargo::cargo_bin("kubectl-keyplane"))
        .args(["generate", "--scope", "all", "--key-out", "key"])
        .current_dir(stage.home.path())
        .stdout(closed)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(!stage.path("key").exists());
}
