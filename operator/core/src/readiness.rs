//! The condition `Ready`, those that inform beside it, their fixed lists of reasons, and how they change.

mod document;
mod finding;
mod reason;

use chrono::{DateTime, Utc};
use keyplane_crds::{
    AccountStatus, ApiKeyStatus, Condition, ConditionStatus, NamespaceStatus, READY, SshKeyStatus,
};

pub use document::document;
pub use finding::{Finding, UNUSED, WITHIN_LIMITS};
pub use reason::{LimitsReason, Outlook, Reason, ResourceKind, UnusedReason};

/// A verdict about an object: ready or not, the reason, and what a person should know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the object does what it declares.
    pub ready: bool,
    /// Why.
    pub reason: Reason,
    /// Why, in words, with the remedy.
    pub message: String,
}

impl Readiness {
    /// The object does what it declares.
    pub fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: true, reason, message: message.into() }
    }

    /// The object does not do what it declares.
    pub fn not_ready(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: false, reason, message: message.into() }
    }

    /// The `Ready` condition that says this, keeping the old condition's time when its status is the same.
    #[must_use]
    pub fn condition(
        &self,
        previous: &[Condition],
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Condition {
        stated(READY, self.ready, self.reason.as_str(), &self.message, previous, generation, now)
    }
}

/// A condition, with the time of the previous one of its type when the status is the same.
fn stated(
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    previous: &[Condition],
    generation: Option<i64>,
    now: DateTime<Utc>,
) -> Condition {
    let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
    let since = previous
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map_or_else(|| whole_seconds(now), |condition| condition.last_transition_time);
    Condition {
        type_: type_.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since,
        observed_generation: generation,
    }
}

/// Kubernetes stores times in whole seconds; a fraction would make a status look changed after every read.
fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}

/// A status that carries the condition `Ready`.
pub trait Status: Clone + PartialEq + Default {
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// Replaces the conditions and the generation they answer.
    fn set_conditions(&mut self, conditions: Vec<Condition>, generation: Option<i64>);

    /// This status saying `readiness`.
    #[must_use]
    fn saying(
        mut self,
        readiness: &Readiness,
        previous: &[Condition],
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Self {
        self.set_conditions(vec![readiness.condition(previous, generation, now)], generation);
        self
    }

    /// This status telling `finding` too, beside what it says already. `previous` are the stored conditions: one of the
    /// same type and status lends its time.
    #[must_use]
    fn also(
        mut self,
        finding: &Finding,
        previous: &[Condition],
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut conditions = self.conditions().to_vec();
        conditions.retain(|condition| condition.type_ != finding.condition_type());
        conditions.push(finding.condition(previous, generation, now));
        self.set_conditions(conditions, generation);
        self
    }

    /// Whether the status says `Ready=True` about this generation.
    fn is_ready_at(&self, generation: Option<i64>) -> bool {
        self.conditions().iter().any(|condition| {
            condition.type_ == READY
                && condition.status == ConditionStatus::True
                && condition.observed_generation == generation
        })
    }
}

macro_rules! impl_status {
    ($($status:ty),+) => {$(
        impl Status for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn set_conditions(&mut self, conditions: Vec<Condition>, generation: Option<i64>) {
                self.conditions = conditions;
                self.observed_generation = generation;
            }
        }
    )+};
}

impl_status!(AccountStatus, NamespaceStatus, ApiKeyStatus, SshKeyStatus);
