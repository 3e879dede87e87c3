//! The laws of the API key's format: what is made is read again, and what was changed is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::convert::Infallible;

use keyplane_core::key_format::{KeyDigest, KeyFormatError, KeyPrefix, KeyType, PlaintextKey};
use proptest::prelude::*;
use subtle::ConstantTimeEq as _;

const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Its secret is the first 43 characters of the alphabet.
const KNOWN_KEY: &str = "kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v";
/// As `printf %s "$KNOWN_KEY" | sha256sum` printed it.
const KNOWN_DIGEST: &str = "sha256:f312640e71e551a8e1a86d5c0165e4bb071f64d371dc87b363a8a1f0b00acdf7";
/// A key whose CRC-32 is small, so that its checksum `000aB7` is padded. Made with another implementation.
const PADDED_KEY: &str = "kpk_dW9GyHNY9ei66yus2YPAjVDUDvvyt8nJMiXp5cl7k3j000aB7";
const PADDED_DIGEST: &str = "sha256:53c309ac53a238a525aa4a92c0b46d783bf529c1efd53d4b0a40c9042cbc6521";

const SECRET_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;

/// A key from a stream of bytes; xorshift continues the stream, because a few of the bytes are drawn again.
fn key_from(key_type: &KeyType, seed: u64) -> PlaintextKey {
    let mut state = seed | 1;
    let made: Result<PlaintextKey, Infallible> = PlaintextKey::generate(key_type, |buffer| {
        for byte in buffer {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_be_bytes()[3];
        }
        Ok(())
    });
    let Ok(key) = made;
    key
}

fn key_types() -> impl Strategy<Value = KeyType> {
    "[a-z]{2,8}".prop_map(|text| text.parse().unwrap())
}

fn keys() -> impl Strategy<Value = PlaintextKey> {
    (key_types(), any::<u64>()).prop_map(|(key_type, seed)| key_from(&key_type, seed))
}

fn replaced(text: &str, at: usize, by: char) -> String {
    text.chars().enumerate().map(|(i, c)| if i == at { by } else { c }).collect()
}

fn refused(text: &str) -> bool {
    PlaintextKey::parse(text).is_err()
}

#[test]
fn known_keys_have_their_known_digests() {
    for (key, digest) in [(KNOWN_KEY, KNOWN_DIGEST), (PADDED_KEY, PADDED_DIGEST)] {
        assert_eq!(PlaintextKey::parse(key).unwrap().digest().to_string(), digest);
    }
}

#[test]
fn the_known_key_is_what_its_bytes_generate() {
    // 248 and more are drawn again and must leave no trace.
    let mut bytes = (0..43_u8).flat_map(|n| [n, 248 + n % 8]).cycle();
    let made: Result<_, Infallible> = PlaintextKey::generate(&KeyType::account(), |buffer| {
        buffer.fill_with(|| bytes.next().unwrap());
        Ok(())
    });
    assert_eq!(made.unwrap().expose(), KNOWN_KEY);
}

#[test]
fn bytes_below_248_give_each_character_exactly_four_times() {
    let mut count = std::collections::BTreeMap::<char, u32>::new();
    for byte in 0..248_u8 {
        let made: Result<_, Infallible> = PlaintextKey::generate(&KeyType::account(), |buffer| {
            buffer.fill(byte);
            Ok(())
        });
        *count.entry(made.unwrap().expose().chars().nth(4).unwrap()).or_default() += 1;
    }
    assert_eq!(count.keys().collect::<String>(), ALPHABET);
    assert!(count.values().all(|n| *n == 4), "{count:?}");
}

