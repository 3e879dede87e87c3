//! What `kubeconfig` takes over from the current context's user, and what it does not.

use std::fs;

use serde_json::json;

use crate::stage::{Stage, failure};
use crate::stand_in::{Reply, StandIn};

#[test]
fn a_relative_path_of_the_contexts_user_does_not_lead_into_the_current_folder_for_good() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| Reply::problem(500, "not to be asked"));
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    fs::create_dir(stage.path("checkout")).unwrap();
    stage.file("checkout/theirs", &stage.key, 0o600);
    stage.file("checkout/ca.pem", &exchange.ca, 0o600);
    for (named, option, what, typed) in [
        (
            ["--certificate-authority", &ca, "--key-command", "./theirs hunter2"],
            "--key-command",
            "the context's key command is a relative path",
            "theirs",
        ),
        (
            ["--certificate-authority", &ca, "--key-file", "theirs"],
            "--key-file",
            "the context's key file is a relative path",
            "theirs",
        ),
        (
            ["--certificate-authority", "ca.pem", "--key-name", "x"],
            "--certificate-authority",
            "the path of the exchange's CA is relative",
            "ca.pem",
        ),
    ] {
        let args = [&["get-token", "--server", &exchange.url], &named[..]].concat();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "mine",
            "clusters": [{"name": "mine", "cluster": {"server": "https://api.example"}}],
            "contexts": [{"name": "mine", "context": {"cluster": "mine", "user": "keyplane"}}],
            "users": [{"name": "keyplane", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "kubectl-keyplane",
                "interactiveMode": "Never", "args": args,
            }}}],
        })
        .to_string();
        let config = stage.file("config", &config, 0o600);
        let before = fs::read_to_string(&config).unwrap();
        let merged = |more: &[&str]| {
            let mut command = stage.plugin();
            command.env("PATH", std::env::var_os("PATH").unwrap()).env("KUBECONFIG", &config);
            command.current_dir(stage.path("checkout")).args(["kubeconfig", "--merge", "--replace"]);
            command.args(["--cluster", "mine", "--cluster-server", "https://api.example"]).args(more);
            command.output().unwrap()
        };
        let line = failure(&merged(&[]), 2);
        assert!(line.contains(what) && line.contains("whole path"), "{line}");
        assert!(line.contains(option) && !line.contains("hunter2"), "{line}");
        assert_eq!(fs::read_to_string(&config).unwrap(), before);
        // What is typed is meant from here.
        let option = if option == "--key-command" { "--key-file" } else { option };
        let output = merged(&[option, typed]);
        assert!(output.status.success(), "{output:?}");
        assert_ne!(fs::read_to_string(&config).unwrap(), before);
    }
    assert!(exchange.asked().is_empty());
}
