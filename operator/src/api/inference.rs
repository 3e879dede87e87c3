//! `/v1/inference/…`: the key is checked, then the request goes on to the configured server (seed 003).

mod headers;
mod upstream;

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use keyplane_core::api_key::{Admitted, RequiredScope};
use keyplane_core::client_address::ClientAddress;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::upstream::Upstream;
use self::upstream::{NoAnswer, Passed};
use super::problem::{Problem, key_problem};
use super::verify::identity_headers;
use crate::caller::{KeyCheck, api_key_header};
use crate::exchange::{Peer, RequestAddress};

/// What the server's own path takes the place of.
const BASE: &str = "/v1/inference";

/// What the surface needs.
pub(crate) struct Inference {
    /// Decides about keys.
    pub(crate) keys: Arc<KeyCheck>,
    /// Where requests go; nowhere without it.
    pub(crate) upstream: Option<Upstream>,
}

/// The surface's routes. An image takes its time, so that no limit for other surfaces' answers may be around them.
pub(crate) fn routes() -> OpenApiRouter<Arc<Inference>> {
    OpenApiRouter::new().routes(routes!(list_models)).routes(routes!(make_image))
}

/// The models that can be used
#[utoipa::path(
    get,
    path = "/v1/inference/runtime/models",
    tag = "inference",
    security(("apiKey" = [])),
    responses(
        (status = 401, description = "Missing, invalid, revoked, or expired API key", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key's scope does not include inference, or the key is locked", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The inference service cannot be reached", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No inference service is configured", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The inference service did not answer in time", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "The inference service's own answer, as it is"),
    )
)]
async fn list_models(
    State(inference): State<Arc<Inference>>,
    address: Extension<RequestAddress>,
    peer: Extension<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    inference.pass(address, peer, request).await
}

/// Makes an image
#[utoipa::path(
    post,
    path = "/v1/inference/image",
    tag = "inference",
    security(("apiKey" = [])),
    request_body(content = Object, description = "What the inference service takes, such as model and prompt"),
    responses(
        (status = 401, description = "Missing, invalid, revoked, or expired API key", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key's scope does not include inference, or the key is locked", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The inference service cannot be reached", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No inference service is configured", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The inference service did not answer in time", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "The inference service's own answer, as it is"),
    )
)]
async fn make_image(
    State(inference): State<Arc<Inference>>,
    address: Extension<RequestAddress>,
    peer: Extension<Peer>,
    request: Request,
) -> Result<Response, Problem> {
    inference.pass(address, peer, request).await
}

impl Inference {
    /// Checks the key and passes the request on. When the client goes away, all of this is dropped, and the request to the
    /// server with it.
    async fn pass(
        &self,
        Extension(RequestAddress(client)): Extension<RequestAddress>,
        Extension(Peer(peer)): Extension<Peer>,
        request: Request,
    ) -> Result<Response, Problem> {
        let client = client.ok();
        let (parts, body) = request.into_parts();
        let length = body.size_hint().lower();
        let (admitted, upstream) = self.admit(&parts.headers, client, length).await?;
        self.keys.used(&admitted, client);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let passed = Passed {
            method: parts.method,
            target: target.strip_prefix(BASE).unwrap_or(target).to_owned(),
            headers: headers::towards_upstream(&parts.headers, identity_headers(&admitted), peer.ip),
            body,
        };
        let (answer, body) = upstream.pass(passed).await.map_err(no_answer)?.into_parts();
        let mut response: Response<Body> = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = headers::towards_client(&answer.headers);
        Ok(response)
    }

    /// Whether a request may go on, with a body of at least this length, and where to.
    async fn admit(
        &self,
        headers: &HeaderMap,
        client: Option<ClientAddress>,
        length: u64,
    ) -> Result<(Admitted, &Upstream), Problem> {
        let key = api_key_header(headers);
        let required = [RequiredScope::Inference];
        let admitted = self.keys.admit(key.as_ref(), client, &required).await.map_err(key_problem)?;
        let upstream = self.upstream.as_ref().ok_or_else(not_configured)?;
        upstream.check(length).map_err(no_answer)?;
        Ok((admitted, upstream))
    }
}

fn not_configured() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "inference_not_configured",
        "This installation has no inference service: configure keyplane with --inference-upstream",
    )
}

fn no_answer(reason: NoAnswer) -> Problem {
    match reason {
        NoAnswer::BodyTooLarge(limit) => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The body may have {limit} bytes at most"),
        ),
        NoAnswer::Unreachable => Problem::new(
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            "The inference service cannot be reached at the moment; try again",
        ),
        NoAnswer::Late => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "The inference service did not begin to answer in time",
        ),
    }
}
