//! Access tokens: whoever the API server says that the bearer is (`TokenReview`), and nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use keyplane_core::audit::RefusalReason;
use keyplane_core::client_address::ClientAddress;
use kube::Client;
use secrecy::{ExposeSecret, SecretString};

use super::credential::{Credential, bearer};
use crate::audit::{self, RefusalLog};
use crate::declared::ApiFailure;
use crate::exchange::{FailedAuthentications, TokenReviews};

/// How long the API server may take to answer.
const REVIEW_LIMIT: Duration = Duration::from_secs(10);

/// Somebody whom the API server knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// The user name.
    pub(crate) name: String,
    /// The UID, where the authenticator gives one.
    pub(crate) uid: Option<String>,
    /// The groups.
    pub(crate) groups: Vec<String>,
    /// What else the authenticator says.
    pub(crate) extra: Option<BTreeMap<String, Vec<String>>>,
}

/// Why a caller is nobody.
#[derive(Clone, Debug)]
pub(crate) enum NoSession {
    /// There is no access token.
    Missing,
    /// The API server does not accept it.
    Invalid,
    /// The API server does not say.
    Unknown(ApiFailure),
    /// So many tokens from the same address were none that the API server is not asked about this one.
    TooManyFailures(Duration),
}

/// Recognizes callers by their access tokens.
#[derive(Clone)]
pub(crate) struct Sessions {
    reviews: TokenReviews,
    refusals: RefusalLog,
    failures: FailedAuthentications,
}

impl Sessions {
    /// One that asks through this client.
    pub(crate) fn new(client: Client, refusals: RefusalLog, failures: FailedAuthentications) -> Self {
        Self { reviews: TokenReviews::new(client), refusals, failures }
    }

    /// Who calls. An API key is no access token, and is not shown to the API server.
    ///
    /// # Errors
    /// When it is nobody; that is taken down by then.
    pub(crate) async fn user(
        &self,
        headers: &HeaderMap,
        client: Option<ClientAddress>,
    ) -> Result<User, NoSession> {
        match bearer(headers) {
            Credential::Token(token) => self.user_of(&token, client).await,
            Credential::None | Credential::Key(_) | Credential::BrokenKey => {
                self.take_down(RefusalReason::MissingToken, client).await;
                Err(NoSession::Missing)
            }
        }
    }

    /// Who the bearer of this token is.
    ///
    /// # Errors
    /// When it is nobody; that is taken down by then.
    pub(crate) async fn user_of(
        &self,
        token: &SecretString,
        client: Option<ClientAddress>,
    ) -> Result<User, NoSession> {
        let address = client.map(|client| client.ip);
        if let Some(pause) = self.failures.is_exhausted(address) {
            return Err(NoSession::TooManyFailures(pause));
        }
        let known = self.reviews.bearer_of(token.expose_secret(), REVIEW_LIMIT).await;
        let known = known.map_err(NoSession::Unknown)?;
        let Some((user, name)) = known.and_then(|mut user| user.username.take().map(|name| (user, name)))
        else {
            self.failures.failed(address);
            self.take_down(RefusalReason::InvalidToken, client).await;
            return Err(NoSession::Invalid);
        };
        Ok(User { name, uid: user.uid, groups: user.groups.unwrap_or_default(), extra: user.extra })
    }

    async fn take_down(&self, reason: RefusalReason, client: Option<ClientAddress>) {
        let refusal =
            audit::Refusal { reason, subject: None, client, message: None, version: None, actor: None };
        if let Err(error) = self.refusals.refused(refusal).await {
            tracing::warn!(%error, "the audit log cannot be written");
        }
    }
}
