//! The real exchange, whose tokens are said to end sooner than they do: the API server gives none under ten minutes, and
//! no test waits that long for a client to ask for the next one.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use keyplane_tests::exchange;
use keyplane_tests::shared::SharedKeyplane;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A way to the exchange; it ends when this is dropped.
pub(super) struct ShortenedExchange {
    /// Plain http on this machine.
    pub(super) url: String,
    front: Arc<Front>,
    /// Dropped, it ends the server.
    _stop: oneshot::Sender<()>,
}

struct Front {
    exchange_url: String,
    exchange_ca: PathBuf,
    life: TimeDelta,
    given: Mutex<Vec<Given>>,
}

/// A token that was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// When it was given for the first time.
    pub(super) at: DateTime<Utc>,
    digest: [u8; 32],
}

impl ShortenedExchange {
    /// In front of the shared Keyplane; its tokens are said to live this long.
    pub(super) async fn start(shared: &SharedKeyplane, life: TimeDelta) -> Result<Self> {
        let front = Arc::new(Front {
            exchange_url: shared.keyplane.url(),
            exchange_ca: shared.keyplane.ca_file().to_path_buf(),
            life,
            given: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let listener = listener.into_std()?;
        let routes = Router::new().route(exchange::PATH, post(pass_on)).with_state(Arc::clone(&front));
        let (stop, stopped) = oneshot::channel();
        // A thread of its own: kube-rs waits for the plugin on the thread of its task.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("shortened-exchange".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, routes) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { url, front, _stop: stop })
    }

    /// The tokens that were given, each once.
    pub(super) fn given(&self) -> Vec<Given> {
        self.front.given()
    }
}

impl Front {
    fn given(&self) -> Vec<Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn give(&self, token: &str) {
        let digest = Sha256::digest(token.as_bytes()).into();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.iter().all(|earlier| earlier.digest != digest) {
            given.push(Given { at: Utc::now(), digest });
        }
    }
}

async fn pass_on(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let headers = [("x-api-key", key.to_owned())];
    match exchange::post(&front.exchange_url, &front.exchange_ca, &headers, &body).await {
        Ok(answer) => {
            if let Some(token) = answer.token() {
                front.give(&token);
            }
            let mut credential = answer.json();
            shorten(&mut credential, front.life);
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, [("content-type", answer.content_type)], credential.to_string()).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

fn shorten(credential: &mut Value, life: TimeDelta) {
    if let Some(end) = credential.pointer_mut("/status/expirationTimestamp") {
        *end = json!((Utc::now() + life).to_rfc3339_opts(SecondsFormat::Secs, true));
    }
}
