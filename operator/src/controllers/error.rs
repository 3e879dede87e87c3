//! What can go wrong while a plan is carried out.

use std::fmt::Display;

use keyplane_core::readiness::Reason;
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
    /// A key that was made cannot be handed over as declared, until something is mended.
    #[error("{message}")]
    Undeliverable {
        /// Why, for the condition.
        reason: Reason,
        /// Why, for a person.
        message: String,
    },
    /// The audit log cannot be written, so nothing may be acknowledged.
    #[error("the audit log cannot be written: {0}")]
    Unrecorded(String),
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
