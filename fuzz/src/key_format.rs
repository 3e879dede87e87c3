//! What holds of the format of API keys, whatever text it is given.

use std::convert::Infallible;
use std::str::FromStr as _;

use keyplane_core::key_format::{KeyDigest, KeyFormatError as Fault, KeyPrefix, KeyType, PlaintextKey};
use sha2::{Digest as _, Sha256};

/// Holds bytes against the laws: as a text, and as the randomness that a key is made of. Gives whether the text is a key.
///
/// # Panics
/// At a breach.
pub fn check(bytes: &[u8]) -> bool {
    check_made(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    check_parts(text);
    match PlaintextKey::parse(text) {
        Ok(key) => {
            check_key(text, &key);
            true
        }
        Err(fault) => {
            let told = fault.to_string();
            let mut words = text.split_whitespace().filter(|word| word.len() >= 16);
            assert!(!words.any(|word| told.contains(word)), "the message repeats the text");
            false
        }
    }
}

fn check_key(text: &str, key: &PlaintextKey) {
    let (key_type, body) = text.split_once('_').expect("a type");
    assert!(KeyType::from_str(key_type).is_ok_and(|read| read.as_str() == key_type));
    assert!(body.len() == 49 && body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(key.expose(), text);
    assert_eq!(format!("{key:?}"), "[redacted]");
    assert_eq!(key.digest().as_bytes()[..], Sha256::digest(text)[..]);
    assert_eq!(key.prefix().as_str(), &text[..key_type.len() + 5]);
    assert_eq!(KeyPrefix::from_str(key.prefix().as_str()).as_ref(), Ok(&key.prefix()));

    let digest = key.digest().to_string();
    assert_eq!(KeyDigest::from_str(&digest), Ok(key.digest()));
    assert_eq!(PlaintextKey::parse(&digest).err(), Some(Fault::DigestGiven));
    for around in [format!(" {text}"), format!("{text}\n")] {
        assert_eq!(PlaintextKey::parse(&around).err(), Some(Fault::Blank));
    }
    // A checksum of 32 bits misses no change of one character.
    for at in 0..text.len() {
        let by = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
        let changed = format!("{}{by}{}", &text[..at], &text[at + 1..]);
        assert!(PlaintextKey::parse(&changed).is_err(), "a change at {at} passes");
    }
}

/// Every key that is made is read.
fn check_made(bytes: &[u8]) {
    let letters: String = bytes.iter().take(8).map(|byte| char::from(b'a' + byte % 26)).collect();
    let key_type = KeyType::from_str(&letters).unwrap_or_else(|_| KeyType::account());
    // After the bytes come numbers in turn, so that there is always an end.
    let mut source = bytes.iter().copied().chain((0..=u8::MAX).cycle());
    let made: Result<PlaintextKey, Infallible> = PlaintextKey::generate(&key_type, |buffer| {
        buffer.fill_with(|| source.next().unwrap_or_default());
        Ok(())
    });
    let Ok(key) = made;
    let read = PlaintextKey::parse(key.expose()).expect("a key that was made is read");
    check_key(key.expose(), &read);
}

/// What is read as a part of a key is that part, letter by letter.
fn check_parts(text: &str) {
    if let Ok(key_type) = KeyType::from_str(text) {
        assert_eq!(key_type.as_str(), text);
    }
    if let Ok(prefix) = KeyPrefix::from_str(text) {
        assert_eq!(prefix.as_str(), text);
    }
    if let Ok(digest) = KeyDigest::from_str(text) {
        assert_eq!(digest.to_string(), text);
    }
}
