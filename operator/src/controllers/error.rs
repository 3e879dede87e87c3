//! What can go wrong while a plan is carried out.

use std::fmt::Display;

use thiserror::Error;

/// Why an attempt ended early. Every attempt is repeated; the variant decides how soon and what the user is told.
#[derive(Debug, Error)]
pub(crate) enum ReconcileError {
    /// The cluster is not as the plan saw it: another attempt sees it anew.
    #[error("the cluster changed under the plan: {0}")]
    Stale(String),
    /// The API server refuses a derived object, and will again until something is mended.
    #[error("{0}")]
    Refused(String),
    /// The API server could not be asked.
    #[error("the API server cannot be asked: {0}")]
    Unreachable(String),
    /// The attempt took longer than an attempt may.
    #[error("the attempt took longer than {0} s")]
    TimedOut(u64),
}

impl ReconcileError {
    /// Sorts an API error that came up while `object` was written.
    pub(crate) fn of(object: &impl Display, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 409 => {
                Self::Stale(format!("{object}: {}", status.message))
            }
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                Self::Refused(format!("{object}: {}", status.message))
            }
            other => Self::Unreachable(other.to_string()),
        }
    }
}
