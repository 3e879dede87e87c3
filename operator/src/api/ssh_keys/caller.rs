//! Who manages SSH keys: an API key whose scope includes them, or a person whom RBAC lets.

use http::HeaderMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::api_key::RequiredScope;
use keyplane_core::audit::{Actor, RequestedChange};
use keyplane_core::client_address::ClientAddress;
use keyplane_core::key_format::PlaintextKey;
use keyplane_crds::SshKey;
use kube::ResourceExt;
use std::sync::Arc;

use super::refusal::{Refusal, absent};
use crate::api::account::{AccountApi, AccountCaller, session_problem};
use crate::api::problem::{Problem, key_problem};
use crate::caller::{Credential, KeyCheck, KeyRefused, Verb, bearer};
use crate::declared::Home;

/// What the surfaces for SSH keys need.
pub(crate) struct SshKeyApi {
    /// Decides about keys.
    pub(crate) keys: Arc<KeyCheck>,
    /// Knows people, and writes at the API server.
    pub(crate) account: AccountApi,
}

/// Somebody who may manage an account's SSH keys, or is yet to be asked about.
pub(crate) enum SshKeyCaller<'a> {
    /// An API key. Its scope is its right: it was looked at when the key was admitted.
    Key {
        /// Writes at the API server, with Keyplane's own rights.
        api: &'a AccountApi,
        /// The key's id.
        id: String,
        /// The key's account.
        home: Home,
        /// Where it was used.
        address: Option<ClientAddress>,
    },
    /// A person, whose rights RBAC tells.
    Person(AccountCaller<'a>),
}

impl SshKeyApi {
    /// Whoever presents this key, which counts as a use of it.
    ///
    /// # Errors
    /// Why the key is refused.
    pub(crate) async fn with_key(
        &self,
        key: Option<&PlaintextKey>,
        address: Option<ClientAddress>,
    ) -> Result<SshKeyCaller<'_>, KeyRefused> {
        let admitted = self.keys.admit(key, address, &[RequiredScope::SshKeys]).await?;
        self.keys.used(&admitted, address);
        let key = &admitted.key;
        let home = Home::of(self.account.client.clone(), &key.namespace().unwrap_or_default());
        Ok(SshKeyCaller::Key { api: &self.account, id: key.uid().unwrap_or_default(), home, address })
    }

    /// Whoever stands in `Authorization: Bearer`: a key, or a person with an access token, for whom `account` chooses among
    /// several accounts.
    ///
    /// # Errors
    /// 401 for nobody, 403 for a key that may not, 400 when it is not clear which account is meant.
    pub(crate) async fn with_bearer(
        &self,
        headers: &HeaderMap,
        account: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<SshKeyCaller<'_>, Problem> {
        let key = match bearer(headers) {
            Credential::Key(key) => Some(key),
            Credential::BrokenKey => None,
            Credential::Token(token) => {
                let user = self.account.sessions.user_of(&token, address).await.map_err(session_problem)?;
                return self.account.caller_of(user, headers, account, address).map(SshKeyCaller::Person);
            }
            Credential::None => {
                return self.account.caller(headers, account, address).await.map(SshKeyCaller::Person);
            }
        };
        self.with_key(key.as_ref(), address).await.map_err(key_problem)
    }
}

impl SshKeyCaller<'_> {
    /// The account's home namespace.
    pub(crate) fn home(&self) -> &Home {
        match self {
            Self::Key { home, .. } => home,
            Self::Person(person) => &person.home,
        }
    }

    /// Asks whether the caller may do this with the account's SSH keys.
    ///
    /// # Errors
    /// 403 when they may not.
    pub(crate) async fn may(&self, verb: Verb) -> Result<(), Refusal> {
        match self {
            Self::Key { .. } => Ok(()),
            Self::Person(person) => Ok(person.may::<SshKey>(verb, None).await?),
        }
    }

    /// Finds the SSH key with this id, and asks whether the caller may do this with it.
    ///
    /// # Errors
    /// 403 when they may not; 404 when there is none, or it is another account's.
    pub(crate) async fn find(&self, id: &str, verb: Verb) -> Result<SshKey, Refusal> {
        match self {
            Self::Key { home, .. } => home.find(id).await?.ok_or(Refusal::Absent),
            Self::Person(person) => Ok(person.find(id, verb, absent).await?),
        }
    }

    /// Takes down that the caller asked for a change, before it is made.
    ///
    /// # Errors
    /// 503 when it cannot be taken down: then it must not be made.
    pub(crate) async fn record(&self, change: RequestedChange, metadata: &ObjectMeta) -> Result<(), Refusal> {
        let recorded = match self {
            Self::Key { api, id, home, address } => {
                let actor = Actor { key: Some(id.clone()), ..Actor::default() };
                api.record(actor, home, *address, change, metadata).await
            }
            Self::Person(person) => person.record(change, metadata).await,
        };
        Ok(recorded?)
    }
}
