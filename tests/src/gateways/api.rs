//! The API that a gateway guards: it answers with what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came out of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Every header line, its name in small letters.
    pub headers: Vec<(String, String)>,
    /// The length of the body, bytes.
    pub body_length: usize,
    /// The SHA-256 of the body, base64.
    pub body_digest: String,
}

impl Received {
    /// The values of all headers that a backend may take for this one: CGI and WSGI name every character but letters
    /// and digits `_`.
    #[must_use]
    pub fn values_taken_for(&self, name: &str) -> Vec<&str> {
        let taken = |name: &str| name.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
        let is_it = |found: &str| taken(found).eq_ignore_ascii_case(&taken(name));
        self.headers.iter().filter(|(found, _)| is_it(found)).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether this is the body, whole.
    #[must_use]
    pub fn has_body(&self, body: &[u8]) -> bool {
        self.body_length == body.len() && self.body_digest == digest(body)
    }
}

/// A running API: it ends when this is dropped.
#[derive(Debug)]
pub struct GuardedApi {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl GuardedApi {
    /// Starts one on a free port of the loopback address.
    ///
    /// # Errors
    /// When the system has no port left.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let router = Router::new().fallback(answer).with_state(requests.clone());
        let task = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, requests, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come this far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for GuardedApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(requests): State<Arc<AtomicU64>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Received> {
    requests.fetch_add(1, Ordering::SeqCst);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Json(Received {
        method: method.to_string(),
        target: uri.to_string(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
            .collect(),
        body_length: body.len(),
        body_digest: digest(&body),
    })
}

fn digest(body: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_for_another_whatever_stands_between_its_words() {
        let headers =
            ["x-keyplane-account", "x_keyplane_account", "x.keyplane-account", "x-keyplane-accounts"]
                .map(|name| (name.to_owned(), name.to_owned()));
        let received = Received {
            method: "GET".into(),
            target: "/".into(),
            headers: headers.into(),
            body_length: 0,
            body_digest: digest(b""),
        };
        assert_eq!(
            received.values_taken_for("X-Keyplane-Account"),
            ["x-keyplane-account", "x_keyplane_account", "x.keyplane-account"]
        );
        assert!(received.has_body(b"") && !received.has_body(b"x"));
    }
}
