//! `kubeconfig` that asks the exchange: what it takes from the answer, and what it never takes.

use std::fs;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyplane_credential_plugin::commands::whoami::Identity;
use keyplane_credential_plugin::kubeconfig::issued::Issued;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::doctor_rules::quoted;
use crate::kept_key::identity;
use crate::kubeconfig_styles::seen_by_kubectl;
use crate::stage::{Stage, failure};
use crate::stand_in::{Reply, StandIn};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";

/// As an exchange writes it, with things in it that must not be taken over.
fn issued() -> Value {
    let context = |name: &str| json!({"name": name, "context": {"cluster": "keyplane", "user": "keyplane", "namespace": name}});
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "keyplane", "cluster": {
            "server": "https://cluster.example:6443",
            "certificate-authority-data": STANDARD.encode(PEM),
            "insecure-skip-tls-verify": true,
            "proxy-url": "http://evil.example",
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"server": "https://evil.example"}}],
        }}],
        "users": [{"name": "keyplane", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "evil",
            "args": ["get-token", "--allow-server", "https://evil.example"],
        }}}],
        "contexts": [context("acme-web"), context("acme-db")],
        "current-context": "acme-db",
    })
}

fn answering(config: &Value) -> StandIn {
    let body = serde_saphyr::to_string(config).unwrap();
    StandIn::tls(move |_| Reply::new(200, body.clone()).with("content-type", "application/yaml"))
}

fn asking(stage: &Stage, exchange: &StandIn) -> Command {
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let mut command = stage.plugin();
    command.env("KEYPLANE_API_KEY", &stage.key);
    command.args(["kubeconfig", "--server", &exchange.url, "--certificate-authority", &ca]);
    command
}

fn printed(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    serde_saphyr::from_slice(&output.stdout).unwrap()
}

fn contexts(config: &Value) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entries = config["contexts"].as_array().unwrap().iter();
    entries.map(|entry| (text(&entry["name"]).unwrap(), text(&entry["context"]["namespace"]))).collect()
}

#[test]
fn one_command_makes_a_context_for_each_namespace_and_takes_nothing_else_over() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let config = printed(&mut asking(&stage, &exchange));
    assert!(!config.to_string().contains("evil"), "{config}");
    assert_eq!(
        config["clusters"],
        json!([{"name": "keyplane", "cluster": {
            "server": "https://cluster.example:6443",
            "certificate-authority-data": STANDARD.encode(PEM),
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {
                "server": exchange.url, "certificateAuthorityData": STANDARD.encode(&exchange.ca),
            }}],
        }}])
    );
    let exec = &config["users"][0]["user"]["exec"];
    assert_eq!(exec["command"], "kubectl-keyplane");
    assert_eq!(exec["args"].as_array().unwrap().len(), 3, "{exec}");
    assert!(exec["args"][2].as_str().unwrap().starts_with(&format!("{}#sha256:", exchange.url)));
    assert!(exec["env"].is_null() && !config.to_string().contains(&stage.key));
    assert_eq!(
        contexts(&config),
        [
            ("keyplane-acme-web".to_owned(), Some("acme-web".to_owned())),
            ("keyplane-acme-db".to_owned(), Some("acme-db".to_owned())),
        ]
    );
    assert_eq!(config["current-context"], "keyplane-acme-web");
    let asked = exchange.asked();
    assert!(asked.len() == 1 && asked[0].head.starts_with("GET /v1/kubernetes/kubeconfig "), "{asked:?}");
    assert_eq!(asked[0].header("x-api-key"), Some(stage.key.as_str()));
}

#[test]
fn merged_into_the_own_kubeconfig_kubectl_reads_it() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let output = asking(&stage, &exchange).arg("--merge").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "Wrote contexts keyplane-acme-web, keyplane-acme-db to {}\nThe current context is keyplane-acme-web\n",
            stage.path(".kube").join("config").display()
        )
    );
    if let Some(seen) = seen_by_kubectl(&stage.path(".kube/config")) {
        assert_eq!(contexts(&seen).len(), 2);
        assert_eq!(seen["users"][0]["user"]["exec"]["provideClusterInfo"], true);
        assert!(seen["clusters"][0]["cluster"]["extensions"].is_array());
    }
}

