//! `Account`: the home namespace and the owners' RoleBinding.

mod plan;

pub use plan::{ObservedAccount, plan};

use keyplane_crds::{Account, AccountLimits};

/// How many SSH keys an account may have where its limits do not say (seed 002).
pub const DEFAULT_SSH_KEYS: u32 = 25;

/// How many SSH keys of this account may be Ready.
#[must_use]
pub fn ssh_key_limit(account: &Account) -> u32 {
    account
        .spec
        .limits
        .as_ref()
        .and_then(|limits: &AccountLimits| limits.ssh_keys)
        .unwrap_or(DEFAULT_SSH_KEYS)
}
