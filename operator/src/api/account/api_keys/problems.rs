//! What is wrong with a request, as the surface says it.

use std::collections::BTreeMap;

use http::StatusCode;
use keyplane_core::api_key::KeyRequestError;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::api::problem::Problem;

/// The answer to a request that cannot be met as it stands.
pub(super) fn request_problem(error: &KeyRequestError) -> Problem {
    let code = match error {
        KeyRequestError::NameEmpty | KeyRequestError::NameTooLong => "invalid_name",
        KeyRequestError::ExpirationUnreadable | KeyRequestError::ExpirationPast => "invalid_expiration",
        KeyRequestError::Scope(_) | KeyRequestError::TooManyNamespaces => "invalid_scopes",
        KeyRequestError::NamespaceNotOwned(_) => "namespace_not_owned",
        KeyRequestError::AllowedCidr(_) | KeyRequestError::TooManyCidrs => "invalid_allowed_cidrs",
        KeyRequestError::NothingGiven => "nothing_to_change",
        KeyRequestError::GracePeriod => "invalid_grace_period",
    };
    Problem::new(StatusCode::BAD_REQUEST, code, error.to_string())
}

/// The answer about a key that is not there, or is another account's.
pub(super) fn key_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "api_key_not_found", "API key not found")
}

/// The seed's sentence, which the resource's own rule says too.
pub(super) const FROZEN: &str = "Revoked or expired keys cannot be modified";

/// The answer about a key that ended.
pub(super) fn key_frozen() -> Problem {
    Problem::new(StatusCode::CONFLICT, "api_key_frozen", FROZEN)
}

/// The answer where an account has as many keys as it may.
pub(super) fn limit_reached(account: &str, limit: u32) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "active_key_limit_reached",
        format!(
            "The account {account} may have {limit} active API keys, and has as many: revoke or delete one that is no longer \
             used, or have spec.limits.activeApiKeys of the Account raised"
        ),
    )
}

/// The answer to a retry that asks for something else.
pub(super) fn idempotency_key_reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request: use a new one for each key that is to be made",
    )
}

/// What every route may answer.
pub(super) struct CallerProblems;

/// What a route that changes a key may answer besides.
pub(super) struct KeyProblems;

/// What a route that takes a body may answer besides.
pub(super) struct BodyProblems;

impl IntoResponses for CallerProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[
            ("400", "The request cannot be used as it stands, or it is not clear which account is meant"),
            ("401", "No access token that is accepted"),
            ("403", "RBAC does not allow it"),
            ("503", "The cluster or the audit log does not do its part"),
            ("504", "No answer in time"),
        ])
    }
}

impl IntoResponses for KeyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[
            ("404", "API key not found"),
            ("409", "Revoked or expired keys cannot be modified, or others change the key at the same time"),
        ])
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[("413", "The body is too large")])
    }
}

fn documented(problems: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let schema = || Ref::from_schema_name(Problem::name());
    let content = || ContentBuilder::new().schema(Some(schema())).build();
    let response = |description: &str| {
        let response = ResponseBuilder::new().description(description);
        RefOr::T(response.content("application/problem+json", content()).build())
    };
    problems.iter().map(|(status, text)| ((*status).to_owned(), response(text))).collect()
}
