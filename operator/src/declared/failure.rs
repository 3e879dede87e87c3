//! Why the API server did not do what was asked.

use thiserror::Error;

use crate::runtime::cause;

/// Why a request to the API server failed.
#[derive(Clone, Debug, Error)]
pub(crate) enum ApiFailure {
    /// The object is not there.
    #[error("it is not there")]
    NotFound,
    /// An object of this name is there already.
    #[error("one of this name is there already")]
    AlreadyExists,
    /// It was changed meanwhile, and again at each attempt.
    #[error("it is being changed by others; try again")]
    Conflict,
    /// Admission refuses it: a rule of the resource's, a policy or a quota of the cluster's.
    #[error("{0}")]
    Rejected(String),
    /// The API server cannot be asked, or does not let Keyplane.
    #[error("{0}")]
    Unavailable(String),
}

impl ApiFailure {
    /// It did not answer in time.
    pub(crate) fn late() -> Self {
        Self::Unavailable("no answer in time".to_owned())
    }
}

impl From<kube::Error> for ApiFailure {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => match (status.code, status.reason.as_str()) {
                (404, _) => Self::NotFound,
                (409, "AlreadyExists") => Self::AlreadyExists,
                (409, _) => Self::Conflict,
                // A policy, a quota or a webhook says Forbidden too. RBAC's own refusal of Keyplane is a fault of the
                // installation, and no caller's.
                (400 | 413 | 422, _) => Self::Rejected(status.message.clone()),
                (403, _) if !is_by_rbac(&status.message) => Self::Rejected(status.message.clone()),
                _ => Self::Unavailable(cause(&error)),
            },
            _ => Self::Unavailable(cause(&error)),
        }
    }
}

/// RBAC names the user it refuses; nothing else does.
fn is_by_rbac(message: &str) -> bool {
    message.contains("User \"system:serviceaccount:") && message.contains("cannot ")
}
