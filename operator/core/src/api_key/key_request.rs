//! What somebody asks a key to be over HTTP, checked as far as it can be without the account: the rules of seed 003, with a
//! sentence for each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, Datelike, Utc};
use keyplane_crds::{Namespace, Scope};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::allowed_addresses::{AllowedAddresses, InvalidEntry};
use super::scope::{OwnedNamespace, ScopeError, resolve};
use super::scope_payload::ScopePayload;

/// How long a key's name may be, in characters (seed 003).
pub const LONGEST_NAME: usize = 64;
/// How many addresses and networks a key may list.
pub const MOST_CIDRS: usize = 64;
/// How many namespaces a key may name, of ids and of names each.
pub const MOST_NAMESPACES: usize = 100;
/// The longest time that a replaced key goes on to verify, in seconds: 30 days.
pub const LONGEST_GRACE_SECONDS: u32 = 2_592_000;

/// How many texts of a request a sentence repeats, and how many characters of each.
const NAMED: usize = 20;
const NAMED_CHARACTERS: usize = 64;

/// Why a request cannot be met as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyRequestError {
    /// No name.
    #[error("A key needs a name: one that is empty, or blank, tells nobody which key it is")]
    NameEmpty,
    /// More than [`LONGEST_NAME`] characters.
    #[error("Key names are limited to 64 characters")]
    NameTooLong,
    /// Not a time.
    #[error("expires_at must be a time with a zone (RFC 3339), such as 2027-01-01T00:00:00Z")]
    ExpirationUnreadable,
    /// A time that has passed.
    #[error("Expiration must be in the future")]
    ExpirationPast,
    /// One of the shapes that seed 003 rejects.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// More than [`MOST_NAMESPACES`].
    #[error("A key names at most 100 namespaces: use all_namespaces for more")]
    TooManyNamespaces,
    /// Ids or names that are not those of the account's namespaces. Whether another account has them is not told.
    #[error("kubernetes_exec must reference namespaces owned by the current account, and these are not: {}", listed(.0))]
    NamespaceNotOwned(Vec<String>),
    /// An entry that is no address and no network.
    #[error("allowed_cidrs holds {:?}, which is neither an address nor a CIDR: write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32", shortened(.0))]
    AllowedCidr(String),
    /// More than [`MOST_CIDRS`].
    #[error("allowed_cidrs holds at most 64 addresses and CIDRs")]
    TooManyCidrs,
    /// A change of nothing.
    #[error("Nothing is to be changed: give at least one of name, scopes, expires_at and allowed_cidrs")]
    NothingGiven,
    /// Longer than [`LONGEST_GRACE_SECONDS`].
    #[error("grace_period_seconds must be from 0 to 2592000 (30 days)")]
    GracePeriod,
}

impl From<InvalidEntry> for KeyRequestError {
    fn from(InvalidEntry(entry): InvalidEntry) -> Self {
        Self::AllowedCidr(entry)
    }
}

/// A key that is asked for. Equal requests are written equally, however they came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyRequest {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// From where it may be used; empty: from everywhere.
    pub allowed_cidrs: Vec<String>,
}

impl KeyRequest {
    /// Reads one. Whether its expiry lies in the future and the namespaces are the account's is to be asked besides.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(
        name: &str,
        scopes: &ScopePayload,
        expires_at: Option<&str>,
        allowed_cidrs: &[String],
    ) -> Result<Self, KeyRequestError> {
        Ok(Self {
            name: key_name(name)?,
            scope: key_scope(scopes)?,
            expires_at: expires_at.map(moment).transpose()?,
            allowed_cidrs: address_list(allowed_cidrs)?,
        })
    }
}

/// What is to be changed about a key. What is not given stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyChange {
    /// Another name.
    pub name: Option<String>,
    /// Another scope, in place of the whole one before.
    pub scope: Option<Scope>,
    /// Another end, or none.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// Another list of addresses; an empty one takes it away.
    pub allowed_cidrs: Option<Vec<String>>,
}

impl KeyChange {
    /// Reads one. Whether its expiry lies in the future and the namespaces are the account's is to be asked besides.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(
        name: Option<&str>,
        scopes: Option<&ScopePayload>,
        expires_at: Option<Option<&str>>,
        allowed_cidrs: Option<&[String]>,
    ) -> Result<Self, KeyRequestError> {
        let change = Self {
            name: name.map(key_name).transpose()?,
            scope: scopes.map(key_scope).transpose()?,
            expires_at: expires_at.map(|end| end.map(moment).transpose()).transpose()?,
            allowed_cidrs: allowed_cidrs.map(address_list).transpose()?,
        };
        if change == Self::default() { Err(KeyRequestError::NothingGiven) } else { Ok(change) }
    }

    /// The merge patch (RFC 7386) of a `spec` that makes the change, whatever stood there before.
    #[must_use]
    pub fn spec_patch(&self) -> Value {
        let mut patch = serde_json::Map::new();
        if let Some(name) = &self.name {
            patch.insert("displayName".to_owned(), json!(name));
        }
        if let Some(scope) = &self.scope {
            patch.insert("scope".to_owned(), scope_patch(scope));
        }
        if let Some(expires_at) = self.expires_at {
            patch.insert("expiresAt".to_owned(), json!(expires_at));
        }
        if let Some(allowed_cidrs) = &self.allowed_cidrs {
            // No list, not an empty one, means everywhere.
            let list = Some(allowed_cidrs).filter(|list| !list.is_empty());
            patch.insert("allowedCidrs".to_owned(), json!(list));
        }
        Value::Object(patch)
    }
}

