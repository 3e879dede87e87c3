//! How much an account may have: the oldest come first, and what stands is not cut by a lower limit.

use std::collections::BTreeMap;

use keyplane_crds::{Account, AccountLimits};

use crate::seniority::Seniority;

/// How many API keys of an account may be live where its limits do not say.
pub const DEFAULT_ACTIVE_API_KEYS: u32 = 50;
/// How many SSH keys of an account may be Ready where its limits do not say (seed 002).
pub const DEFAULT_SSH_KEYS: u32 = 25;
/// How many namespaces of an account may be provisioned where its limits do not say.
pub const DEFAULT_NAMESPACES: u32 = 10;

/// How many API keys of this account may be live.
#[must_use]
pub fn active_api_key_limit(account: &Account) -> u32 {
    limit(account, |limits| limits.active_api_keys, DEFAULT_ACTIVE_API_KEYS)
}

/// How many SSH keys of this account may be Ready.
#[must_use]
pub fn ssh_key_limit(account: &Account) -> u32 {
    limit(account, |limits| limits.ssh_keys, DEFAULT_SSH_KEYS)
}

/// How many namespaces of this account may be provisioned.
#[must_use]
pub fn namespace_limit(account: &Account) -> u32 {
    limit(account, |limits| limits.namespaces, DEFAULT_NAMESPACES)
}

fn limit(account: &Account, of: impl Fn(&AccountLimits) -> Option<u32>, default: u32) -> u32 {
    account.spec.limits.as_ref().and_then(of).unwrap_or(default)
}

/// The places of an account's objects that compete for room, by UID: 0 is the oldest.
#[must_use]
pub fn ranks(contenders: impl IntoIterator<Item = Seniority>) -> BTreeMap<String, u32> {
    let mut contenders: Vec<Seniority> = contenders.into_iter().collect();
    contenders.sort();
    contenders.dedup();
    (0..).zip(contenders).map(|(rank, contender)| (contender.uid().to_owned(), rank)).collect()
}

/// Whether there is room for the object at `rank`, where `limit` is the limit now and `admitted_under` the highest under
/// which the object was admitted before (0: never).
#[must_use]
pub fn has_room(rank: u32, limit: u32, admitted_under: u32) -> bool {
    rank < limit.max(admitted_under)
}
