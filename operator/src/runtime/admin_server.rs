//! `/healthz`, `/readyz` and `/metrics`, for probes and for Prometheus: plain HTTP, nothing else.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::readiness::Readiness;
use crate::metrics::{self, Metrics};

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) async fn serve(listen: SocketAddr, readiness: Readiness, metrics: Metrics) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(measured).with_state(metrics));
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another --admin-listen"))?;
    tracing::info!(address = %listener.local_addr()?, "/healthz, /readyz and /metrics are served");
    axum::serve(listener, router).await.context("the admin server ended")
}

/// Whether the process is ready, or what it lacks; `?verbose` tells of each store besides.
async fn ready(State(readiness): State<Readiness>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let now = Instant::now();
    let (status, mut text) = match readiness.verdict(now) {
        Ok(text) => (StatusCode::OK, format!("{text}\n")),
        Err(lack) => (StatusCode::SERVICE_UNAVAILABLE, format!("{lack}\n")),
    };
    if query.is_some_and(|query| query.split('&').any(|pair| matches!(pair, "verbose" | "verbose="))) {
        text.push_str(&readiness.stores(now));
    }
    (status, text)
}

async fn measured(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
