//! `/v1/verify`: whether the key of a request that a gateway holds back may be served, and whose it is.
//!
//! For nginx `auth_request`, Traefik `ForwardAuth`, Caddy `forward_auth` and Envoy `ext_authz` over HTTP. Answers have no body,
//! so that every gateway keeps its connection; methods do not matter, because some gateways send the request's own.

mod document;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use keyplane_core::api_key::{Admitted, RequiredScope, UnknownScope};
use keyplane_core::client_address::ClientAddress;
use kube::ResourceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::caller::{KeyCheck, KeyRefused, presented_key};
use crate::exchange::RequestAddress;

/// The path that a gateway asks.
const PATH: &str = "/v1/verify";
/// The same with the path of the request that is held back after it, as Envoy asks.
const WITH_PATH: &str = "/v1/verify/{*path}";
/// The same for the path `/`, which is nothing to a wildcard.
const WITH_ROOT: &str = "/v1/verify/";

/// In which a gateway names the scope that it requires; another than the query, which may be its client's.
const REQUIRE_SCOPE: HeaderName = HeaderName::from_static("x-keyplane-require-scope");

/// Whose key it is.
const ACCOUNT: HeaderName = HeaderName::from_static("x-keyplane-account");
const KEY_ID: HeaderName = HeaderName::from_static("x-keyplane-key-id");
const SCOPE: HeaderName = HeaderName::from_static("x-keyplane-scope");

/// The headers that tell a gateway, and the service behind it, whose request it is.
pub(crate) fn identity_headers(admitted: &Admitted) -> [(HeaderName, String); 3] {
    let key = &admitted.key;
    let scope = RequiredScope::of(&key.spec.scope).map_or("", RequiredScope::as_str);
    [
        (ACCOUNT, key.namespace().unwrap_or_default()),
        (KEY_ID, key.uid().unwrap_or_default()),
        (SCOPE, scope.to_owned()),
    ]
}

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<Arc<KeyCheck>> {
    OpenApiRouter::with_openapi(document::document())
        .route(PATH, any(verify))
        .route(WITH_PATH, any(verify_path))
        .route(WITH_ROOT, any(verify_path))
}

async fn verify(
    State(keys): State<Arc<KeyCheck>>,
    Extension(RequestAddress(client)): Extension<RequestAddress>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&keys, client.ok(), &headers, query.as_deref().unwrap_or_default()).await
}

/// Here the query is that of the request which is held back, and none of the gateway's.
async fn verify_path(
    State(keys): State<Arc<KeyCheck>>,
    Extension(RequestAddress(client)): Extension<RequestAddress>,
    headers: HeaderMap,
) -> Response {
    answer(&keys, client.ok(), &headers, "").await
}

async fn answer(
    keys: &Arc<KeyCheck>,
    client: Option<ClientAddress>,
    headers: &HeaderMap,
    query: &str,
) -> Response {
    let mut response = StatusCode::OK.into_response();
    // A gateway that caches would go on letting a revoked key through.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let Ok(required) = required_scopes(headers, query) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    match keys.admit(presented_key(headers).as_ref(), client, &required).await {
        Ok(admitted) => {
            keys.used(&admitted, client);
            for (name, value) in identity_headers(&admitted) {
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().insert(name, value);
                }
            }
        }
        Err(refused) => {
            *response.status_mut() = status_of(&refused);
            if refused == KeyRefused::SettingUp {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
        }
    }
    response
}

/// The status that a gateway passes on: those that every one of them knows.
pub(crate) fn status_of(refused: &KeyRefused) -> StatusCode {
    match refused {
        // Gateways know no 429 here, and a refusal costs little.
        KeyRefused::Invalid | KeyRefused::Revoked | KeyRefused::Expired | KeyRefused::TooManyFailures(_) => {
            StatusCode::UNAUTHORIZED
        }
        KeyRefused::Locked
        | KeyRefused::AddressNotAllowed
        | KeyRefused::NotReady { .. }
        | KeyRefused::InsufficientScope(_) => StatusCode::FORBIDDEN,
        KeyRefused::SettingUp => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Every scope that is asked for, by query and by header: all must be there, so that a client which adds one takes nothing
/// away from what its gateway asks. A parameter of another name is an error too: a slip in a gateway's configuration must not
/// let every key through.
fn required_scopes(headers: &HeaderMap, query: &str) -> Result<Vec<RequiredScope>, UnknownScope> {
    let in_headers = headers.get_all(REQUIRE_SCOPE).iter();
    let in_headers = in_headers.map(|value| value.to_str().map_err(|_| UnknownScope));
    let in_query = query.split('&').filter(|parameter| !parameter.is_empty());
    let in_query = in_query.map(|parameter| parameter.strip_prefix("scope=").ok_or(UnknownScope));
    in_headers.chain(in_query).map(|text| text?.parse()).collect()
}
