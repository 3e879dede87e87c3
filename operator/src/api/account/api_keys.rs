//! `/v1/account/api-keys`: an account's keys, for people (seed 003).

mod asked;
mod change;
mod creation;
mod problems;
mod request;
mod view;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use keyplane_core::key_format::PlaintextKey;
use keyplane_crds::ApiKey;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

pub(crate) use self::asked::ApiKeys;
use self::asked::Asked;
use self::creation::Made;
use self::problems::KeyProblems;
use self::request::{ApiKeyChange, NewApiKey, RotationRequest, idempotency_key};
use self::view::{ApiKeyDetail, ApiKeyList, ApiKeySummary, ApiKeyWithKey, CreatedApiKey};
pub(crate) use self::view::{KeyNamespace, KeyScopes};
use super::account_query::AccountQuery;
use super::caller::failure_problem;
use crate::api::documented_problems::{BodyProblems, PersonProblems};
use crate::api::no_store::no_store;
use crate::api::problem::{Problem, failed};
use crate::api::to_its_end::to_its_end;
use crate::caller::Verb;

/// Says that a creation made nothing, because an earlier attempt had.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<ApiKeys> {
    OpenApiRouter::new()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(get_api_key, change_api_key, delete_api_key))
        .routes(routes!(revoke_api_key))
        .routes(routes!(rotate_api_key))
        .routes(routes!(unlock_api_key))
}

/// The id of a key in a path. One that is no text is nobody's.
type KeyId = Result<Path<String>, PathRejection>;

/// The account's API keys, the oldest first
#[utoipa::path(
    get,
    path = "/v1/account/api-keys",
    tag = "api keys",
    params(AccountQuery, ("x-keyplane-account" = Option<String>, Header, description = "The account, by name")),
    security(("accessToken" = [])),
    responses((status = 200, description = "The keys", body = ApiKeyList), PersonProblems)
)]
async fn list_api_keys(asked: Asked) -> Result<Response, Problem> {
    let caller = asked.caller().await?;
    caller.may::<ApiKey>(Verb::List, None).await?;
    let found: Vec<ApiKey> = caller.home.list().await.map_err(failure_problem)?;
    let standing = found.iter().filter(|key| key.metadata.deletion_timestamp.is_none());
    let now = Utc::now();
    Ok(no_store(Json(ApiKeyList { data: standing.map(|key| ApiKeySummary::of(key, now)).collect() })))
}

/// Makes an API key, and shows it this once
///
/// An `Idempotency-Key` makes it safe to try again: whatever the number of attempts, one key is made. Of the answers to them
/// one holds the key itself; where that one was lost, the key can be rotated.
#[utoipa::path(
    post,
    path = "/v1/account/api-keys",
    tag = "api keys",
    params(
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
        ("Idempotency-Key" = Option<String>, Header, description = "What the client calls this creation: 1 to 255 visible ASCII characters"),
    ),
    security(("accessToken" = [])),
    request_body = NewApiKey,
    responses(
        (
            status = 201, description = "It is made: `active`, or `pending` where that takes longer", body = CreatedApiKey,
            headers(("location" = String, description = "Where it is"))
        ),
        (
            status = 200, description = "An earlier attempt with this `Idempotency-Key` made it; the key itself is not shown again",
            body = ApiKeySummary,
            headers(
                ("location" = String, description = "Where it is"),
                ("idempotent-replayed" = String, description = "`true`"),
            )
        ),
        (status = 404, description = "There is no such account, or somebody deleted the key meanwhile", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The account has as many active keys as it may", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The `Idempotency-Key` was used for another request", body = Problem, content_type = "application/problem+json"),
        PersonProblems,
        BodyProblems,
    )
)]
async fn create_api_key(asked: Asked, body: Result<Bytes, BytesRejection>) -> Result<Response, Problem> {
    to_its_end(async move {
        let caller = asked.caller().await?;
        caller.may::<ApiKey>(Verb::Create, None).await?;
        let wanted = request::new_key(body)?;
        let idempotency = idempotency_key(&asked.headers)?;
        let made = Box::pin(creation::create(&caller, &asked.state.keys, wanted, idempotency)).await?;
        let (status, key, plaintext) = match &made {
            Made::New(key, plaintext) => (StatusCode::CREATED, key, Some(plaintext)),
            Made::Replayed(key) => (StatusCode::OK, key, None),
        };
        let summary = ApiKeySummary::of(key, Utc::now());
        let location = HeaderValue::try_from(format!("/v1/account/api-keys/{}", summary.id));
        let mut response = match plaintext {
            Some(plaintext) => with_key(&CreatedApiKey { summary, key: plaintext.expose() })?,
            None => ([(REPLAYED, "true")], no_store(Json(summary))).into_response(),
        };
        *response.status_mut() = status;
        if let Ok(location) = location {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    })
    .await
}

/// One API key, with how it was used
#[utoipa::path(
    get,
    path = "/v1/account/api-keys/{key_id}",
    tag = "api keys",
    params(
        ("key_id" = String, Path, description = "The key's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    responses(
        (status = 200, description = "The key", body = ApiKeyDetail),
        (status = 404, description = "API key not found", body = Problem, content_type = "application/problem+json"),
        PersonProblems,
    )
)]
async fn get_api_key(asked: Asked, id: KeyId) -> Result<Response, Problem> {
    let caller = asked.caller().await?;
    Ok(shown(&change::standing_key(&caller, &asked.state.keys, &text(id), Verb::Get).await?))
}

