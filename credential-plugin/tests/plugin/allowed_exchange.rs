//! Where a key goes when the kubeconfig's cluster entry, which anybody may have written, says so.

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use keyplane_credential_plugin::exchange::allowed::AllowedExchange;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn};

fn healthy() -> Reply {
    Reply::token(TimeDelta::minutes(10), TimeDelta::zero())
}

/// What `sha256sum` prints of the CA's file.
fn sha256(pem: &str) -> String {
    format!("{:x}", base16ct::HexDisplay(&Sha256::digest(pem)))
}

/// `get-token` as a client calls it for a cluster whose extension holds this.
fn get_token(stage: &Stage, arguments: &[&str], extension: &Value) -> Command {
    let info = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {"interactive": false, "cluster": {"server": "https://api.example", "config": extension}},
    });
    let mut command = stage.plugin();
    command
        .args(["get-token", "--no-cache"])
        .args(arguments)
        .env("KEYPLANE_API_KEY", &stage.key)
        .env("KUBERNETES_EXEC_INFO", info.to_string());
    command
}

fn extension(server: &str, ca: &str) -> Value {
    json!({"server": server, "certificateAuthorityData": STANDARD.encode(ca)})
}

#[test]
fn a_hostile_extension_gets_no_request() {
    let stage = Stage::new();
    let [exchange, second, thief] = [(); 3].map(|()| StandIn::tls(|_| healthy()));
    let plain = StandIn::plain(|_| healthy());
    let local = StandIn::tls_for("localhost", |_| healthy());
    let allowed = [
        "--allow-server",
        &format!("{}#sha256:{}", exchange.url, sha256(&exchange.ca)),
        "--allow-server",
        &format!("{}#sha256:{}", second.url, sha256(&second.ca)),
    ];
    let (elsewhere, own_ca) = ("to which this user's key may not go", "with which this user's exchange");
    let thief_authority = thief.url.strip_prefix("https://").unwrap();
    let ca_file = stage.file("thief.pem", &thief.ca, 0o644);
    for (extension, part) in [
        (extension("https://thief.example", &thief.ca), elsewhere),
        (extension(&thief.url, &thief.ca), elsewhere),
        (extension(&thief.url, &exchange.ca), elsewhere),
        (extension(&local.url.replace("127.0.0.1", "localhost"), &local.ca), elsewhere),
        (extension(&exchange.url.replace("127.0.0.1", "localhost"), &exchange.ca), elsewhere),
        (extension(&format!("{}/more", exchange.url), &exchange.ca), elsewhere),
        (extension(&format!("{}.thief.example", exchange.url), &exchange.ca), "(https://127.0.0.1:"),
        (extension(&format!("{}@{thief_authority}", exchange.url), &thief.ca), "user name"),
        (json!({"server": plain.url}), "plain http"),
        (extension(&exchange.url.replace("https", "http"), &exchange.ca), "plain http"),
        (extension(&exchange.url, &thief.ca), own_ca),
        (extension(&exchange.url, &second.ca), own_ca),
        (extension(&exchange.url, &format!("{}{}", exchange.ca, thief.ca)), own_ca),
        (json!({"server": exchange.url, "certificateAuthority": ca_file}), own_ca),
        (json!({"server": exchange.url}), "brings no CA"),
    ] {
        let line = failure(&get_token(&stage, &allowed, &extension).output().unwrap(), 2);
        assert!(line.contains(part), "{extension}: {line}");
    }
    for server in [&exchange, &second, &thief, &plain, &local] {
        assert!(server.asked().is_empty(), "{}", server.url);
    }
    for server in [&exchange, &second] {
        let extension = extension(&server.url, &server.ca);
        credential(&get_token(&stage, &allowed, &extension).output().unwrap());
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn who_takes_over_the_allowed_address_needs_the_allowed_ca() {
    let stage = Stage::new();
    let (exchange, thief) = (StandIn::tls(|_| healthy()), StandIn::tls(|_| healthy()));
    let pinned = format!("{}#sha256:{}", thief.url, sha256(&exchange.ca));
    for (ca, code) in [(&thief.ca, 2), (&exchange.ca, 7)] {
        let extension = extension(&thief.url, ca);
        let mut command = get_token(&stage, &["--allow-server", &pinned], &extension);
        failure(&command.output().unwrap(), code);
    }
    assert!(thief.asked().is_empty());
}

#[test]
fn an_address_allowed_without_a_ca_is_for_the_systems_roots_or_a_ca_of_the_users_own() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| healthy());
    let arguments = ["--allow-server", exchange.url.as_str()];
    let brings_ca = extension(&exchange.url, &exchange.ca);
    failure(&get_token(&stage, &arguments, &brings_ca).output().unwrap(), 2);
    let brings_none = json!({"server": exchange.url});
    failure(&get_token(&stage, &arguments, &brings_none).output().unwrap(), 7);
    assert!(exchange.asked().is_empty());
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let output =
        get_token(&stage, &arguments, &brings_none).args(["--certificate-authority", &ca]).output().unwrap();
    credential(&output);
}

