//! What is wrong with a request, as the surface says it.

use http::StatusCode;
use keyplane_core::api_key::KeyRequestError;
use utoipa::IntoResponses;

use crate::api::documented_problems::{Answers, problems};
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

/// What a route about one key that changes it may answer besides.
pub(super) struct KeyProblems;

impl IntoResponses for KeyProblems {
    fn responses() -> Answers {
        problems(&[
            ("404", "API key not found"),
            ("409", "Revoked or expired keys cannot be modified, or others change the key at the same time"),
        ])
    }
}
