//! What is answered when a request is not met: `success`, `message`, and `detail` where the seed's sentence leaves open what is
//! wrong.

use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use keyplane_core::ssh_public_key::SshPublicKeyError;
use serde::Serialize;
use utoipa::ToSchema;

use super::objects::answer;
use crate::api::problem::Problem;
use crate::api::ssh_keys::Refusal;

/// The sentences of the seed.
const INVALID_OR_FULL: &str = "Invalid SSH public key format or maximum of 25 keys exceeded.";
const DUPLICATE: &str = "This SSH key already exists in the system.";
const ABSENT: &str = "SSH key not found or does not belong to the authenticated user.";

/// The request is not met.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelError)]
pub(super) struct ErrorBody {
    /// Always false.
    success: bool,
    /// What is wrong.
    message: String,
    /// What exactly, and what to do, where the message leaves that open.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// An error answer of this surface.
pub(super) struct PanelError {
    status: StatusCode,
    message: String,
    detail: Option<String>,
    retry_after: Option<u64>,
}

impl PanelError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), detail: None, retry_after: None }
    }

    pub(super) fn because(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

impl From<Problem> for PanelError {
    fn from(problem: Problem) -> Self {
        Self { retry_after: problem.passes_within(), ..Self::new(problem.status(), problem.detail()) }
    }
}

impl From<Refusal> for PanelError {
    fn from(refusal: Refusal) -> Self {
        let invalid = || Self::new(StatusCode::BAD_REQUEST, INVALID_OR_FULL);
        match refusal {
            Refusal::Problem(problem) => problem.into(),
            Refusal::Unusable(why) | Refusal::NotRegistered(why) => Self::new(StatusCode::BAD_REQUEST, why),
            Refusal::PublicKey(error @ SshPublicKeyError::PrivateKey) => {
                // Whoever is shown the message alone must learn of this one.
                Self::new(StatusCode::BAD_REQUEST, format!("{INVALID_OR_FULL} But {error}."))
                    .because(error.to_string())
            }
            Refusal::PublicKey(error) => invalid().because(error.to_string()),
            Refusal::LimitReached(why) => invalid().because(why),
            Refusal::Duplicate => Self::new(StatusCode::CONFLICT, DUPLICATE),
            Refusal::Absent => Self::new(StatusCode::NOT_FOUND, ABSENT),
            Refusal::NoAccount => Self::new(StatusCode::NOT_FOUND, "The account is not there any more."),
            Refusal::Overtaken => {
                Self::new(StatusCode::CONFLICT, "It is being changed by others; try again.")
            }
        }
    }
}

impl From<BytesRejection> for PanelError {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), "The body cannot be read, or is too large.")
    }
}

impl IntoResponse for PanelError {
    fn into_response(self) -> Response {
        let body = ErrorBody { success: false, message: self.message, detail: self.detail };
        let mut response = answer(self.status, body);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
