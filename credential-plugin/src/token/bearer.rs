//! The cluster token as the exchange hands it out: a secret until it expires.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// Bytes of a token: client-go puts it into one HTTP header.
const TOKEN_LEN_MAX: usize = 16 * 1024;

/// A bearer token. It prints as `[redacted]` and is wiped from memory when dropped.
///
/// Never empty, at most 16 KiB, and only visible ASCII: anything else would break the `Authorization` header
/// (RFC 6750) or smuggle another one into it.
#[derive(PartialEq, Eq)]
pub struct BearerToken(Zeroizing<String>);

impl BearerToken {
    /// Takes a text as a token, or none when it breaks the rules above.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        let sound =
            !text.is_empty() && text.len() <= TOKEN_LEN_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then_some(Self(text))
    }

    /// The token itself, for a header.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Serialize for BearerToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BearerToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).ok_or_else(|| de::Error::custom("the token is empty, too long, or not visible ASCII"))
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
