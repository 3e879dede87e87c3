//! `SshKey`: a registered SSH public key.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::Condition;

/// A registered SSH public key of the account in whose home namespace it stands.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "keyplane.dev",
    version = "v1alpha1",
    kind = "SshKey",
    plural = "sshkeys",
    shortname = "kpssh",
    category = "keyplane",
    namespaced,
    status = "SshKeyStatus",
    derive = "PartialEq",
    doc = "A registered SSH public key of the account in whose home namespace it stands.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(name = "Fingerprint", type_ = "string", json_path = ".status.fingerprint"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".status.default"),
    printcolumn(name = "Display-Name", type_ = "string", json_path = ".spec.displayName", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SshKeySpec {
    /// What people call the key: up to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("size(self) <= 255").message("SSH key names are limited to 255 characters"))]
    pub display_name: Option<String>,
    /// One line in OpenSSH format, as in `~/.ssh/id_ed25519.pub`. Types: ssh-rsa, ssh-dss, ssh-ed25519,
    /// ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521. Immutable.
    #[schemars(length(min = 1, max = 16384))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("publicKey is immutable: delete this SshKey and create another"))]
    pub public_key: String,
    /// Asks for this key to be the account's default. Exactly one Ready key of an account is (`status.default`):
    /// the oldest that asks, else the oldest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
}

/// What the controller observed. Never an input to a decision about rights.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshKeyStatus {
    /// The type that the key's own bytes name, such as `ssh-ed25519`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// `SHA256:` and the unpadded base64 digest of the key's bytes, as `ssh-keygen -l` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whether this is the account's default key.
    #[serde(default)]
    pub default: bool,
    /// The `metadata.generation` this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, with its reason and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
