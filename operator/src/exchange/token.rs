//! Minting: a TokenRequest for a key's identity, bound to its anchor Secret.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use keyplane_core::seniority::timestamp;
use keyplane_crds::IDENTITIES_NAMESPACE;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use zeroize::Zeroizing;

use super::key_index::Admitted;

/// How long the API server may take to mint.
const MINT_LIMIT: Duration = Duration::from_secs(10);

/// A cluster token and the moment from which it is of no use.
pub(crate) struct Token {
    /// The token.
    pub(crate) text: Zeroizing<String>,
    /// Its end.
    pub(crate) expires_at: DateTime<Utc>,
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

    /// A token for an admitted key. It dies with the anchor it is bound to, and says that it ends no later than
    /// the key does: the API server mints none under ten minutes, but the anchor goes when the key expires.
    ///
    /// # Errors
    /// When the API server does not issue one.
    pub(crate) async fn issue(&self, admitted: &Admitted) -> Result<Token, TokenError> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: None,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: Some(admitted.identity.clone()),
                    uid: Some(admitted.anchor_uid.clone()),
                }),
                expiration_seconds: Some(self.seconds),
            }),
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let minting = self.service_accounts.create_token_request(&admitted.identity, &params, &request);
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
        let (Some(text), Some(end)) = (status.token, status.expiration_timestamp) else {
            return Err(TokenError::Unavailable("an answer without a token".to_owned()));
        };
        let end = timestamp(&end);
        Ok(Token {
            text: Zeroizing::new(text),
            expires_at: admitted.key.spec.expires_at.map_or(end, |key_end| key_end.min(end)),
        })
    }
}
