//! What a key may do, as HTTP and as kubectl say it.

use keyplane_crds::Scope;
use serde_json::{Value, json};

use super::chance::Chance;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Inference,
    Everywhere,
    In(&'static [&'static str], &'static str),
}

const ALL: [Reach; 6] = [
    Reach::Inference,
    Reach::Everywhere,
    Reach::In(&["web"], "view"),
    Reach::In(&["web"], "edit"),
    Reach::In(&["web", "jobs"], "edit"),
    Reach::In(&["jobs"], "admin"),
];

impl Reach {
    pub(super) fn any(chance: &mut Chance) -> Self {
        chance.of(&ALL)
    }

    /// `scopes` of the HTTP API.
    pub(super) fn http(self) -> Value {
        match self {
            Self::Inference => json!({"inference": true}),
            Self::Everywhere => json!({"kubernetes_exec": {"all_namespaces": true, "role": "view"}}),
            Self::In(names, role) => json!({"kubernetes_exec": {"namespaces": names, "role": role}}),
        }
    }

    /// `spec.scope`.
    pub(super) fn spec(self) -> Value {
        match self {
            Self::Inference => json!({"inference": true}),
            Self::Everywhere => json!({"kubernetesExec": {"allNamespaces": true, "role": "view"}}),
            Self::In(names, role) => json!({"kubernetesExec": {"namespaces": names, "role": role}}),
        }
    }

    /// A merge patch that makes `spec.scope` this, whatever it was.
    pub(super) fn patch(self) -> Value {
        match self {
            Self::Inference => json!({"inference": true, "kubernetesExec": null}),
            Self::Everywhere => {
                json!({"inference": null, "kubernetesExec": {"allNamespaces": true, "namespaces": null, "role": "view"}})
            }
            Self::In(names, role) => {
                json!({"inference": null, "kubernetesExec": {"allNamespaces": null, "namespaces": names, "role": role}})
            }
        }
    }

    pub(super) fn is(self, scope: &Scope) -> bool {
        json!(scope) == self.spec()
    }

    pub(super) fn has_kubernetes(self) -> bool {
        self != Self::Inference
    }
}