#[test]
fn a_server_that_the_user_named_is_never_trusted_by_the_extensions_ca() {
    let stage = Stage::new();
    let thief = StandIn::tls(|_| healthy());
    let pinned = format!("{}#sha256:{}", thief.url, sha256(&thief.ca));
    for extension in
        [extension(&thief.url, &thief.ca), json!({"certificateAuthorityData": STANDARD.encode(&thief.ca)})]
    {
        let arguments = ["--server", &thief.url, "--allow-server", &pinned];
        failure(&get_token(&stage, &arguments, &extension).output().unwrap(), 7);
        let mut command = get_token(&stage, &[], &extension);
        failure(&command.env("KEYPLANE_URL", &thief.url).output().unwrap(), 7);
    }
    assert!(thief.asked().is_empty());
}

#[test]
fn with_nothing_allowed_the_extension_is_refused_and_the_line_says_how_to_allow_it() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| healthy());
    let extension = extension(&exchange.url, &exchange.ca);
    let line = failure(&get_token(&stage, &[], &extension).output().unwrap(), 2);
    assert!(
        line.contains(&exchange.url)
            && line.contains("--allow-server")
            && line.contains("kubectl keyplane kubeconfig --merge"),
        "{line}"
    );
    assert!(exchange.asked().is_empty());
}

#[test]
fn an_exchange_is_allowed_however_its_address_is_spelled() {
    let digest = "0123456789abcdef".repeat(4);
    for (text, read) in [
        ("https://Keyplane.Example:443/", "https://keyplane.example".to_owned()),
        ("https://[::1]:8443/Path/", "https://[::1]:8443/Path".to_owned()),
        (&format!("https://x/#sha256:{}", digest.to_uppercase()), format!("https://x#sha256:{digest}")),
    ] {
        assert_eq!(AllowedExchange::parse(text).unwrap().to_string(), read);
    }
}

#[test]
fn an_allowance_that_is_none_is_told() {
    let stage = Stage::new();
    let digest = "a".repeat(63);
    for allowed in [
        String::new(),
        "exchange.example".to_owned(),
        "http://localhost:8080".to_owned(),
        "http://exchange.example".to_owned(),
        "https://u:hunter2@x".to_owned(),
        "https://x#sha256:".to_owned(),
        "https://x#md5:00".to_owned(),
        format!("https://x#sha256:{digest}"),
        format!("https://x#sha256:{digest}g"),
        format!("https://x#sha256:{digest}aa"),
        format!("https://x#sha256:{digest}a0a"),
    ] {
        let mut command = get_token(&stage, &["--allow-server", &allowed], &json!({}));
        let line = failure(&command.output().unwrap(), 2);
        assert!(!line.contains("hunter2") && !line.contains("not known"), "{allowed}: {line}");
    }
}

/// Merges a cluster of this name, with this exchange, into the file `config`.
fn merge(stage: &Stage, name: &str, exchange: &StandIn, more: &[&str]) -> Value {
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let output = stage
        .plugin()
        .args(["kubeconfig", "--server", &exchange.url, "--certificate-authority", &ca])
        .args(["--cluster", name, "--cluster-server", "https://c.example", "--merge-into", "config"])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_saphyr::from_str(&std::fs::read_to_string(stage.path("config")).unwrap()).unwrap()
}

fn exec_args(config: &Value) -> Vec<&str> {
    let args = config["users"][0]["user"]["exec"]["args"].as_array().unwrap();
    args.iter().map(|arg| arg.as_str().unwrap()).collect()
}

#[test]
fn one_user_reaches_each_clusters_exchange_by_what_the_merges_wrote() {
    let stage = Stage::new();
    let exchanges = [(); 2].map(|()| StandIn::tls(|_| healthy()));
    let key = stage.file("key", &stage.key, 0o600);
    merge(&stage, "one", &exchanges[0], &["--key-file", &key]);
    let config = merge(&stage, "two", &exchanges[1], &["--key-file", &key]);
    assert_eq!(merge(&stage, "two", &exchanges[1], &["--key-file", &key]), config, "twice is once");
    let [one, two] = [0, 1].map(|index: usize| {
        let exchange: &StandIn = &exchanges[index];
        format!("{}#sha256:{}", exchange.url, sha256(&exchange.ca))
    });
    let args = exec_args(&config);
    assert_eq!(args, ["get-token", "--key-file", &key, "--allow-server", &one, "--allow-server", &two]);
    for (index, exchange) in exchanges.iter().enumerate() {
        let extension = &config["clusters"][index]["cluster"]["extensions"][0]["extension"];
        let mut command = get_token(&stage, &args[1..], extension);
        credential(&command.env_remove("KEYPLANE_API_KEY").output().unwrap());
        assert_eq!(exchange.asked().len(), 1);
    }
}

