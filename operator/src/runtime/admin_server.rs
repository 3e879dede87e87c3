//! `/healthz` and `/readyz`, for probes: plain HTTP, nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;

/// What has to be so before the process is ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<Vec<(&'static str, AtomicBool)>>);

impl Readiness {
    /// Nothing of this is so yet.
    pub(super) fn awaiting(parts: &[&'static str]) -> Self {
        Self(Arc::new(parts.iter().map(|part| (*part, AtomicBool::new(false))).collect()))
    }

    /// Now it is.
    pub(super) fn reached(&self, part: &str) {
        if let Some((_, reached)) = self.0.iter().find(|(name, _)| *name == part) {
            reached.store(true, Ordering::Release);
        }
    }

    fn awaited(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, reached)| !reached.load(Ordering::Acquire)).map(|(name, _)| *name).collect()
    }
}

/// Serves the probes until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) async fn serve(listen: SocketAddr, readiness: Readiness) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness);
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another --admin-listen"))?;
    tracing::info!(address = %listener.local_addr()?, "/healthz and /readyz are served");
    axum::serve(listener, router).await.context("the admin server ended")
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let awaited = readiness.awaited();
    if awaited.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", awaited.join(", ")))
    }
}
