//! `/gpu-cloud/ssh-keys`: an account's SSH keys in the words of seed 004, for API keys.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Json};
use chrono::Utc;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use keyplane_core::audit::RequestedChange;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json_body::json_body;
use super::no_store::no_store;
use super::problem::{Problem, key_problem};
use super::ssh_keys::{
    CreateSshKey, NewSshKey, Refusal, Registered, SshKeyApi, SshKeyCaller, iso_milliseconds, make_default,
    register, registered,
};
use super::to_its_end::to_its_end;
use crate::caller::{KeyRefused, Verb, api_key_header};
use crate::exchange::RequestAddress;

const TAG: &str = "GPUCloudSSHKeys";
/// The descriptions of the seed, as messages.
const KEY_INVALID: &str = "API key invalid";
const KEY_NOT_FOUND: &str = "API key not found";
const ABSENT: &str = "Not found";

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<Arc<SshKeyApi>> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(mark_as_default))
        .routes(routes!(delete_one))
}

/// An SSH key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SSHKeyDto)]
struct SshKeyDto {
    /// The key's id.
    #[serde(rename = "_id")]
    id: String,
    /// What people call it.
    name: String,
    /// Type and base64, without a comment.
    public_key: String,
    /// Whether it is the account's default: exactly one is.
    is_default: bool,
    /// When it was registered.
    #[schema(format = DateTime, example = "2024-01-15T10:30:00.000Z")]
    created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime, example = "2024-01-15T10:30:00.000Z")]
    updated_at: String,
}

impl From<Registered> for SshKeyDto {
    fn from(key: Registered) -> Self {
        Self {
            id: key.id,
            name: key.name,
            public_key: key.public_key,
            is_default: key.is_default,
            created_at: iso_milliseconds(key.created),
            updated_at: iso_milliseconds(key.updated),
        }
    }
}

/// The request is not met.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GPUCloudError)]
struct ErrorBody {
    /// The status, as in the answer's first line.
    status_code: u16,
    /// When.
    #[schema(format = DateTime)]
    timestamp: String,
    /// What was asked for.
    path: String,
    /// What is wrong.
    message: String,
}

/// An error answer of this surface, but for the path.
struct GpuCloudError {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
}

impl GpuCloudError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    fn at(self, path: &str) -> Response {
        let body = ErrorBody {
            status_code: self.status.as_u16(),
            timestamp: iso_milliseconds(Utc::now()),
            path: path.to_owned(),
            message: self.message,
        };
        let mut response = no_store((self.status, Json(body)));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Problem> for GpuCloudError {
    fn from(problem: Problem) -> Self {
        Self { retry_after: problem.passes_within(), ..Self::new(problem.status(), problem.detail()) }
    }
}

impl From<KeyRefused> for GpuCloudError {
    fn from(refused: KeyRefused) -> Self {
        match refused {
            KeyRefused::Invalid | KeyRefused::Revoked | KeyRefused::Expired => {
                Self::new(StatusCode::FORBIDDEN, KEY_INVALID)
            }
            other => key_problem(other).into(),
        }
    }
}

impl From<Refusal> for GpuCloudError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Problem(problem) => problem.into(),
            Refusal::Unusable(why) => Self::new(StatusCode::BAD_REQUEST, why),
            Refusal::PublicKey(error) => {
                Self::new(StatusCode::BAD_REQUEST, format!("Invalid SSH public key: {error}"))
            }
            Refusal::LimitReached(why) => {
                Self::new(StatusCode::BAD_REQUEST, format!("Maximum of SSH keys exceeded: {why}"))
            }
            Refusal::NotRegistered(why) => {
                Self::new(StatusCode::BAD_REQUEST, format!("This SSH key is not registered: {why}"))
            }
            Refusal::Duplicate => {
                Self::new(StatusCode::CONFLICT, "This SSH key already exists in the system.")
            }
            Refusal::Overtaken => {
                Self::new(StatusCode::CONFLICT, "Another SSH key was made the default at the same moment.")
            }
            Refusal::Absent => Self::new(StatusCode::NOT_FOUND, ABSENT),
            // Nothing is left of whom the key was for.
            Refusal::NoAccount => Self::new(StatusCode::NOT_FOUND, KEY_NOT_FOUND),
        }
    }
}

impl From<BytesRejection> for GpuCloudError {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), "The body cannot be read, or is too large.")
    }
}

/// Who asks, and for what.
struct Asked {
    api: Arc<SshKeyApi>,
    address: RequestAddress,
    headers: HeaderMap,
}

impl Asked {
    async fn caller(&self) -> Result<SshKeyCaller<'_>, GpuCloudError> {
        let key = api_key_header(&self.headers);
        Ok(self.api.with_key(key.as_ref(), self.address.0.ok()).await?)
    }
}

