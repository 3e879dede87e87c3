//! The OpenAPI document that is served: everything that is served is in it, and what is answered is what it says.

use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use axum::{Json, Router};
use http::Method;
use keyplane_tests::http_api::HttpApi;
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::{python_packages, workspace};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::replicas::replica;

const PATH: &str = "/openapi.json";
const CONFIG: &str = include_str!("openapi/schemathesis.toml");

/// How long schemathesis tries, in seconds, unless the variable says otherwise: by hand, it is worth to let it try longer.
const SECONDS: u32 = 75;
const SECONDS_VARIABLE: &str = "KEYPLANE_SCHEMATHESIS_SECONDS";
/// The same requests each time, as far as answers are the same.
const SEED: &str = "20261121";

/// A Keyplane with every surface, and an inference service behind it that answers everything.
struct Whole {
    keyplane: Keyplane,
    service: JoinHandle<()>,
}

impl Whole {
    async fn start(name: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let upstream = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(async || Json(json!({"data": []})));
        let service = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        let arguments = ["--inference-upstream", &upstream, "--public-url", "https://keyplane.example"];
        Ok(Self { keyplane: replica(name, &arguments).await?, service })
    }

    fn http(&self) -> Result<HttpApi> {
        HttpApi::at(&self.keyplane.url(), Some(self.keyplane.ca_file()))
    }

    async fn document(&self) -> Result<Value> {
        let answer = self.http()?.send(Method::GET, PATH, &[], b"").await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(answer.header("content-type") == Some("application/json"), "{answer:?}");
        ensure!(answer.header("cache-control") == Some("no-cache"), "{answer:?}");
        Ok(answer.json())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.service.abort();
    }
}

fn committed() -> Result<Value> {
    let path = workspace::root().join("docs/openapi.json");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("{}: run `make generate`", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Every operation: its path and its method.
fn operations(document: &Value) -> Vec<(String, Method)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let methods = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, _)| (path.clone(), method.to_uppercase()))
    });
    methods.filter_map(|(path, method)| Some((path, Method::from_bytes(method.as_bytes()).ok()?))).collect()
}

/// A path without what has to be filled in.
fn filled(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "none" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_committed_document_is_served_and_every_operation_in_it_answers() -> Result<()> {
    let whole = Whole::start("openapi-served").await?;
    let document = whole.document().await?;
    ensure!(document == committed()?, "docs/openapi.json is not what is served: run `make generate`");
    let operations = operations(&document);
    ensure!(operations.len() > 20, "{operations:?}");
    for (path, method) in operations {
        let answer = whole.http()?.send(method.clone(), &filled(&path), &[], b"").await?;
        let is_public = path == PATH;
        let expected: &[u16] = if is_public { &[200] } else { &[401, 403] };
        ensure!(expected.contains(&answer.status), "{method} {path}: {answer:?}");
        ensure!(answer.header("x-request-id").is_some(), "{method} {path}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_an_installation_switches_off_is_not_in_its_document() -> Result<()> {
    let surfaces = ["exchange", "kubeconfig", "account", "panel-ssh-keys", "verify", "inference"];
    let arguments: Vec<&str> = surfaces.iter().flat_map(|surface| ["--disable-surface", surface]).collect();
    let keyplane = replica("openapi-off", &arguments).await?;
    let api = HttpApi::at(&keyplane.url(), Some(keyplane.ca_file()))?;
    let document = api.send(Method::GET, PATH, &[], b"").await?.json();
    for (path, method) in operations(&committed()?) {
        let is_served = path == PATH || path.starts_with("/gpu-cloud/");
        ensure!(document["paths"][&path].is_object() == is_served, "{path}: {document}");
        let answer = api.send(method, &filled(&path), &[], b"").await?;
        ensure!((answer.status == 404) != is_served, "{path}: {answer:?}");
    }
    Ok(())
}

/// An account with a bit of everything, and room for much more.
async fn account() -> Result<(Tenant, String, String)> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "contract").await?;
    let limits = r#"{"spec": {"limits": {"namespaces": 1000, "activeApiKeys": 1000, "sshKeys": 1000}}}"#;
    own.kubectl.run(["patch", "account", &own.account, "--type=merge", "-p", limits]).await?;
    own.namespace("web").await?;
    let key = own.key("everything", &["--scope", "all"]).await?.plaintext()?;
    let token = own.owner_token().await?;
    Ok((own, key, token))
}

#[tokio::test]
async fn schemathesis_finds_no_answer_that_the_document_does_not_have() -> Result<()> {
    let whole = Whole::start("openapi-contract").await?;
    let (own, key, token) = account().await?;
    until("the key to be known to the replica", PATIENCE, || async {
        let answer = whole.http()?.send(Method::GET, "/v1/verify", &[("x-api-key", &key)], b"").await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;

    let config = own.dir().join("schemathesis.toml");
    std::fs::write(&config, CONFIG)?;
    let seconds = std::env::var(SECONDS_VARIABLE).unwrap_or_else(|_| SECONDS.to_string());
    let phases = std::env::var("KP_PHASES").unwrap_or_else(|_| "examples,coverage,fuzzing".to_owned());
    let har = std::env::var("KP_HAR").unwrap_or_else(|_| "/tmp/k/contract/run.har".to_owned());
    let installed = tokio::task::spawn_blocking(python_packages::schemathesis).await??;
    let mut schemathesis = Command::from(installed);
    schemathesis
        .arg("--config-file")
        .arg(&config)
        .args(["run", "--no-color", "--workers", "4", "--seed", SEED, "--max-examples", "8", "--no-shrink"])
        .args(["--report-har-path", &har, "--max-time", &seconds, "--request-timeout", "30", "--phases", &phases])
        .args(["--continue-on-failure", "--generation-database", "none", "--tls-verify"])
        .arg(whole.keyplane.ca_file())
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"])
        .arg(format!("{}{PATH}", whole.keyplane.url()))
        .env("API_KEY", &key)
        .env("ACCESS_TOKEN", &token)
        .env("BEARER", &token)
        .env("no_proxy", "*")
        .current_dir(own.dir())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = schemathesis.output().await.context("schemathesis does not start")?;
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}");
    ensure!(output.status.success(), "schemathesis found something: {}\n{told}", output.status);
    Ok(())
}