/// Changes an API key's name, scopes, expiry or addresses
#[utoipa::path(
    patch,
    path = "/v1/account/api-keys/{key_id}",
    tag = "api keys",
    params(
        ("key_id" = String, Path, description = "The key's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    request_body = ApiKeyChange,
    responses((status = 200, description = "The changed key", body = ApiKeyDetail), KeyProblems, PersonProblems, BodyProblems)
)]
async fn change_api_key(
    asked: Asked,
    id: KeyId,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    to_its_end(async move {
        let caller = asked.caller().await?;
        let key = change::standing_key(&caller, &asked.state.keys, &text(id), Verb::Patch).await?;
        Ok(shown(&change::change(&caller, &asked.state.keys, key, &request::key_change(body)?).await?))
    })
    .await
}

/// Deletes an API key
///
/// A key that was merely revoked is kept, and tells how it was used.
#[utoipa::path(
    delete,
    path = "/v1/account/api-keys/{key_id}",
    tag = "api keys",
    params(
        ("key_id" = String, Path, description = "The key's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "API key not found", body = Problem, content_type = "application/problem+json"),
        PersonProblems,
    )
)]
async fn delete_api_key(asked: Asked, id: KeyId) -> Result<StatusCode, Problem> {
    to_its_end(async move {
        let caller = asked.caller().await?;
        let key = change::standing_key(&caller, &asked.state.keys, &text(id), Verb::Delete).await?;
        change::delete(&caller, &asked.state.keys, &key).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Ends an API key for good
#[utoipa::path(
    post,
    path = "/v1/account/api-keys/{key_id}/revoke",
    tag = "api keys",
    params(
        ("key_id" = String, Path, description = "The key's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    responses((status = 200, description = "The revoked key", body = ApiKeyDetail), KeyProblems, PersonProblems)
)]
async fn revoke_api_key(asked: Asked, id: KeyId) -> Result<Response, Problem> {
    to_its_end(async move {
        let caller = asked.caller().await?;
        let key = change::standing_key(&caller, &asked.state.keys, &text(id), Verb::Patch).await?;
        Ok(shown(&change::revoke(&caller, &asked.state.keys, key).await?))
    })
    .await
}

/// Replaces an API key by another of the same rights, and shows that this once
///
/// A key that Keyplane delivers is delivered anew, and not shown. Where the answer was lost, the key can be rotated again.
#[utoipa::path(
    post,
    path = "/v1/account/api-keys/{key_id}/rotate",
    tag = "api keys",
    params(
        ("key_id" = String, Path, description = "The key's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    request_body = Option<RotationRequest>,
    responses((status = 200, description = "The rotated key", body = ApiKeyWithKey), KeyProblems, PersonProblems, BodyProblems)
)]
async fn rotate_api_key(
    asked: Asked,
    id: KeyId,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    to_its_end(async move {
        let caller = asked.caller().await?;
        let key = change::standing_key(&caller, &asked.state.keys, &text(id), Verb::Patch).await?;
        let grace = request::grace_period_of(body)?;
        let (key, plaintext) = change::rotate(&caller, &asked.state.keys, key, grace).await?;
        let detail = ApiKeyDetail::of(&key, Utc::now());
        with_key(&ApiKeyWithKey { detail, key: plaintext.as_ref().map(PlaintextKey::expose) })
    })
    .await
}

/// Lifts the lock of an API key that was used from addresses outside its list
#[utoipa::path(
    post,
    path = "/v1/account/api-keys/{key_id}/unlock",
    tag = "api keys",
    params(
        ("key_id" = String, Path, description = "The key's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    responses((status = 200, description = "The unlocked key", body = ApiKeyDetail), KeyProblems, PersonProblems)
)]
async fn unlock_api_key(asked: Asked, id: KeyId) -> Result<Response, Problem> {
    to_its_end(async move {
        let caller = asked.caller().await?;
        let key = change::standing_key(&caller, &asked.state.keys, &text(id), Verb::Patch).await?;
        Ok(shown(&change::unlock(&caller, &asked.state.keys, key).await?))
    })
    .await
}

fn text(id: KeyId) -> String {
    id.map(|Path(id)| id).unwrap_or_default()
}

fn shown(key: &ApiKey) -> Response {
    no_store(Json(ApiKeyDetail::of(key, Utc::now())))
}

/// An answer that may hold a key: its text is wiped when it was sent.
fn with_key(answer: &impl Serialize) -> Result<Response, Problem> {
    // Of the length that it will have: growing would leave copies of the key behind, unwiped.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, answer).map_err(|_| failed())?;
    let mut body = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *body, answer).map_err(|_| failed())?;
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok(no_store((headers, Body::from(Bytes::from_owner(body)))))
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
