//! Proxies: who names them, what they see, and for which exchanges there is none.

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use keyplane_credential_plugin::exchange::address::BaseUrl;
use keyplane_credential_plugin::exchange::allowed::AllowedExchange;
use keyplane_credential_plugin::exchange::proxy::is_excepted;
use serde_json::json;

use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Identity, Reply, StandIn};
use crate::stand_in_proxy::{Play, StandInProxy};

/// A name that only the proxy knows.
const HOST: &str = "exchange.example";
const URL: &str = "https://exchange.example";

fn exchange() -> StandIn {
    StandIn::tls_for(HOST, |_| Reply::token(TimeDelta::minutes(10), TimeDelta::zero()))
}

/// `get-token` against the exchange by its name.
fn get_token(stage: &Stage, exchange: &StandIn) -> Command {
    let ca = stage.file("ca.pem", &exchange.ca, 0o644);
    let mut command = stage.plugin();
    command.env("KEYPLANE_API_KEY", &stage.key).args([
        "get-token",
        "--no-cache",
        "--server",
        URL,
        "--certificate-authority",
        &ca,
    ]);
    command
}

#[test]
fn a_proxy_is_told_the_exchanges_name_and_nothing_else() {
    let (stage, exchange) = (Stage::new(), exchange());
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = StandInProxy::new(Play::Lead(exchange.address));
        credential(&get_token(&stage, &exchange).env(variable, &proxy.server.url).output().unwrap());
        let heads = proxy.heads();
        assert_eq!(heads.len(), 1, "{variable}");
        assert!(heads[0].starts_with("CONNECT exchange.example:443 HTTP/1.1\r\n"), "{}", heads[0]);
        assert!(heads[0].contains("\r\nHost: exchange.example:443\r\n"), "{}", heads[0]);
        assert!(!heads[0].contains(&stage.key) && !heads[0].contains("Authorization"), "{}", heads[0]);
    }
    assert_eq!(exchange.asked().len(), 4);
    assert_eq!(exchange.asked()[0].header("host"), Some(HOST));
}

#[test]
fn a_user_name_and_a_password_go_to_the_proxy_alone() {
    let (stage, exchange) = (Stage::new(), exchange());
    let proxy = StandInProxy::new(Play::Lead(exchange.address));
    let url = proxy.server.url.replace("http://", "http://somebody:p%40ss@");
    credential(&get_token(&stage, &exchange).env("HTTPS_PROXY", url).output().unwrap());
    let sent = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode("somebody:p@ss"));
    assert!(proxy.heads()[0].contains(&sent), "{}", proxy.heads()[0]);
    assert!(!exchange.asked()[0].head.to_ascii_lowercase().contains("authorization"));
}

#[test]
fn a_proxy_of_https_is_trusted_by_the_systems_roots_and_not_by_the_exchanges_ca() {
    let (stage, exchange) = (Stage::new(), exchange());
    let proxy = StandInProxy::of(&Identity::default(), Play::Lead(exchange.address));
    let mut command = get_token(&stage, &exchange);
    command.env("HTTPS_PROXY", &proxy.server.url);
    // Elsewhere no file says which roots the system has.
    let by_file = cfg!(not(any(target_os = "macos", windows)));
    if by_file {
        let roots = stage.file("roots.pem", &proxy.server.ca, 0o644);
        credential(&command.env("SSL_CERT_FILE", &roots).output().unwrap());
    }
    let others = stage.file("others.pem", &exchange.ca, 0o644);
    let line = failure(&command.env("SSL_CERT_FILE", &others).output().unwrap(), 7);
    assert!(line.contains("the proxy 127.0.0.1:") && line.contains("operating system trusts"), "{line}");
    assert_eq!(exchange.asked().len(), usize::from(by_file));
}

#[test]
fn an_argument_wins_over_the_environment_and_none_means_none() {
    let (stage, exchange) = (Stage::new(), exchange());
    let [proxy, other] = [(); 2].map(|()| StandInProxy::new(Play::Lead(exchange.address)));
    let mut command = get_token(&stage, &exchange);
    command.env("HTTPS_PROXY", &other.server.url).env("NO_PROXY", "*");
    credential(&command.args(["--proxy-url", &proxy.server.url]).output().unwrap());
    assert_eq!((proxy.heads().len(), other.heads().len()), (1, 0));
    let mut command = get_token(&stage, &exchange);
    command.env("HTTPS_PROXY", &other.server.url).args(["--proxy-url", "none"]);
    let line = failure(&command.output().unwrap(), 6);
    assert!(line.contains("the exchange's name is not known"), "{line}");
    assert!(other.heads().is_empty());
}

#[test]
fn the_clusters_proxy_leads_to_the_clusters_exchange_only() {
    let (stage, exchange) = (Stage::new(), exchange());
    let [clusters, other] = [(); 2].map(|()| StandInProxy::new(Play::Lead(exchange.address)));
    let info = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {"cluster": {
            "server": "https://api.example",
            "proxy-url": clusters.server.url,
            "config": {"server": URL, "certificateAuthorityData": STANDARD.encode(&exchange.ca)},
        }},
    });
    let allowed =
        AllowedExchange::new(BaseUrl::parse(URL).unwrap(), Some(exchange.ca.as_bytes())).unwrap().to_string();
    let mut command = stage.plugin();
    command
        .args(["get-token", "--no-cache", "--allow-server", &allowed])
        .env("KEYPLANE_API_KEY", &stage.key)
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .env("HTTPS_PROXY", &other.server.url);
    credential(&command.output().unwrap());
    assert_eq!((clusters.heads().len(), other.heads().len()), (1, 0), "as kubectl goes to the API server");
    credential(&command.args(["--proxy-url", &other.server.url]).output().unwrap());
    assert_eq!((clusters.heads().len(), other.heads().len()), (1, 1), "an argument wins");
    let mut command = get_token(&stage, &exchange);
    command.env("KUBERNETES_EXEC_INFO", info.to_string()).env("HTTPS_PROXY", &other.server.url);
    credential(&command.output().unwrap());
    assert_eq!((clusters.heads().len(), other.heads().len()), (1, 2), "the user named the exchange");
}

