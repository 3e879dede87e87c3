//! The numbers of an SSH key blob (`mpint`, RFC 4251 section 5), and which of them make a sound key.

use num_bigint::BigUint;

use super::SshPublicKeyError;

/// RSA moduli that are accepted, in true bits.
const RSA_BITS: std::ops::RangeInclusive<u64> = 2048..=8192;
/// OpenSSL verifies with no longer exponent where the modulus is above 3072 bits.
const RSA_EXPONENT_BITS_MAX: u64 = 64;
/// FIPS 186-2, all that `ssh-dss` is defined for.
const DSS_P_BITS: u64 = 1024;
const DSS_Q_BITS: u64 = 160;
/// OpenSSH reads no longer `mpint` (`SSHBUF_MAX_BIGNUM`, and a zero before a set top bit).
const MPINT_LEN_MAX: usize = 16384 / 8 + 1;
const TRIAL_DIVISION_BELOW: u32 = 1000;

/// A non-negative number.
pub(super) struct Number<'a> {
    value: BigUint,
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
        // Numbers that long without such zeros are left to the rules of their types, which say what is wrong.
        if zeros > 1 && field.len() > MPINT_LEN_MAX {
            return None;
        }
        let magnitude = field.get(zeros..)?;
        let needed = usize::from(starts_with_set_bit(magnitude));
        let canonical = field.get(zeros.checked_sub(needed)?..)?;
        Some(Self { value: BigUint::from_bytes_be(magnitude), canonical })
    }

    pub(super) const fn canonical(&self) -> &'a [u8] {
        self.canonical
    }
}

/// Checks an RSA key. The size comes first: it bounds the work of all the rest.
pub(super) fn check_rsa(exponent: &Number<'_>, modulus: &Number<'_>) -> Result<(), SshPublicKeyError> {
    let (exponent, modulus) = (&exponent.value, &modulus.value);
    if !RSA_BITS.contains(&modulus.bits()) {
        return Err(SshPublicKeyError::RsaSize(modulus.bits()));
    }
    if has_small_factor(modulus) {
        return Err(SshPublicKeyError::RsaModulus);
    }
    // An odd number of two bits is 3.
    if !exponent.bit(0) || !(2..=RSA_EXPONENT_BITS_MAX).contains(&exponent.bits()) {
        return Err(SshPublicKeyError::RsaExponent);
    }
    Ok(())
}

/// Checks a DSA key: the sizes, and that generator and key are in the subgroup of order q and above 1 (NIST SP 800-89
/// section 5.3.1). For the keys 1 and p - 1, which are not, anyone can make signatures.
pub(super) fn check_dss(
    p: &Number<'_>,
    q: &Number<'_>,
    g: &Number<'_>,
    y: &Number<'_>,
) -> Result<(), SshPublicKeyError> {
    let (p, q, one) = (&p.value, &q.value, &BigUint::from(1_u8));
    let is_sized = p.bits() == DSS_P_BITS && q.bits() == DSS_Q_BITS;
    let is_in_subgroup = |number: &BigUint| number > one && number < p && number.modpow(q, p) == *one;
    if is_sized
        && !has_small_factor(p)
        && !has_small_factor(q)
        && p % q == *one
        && is_in_subgroup(&g.value)
        && is_in_subgroup(&y.value)
    {
        Ok(())
    } else {
        Err(SshPublicKeyError::DssNumbers)
    }
}

/// Whether a number is even or has a prime factor below 1000. Meant for numbers far above 1000.
fn has_small_factor(number: &BigUint) -> bool {
    let zero = BigUint::ZERO;
    !number.bit(0) || odd_primes(TRIAL_DIVISION_BELOW).any(|prime| number % prime == zero)
}

fn starts_with_set_bit(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

fn odd_primes(below: u32) -> impl Iterator<Item = u32> {
    let is_prime = |n: &u32| (3..).step_by(2).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (3..below).step_by(2).filter(is_prime)
}
