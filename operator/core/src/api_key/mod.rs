//! `ApiKey`: its lifecycle, what its scope resolves to, which versions of it verify, and what it is given.

mod access;
mod admission;
mod allowed_addresses;
mod children;
mod claim;
mod idempotency;
mod issue;
mod key_request;
mod last_copy;
mod lifecycle;
mod lock;
pub mod locked_uses;
mod observed;
mod plan;
mod presentation;
mod record;
mod required_scope;
mod revocation;
mod room;
mod scope;
mod scope_payload;
mod status;
mod tombstones;
mod unused;
pub mod usage;
mod verdict;

pub use access::describe;
pub use admission::{Admitted, Known, Presented, Refusal, admit, holder, is_allowed_from, recognize};
pub use allowed_addresses::{AllowedAddresses, InvalidEntry};
pub use children::ANCHOR_TYPE;
pub use claim::Claim;
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey, REQUEST_DIGEST_ANNOTATION};
pub use issue::{Issue, Recipient};
pub use key_request::{
    KeyChange, KeyRequest, KeyRequestError, LONGEST_GRACE_SECONDS, LONGEST_NAME, MOST_CIDRS, MOST_NAMESPACES,
    check_expiry, check_ownership, grace_period,
};
pub use lifecycle::{Standing, standing};
pub use lock::{
    ADDRESS_DENIED, AfterDenial, Denial, LOCKED, LockPolicy, MAX_EVENTS, after_denial, is_lifted, lifted_at,
    lock_of,
};
pub use observed::{ObservedApiKey, RecipientKey};
pub use plan::plan;
pub use presentation::{
    is_beyond_limit, is_decided, next_rotation_request, next_unlock, state_at, verdict_of,
};
pub use record::{KeyRecord, Retired, VERSIONS_ANNOTATION, Version};
pub use required_scope::{RequiredScope, UnknownScope};
pub use room::{live_keys, place_of};
pub use scope::{Grant, OwnedNamespace, ScopeError, reaches_kubernetes, resolve};
pub use scope_payload::{KubernetesExecPayload, ScopePayload};
pub use tombstones::{SHARD_LIMIT, Tombstone, digests_of, is_shard, shard_name};
pub use unused::{UNUSED_AFTER, unused_from};