#[test]
fn without_an_address_the_current_context_says_which_exchange_and_key() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let key = stage.file("key", &stage.key, 0o600);
    let mut first = asking(&stage, &exchange);
    first.args(["--merge", "--key-file", &key, "--proxy-url", "none", "--timeout", "1m"]).assert().success();
    let before = fs::read_to_string(stage.path(".kube/config")).unwrap();
    let again = |args: &[&str]| {
        let mut command = stage.plugin();
        command.env("PATH", std::env::var_os("PATH").unwrap()).arg("kubeconfig").args(args);
        command.output().unwrap()
    };
    let output = again(&["--merge"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(stage.path(".kube/config")).unwrap(), before);
    let output = again(&["--merge", "--namespace", "acme-db", "--context", "data base"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let use_it = format!("To use it: kubectl config use-context {}\n", quoted("data base"));
    assert!(told.ends_with(&use_it), "{told}");
    fs::remove_file(stage.path(".kube/config")).unwrap();
    let line = failure(&again(&["--merge"]), 2);
    assert!(line.contains("give --server URL"), "{line}");
}

#[test]
fn names_are_the_users_to_choose() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let names = |args: &[&str]| {
        let config = printed(asking(&stage, &exchange).args(args));
        let names: Vec<String> = contexts(&config).into_iter().map(|(name, _)| name).collect();
        (config["clusters"][0]["name"].as_str().unwrap().to_owned(), names)
    };
    let all = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
    assert_eq!(names(&["--cluster", "prod"]), ("prod".to_owned(), all("prod-acme-web", "prod-acme-db")));
    assert_eq!(names(&["--context-prefix", ""]).1, all("acme-web", "acme-db"));
    assert_eq!(names(&["--context-prefix", "kp/", "--all-namespaces"]).1, all("kp/acme-web", "kp/acme-db"));
    assert_eq!(names(&["--namespace", "acme-db", "--context", "db"]).1, ["db"]);
    assert_eq!(
        names(&["--namespace", "acme-db", "--namespace", "acme-web"]).1,
        all("keyplane-acme-db", "keyplane-acme-web")
    );
    let config = printed(asking(&stage, &exchange).args(["--user", "me"]));
    assert_eq!(config["users"][0]["name"], "me");
    assert_eq!(config["contexts"][1]["context"]["user"], "me");
    let line = failure(&asking(&stage, &exchange).args(["--context", "one"]).output().unwrap(), 2);
    assert!(line.contains("--context-prefix"), "{line}");
    failure(
        &asking(&stage, &exchange).args(["--context", "a", "--context-prefix", "b"]).output().unwrap(),
        2,
    );
    failure(&asking(&stage, &exchange).args(["--all-namespaces", "--namespace", "a"]).output().unwrap(), 2);
}

#[test]
fn a_namespace_may_be_named_as_in_its_account_and_must_be_reached() {
    let stage = Stage::new();
    let config = serde_saphyr::to_string(&issued()).unwrap();
    let mut whoami = identity();
    whoami["namespaces"] = json!([
        {"id": "1", "name": "web", "kubernetes_name": "acme-web"},
        {"id": "2", "name": "db", "kubernetes_name": "acme-db"},
    ]);
    let exchange = StandIn::tls(move |count| {
        Reply::new(200, if count % 2 == 1 { config.clone() } else { whoami.to_string() })
    });
    let found = printed(asking(&stage, &exchange).args(["--namespace", "db", "--namespace", "acme-db"]));
    assert_eq!(contexts(&found), [("keyplane-acme-db".to_owned(), Some("acme-db".to_owned()))]);
    assert!(exchange.asked()[1].head.starts_with("GET /v1/whoami "));
    let line = failure(&asking(&stage, &exchange).args(["--namespace", "jobs"]).output().unwrap(), 2);
    assert!(line.contains("jobs") && line.contains("it reaches acme-web, acme-db"), "{line}");
}

#[test]
fn a_namespace_whose_name_is_none_is_not_taken_from_what_the_exchange_says_of_the_key() {
    let stage = Stage::new();
    let config = serde_saphyr::to_string(&issued()).unwrap();
    for (field, value) in
        [("/namespaces/0/kubernetes_name", json!("--hunter2")), ("/namespaces", json!("hunter2"))]
    {
        let (config, mut whoami) = (config.clone(), identity());
        *whoami.pointer_mut(field).unwrap() = value;
        let exchange = StandIn::tls_by_path(move |path| {
            Reply::new(200, if path == "/v1/whoami" { whoami.to_string() } else { config.clone() })
        });
        let line = failure(&asking(&stage, &exchange).args(["--namespace", "web"]).output().unwrap(), 8);
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn a_key_that_reaches_no_namespace_gets_the_one_context_of_the_cluster() {
    let stage = Stage::new();
    let mut config = issued();
    config["contexts"] =
        json!([{"name": "keyplane", "context": {"cluster": "keyplane", "user": "keyplane"}}]);
    let exchange = answering(&config);
    let config = printed(&mut asking(&stage, &exchange));
    assert_eq!(contexts(&config), [("keyplane".to_owned(), None)]);
}

#[test]
fn the_given_cluster_needs_no_question_unless_all_namespaces_are_wanted() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let given = ["--cluster", "prod", "--cluster-server", "https://given.example"];
    let several = ["--namespace", "a", "--namespace", "b"];
    let config = printed(asking(&stage, &exchange).args(given).args(several));
    assert_eq!(contexts(&config).len(), 2);
    assert!(exchange.asked().is_empty());
    let config = printed(asking(&stage, &exchange).args(given).arg("--all-namespaces"));
    assert_eq!(contexts(&config)[0].0, "prod-acme-web");
    let cluster = &config["clusters"][0]["cluster"];
    assert!(cluster["server"] == "https://given.example" && cluster["certificate-authority-data"].is_null());
    failure(&asking(&stage, &exchange).args(&given[2..]).output().unwrap(), 2);
}

#[test]
fn a_key_command_goes_into_the_exec_section_and_key_sources_exclude_each_other() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let command = "op read 'op://vault/keyplane/key'";
    let given = ["--cluster", "prod", "--cluster-server", "https://given.example", "--key-command", command];
    let config = printed(asking(&stage, &exchange).args(given));
    let args = &config["users"][0]["user"]["exec"]["args"];
    assert_eq!((&args[1], &args[2]), (&json!("--key-command"), &json!(command)));
    assert_eq!(config["users"][0]["user"]["exec"]["interactiveMode"], "Never");
    failure(&asking(&stage, &exchange).args(given).args(["--key-file", "key"]).output().unwrap(), 2);
    // Who asks the exchange now with another key than kubectl will may reach other namespaces.
    let output = asking(&stage, &exchange).args(["--key-command", command]).output().unwrap();
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && warning.starts_with("warning: --key-command is not used"),
        "{warning}"
    );
}

