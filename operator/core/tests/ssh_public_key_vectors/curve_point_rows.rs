//! The curve points of ECDSA and Ed25519 keys.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use keyplane_core::ssh_public_key::SshPublicKeyError as Fault;
use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey};
use num_bigint::BigUint;
use p256::elliptic_curve::Curve;
use p256::elliptic_curve::sec1::ToSec1Point as _;

use crate::ssh_keygen::KEYS;
use crate::verdict::{accepted, check, refused, stricter};
use crate::wire::{blob_of, fields, line_of};

#[test]
fn ecdsa_points_must_be_uncompressed_and_on_their_curve() {
    let curves = [(&KEYS.nistp256, 32), (&KEYS.nistp384, 48), (&KEYS.nistp521, 66)];
    for (key, coordinate) in curves {
        let parts = fields(&blob_of(&key.line));
        let name = std::str::from_utf8(&parts[0]).unwrap();
        let (curve, point) = (&parts[1], &parts[2]);
        assert_eq!(point.len(), 1 + 2 * coordinate);
        let with = |point: &[u8]| line_of(name, &[curve, point]);
        let is_odd = point[point.len() - 1] & 1;
        let compressed = [&[2 + is_odd], &point[1..=coordinate]].concat();
        let hybrid = [&[6 + is_odd], &point[1..]].concat();
        let off_curve = [&point[..point.len() - 1], &[point[point.len() - 1] ^ 2]].concat();
        let origin = [&[4][..], &vec![0; 2 * coordinate]].concat();
        let too_large = [&[4][..], &vec![0xFF; 2 * coordinate]].concat();
        let fault = Fault::EcdsaPoint;
        check(&[
            refused("a compressed point", with(&compressed), fault),
            refused("a hybrid point", with(&hybrid), fault),
            refused("a point off the curve", with(&off_curve), fault),
            refused("infinity", with(&[0]), fault),
            refused("the origin", with(&origin), fault),
            refused("coordinates above the prime", with(&too_large), fault),
            refused("a short point", with(&point[..point.len() - 1]), fault),
            refused("an empty point", with(&[]), fault),
            refused("another curve's name", line_of(name, &[b"nistp255", point]), fault),
        ]);
    }
}

/// The smallest point of a curve with an x from this number on, and its y, where `read` reads compressed points.
fn point_from(x: &BigUint, len: usize, read: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut candidates = (0_u32..).map(|more| {
        let x = (x + more).to_bytes_be();
        [vec![2], vec![0; len - x.len()], x].concat()
    });
    candidates.find_map(|compressed| read(&compressed)).unwrap()
}

#[test]
fn ecdsa_points_that_openssh_takes_for_made_up_are_refused() {
    let nistp256 = |bytes: &[u8]| {
        Some(p256::PublicKey::from_sec1_bytes(bytes).ok()?.to_sec1_point(false).as_bytes().to_vec())
    };
    let nistp384 = |bytes: &[u8]| {
        Some(p384::PublicKey::from_sec1_bytes(bytes).ok()?.to_sec1_point(false).as_bytes().to_vec())
    };
    let nistp521 = |bytes: &[u8]| {
        Some(p521::PublicKey::from_sec1_bytes(bytes).ok()?.to_sec1_point(false).as_bytes().to_vec())
    };
    let order = BigUint::from_bytes_be(&p256::NistP256::ORDER.to_be_bytes());
    let one = BigUint::from(1_u8);
    let nistp256 = |x: BigUint| line_of("ecdsa-sha2-nistp256", &[b"nistp256", &point_from(&x, 32, nistp256)]);
    let nistp384 = |x: BigUint| line_of("ecdsa-sha2-nistp384", &[b"nistp384", &point_from(&x, 48, nistp384)]);
    let nistp521 = |x: BigUint| line_of("ecdsa-sha2-nistp521", &[b"nistp521", &point_from(&x, 66, nistp521)]);
    let fault = Fault::EcdsaPoint;
    check(&[
        refused("a small x on P-256", nistp256(one.clone()), fault),
        refused("a small x on P-384", nistp384(one.clone()), fault),
        refused("a small x on P-521", nistp521(one.clone()), fault),
        refused("an x of 128 bits on P-256", nistp256(&one << 127), fault),
        accepted("an x of 129 bits on P-256", nistp256(&one << 128), SshKeyType::EcdsaNistP256),
        refused("an x of 192 bits on P-384", nistp384(&one << 191), fault),
        accepted("an x of 193 bits on P-384", nistp384(&one << 192), SshKeyType::EcdsaNistP384),
        refused("an x of 260 bits on P-521", nistp521(&one << 259), fault),
        accepted("an x of 261 bits on P-521", nistp521(&one << 260), SshKeyType::EcdsaNistP521),
        refused("an x above the order of P-256", nistp256(order), fault),
    ]);
}

#[test]
fn ed25519_points_must_be_canonical_and_of_large_order() {
    let fault = Fault::Ed25519Point;
    let with = |point: &[u8]| line_of("ssh-ed25519", &[point]);
    for point in EIGHT_TORSION {
        check(&[stricter("a point of small order", with(point.compress().as_bytes()), fault)]);
    }
    // 2²⁵⁵ - 19 + k for k below 19: the same points as k, written another way, with either sign.
    let mut decodable = 0;
    for low in 0xED..=0xFF_u8 {
        for high in [0x7F, 0xFF] {
            let mut point = [0xFF; 32];
            (point[0], point[31]) = (low, high);
            decodable +=
                usize::from(CompressedEdwardsY(point).decompress().is_some_and(|p| !p.is_small_order()));
            assert_eq!(SshPublicKey::parse(&with(&point)), Err(Fault::Ed25519Point), "{point:?}");
        }
    }
    assert!(decodable > 4, "without the rule, {decodable} of these would pass");
    let off_curve = (2..=255).map(|y| {
        let mut point = [0; 32];
        point[0] = y;
        point
    });
    let off_curve =
        off_curve.into_iter().find(|point| CompressedEdwardsY(*point).decompress().is_none()).unwrap();
    check(&[
        stricter("a point off the curve", with(&off_curve), fault),
        refused("31 bytes", with(&[9; 31]), fault),
        refused("33 bytes", with(&[9; 33]), fault),
        refused("no bytes", with(&[]), fault),
    ]);
}