#[test]
fn an_allowance_written_by_hand_stays_and_another_key_starts_anew() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| healthy());
    let mine = format!("{}#sha256:{}", exchange.url, sha256(&exchange.ca));
    let mut config = merge(&stage, "one", &exchange, &[]);
    config["users"][0]["user"]["exec"]["args"] =
        json!(["get-token", "--allow-server=https://by-hand.example"]);
    stage.file("config", &config.to_string(), 0o600);
    let config = merge(&stage, "one", &exchange, &[]);
    assert_eq!(
        exec_args(&config),
        ["get-token", "--allow-server", "https://by-hand.example", "--allow-server", &mine]
    );
    let key = stage.file("key", &stage.key, 0o600);
    let config = merge(&stage, "one", &exchange, &["--key-file", &key, "--replace"]);
    assert_eq!(exec_args(&config), ["get-token", "--key-file", &key, "--allow-server", &mine]);
}

#[test]
fn no_kubeconfig_is_made_for_plain_http() {
    let stage = Stage::new();
    let output = stage
        .plugin()
        .args(["kubeconfig", "--server", "http://localhost:8080"])
        .args(["--cluster", "c", "--cluster-server", "https://c.example", "--merge-into", "config"])
        .output()
        .unwrap();
    let line = failure(&output, 2);
    assert!(line.contains("plain http"), "{line}");
    assert!(!stage.path("config").exists());
}

#[test]
fn the_environment_of_another_cluster_does_not_win_over_the_extension() {
    let stage = Stage::new();
    let [exchange, other] = [(); 2].map(|()| StandIn::tls(|_| healthy()));
    let other_ca = stage.file("other.pem", &other.ca, 0o644);
    let pinned = format!("{}#sha256:{}", exchange.url, sha256(&exchange.ca));
    let extension = extension(&exchange.url, &exchange.ca);
    let run = |arguments: &[&str]| {
        let mut command = get_token(&stage, arguments, &extension);
        command.env("KEYPLANE_URL", &other.url).env("KEYPLANE_CA_FILE", &other_ca);
        credential(&command.output().unwrap());
        (exchange.asked().len(), other.asked().len())
    };
    assert_eq!(run(&["--allow-server", &pinned]), (1, 0), "the extension before the environment");
    assert_eq!(run(&["--allow-server", &pinned, "--server", &other.url]), (1, 1), "an argument before both");
    assert_eq!(run(&[]), (1, 2), "one that is not allowed counts for nothing");
}

#[test]
fn an_allowed_address_with_another_ca_is_told_whatever_the_environment_says() {
    let stage = Stage::new();
    let [exchange, other] = [(); 2].map(|()| StandIn::tls(|_| healthy()));
    let pinned = format!("{}#sha256:{}", exchange.url, sha256(&exchange.ca));
    let extension = extension(&exchange.url, &other.ca);
    let mut command = get_token(&stage, &["--allow-server", &pinned], &extension);
    failure(&command.env("KEYPLANE_URL", &other.url).output().unwrap(), 2);
    assert!(exchange.asked().is_empty() && other.asked().is_empty());
}

#[cfg(unix)]
#[test]
fn a_pipe_as_the_extensions_ca_hangs_nobody_and_one_of_the_users_own_is_read() {
    let (stage, exchange) = (Stage::new(), StandIn::tls(|_| healthy()));
    let pipe = stage.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let extension = json!({"server": exchange.url, "certificateAuthority": pipe});
    let pinned = format!("{}#sha256:{}", exchange.url, sha256(&exchange.ca));
    let mut command = get_token(&stage, &["--timeout", "1", "--allow-server", &pinned], &extension);
    let line = failure(&command.timeout(std::time::Duration::from_secs(20)).output().unwrap(), 11);
    assert!(line.contains("no regular file"), "{line}");
    let (ca, path) = (exchange.ca.clone(), pipe.clone());
    let writer = std::thread::spawn(move || std::fs::write(path, ca));
    let named = ["--server", &exchange.url, "--certificate-authority", pipe.to_str().unwrap()];
    credential(&get_token(&stage, &named, &extension).output().unwrap());
    writer.join().unwrap().unwrap();
    // As a link to a file it is read too.
    std::fs::remove_file(&pipe).unwrap();
    std::os::unix::fs::symlink(stage.file("ca.pem", &exchange.ca, 0o644), &pipe).unwrap();
    credential(&get_token(&stage, &["--allow-server", &pinned], &extension).output().unwrap());
}