#[test]
fn every_character_of_the_alphabet_appears_in_generated_secrets() {
    let seen: BTreeSet<char> = (1..=100_u64)
        .flat_map(|seed| {
            let key = key_from(&KeyType::account(), seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            key.expose().chars().skip(4).take(SECRET_LEN).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(seen.into_iter().collect::<String>(), ALPHABET);
}

#[test]
fn a_failing_source_of_randomness_makes_no_key() {
    let made = PlaintextKey::generate(&KeyType::account(), |_| Err("no entropy"));
    assert_eq!(made.unwrap_err(), "no entropy");
}

/// What the CRC register holds after the type decides whether a change of the type is noticed, whatever the
/// secret: the rest of the key maps different registers to different checksums. So one secret proves it for all.
#[test]
fn every_insertion_and_deletion_in_the_type_kpk_is_refused() {
    for at in 0..=3 {
        for letter in 'a'..='z' {
            let (before, after) = KNOWN_KEY.split_at(at);
            assert!(refused(&format!("{before}{letter}{after}")), "{letter} inserted at {at}");
        }
    }
    for at in 0..3 {
        let mut text = KNOWN_KEY.to_owned();
        text.remove(at);
        assert!(refused(&text), "deleted at {at}");
    }
}

#[test]
fn each_fault_of_a_key_has_its_own_error() {
    let rows = [
        ("", KeyFormatError::NotAKey),
        ("kpk", KeyFormatError::NotAKey),
        ("_", KeyFormatError::NotAKey),
        ("kpk_", KeyFormatError::Length),
        ("k_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v", KeyFormatError::NotAKey),
        ("KPK_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v", KeyFormatError::NotAKey),
        ("kpkpkpkpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v", KeyFormatError::Length),
        ("kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0", KeyFormatError::Length),
        ("kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0w", KeyFormatError::Checksum),
        ("kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef-3yPc0v", KeyFormatError::Character),
        ("kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefé3yPc0v", KeyFormatError::Character),
        (KNOWN_DIGEST, KeyFormatError::DigestGiven),
    ];
    for (text, error) in rows {
        assert_eq!(PlaintextKey::parse(text).unwrap_err(), error, "{text:?}");
    }
    for blank in [" ", "\n", "\r\n", "\t", "\u{a0}"] {
        let fault = PlaintextKey::parse(&format!("{KNOWN_KEY}{blank}")).unwrap_err();
        assert_eq!(fault, KeyFormatError::Blank, "{blank:?} after");
        let fault = PlaintextKey::parse(&format!("{blank}{KNOWN_KEY}")).unwrap_err();
        assert_eq!(fault, KeyFormatError::Blank, "{blank:?} before");
    }
}

#[test]
fn a_digest_in_any_form_but_the_stored_one_is_refused() {
    let hex = KNOWN_DIGEST.strip_prefix("sha256:").unwrap();
    let faulty = [
        String::new(),
        hex.to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{}", &hex[2..]),
        format!("sha256:{hex}00"),
        format!("sha256:{hex} "),
        format!("sha256: {}", &hex[1..]),
        format!("sha256:é{}", &hex[2..]),
    ];
    for text in faulty {
        assert_eq!(text.parse::<KeyDigest>().unwrap_err(), KeyFormatError::Digest, "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_generated_is_read_again(key_type in key_types(), seed: u64) {
        let key = key_from(&key_type, seed);
        prop_assert_eq!(key.expose().len(), key_type.as_str().len() + 1 + SECRET_LEN + CHECKSUM_LEN);
        let expected_start = format!("{key_type}_");
        prop_assert!(key.expose().starts_with(&expected_start));
        let read = PlaintextKey::parse(key.expose()).unwrap();
        prop_assert_eq!(read.expose(), key.expose());
        prop_assert_eq!(read.digest(), key.digest());
        prop_assert_eq!(read.prefix(), key.prefix());
    }

    #[test]
    fn reading_is_total(text in any::<String>()) {
        let _ = PlaintextKey::parse(&text);
        let _ = text.parse::<KeyType>();
        let _ = text.parse::<KeyPrefix>();
        let _ = text.parse::<KeyDigest>();
    }

    /// A text of the right shape is a key by its checksum alone: one in 2³².
    #[test]
    fn a_text_of_the_right_shape_is_not_a_key(text in "[a-z]{2,8}_[0-9A-Za-z]{49}") {
        prop_assert_eq!(PlaintextKey::parse(&text).unwrap_err(), KeyFormatError::Checksum);
    }

    #[test]
    fn any_substituted_character_is_refused(key in keys(), at: prop::sample::Index, by: char) {
        let at = at.index(key.expose().len());
        prop_assume!(key.expose().chars().nth(at) != Some(by));
        prop_assert!(refused(&replaced(key.expose(), at, by)));
    }

    /// The hard case of the law above: the new character belongs there by its alphabet.
    #[test]
    fn a_character_substituted_within_the_alphabet_is_refused(
        key in keys(), at: prop::sample::Index, by in "[0-9A-Za-z_]",
    ) {
        let at = at.index(key.expose().len());
        let by = by.chars().next().unwrap();
        prop_assume!(key.expose().chars().nth(at) != Some(by));
        prop_assert!(refused(&replaced(key.expose(), at, by)));
    }

    #[test]
    fn any_inserted_character_is_refused(
        key in keys(), at: prop::sample::Index, c in prop_oneof![any::<char>(), prop::char::range('0', 'z')],
    ) {
        let mut text = key.expose().to_owned();
        text.insert(at.index(text.len() + 1), c);
        prop_assert!(refused(&text));
    }

    #[test]
    fn any_deleted_character_is_refused(key in keys(), at: prop::sample::Index) {
        let mut text = key.expose().to_owned();
        text.remove(at.index(text.len()));
        prop_assert!(refused(&text));
    }

    #[test]
    fn two_different_neighbours_changing_places_are_refused(key in keys(), at: prop::sample::Index) {
        let mut chars: Vec<char> = key.expose().chars().collect();
        let at = at.index(chars.len() - 1);
        prop_assume!(chars[at] != chars[at + 1]);
        // Where the secret meets its checksum both change at once: refused but for one key in some 2³².
        prop_assume!(at + 1 != chars.len() - CHECKSUM_LEN);
        chars.swap(at, at + 1);
        prop_assert!(refused(&chars.into_iter().collect::<String>()));
    }

    #[test]
    fn debug_never_shows_a_key(key in keys()) {
        prop_assert_eq!(format!("{key:?}"), "[redacted]");
        prop_assert_eq!(format!("{key:#?}"), "[redacted]");
    }

    #[test]
    fn no_error_repeats_a_piece_of_the_key(key in keys(), at: prop::sample::Index, c: char) {
        let mut text = key.expose().to_owned();
        text.insert(at.index(text.len() + 1), c);
        let error = PlaintextKey::parse(&text).unwrap_err();
        let told = format!("{error} {error:?}");
        let secret = key.expose().split_once('_').unwrap().1;
        for piece in secret.as_bytes().windows(6) {
            prop_assert!(!told.contains(std::str::from_utf8(piece).unwrap()));
        }
    }

    #[test]
    fn a_digest_is_read_back_from_its_text(bytes: Vec<u8>) {
        let digest = KeyDigest::of(&bytes);
        let read: KeyDigest = digest.to_string().parse().unwrap();
        prop_assert_eq!(read, digest);
        prop_assert!(bool::from(read.ct_eq(&digest)));
        prop_assert_eq!(read.as_bytes(), digest.as_bytes());
    }

    #[test]
    fn two_digests_are_equal_in_constant_time_only_if_they_are(a: [u8; 1], b: [u8; 1]) {
        let (a, b) = (KeyDigest::of(&a), KeyDigest::of(&b));
        prop_assert_eq!(bool::from(a.ct_eq(&b)), a == b);
    }

    #[test]
    fn a_digest_is_never_a_key(bytes: Vec<u8>) {
        let text = KeyDigest::of(&bytes).to_string();
        prop_assert_eq!(PlaintextKey::parse(&text).unwrap_err(), KeyFormatError::DigestGiven);
        let hex = text.strip_prefix("sha256:").unwrap();
        prop_assert!(refused(hex));
        prop_assert!(refused(&text.to_uppercase()));
    }

    #[test]
    fn a_prefix_is_the_start_of_its_key_and_is_read_back(key in keys()) {
        let prefix = key.prefix();
        let (key_type, shown) = prefix.as_str().split_once('_').unwrap();
        prop_assert!(key.expose().starts_with(prefix.as_str()));
        prop_assert_eq!(shown.len(), 4);
        prop_assert!(key_type.parse::<KeyType>().is_ok());
        prop_assert_eq!(prefix.to_string().parse::<KeyPrefix>().unwrap(), prefix);
    }

    #[test]
    fn a_key_type_or_prefix_is_accepted_exactly_in_its_own_form(text in "[a-zA-Z0-9_é]{0,14}") {
        let lower = |t: &str| t.bytes().all(|b| b.is_ascii_lowercase()) && (2..=8).contains(&t.len());
        prop_assert_eq!(text.parse::<KeyType>().is_ok(), lower(&text));
        let prefix = text.split_once('_').is_some_and(|(t, shown)| {
            lower(t) && shown.len() == 4 && shown.chars().all(|c| ALPHABET.contains(c))
        });
        prop_assert_eq!(text.parse::<KeyPrefix>().is_ok(), prefix);
    }
}
