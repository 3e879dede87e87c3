//! What holds of the reader of SSH public keys, whatever bytes it is given. The reference here is written without it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey, SshPublicKeyError as Fault};
use num_bigint::BigUint;
use sha2::{Digest as _, Sha256};

/// All that a message may repeat of a text.
const NAMES: [&str; 24] = [
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-512-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "ssh-dss",
    "ssh-dss-cert-v01@openssh.com",
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-ed448",
    "ssh-rsa",
    "ssh-rsa-cert-v01@openssh.com",
    "ssh-xmss-cert-v01@openssh.com",
    "ssh-xmss@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Holds bytes against the laws: as a text, and, where they begin with a type's name, as the blob of a line. Gives the
/// keys that were accepted.
///
/// # Panics
/// At a breach.
pub fn check(bytes: &[u8]) -> Vec<SshPublicKey> {
    let text = String::from_utf8_lossy(bytes);
    let as_text = check_text(&text);
    assert!(as_text.is_none() || std::str::from_utf8(bytes).is_ok(), "accepted what was not UTF-8");
    let as_blob = name_of(bytes).and_then(|name| check_text(&format!("{name} {}", STANDARD.encode(bytes))));
    as_text.into_iter().chain(as_blob).collect()
}

fn check_text(text: &str) -> Option<SshPublicKey> {
    match SshPublicKey::parse(text) {
        Ok(key) => {
            check_accepted(text, &key);
            Some(key)
        }
        Err(fault) => {
            check_refused(text, fault);
            None
        }
    }
}

fn check_accepted(text: &str, key: &SshPublicKey) {
    assert!(text.len() <= 16 * 1024 && !is_private(text));
    let canonical = key.canonical();
    let (name, base64) = canonical.split_once(' ').expect("two words");
    assert_eq!(name, key.key_type().as_str());
    assert_eq!(STANDARD.decode(base64).expect("base64"), key.blob());
    assert_eq!(
        key.fingerprint(),
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key.blob()))),
        "the fingerprint is that of the blob"
    );
    check_given_blob(text, key);
    check_numbers(key);
    check_comment(&canonical, key);

    let again = SshPublicKey::parse(&canonical).expect("the canonical form is accepted");
    assert_eq!(&again, key);
    assert_eq!(again.canonical(), canonical, "the canonical form is a fixpoint");
    assert_eq!(again.fingerprint(), key.fingerprint());
    assert_eq!(again.comment(), None);

    let longer = STANDARD.encode([key.blob(), &[0]].concat());
    let refused = [
        (format!("no-pty {canonical}"), Fault::Options),
        (format!("{canonical}\n{canonical}"), Fault::ManyLines),
        (format!("{canonical} \u{0}"), Fault::HiddenCharacter),
        (format!("{name} {longer}"), Fault::TrailingBytes),
    ];
    for (text, fault) in refused {
        assert_eq!(SshPublicKey::parse(&text), Err(fault));
    }
}

/// The blob is the one that was given, but for needless zeros before numbers.
fn check_given_blob(text: &str, key: &SshPublicKey) {
    let base64 = text.split_ascii_whitespace().nth(1).expect("a second word");
    let (given, blob) = (STANDARD.decode(base64).expect("base64"), key.blob());
    if matches!(key.key_type(), SshKeyType::Rsa | SshKeyType::Dss) {
        let numbers = |blob| fields(blob).into_iter().map(BigUint::from_bytes_be).collect::<Vec<_>>();
        assert_eq!(numbers(&given), numbers(blob));
        assert!(blob.len() <= given.len());
    } else {
        assert_eq!(given, blob);
    }
}

fn check_numbers(key: &SshPublicKey) {
    let fields = fields(key.blob());
    assert_eq!(fields[0], key.key_type().as_str().as_bytes(), "the blob decides the type");
    let number = |at: usize| {
        let is_canonical = !matches!(fields[at], [0, ..=0x7F, ..] | [0x80..=0xFF, ..] | [0]);
        assert!(is_canonical, "a number has no needless zero and no sign");
        BigUint::from_bytes_be(fields[at])
    };
    let three = BigUint::from(3_u8);
    match key.key_type() {
        SshKeyType::Rsa => {
            let (e, n) = (number(1), number(2));
            assert!((2048..=8192).contains(&n.bits()) && n.bit(0) && e.bit(0) && e >= three);
        }
        SshKeyType::Dss => {
            let (p, q, g, y) = (number(1), number(2), number(3), number(4));
            assert!(p.bits() == 1024 && q.bits() == 160 && p.bit(0) && q.bit(0));
            assert!(&g + 1_u8 < p && &y + 1_u8 < p && g.bits() > 1 && y.bits() > 1);
        }
        SshKeyType::Ed25519 => assert_eq!(fields[1].len(), 32),
        SshKeyType::EcdsaNistP256 => assert!(fields[2].len() == 65 && fields[2][0] == 4),
        SshKeyType::EcdsaNistP384 => assert!(fields[2].len() == 97 && fields[2][0] == 4),
        SshKeyType::EcdsaNistP521 => assert!(fields[2].len() == 133 && fields[2][0] == 4),
    }
}

fn check_comment(canonical: &str, key: &SshPublicKey) {
    if let Some(comment) = key.comment() {
        assert!(comment.len() <= 1024 && !comment.contains(char::is_control));
        let again = SshPublicKey::parse(&format!("{canonical} {comment}")).expect("with its comment");
        assert_eq!(again.comment(), Some(comment));
    }
}

/// A message is made of our own words: what differs from text to text is the name of a type or a number.
fn check_refused(text: &str, fault: Fault) {
    let told = fault.to_string();
    assert!(fault == Fault::PrivateKey || !is_private(text), "a private key is told apart: {told}");
    match fault {
        Fault::Certificate(name)
        | Fault::HardwareKey(name)
        | Fault::SignatureName(name)
        | Fault::UnsupportedType(name) => assert!(NAMES.contains(&name)),
        Fault::TypeMismatch { said, is } => assert!(NAMES.contains(&said) && NAMES.contains(&is)),
        Fault::RsaSize(bits) => assert!(!(2048..=8192).contains(&bits)),
        Fault::PrivateKey => {
            let mut words = text.split_whitespace().filter(|word| word.len() >= 16);
            assert!(!words.any(|word| told.contains(word)), "the message repeats a private key");
        }
        _ => {}
    }
}

/// The name that a blob begins with, if it is one that SSH has.
fn name_of(blob: &[u8]) -> Option<&'static str> {
    let (len, rest) = blob.split_first_chunk()?;
    let name = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    NAMES.into_iter().find(|known| known.as_bytes() == name)
}

/// The fields of a blob that was accepted.
fn fields(blob: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut rest = blob;
    while let Some((len, after)) = rest.split_first_chunk() {
        let (field, after) = after.split_at(u32::from_be_bytes(*len) as usize);
        fields.push(field);
        rest = after;
    }
    assert!(rest.is_empty());
    fields
}

fn is_private(text: &str) -> bool {
    let marks =
        ["PRIVATE KEY", "PuTTY-User-Key-File", "Private-Lines:", "AGE-SECRET-KEY-", "b3BlbnNzaC1rZXktdjE"];
    marks.iter().any(|mark| text.contains(mark))
}
