//! `POST /v1/kubernetes/exec-credential`: an `x-api-key` becomes a short-lived cluster token (seed 003).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use keyplane_core::api_key::{Refusal, Standing, standing};
use keyplane_core::key_format::PlaintextKey;
use keyplane_crds::ApiKey;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::exchange::{KeyIndex, Token, TokenError, TokenIssuer};
use crate::runtime::Refusals;

const PATH: &str = "/v1/kubernetes/exec-credential";
const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
const KIND: &str = "ExecCredential";

/// The seed's one sentence for every key that is not accepted, so that a stranger learns nothing from it.
const REFUSED: &str = "Missing, invalid, revoked, or expired API key";

#[derive(Clone)]
struct Exchange {
    index: Arc<KeyIndex>,
    issuer: Arc<TokenIssuer>,
    refusals: Arc<Refusals>,
}

/// The surface's routes.
pub(crate) fn routes(index: Arc<KeyIndex>, issuer: Arc<TokenIssuer>) -> Router {
    Router::new().route(PATH, post(exchange).fallback(method_not_allowed)).with_state(Exchange {
        index,
        issuer,
        refusals: Arc::default(),
    })
}

/// What is read of a request's ExecCredential; the rest of it is the client's own business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestedCredential {
    api_version: String,
    kind: String,
}

/// The ExecCredential of the answer (Kubernetes, `client.authentication.k8s.io`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedCredential<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: IssuedStatus<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedStatus<'a> {
    expiration_timestamp: String,
    token: &'a str,
}

async fn exchange(
    State(exchange): State<Exchange>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Some(key) = presented_key(&headers) else {
        exchange.refusals.count();
        return Err(refused());
    };
    let digest = key.digest();
    let now = Utc::now();
    let admitted = exchange.index.admit(&digest, now).map_err(|refusal| {
        say(&refusal, exchange.index.declared(&digest), now, &exchange.refusals);
        problem(&refusal)
    })?;
    let api_version = requested_version(&body)?;
    let token = exchange.issuer.issue(&admitted).await.map_err(|error| {
        tracing::warn!(key = %admitted.key.uid().unwrap_or_default(), %error, "no token issued");
        match error {
            TokenError::IdentityMissing(_) => setting_up(),
            TokenError::Unavailable(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "cluster_unavailable",
                "The cluster's API server does not issue tokens at the moment; try again",
            )
            .retry_after(2),
        }
    })?;
    tracing::info!(
        key = %admitted.key.uid().unwrap_or_default(),
        name = %format!("{}/{}", admitted.key.namespace().unwrap_or_default(), admitted.key.name_any()),
        expires_at = %token.expires_at,
        "token issued"
    );
    Ok(answer(api_version, &token))
}

/// Names a key that is declared; any other is only counted.
fn say(refusal: &Refusal, key: Option<Arc<ApiKey>>, now: DateTime<Utc>, refusals: &Refusals) {
    let Some(key) = key else { return refusals.count() };
    let reason = match refusal {
        Refusal::Unknown => match standing(&key, now) {
            Standing::Revoked => "revoked",
            Standing::Expired => "expired",
            Standing::ExpiredAtCreation => "expired at creation",
            Standing::Deleting => "being deleted",
            Standing::Live => "not accepted",
        },
        Refusal::NoKubernetes => "scope without Kubernetes",
        Refusal::NotReady { reason, .. } => reason,
        Refusal::SettingUp => "access is being set up",
    };
    let name = format!("{}/{}", key.namespace().unwrap_or_default(), key.name_any());
    tracing::info!(key = key.uid().unwrap_or_default(), name, reason, "no token");
}

/// The one key that the request presents. Two headers are ambiguous and count as none.
fn presented_key(headers: &HeaderMap) -> Option<PlaintextKey> {
    let mut values = headers.get_all("x-api-key").iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    PlaintextKey::parse(value.to_str().ok()?).ok()
}

/// The version that the body asks for; v1 when there is no body.
fn requested_version(body: &[u8]) -> Result<&'static str, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(V1);
    }
    let invalid = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_exec_credential", detail);
    let requested: RequestedCredential = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The body must be empty or an ExecCredential as JSON: {error}")))?;
    match requested.api_version.as_str() {
        _ if requested.kind != KIND => Err(invalid(format!("The body's kind must be {KIND}"))),
        V1 => Ok(V1),
        V1BETA1 => Ok(V1BETA1),
        _ => Err(invalid(format!("The body's apiVersion must be {V1} or {V1BETA1}"))),
    }
}

fn answer(api_version: &'static str, token: &Token) -> Response {
    let credential = IssuedCredential {
        api_version,
        kind: KIND,
        status: IssuedStatus {
            expiration_timestamp: token.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            token: &token.text,
        },
    };
    let mut response = Json(credential).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Unknown => refused(),
        Refusal::NoKubernetes => Problem::new(
            StatusCode::FORBIDDEN,
            "scope_without_kubernetes",
            "This API key's scope does not include Kubernetes: use a key with scope kubernetes_exec or all",
        ),
        Refusal::NotReady { reason, message } => Problem::new(
            StatusCode::FORBIDDEN,
            "key_not_ready",
            format!("This API key is not ready ({reason}): {message}"),
        ),
        Refusal::SettingUp => setting_up(),
    }
}

fn refused() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_api_key", REFUSED)
}

fn setting_up() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "access_being_set_up",
        "This API key's access is being set up; try again in a moment",
    )
    .retry_after(1)
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Use POST with the header x-api-key")
}
