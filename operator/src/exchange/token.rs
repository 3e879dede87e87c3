//! Minting: a TokenRequest for a key's identity, bound to its anchor Secret.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use keyplane_core::audit::TokenId;
use keyplane_core::seniority::timestamp;
use keyplane_crds::IDENTITIES_NAMESPACE;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use zeroize::Zeroizing;

use super::key_index::Identity;

/// How long the API server may take to mint.
const MINT_LIMIT: Duration = Duration::from_secs(10);

/// A cluster token and the moment from which it is of no use.
pub(crate) struct Token {
    /// The token.
    pub(crate) text: Zeroizing<String>,
    /// Its end.
    pub(crate) expires_at: DateTime<Utc>,
    /// Its identifier by which the API server's audit log names it, where it has one.
    pub(crate) id: Option<TokenId>,
}

/// Why no token could be minted. None of these is the caller's fault.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// The identity or its anchor is not there (any more).
    #[error("the key's identity is not in place: {0}")]
    IdentityMissing(String),
    /// The API server cannot be asked, or refuses.
    #[error("the API server did not issue a token: {0}")]
    Unavailable(String),
}

/// Mints tokens.
pub(crate) struct TokenIssuer {
    service_accounts: Api<ServiceAccount>,
    seconds: i64,
}

impl TokenIssuer {
    /// An issuer of tokens that live for `seconds`.
    pub(crate) fn new(client: Client, seconds: i64) -> Self {
        Self { service_accounts: Api::namespaced(client, IDENTITIES_NAMESPACE), seconds }
    }

    /// A token for an admitted key. It dies with the anchor it is bound to, and says that it ends no later than `end`,
    /// where the key ends by itself: the API server mints none under ten minutes, but the anchor goes then.
    ///
    /// # Errors
    /// When the API server does not issue one.
    pub(crate) async fn issue(
        &self,
        identity: &Identity,
        end: Option<DateTime<Utc>>,
    ) -> Result<Token, TokenError> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: None,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: Some(identity.anchor.clone()),
                    uid: Some(identity.anchor_uid.clone()),
                }),
                expiration_seconds: Some(self.seconds),
            }),
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let minting =
            self.service_accounts.create_token_request(&identity.service_account, &params, &request);
        let answer = tokio::time::timeout(MINT_LIMIT, minting)
            .await
            .map_err(|_| TokenError::Unavailable(format!("no answer within {} s", MINT_LIMIT.as_secs())))?
            .map_err(|error| match error {
                kube::Error::Api(status) if matches!(status.code, 404 | 409) => {
                    TokenError::IdentityMissing(status.message.clone())
                }
                other => TokenError::Unavailable(other.to_string()),
            })?;
        let status = answer.status.unwrap_or_default();
        let (Some(text), Some(minted_end)) = (status.token, status.expiration_timestamp) else {
            return Err(TokenError::Unavailable("an answer without a token".to_owned()));
        };
        let minted_end = timestamp(&minted_end);
        Ok(Token {
            id: TokenId::of(&text),
            text: Zeroizing::new(text),
            expires_at: end.map_or(minted_end, |end| end.min(minted_end)),
        })
    }
}
