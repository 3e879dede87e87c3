//! `/api/account/ssh-keys`: an account's SSH keys in the words of seed 002, for API keys and people.

mod error;
mod objects;
mod query;

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::delete;
use http::{HeaderMap, StatusCode};
use keyplane_core::audit::RequestedChange;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::error::{ErrorBody, PanelError};
use self::objects::{Created, Deleted, Pagination, SshKeyPage, answer};
use self::query::{AskedQuery, Query};
use super::json_body::json_body;
use super::ssh_keys::{
    CreateSshKey, NewSshKey, Refusal, Registered, SshKeyApi, SshKeyCaller, register, registered,
};
use super::to_its_end::to_its_end;
use crate::caller::Verb;
use crate::exchange::RequestAddress;

const TAG: &str = "SSH keys (panel)";
/// The sentences of the seed.
const MISSING_ID: &str = "Missing SSH key ID in request.";
const DELETED: &str = "SSH key deleted successfully";

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<Arc<SshKeyApi>> {
    OpenApiRouter::new()
        .routes(routes!(list, create, delete_nothing))
        .routes(routes!(delete_one))
        // The same with an id that is empty.
        .route("/api/account/ssh-keys/", delete(delete_nothing))
}

/// Who calls. A query that cannot be used is told to nobody who is not known.
async fn caller<'a>(
    api: &'a SshKeyApi,
    headers: &HeaderMap,
    query: &AskedQuery,
    RequestAddress(address): RequestAddress,
) -> Result<SshKeyCaller<'a>, PanelError> {
    Ok(api.with_bearer(headers, Query::account(query), address.ok()).await?)
}

/// List SSH Keys
///
/// Retrieve a paginated list of SSH keys for the authenticated user.
#[utoipa::path(
    get,
    path = "/api/account/ssh-keys",
    operation_id = "panelListSshKeys",
    tag = TAG,
    security(("bearer" = [])),
    params(Query),
    responses(
        (status = 200, description = "One page of SSH keys", body = SshKeyPage),
        (status = 400, description = "The page cannot be given, or it is not clear which account is meant", body = ErrorBody),
        (status = 401, description = "Missing, invalid, revoked or expired credentials", body = ErrorBody),
        (status = 403, description = "The caller may not do this", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid credential", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn list(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    query: AskedQuery,
    headers: HeaderMap,
) -> Result<Response, PanelError> {
    to_its_end(async move {
        let caller = caller(&api, &headers, &query, address).await?;
        caller.may(Verb::List).await?;
        let query = Query::usable(query)?;
        let (page, limit) = (query.page()?, query.limit()?);
        let keys = registered(caller.home()).await?;
        let total = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let shown = keys.iter().skip(size((page - 1).saturating_mul(limit))).take(size(limit));
        let body = SshKeyPage {
            data: shown.filter_map(Registered::of).map(Into::into).collect(),
            pagination: Pagination { page, per_page: limit, total, total_pages: total.div_ceil(limit) },
        };
        Ok(answer(StatusCode::OK, body))
    })
    .await
}

/// Create SSH Key
///
/// Add a new SSH public key to the authenticated user's account. Each account can have a maximum of 25 SSH keys, unless its
/// limits say otherwise. The answer comes when it is certain that the key stands, after a second or two.
#[utoipa::path(
    post,
    path = "/api/account/ssh-keys",
    operation_id = "panelCreateSshKey",
    tag = TAG,
    security(("bearer" = [])),
    params(("account" = Option<String>, Query, description = "For people who own several accounts: which one is meant.")),
    request_body = CreateSshKey,
    responses(
        (status = 201, description = "The created SSH key object", body = Created),
        (status = 400, description = "Invalid SSH public key format or maximum of 25 keys exceeded.", body = ErrorBody),
        (status = 401, description = "Missing, invalid, revoked or expired credentials", body = ErrorBody),
        (status = 403, description = "The caller may not do this", body = ErrorBody),
        (status = 404, description = "The account is not there any more", body = ErrorBody),
        (status = 409, description = "This SSH key already exists in the system.", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid credential", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn create(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    query: AskedQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, PanelError> {
    to_its_end(async move {
        let caller = caller(&api, &headers, &query, address).await?;
        caller.may(Verb::Create).await?;
        Query::usable(query)?;
        let asked: CreateSshKey = json_body(&body?).map_err(Refusal::Unusable)?;
        let key = Box::pin(register(&caller, NewSshKey::try_from(asked)?)).await?;
        Ok(answer(StatusCode::CREATED, Created { data: key.into() }))
    })
    .await
}

/// Delete SSH Key
///
/// Delete an SSH key by its ID.
#[utoipa::path(
    delete,
    path = "/api/account/ssh-keys/{id}",
    operation_id = "panelDeleteSshKey",
    tag = TAG,
    security(("bearer" = [])),
    params(
        ("id" = String, Path, description = "The unique identifier of the SSH key to delete."),
        ("account" = Option<String>, Query, description = "For people who own several accounts: which one is meant."),
    ),
    responses(
        (status = 200, description = "The deletion was successful", body = Deleted),
        (status = 400, description = "Missing SSH key ID in request, or it is not clear which account is meant", body = ErrorBody),
        (status = 401, description = "Missing, invalid, revoked or expired credentials", body = ErrorBody),
        (status = 403, description = "The caller may not do this", body = ErrorBody),
        (status = 404, description = "SSH key not found or does not belong to the authenticated user.", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid credential", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn delete_one(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    query: AskedQuery,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, PanelError> {
    to_its_end(async move {
        let caller = caller(&api, &headers, &query, address).await?;
        // What is no text is no id.
        let id = id.map(|Path(id)| id).unwrap_or_default();
        let key = caller.find(&id, Verb::Delete).await?;
        Query::usable(query)?;
        caller.record(RequestedChange::DeleteSshKey, &key.metadata).await?;
        caller.home().delete(&key).await.map_err(Refusal::from)?;
        Ok(answer(StatusCode::OK, Deleted { success: true, message: DELETED }))
    })
    .await
}

/// Delete SSH Key, without an id
///
/// Deletes nothing: the ID belongs behind the path.
#[utoipa::path(
    delete,
    path = "/api/account/ssh-keys",
    operation_id = "panelDeleteNoSshKey",
    tag = TAG,
    security(("bearer" = [])),
    responses(
        (status = 400, description = "Missing SSH key ID in request.", body = ErrorBody),
        (status = 401, description = "Missing, invalid, revoked or expired credentials", body = ErrorBody),
        (status = 403, description = "The caller may not do this", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid credential", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn delete_nothing(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    query: AskedQuery,
    headers: HeaderMap,
) -> Result<Response, PanelError> {
    to_its_end(async move {
        caller(&api, &headers, &query, address).await?;
        Err(PanelError::new(StatusCode::BAD_REQUEST, MISSING_ID))
    })
    .await
}
