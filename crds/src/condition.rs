//! The condition every resource carries, as Kubernetes' API conventions shape it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The one condition type that says whether a resource does what it declares (`kubectl wait --for=condition=Ready`).
pub const READY: &str = "Ready";

/// One observation about a resource (`metav1.Condition`). Declared here, not taken from k8s-openapi, because
/// our own types keep time as chrono.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, such as `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one word from the fixed list in docs/conditions.md.
    pub reason: String,
    /// Why, for a person: what is wrong, where, and what to do.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: DateTime<Utc>,
    /// The `metadata.generation` this was observed at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told yet.
    Unknown,
}
