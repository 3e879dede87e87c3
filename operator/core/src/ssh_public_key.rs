//! What is accepted as an SSH public key, and its one canonical form.
//!
//! The rules are those of the design's section "`SshKey`". The decoded key, not the text before it, decides
//! the type (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4), and the numbers and curve points
//! in it are checked: what `ssh-keygen` or a parser lets pass may still be a key that anyone can log in with.

mod blob;
mod error;
mod number;

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

pub use error::SshPublicKeyError;

use crate::ssh_private_key::is_private_key;

/// The longest text looked at, in bytes: an RSA key of 8192 bits takes 1.4 KiB.
const TEXT_LEN_MAX: usize = 16 * 1024;
/// The longest comment, in bytes.
const COMMENT_LEN_MAX: usize = 1024;
const BLANKS: [char; 2] = [' ', '\t'];

/// Names that OpenSSH has and Keyplane does not take, so that they can be named to whoever pastes one:
/// certificates, hardware keys (`sk-`), kinds of signatures, and rare types.
const REFUSED_NAMES: [&str; 18] = [
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-512-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "ssh-dss-cert-v01@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-ed448",
    "ssh-rsa-cert-v01@openssh.com",
    "ssh-xmss-cert-v01@openssh.com",
    "ssh-xmss@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The types of key that can be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SshKeyType {
    /// `ssh-rsa` (RFC 4253).
    Rsa,
    /// `ssh-dss` (RFC 4253): no current OpenSSH accepts it for login.
    Dss,
    /// `ssh-ed25519` (RFC 8709).
    Ed25519,
    /// `ecdsa-sha2-nistp256` (RFC 5656).
    EcdsaNistP256,
    /// `ecdsa-sha2-nistp384` (RFC 5656).
    EcdsaNistP384,
    /// `ecdsa-sha2-nistp521` (RFC 5656).
    EcdsaNistP521,
}

impl SshKeyType {
    const ALL: [Self; 6] =
        [Self::Rsa, Self::Dss, Self::Ed25519, Self::EcdsaNistP256, Self::EcdsaNistP384, Self::EcdsaNistP521];

    /// The type's name in SSH, such as `ssh-ed25519`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "ssh-rsa",
            Self::Dss => "ssh-dss",
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaNistP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaNistP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaNistP521 => "ecdsa-sha2-nistp521",
        }
    }
}

impl fmt::Display for SshKeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A checked SSH public key in its canonical encoding.
///
/// Two are equal when their keys are, whatever their comments say: that is what makes a duplicate.
#[derive(Clone, Debug)]
pub struct SshPublicKey {
    key_type: SshKeyType,
    blob: Vec<u8>,
    fingerprint: String,
    comment: Option<String>,
}

impl SshPublicKey {
    /// Reads one line as it stands in a `.pub` file: type, base64 and perhaps a comment.
    ///
    /// Total: any text gives a key or an error. The text is looked through for private keys; all other work is
    /// bounded. Blanks and line ends around the line, and several blanks between its parts, are accepted as
    /// `ssh-keygen` does.
    ///
    /// # Errors
    /// The first rule that the text breaks. No error repeats a part of the text.
    pub fn parse(text: &str) -> Result<Self, SshPublicKeyError> {
        let line = one_line(text)?;
        let (type_name, rest) = split_at_blank(line);
        let said = accepted_type(type_name, line)?;
        let (base64, comment) = split_at_blank(rest);
        if comment.len() > COMMENT_LEN_MAX {
            return Err(SshPublicKeyError::CommentTooLong);
        }
        if comment.contains('\t') {
            return Err(SshPublicKeyError::HiddenCharacter);
        }
        if base64.is_empty() {
            return Err(SshPublicKeyError::Base64);
        }
        let given = STANDARD.decode(base64).map_err(|_| SshPublicKeyError::Base64)?;
        let blob = blob::checked(said, &given)?;
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob)));
        let comment = (!comment.is_empty()).then(|| comment.to_owned());
        Ok(Self { key_type: said, blob, fingerprint, comment })
    }

    /// The key's type, as its blob says.
    #[must_use]
    pub const fn key_type(&self) -> SshKeyType {
        self.key_type
    }

    /// `SHA256:` and the unpadded base64 of the canonical blob's SHA-256, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Type and base64 in canonical form, without the comment: what answers show and other programs are given.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{} {}", self.key_type, STANDARD.encode(&self.blob))
    }

    /// The key's canonical wire encoding (RFC 4253 section 6.6).
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// What stood after the key: text of the user's, of up to 1024 bytes, with no control character.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// What the user should know of a key that is accepted nevertheless.
    #[must_use]
    pub const fn warning(&self) -> Option<&'static str> {
        match self.key_type {
            SshKeyType::Dss => Some(
                "ssh-dss is registered, but no current OpenSSH accepts it for login; \
                 make a new key with `ssh-keygen -t ed25519` and register that",
            ),
            _ => None,
        }
    }
}

