//! Which account a caller speaks of: the one that they own, or the one that they name.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;
use keyplane_core::account::{owning_subjects, subjects_of};
use keyplane_crds::Account;
use kube::ResourceExt;

use super::session::User;
use crate::index::Indexed;

/// The header that names an account.
const HEADER: &str = "x-keyplane-account";
/// An account's name is no longer than this.
const LONGEST_NAME: usize = 50;

/// Knows whose accounts are.
#[derive(Clone)]
pub(crate) struct AccountChoice {
    accounts: Arc<Indexed<Account>>,
}

/// Why no account is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAccount {
    /// The caller owns none and names none.
    Nothing,
    /// The caller owns several, these, and names none.
    Several(Vec<String>),
    /// The caller names two, or what can be no account's name.
    Unusable,
}

impl AccountChoice {
    /// The look-up keys of an account: whose it is.
    pub(crate) fn keys(account: &Account) -> Vec<String> {
        owning_subjects(account)
    }

    /// One that knows these accounts, which are found by [`AccountChoice::keys`].
    pub(crate) fn new(accounts: Arc<Indexed<Account>>) -> Self {
        Self { accounts }
    }

    /// The account that a request is about. A name that the caller gives is not looked up here: whether they may do
    /// anything in it is RBAC's to say, and until it did, whether it exists is not theirs to know.
    ///
    /// # Errors
    /// When no account is chosen.
    pub(crate) fn of_request(
        &self,
        user: &User,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<String, NoAccount> {
        let lines = headers.get_all(HEADER).iter().map(|line| line.to_str().map_err(|_| NoAccount::Unusable));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let named: BTreeSet<&str> = lines.into_iter().chain(query).collect();
        let mut named = named.into_iter();
        match (named.next(), named.next()) {
            (Some(name), None) if is_name(name) => Ok(name.to_owned()),
            (Some(_), _) => Err(NoAccount::Unusable),
            (None, _) => self.only_of(user),
        }
    }

    fn only_of(&self, user: &User) -> Result<String, NoAccount> {
        let subjects = subjects_of(&user.name, &user.groups);
        let owned: BTreeSet<String> = subjects
            .iter()
            .flat_map(|subject| self.accounts.find(subject))
            .filter(|account| account.metadata.deletion_timestamp.is_none())
            .map(|account| account.name_any())
            .collect();
        let mut names: Vec<String> = owned.into_iter().collect();
        match names.len() {
            0 => Err(NoAccount::Nothing),
            1 => names.pop().ok_or(NoAccount::Nothing),
            _ => Err(NoAccount::Several(names)),
        }
    }
}

/// Whether a text can be an account's name at all.
fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
