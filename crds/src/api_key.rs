//! `ApiKey`: a credential with exactly one scope.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A credential with exactly one scope, of the account in whose home namespace it stands.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "keyplane.dev",
    version = "v1alpha1",
    kind = "ApiKey",
    plural = "apikeys",
    shortname = "kpk",
    category = "keyplane",
    namespaced,
    status = "ApiKeyStatus",
    derive = "PartialEq",
    doc = "A credential with exactly one scope, of the account in whose home namespace it stands.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Access", type_ = "string", json_path = ".status.access", description = "What the key may do now"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Prefix", type_ = "string", json_path = ".status.prefix"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Display-Name", type_ = "string", json_path = ".spec.displayName", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 64").message("Key names are limited to 64 characters"),
    validation = Rule::new("!((has(oldSelf.spec.revoked) && oldSelf.spec.revoked) || (has(oldSelf.status) && has(oldSelf.status.state) && oldSelf.status.state in ['Revoked', 'Expired'])) || self.spec == oldSelf.spec").message("Revoked or expired keys cannot be modified").field_path(".spec"),
    validation = Rule::new("!(has(oldSelf.spec.revoked) && oldSelf.spec.revoked) || (has(self.spec.revoked) && self.spec.revoked)").message("Revoked keys cannot be re-enabled").field_path(".spec.revoked")
)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySpec {
    /// What people call the key: up to 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("size(self) <= 64").message("Key names are limited to 64 characters"))]
    pub display_name: Option<String>,
    /// What the key may do: exactly one of `all`, `inference`, `sshKeys` and `kubernetesExec`.
    pub scope: Scope,
    /// When the key ends (RFC 3339, such as `2027-01-01T00:00:00Z`). Unset: it does not end by itself.
    // Not `format: date-time`: the API server's idea of that includes times without a zone, which name no moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$') && timestamp(self) > timestamp('1970-01-01T00:00:00Z')").message("expiresAt must be a time with a zone, such as 2027-01-01T00:00:00Z"))]
    pub expires_at: Option<DateTime<Utc>>,
    /// `sha256:` and the lower-case hex SHA-256 of the whole key: `printf %s "$KEY" | sha256sum`.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("digest must be sha256: and 64 lower-case hexadecimal digits: kubectl-keyplane generate makes a key and its digest"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("digest is immutable: create another ApiKey for another key"))]
    pub digest: String,
    /// Ends the key for good. Once true, always true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<bool>,
}

/// What a key may do. Exactly one of the four is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("(has(self.all) && self.all) || (has(self.inference) && self.inference) || (has(self.sshKeys) && self.sshKeys) || has(self.kubernetesExec)").message("At least one explicit scope is required"),
    validation = Rule::new("!(has(self.all) && self.all) || !((has(self.inference) && self.inference) || (has(self.sshKeys) && self.sshKeys) || has(self.kubernetesExec))").message("all cannot be combined with other scope fields"),
    validation = Rule::new("(has(self.all) && self.all) || (has(self.inference) && self.inference ? 1 : 0) + (has(self.sshKeys) && self.sshKeys ? 1 : 0) + (has(self.kubernetesExec) ? 1 : 0) <= 1").message("Explicit mixed scopes are not supported")
)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Everything the account has: inference, SSH keys, and role admin in all its namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// The inference API only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<bool>,
    /// The SSH key API only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<bool>,
    /// kubectl in the named namespaces of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_exec: Option<KubernetesExec>,
}

/// Which of the account's namespaces a key reaches, and as what.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("(has(self.allNamespaces) && self.allNamespaces) || (has(self.namespaceIds) && size(self.namespaceIds) > 0) || (has(self.namespaces) && size(self.namespaces) > 0)").message("At least one namespace ID is required unless all_namespaces is true"),
    validation = Rule::new("!(has(self.allNamespaces) && self.allNamespaces) || !((has(self.namespaceIds) && size(self.namespaceIds) > 0) || (has(self.namespaces) && size(self.namespaces) > 0))").message("all_namespaces cannot be combined with a list of namespaces")
)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesExec {
    /// Namespaces of the account by id (the Namespace resource's `metadata.uid`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 36)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespace_ids: Vec<String>,
    /// Namespaces of the account by the Namespace resource's name: what a Git repository can know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub namespaces: Vec<String>,
    /// Every namespace of the account, those created later included. Excludes both lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_namespaces: Option<bool>,
    /// What the key may do there (`edit` when unset).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ClusterRoleName>,
}

/// The roles a key can have in a namespace: the ClusterRoles `keyplane:view`, `keyplane:edit` and `keyplane:admin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClusterRoleName {
    /// Read most objects, not Secrets.
    View,
    /// Deploy and change workloads.
    #[default]
    Edit,
    /// Besides, give rights within the namespace.
    Admin,
}

impl ClusterRoleName {
    /// The ClusterRole that a RoleBinding refers to.
    #[must_use]
    pub fn cluster_role(self) -> &'static str {
        match self {
            Self::View => "keyplane:view",
            Self::Edit => "keyplane:edit",
            Self::Admin => "keyplane:admin",
        }
    }

    /// The role's short name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Admin => "admin",
        }
    }
}

/// A key's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiKeyState {
    /// Its access is being set up.
    Pending,
    /// It can be used.
    Active,
    /// Its time is over. Final.
    Expired,
    /// It was revoked. Final.
    Revoked,
    /// Its declaration cannot be met as it stands; the condition Ready says what to mend.
    Invalid,
}

/// What the controller observed. Never an input to a decision about rights.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyStatus {
    /// The key's state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ApiKeyState>,
    /// The key's type and first four characters, such as `kpk_Ab3d`; for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What the key may do now, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// The namespaces the key reaches now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<GrantedNamespace>,
    /// The `metadata.generation` this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, with its reason and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// A namespace that a key reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantedNamespace {
    /// The Namespace resource's `metadata.uid`.
    pub id: String,
    /// The Namespace resource's name.
    pub name: String,
    /// The core Namespace's name.
    pub kubernetes_name: String,
}
