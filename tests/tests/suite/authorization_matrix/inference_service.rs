//! The service behind the inference surface: it tells whose request came.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use axum::Router;
use axum::http::HeaderMap;
use tokio::net::TcpListener;

/// A running service; it ends with the test.
#[derive(Debug)]
pub(super) struct InferenceService {
    pub(super) url: String,
    reached: Arc<AtomicUsize>,
}

impl InferenceService {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let reached = Arc::new(AtomicUsize::new(0));
        let count = reached.clone();
        let router = Router::new().fallback(async move |headers: HeaderMap| {
            count.fetch_add(1, Ordering::SeqCst);
            let account = headers.get("x-keyplane-account").and_then(|value| value.to_str().ok());
            account.unwrap_or_default().to_owned()
        });
        // It serves until its runtime ends.
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, reached })
    }

    /// How many requests came this far.
    pub(super) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}
