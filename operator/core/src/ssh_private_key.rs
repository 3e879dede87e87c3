//! Private keys, which are pasted where a public key belongs more often than one thinks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands in every private key of OpenSSH, PEM (RSA, EC, DSA, PKCS #8, encrypted or not, PGP), `PuTTY` and age.
/// The last is the base64 of `openssh-key-v1`, with which such a key begins when its frame is left out.
const MARKS: [&str; 7] = [
    "PRIVATE KEY",
    "PuTTY-User-Key-File",
    "Private-Lines:",
    "AGE-SECRET-KEY-",
    "age-secret-key-",
    "AGE-PLUGIN-",
    "b3BlbnNzaC1rZXktdjE",
];
/// Characters of base64 that hold the first nine bytes: enough for all that [`is_private_der`] looks at.
const DER_START_LEN: usize = 12;

/// Whether the text holds a private key, whole or without its frame. A comment that says so is refused as well:
/// better than the opposite mistake. The work is linear in the text's length.
#[must_use]
pub fn is_private_key(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark)) || text.split_whitespace().any(is_private_der_base64)
}

/// Whether base64 begins a private key in DER, which is a PEM file without the lines around it.
fn is_private_der_base64(word: &str) -> bool {
    let start = word.get(..DER_START_LEN).and_then(|start| STANDARD.decode(start).ok());
    start.is_some_and(|start| is_private_der(&start))
}

/// A sequence that begins with a version: of PKCS #1 or #8 or the old form of DSA (0, 1), EC (1), PKCS #12 (3).
/// Public keys and certificates in DER begin with another sequence or with a long number.
fn is_private_der(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x30, ..=0x7F, 2, 1, 0 | 1 | 3, ..]
            | [0x30, 0x81, _, 2, 1, 0 | 1 | 3, ..]
            | [0x30, 0x82, _, _, 2, 1, 0 | 1 | 3, ..]
    )
}
