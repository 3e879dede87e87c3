//! What a key looks like in answers.

use chrono::{DateTime, Utc};
use keyplane_core::api_key::{ScopePayload, lock_of, state_at, verdict_of};
use keyplane_core::key_format::KeyPrefix;
use keyplane_core::seniority::timestamp;
use keyplane_crds::{ApiKey, ApiKeyState, ConditionStatus, GrantedNamespace, KEY_PREFIX_ANNOTATION};
use kube::ResourceExt;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{Object, ObjectBuilder, Type};

/// A key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct ApiKeySummary {
    /// Its id.
    pub(super) id: String,
    /// What people call it.
    name: String,
    /// The key's first characters, to tell keys apart by; null where nobody said.
    #[schema(required = true)]
    prefix: Option<String>,
    /// What it may do.
    #[schema(value_type = KeyScopes)]
    scopes: ScopePayload,
    /// Whether it can be used.
    status: KeyStatus,
    /// When it ends; null: not by itself.
    #[schema(required = true)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    #[schema(required = true)]
    created_at: Option<DateTime<Utc>>,
    /// From where it may be used; empty: from everywhere.
    allowed_cidrs: Vec<String>,
    /// When it was last used, as far as that is written down; null: never.
    #[schema(required = true)]
    last_used_at: Option<DateTime<Utc>>,
}

/// A key's state in one word.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyStatus {
    /// Its access is being set up.
    Pending,
    /// It can be used.
    Active,
    /// It was used from addresses outside its list, and is refused until it is unlocked.
    Locked,
    /// Its time is over, for good.
    Expired,
    /// It was revoked, for good.
    Revoked,
    /// Its declaration cannot be met; `reason` and `message` say why.
    Invalid,
}

/// What a key may do: exactly one of these.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[allow(
    dead_code,
    reason = "describes ScopePayload in the OpenAPI document, as the shapes that are accepted"
)]
pub(crate) enum KeyScopes {
    /// Everything the account has.
    All {
        /// true
        #[schema(schema_with = only_true)]
        all: bool,
    },
    /// The inference API only.
    Inference {
        /// true
        #[schema(schema_with = only_true)]
        inference: bool,
    },
    /// The SSH key API only.
    SshKeys {
        /// true
        #[schema(schema_with = only_true)]
        ssh_keys: bool,
    },
    /// kubectl only.
    KubernetesExec {
        /// Where, and as what.
        kubernetes_exec: KeyKubernetesScope,
    },
}

/// A flag that is set or left out.
fn only_true() -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true])).build()
}

/// Where a key may use kubectl: in some namespaces of the account, or in all.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes KubernetesExecPayload in the OpenAPI document")]
pub(crate) struct KeyKubernetesScope {
    /// Namespaces of the account, by id.
    #[schema(max_items = 100, nullable = false)]
    namespace_ids: Option<Vec<String>>,
    /// Namespaces of the account, by name.
    #[schema(max_items = 100, nullable = false)]
    namespaces: Option<Vec<String>>,
    /// Every namespace of the account, those to come included; instead of either list.
    #[schema(schema_with = only_true, required = false)]
    all_namespaces: Option<bool>,
    /// What the key may do there; `edit` when left out.
    #[schema(nullable = false)]
    role: Option<KeyRole>,
}

/// The roles that a key can have in a namespace.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes ClusterRoleName in the OpenAPI document")]
pub(crate) enum KeyRole {
    View,
    Edit,
    Admin,
}

/// An account's keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeyList {
    /// The keys, the oldest first.
    pub(super) data: Vec<ApiKeySummary>,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedApiKey<'a> {
    #[serde(flatten)]
    pub(super) summary: ApiKeySummary,
    /// The key itself. It is shown here, and never again.
    pub(super) key: &'a str,
}

/// A key, with how it was used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeyDetail {
    #[serde(flatten)]
    summary: ApiKeySummary,
    /// How much it was used, as far as that is written down.
    usage: KeyUsage,
    /// Uses from addresses outside its list, the newest first.
    security_events: Vec<KeySecurityEvent>,
    /// Why and since when it is locked; null: it is not.
    #[schema(required = true)]
    lock: Option<KeyLock>,
    /// The namespaces that it reaches now.
    namespaces: Vec<KeyNamespace>,
    /// Which version of the key verifies; null: none yet.
    #[schema(required = true)]
    version: Option<KeyVersion>,
    /// Why it cannot be used, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Why it cannot be used, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
}

/// A key that was just rotated.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiKeyWithKey<'a> {
    #[serde(flatten)]
    pub(super) detail: ApiKeyDetail,
    /// The new key itself. It is shown here, and never again; a key that Keyplane delivers is not shown at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) key: Option<&'a str>,
}

