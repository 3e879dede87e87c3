//! The OpenAPI document that is served: everything that is served is in it, and what is answered is what it says.

use std::collections::BTreeMap;
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
/// The file that takes every request and answer.
const HAR: &str = "requests.har";
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

/// An account with a namespace, and room for much more.
async fn account(name: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, name).await?;
    let limits = r#"{"spec": {"limits": {"namespaces": 1000, "activeApiKeys": 1000, "sshKeys": 1000}}}"#;
    own.kubectl.run(["patch", "account", &own.account, "--type=merge", "-p", limits]).await?;
    own.namespace("web").await?;
    Ok(own)
}

/// What schemathesis is to call.
struct Callee<'a> {
    whole: &'a Whole,
    own: &'a Tenant,
    key: &'a str,
    token: &'a str,
}

impl Callee<'_> {
    /// Has schemathesis try the operations of these paths, with one worker: several of them in one process trip over the
    /// parser of Python 3.11, which is not made for threads.
    async fn tried(&self, part: &str, paths: &str) -> Result<Tried> {
        let dir = self.own.dir().join(part);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("schemathesis.toml"), CONFIG.replace("ACCOUNT_NAME", &self.own.account))?;
        let seconds = std::env::var(SECONDS_VARIABLE).unwrap_or_else(|_| SECONDS.to_string());
        let installed = tokio::task::spawn_blocking(python_packages::schemathesis).await??;
        let mut schemathesis = Command::from(installed);
        schemathesis
            .args([
                "run",
                "--no-color",
                "--seed",
                SEED,
                "--max-time",
                &seconds,
                "--include-path-regex",
                paths,
            ])
            .args(["--report-har-path", HAR, "--tls-verify"])
            .arg(self.whole.keyplane.ca_file())
            .arg(format!("{}{PATH}", self.whole.keyplane.url()))
            .env("API_KEY", self.key)
            .env("ACCESS_TOKEN", self.token)
            // Not the proxy of the environment: the address is this machine's own.
            .env("no_proxy", "*")
            .current_dir(&dir)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = schemathesis.output().await.context("schemathesis does not start")?;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        ensure!(output.status.success(), "schemathesis found something ({part}, {}):\n{told}", output.status);
        let har: Value = serde_json::from_slice(&std::fs::read(dir.join(HAR))?)?;
        Ok(Tried { told, har })
    }
}

/// What schemathesis tried.
struct Tried {
    /// Its own words.
    told: String,
    /// Every request and its answer.
    har: Value,
}

impl Tried {
    /// How often something was answered, by method, path and status.
    fn answers(&self, document: &Value) -> BTreeMap<(String, String), BTreeMap<u64, u32>> {
        let mut counts: BTreeMap<_, BTreeMap<u64, u32>> = BTreeMap::new();
        for entry in self.har.pointer("/log/entries").and_then(Value::as_array).into_iter().flatten() {
            let text = |at: &str| entry.pointer(at).and_then(Value::as_str).unwrap_or_default();
            let path = text("/request/url").splitn(4, '/').nth(3).unwrap_or_default();
            let path = format!("/{}", path.split(['?', '#']).next().unwrap_or_default());
            let method = text("/request/method").to_owned();
            let Some(template) = template_of(&path, &method, document) else { continue };
            let status = entry.pointer("/response/status").and_then(Value::as_u64).unwrap_or_default();
            *counts.entry((template, method)).or_default().entry(status).or_default() += 1;
        }
        counts
    }
}

/// The path of the document that a request's path is one of.
fn template_of(path: &str, method: &str, document: &Value) -> Option<String> {
    let is_like = |template: &str| {
        let (asked, wanted): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
        asked.len() == wanted.len()
            && asked.iter().zip(&wanted).all(|(asked, wanted)| wanted.starts_with('{') || asked == wanted)
    };
    let method = method.to_lowercase();
    let paths = document.get("paths")?.as_object()?.iter();
    let mut known = paths.filter(|(_, item)| item.get(&method).is_some());
    known.find(|(template, _)| is_like(template)).map(|(template, _)| template.clone())
}

#[tokio::test]
async fn schemathesis_finds_no_answer_that_the_document_does_not_have() -> Result<()> {
    let whole = Whole::start("openapi-contract").await?;
    // Two accounts: whoever tries everything revokes and deletes the keys of their own.
    let (own, other) = tokio::try_join!(account("contract"), account("contract-key"))?;
    let key = other.key("everything", &["--scope", "all"]).await?.plaintext()?;
    let token = own.owner_token().await?;
    until("the key to be known to the replica", PATIENCE, || async {
        let answer = whole.http()?.send(Method::GET, "/v1/verify", &[("x-api-key", &key)], b"").await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    let callee = Callee { whole: &whole, own: &own, key: &key, token: &token };
    let document = whole.document().await?;
    let tried = tokio::try_join!(
        callee.tried("api-keys", "^/v1/account/api-keys"),
        callee.tried("namespaces", "^/v1/account/namespaces"),
        callee.tried("ssh-keys", "^/(api|gpu-cloud)/"),
        callee.tried("use", "^/v1/(kubernetes|whoami|verify|inference)"),
    )?;
    let tried: [Tried; 4] = tried.into();
    let mut answered = BTreeMap::new();
    for part in &tried {
        println!("{}", part.told);
        answered.append(&mut part.answers(&document));
    }
    for (operation, statuses) in &answered {
        println!("{operation:?}: {statuses:?}");
    }
    for (path, method) in operations(&document).into_iter().filter(|one| is_met(&one.0, &one.1)) {
        let statuses = answered.get(&(path.clone(), method.to_string())).cloned().unwrap_or_default();
        let is_success = |status: &u64| (200..300).contains(status);
        ensure!(statuses.keys().any(is_success), "{method} {path} is never met: {statuses:?}");
    }
    Ok(())
}

/// Whether some of so many requests must be met, whatever was made and deleted before them: what is refused tells little of
/// the answers.
fn is_met(path: &str, method: &Method) -> bool {
    // The document's own path is not among those that schemathesis tries; and no two accounts can have one SSH key.
    let is_chance =
        path == PATH || path.contains('{') || path.ends_with("/ssh-keys") && method != Method::GET;
    !is_chance || path.starts_with("/v1/verify")
}
