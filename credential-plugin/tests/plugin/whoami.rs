//! whoami: what it says of key and token, and the kubeconfig's context that it looks into.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyplane_credential_plugin::kubeconfig::current::{ContextArgs, CurrentContext};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::kept_key::{accepted, accepting, identity, shows_no_key, text, token};
use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn};

fn answer(output: &std::process::Output) -> Value {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn it_says_what_the_exchange_says_where_the_key_came_from_and_how_long_the_token_lives() {
    let (stage, exchange) = (Stage::new(), accepting());
    let whoami = |args: &[&str]| {
        let mut command = stage.command("whoami", &exchange);
        let output = command.env("KEYPLANE_API_KEY", &stage.key).args(args).output().unwrap();
        shows_no_key(&output, &stage.key);
        output
    };
    let told = answer(&whoami(&["--output", "json"]));
    let wanted = json!({
        "account": "acme", "id": identity()["id"], "name": "ci", "displayName": "CI", "prefix": "kpk_Ab3d",
        "scopes": {"kubernetesExec": {"allNamespaces": true, "role": "view"}},
        "expiresAt": "2099-01-01T00:00:00Z", "allowedCidrs": ["192.0.2.0/24"],
        "namespaces": [{"id": identity()["namespaces"][0]["id"], "name": "web", "kubernetesName": "acme-web"}],
    });
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&told[field], value, "{field}");
    }
    assert_eq!(told.as_object().unwrap().len(), wanted.as_object().unwrap().len() + 4, "{told}");
    assert_eq!(told["server"], exchange.url);
    assert_eq!(told["keySource"]["kind"], "environment");
    assert_eq!(told["cachedTokens"], json!([]));
    let table = text(&whoami(&[]).stdout);
    assert!(table.contains("Cached token:") && table.contains("none"), "{table}");
    let token = credential(&stage.get_token(&exchange).output().unwrap());
    let told = answer(&whoami(&["--output", "json"]));
    assert_eq!(told["cachedTokens"].as_array().unwrap().len(), 1);
    let end = told["cachedTokens"][0]["expiresAt"].as_str().unwrap();
    assert_eq!(end[..19], token["status"]["expirationTimestamp"].as_str().unwrap()[..19]);
    let table = text(&whoami(&[]).stdout);
    assert!(
        table.contains("minutes)") && table.contains("the environment variable KEYPLANE_API_KEY"),
        "{table}"
    );
    assert!(table.lines().all(|line| line.find("   ").is_some()), "{table}");
    let table = text(&whoami(&["--no-cache"]).stdout);
    assert!(table.lines().any(|line| line.starts_with("Cached token:") && line.ends_with("none")), "{table}");
}

#[test]
fn each_source_is_named() {
    let (stage, exchange) = (Stage::new(), accepting());
    let file = stage.file("key", &stage.key, 0o600);
    let command = Stage::prints(&file);
    let kind = |args: &[&str]| {
        let mut whoami = stage.command("whoami", &exchange);
        answer(&whoami.args(["--output", "json"]).args(args).output().unwrap())["keySource"]["kind"].clone()
    };
    assert_eq!(kind(&["--key-file", &file]), "key-file");
    assert_eq!(kind(&["--key-command", &command]), "key-command");
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    assert_eq!(kind(&[]), "kept-file");
}

#[test]
fn a_key_command_that_comes_after_another_source_is_not_passed_over_in_silence() {
    let (stage, exchange) = (Stage::new(), accepting());
    let file = stage.file("key", &stage.key, 0o600);
    let command = format!("cat '{file}'");
    let run = |name: &str, args: &[&str]| {
        let mut plugin = stage.command(name, &exchange);
        let output = plugin.env("KEYPLANE_API_KEY", &stage.key).args(args).output().unwrap();
        shows_no_key(&output, &stage.key);
        output
    };
    let warning = "warning: --key-command is not used, for it comes last: the key is from the environment variable KEYPLANE_API_KEY\n";
    for name in ["whoami", "doctor"] {
        assert_eq!(
            text(&run(name, &["--key-command", &command, "-o", "json"]).stderr)
                .lines()
                .next()
                .map(|line| format!("{line}\n"))
                .as_deref(),
            Some(warning),
            "{name}"
        );
    }
    let whoami = run("whoami", &["--key-command", &command]);
    assert!(whoami.status.success());
    assert_eq!(text(&whoami.stderr), warning);
    stage.log_in(&exchange, &stage.key, &["--store", "file"]);
    let output = stage.command("whoami", &exchange).args(["--key-command", &command]).output().unwrap();
    let kept = text(&output.stderr);
    assert!(
        kept.contains("the key is from login, which keeps it in ") && kept.lines().count() == 1,
        "{kept}"
    );
    // kubectl shows what get-token says: nothing when all is well.
    let args = ["--key-command", &command, "--no-cache"];
    credential(&run("get-token", &args));
    let told = run("get-token", &[&args[..], &["--verbose"]].concat());
    assert!(text(&told.stderr).contains(warning), "{told:?}");
    // Two sources that are both given say nothing about which is meant.
    failure(&run("whoami", &["--key-command", &command, "--key-file", &file]), 2);
    failure(&run("whoami", &["--key-command", &command, "--key-name", "acme"]), 2);
}

