//! Retried creations: what makes two requests the same one.
//!
//! Nothing is kept but the object itself. Its name follows from the client's key, so that the API server lets one of racing
//! retries make it; an annotation tells whether a later request asks for the same. The client's key itself is not stored.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::key_request::KeyRequest;

/// The annotation with the digest of the request that made a key.
pub const REQUEST_DIGEST_ANNOTATION: &str = "keyplane.dev/request-digest";

/// The longest value of the header `Idempotency-Key`.
const LONGEST: usize = 255;
/// How much of a digest makes a name, in bytes: 128 bits, which nobody finds twice.
const NAME_BYTES: usize = 16;

/// What a client calls one creation of a key, over all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// A text that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Idempotency-Key must be one header of 1 to 255 visible ASCII characters, such as a UUID")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Reads the header's value.
    ///
    /// # Errors
    /// Unless it is 1 to 255 visible ASCII characters.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidIdempotencyKey> {
        let is_key = (1..=LONGEST).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(value).map_err(|_| InvalidIdempotencyKey)?;
        if is_key { Ok(Self(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }

    /// The name of the key that is made for it in this account.
    #[must_use]
    pub fn object_name(&self, account: &str) -> String {
        let mut hash = Sha256::new();
        for part in ["keyplane idempotency key", account, &self.0] {
            hash.update(part);
            // Neither an account's name nor visible ASCII holds it.
            hash.update([0]);
        }
        let digest = hash.finalize();
        format!("key-{:x}", base16ct::HexDisplay(digest.get(..NAME_BYTES).unwrap_or_default()))
    }
}

impl KeyRequest {
    /// The digest of what is asked for: the same for requests that ask for the same.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        format!("sha256:{:x}", base16ct::HexDisplay(&Sha256::digest(text)))
    }
}
