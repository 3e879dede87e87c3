//! Errors as `application/problem+json` (RFC 9457), with a stable `code`.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::caller::KeyRefused;

/// An error answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    type_: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong, for a person.
    detail: String,
    /// What is wrong, for a program.
    code: &'static str,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

impl Problem {
    /// An error with a status, a stable code and a sentence.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            type_: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            retry_after_seconds: None,
        }
    }

    /// The same, passing by itself within this many seconds.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is wrong, for a person.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Within how many seconds it passes by itself, where that is known.
    pub(crate) fn passes_within(&self) -> Option<u64> {
        self.retry_after_seconds
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer for a path that is not served.
pub(crate) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "Nothing is served at this path")
}

/// The answer for a method that a path does not have; the header `Allow` names those it has.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path is served, but not with this method: see the header Allow",
    )
}

/// The seed's one sentence for every key that is not accepted, so that a stranger learns nothing from it. Only whoever has the
/// whole key gets to see another code than `invalid_api_key` beside it.
const REFUSED: &str = "Missing, invalid, revoked, or expired API key";

/// The answer to a key that is refused.
pub(crate) fn key_problem(refused: KeyRefused) -> Problem {
    match refused {
        KeyRefused::Invalid => Problem::new(StatusCode::UNAUTHORIZED, "invalid_api_key", REFUSED),
        KeyRefused::Revoked => Problem::new(StatusCode::UNAUTHORIZED, "api_key_revoked", REFUSED),
        KeyRefused::Expired => Problem::new(StatusCode::UNAUTHORIZED, "api_key_expired", REFUSED),
        KeyRefused::Locked => Problem::new(
            StatusCode::FORBIDDEN,
            "key_locked",
            "This API key is locked after uses from addresses outside its list: its owner looks at status.securityEvents and \
             unlocks it with spec.unlockedAt",
        ),
        KeyRefused::AddressNotAllowed => Problem::new(
            StatusCode::FORBIDDEN,
            "address_not_allowed",
            "This API key may not be used from this address: its owner lists the addresses in spec.allowedCidrs",
        ),
        KeyRefused::NotReady { reason, message } => Problem::new(
            StatusCode::FORBIDDEN,
            "key_not_ready",
            format!("This API key is not ready ({reason}): {message}"),
        ),
        KeyRefused::SettingUp => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "access_being_set_up",
            "This API key's access is being set up; try again in a moment",
        )
        .retry_after(1),
        KeyRefused::InsufficientScope(required) => Problem::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            format!(
                "This API key's scope does not include {required}: use a key with scope {required} or all"
            ),
        ),
        KeyRefused::TooManyFailures(pause) => too_many_failures(pause),
    }
}

/// The answer to an address from which too much came that was no key and no token.
pub(crate) fn too_many_failures(pause: Duration) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_failed_authentications",
        "Too many requests from this address had no valid API key or access token: mend the credential, then try again later",
    )
    .retry_after(pause.as_secs().saturating_add(1))
}

/// The answer when the API server does not do its part.
pub(crate) fn cluster_unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "cluster_unavailable",
        "The cluster's API server does not do its part at the moment; try again",
    )
    .retry_after(2)
}

/// The answer when what is asked for cannot be taken down.
pub(crate) fn audit_unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "audit_unavailable",
        "What is done cannot be taken down in the audit log at the moment, so nothing is done; try again",
    )
    .retry_after(2)
}

/// The answer to a request whose handler failed.
pub(crate) fn failed() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "Keyplane failed to answer; its log says why",
    )
}
