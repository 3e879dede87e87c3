//! `ApiKey`: a credential with exactly one scope.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A credential with exactly one scope, of the account in whose home namespace it stands.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    printcolumn(name = "Last-Used", type_ = "date", json_path = ".status.usage.lastUsedAt", description = "When the key was last used"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Prefix", type_ = "string", json_path = ".status.prefix"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Uses", type_ = "integer", json_path = ".status.usage.count", priority = 1, description = "How often the key was used"),
    printcolumn(name = "Last-Address", type_ = "string", json_path = ".status.usage.lastUsedIp", priority = 1, description = "Where the key was last used from"),
    printcolumn(name = "Display-Name", type_ = "string", json_path = ".spec.displayName", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 64").message("Key names are limited to 64 characters"),
    validation = Rule::new("!((has(oldSelf.spec.revoked) && oldSelf.spec.revoked) || (has(oldSelf.status) && has(oldSelf.status.state) && oldSelf.status.state in ['Revoked', 'Expired'])) || self.spec == oldSelf.spec").message("Revoked or expired keys cannot be modified").field_path(".spec"),
    validation = Rule::new("has(self.spec.digest) != has(self.spec.delivery)").message("exactly one of digest and delivery is required: digest for a key of your own (kubectl-keyplane generate makes one), delivery for a key that Keyplane makes").field_path(".spec"),
    validation = Rule::new("has(self.spec.digest) == has(oldSelf.spec.digest) && (!has(self.spec.delivery) || !has(oldSelf.spec.delivery) || self.spec.delivery == oldSelf.spec.delivery)").message("how a key is made and delivered is fixed: create another ApiKey").field_path(".spec.delivery"),
    validation = Rule::new("!has(self.spec.rotation) || !has(self.spec.rotation.requestedAt) || has(self.spec.delivery)").message("rotation.requestedAt is for keys that Keyplane makes: change digest to rotate a key of your own").field_path(".spec.rotation.requestedAt"),
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
    /// The addresses the key may be used from, as addresses or CIDRs, IPv4 or IPv6; unset: from everywhere. Checked on
    /// every use; three uses from elsewhere within five minutes lock the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 49)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(entry, isCIDR(entry) || isIP(entry))").message("allowedCidrs must hold addresses or CIDRs, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"))]
    pub allowed_cidrs: Vec<String>,
    /// The digest of a key that its holder made: `sha256:` and the lower-case hex SHA-256 of the whole key, as
    /// `printf %s "$KEY" | sha256sum` gives it. Another digest is a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("digest must be sha256: and 64 lower-case hexadecimal digits: kubectl-keyplane generate makes a key and its digest"))]
    pub digest: Option<String>,
    /// Keyplane makes the key, and hands it over here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// How the key is replaced by another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Lifts a lock that is older than this (RFC 3339). A moment to come lifts it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$') && timestamp(self) > timestamp('1970-01-01T00:00:00Z')").message("unlockedAt must be a time with a zone, such as 2027-01-01T00:00:00Z"))]
    pub unlocked_at: Option<DateTime<Utc>>,
    /// Ends the key for good. Once true, always true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<bool>,
}

/// Where Keyplane hands a key over that it made. Exactly one of the two is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.secretName) != has(self.sealedTo)").message("exactly one of secretName and sealedTo is required")
)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The Secret of the home namespace that the key is written to, with a kubeconfig where the scope reaches
    /// Kubernetes. A Secret that is not the key's own is never overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("secretName must be a Secret's name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub secret_name: Option<String>,
    /// Whom the key is sealed to: only they can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_to: Option<SealedTo>,
}

/// Whom a key is encrypted to, with age.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedTo {
    /// The name of an SshKey of the account, of type ssh-ed25519 or ssh-rsa.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("sshKey must be an SshKey's name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub ssh_key: String,
}

/// How a key is replaced by another.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// How long the replaced key goes on verifying, in seconds, up to 30 days. Unset or 0: it dies at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0, max = 2_592_000))]
    pub grace_period_seconds: Option<u32>,
    /// Asks for another key (RFC 3339): a later time than the last one that was asked for. A moment to come asks then.
    /// For keys that Keyplane makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$') && timestamp(self) > timestamp('1970-01-01T00:00:00Z')").message("requestedAt must be a time with a zone, such as 2027-01-01T00:00:00Z"))]
    pub requested_at: Option<DateTime<Utc>>,
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
    /// It was used from addresses outside its list, and refuses to be used until it is unlocked.
    Locked,
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
    /// The digest of the key that verifies, where Keyplane made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Which version of the key verifies, since when, and how long the one before goes on to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<KeyVersion>,
    /// What the key may do now, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// The namespaces the key reaches now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<GrantedNamespace>,
    /// How much the key was used. Written by the API, a little late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Why and since when the key is locked. Written by the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// What happened that its owner should know of, newest first; the newest 20. Written by the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_events: Vec<SecurityEvent>,
    /// How long the key's revocation took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// The key itself, encrypted with age to the SshKey that `delivery.sealedTo` names: `age -d -i ~/.ssh/id_ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_key: Option<String>,
    /// The `metadata.generation` this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, with its reason and what to do, and `Unused`.
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

/// Which version of a key verifies. Each rotation makes another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyVersion {
    /// The version's number, from 1.
    pub number: u32,
    /// Since when it verifies.
    pub since: DateTime<Utc>,
    /// Until when the version before it verifies too, while that lies ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<DateTime<Utc>>,
}

/// How much a key was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// How often.
    #[schemars(with = "i64", range(min = 0))]
    pub count: u64,
    /// When last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<DateTime<Utc>>,
    /// From which address last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_ip: Option<String>,
    /// Which version was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_version: Option<u32>,
}

/// A lock: the key refuses to be used until `spec.unlockedAt` is later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// Since when.
    pub locked_at: DateTime<Utc>,
    /// Why, as one word.
    pub reason: String,
    /// The address of the use that locked it.
    pub address: String,
}

/// Something that happened to a key, of which its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityEvent {
    /// When; the last time of several.
    pub time: DateTime<Utc>,
    /// What, as one word: `AddressDenied` or `Locked`.
    pub reason: String,
    /// From which address.
    pub address: String,
    /// How often.
    #[schemars(with = "i64", range(min = 1))]
    pub count: u64,
}

/// How long a revocation took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// When it was asked for: when Keyplane saw it, or, if it was away then, when it was written.
    pub requested_at: DateTime<Utc>,
    /// After how many milliseconds the slowest exchange refused the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0))]
    pub refused_after_millis: Option<u64>,
    /// After how many milliseconds its RoleBindings were gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 0))]
    pub unbound_after_millis: Option<u64>,
}
