//! What requests hold.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use http::{HeaderMap, StatusCode};
use keyplane_core::api_key::{
    IdempotencyKey, InvalidIdempotencyKey, KeyChange, KeyRequest, KeyRequestError, ScopePayload, grace_period,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::problems::request_problem;
use super::view::KeyScopes;
use crate::api::json_body::json_of_request;
use crate::api::problem::Problem;

/// The header that makes retries of a creation one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "ci", "scopes": {"kubernetes_exec": {"all_namespaces": true}}, "expires_at": "2099-12-31T23:59:59Z",
    "allowed_cidrs": ["127.0.0.0/8", "192.0.2.7"],
}))]
pub(super) struct NewApiKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 64, pattern = r"\S")]
    name: String,
    /// What it may do.
    #[serde(default)]
    #[schema(value_type = KeyScopes, required = true)]
    scopes: ScopePayload,
    /// When it ends: a time with a zone, in the future. Without it, the key does not end by itself.
    #[serde(default)]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The addresses and CIDRs, IPv4 or IPv6, that it may be used from. Without it, from everywhere.
    #[serde(default)]
    #[schema(max_items = 64)]
    allowed_cidrs: Option<Vec<String>>,
}

/// What is to be changed about a key: at least one of these. What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option, reason = "left out and null differ: one keeps, one takes away")]
#[schema(example = json!({"name": "deploy", "expires_at": null, "allowed_cidrs": ["192.0.2.0/24"]}))]
pub(super) struct ApiKeyChange {
    /// Another name.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 64, pattern = r"\S")]
    name: Option<String>,
    /// Another scope, in place of the whole one before.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<KeyScopes>, nullable = false)]
    scopes: Option<ScopePayload>,
    /// Another end, in the future; null: the key does not end by itself.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<String>>,
    /// Another list of addresses and CIDRs; an empty one, or null: the key may be used from everywhere.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    allowed_cidrs: Option<Option<Vec<String>>>,
}

/// How a key is to be replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotationRequest {
    /// For how many seconds the replaced key goes on to verify. It holds for later rotations too; left out, it stays as it is:
    /// unless one was ever set, the replaced key ends at once.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 0, maximum = 2_592_000)]
    grace_period_seconds: Option<i64>,
}

/// A field that is there: null is a value like any other, where the type has one.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The key that a body asks for.
///
/// # Errors
/// 400 with what is wrong with it, 413.
pub(super) fn new_key(body: Result<Bytes, BytesRejection>) -> Result<KeyRequest, Problem> {
    let wanted: NewApiKey = object(body)?;
    let allowed_cidrs = wanted.allowed_cidrs.as_deref().unwrap_or_default();
    KeyRequest::read(&wanted.name, &wanted.scopes, wanted.expires_at.as_deref(), allowed_cidrs)
        .map_err(|error| request_problem(&error))
}

/// The change that a body asks for.
///
/// # Errors
/// 400 with what is wrong with it, 413.
pub(super) fn key_change(body: Result<Bytes, BytesRejection>) -> Result<KeyChange, Problem> {
    let wanted: ApiKeyChange = object(body)?;
    KeyChange::read(
        wanted.name.as_deref(),
        wanted.scopes.as_ref(),
        wanted.expires_at.as_ref().map(Option::as_deref),
        wanted.allowed_cidrs.as_ref().map(|list| list.as_deref().unwrap_or_default()),
    )
    .map_err(|error| request_problem(&error))
}

/// The grace period that a body asks for; none where there is no body, or it does not say.
///
/// # Errors
/// 400 with what is wrong with it, 413.
pub(super) fn grace_period_of(body: Result<Bytes, BytesRejection>) -> Result<Option<u32>, Problem> {
    let wanted: Option<RotationRequest> = match &body {
        Ok(body) if body.iter().all(u8::is_ascii_whitespace) => None,
        _ => object(body)?,
    };
    let read: Result<Option<u32>, KeyRequestError> =
        wanted.and_then(|wanted| wanted.grace_period_seconds).map(grace_period).transpose();
    read.map_err(|error| request_problem(&error))
}

/// What the client calls this creation, if it does.
///
/// # Errors
/// 400 when that is no such name.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let read = match (lines.next(), lines.next()) {
        (None, _) => return Ok(None),
        (Some(only), None) => IdempotencyKey::parse(only.as_bytes()),
        (Some(_), Some(_)) => Err(InvalidIdempotencyKey),
    };
    read.map(Some)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", error.to_string()))
}

/// A body that is an object, as are the objects in it: a list in the place of one would be read as its fields in a row.
fn object<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    if let Ok(body) = &body
        && let Ok(value) = serde_json::from_slice::<Value>(body)
    {
        for (at, name) in
            [("", "The body"), ("/scopes", "scopes"), ("/scopes/kubernetes_exec", "kubernetes_exec")]
        {
            if value.pointer(at).is_some_and(Value::is_array) {
                let detail = format!("{name} must be a JSON object");
                return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_body", detail));
            }
        }
    }
    json_of_request(body)
}
