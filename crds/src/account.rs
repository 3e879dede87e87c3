//! `Account`: a customer of the platform.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, QuantityMap};

/// A customer. Provisions the account's home namespace (a core Namespace of the same name), where the owners
/// declare API keys, SSH keys and namespaces.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "keyplane.dev",
    version = "v1alpha1",
    kind = "Account",
    plural = "accounts",
    shortname = "kpacc",
    category = "keyplane",
    status = "AccountStatus",
    derive = "PartialEq",
    doc = "A customer. Provisions the account's home namespace (a core Namespace of the same name), where the owners declare API keys, SSH keys and namespaces.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Home", type_ = "string", json_path = ".status.homeNamespace", description = "The namespace in which the owners declare their resources"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!(self.metadata.name in ['default', 'kube', 'keyplane']) && !self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('keyplane-')").message("default, kube, keyplane, kube-* and keyplane-* belong to the cluster itself: choose another account name"),
    validation = Rule::new("size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("an account's name becomes the name of its home namespace: at most 50 lower-case letters, digits and '-', beginning and ending with a letter or digit")
)]
#[serde(rename_all = "camelCase")]
pub struct AccountSpec {
    /// Who may declare this account's resources: bound to the ClusterRole `keyplane:account-owner` in the home namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub owners: Vec<Owner>,
    /// How much the account may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<AccountLimits>,
    /// What every namespace of the account is provisioned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_defaults: Option<NamespaceDefaults>,
}

/// An RBAC subject that owns the account.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("self.kind == 'ServiceAccount' ? has(self.namespace) : !has(self.namespace)").message("namespace is required for a ServiceAccount and must be absent for a User or Group")
)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// What kind of subject.
    pub kind: OwnerKind,
    /// The user's, group's or ServiceAccount's name.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
    /// The ServiceAccount's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// The kinds of RBAC subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OwnerKind {
    /// A user, as the API server's authenticator names it.
    User,
    /// A group, as the API server's authenticator names it.
    Group,
    /// A ServiceAccount.
    ServiceAccount,
}

/// How much an account may have. What is beyond a limit is not Ready; the oldest stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLimits {
    /// How many API keys may be live (50 when unset). A key that is live already is never cut by a lower limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 10000))]
    pub active_api_keys: Option<u32>,
    /// How many namespaces may be provisioned (10 when unset). One that stands already is never cut by a lower limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 10000))]
    pub namespaces: Option<u32>,
    /// How many SSH keys may be Ready (25 when unset): the oldest. A lower limit takes the youngest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 10000))]
    pub ssh_keys: Option<u32>,
}

/// What every namespace of the account is provisioned with; unset fields mean Keyplane's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceDefaults {
    /// The Pod Security level that is enforced (`baseline` when unset).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurityLevel>,
    /// The ResourceQuota of each namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_quota: Option<ResourceQuotaDefaults>,
    /// The LimitRange of each namespace: what a container gets that asks for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_range: Option<ContainerDefaults>,
    /// Whether pods of other namespaces are kept out (`Isolated` when unset).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// The Pod Security Standards, as the namespace label `pod-security.kubernetes.io/enforce` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PodSecurityLevel {
    /// Unrestricted.
    Privileged,
    /// Prevents known privilege escalations.
    Baseline,
    /// Current pod hardening practice.
    Restricted,
}

impl PodSecurityLevel {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// A namespace's ResourceQuota.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceQuotaDefaults {
    /// The hard limit for each resource, such as `requests.cpu: "8"` or `pods: 50`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(name, type(self[name]) == int || isQuantity(string(self[name])))").message("each value must be a quantity such as 4, 500m or 16Gi"))]
    pub hard: QuantityMap,
}

/// What the LimitRange gives a container that asks for nothing, and what it refuses.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDefaults {
    /// A container's limits where it names none.
    #[serde(default, skip_serializing_if = "QuantityMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, type(self[name]) == int || isQuantity(string(self[name])))").message("each value must be a quantity such as 4, 500m or 16Gi"))]
    pub default: QuantityMap,
    /// A container's requests where it names none.
    #[serde(default, skip_serializing_if = "QuantityMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, type(self[name]) == int || isQuantity(string(self[name])))").message("each value must be a quantity such as 4, 500m or 16Gi"))]
    pub default_request: QuantityMap,
    /// The most a container may ask for.
    #[serde(default, skip_serializing_if = "QuantityMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, type(self[name]) == int || isQuantity(string(self[name])))").message("each value must be a quantity such as 4, 500m or 16Gi"))]
    pub max: QuantityMap,
}

/// Whether a namespace's pods can be reached from other namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// Only pods of the same namespace reach its pods, until a NetworkPolicy of the tenant's allows more.
    Isolated,
    /// No NetworkPolicy is provisioned.
    None,
}

/// What the controller observed. Never an input to a decision about rights.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// The home namespace, once it is the account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_namespace: Option<String>,
    /// The `metadata.generation` this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, with its reason and what to do, and `WithinLimits`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
