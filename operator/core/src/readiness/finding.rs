//! What a resource is told besides `Ready`: conditions that inform and take nothing away.

use chrono::{DateTime, Utc};
use keyplane_crds::Condition;

use super::reason::{LimitsReason, UnusedReason};
use super::stated;

/// The condition of an `ApiKey` that says whether it went unused for long.
pub const UNUSED: &str = "Unused";
/// The condition of an Account that says whether it has no more than its limits allow.
pub const WITHIN_LIMITS: &str = "WithinLimits";

/// Something worth telling about a resource, beside whether it is Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    condition: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Finding {
    /// The condition `Unused` of an `ApiKey`: true for the reason `Unused`, false for `InUse`.
    pub fn use_of_key(reason: UnusedReason, message: impl Into<String>) -> Self {
        let holds = reason == UnusedReason::Unused;
        Self { condition: UNUSED, holds, reason: reason.as_str(), message: message.into() }
    }

    /// The condition `WithinLimits` of an Account: true for the reason `WithinLimits`, false for `LimitExceeded`.
    pub fn limits_of_account(reason: LimitsReason, message: impl Into<String>) -> Self {
        let holds = reason == LimitsReason::WithinLimits;
        Self { condition: WITHIN_LIMITS, holds, reason: reason.as_str(), message: message.into() }
    }

    /// The type of the condition that says this.
    #[must_use]
    pub fn condition_type(&self) -> &'static str {
        self.condition
    }

    /// The condition that says this, keeping the old condition's time when its status is the same.
    #[must_use]
    pub fn condition(
        &self,
        previous: &[Condition],
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Condition {
        stated(self.condition, self.holds, self.reason, &self.message, previous, generation, now)
    }
}
