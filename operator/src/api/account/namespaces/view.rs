//! A namespace as the HTTP API shows it.

use chrono::SecondsFormat;
use keyplane_core::ownership::kubernetes_name;
use keyplane_core::readiness::{Outlook, Reason};
use keyplane_core::seniority::timestamp;
use keyplane_crds::{Condition, ConditionStatus, Namespace, READY};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a namespace is made from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewNamespace {
    /// Its name in the account: lower-case letters, digits and `-`, beginning and ending with a letter or digit. With the
    /// account's name and `-` before it, it has at most 63 characters.
    #[schema(min_length = 1, max_length = 61, pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", example = "web")]
    pub(super) name: String,
}

/// The namespaces of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NamespaceList {
    /// The oldest first.
    pub(super) data: Vec<NamespaceView>,
}

/// A namespace of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Namespace)]
pub(super) struct NamespaceView {
    /// Its id, which `kubernetes_exec.namespace_ids` of a key takes.
    pub(super) id: String,
    /// Its name in the account.
    pub(super) name: String,
    /// Its name in Kubernetes: `kubectl -n`.
    pub(super) kubernetes_name: String,
    /// What has become of it.
    pub(super) status: NamespaceState,
    /// Why it is not ready, as one word: a reason of its condition Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Why it is not ready, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub(super) created_at: String,
}

/// What has become of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NamespaceState {
    /// It is being made.
    Pending,
    /// It can be used.
    Ready,
    /// It is going, with everything in it.
    Deleting,
    /// It cannot be made until somebody mends what the message says.
    Invalid,
}

impl NamespaceView {
    /// What is shown of a namespace.
    pub(super) fn of(namespace: &Namespace) -> Self {
        let status = NamespaceState::of(namespace);
        let told = match status {
            NamespaceState::Pending | NamespaceState::Invalid => verdict(namespace),
            NamespaceState::Ready | NamespaceState::Deleting => None,
        };
        let created = namespace.creation_timestamp().map(|time| timestamp(&time));
        Self {
            id: namespace.uid().unwrap_or_default(),
            name: namespace.name_any(),
            kubernetes_name: kubernetes_name(namespace),
            status,
            reason: told.map(|condition| condition.reason.clone()),
            message: told.map(|condition| condition.message.clone()),
            created_at: created
                .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
                .unwrap_or_default(),
        }
    }
}

impl NamespaceState {
    /// What has become of a namespace.
    pub(super) fn of(namespace: &Namespace) -> Self {
        if namespace.metadata.deletion_timestamp.is_some() {
            return Self::Deleting;
        }
        match verdict(namespace) {
            Some(condition) if condition.status == ConditionStatus::True => Self::Ready,
            Some(condition) if awaits_somebody(&condition.reason) => Self::Invalid,
            _ => Self::Pending,
        }
    }
}

/// What the controller says of the namespace as it is now.
pub(super) fn verdict(namespace: &Namespace) -> Option<&Condition> {
    let status = namespace.status.as_ref()?;
    status.conditions.iter().find(|condition| {
        condition.type_ == READY && condition.observed_generation == namespace.metadata.generation
    })
}

fn awaits_somebody(reason: &str) -> bool {
    let known = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
    known.is_some_and(|known| matches!(known.outlook(), Outlook::AwaitsSomebody | Outlook::Final))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use keyplane_crds::NamespaceStatus;
    use serde_json::json;

    use super::*;

    fn namespace(ready: Option<(bool, Reason)>, generation: i64) -> Namespace {
        let condition = |(is_ready, reason): (bool, Reason)| Condition {
            type_: READY.to_owned(),
            status: if is_ready { ConditionStatus::True } else { ConditionStatus::False },
            reason: reason.as_str().to_owned(),
            message: "why".to_owned(),
            last_transition_time: DateTime::UNIX_EPOCH,
            observed_generation: Some(1),
        };
        let mut namespace: Namespace = serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": "Namespace", "spec": {},
            "metadata": {
                "name": "web", "namespace": "acme", "uid": "u", "creationTimestamp": "2026-11-21T10:00:00Z",
            },
        }))
        .unwrap();
        namespace.metadata.generation = Some(generation);
        namespace.status = ready.map(|ready| NamespaceStatus {
            conditions: vec![condition(ready)],
            ..NamespaceStatus::default()
        });
        namespace
    }

    #[test]
    fn a_status_is_one_of_four_and_tells_why_where_it_is_not_ready() {
        for (ready, generation, status, reason) in [
            (None, 1, "pending", None),
            (Some((false, Reason::Provisioning)), 1, "pending", Some("Provisioning")),
            (Some((false, Reason::ApplyFailed)), 1, "pending", Some("ApplyFailed")),
            (Some((true, Reason::Provisioned)), 1, "ready", None),
            (Some((true, Reason::Provisioned)), 2, "pending", None),
            (Some((false, Reason::NameTaken)), 1, "invalid", Some("NameTaken")),
            (Some((false, Reason::LimitReached)), 1, "invalid", Some("LimitReached")),
        ] {
            let shown = serde_json::to_value(NamespaceView::of(&namespace(ready, generation))).unwrap();
            let mut expected = json!({
                "id": "u", "name": "web", "kubernetes_name": "acme-web", "status": status,
                "created_at": "2026-11-21T10:00:00Z",
            });
            if let Some(reason) = reason {
                expected["reason"] = json!(reason);
                expected["message"] = json!("why");
            }
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn what_is_going_says_so_whatever_it_was() {
        let mut going = namespace(Some((true, Reason::Provisioned)), 1);
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert_eq!(NamespaceState::of(&going), NamespaceState::Deleting);
    }
}
