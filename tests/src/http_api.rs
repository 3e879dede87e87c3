//! Plain requests to Keyplane's HTTP API, with its answers as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{HeaderMap, Method, Request};
use serde_json::Value;
use ureq::tls::{RootCerts, TlsConfig};

use crate::exchange::certificates;
use crate::plaintext_registry;

/// What the server answered.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
}

impl HttpAnswer {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A text in the body, by JSON pointer.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<String> {
        self.json().pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned)
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Where requests go. Clones share connections.
#[derive(Debug, Clone)]
pub struct HttpApi {
    url: String,
    agent: ureq::Agent,
}

impl HttpApi {
    /// The server at this URL, whose authority is in the file `ca` where it uses TLS.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn at(url: &str, ca: Option<&Path>) -> Result<Self> {
        let mut config = ureq::Agent::config_builder()
            // Not `https_proxy`: the address is this machine's own.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_mins(1)));
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&certificates(&pem)?))
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .build();
            config = config.tls_config(tls);
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), agent: config.build().into() })
    }

    /// Sends a request. Credentials that are sent, and keys and tokens that come back, are noted in the run's registry.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpAnswer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
            note(name, value)?;
        }
        let body = body.to_vec();
        let agent = self.agent.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut response = if body.is_empty() {
                agent.run(request.body(())?)?
            } else {
                agent.run(request.body(body)?)?
            };
            let text = response.body_mut().read_to_string()?;
            anyhow::Ok(HttpAnswer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                text,
            })
        })
        .await??;
        if let Some(key) = answer.at("/key") {
            plaintext_registry::key(&key)?;
        }
        Ok(answer)
    }

    /// Sends a request with a JSON body, or with none for null.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<HttpAnswer> {
        if body.is_null() {
            return self.send(method, path, headers, b"").await;
        }
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.send(method, path, &headers, body.to_string().as_bytes()).await
    }
}

/// Notes a credential.
fn note(header: &str, value: &str) -> Result<()> {
    let text = value.trim_start_matches("Bearer ").trim_start_matches("bearer ");
    match header.to_ascii_lowercase().as_str() {
        "authorization" if text.contains('.') => plaintext_registry::token(text),
        "authorization" | "x-api-key" => plaintext_registry::key(text),
        _ => Ok(()),
    }
}

/// The server of a Keyplane process, as people reach it.
///
/// # Errors
/// When its certificate cannot be read.
pub fn public(url: &str, ca: &Path) -> Result<HttpApi> {
    HttpApi::at(url, Some(&PathBuf::from(ca)))
}