#[test]
fn a_time_limit_is_seconds_or_has_a_unit_and_lies_within_bounds() {
    let (stage, exchange) = (Stage::new(), accepting());
    let key = stage.file("key", &stage.key, 0o600);
    for (argument, good, bad) in [
        ("--timeout", ["1", "300", "30s", "5m"], ["0", "301", "6m", "1h"]),
        ("--key-command-timeout", ["1", "600", "90s", "10m"], ["0", "601", "11m", "soon"]),
    ] {
        let run = |value: &str| {
            let mut whoami = stage.command("whoami", &exchange);
            whoami.args(["--key-file", &key, argument, value]).output().unwrap()
        };
        for value in good {
            let output = run(value);
            assert!(output.status.success(), "{argument} {value}: {output:?}");
        }
        for value in bad {
            failure(&run(value), 2);
        }
    }
}

#[test]
fn a_refused_key_is_told_in_one_line() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| Reply::problem(401, "Missing, invalid, revoked, or expired API key"));
    let mut command = stage.command("whoami", &exchange);
    let output = command.env("KEYPLANE_API_KEY", &stage.key).output().unwrap();
    failure(&output, 4);
}

/// A kubeconfig whose current context uses this plugin for the exchange, with these exec args and variables.
pub(crate) fn kubeconfig(stage: &Stage, exchange: &StandIn, args: &[&str], env: &Value) -> String {
    let args = [&["get-token"], args].concat();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "prod-web",
        "contexts": [
            {"name": "prod-web", "context": {"cluster": "prod", "user": "keyplane", "namespace": "acme-web"}},
            {"name": "other", "context": {"cluster": "prod", "user": "other"}},
        ],
        "clusters": [{"name": "prod", "cluster": {
            "server": "https://prod.example.com:6443",
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {
                "server": exchange.url, "certificateAuthorityData": STANDARD.encode(&exchange.ca),
            }}],
        }}],
        "users": [
            {"name": "keyplane", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "kubectl-keyplane",
                "args": args, "env": env, "interactiveMode": "Never",
                "provideClusterInfo": true,
            }}},
            {"name": "other", "user": {"token": "x"}},
        ],
    });
    stage.file("config", &config.to_string(), 0o600)
}

pub(crate) fn allowed(exchange: &StandIn) -> String {
    let digest = Sha256::digest(exchange.ca.as_bytes());
    format!("{}#sha256:{:x}", exchange.url, base16ct::HexDisplay(&digest))
}

#[test]
fn without_an_address_the_current_context_gives_exchange_ca_and_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let file = stage.file("key", &stage.key, 0o600);
    let allow = ["--allow-server", &allowed(&exchange)];
    let in_file = kubeconfig(&stage, &exchange, &[&allow[..], &["--key-file", &file]].concat(), &Value::Null);
    let whoami = |config: &str, args: &[&str]| {
        let mut command = stage.plugin();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("KUBECONFIG", config);
        command.args(["whoami", "--output", "json"]).args(args).output().unwrap()
    };
    let told = answer(&whoami(&in_file, &[]));
    assert_eq!(told["context"], "prod-web");
    assert_eq!(told["server"], exchange.url);
    assert_eq!(told["keySource"]["kind"], "key-file");
    let command = Stage::prints(&file);
    let by_command =
        kubeconfig(&stage, &exchange, &[&allow[..], &["--key-command", &command]].concat(), &Value::Null);
    assert_eq!(answer(&whoami(&by_command, &[]))["keySource"]["kind"], "key-command");
    // What the arguments name comes before what the context says.
    assert_eq!(answer(&whoami(&by_command, &["--key-file", &file]))["keySource"]["kind"], "key-file");
    // As kubectl does: the entry's variables win over the process's own.
    let env = json!([{"name": "KEYPLANE_API_KEY", "value": stage.key}]);
    let embedded = kubeconfig(&stage, &exchange, &allow, &env);
    let output = whoami(&embedded, &["--verbose"]);
    shows_no_key(&output, &stage.key);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["keySource"]["kind"], "environment");
    assert!(exchange.asked().iter().all(|asked| asked.header("x-api-key") == Some(stage.key.as_str())));
    let line = failure(&whoami(&embedded, &["--context", "other"]), 2);
    assert!(line.contains("user other of context other does not call kubectl-keyplane"), "{line}");
    let line = failure(&whoami(&embedded, &["--context", "none"]), 14);
    assert!(line.contains("none"), "{line}");
}

