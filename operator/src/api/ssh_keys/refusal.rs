//! Why a request about SSH keys is not met. Each surface has its own words for it.

use http::StatusCode;
use keyplane_core::ssh_public_key::SshPublicKeyError;

use crate::api::account::failure_problem;
use crate::api::problem::Problem;
use crate::declared::ApiFailure;

/// Why a request is not met. Nothing of what was sent is in it but names of fields.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// What is no matter of SSH keys: the caller is not let, or the cluster does not do its part.
    Problem(Problem),
    /// The request cannot be used: what is wrong, as a sentence.
    Unusable(String),
    /// What is sent as a public key is none.
    PublicKey(SshPublicKeyError),
    /// The account has as many keys as it may: what to do, as the controller says it.
    LimitReached(String),
    /// Somebody has registered this public key.
    Duplicate,
    /// There is no such key, or it is another account's.
    Absent,
    /// The account is gone.
    NoAccount,
    /// The key is there and does not stand, so that it can be no default: why, as the controller says it.
    NotRegistered(String),
    /// Another key was asked to be the default meanwhile.
    Overtaken,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<ApiFailure> for Refusal {
    fn from(failure: ApiFailure) -> Self {
        Self::Problem(failure_problem(failure))
    }
}

/// [`Refusal::Absent`] in the words of seed 002, for people.
pub(super) fn absent() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "ssh_key_not_found",
        "SSH key not found or does not belong to the authenticated user.",
    )
}
