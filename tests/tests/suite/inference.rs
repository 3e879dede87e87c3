//! `/v1/inference/…`: the key is checked, and the request goes on to the service behind, as it is and without the key.

mod passing;
mod service;
mod streaming;

use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use serde_json::Value;
use tokio::process::Command;

use self::service::{InferenceService, WANTED};
use crate::replicas::replica;

const MODELS: &str = "/v1/inference/runtime/models";
const IMAGE: &str = "/v1/inference/image";

/// A service, a Keyplane before it, and somebody with a key.
struct Stage {
    own: Tenant,
    key: HeldKey,
    keyplane: Keyplane,
    service: InferenceService,
}

impl Stage {
    /// With these further arguments of Keyplane's, and this path in the service's URL.
    async fn start(name: &str, path: &str, arguments: &[&str]) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let own = Tenant::create(shared.cluster, &shared.keyplane, name).await?;
        let key = own.key("inference", &["--scope", "inference"]).await?;
        let service = InferenceService::start().await?;
        let upstream = format!("{}{path}", service.url());
        let arguments: Vec<&str> =
            ["--inference-upstream", &upstream].into_iter().chain(arguments.iter().copied()).collect();
        let keyplane = replica(name, &arguments).await?;
        Ok(Self { own, key, keyplane, service })
    }

    fn http(&self) -> Result<HttpApi> {
        HttpApi::at(&self.keyplane.url(), Some(self.keyplane.ca_file()))
    }

    /// Asks with the key for an answer as `wanted` says.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        wanted: &Value,
    ) -> Result<HttpAnswer> {
        let (key, wanted) = (self.key.plaintext()?, wanted.to_string());
        let own = [("x-api-key", key.as_str()), (WANTED, wanted.as_str())];
        let headers: Vec<_> = own.into_iter().chain(headers.iter().copied()).collect();
        let body: &[u8] = if method == Method::POST { b"{}" } else { b"" };
        self.http()?.send(method, path, &headers, body).await
    }

    /// A shell with `curl` for this Keyplane; the key is in `YOUR_API_KEY`.
    fn shell(&self, script: &str) -> Result<Command> {
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", script])
            .env("CURL_CA_BUNDLE", self.keyplane.ca_file())
            .env("no_proxy", "*")
            .env("YOUR_API_KEY", self.key.plaintext()?)
            .env("URL", self.keyplane.url())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(shell)
    }

    async fn run(&self, script: &str) -> Result<Output> {
        self.shell(script)?.output().await.context("sh does not start")
    }
}

fn ensure_problem(what: &str, answer: &HttpAnswer, status: u16, code: &str) -> Result<()> {
    let is_it = answer.status == status && answer.at("/code").as_deref() == Some(code);
    ensure!(is_it, "{what}: {status} {code}: {answer:?}");
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{answer:?}");
    Ok(())
}

/// Seed 003's own lines.
const LIST: &str = r#"curl -H "x-api-key: YOUR_API_KEY" \
"https://api.remotegpu.ai/v1/inference/runtime/models""#;
const MAKE: &str = r#"curl -X POST "https://api.remotegpu.ai/v1/inference/image" \
-H "Content-Type: application/json" \
-H "x-api-key: YOUR_API_KEY" \
-d '{
"model": "black-forest-labs/FLUX.1-dev",
"prompt": "a cinematic portrait of an astronaut cat"
}'"#;

#[tokio::test]
async fn the_documented_curl_lines_work_with_only_host_and_key_changed() -> Result<()> {
    let stage = Stage::start("inference-curl", "", &[]).await?;
    for (line, method, target, body) in [
        (LIST, "GET", "/runtime/models", ""),
        (
            MAKE,
            "POST",
            "/image",
            "{\n\"model\": \"black-forest-labs/FLUX.1-dev\",\n\"prompt\": \"a cinematic portrait of an astronaut cat\"\n}",
        ),
    ] {
        let script =
            line.replace("https://api.remotegpu.ai", "$URL").replace("YOUR_API_KEY", "$YOUR_API_KEY");
        let output = stage.run(&script).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(String::from_utf8_lossy(&output.stdout) == format!("{} bytes", body.len()), "{output:?}");
        let asked = stage.service.asked().pop().context("nothing was asked")?;
        ensure!(asked.method == method && asked.target == target && asked.body == body, "{asked:?}");
        ensure!(!asked.holds(&stage.key.plaintext()?), "the service has seen the key");
        ensure!(asked.header("x-keyplane-account") == stage.own.account, "{asked:?}");
        ensure!(asked.header("x-keyplane-scope") == "inference", "{asked:?}");
        let uid = stage.own.stored_key("inference").await?.metadata.uid.unwrap_or_default();
        ensure!(asked.header("x-keyplane-key-id") == uid, "{asked:?}");
    }
    Ok(())
}