impl PartialEq for SshPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for SshPublicKey {}

impl Hash for SshPublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.blob.hash(state);
    }
}

/// The single line of a text that may be a public key, without the blanks around it.
fn one_line(text: &str) -> Result<&str, SshPublicKeyError> {
    // Before every other rule: whoever pastes a private key must learn that, and not that it has many lines.
    if is_private_key(text) {
        return Err(SshPublicKeyError::PrivateKey);
    }
    if text.len() > TEXT_LEN_MAX {
        return Err(SshPublicKeyError::TooLong);
    }
    let line = text.trim_matches([' ', '\t', '\r', '\n']);
    if line.is_empty() {
        return Err(SshPublicKeyError::Empty);
    }
    if line.starts_with("-----BEGIN ") || line.starts_with("---- BEGIN ") {
        return Err(SshPublicKeyError::OtherFormat);
    }
    if line.contains(['\n', '\r']) {
        return Err(SshPublicKeyError::ManyLines);
    }
    if line.contains(char::REPLACEMENT_CHARACTER) {
        return Err(SshPublicKeyError::NotUtf8);
    }
    if line.contains(is_hidden) {
        return Err(SshPublicKeyError::HiddenCharacter);
    }
    Ok(line)
}

/// Characters that change how a line looks or where it ends, without being seen, or that look like a blank. The tab is
/// looked at later: it may stand between the parts. Joiners are left: scripts and emoji are written with them.
fn is_hidden(c: char) -> bool {
    let is_control = c.is_control() && c != '\t';
    let is_other_blank = c.is_whitespace() && !BLANKS.contains(&c);
    let is_invisible = matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}' | '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}');
    is_control || is_other_blank || is_invisible
}

/// What stands before the first blank, and what after the blanks that follow.
fn split_at_blank(text: &str) -> (&str, &str) {
    text.split_once(BLANKS).map_or((text, ""), |(first, rest)| (first, rest.trim_start_matches(BLANKS)))
}

/// The type that a line begins with, or why it cannot be taken.
fn accepted_type(name: &str, line: &str) -> Result<SshKeyType, SshPublicKeyError> {
    if let Some(accepted) = SshKeyType::ALL.into_iter().find(|accepted| accepted.as_str() == name) {
        return Ok(accepted);
    }
    if let Some(refused) = known_type(name.as_bytes()) {
        return Err(why_refused(refused));
    }
    if line.split(BLANKS).any(|field| known_type(field.as_bytes()).is_some()) {
        return Err(SshPublicKeyError::Options);
    }
    Err(SshPublicKeyError::UnknownType)
}

/// What to say of a known name that is no accepted type.
fn why_refused(name: &'static str) -> SshPublicKeyError {
    if name.contains("-cert-") {
        SshPublicKeyError::Certificate(name)
    } else if name.starts_with("sk-") {
        SshPublicKeyError::HardwareKey(name)
    } else if name.starts_with("rsa-sha2-") || name.starts_with("webauthn-") {
        SshPublicKeyError::SignatureName(name)
    } else {
        SshPublicKeyError::UnsupportedType(name)
    }
}

/// Our own copy of a type's name, if OpenSSH has that type: a name that is safe to repeat in a message.
fn known_type(name: &[u8]) -> Option<&'static str> {
    let accepted = SshKeyType::ALL.into_iter().map(SshKeyType::as_str);
    accepted.chain(REFUSED_NAMES).find(|known| known.as_bytes() == name)
}
