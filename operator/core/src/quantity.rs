//! Kubernetes quantities compared by value: the API server stores `1000m` as `1`, and that is no drift.

/// Whether two quantities are the same amount. Text that is not a quantity equals only itself.
/// Source: `k8s.io/apimachinery/pkg/api/resource`.
#[must_use]
pub fn same_amount(left: &str, right: &str) -> bool {
    left == right || matches!((amount(left), amount(right)), (Some(left), Some(right)) if left == right)
}

/// The amount in billionths, rounded up as Kubernetes does, or nothing for text that is not a quantity or
/// lies beyond what 128 bits hold.
fn amount(text: &str) -> Option<i128> {
    let number_length = text
        .char_indices()
        .find(|(index, character)| {
            !(character.is_ascii_digit() || *character == '.' || (*index == 0 && matches!(character, '+' | '-')))
        })
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at(number_length);
    let (mantissa, decimals) = decimal(number)?;
    let (factor, exponent) = scale(suffix)?;
    // mantissa · factor · 10^(exponent − decimals) in billionths.
    let power = exponent - i32::try_from(decimals).ok()? + 9;
    let scaled = mantissa.checked_mul(factor)?;
    if power >= 0 {
        scaled.checked_mul(10_i128.checked_pow(u32::try_from(power).ok()?)?)
    } else {
        let divisor = 10_i128.checked_pow(u32::try_from(-power).ok()?)?;
        Some(scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0))
    }
}

/// A decimal number as its digits and how many of them stand after the point.
fn decimal(text: &str) -> Option<(i128, usize)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).any(|byte| byte.is_ascii_digit()) || fraction.contains(['+', '-']) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    Some((digits.parse().ok()?, fraction.len()))
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            (1, (-30..=30).contains(&exponent).then_some(exponent)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_amounts_in_different_clothes_are_equal() {
        for (left, right) in
            [("1000m", "1"), ("1Gi", "1024Mi"), ("0.5", "500m"), ("1e3", "1k"), ("2", "2.0"), ("100M", "1e8"), ("+1", "1")]
        {
            assert!(same_amount(left, right), "{left} and {right}");
        }
    }

    #[test]
    fn different_amounts_and_non_quantities_are_not_equal() {
        for (left, right) in [("1Gi", "1G"), ("1", "1m"), ("", "0"), ("one", "1"), ("1..0", "1"), ("-1", "1"), ("1-", "1")] {
            assert!(!same_amount(left, right), "{left} and {right}");
        }
    }
}