#[test]
fn an_answer_that_is_not_sound_is_refused_and_nothing_written() {
    let stage = Stage::new();
    let with = |pointer: &str, value: Value| {
        let mut config = issued();
        *config.pointer_mut(pointer).unwrap() = value;
        serde_saphyr::to_string(&config).unwrap()
    };
    for body in [
        "<html>".to_owned(),
        "{}".to_owned(),
        "clusters: []".to_owned(),
        with("/clusters/0/name", json!("a\nb")),
        with("/clusters/0/name", json!("--verbose")),
        with("/clusters/0/cluster/server", json!("http://cluster.example")),
        with("/clusters/0/cluster/server", json!("https://u:hunter2@cluster.example")),
        with("/clusters/0/cluster/server", json!("file:///etc")),
        with("/clusters/0/cluster/server", json!("https://cluster.example/\u{202e}x")),
        with("/clusters/0/cluster/server", json!("https://cluster.example:99999")),
        with("/clusters/0/cluster/server", json!("https://[2001:db8::1]:+443")),
        with("/clusters/0/cluster/server", json!("https://cluster.example:/x")),
        with("/clusters/0/cluster/server", json!("https://:6443")),
        with("/clusters/0/name", json!("cluster\u{202e}")),
        with("/contexts/0/context/namespace", json!("acme\u{202e}")),
        with("/clusters/0/cluster/certificate-authority-data", json!("QUJD")),
        with("/clusters/0/cluster/certificate-authority-data", json!("no base64")),
        with("/contexts/0/context/namespace", json!("../hunter2")),
    ] {
        let exchange = StandIn::tls(move |_| Reply::new(200, body.clone()));
        let output = asking(&stage, &exchange).arg("--merge").output().unwrap();
        let line = failure(&output, 8);
        assert!(!line.contains("hunter2"), "{line}");
        assert!(!stage.path(".kube").exists());
    }
}

