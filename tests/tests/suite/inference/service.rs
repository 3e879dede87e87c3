//! An inference service that Keyplane passes requests on to: it keeps what it was asked, and answers as a test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _};
use http::HeaderName;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// A test says in this header of its request how the service is to answer: a JSON object.
pub(super) const WANTED: &str = "x-test-answer";

/// A request as it came out of Keyplane.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The method.
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// What came of the body.
    pub(super) body: Bytes,
}

impl Asked {
    /// A header's values, as one text.
    pub(super) fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(" | ")
    }

    /// Whether this text stands anywhere in it.
    pub(super) fn holds(&self, text: &str) -> bool {
        format!("{self:?}").contains(text) || String::from_utf8_lossy(&self.body).contains(text)
    }
}

/// What happens to a request that is not answered at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// A part of the request's body has come.
    Came(Bytes),
    /// Nobody waits for the answer any more.
    Dropped,
}

/// A running service: it ends when this is dropped.
#[derive(Debug)]
pub(super) struct InferenceService {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// What happens to requests that are answered in parts.
    pub(super) happened: UnboundedReceiver<Happened>,
    /// The parts of the answer: each is sent when it is put here.
    pub(super) parts: UnboundedSender<Bytes>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Service {
    asked: Arc<Mutex<Vec<Asked>>>,
    happened: UnboundedSender<Happened>,
    parts: Arc<Mutex<Option<UnboundedReceiver<Bytes>>>>,
}

impl InferenceService {
    /// Starts one on a free port of the loopback address.
    ///
    /// # Errors
    /// When the system has no port left.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (told, happened) = unbounded_channel();
        let (parts, to_send) = unbounded_channel();
        let asked = Arc::new(Mutex::default());
        let service =
            Service { asked: Arc::clone(&asked), happened: told, parts: Arc::new(Mutex::new(Some(to_send))) };
        let router = Router::new().fallback(answer).with_state(service);
        let task = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, asked, happened, parts, task })
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that came this far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for InferenceService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells when nobody waits any more.
struct Guard(UnboundedSender<Happened>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(Happened::Dropped);
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let wanted: Value = parts
        .headers
        .get(WANTED)
        .and_then(|value| serde_json::from_slice(value.as_bytes()).ok())
        .unwrap_or_else(|| json!({}));
    let wanted_text = |name: &str| wanted.get(name).and_then(Value::as_str);
    let wanted_number = |name: &str| wanted.get(name).and_then(Value::as_u64);
    let asked = |body: Bytes| Asked {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers.clone(),
        body,
    };
    let keep = |asked: Asked| service.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let guard = Guard(service.happened.clone());
    match wanted_text("kind") {
        Some("parts") => {
            keep(asked(Bytes::new()));
            let parts = service.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
            ([("content-type", "text/event-stream")], Body::from_stream(in_parts(parts, guard)))
                .into_response()
        }
        Some("never") => {
            keep(asked(Bytes::new()));
            let _ = service.happened.send(Happened::Came(Bytes::new()));
            std::future::pending::<()>().await;
            drop(guard);
            StatusCode::OK.into_response()
        }
        Some("upload") => {
            let mut body = body.into_data_stream();
            while let Some(Ok(part)) = body.next().await {
                let _ = service.happened.send(Happened::Came(part));
            }
            "received".into_response()
        }
        _ => {
            let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            let length = body.len();
            keep(asked(body));
            if let Some(seconds) = wanted_number("after_seconds") {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            let status = wanted_number("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
            let text = wanted_text("body").map_or_else(|| format!("{length} bytes"), ToOwned::to_owned);
            let mut response = (StatusCode::from_u16(status).unwrap_or_default(), text).into_response();
            for (name, value) in wanted.get("headers").and_then(Value::as_object).into_iter().flatten() {
                let name = HeaderName::try_from(name.as_str());
                if let (Ok(name), Ok(value)) = (name, value.as_str().unwrap_or_default().parse()) {
                    response.headers_mut().append(name, value);
                }
            }
            response
        }
    }
}

/// What is put into the channel, as it comes.
fn in_parts(
    parts: Option<UnboundedReceiver<Bytes>>,
    guard: Guard,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::unfold((parts, guard), |(parts, guard)| async move {
        let mut parts = parts?;
        let part = parts.recv().await?;
        Some((Ok(part), (Some(parts), guard)))
    })
}