/// How much a key was used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyUsage {
    /// How often.
    count: u64,
    /// When last; null: never.
    #[schema(required = true)]
    last_used_at: Option<DateTime<Utc>>,
    /// From where last; null: never, or from where nobody knows.
    #[schema(required = true)]
    last_used_ip: Option<String>,
}

/// Something that happened to a key, of which its owner should know.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeySecurityEvent {
    /// When; the last time of several.
    time: DateTime<Utc>,
    /// What: `AddressDenied` or `Locked`.
    reason: String,
    /// From which address.
    address: String,
    /// How often.
    count: u64,
}

/// A lock.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyLock {
    /// Since when.
    locked_at: DateTime<Utc>,
    /// Why, as one word.
    reason: String,
    /// The address of the use that locked the key.
    address: String,
}

/// A namespace that a key reaches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyNamespace {
    /// Its id.
    id: String,
    /// Its name in the account.
    name: String,
    /// Its name for `kubectl -n`.
    kubernetes_name: String,
}

/// Which version of a key verifies.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyVersion {
    /// Its number, from 1.
    number: u32,
    /// Since when it verifies.
    since: DateTime<Utc>,
    /// Until when the version before it verifies too; null: it does not.
    #[schema(required = true)]
    previous_until: Option<DateTime<Utc>>,
}

impl From<GrantedNamespace> for KeyNamespace {
    fn from(granted: GrantedNamespace) -> Self {
        Self { id: granted.id, name: granted.name, kubernetes_name: granted.kubernetes_name }
    }
}

impl From<ApiKeyState> for KeyStatus {
    fn from(state: ApiKeyState) -> Self {
        match state {
            ApiKeyState::Pending => Self::Pending,
            ApiKeyState::Active => Self::Active,
            ApiKeyState::Locked => Self::Locked,
            ApiKeyState::Expired => Self::Expired,
            ApiKeyState::Revoked => Self::Revoked,
            ApiKeyState::Invalid => Self::Invalid,
        }
    }
}

impl ApiKeySummary {
    /// A key as it is now.
    pub(super) fn of(key: &ApiKey, now: DateTime<Utc>) -> Self {
        let status = key.status.as_ref();
        Self {
            id: key.uid().unwrap_or_default(),
            name: key.spec.display_name.clone().unwrap_or_else(|| key.name_any()),
            prefix: prefix(key),
            scopes: ScopePayload::from(&key.spec.scope),
            status: state_at(key, now).into(),
            expires_at: key.spec.expires_at,
            created_at: key.metadata.creation_timestamp.as_ref().map(timestamp),
            allowed_cidrs: key.spec.allowed_cidrs.clone(),
            last_used_at: status.and_then(|status| status.usage.as_ref()?.last_used_at),
        }
    }
}

impl ApiKeyDetail {
    /// A key as it is now.
    pub(super) fn of(key: &ApiKey, now: DateTime<Utc>) -> Self {
        let status = key.status.clone().unwrap_or_default();
        let summary = ApiKeySummary::of(key, now);
        let usage = status.usage.unwrap_or_default();
        let not_ready = verdict_of(key).filter(|condition| condition.status != ConditionStatus::True);
        let reaches = matches!(summary.status, KeyStatus::Active);
        let namespaces = status.namespaces.into_iter().filter(|_| reaches);
        Self {
            usage: KeyUsage {
                count: usage.count,
                last_used_at: usage.last_used_at,
                last_used_ip: usage.last_used_ip,
            },
            security_events: status
                .security_events
                .into_iter()
                .map(|event| KeySecurityEvent {
                    time: event.time,
                    reason: event.reason,
                    address: event.address,
                    count: event.count,
                })
                .collect(),
            lock: lock_of(key, now).map(|lock| KeyLock {
                locked_at: lock.locked_at,
                reason: lock.reason.clone(),
                address: lock.address.clone(),
            }),
            namespaces: namespaces.map(KeyNamespace::from).collect(),
            version: status.version.map(|version| KeyVersion {
                number: version.number,
                since: version.since,
                previous_until: version.previous_until,
            }),
            reason: not_ready.map(|condition| condition.reason.clone()),
            message: not_ready.map(|condition| condition.message.clone()),
            summary,
        }
    }
}

/// The display prefix: what the key's maker left, or what the controller says of a key that it made.
fn prefix(key: &ApiKey) -> Option<String> {
    let said = key.status.as_ref().and_then(|status| status.prefix.clone());
    if key.spec.delivery.is_some() {
        return said;
    }
    let left = key.annotations().get(KEY_PREFIX_ANNOTATION).and_then(|text| text.parse::<KeyPrefix>().ok());
    left.map(|prefix| prefix.to_string()).or(said)
}
