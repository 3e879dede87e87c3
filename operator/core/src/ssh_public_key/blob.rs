//! The wire encoding of an SSH public key (RFC 4253 section 6.6), decoded, checked and encoded again.

use curve25519_dalek::edwards::CompressedEdwardsY;
use num_bigint::BigUint;
use p256::elliptic_curve::Curve;

use super::number::{Number, check_dss, check_rsa};
use super::{SshKeyType, SshPublicKeyError, known_type};

/// First byte of an uncompressed curve point (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// The canonical encoding of a blob that holds a sound key of the type its text says.
pub(super) fn checked(said: SshKeyType, given: &[u8]) -> Result<Vec<u8>, SshPublicKeyError> {
    let mut fields = Fields(given);
    let name = fields.next()?;
    if name != said.as_str().as_bytes() {
        return Err(match known_type(name) {
            Some(is) => SshPublicKeyError::TypeMismatch { said: said.as_str(), is },
            None => SshPublicKeyError::Damaged,
        });
    }
    match said {
        SshKeyType::Rsa => {
            let (e, n) = (fields.number()?, fields.number()?);
            fields.end()?;
            check_rsa(&e, &n)?;
            Ok(encoded(&[name, e.canonical(), n.canonical()]))
        }
        SshKeyType::Dss => {
            let (p, q, g, y) = (fields.number()?, fields.number()?, fields.number()?, fields.number()?);
            fields.end()?;
            check_dss(&p, &q, &g, &y)?;
            Ok(encoded(&[name, p.canonical(), q.canonical(), g.canonical(), y.canonical()]))
        }
        SshKeyType::Ed25519 => {
            let point = fields.next()?;
            fields.end()?;
            check_ed25519(point)?;
            Ok(encoded(&[name, point]))
        }
        SshKeyType::EcdsaNistP256 => {
            let order = BigUint::from_bytes_be(&p256::NistP256::ORDER.to_be_bytes());
            checked_ecdsa(name, fields, b"nistp256", &order, |point| {
                p256::PublicKey::from_sec1_bytes(point).is_ok()
            })
        }
        SshKeyType::EcdsaNistP384 => {
            let order = BigUint::from_bytes_be(&p384::NistP384::ORDER.to_be_bytes());
            checked_ecdsa(name, fields, b"nistp384", &order, |point| {
                p384::PublicKey::from_sec1_bytes(point).is_ok()
            })
        }
        SshKeyType::EcdsaNistP521 => {
            let order = BigUint::from_bytes_be(&p521::NistP521::ORDER.to_be_bytes());
            checked_ecdsa(name, fields, b"nistp521", &order, |point| {
                p521::PublicKey::from_sec1_bytes(point).is_ok()
            })
        }
    }
}

/// RFC 5656 section 3.1: the curve's name and a point, here only an uncompressed one. `order` is the curve's.
fn checked_ecdsa(
    name: &[u8],
    mut fields: Fields<'_>,
    curve: &[u8],
    order: &BigUint,
    is_on_curve: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, SshPublicKeyError> {
    let (said_curve, point) = (fields.next()?, fields.next()?);
    fields.end()?;
    // The curve crates refuse infinity as a public key.
    if said_curve == curve && has_ordinary_coordinates(point, order) && is_on_curve(point) {
        Ok(encoded(&[name, curve, point]))
    } else {
        Err(SshPublicKeyError::EcdsaPoint)
    }
}

/// Whether a point is uncompressed and OpenSSH takes its coordinates: it refuses those of half the order's length or
/// less, and those from the order less one on (`sshkey_ec_validate_public`). No honest key has such a one.
fn has_ordinary_coordinates(point: &[u8], order: &BigUint) -> bool {
    let Some((&UNCOMPRESSED, coordinates)) = point.split_first() else { return false };
    // As long as the order, in whole bytes: the curve crates refuse any other length.
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    [x, y]
        .map(BigUint::from_bytes_be)
        .iter()
        .all(|coordinate| coordinate.bits() > order.bits() / 2 && coordinate + 1_u8 < *order)
}

/// RFC 8032 section 5.1.3, and no point of small order: for such a key anyone can make signatures.
fn check_ed25519(point: &[u8]) -> Result<(), SshPublicKeyError> {
    let given = CompressedEdwardsY::from_slice(point).map_err(|_| SshPublicKeyError::Ed25519Point)?;
    match given.decompress() {
        // Decompressing forgives coordinates above the prime and a negative zero; compressing never gives them.
        Some(point) if point.compress() == given && !point.is_small_order() => Ok(()),
        _ => Err(SshPublicKeyError::Ed25519Point),
    }
}

/// The rest of a blob: `string` fields, each after its length in four bytes (RFC 4251 section 5).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], SshPublicKeyError> {
        let (len, rest) = self.0.split_first_chunk().ok_or(SshPublicKeyError::Damaged)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| SshPublicKeyError::Damaged)?;
        let (field, rest) = rest.split_at_checked(len).ok_or(SshPublicKeyError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }

    fn number(&mut self) -> Result<Number<'a>, SshPublicKeyError> {
        Number::from_mpint(self.next()?).ok_or(SshPublicKeyError::Damaged)
    }

    fn end(&self) -> Result<(), SshPublicKeyError> {
        if self.0.is_empty() { Ok(()) } else { Err(SshPublicKeyError::TrailingBytes) }
    }
}

fn encoded(fields: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    for field in fields {
        // All fields together are shorter than the text that they came from: four bytes hold any length.
        let [.., a, b, c, d] = field.len().to_be_bytes();
        blob.extend([a, b, c, d]);
        blob.extend(*field);
    }
    blob
}