/// The merge patch of a `scope` that puts this one in the place of any other: each field is in it.
fn scope_patch(scope: &Scope) -> Value {
    let exec = scope.kubernetes_exec.as_ref().map(|exec| {
        let list = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        json!({
            "namespaceIds": list(&exec.namespace_ids), "namespaces": list(&exec.namespaces),
            "allNamespaces": exec.all_namespaces, "role": exec.role,
        })
    });
    json!({
        "all": scope.all, "inference": scope.inference, "sshKeys": scope.ssh_keys, "kubernetesExec": exec,
    })
}

/// Whether an end that is asked for lies in the future.
///
/// # Errors
/// When it does not.
pub fn check_expiry(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), KeyRequestError> {
    match expires_at {
        Some(end) if end <= now => Err(KeyRequestError::ExpirationPast),
        _ => Ok(()),
    }
}

/// Whether all namespaces that a scope names are among these, which are the account's. One that is being deleted is not.
///
/// # Errors
/// With those that are not.
pub fn check_ownership(scope: &Scope, namespaces: &[Namespace]) -> Result<(), KeyRequestError> {
    let owned: Vec<OwnedNamespace> =
        namespaces.iter().filter_map(|namespace| OwnedNamespace::of(namespace, None)).collect();
    match resolve(scope, &owned) {
        Ok(_) => Ok(()),
        Err(ScopeError::NotOwned(named)) => Err(KeyRequestError::NamespaceNotOwned(named)),
        Err(error) => Err(error.into()),
    }
}

/// A grace period as it is asked for.
///
/// # Errors
/// When it is longer than Keyplane keeps, or negative.
pub fn grace_period(seconds: i64) -> Result<u32, KeyRequestError> {
    let read = u32::try_from(seconds).ok().filter(|seconds| *seconds <= LONGEST_GRACE_SECONDS);
    read.ok_or(KeyRequestError::GracePeriod)
}

fn key_name(name: &str) -> Result<String, KeyRequestError> {
    if name.trim().is_empty() {
        return Err(KeyRequestError::NameEmpty);
    }
    if name.chars().count() > LONGEST_NAME {
        return Err(KeyRequestError::NameTooLong);
    }
    Ok(name.to_owned())
}

fn key_scope(payload: &ScopePayload) -> Result<Scope, KeyRequestError> {
    let mut scope = payload.scope()?;
    if let Some(exec) = &mut scope.kubernetes_exec {
        for list in [&mut exec.namespace_ids, &mut exec.namespaces] {
            without_repetitions(list);
            if list.len() > MOST_NAMESPACES {
                return Err(KeyRequestError::TooManyNamespaces);
            }
        }
    }
    Ok(scope)
}

/// A moment that a resource can hold: the years that Kubernetes' rules know, and no second 60.
fn moment(text: &str) -> Result<DateTime<Utc>, KeyRequestError> {
    let read = DateTime::parse_from_rfc3339(text).map_err(|_| KeyRequestError::ExpirationUnreadable)?;
    let nanoseconds = read.timestamp_subsec_nanos().min(999_999_999);
    DateTime::from_timestamp(read.timestamp(), nanoseconds)
        .filter(|moment| (1..=9999).contains(&moment.year()))
        .ok_or(KeyRequestError::ExpirationUnreadable)
}

fn address_list(entries: &[String]) -> Result<Vec<String>, KeyRequestError> {
    AllowedAddresses::parse(entries)?;
    // The API server takes IPv4 in its own form only.
    if let Some(entry) = entries.iter().find(|entry| is_mapped(entry)) {
        return Err(KeyRequestError::AllowedCidr(entry.clone()));
    }
    let mut list = entries.to_vec();
    without_repetitions(&mut list);
    if list.len() > MOST_CIDRS { Err(KeyRequestError::TooManyCidrs) } else { Ok(list) }
}

fn is_mapped(entry: &str) -> bool {
    let address = entry.split('/').next().and_then(|address| address.parse().ok());
    matches!(address, Some(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some())
}

fn without_repetitions(list: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    list.retain(|entry| seen.insert(entry.clone()));
}

/// Some texts of a request, for a sentence.
fn listed(texts: &[String]) -> String {
    let mut list = texts.iter().take(NAMED).map(|text| shortened(text)).collect::<Vec<_>>().join(", ");
    if texts.len() > NAMED {
        list = format!("{list} and {} more", texts.len() - NAMED);
    }
    list
}

fn shortened(text: &str) -> String {
    text.chars().take(NAMED_CHARACTERS).collect()
}
