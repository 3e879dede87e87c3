//! Whether a key that someone presented may have a cluster token: the exchange's one question, answered from
//! memory (invariant I1).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_crds::{ApiKey, Condition, READY};

use super::lifecycle::{Standing, standing};
use super::scope::reaches_kubernetes;
use crate::readiness::{Reason, Status};
use crate::seniority::Seniority;

/// Why a presented key gets no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No live key has this digest. Which of unknown, revoked, expired and deleted it is, is not told.
    Unknown,
    /// The key lives, but its scope has no Kubernetes in it.
    NoKubernetes,
    /// The key lives, but its declaration cannot be met; the holder is told what its owner must mend.
    NotReady {
        /// The reason of the condition `Ready`.
        reason: String,
        /// The message of the condition `Ready`.
        message: String,
    },
    /// The key's access is being set up; it will be there shortly.
    SettingUp,
}

/// Decides about the keys that have the presented digest. The oldest of them is the key; an attacker who learns
/// a digest cannot take a key over by declaring it again.
///
/// # Errors
/// The refusal, when no token may be issued.
pub fn admit(candidates: &[Arc<ApiKey>], now: DateTime<Utc>) -> Result<&Arc<ApiKey>, Refusal> {
    let key = holder(candidates).ok_or(Refusal::Unknown)?;
    if standing(key, now) != Standing::Live {
        return Err(Refusal::Unknown);
    }
    if !reaches_kubernetes(&key.spec.scope) {
        return Err(Refusal::NoKubernetes);
    }
    let generation = key.metadata.generation;
    let Some(status) = key.status.as_ref() else { return Err(Refusal::SettingUp) };
    if status.is_ready_at(generation) {
        return Ok(key);
    }
    match ready_condition(&status.conditions) {
        Some(condition) if condition.observed_generation == generation && !is_passing(&condition.reason) => {
            Err(Refusal::NotReady { reason: condition.reason.clone(), message: condition.message.clone() })
        }
        _ => Err(Refusal::SettingUp),
    }
}

/// Of the keys that have one digest, the one that it belongs to: the oldest.
#[must_use]
pub fn holder(candidates: &[Arc<ApiKey>]) -> Option<&Arc<ApiKey>> {
    candidates.iter().min_by_key(|key| Seniority::of(&key.metadata))
}

fn ready_condition(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == READY)
}

/// Whether a reason passes by itself.
fn is_passing(reason: &str) -> bool {
    [Reason::Provisioning, Reason::NamespaceNotReady, Reason::ApplyFailed]
        .iter()
        .any(|passing| passing.as_str() == reason)
}
