//! What every route of the surface is given: who asks, and about which account.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use http::HeaderMap;
use http::request::Parts;
use keyplane_core::client_address::ClientAddress;

use crate::api::account::{AccountApi, AccountCaller, AccountQuery};
use crate::api::problem::Problem;
use crate::caller::KeyCheck;
use crate::exchange::RequestAddress;

/// What the surface needs.
#[derive(Clone)]
pub(crate) struct ApiKeys {
    /// Knows people, and writes at the API server.
    pub(crate) account: AccountApi,
    /// Tells whether a key works by now.
    pub(crate) keys: Arc<KeyCheck>,
}

/// A request, without its body.
pub(super) struct Asked {
    pub(super) state: ApiKeys,
    pub(super) headers: HeaderMap,
    query: Result<Query<AccountQuery>, QueryRejection>,
    address: Option<ClientAddress>,
}

impl Asked {
    /// Who asks, and which account they mean.
    ///
    /// # Errors
    /// As [`AccountApi::caller`].
    pub(super) async fn caller(&self) -> Result<AccountCaller<'_>, Problem> {
        self.state.account.caller(&self.headers, AccountQuery::account(&self.query), self.address).await
    }
}

impl FromRequestParts<ApiKeys> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ApiKeys) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<RequestAddress>();
        Ok(Self {
            state: state.clone(),
            headers: parts.headers.clone(),
            query: Query::try_from_uri(&parts.uri),
            address: address.and_then(|RequestAddress(address)| address.ok()),
        })
    }
}
