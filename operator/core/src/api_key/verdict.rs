//! Whether a key is entitled to what it declares: the rules, each with its reason, in the order in which they are asked.

use chrono::{DateTime, Utc};
use keyplane_crds::{ApiKey, ApiKeyState};

use super::allowed_addresses::AllowedAddresses;
use super::claim::Claim;
use super::issue;
use super::lifecycle::{Standing, standing};
use super::lock::lock_of;
use super::observed::{ObservedApiKey, RecipientKey};
use super::record::KeyRecord;
use super::scope::{Grant, ScopeError, resolve};
use crate::key_format::KeyDigest;
use crate::limits::{active_api_key_limit, has_room};
use crate::namespace::account_not_found;
use crate::readiness::{Readiness, Reason};
use crate::seniority::Seniority;

/// What a key is to have, and what its status says of it.
pub(super) struct Verdict {
    pub(super) state: ApiKeyState,
    /// Whether the key may have anything at all.
    pub(super) is_entitled: bool,
    /// What is granted in Kubernetes.
    pub(super) grant: Option<Grant>,
    pub(super) readiness: Readiness,
}

impl Verdict {
    fn refused(state: ApiKeyState, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, is_entitled: false, grant: None, readiness: Readiness::not_ready(reason, message) }
    }
}

/// Judges a key whose record at this moment is `record`.
pub(super) fn verdict(observed: &ObservedApiKey, record: &KeyRecord, now: DateTime<Utc>) -> Verdict {
    let key = &observed.key;
    let rules = [own_end, own_account, own_lock, own_declaration, own_digest];
    if let Some(refused) = rules.iter().find_map(|rule| rule(observed, record, now)) {
        return refused;
    }
    let grant = match resolve(&key.spec.scope, &observed.namespaces) {
        Err(ScopeError::NotOwned(named)) => {
            return invalid(Reason::NamespaceNotOwned, not_owned(key, &named));
        }
        Err(error) => return invalid(Reason::InvalidScope, error.to_string()),
        Ok(grant) => grant,
    };
    if let Some(refused) = own_place(observed, record).or_else(|| own_recipient(observed, record)) {
        return refused;
    }
    let (state, readiness) = match &grant {
        // First: the kubeconfig that is delivered with a key names its namespaces.
        Some(grant) if !grant.awaited.is_empty() => (ApiKeyState::Pending, awaiting(key, grant)),
        _ if key.spec.delivery.is_some() && record.live.is_none() => {
            let text = "the key is being made and delivered";
            (ApiKeyState::Pending, Readiness::not_ready(Reason::Issuing, text))
        }
        _ => (ApiKeyState::Active, Readiness::ready(Reason::Active, "the key can be used")),
    };
    Verdict { state, is_entitled: true, grant, readiness }
}

fn invalid(reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict::refused(ApiKeyState::Invalid, reason, message)
}

/// A key that was revoked or whose time is over.
fn own_end(observed: &ObservedApiKey, _: &KeyRecord, now: DateTime<Utc>) -> Option<Verdict> {
    match standing(&observed.key, now) {
        Standing::Revoked | Standing::Deleting => Some(Verdict::refused(
            ApiKeyState::Revoked,
            Reason::Revoked,
            "the key was revoked; make another for further use",
        )),
        Standing::Expired => Some(Verdict::refused(
            ApiKeyState::Expired,
            Reason::Expired,
            "the key's time is over; make another for further use",
        )),
        Standing::ExpiredAtCreation => Some(invalid(
            Reason::ExpiredAtCreation,
            "Expiration must be in the future: spec.expiresAt lies before the key's creation; set a later time",
        )),
        Standing::Live => None,
    }
}

fn own_account(observed: &ObservedApiKey, _: &KeyRecord, _: DateTime<Utc>) -> Option<Verdict> {
    let readiness = account_not_found(home(&observed.key));
    observed.account.is_none().then_some(Verdict {
        state: ApiKeyState::Invalid,
        is_entitled: false,
        grant: None,
        readiness,
    })
}

/// A lock takes everything away until it is lifted.
fn own_lock(observed: &ObservedApiKey, _: &KeyRecord, now: DateTime<Utc>) -> Option<Verdict> {
    let lock = lock_of(&observed.key, now)?;
    let since = lock.locked_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let message = format!(
        "locked at {since} after uses from addresses outside spec.allowedCidrs, the last from {}: look at \
         status.securityEvents, mend spec.allowedCidrs, then set spec.unlockedAt to the present time",
        lock.address
    );
    Some(Verdict::refused(ApiKeyState::Locked, Reason::Locked, message))
}

