//! `SshKey`, as far as the plugin reads it.

use serde::Deserialize;

use super::Metadata;
use super::condition::{Condition, ready};

/// The resource as kubectl knows it.
pub const RESOURCE: &str = "sshkeys.keyplane.dev";

/// A registered SSH public key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SshKey {
    /// What every object carries.
    pub metadata: Metadata,
    /// What is declared.
    pub spec: SshKeySpec,
    /// What Keyplane observed.
    pub status: SshKeyStatus,
}

/// What is declared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshKeySpec {
    /// One line in OpenSSH format.
    pub public_key: String,
}

/// What Keyplane observed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshKeyStatus {
    /// The type that the key's own bytes name.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// `SHA256:` and the digest of the key's bytes.
    pub fingerprint: Option<String>,
    /// Whether this is the account's default key.
    pub default: bool,
    /// How it stands.
    pub conditions: Vec<Condition>,
}

impl SshKey {
    /// The condition `Ready` of its present spec.
    #[must_use]
    pub fn ready(&self) -> Option<&Condition> {
        ready(&self.status.conditions, self.metadata.generation)
    }

    /// Its type and fingerprint.
    #[must_use]
    pub fn in_short(&self) -> String {
        let type_ = self.status.type_.as_deref().unwrap_or("a key");
        format!("{type_} {}", self.status.fingerprint.as_deref().unwrap_or("no fingerprint"))
    }
}

/// The type and the base64 of an OpenSSH line: what makes the key, whatever its comment.
#[must_use]
pub fn type_and_key(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?))
}
