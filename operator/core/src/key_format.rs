//! The API key itself: `<type>_<secret><checksum>`, its digest and its display prefix.
//!
//! All rules are those of the section "The key itself" of the design. The secret is 43 characters of
//! base62 (`0-9A-Za-z`) drawn uniformly, 256 bits; the checksum is the CRC-32 (IEEE) of every byte before it,
//! big-endian base62, padded with `0` to 6 characters. What is stored is the SHA-256 of the whole key: no slow
//! hash, because the secret is already 256 random bits.
//!
//! ```
//! use keyplane_core::key_format::PlaintextKey;
//!
//! let key = PlaintextKey::parse("kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v")?;
//! assert_eq!(key.prefix().to_string(), "kpk_0123");
//! assert_eq!(
//!     key.digest().to_string(),
//!     "sha256:f312640e71e551a8e1a86d5c0165e4bb071f64d371dc87b363a8a1f0b00acdf7"
//! );
//! # Ok::<(), keyplane_core::key_format::KeyFormatError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Characters of the secret: 43 × log2(62) is 256 bits.
const SECRET_LEN: usize = 43;
/// Characters of the checksum: 62⁶ is the first power of 62 above 2³².
const CHECKSUM_LEN: usize = 6;
/// Characters of the secret that the display prefix shows.
const PREFIX_SECRET_LEN: usize = 4;
const TYPE_LEN_MIN: usize = 2;
const TYPE_LEN_MAX: usize = 8;
const KEY_LEN_MAX: usize = TYPE_LEN_MAX + 1 + SECRET_LEN + CHECKSUM_LEN;
const BASE: u8 = 62;
/// Bytes from here on are drawn again: 248 is the last multiple of 62 in a byte, so those below are uniform.
const UNBIASED_BELOW: u8 = 248;
const DIGEST_LABEL: &str = "sha256:";

/// Why a text is not a key, key type, prefix or digest, and what to do about it.
///
/// The messages hold no part of the text: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// A blank or a line end before or after the key.
    #[error("the key begins or ends with a blank or a line end; remove it")]
    Blank,
    /// The digest of a key, given where the key belongs. A digest is never accepted as a key.
    #[error(
        "this is the digest of a key, which opens nothing; \
         use the key itself, as it was shown when it was made"
    )]
    DigestGiven,
    /// No type and underscore at the start.
    #[error(
        "this is not a Keyplane key: a key is a type, an underscore and 49 letters and digits, \
         such as kpk_…; copy the whole key as it was shown when it was made"
    )]
    NotAKey,
    /// Too few or too many characters.
    #[error(
        "the key has the wrong length: 49 letters and digits follow its underscore; \
         copy the whole key again"
    )]
    Length,
    /// A character outside base62 after the underscore.
    #[error(
        "the key holds a character that no key has: only the letters a-z and A-Z and digits follow its \
         underscore; copy the whole key again"
    )]
    Character,
    /// The checksum is not that of the characters before it.
    #[error("the key's checksum does not match: a character was changed or lost; copy the whole key again")]
    Checksum,
    /// Not a key type.
    #[error("a key type is 2 to 8 lower-case letters (a-z), such as kpk; choose such a one")]
    KeyType,
    /// Not a display prefix.
    #[error(
        "a key prefix is the key's type, an underscore and the next 4 characters, such as kpk_Ab3d; \
         give it in that form"
    )]
    Prefix,
    /// Not a digest.
    #[error(
        "a digest is sha256: and 64 lower-case hexadecimal digits; \
         printf %s \"$KEY\" | sha256sum gives the digits"
    )]
    Digest,
}

/// What a key is for, as its first letters: `kpk` for account keys, or what an installation chose.
///
/// Always 2 to 8 lower-case ASCII letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyType(String);

