//! The condition `Ready`, which says how a resource stands and what to do about it.

use serde::Deserialize;

/// A condition.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Which one.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, as one word.
    pub reason: String,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// Which `metadata.generation` it answers.
    pub observed_generation: i64,
}

impl Condition {
    /// Whether it says yes.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Whether waiting may change it: what is under way passes by itself, see docs/conditions.md.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.reason.as_str(), "Provisioning" | "NamespaceNotReady" | "Issuing" | "ApplyFailed")
    }
}

/// The condition `Ready` among these, if it answers this generation.
#[must_use]
pub fn ready(conditions: &[Condition], generation: i64) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.observed_generation == generation)
}
