//! `--verbose` tells each step: which kubectl runs and how it ended, and what becomes of which file. Never a secret.

use std::process::Output;

use keyplane_credential_plugin::typed_command::word;
use serde_json::json;

use crate::kept_key::{accepting, shows_no_key, text};
use crate::manage::{folder, kubectl_that_answers};
use crate::played::{Play, program};
use crate::stage::{Stage, credential};

/// The steps that were told, without the program's name; the other lines on standard error as well.
fn steps(output: &Output) -> Vec<String> {
    text(&output.stderr)
        .lines()
        .map(|line| line.strip_prefix("kubectl-keyplane: ").unwrap_or(line).to_owned())
        .collect()
}

fn is_told(steps: &[String], start: &str) {
    assert!(steps.iter().any(|step| step.starts_with(start)), "{start}: {steps:#?}");
}

#[test]
fn each_kubectl_is_told_with_its_place_its_exit_code_and_its_time_and_no_part_of_an_object() {
    let stage = Stage::new();
    let kubectl = kubectl_that_answers(
        &stage,
        &json!({
            "metadata": {"name": "ci", "uid": "the-uid"}, "spec": {"digest": "sha256:abc"},
            "status": {"state": "Locked", "sealedKey": "the-armour"},
        }),
    );
    let run = |args: &[&str]| {
        let mut command = stage.plugin();
        let output = command.env("PATH", folder(&kubectl)).arg("--verbose").args(args).output().unwrap();
        for part in ["abc", "the-armour", "true}", "publicKey"] {
            assert!(!text(&output.stderr).contains(part), "{part}: {output:?}");
        }
        steps(&output)
    };
    let told =
        run(&["apikeys", "revoke", "ci", "--yes", "--timeout", "1s", "-n", "acme", "--context", "prod"]);
    let place = "kubectl --context prod --namespace acme";
    assert_eq!(
        told[0],
        format!(
            "runs {place} get {} {} -- apikeys.keyplane.dev ci",
            word("--output=json"),
            word("--request-timeout=20s")
        )
    );
    assert!(
        told[1].starts_with("kubectl ended with exit code 0 after ") && told[1].ends_with(" ms"),
        "{told:?}"
    );
    is_told(&told, &format!("runs {place} patch {} ", word("--type=merge")));
    is_told(&told, "waiting up to 1 s for the key to be revoked");
    let told = run(&["apikeys", "unlock", "ci", "--timeout", "1s", "--kubeconfig", "my config"]);
    is_told(&told, &format!("runs kubectl --kubeconfig {} patch", word("my config")));
    assert!(told[0].ends_with(", in the kubeconfig's current context"), "{told:?}");
    for args in [
        &["apikeys", "list"][..],
        &["apikeys", "rotate", "ci", "--no-wait", "--key-out", "ci.key"],
        &["reveal", "ci", "--key-out", "-"],
        &["generate", "--name", "ci", "--scope", "all", "--apply", "--no-wait"],
        &["ssh-key", "list"],
    ] {
        is_told(&run(args), "runs kubectl ");
    }
    let public = stage.file("key.pub", "ssh-ed25519 AAAA me", 0o644);
    let told = run(&["ssh-key", "add", &public, "--timeout", "1s"]);
    is_told(&told, &format!("reading the public key from {public}"));
    is_told(&told, "runs kubectl get sshkeys.keyplane.dev");
}

#[test]
fn a_kubectl_that_fails_is_told_with_its_exit_code() {
    let stage = Stage::new();
    let kubectl = program(stage.home.path(), "kubectl", &[Play { code: 3, ..Play::default() }]);
    let output =
        stage.plugin().env("PATH", folder(&kubectl)).args(["apikeys", "list", "-v"]).output().unwrap();
    is_told(&steps(&output), "kubectl ended with exit code 3 after ");
}

#[test]
fn a_new_key_is_told_by_its_prefix_and_its_file_alone() {
    let stage = Stage::new();
    let generate = |args: &[&str]| {
        let mut command = stage.plugin();
        command.env("PATH", stage.home.path()).args(["generate", "--name", "ci", "-n", "acme", "-v"]);
        command.args(["--scope", "all", "--key-out", "ci.key"]).args(args).output().unwrap()
    };
    let told = steps(&generate(&["--apply"]));
    is_told(&told, "made the key kpk_");
    is_told(&told, "wrote the key into the new file ci.key");
    is_told(&told, "removed ci.key");
    let output = generate(&[]);
    let key = std::fs::read_to_string(stage.path("ci.key")).unwrap();
    shows_no_key(&output, key.trim());
    is_told(&steps(&output), &format!("made the key {}", &key[..8]));
}

#[test]
fn logout_tells_which_files_it_removes() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let mut command = stage.command("get-token", &exchange);
    credential(&command.output().unwrap());
    let token = stage.cache_file();
    let output = stage.command("logout", &exchange).arg("--verbose").output().unwrap();
    shows_no_key(&output, &stage.key);
    let told = steps(&output);
    is_told(&told, &format!("the exchange is {}; it is not asked", exchange.url));
    is_told(&told, &format!("removed {}", token.display()));
    let kept = told
        .iter()
        .filter(|step| step.starts_with("removed ") && step.contains(stage.kept_folder().to_str().unwrap()));
    assert_eq!(kept.count(), 2, "the key and its record: {told:?}");
    let again = steps(&stage.command("logout", &exchange).arg("--verbose").output().unwrap());
    is_told(&again, "there is no ");
}