impl KeyType {
    /// The type of account keys, `kpk`.
    #[must_use]
    pub fn account() -> Self {
        Self("kpk".to_owned())
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyType {
    type Err = KeyFormatError;

    /// # Errors
    /// [`KeyFormatError::KeyType`] unless the text is 2 to 8 lower-case ASCII letters.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_key_type(text) { Ok(Self(text.to_owned())) } else { Err(KeyFormatError::KeyType) }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A whole key in plaintext: a secret.
///
/// It is wiped from memory when dropped, prints as `[redacted]`, and can be neither cloned nor serialized.
pub struct PlaintextKey {
    text: Zeroizing<String>,
    type_len: usize,
}

impl PlaintextKey {
    /// Reads a key as its holder presents it. Total: any text gives a key or an error, after bounded work.
    ///
    /// # Errors
    /// The first rule that the text breaks: [`KeyFormatError::Blank`],
    /// [`DigestGiven`](KeyFormatError::DigestGiven), [`Length`](KeyFormatError::Length),
    /// [`NotAKey`](KeyFormatError::NotAKey), [`Character`](KeyFormatError::Character) or
    /// [`Checksum`](KeyFormatError::Checksum).
    pub fn parse(text: &str) -> Result<Self, KeyFormatError> {
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(KeyFormatError::Blank);
        }
        if text.starts_with(DIGEST_LABEL) {
            return Err(KeyFormatError::DigestGiven);
        }
        if text.len() > KEY_LEN_MAX {
            return Err(KeyFormatError::Length);
        }
        let (key_type, body) =
            text.split_once('_').filter(|(t, _)| is_key_type(t)).ok_or(KeyFormatError::NotAKey)?;
        if !is_base62(body) {
            return Err(KeyFormatError::Character);
        }
        if body.len() != SECRET_LEN + CHECKSUM_LEN {
            return Err(KeyFormatError::Length);
        }
        let (before, given) =
            text.split_at_checked(key_type.len() + 1 + SECRET_LEN).ok_or(KeyFormatError::Length)?;
        if given != checksum(before) {
            return Err(KeyFormatError::Checksum);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), type_len: key_type.len() })
    }

    /// Makes a new key of a type, from the randomness that `fill` writes into the buffer it is given.
    ///
    /// `fill` must be a cryptographic source, such as the operating system's. Bytes of 248 and more are drawn
    /// again, so that each character is uniform; a source of nothing but such bytes would never end.
    ///
    /// # Errors
    /// Only what `fill` returns.
    pub fn generate<E>(
        key_type: &KeyType,
        mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        // The capacity is the longest key's: growing would leave copies of the secret behind, unwiped.
        let mut text = Zeroizing::new(String::with_capacity(KEY_LEN_MAX));
        text.push_str(key_type.as_str());
        text.push('_');
        let end = text.len() + SECRET_LEN;
        let mut random = Zeroizing::new([0_u8; 64]);
        while text.len() < end {
            fill(random.as_mut_slice())?;
            let missing = end - text.len();
            text.extend(
                random.iter().copied().filter(|byte| *byte < UNBIASED_BELOW).take(missing).map(base62_digit),
            );
        }
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self { text, type_len: key_type.as_str().len() })
    }

    /// The key in plaintext, for the one place that hands it out or sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of the whole key: what is stored in its place.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.text.as_bytes())
    }

    /// The part that may be shown, to tell keys apart: the type and the first 4 characters of the secret.
    #[must_use]
    pub fn prefix(&self) -> KeyPrefix {
        KeyPrefix(self.text.chars().take(self.type_len + 1 + PREFIX_SECRET_LEN).collect())
    }
}

impl fmt::Debug for PlaintextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What may be shown of a key, such as `kpk_Ab3d`: its type and the first 4 characters of its secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyPrefix {
    type Err = KeyFormatError;

    /// # Errors
    /// [`KeyFormatError::Prefix`] unless the text is a key type, an underscore and 4 base62 characters.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('_') {
            Some((key_type, shown))
                if shown.len() == PREFIX_SECRET_LEN && is_key_type(key_type) && is_base62(shown) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(KeyFormatError::Prefix),
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a whole key, as text `sha256:` and 64 lower-case hexadecimal digits.
///
/// It is what `printf %s "$KEY" | sha256sum` gives, and it opens nothing. Where a digest is compared outside a
/// map look-up, [`ConstantTimeEq`] does it without telling how much was equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of the bytes of a whole key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The 32 bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ConstantTimeEq for KeyDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl FromStr for KeyDigest {
    type Err = KeyFormatError;

    /// # Errors
    /// [`KeyFormatError::Digest`] unless the text is `sha256:` and 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(DIGEST_LABEL).ok_or(KeyFormatError::Digest)?;
        let mut bytes = [0; 32];
        match base16ct::lower::decode(digits, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(KeyFormatError::Digest),
        }
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_LABEL}{:x}", base16ct::HexDisplay(&self.0))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_key_type(text: &str) -> bool {
    (TYPE_LEN_MIN..=TYPE_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The character of base62 that a byte, reduced modulo 62, stands for.
fn base62_digit(byte: u8) -> char {
    char::from(match byte % BASE {
        value @ 0..10 => b'0' + value,
        value @ 10..36 => b'A' + (value - 10),
        value => b'a' + (value - 36),
    })
}

/// The checksum that follows these characters in a key.
fn checksum(before: &str) -> String {
    let mut rest = crc32fast::hash(before.as_bytes());
    let mut digits = ['0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        let [.., low] = (rest % u32::from(BASE)).to_be_bytes();
        *digit = base62_digit(low);
        rest /= u32::from(BASE);
    }
    digits.iter().collect()
}