/// Carries a request out, and puts the path into the answer where it is an error.
async fn answered(
    uri: Uri,
    work: impl Future<Output = Result<Response, GpuCloudError>> + Send + 'static,
) -> Response {
    to_its_end(work).await.unwrap_or_else(|error| error.at(uri.path()))
}

/// Create a SSH Key
///
/// Use this endpoint to add new SSH keys. The answer comes when it is certain that the key stands, after a second or two.
#[utoipa::path(
    post,
    path = "/gpu-cloud/ssh-keys",
    operation_id = "GPUCloudSSHKeysController_create",
    tag = TAG,
    security(("apiKey" = [])),
    request_body = CreateSshKey,
    responses(
        (status = 201, description = "Return the created ssh key", body = SshKeyDto),
        (status = 400, description = "Invalid SSH public key, or maximum of SSH keys exceeded", body = ErrorBody),
        (status = 403, description = "API key invalid", body = ErrorBody),
        (status = 404, description = "API key not found", body = ErrorBody),
        (status = 409, description = "This SSH key already exists in the system", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid key", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn create(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let asked = Asked { api, address, headers };
    answered(uri, async move {
        let caller = asked.caller().await?;
        let body: CreateSshKey = json_body(&body?).map_err(Refusal::Unusable)?;
        let key = Box::pin(register(&caller, NewSshKey::try_from(body)?)).await?;
        Ok(no_store((StatusCode::CREATED, Json(SshKeyDto::from(key)))))
    })
    .await
}

/// Retrieve the list of SSH Keys created
///
/// The oldest first.
#[utoipa::path(
    get,
    path = "/gpu-cloud/ssh-keys",
    operation_id = "GPUCloudSSHKeysController_getUserSSHKeys",
    tag = TAG,
    security(("apiKey" = [])),
    responses(
        (status = 200, description = "Returns the list of user ssh keys", body = Vec<SshKeyDto>),
        (status = 403, description = "API key invalid", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid key", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn list(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let asked = Asked { api, address, headers };
    answered(uri, async move {
        let caller = asked.caller().await?;
        let keys = registered(caller.home()).await?;
        let told: Vec<SshKeyDto> = keys.iter().filter_map(Registered::of).map(Into::into).collect();
        Ok(no_store((StatusCode::OK, Json(told))))
    })
    .await
}

/// Mark a SSH Key as default
///
/// The answer comes when the key is the default, and no other.
#[utoipa::path(
    patch,
    path = "/gpu-cloud/ssh-keys/{id}/makedefault",
    operation_id = "GPUCloudSSHKeysController_makeDefault",
    tag = TAG,
    security(("apiKey" = [])),
    params(
        ("id" = String, Path, description = "The key's id."),
    ),
    responses(
        (status = 204, description = "SSH key marked as default"),
        (status = 400, description = "The SSH key is not registered", body = ErrorBody),
        (status = 403, description = "API key invalid", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
        (status = 409, description = "Another SSH key was made the default at the same moment", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid key", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn mark_as_default(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    uri: Uri,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let asked = Asked { api, address, headers };
    answered(uri, async move {
        let caller = asked.caller().await?;
        // What is no text is no id.
        let id = id.map(|Path(id)| id).unwrap_or_default();
        let key = caller.find(&id, Verb::Patch).await?;
        Box::pin(make_default(&caller, key)).await?;
        Ok(no_store((StatusCode::NO_CONTENT, ())))
    })
    .await
}

/// Delete a SSH Key
///
/// Use this endpoint to clean up and remove obsolete or compromised SSH keys.
#[utoipa::path(
    delete,
    path = "/gpu-cloud/ssh-keys/{id}",
    operation_id = "GPUCloudSSHKeysController_delete",
    tag = TAG,
    security(("apiKey" = [])),
    params(
        ("id" = String, Path, description = "The key's id."),
    ),
    responses(
        (status = 204, description = "SSH key deleted"),
        (status = 403, description = "API key invalid", body = ErrorBody),
        (status = 404, description = "Not found", body = ErrorBody),
        (status = 429, description = "Too many requests from this address had no valid key", body = ErrorBody),
        (status = 500, description = "Keyplane failed to answer", body = ErrorBody),
        (status = 503, description = "The cluster does not do its part at the moment", body = ErrorBody),
    ),
)]
async fn delete_one(
    State(api): State<Arc<SshKeyApi>>,
    Extension(address): Extension<RequestAddress>,
    uri: Uri,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let asked = Asked { api, address, headers };
    answered(uri, async move {
        let caller = asked.caller().await?;
        let id = id.map(|Path(id)| id).unwrap_or_default();
        let key = caller.find(&id, Verb::Delete).await?;
        caller.record(RequestedChange::DeleteSshKey, &key.metadata).await?;
        caller.home().delete(&key).await.map_err(Refusal::from)?;
        Ok(no_store((StatusCode::NO_CONTENT, ())))
    })
    .await
}
