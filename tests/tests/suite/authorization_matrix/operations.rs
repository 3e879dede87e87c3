//! Every operation of every surface, with a request that would be carried out.

use std::fmt;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use keyplane_tests::http_api::HttpAnswer;
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::callers::Caller;
use super::effects::Effect;
use super::stage::Stage;

pub(super) const KEYS: &str = "/v1/account/api-keys";
pub(super) const NAMESPACES: &str = "/v1/account/namespaces";
pub(super) const PANEL: &str = "/api/account/ssh-keys";
pub(super) const GPU: &str = "/gpu-cloud/ssh-keys";
const MODELS: &str = "/v1/inference/runtime/models";
const IMAGE: &str = "/v1/inference/image";
const SWAP: &str = "/v1/kubernetes/exec-credential";
const WHOAMI: &str = "/v1/whoami";

/// What the operations are about.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    pub(super) key: String,
    pub(super) namespace: String,
    pub(super) ssh_key: String,
    /// What is made is named so.
    pub(super) new: String,
}

/// How a surface tells of its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/problem+json`.
    Problem,
    /// No body at all.
    Verify,
    /// `{success, message}`.
    Panel,
    /// `{statusCode, timestamp, path, message}`.
    GpuCloud,
}

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) column: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Value,
    pub(super) form: Form,
    /// Whether it goes to the port for gateways.
    internal: bool,
    /// What it changes.
    pub(super) effect: Option<Effect>,
    /// Whether the path names a resource.
    pub(super) names_one: bool,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = if self.internal { ", internal" } else { "" };
        write!(f, "{} {}{port}", self.method, self.path)
    }
}

impl Operation {
    fn new(column: &'static str, method: Method, path: String) -> Self {
        let form = match column {
            "panel" | "panel+" => Form::Panel,
            "gpu" => Form::GpuCloud,
            "any" | "all" | "infer" | "ssh" | "exec" => Form::Verify,
            _ => Form::Problem,
        };
        let names_one =
            ![KEYS, NAMESPACES, PANEL, GPU].contains(&path.as_str()) && !path.starts_with("/v1/verify");
        Self { column, method, path, body: Value::Null, form, internal: false, effect: None, names_one }
    }

    fn with(self, body: Value) -> Self {
        Self { body, ..self }
    }

    fn changing(self, effect: Effect) -> Self {
        Self { effect: Some(effect), ..self }
    }

    /// Asks for it.
    pub(super) async fn ask(&self, stage: &Stage, caller: &Caller) -> Result<HttpAnswer> {
        let api = if self.internal { &stage.internal } else { &stage.public };
        let headers: Vec<(&str, &str)> =
            caller.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = caller.query.as_ref().map_or_else(|| self.path.clone(), |query| self.with_query(query));
        api.json(self.method.clone(), &path, &headers, &self.body).await
    }

    fn with_query(&self, query: &str) -> String {
        // A parameter that it does not know is an error for verification.
        if self.form == Form::Verify {
            return self.path.clone();
        }
        format!("{}?{query}", self.path)
    }
}

/// All of them, about these resources.
pub(super) fn operations(ids: &Ids) -> Vec<Operation> {
    let new = |column, method, path: &str| Operation::new(column, method, path.to_owned());
    let key = format!("{KEYS}/{}", ids.key);
    let of_key = |what: &str| format!("{key}/{what}");
    let namespace = format!("{NAMESPACES}/{}", ids.namespace);
    let (panel, gpu) = (format!("{PANEL}/{}", ids.ssh_key), format!("{GPU}/{}", ids.ssh_key));
    let ssh_key = || json!({"name": ids.new, "publicKey": public_key()});
    let mut all = vec![
        new("read", Method::GET, KEYS),
        new("read", Method::GET, &key),
        new("read", Method::GET, NAMESPACES),
        new("read", Method::GET, &namespace),
        new("write", Method::POST, KEYS)
            .with(json!({"name": ids.new, "scopes": {"all": true}}))
            .changing(Effect::MakeKey),
        new("write", Method::PATCH, &key).with(json!({"name": ids.new})).changing(Effect::RenameKey),
        new("write", Method::POST, &of_key("revoke")).changing(Effect::RevokeKey),
        new("write", Method::POST, &of_key("rotate")).changing(Effect::RotateKey),
        new("write", Method::POST, &of_key("unlock")).changing(Effect::UnlockKey),
        new("write", Method::DELETE, &key).changing(Effect::DeleteKey),
        new("write", Method::POST, NAMESPACES).with(json!({"name": ids.new})).changing(Effect::MakeNamespace),
        new("write", Method::DELETE, &namespace).changing(Effect::DeleteNamespace),
        new("config", Method::GET, "/v1/kubernetes/kubeconfig"),
        new("swap", Method::POST, SWAP),
        new("who", Method::GET, WHOAMI),
        new("models", Method::GET, MODELS),
        new("models", Method::POST, IMAGE).with(json!({"model": "m", "prompt": "p"})),
        new("panel", Method::GET, PANEL),
        new("panel+", Method::POST, PANEL).with(ssh_key()).changing(Effect::PanelMake),
        new("panel+", Method::DELETE, &panel).changing(Effect::PanelDelete),
        new("gpu", Method::GET, GPU),
        new("gpu", Method::POST, GPU).with(ssh_key()).changing(Effect::GpuMake),
        new("gpu", Method::PATCH, &format!("{gpu}/makedefault")).changing(Effect::GpuDefault),
        new("gpu", Method::DELETE, &gpu).changing(Effect::GpuDelete),
    ];
    for (column, scope) in [
        ("any", ""),
        ("all", "all"),
        ("infer", "inference"),
        ("ssh", "ssh_keys"),
        ("exec", "kubernetes_exec"),
    ] {
        let query = if scope.is_empty() { String::new() } else { format!("?scope={scope}") };
        // The method does not matter, nor the port: `verify` shows that.
        for (method, internal) in [(Method::GET, false), (Method::POST, true)] {
            let asked = Operation::new(column, method, format!("/v1/verify{query}"));
            all.push(Operation { internal, ..asked });
        }
    }
    all.into_iter()
        .map(|one| match one.path.as_str() {
            SWAP | WHOAMI | MODELS | IMAGE | "/v1/kubernetes/kubeconfig" => {
                Operation { names_one: false, ..one }
            }
            _ => one,
        })
        .collect()
}

/// A public key that nobody else has; none when none can be made, which no registration takes.
pub(super) fn public_key() -> String {
    let Ok(pair) = KeyPair::generate_for(&rcgen::PKCS_ED25519) else { return String::new() };
    let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32], pair.public_key_raw()].concat();
    format!("ssh-ed25519 {}", BASE64_STANDARD.encode(blob))
}
