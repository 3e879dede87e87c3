//! What login tells to do next.

use std::fs;

use crate::kept_key::{accepted, text};
use crate::stage::{Stage, new_key};
use crate::stand_in::{Reply, StandIn};

#[test]
fn the_next_step_works_word_for_word_and_is_not_told_again() {
    let stage = Stage::new();
    let exchange = StandIn::tls_by_path(|path| match path {
        "/v1/whoami" => accepted(),
        _ => Reply::new(
            200,
            "{clusters: [{name: keyplane, cluster: {server: 'https://cluster.example:6443'}}], contexts: \
             [{name: acme-web, context: {cluster: keyplane, user: keyplane, namespace: acme-web}}]}",
        ),
    });
    stage.file("ca.pem", &exchange.ca, 0o644);
    let log_in = |name: &str| {
        let mut command = stage.plugin();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.args(["login", "--store", "file", "--server", &exchange.url, "--key-name", name]);
        command.args(["--certificate-authority", "ca.pem"]).write_stdin(new_key());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr)
    };
    let told = log_in("oncall");
    let next = told.lines().last().unwrap().strip_prefix("Next: kubectl keyplane ").unwrap();
    // Elsewhere, as a person may run it.
    fs::create_dir(stage.path("elsewhere")).unwrap();
    let mut command = stage.plugin();
    command.current_dir(stage.path("elsewhere")).args(next.split(' ')).assert().success();
    let told = log_in("oncall");
    assert!(!told.contains("Next: "), "{told}");
    assert!(told.contains("kubectl uses it from now on in context keyplane-acme-web"), "{told}");
    assert!(log_in("other").contains("Next: kubectl keyplane kubeconfig --merge "));
}