#[test]
fn the_name_in_the_certificate_may_be_another_while_host_and_proxy_are_told_the_urls() {
    let stage = Stage::new();
    let exchange =
        StandIn::tls_for("inside.example", |_| Reply::token(TimeDelta::minutes(10), TimeDelta::zero()));
    let proxy = StandInProxy::new(Play::Lead(exchange.address));
    let mut command = get_token(&stage, &exchange);
    command.env("HTTPS_PROXY", &proxy.server.url);
    let line = failure(&command.output().unwrap(), 7);
    assert!(line.contains("is for inside.example, not for ") && line.contains("--tls-server-name"), "{line}");
    credential(&command.args(["--tls-server-name", "inside.example"]).output().unwrap());
    assert_eq!(exchange.asked()[0].header("host"), Some(HOST));
    assert!(proxy.heads().iter().all(|head| head.starts_with("CONNECT exchange.example:443 ")));

    let mut direct = stage.get_token(&exchange);
    credential(&direct.args(["--tls-server-name", "inside.example"]).output().unwrap());
    let mut other = stage.get_token(&exchange);
    failure(&other.args(["--tls-server-name", "other.example"]).output().unwrap(), 7);
    let line = failure(&stage.get_token(&exchange).output().unwrap(), 7);
    assert!(
        line.contains("is for inside.example, not for "),
        "the token under a name is not one without: {line}"
    );
}

#[test]
fn verbose_tells_each_attempt_and_its_way_without_a_secret() {
    let (stage, exchange) = (Stage::new(), exchange());
    let proxy = StandInProxy::new(Play::Answer("HTTP/1.1 503 Not now\r\n\r\n"));
    let mut command = get_token(&stage, &exchange);
    command.env("HTTPS_PROXY", proxy.server.url.replace("http://", "http://u:hunter2@")).arg("--verbose");
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{told}");
    assert!(told.contains(" through the proxy 127.0.0.1:") && told.contains(", attempt 4\n"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains(&stage.key), "{told}");
    assert_eq!(proxy.heads().len(), 4);
}

#[test]
fn a_name_that_is_none_is_told() {
    let (stage, exchange) = (Stage::new(), exchange());
    for name in ["", "a b", "x:443", "https://x"] {
        let mut command = get_token(&stage, &exchange);
        let line = failure(&command.args(["--tls-server-name", name]).output().unwrap(), 2);
        assert!(line.contains("certificate"), "{line}");
    }
}

#[test]
fn no_proxy_is_read_as_kubectl_reads_it() {
    let domain = "https://keyplane.corp.example:8443/path";
    let (v4, v6) = ("https://10.1.2.3", "https://[fd00::1]:8443");
    for (list, url, excepted) in [
        ("*", domain, true),
        ("", domain, false),
        ("corp.example", domain, true),
        ("CORP.example", domain, true),
        (".corp.example", domain, true),
        ("*.corp.example", domain, true),
        ("keyplane.corp.example", domain, true),
        (".keyplane.corp.example", domain, false),
        ("lane.corp.example", domain, false),
        ("a.example, corp.example ,b.example", domain, true),
        ("corp.example:8443", domain, true),
        ("corp.example:443", domain, false),
        ("corp.example:443", "https://corp.example", true),
        ("10.0.0.0/8", v4, true),
        ("10.2.0.0/16", v4, false),
        ("10.1.2.3", v4, true),
        ("10.1.2.3:443", v4, true),
        ("10.1.2.3:444", v4, false),
        ("10.1.2", v4, false),
        ("fd00::/8", v6, true),
        ("fd00::1", v6, true),
        ("fd00:0::1", v6, true),
        ("[fd00::1]", v6, true),
        ("[fd00::1]:8443", v6, true),
        ("[fd00::1]:443", v6, false),
        ("10.0.0.0/8", v6, false),
        ("10.0.0.0/8", domain, false),
        (".", domain, false),
    ] {
        assert_eq!(is_excepted(list, url), excepted, "{list:?} {url}");
    }
}

#[test]
fn what_no_proxy_names_is_asked_directly() {
    let (stage, exchange) = (Stage::new(), exchange());
    let proxy = StandInProxy::new(Play::Lead(exchange.address));
    for variable in ["NO_PROXY", "no_proxy"] {
        let mut command = get_token(&stage, &exchange);
        command.env("HTTPS_PROXY", &proxy.server.url).env(variable, "example");
        // Without the proxy nobody knows the name.
        let line = failure(&command.output().unwrap(), 6);
        assert!(line.contains("the exchange's name is not known"), "{line}");
    }
    let mut command = get_token(&stage, &exchange);
    command.env("HTTP_PROXY", &proxy.server.url);
    failure(&command.output().unwrap(), 6);
    assert!(proxy.heads().is_empty(), "HTTP_PROXY is for http");
}

proptest::proptest! {
    #[test]
    fn any_list_and_url_are_judged_without_a_panic(list in ".{0,40}", url in ".{0,40}") {
        let _ = is_excepted(&list, &url);
        let _ = is_excepted(&list, "https://[fd00::1]:8443");
    }
}
