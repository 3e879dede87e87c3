//! Laws of the parser that no table of rows can prove.

use curve25519_dalek::{EdwardsPoint, Scalar};
use keyplane_core::ssh_public_key::SshPublicKey;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use proptest::prelude::*;

use crate::number_rows::DSS;
use crate::ssh_keygen::KEYS;
use crate::wire::{blob_of, line, line_of, mpint};

/// One line of each type, as made by `ssh-keygen`.
fn made_lines() -> Vec<&'static str> {
    vec![
        &KEYS.ed25519.line,
        &KEYS.rsa2048.line,
        &KEYS.rsa4096.line,
        &KEYS.nistp256.line,
        &KEYS.nistp384.line,
        &KEYS.nistp521.line,
        DSS,
    ]
}

fn ed25519_lines() -> impl Strategy<Value = String> {
    any::<[u8; 32]>().prop_map(|bytes| {
        let point = EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(bytes)).compress();
        line_of("ssh-ed25519", &[point.as_bytes()])
    })
}

fn nistp256_lines() -> impl Strategy<Value = String> {
    any::<[u8; 32]>().prop_filter_map("a scalar of the curve", |bytes| {
        let secret = p256::SecretKey::from_slice(&bytes).ok()?;
        let point = secret.public_key().to_sec1_point(false);
        Some(line_of("ecdsa-sha2-nistp256", &[b"nistp256", point.as_bytes()]))
    })
}

/// Most of these have a small factor and are refused; the law holds for the rest.
fn rsa_lines() -> impl Strategy<Value = String> {
    (prop::collection::vec(any::<u8>(), 256..300), any::<u32>())
        .prop_map(|(modulus, e)| line_of("ssh-rsa", &[&mpint(&e.to_be_bytes()), &mpint(&modulus)]))
}

fn changed_lines() -> impl Strategy<Value = String> {
    (prop::sample::select(made_lines()), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(text, at, by)| {
            let mut blob = blob_of(text);
            let at = at.index(blob.len());
            blob[at] = by;
            line(text.split(' ').next().unwrap(), &blob)
        },
    )
}

fn any_lines() -> impl Strategy<Value = String> {
    let made = prop::sample::select(made_lines()).prop_map(str::to_owned);
    prop_oneof![made, ed25519_lines(), nistp256_lines(), rsa_lines(), changed_lines()]
}

fn blanks() -> impl Strategy<Value = String> {
    "[ \t]{1,3}"
}

proptest! {
    #[test]
    fn reading_is_total(text in any::<String>()) {
        let _ = SshPublicKey::parse(&text);
    }

    #[test]
    fn reading_is_total_behind_a_type(
        text in prop::sample::select(made_lines()), blob: Vec<u8>, after in any::<String>(),
    ) {
        let name = text.split(' ').next().unwrap();
        let _ = SshPublicKey::parse(&format!("{name} {after}"));
        let _ = SshPublicKey::parse(&line(name, &blob));
        let _ = SshPublicKey::parse(&line_of(name, &[&blob, &blob]));
    }

    #[test]
    fn reading_is_total_for_any_cut_of_a_key(text in prop::sample::select(made_lines()), at: prop::sample::Index) {
        let blob = blob_of(text);
        let cut = &blob[..at.index(blob.len())];
        prop_assert!(SshPublicKey::parse(&line(text.split(' ').next().unwrap(), cut)).is_err());
    }

    #[test]
    fn the_canonical_form_is_read_as_the_same_key(text in any_lines()) {
        if let Ok(key) = SshPublicKey::parse(&text) {
            let again = SshPublicKey::parse(&key.canonical()).unwrap();
            prop_assert_eq!(&again, &key);
            prop_assert_eq!(again.canonical(), key.canonical());
            prop_assert_eq!(again.fingerprint(), key.fingerprint());
            prop_assert_eq!(again.key_type(), key.key_type());
            prop_assert_eq!(again.comment(), None);
        }
    }

    #[test]
    fn every_sound_curve_key_is_accepted(text in prop_oneof![ed25519_lines(), nistp256_lines()]) {
        prop_assert!(SshPublicKey::parse(&text).is_ok(), "{}", text);
    }

    #[test]
    fn layout_and_comment_do_not_make_another_key(
        text in ed25519_lines(), before in blanks(), between in blanks(), last in blanks(), comment in "[!-~]{0,40}",
    ) {
        let (name, base64) = text.split_once(' ').unwrap();
        let other = format!("{before}{name}{between}{base64}{last}{comment}\r\n");
        let (key, other) = (SshPublicKey::parse(&text).unwrap(), SshPublicKey::parse(&other).unwrap());
        prop_assert_eq!(&key, &other);
        prop_assert_eq!(key.fingerprint(), other.fingerprint());
        prop_assert_eq!(other.comment().unwrap_or_default(), comment);
    }

    #[test]
    fn two_different_points_are_two_different_keys(one in ed25519_lines(), other in ed25519_lines()) {
        prop_assume!(one != other);
        let (one, other) = (SshPublicKey::parse(&one).unwrap(), SshPublicKey::parse(&other).unwrap());
        prop_assert_ne!(&one, &other);
        prop_assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
