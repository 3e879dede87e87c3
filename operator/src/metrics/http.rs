//! Requests: how many, how they were answered, how long that took.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Histograms;
use super::shared::Shared;
use super::surface::Surface;

/// The methods that have a name; any other is `other`, lest a client invent a series.
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
const METHOD_ROWS: usize = METHODS.len() + 1;
/// The statuses from 100 on that have a name. The place before them is for requests without an answer.
const STATUSES: usize = 500;
const STATUS_ROWS: usize = STATUSES + 1;
/// From what is answered out of memory to what waits for the API server until the time limit.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// Requests.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    requests: Arc<Requests>,
    durations: Arc<Histograms>,
}

/// How many requests there were, by surface, method and status: a place in memory for each, so that counting is one
/// addition.
#[derive(Debug)]
struct Requests(Vec<AtomicU64>);

impl HttpMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let places = Surface::ALL.len() * METHOD_ROWS * STATUS_ROWS;
        let requests = Arc::new(Requests((0..places).map(|_| AtomicU64::new(0)).collect()));
        let durations = Arc::new(Histograms::new("surface", Surface::ALL.map(Surface::as_str), &SECONDS));
        registry.register(
            "http_requests",
            "Requests, by how they were answered; status `none` when the client went away first",
            Shared(requests.clone()),
        );
        registry.register_with_unit(
            "http_request_duration",
            "How long it took until an answer began",
            Unit::Seconds,
            Shared(durations.clone()),
        );
        Self { requests, durations }
    }

    fn count(&self, surface: Surface, method: usize, status: Option<StatusCode>) {
        // What is beyond the list counts as its last: no server of ours answers 599.
        let status = status.map_or(0, |status| usize::from(status.as_u16()).saturating_sub(99).min(STATUSES));
        let place = (surface as usize * METHOD_ROWS + method) * STATUS_ROWS + status;
        if let Some(count) = self.requests.0.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A request that has no answer yet. When it is dropped it is counted as it is then.
struct Pending {
    metrics: HttpMetrics,
    surface: Surface,
    method: usize,
    began: Instant,
    status: Option<StatusCode>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.metrics.count(self.surface, self.method, self.status);
        if self.status.is_some() {
            self.metrics.durations.observe(self.surface as usize, self.began.elapsed());
        }
    }
}

/// Middleware: counts and measures every request. It must be a layer of the router, which knows the route by then.
pub(crate) async fn measure(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let method = METHODS.iter().position(|method| method == request.method());
    let mut pending = Pending {
        metrics,
        surface: route.map_or(Surface::Other, Surface::of_route),
        method: method.unwrap_or(METHODS.len()),
        began: Instant::now(),
        status: None,
    };
    let response = next.run(request).await;
    pending.status = Some(response.status());
    response
}

impl EncodeMetric for Requests {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let methods = || METHODS.iter().map(Method::as_str).chain(["other"]);
        let rows =
            Surface::ALL.into_iter().flat_map(|surface| methods().map(move |method| (surface, method)));
        for ((surface, method), counts) in rows.zip(self.0.chunks(STATUS_ROWS)) {
            for (status, count) in counts.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count == 0 {
                    continue;
                }
                let status = if status == 0 { "none".to_owned() } else { (status + 99).to_string() };
                let labels = [("surface", surface.as_str()), ("method", method), ("status", &status)];
                encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use axum::{Router, middleware};
    use prometheus_client::encoding::text::encode;
    use tower::ServiceExt;

    use super::*;

    fn series(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        let counts = text.lines().filter(|line| line.starts_with("http_requests_total"));
        counts.map(ToOwned::to_owned).collect()
    }

    #[tokio::test]
    async fn a_request_is_counted_by_its_route_and_never_by_what_the_client_wrote() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::registered(&mut registry);
        let router = Router::new()
            .route("/v1/account/api-keys/{key_id}", get(async || "it"))
            .route("/v1/verify", post(async || StatusCode::UNAUTHORIZED))
            .fallback(async || StatusCode::NOT_FOUND)
            .layer(middleware::from_fn_with_state(metrics, measure));
        for (method, path) in [
            ("GET", "/v1/account/api-keys/secret-1"),
            ("GET", "/v1/account/api-keys/secret-2"),
            ("POST", "/v1/verify"),
            ("BREW", "/v1/verify/secret-3"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        assert_eq!(
            series(&registry),
            [
                r#"http_requests_total{surface="verify",method="POST",status="401"} 1"#,
                r#"http_requests_total{surface="account",method="GET",status="200"} 2"#,
                r#"http_requests_total{surface="other",method="other",status="404"} 1"#,
            ]
        );
    }

    #[tokio::test]
    async fn a_client_that_goes_away_is_counted_without_a_status() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::registered(&mut registry);
        let router = Router::new()
            .route("/v1/verify", get(std::future::pending::<()>))
            .layer(middleware::from_fn_with_state(metrics, measure));
        let request = Request::builder().uri("/v1/verify").body(Body::empty()).unwrap();
        let mut answering = tokio::spawn(router.oneshot(request));
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut answering).is_pending());
        answering.abort();
        assert!(answering.await.unwrap_err().is_cancelled());
        assert_eq!(
            series(&registry),
            [r#"http_requests_total{surface="verify",method="GET",status="none"} 1"#]
        );
    }
}