#[test]
fn a_context_is_read_whole_whatever_files_it_is_in() {
    let (stage, exchange) = (Stage::new(), accepting());
    stage.file("cluster-ca.pem", &exchange.ca, 0o644);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "acme-web"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": "https://prod.example.com", "certificate-authority": "cluster-ca.pem",
            "proxy-url": "http://proxy.example.com:3128", "tls-server-name": "inner.example.com",
        }}],
        "users": [{"name": "u", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/opt/bin/kubectl-keyplane",
            "args": ["get-token", "--timeout", "7"], "interactiveMode": "Never", "provideClusterInfo": true,
        }}}],
    });
    let path = stage.file("config", &config.to_string(), 0o600);
    let args = ContextArgs { kubeconfig: Some(path.into()), context: None };
    let context = CurrentContext::read(&args).unwrap();
    assert_eq!((context.name.as_str(), context.namespace.as_deref()), ("prod", Some("acme-web")));
    let cluster = &context.cluster;
    assert_eq!((cluster.name.as_str(), cluster.server.as_str()), ("c", "https://prod.example.com"));
    assert_eq!(cluster.proxy_url.as_deref(), Some("http://proxy.example.com:3128"));
    assert_eq!(cluster.tls_server_name.as_deref(), Some("inner.example.com"));
    assert_eq!(cluster.ca_pem().unwrap().unwrap(), exchange.ca.as_bytes());
    let call = context.plugin_call().unwrap().unwrap();
    assert_eq!(call.args.exchange.timeout, 7);
    assert_eq!(call.cluster.unwrap().certificate_authority_data, STANDARD.encode(&exchange.ca));
}

#[test]
fn a_context_whose_user_does_not_allow_the_exchange_gets_no_key() {
    let (stage, exchange) = (Stage::new(), accepting());
    let file = stage.file("key", &stage.key, 0o600);
    for args in
        [vec![], vec!["--allow-server", "https://elsewhere.example"], vec!["--allow-server", &exchange.url]]
    {
        let config =
            kubeconfig(&stage, &exchange, &[&args[..], &["--key-file", &file]].concat(), &Value::Null);
        let mut command = stage.plugin();
        command.env("PATH", std::env::var_os("PATH").unwrap()).args(["whoami", "--kubeconfig", &config]);
        failure(&command.output().unwrap(), 2);
    }
    let config = kubeconfig(&stage, &exchange, &["--no-such-argument"], &Value::Null);
    let mut command = stage.plugin();
    command.env("PATH", std::env::var_os("PATH").unwrap()).args(["whoami", "--kubeconfig", &config]);
    let line = failure(&command.output().unwrap(), 2);
    assert!(line.contains("arguments that it does not know"), "{line}");
    assert!(exchange.asked().is_empty());
}

#[test]
fn login_and_logout_look_into_the_context_too() {
    let (stage, exchange) =
        (Stage::new(), StandIn::tls(|count| if count == 1 { accepted() } else { token() }));
    let config = kubeconfig(
        &stage,
        &exchange,
        &["--allow-server", &allowed(&exchange), "--key-name", "acme"],
        &Value::Null,
    );
    let command = |name: &str| {
        let mut command = stage.plugin();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("KUBECONFIG", &config).arg(name);
        command
    };
    let output = command("login").args(["--store", "file"]).write_stdin(stage.key.clone()).output().unwrap();
    shows_no_key(&output, &stage.key);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stderr).contains("kubectl uses it from now on in context prod-web"), "{output:?}");
    let key = stage.kept_keys().pop().unwrap();
    assert_eq!(fs::read_to_string(&key).unwrap(), stage.key);
    credential(&stage.command("get-token", &exchange).args(["--key-name", "acme"]).output().unwrap());
    assert!(command("logout").output().unwrap().status.success());
    assert!(!key.exists());
}

#[test]
fn without_any_kubeconfig_the_address_is_what_is_missing() {
    let stage = Stage::new();
    for command in ["whoami", "login", "logout"] {
        let mut plugin = stage.plugin();
        plugin.env("PATH", std::env::var_os("PATH").unwrap()).arg(command);
        let line = failure(&plugin.output().unwrap(), 2);
        assert!(line.contains("--server") && line.contains("KEYPLANE_URL"), "{line}");
    }
}
