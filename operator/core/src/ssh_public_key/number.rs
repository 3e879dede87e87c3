//! The numbers of an SSH key blob (`mpint`, RFC 4251 section 5), and which of them make a sound key.

use std::cmp::Ordering;

use super::SshPublicKeyError;

/// RSA moduli that are accepted, in true bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// OpenSSL verifies with no longer exponent where the modulus is above 3072 bits.
const RSA_EXPONENT_BITS_MAX: usize = 64;
/// FIPS 186-2, all that `ssh-dss` is defined for.
const DSS_P_BITS: usize = 1024;
const DSS_Q_BITS: usize = 160;
const TRIAL_DIVISION_BELOW: u32 = 1000;

/// A non-negative number, big-endian.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// Without leading zeros; empty for zero.
    magnitude: &'a [u8],
    /// The only valid `mpint` of it: one zero before a set top bit, no other.
    canonical: &'a [u8],
}

impl<'a> Number<'a> {
    /// Reads an `mpint`; none for a negative one. Needless leading zeros are dropped, as OpenSSH drops them.
    pub(super) fn from_mpint(field: &'a [u8]) -> Option<Self> {
        if starts_with_set_bit(field) {
            return None;
        }
        let zeros = field.iter().take_while(|byte| **byte == 0).count();
        let magnitude = field.get(zeros..)?;
        let needed = usize::from(starts_with_set_bit(magnitude));
        let canonical = field.get(zeros.checked_sub(needed)?..)?;
        Some(Self { magnitude, canonical })
    }

    pub(super) const fn canonical(&self) -> &'a [u8] {
        self.canonical
    }

    fn bits(&self) -> usize {
        let unused = self.magnitude.first().map_or(0, |byte| byte.leading_zeros() as usize);
        self.magnitude.len() * 8 - unused
    }

    fn is_odd(&self) -> bool {
        self.magnitude.last().is_some_and(|byte| byte & 1 == 1)
    }

    fn remainder(&self, divisor: u32) -> u32 {
        self.magnitude.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor)
    }

    /// Whether the number is even or has a prime factor below 1000. Meant for numbers far above 1000.
    fn has_small_factor(&self) -> bool {
        !self.is_odd() || odd_primes(TRIAL_DIVISION_BELOW).any(|prime| self.remainder(prime) == 0)
    }
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.magnitude.len().cmp(&other.magnitude.len()).then_with(|| self.magnitude.cmp(other.magnitude))
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Checks an RSA key. The size comes first: it bounds the work of all the rest.
pub(super) fn check_rsa(exponent: Number<'_>, modulus: Number<'_>) -> Result<(), SshPublicKeyError> {
    if !RSA_BITS.contains(&modulus.bits()) {
        return Err(SshPublicKeyError::RsaSize(modulus.bits()));
    }
    if modulus.has_small_factor() {
        return Err(SshPublicKeyError::RsaModulus);
    }
    if !exponent.is_odd() || !(2..=RSA_EXPONENT_BITS_MAX).contains(&exponent.bits()) {
        return Err(SshPublicKeyError::RsaExponent);
    }
    Ok(())
}

/// Checks the structure of a DSA key: the sizes, and that neither the generator nor the key is trivial.
pub(super) fn check_dss(
    p: Number<'_>,
    q: Number<'_>,
    g: Number<'_>,
    y: Number<'_>,
) -> Result<(), SshPublicKeyError> {
    let sizes = p.bits() == DSS_P_BITS && q.bits() == DSS_Q_BITS;
    // Above 1 means 2 bits or more.
    let in_range = |number: Number<'_>| number.bits() >= 2 && number < p;
    if sizes && in_range(g) && in_range(y) && !p.has_small_factor() && !q.has_small_factor() {
        Ok(())
    } else {
        Err(SshPublicKeyError::DssNumbers)
    }
}

fn starts_with_set_bit(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

fn odd_primes(below: u32) -> impl Iterator<Item = u32> {
    let is_prime = |n: &u32| (3..).step_by(2).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (3..below).step_by(2).filter(is_prime)
}
