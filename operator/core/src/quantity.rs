//! Kubernetes quantities compared by value: the API server stores `1000m` as `1`, and that is no drift.

use num_bigint::BigUint;

/// Whether two quantities are the same amount. Text that is not a quantity equals only itself.
/// Source: `ParseQuantity` in `k8s.io/apimachinery/pkg/api/resource`.
#[must_use]
pub fn same_amount(left: &str, right: &str) -> bool {
    left == right || matches!((amount(left), amount(right)), (Some(left), Some(right)) if left == right)
}

/// The longest text read as a quantity. Keyplane's own specs allow 32 characters, and the API server's form of
/// such a text is shorter than this.
const LONGEST: usize = 64;

/// More digits than a number of [`LONGEST`] digits has, even times 2^60.
const MOST_DIGITS: u32 = 2 * 64;

/// The finest amount that Kubernetes keeps, as a power of ten.
const FINEST: i64 = -9;

/// `number · 10^power`, with a number that does not end in 0, so that equal amounts are equal values. Nothing is
/// ever written out, however large the power.
#[derive(PartialEq, Eq)]
struct Amount {
    is_negative: bool,
    number: BigUint,
    power: i64,
}

/// The amount as Kubernetes reads it, or nothing for text that is not a quantity.
fn amount(text: &str) -> Option<Amount> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let is_negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let suffix_at = unsigned.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (digits, suffix) = unsigned.split_at(suffix_at.unwrap_or(unsigned.len()));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.contains('.') {
        return None;
    }
    // Kubernetes takes a missing number for 0: `m` is a quantity.
    let number = BigUint::parse_bytes(format!("0{whole}{fraction}").as_bytes(), 10)?;
    let decimals = i64::try_from(fraction.len()).ok()?;
    let (number, power) = match unit(suffix)? {
        Unit::Decimal(exponent) => rounded_up(number, i64::from(exponent) - decimals),
        Unit::Binary(exponent) => capped(rounded_up(number << exponent, -decimals)),
    };
    Some(normal(is_negative, number, power))
}

/// What a suffix multiplies by.
enum Unit {
    /// A power of ten.
    Decimal(i32),
    /// A power of two.
    Binary(u32),
}

fn unit(suffix: &str) -> Option<Unit> {
    Some(match suffix {
        "n" => Unit::Decimal(-9),
        "u" => Unit::Decimal(-6),
        "m" => Unit::Decimal(-3),
        "" => Unit::Decimal(0),
        "k" => Unit::Decimal(3),
        "M" => Unit::Decimal(6),
        "G" => Unit::Decimal(9),
        "T" => Unit::Decimal(12),
        "P" => Unit::Decimal(15),
        "E" => Unit::Decimal(18),
        "Ki" => Unit::Binary(10),
        "Mi" => Unit::Binary(20),
        "Gi" => Unit::Binary(30),
        "Ti" => Unit::Binary(40),
        "Pi" => Unit::Binary(50),
        "Ei" => Unit::Binary(60),
        _ => Unit::Decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// What is finer than a billionth becomes a billionth more: who asks for some resources gets some.
fn rounded_up(number: BigUint, power: i64) -> (BigUint, i64) {
    let excess = FINEST.saturating_sub(power);
    if excess <= 0 {
        return (number, power);
    }
    let excess = u32::try_from(excess).unwrap_or(u32::MAX).min(MOST_DIGITS);
    let divisor = BigUint::from(10_u8).pow(excess);
    ((number + &divisor - 1_u8) / divisor, FINEST)
}

/// An amount with a binary suffix is at most 2^63 − 1.
fn capped((number, power): (BigUint, i64)) -> (BigUint, i64) {
    let largest = BigUint::from(i64::MAX.unsigned_abs());
    let decimals = u32::try_from(-power).unwrap_or_default();
    if number > &largest * BigUint::from(10_u8).pow(decimals) { (largest, 0) } else { (number, power) }
}

fn normal(is_negative: bool, mut number: BigUint, mut power: i64) -> Amount {
    let zero = BigUint::default();
    if number == zero {
        return Amount { is_negative: false, number, power: 0 };
    }
    while &number % 10_u8 == zero {
        number /= 10_u8;
        power = power.saturating_add(1);
    }
    Amount { is_negative, number, power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_amounts_in_different_clothes_are_equal() {
        for (left, right) in [
            ("1000m", "1"),
            ("1Gi", "1024Mi"),
            ("0.5", "500m"),
            ("1e3", "1k"),
            ("2", "2.0"),
            ("100M", "1e8"),
            ("+1", "1"),
        ] {
            assert!(same_amount(left, right), "{left} and {right}");
        }
    }

    #[test]
    fn different_amounts_and_non_quantities_are_not_equal() {
        for (left, right) in
            [("1Gi", "1G"), ("1", "1m"), ("", "0"), ("one", "1"), ("1..0", "1"), ("-1", "1"), ("1-", "1")]
        {
            assert!(!same_amount(left, right), "{left} and {right}");
        }
    }
}
