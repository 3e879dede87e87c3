//! The id of a token, as the API server's audit log has it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Longer than any id that Kubernetes gives.
const LONGEST: usize = 64;

/// The `jti` of a Kubernetes token. The API server's audit log names it as `JTI=<id>`: of the TokenRequest in the annotation
/// `authentication.kubernetes.io/issued-credential-id`, of each later request in `user.extra`, under
/// `authentication.kubernetes.io/credential-id`.
///
/// Only letters, digits and `-`: neither a token nor a key of Keyplane's can be taken for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenId(String);

/// What is read of a token's claims.
#[derive(Deserialize)]
struct Claims {
    jti: String,
}

impl TokenId {
    /// The id of a token (a JWT), which is not verified: whoever asks has it from the API server. `None` when it has
    /// none, or one that Kubernetes does not give.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let is_id = !claims.jti.is_empty()
            && claims.jti.len() <= LONGEST
            && claims.jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_id.then_some(Self(claims.jti))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
