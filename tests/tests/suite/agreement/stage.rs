//! A controller, two replicas of the API, and some accounts.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use keyplane_crds::{Account, ApiKey, Namespace};
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::tenant::Tenant;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::names::Names;
use super::tally::Tally;
use super::witness::Witness;

/// How many keys of an account may be active: fewer than its clients would have.
pub(super) const KEYS: usize = 20;
/// How many namespaces an account may have.
pub(super) const NAMESPACES: usize = 5;
/// Namespaces that stay.
pub(super) const STAYING: [&str; 2] = ["web", "jobs"];

pub(super) struct Stage {
    pub(super) places: Vec<Arc<Place>>,
    pub(super) tally: Arc<Tally>,
    pub(super) witnesses: Vec<Witness>,
    _controller: Keyplane,
    replicas: [Keyplane; 2],
    pub(super) cluster: ControlPlane,
}

/// One account, as its owner reaches it.
pub(super) struct Place {
    pub(super) account: String,
    token: String,
    /// As kubectl.
    pub(super) keys: Api<ApiKey>,
    pub(super) namespaces: Api<Namespace>,
    pub(super) names: Names,
    pub(super) tally: Arc<Tally>,
}

impl Stage {
    pub(super) async fn start(accounts: usize) -> Result<Self> {
        let cluster = ControlPlane::start().await?;
        let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
        let [controller, one, other] =
            [(Mode::Controller, "controller"), (Mode::Api, "one"), (Mode::Api, "other")]
                .map(|(mode, name)| KeyplaneOptions::of(mode, name, &installation));
        let start = |options| Keyplane::start(cluster.supervise(), cluster.dir(), options);
        let (controller, one, other) = tokio::try_join!(start(&controller), start(&one), start(&other))?;
        let tally = Arc::new(Tally::default());
        let (mut places, mut witnesses) = (Vec::new(), Vec::new());
        for number in 0..accounts {
            let own = Tenant::create(&cluster, &one, &format!("agree-{number}")).await?;
            for name in STAYING {
                own.namespace(name).await?;
            }
            let limits = json!({"spec": {"limits": {"activeApiKeys": KEYS, "namespaces": NAMESPACES}}});
            let all: Api<Account> = Api::all(own.client());
            all.patch(&own.account, &PatchParams::default(), &Patch::Merge(limits)).await?;
            let owner = cluster.access().client_as(&own.owner()).await?;
            witnesses.push(Witness::of(own.client(), &own.account));
            places.push(Arc::new(Place {
                token: own.owner_token().await?,
                keys: Api::namespaced(owner.clone(), &own.account),
                namespaces: Api::namespaced(owner, &own.account),
                account: own.account.clone(),
                names: Names::default(),
                tally: tally.clone(),
            }));
        }
        Ok(Self { places, tally, witnesses, _controller: controller, replicas: [one, other], cluster })
    }

    /// Connections of a client's own to both replicas.
    pub(super) fn https(&self) -> Result<[HttpApi; 2]> {
        let [one, other] = &self.replicas;
        Ok([HttpApi::at(&one.url(), Some(one.ca_file()))?, HttpApi::at(&other.url(), Some(other.ca_file()))?])
    }
}

impl Place {
    /// Calls a replica as the owner. No answer is the server's fault.
    pub(super) async fn call(
        &self,
        http: &HttpApi,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<HttpAnswer> {
        let bearer = format!("Bearer {}", self.token);
        let headers: Vec<_> =
            [("authorization", &*bearer)].into_iter().chain(headers.iter().copied()).collect();
        let answer = http
            .json(method.clone(), path, &headers, body)
            .await
            .with_context(|| format!("{method} {path}"))?;
        let code = answer.at("/code").unwrap_or_default();
        self.tally.add(format!("HTTP {method} {} {} {code}", shape_of(path), answer.status));
        ensure!(answer.status < 500, "{method} {path}: {}", told(&answer));
        Ok(answer)
    }

    /// Presents a key to `/v1/verify` or to the exchange, and gives the status.
    pub(super) async fn present(&self, http: &HttpApi, method: Method, path: &str, key: &str) -> Result<u16> {
        let answer = http.send(method, path, &[("x-api-key", key)], b"").await?;
        let code = answer.at("/code").unwrap_or_default();
        self.tally.add(format!("key {path} {} {code}", answer.status));
        match answer.status {
            // A key whose access is being set up says so; the answer to verification has no body.
            503 if code.is_empty() && answer.text.is_empty() || code == "access_being_set_up" => {}
            500.. => bail!("{path}: {} {}", answer.status, answer.text),
            _ => {}
        }
        Ok(answer.status)
    }

    /// Counts what kubectl was answered; refusals are answers too.
    pub(super) fn by_kubectl<T>(&self, what: &str, answer: Result<T, kube::Error>) -> Result<Result<T, u16>> {
        let (status, reason, answer) = match answer {
            Ok(found) => (200, String::new(), Ok(found)),
            Err(kube::Error::Api(status)) if status.code < 500 => {
                (status.code, status.reason.clone(), Err(status.code))
            }
            Err(error) => return Err(error).with_context(|| format!("kubectl {what}")),
        };
        self.tally.add(format!("kubectl {what} {status} {reason}"));
        Ok(answer)
    }
}

/// A path without ids.
fn shape_of(path: &str) -> String {
    let is_id = |part: &str| part.len() == 36 && part.matches('-').count() == 4;
    let parts: Vec<&str> = path.split('/').map(|part| if is_id(part) { "{id}" } else { part }).collect();
    parts.join("/")
}

/// An answer for a message: without the key that may be in it.
pub(super) fn told(answer: &HttpAnswer) -> String {
    let mut body = answer.json();
    if let Some(key) = body.pointer_mut("/key") {
        *key = json!("…");
    }
    format!("{} {body}", answer.status)
}
