//! Why a text is not accepted as an SSH public key.

/// Why a text is not accepted as an SSH public key, and what to do about it.
///
/// The messages never repeat the text, which may be a private key: the names in them are Keyplane's own copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshPublicKeyError {
    /// Nothing but blanks.
    #[error("there is no key; paste the content of the .pub file, such as ~/.ssh/id_ed25519.pub")]
    Empty,
    /// More than 16 KiB.
    #[error("the text is longer than 16 KiB, and no key is; paste the content of one .pub file")]
    TooLong,
    /// A private key, whole or in part.
    #[error(
        "this is a private key, which must never leave its owner: treat it as exposed, make a new pair with \
         `ssh-keygen -t ed25519`, and paste the content of the .pub file only"
    )]
    PrivateKey,
    /// PEM that is no private key, or the format of RFC 4716.
    #[error(
        "this is a key in another format; convert it with `ssh-keygen -i -f FILE` (`-m PKCS8` as well, if its \
         first line says BEGIN PUBLIC KEY; `-m PEM`, if it says BEGIN RSA PUBLIC KEY) and paste the one line that \
         it prints"
    )]
    OtherFormat,
    /// Several lines.
    #[error("there is more than one line; a key is one line: paste one key only, with no line break in it")]
    ManyLines,
    /// U+FFFD, which stands where bytes were not UTF-8: the API server's JSON reader puts it there.
    #[error(
        "the line holds what was not UTF-8 text; save the .pub file as UTF-8, or leave out the comment after the \
         key, and paste it again"
    )]
    NotUtf8,
    /// A control character, a tab in the comment, a blank that is none in ASCII, or an invisible character.
    #[error(
        "the line holds a control or invisible character; \
         copy the content of the .pub file again as plain text, or leave out the comment after the key"
    )]
    HiddenCharacter,
    /// Something before the type, as in an `authorized_keys` file.
    #[error(
        "there are options or other words before the key's type, and they are not accepted; \
         paste the line from the type on, as it stands in the .pub file"
    )]
    Options,
    /// Not a key's line at all.
    #[error(
        "the line does not begin with a type of SSH key, such as ssh-ed25519; \
         paste the content of the .pub file, such as ~/.ssh/id_ed25519.pub"
    )]
    UnknownType,
    /// A certificate, by its type's name.
    #[error(
        "{0} is a certificate, not a key; paste the content of the .pub file that it was made from, which has no \
         -cert in its name"
    )]
    Certificate(&'static str),
    /// A key of a hardware token, by its type's name.
    #[error(
        "{0} is a key of a hardware token, and those are not accepted; make a key with `ssh-keygen -t ed25519` and \
         paste the content of its .pub file"
    )]
    HardwareKey(&'static str),
    /// The name of a kind of signatures where the type belongs.
    #[error(
        "{0} is a way to sign and not a type of key; paste the content of the .pub file, whose line begins with \
         the type, such as ssh-rsa"
    )]
    SignatureName(&'static str),
    /// Another type that OpenSSH has and Keyplane does not register, by name.
    #[error(
        "keys of type {0} are not accepted: only ssh-ed25519, ecdsa-sha2-nistp256, -nistp384 and -nistp521, ssh-rsa \
         and ssh-dss are; make a key with `ssh-keygen -t ed25519` and paste the content of its .pub file"
    )]
    UnsupportedType(&'static str),
    /// No base64, or not the canonical one.
    #[error("what follows the type is not whole base64; paste the whole content of the .pub file again")]
    Base64,
    /// Something else than fields of the announced lengths.
    #[error("the key is damaged or cut off; paste the whole content of the .pub file again")]
    Damaged,
    /// More than the key in the base64.
    #[error("the base64 holds more than the key; paste the content of the .pub file again, unchanged")]
    TrailingBytes,
    /// The text before the blob names another type than the blob.
    #[error(
        "the line says {said}, but the key in it is {is}; \
         paste the content of the .pub file again, unchanged"
    )]
    TypeMismatch {
        /// What the text says.
        said: &'static str,
        /// What the blob says.
        is: &'static str,
    },
    /// A modulus of this many bits.
    #[error(
        "the RSA key has {0} bits, and 2048 to 8192 are accepted; make a key with `ssh-keygen -t ed25519` and \
         paste the content of its .pub file"
    )]
    RsaSize(u64),
    /// A modulus that anyone can factor.
    #[error(
        "the RSA key is unsafe: its modulus has a small factor; make a new key with `ssh-keygen -t ed25519` and \
         paste the content of its .pub file"
    )]
    RsaModulus,
    /// An exponent that is even, below 3 or above 64 bits.
    #[error(
        "the RSA key is unsafe: its exponent is not an odd number from 3 to 64 bits; make a new key with \
         `ssh-keygen -t ed25519` and paste the content of its .pub file"
    )]
    RsaExponent,
    /// Numbers that are no DSA key, or one that anyone can sign for.
    #[error(
        "the ssh-dss key is not a valid one of 1024 bits; make a new key with `ssh-keygen -t ed25519` and paste \
         the content of its .pub file"
    )]
    DssNumbers,
    /// A point that is compressed, off the curve, at infinity, another curve's, or of coordinates that no honest key
    /// has.
    #[error(
        "the ECDSA key is not an uncompressed, ordinary point of its curve; paste the content of the .pub file \
         again, or make a new key with `ssh-keygen -t ed25519`"
    )]
    EcdsaPoint,
    /// A point that is not canonical, off the curve or of small order.
    #[error(
        "the Ed25519 key is not a safe point of its curve; paste the content of the .pub file again, or make a \
         new key with `ssh-keygen -t ed25519`"
    )]
    Ed25519Point,
    /// More than 1024 bytes after the key.
    #[error("the comment after the key is longer than 1024 bytes; shorten or remove it")]
    CommentTooLong,
}