/// What admission rejects; a definition that is older than its rules may hold it nevertheless.
fn own_declaration(observed: &ObservedApiKey, _: &KeyRecord, _: DateTime<Utc>) -> Option<Verdict> {
    let spec = &observed.key.spec;
    let is_digest = spec.digest.as_deref().is_none_or(|digest| digest.parse::<KeyDigest>().is_ok());
    if !is_digest || spec.digest.is_some() == spec.delivery.is_some() {
        return Some(invalid(
            Reason::InvalidDigest,
            "spec.digest must be sha256: and 64 lower-case hexadecimal digits, and the only one of digest and delivery: \
             `kubectl-keyplane generate` makes a key and its digest",
        ));
    }
    let addresses = AllowedAddresses::parse(&spec.allowed_cidrs);
    addresses.err().map(|error| invalid(Reason::InvalidAllowedCidrs, error.to_string()))
}

/// A digest that was revoked before, or that is another key's.
fn own_digest(observed: &ObservedApiKey, record: &KeyRecord, _: DateTime<Utc>) -> Option<Verdict> {
    let live = record.live.as_ref().map(|live| live.digest.as_str());
    let digest = observed.key.spec.digest.as_deref().or(live)?;
    if observed.is_remembered(digest) || record.ended.iter().any(|ended| ended == digest) {
        return Some(invalid(
            Reason::DigestRevoked,
            "a key with this digest was revoked, or replaced by a rotation, and stays so: make a new key with \
             `kubectl-keyplane generate`",
        ));
    }
    let own = Claim { since: record.holds_since(digest), seniority: Seniority::of(&observed.key.metadata) };
    observed.claims_on(digest).iter().any(|rival| *rival < own).then(|| {
        invalid(
            Reason::DuplicateDigest,
            "another ApiKey has the same digest and had it first, and one key cannot be two: make a new key with \
             `kubectl-keyplane generate`",
        )
    })
}

/// The account's limit.
fn own_place(observed: &ObservedApiKey, record: &KeyRecord) -> Option<Verdict> {
    let limit = observed.account.as_deref().map(active_api_key_limit)?;
    (!has_room(observed.rank, limit, record.admitted_under)).then(|| {
        invalid(
            Reason::LimitReached,
            format!(
                "the account may have {limit} live API keys, and older ones take them all: revoke or delete one, and this \
                 one becomes ready by itself"
            ),
        )
    })
}

/// The SSH key to seal to, where a first key is to be sealed.
fn own_recipient(observed: &ObservedApiKey, record: &KeyRecord) -> Option<Verdict> {
    let sealed_to = observed.key.spec.delivery.as_ref()?.sealed_to.as_ref()?;
    if record.live.is_some() {
        return None;
    }
    let name = &sealed_to.ssh_key;
    let home = home(&observed.key);
    match &observed.recipient {
        RecipientKey::Registered(_) => None,
        RecipientKey::Unsupported(key_type) => Some(invalid(
            Reason::RecipientUnsupported,
            format!(
                "SshKey {name} is of type {key_type}; age seals to ssh-ed25519 and ssh-rsa only: name one of those"
            ),
        )),
        RecipientKey::Absent => Some(invalid(
            Reason::RecipientNotReady,
            format!(
                "SshKey {name} is not registered in namespace {home}: `kubectl get sshkeys -n {home}` tells why"
            ),
        )),
    }
}

fn awaiting(key: &ApiKey, grant: &Grant) -> Readiness {
    let names: Vec<_> = grant.awaited.iter().map(|namespace| namespace.name.as_str()).collect();
    let message = format!(
        "waiting for the account's namespace {} to be provisioned: `kubectl get namespaces.keyplane.dev -n {}` tells \
         what it waits for",
        names.join(", "),
        home(key)
    );
    Readiness::not_ready(Reason::NamespaceNotReady, message)
}

/// To whom a key is handed over.
pub(super) fn recipient(observed: &ObservedApiKey) -> Option<issue::Recipient> {
    let delivery = observed.key.spec.delivery.as_ref()?;
    if let Some(name) = &delivery.secret_name {
        return Some(issue::Recipient::Secret(name.clone()));
    }
    let ssh_key = &delivery.sealed_to.as_ref()?.ssh_key;
    Some(match &observed.recipient {
        RecipientKey::Registered(line) => issue::Recipient::SshPublicKey(line.clone()),
        RecipientKey::Unsupported(_) | RecipientKey::Absent => issue::Recipient::Gone(ssh_key.clone()),
    })
}

pub(super) fn home(key: &ApiKey) -> &str {
    key.metadata.namespace.as_deref().unwrap_or_default()
}

/// What to tell about ids or names that are not those of the account's namespaces. Whether another account has them is
/// not told.
fn not_owned(key: &ApiKey, named: &[String]) -> String {
    let home = home(key);
    let mut text = format!(
        "not a namespace of account {home}: {}; `kubectl get namespaces.keyplane.dev -n {home}` lists its namespaces",
        named.join(", ")
    );
    // The core Namespace's name is what people use with kubectl, and so what they write here first.
    let prefix = format!("{home}-");
    if let Some(short) = named.iter().find_map(|name| name.strip_prefix(&prefix)) {
        text = format!("{text}; a namespace is named as in its own resource: {short}, not {prefix}{short}");
    }
    text
}
