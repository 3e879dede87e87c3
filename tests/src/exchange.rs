//! Plain requests to the exchange, with its answers as they are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::plaintext_registry;

/// The path of the exchange (seed 003 describes the flow; the path is Keyplane's).
pub const PATH: &str = "/v1/kubernetes/exec-credential";

/// What the server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, seconds.
    pub retry_after: Option<u64>,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A text in the body.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<String> {
        self.json().pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned)
    }

    /// The stable code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.at("/code")
    }

    /// The issued token.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        self.at("/status/token")
    }
}

/// Posts to the exchange at `url`, trusting the authority in `ca`. Keys that are sent and tokens that come back are
/// noted in the run's registry.
///
/// # Errors
/// When there is no answer.
pub async fn post(url: &str, ca: &Path, headers: &[(&str, String)], body: &[u8]) -> Result<Answer> {
    let roots = RootCerts::new_with_certs(&certificates(&std::fs::read(ca)?)?);
    let tls = TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent = ureq::Agent::from(
        ureq::Agent::config_builder()
            .tls_config(tls)
            // Not `https_proxy`: the address is this machine's own.
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build(),
    );
    let mut request = agent.post(format!("{url}{PATH}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    for (_, value) in headers {
        plaintext_registry::key(value.trim_start_matches("Bearer "))?;
    }
    let body = body.to_vec();
    let answer = tokio::task::spawn_blocking(move || {
        let mut response = request.send(&body[..])?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
        };
        anyhow::Ok(Answer {
            status: response.status().as_u16(),
            retry_after: header("retry-after").and_then(|text| text.parse().ok()),
            content_type: header("content-type").unwrap_or_default(),
            text: response.body_mut().read_to_string()?,
        })
    })
    .await??;
    if let Some(token) = answer.token() {
        plaintext_registry::token(&token)?;
    }
    Ok(answer)
}

/// The first certificate of a PEM file, DER.
///
/// # Errors
/// When there is none.
pub fn first_certificate(pem: &[u8]) -> Result<Vec<u8>> {
    let first = certificates(pem)?.into_iter().next().context("no certificate in the file")?;
    Ok(first.der().to_vec())
}

pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item? {
            found.push(certificate);
        }
    }
    Ok(found)
}
