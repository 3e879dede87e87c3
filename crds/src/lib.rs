//! Keyplane's resources: what users write with `kubectl apply` and what the controller answers in `status`.
//!
//! Each kind is one file. The CEL rules beside the fields are what admission rejects; what admission cannot
//! see (ownership, limits, duplicates) is a condition, decided in `keyplane-core`. The YAML under `generated/`
//! is made from these types by `cargo run -p keyplane-crds --bin generate-crds`.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path; two columns may share either"
)]

mod account;
mod api_key;
mod condition;
mod manifest;
mod namespace;
mod quantities;
mod ssh_key;

pub use account::{
    Account, AccountLimits, AccountSpec, AccountStatus, ContainerDefaults, Isolation, NamespaceDefaults,
    Owner, OwnerKind, PodSecurityLevel, ResourceQuotaDefaults,
};
pub use api_key::{
    ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, ClusterRoleName, Delivery, GrantedNamespace, KeyVersion,
    KubernetesExec, Lock, Revocation, Rotation, Scope, SealedTo, SecurityEvent, Usage,
};
pub use condition::{Condition, ConditionStatus, READY};
pub use manifest::{ManifestError, manifests};
pub use namespace::{Namespace, NamespaceSpec, NamespaceStatus};
pub use quantities::{QuantityMap, QuantityText};
pub use ssh_key::{SshKey, SshKeySpec, SshKeyStatus};

/// The API group of every resource of Keyplane.
pub const GROUP: &str = "keyplane.dev";

/// The namespace that holds every ServiceAccount and anchor Secret of a key, and nothing else: the right to
/// mint tokens is a Role in it, so that Keyplane cannot mint a token for anybody else's ServiceAccount.
pub const IDENTITIES_NAMESPACE: &str = "keyplane-identities";

/// Where `kubectl-keyplane generate` leaves the display prefix (`kpk_Ab3d`) of a key whose plaintext Keyplane
/// never sees. For display only; nothing is decided by it.
pub const KEY_PREFIX_ANNOTATION: &str = "keyplane.dev/key-prefix";
