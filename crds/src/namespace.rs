//! `Namespace`: a workload namespace that an account owns.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A workload namespace of the account in whose home namespace it stands: provisions a core Namespace named
/// `<account>-<name>` with quota, limits, isolation and Pod Security. Its id is its `metadata.uid`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "keyplane.dev",
    version = "v1alpha1",
    kind = "Namespace",
    plural = "namespaces",
    shortname = "kpns",
    category = "keyplane",
    namespaced,
    status = "NamespaceStatus",
    derive = "PartialEq",
    doc = "A workload namespace of the account in whose home namespace it stands: provisions a core Namespace named <account>-<name> with quota, limits, isolation and Pod Security. Its id is its metadata.uid.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Kubernetes-Name", type_ = "string", json_path = ".status.name", description = "The core Namespace to use with kubectl -n"),
    printcolumn(name = "Id", type_ = "string", json_path = ".status.id", description = "What spec.scope.kubernetesExec.namespaceIds of a key takes"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 61 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("a namespace's name becomes part of a core Namespace's name: lower-case letters, digits and '-', beginning and ending with a letter or digit")
)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSpec {}

/// What the controller observed. Never an input to a decision about rights.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStatus {
    /// The namespace's id: its `metadata.uid`, repeated where people look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The core Namespace that was provisioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `metadata.generation` this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, with its reason and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
