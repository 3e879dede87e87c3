//! `ApiKey`, as far as the plugin reads it.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::condition::{Condition, ready};
use super::{Metadata, time};

/// The resource as kubectl knows it.
pub const RESOURCE: &str = "apikeys.keyplane.dev";
/// The annotation in which a key's maker leaves its display prefix.
pub const PREFIX_ANNOTATION: &str = "keyplane.dev/key-prefix";

/// A key of an account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ApiKey {
    /// What every object carries.
    pub metadata: Metadata,
    /// What is declared.
    pub spec: ApiKeySpec,
    /// What Keyplane observed.
    pub status: ApiKeyStatus,
}

/// What is declared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKeySpec {
    /// What the key may do.
    pub scope: Scope,
    /// When it ends.
    #[serde(deserialize_with = "time")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The digest of a key that its holder made.
    pub digest: Option<String>,
    /// Where Keyplane hands over a key that it makes.
    pub delivery: Option<Delivery>,
    /// How it is replaced by another.
    pub rotation: Rotation,
    /// What lifts a lock that is older.
    #[serde(deserialize_with = "time")]
    pub unlocked_at: Option<DateTime<Utc>>,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// What a key may do: one of the four.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// Everything.
    pub all: bool,
    /// The inference API.
    pub inference: bool,
    /// The SSH key API.
    pub ssh_keys: bool,
    /// kubectl in namespaces.
    pub kubernetes_exec: Option<KubernetesExec>,
}

/// Which namespaces a key reaches, and as what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesExec {
    /// Namespaces by id.
    pub namespace_ids: Vec<String>,
    /// Namespaces by name.
    pub namespaces: Vec<String>,
    /// Every namespace of the account.
    pub all_namespaces: bool,
    /// The role, `edit` when absent.
    pub role: Option<String>,
}

/// Where a key is handed over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delivery {
    /// The Secret of the home namespace.
    pub secret_name: Option<String>,
    /// Whom the key is sealed to.
    pub sealed_to: Option<SealedTo>,
}

/// Whom a key is sealed to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SealedTo {
    /// The name of an `SshKey`.
    pub ssh_key: String,
}

/// How a key is replaced by another.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rotation {
    /// How long the replaced key goes on verifying, in seconds.
    pub grace_period_seconds: Option<u32>,
    /// When another was asked for.
    #[serde(deserialize_with = "time")]
    pub requested_at: Option<DateTime<Utc>>,
}

/// What Keyplane observed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKeyStatus {
    /// Its state in one word.
    pub state: Option<String>,
    /// Its display prefix.
    pub prefix: Option<String>,
    /// The digest of the key that verifies, where Keyplane made it.
    pub digest: Option<String>,
    /// Which version verifies.
    pub version: Option<Version>,
    /// The namespaces that it reaches now.
    pub namespaces: Vec<GrantedNamespace>,
    /// How much it was used.
    pub usage: Usage,
    /// Why and since when it is locked.
    pub lock: Option<Lock>,
    /// What happened, newest first.
    pub security_events: Vec<SecurityEvent>,
    /// How long its revocation took.
    pub revocation: Option<Revocation>,
    /// The key, sealed with age.
    pub sealed_key: Option<String>,
    /// How it stands.
    pub conditions: Vec<Condition>,
}

/// Which version of a key verifies.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// Since when it verifies.
    #[serde(deserialize_with = "time")]
    pub since: Option<DateTime<Utc>>,
    /// Until when the one before verifies too.
    #[serde(deserialize_with = "time")]
    pub previous_until: Option<DateTime<Utc>>,
}

/// A namespace that a key reaches.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrantedNamespace {
    /// Its id.
    pub id: String,
    /// The name of its `Namespace` resource.
    pub name: String,
}

/// How much a key was used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// How often.
    pub count: u64,
    /// When last.
    #[serde(deserialize_with = "time")]
    pub last_used_at: Option<DateTime<Utc>>,
    /// From where last.
    pub last_used_ip: Option<String>,
}

/// Why and since when a key is locked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lock {
    /// Since when.
    #[serde(deserialize_with = "time")]
    pub locked_at: Option<DateTime<Utc>>,
}

/// Something that happened to a key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityEvent {
    /// When.
    #[serde(deserialize_with = "time")]
    pub time: Option<DateTime<Utc>>,
    /// What, as one word.
    pub reason: String,
    /// From which address.
    pub address: String,
    /// How often.
    pub count: u64,
}

/// How long a revocation took, in milliseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Revocation {
    /// Until the slowest exchange refused the key.
    pub refused_after_millis: Option<u64>,
    /// Until its `RoleBindings` were gone.
    pub unbound_after_millis: Option<u64>,
}

impl ApiKey {
    /// The condition `Ready` of its present spec.
    #[must_use]
    pub fn ready(&self) -> Option<&Condition> {
        ready(&self.status.conditions, self.metadata.generation)
    }

    /// Whether it is over, for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.spec.revoked || matches!(self.status.state.as_deref(), Some("Revoked" | "Expired"))
    }

    /// The number of the version that verifies; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.status.version.as_ref().map_or(0, |version| version.number)
    }

    /// What the key may do, in a few words.
    #[must_use]
    pub fn scope_in_short(&self) -> String {
        let scope = &self.spec.scope;
        match &scope.kubernetes_exec {
            _ if scope.all => "all".to_owned(),
            _ if scope.inference => "inference".to_owned(),
            _ if scope.ssh_keys => "ssh-keys".to_owned(),
            Some(kubernetes) => {
                format!("{} in {}", kubernetes.role.as_deref().unwrap_or("edit"), self.reach(kubernetes))
            }
            None => "none".to_owned(),
        }
    }

    fn reach(&self, kubernetes: &KubernetesExec) -> String {
        /// Namespaces that are named; of more, how many.
        const NAMED: usize = 3;
        if kubernetes.all_namespaces {
            return "all namespaces".to_owned();
        }
        let name_of = |id: &String| {
            let granted = self.status.namespaces.iter().find(|granted| granted.id == *id);
            granted.map_or_else(|| id.clone(), |granted| granted.name.clone())
        };
        let mut names = kubernetes.namespaces.clone();
        names.extend(kubernetes.namespace_ids.iter().map(name_of));
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let list = names.join(",");
        if more == 0 { list } else { format!("{list} and {more} more") }
    }
}