#[test]
fn an_exchange_does_not_decide_whom_an_entry_of_somebody_else_trusts() {
    let stage = Stage::new();
    let exchange = answering(&issued());
    let entry = |content: &str| {
        format!(
            "clusters:\n- name: keyplane\n  cluster:\n    server: https://cluster.example:6443\n{content}"
        )
    };
    for content in ["    certificate-authority-data: QUJD\n", "    certificate-authority: /etc/ca.pem\n", ""]
    {
        stage.file("config", &entry(content), 0o600);
        let line = failure(&asking(&stage, &exchange).args(["--merge-into", "config"]).output().unwrap(), 11);
        assert!(line.contains("--cluster, or give --replace"), "{line}");
    }
    // Made for this exchange, it follows when the CA is renewed.
    let extension =
        "    extensions:\n    - {name: client.authentication.k8s.io/exec, extension: {server: URL}}\n";
    let own = entry("    certificate-authority-data: QUJD\n") + &extension.replace("URL", &exchange.url);
    stage.file("config", &own, 0o600);
    assert!(asking(&stage, &exchange).args(["--merge-into", "config"]).output().unwrap().status.success());
    let config: Value = serde_saphyr::from_str(&fs::read_to_string(stage.path("config")).unwrap()).unwrap();
    assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], STANDARD.encode(PEM));
}

#[test]
fn an_answer_nested_without_end_is_refused() {
    for open in ["[", "{a: ", "clusters: [", "- "] {
        assert!(Issued::parse(open.repeat(60_000 / open.len()).as_bytes()).is_err());
    }
}

#[test]
fn a_refusal_is_the_exchanges_and_without_a_key_nobody_is_asked() {
    let stage = Stage::new();
    fs::create_dir(stage.path(".kube")).unwrap();
    for (status, code) in [(401, 4), (403, 5), (500, 8)] {
        let exchange = StandIn::tls(move |_| Reply::problem(status, "Not you"));
        failure(&asking(&stage, &exchange).arg("--merge").output().unwrap(), code);
    }
    let exchange = StandIn::tls(|_| {
        Reply::problem(503, "This installation does not say how users reach it").with("retry-after", "99")
    });
    let line = failure(&asking(&stage, &exchange).output().unwrap(), 9);
    assert!(line.contains("--cluster-server"), "{line}");
    let exchange = answering(&issued());
    failure(&asking(&stage, &exchange).env_remove("KEYPLANE_API_KEY").output().unwrap(), 3);
    assert!(exchange.asked().is_empty());
}

proptest! {
    #[test]
    fn any_answer_is_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,100}") {
        for answer in [bytes.as_slice(), text.as_bytes()] {
            let _ = Issued::parse(answer);
            let _ = Identity::parse(answer);
        }
    }
}
