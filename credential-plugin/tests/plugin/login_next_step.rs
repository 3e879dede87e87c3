//! What login tells to do next.

use std::fs;

use crate::kept_key::{accepted, text, token};
use crate::stage::{Stage, credential, new_key};
use crate::stand_in::{Reply, StandIn};

/// No kubeconfig can name such an exchange.
#[test]
fn at_an_exchange_of_plain_http_the_next_step_is_one_that_works() {
    let stage = Stage::new();
    let exchange = StandIn::plain(|count| if count == 1 { accepted() } else { token() });
    let mut command = stage.plugin();
    command.args(["login", "--store", "file", "--server", &exchange.url, "--key-name", "oncall"]);
    let output = command.write_stdin(new_key()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = text(&output.stderr);
    assert!(!told.contains(" kubeconfig --merge"), "{told}");
    let next = told.lines().last().unwrap().split_once(": kubectl keyplane ").unwrap().1;
    assert!(next.starts_with("get-token --server http://"), "{told}");
    credential(&stage.plugin().args(next.split(' ')).output().unwrap());
    let help = text(&stage.plugin().args(["kubeconfig", "--help"]).output().unwrap().stdout);
    assert!(help.contains("The exchange's URL, https; wins over") && !help.contains("or http to"), "{help}");
}

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
