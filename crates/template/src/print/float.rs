//! Decimal numbers, as Go's strconv writes them.

/// No number has more digits than this behind the point; what is asked for beyond are zeros. Rust's
/// own formatting ends at 65,535, where Go's goes on to a million.
const DIGITS: usize = 1100;

/// A number that is not negative. Without a precision it has the fewest digits that stand for it.
pub(super) fn format(number: f64, verb: char, precision: Option<usize>, sharp: bool) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return "+Inf".into();
    }
    match verb {
        'f' | 'F' => fixed(number, precision.unwrap_or(6)),
        'e' => exponential(number, precision.unwrap_or(6)),
        'E' => exponential(number, precision.unwrap_or(6)).to_uppercase(),
        'G' => general(number, precision, sharp).to_uppercase(),
        _ => general(number, precision, sharp),
    }
}

/// As Rust's `1.50`.
fn fixed(number: f64, precision: usize) -> String {
    let text = format!("{number:.*}", precision.min(DIGITS));
    text + &"0".repeat(precision.saturating_sub(DIGITS))
}

/// As Rust's `1.50e-7`.
fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.*e}", precision.min(DIGITS));
    let more = "0".repeat(precision.saturating_sub(DIGITS));
    text.replace('e', &format!("{more}e"))
}

fn exponential(number: f64, precision: usize) -> String {
    let (digits, exponent) = parts(&scientific(number, precision));
    join(&digits, exponent)
}

/// "%e for large exponents, %f otherwise."
fn general(number: f64, precision: Option<usize>, sharp: bool) -> String {
    let text = match precision {
        None => format!("{number:e}"),
        Some(precision) => scientific(number, precision.max(1) - 1),
    };
    let (mut digits, exponent) = parts(&text);
    if !sharp && digits.contains('.') {
        digits = digits.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let threshold = match precision {
        None => 6,
        Some(precision)
            if precision > count && i64::try_from(count).is_ok_and(|n| n > exponent) =>
        {
            i64::try_from(count).unwrap_or(i64::MAX)
        }
        Some(precision) => i64::try_from(precision.max(1)).unwrap_or(i64::MAX),
    };
    if exponent < -4 || exponent >= threshold {
        return join(&digits, exponent);
    }
    let after = i64::try_from(count).unwrap_or(i64::MAX) - 1 - exponent;
    fixed(number, usize::try_from(after).unwrap_or(0))
}

/// The digits and the exponent of Rust's `1.5e-7`.
fn parts(text: &str) -> (String, i64) {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

/// An exponent has a sign and at least two digits.
fn join(digits: &str, exponent: i64) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_digits_are_no_panic() {
        for verb in ['f', 'e', 'g', 'G'] {
            for number in [0.0, 0.1, 1e300, 5e-324] {
                let long = format(number, verb, Some(1_000_000), true);
                assert!(long.len() >= 1_000_000 && long.contains("00000"), "{verb} {number}");
                let short = format(number, verb, Some(1090), true);
                assert!(verb != 'f' || long.starts_with(&short), "{verb} {number}");
            }
        }
        assert_eq!(format(0.5, 'f', Some(1102), false), format!("0.5{}", "0".repeat(1101)));
        assert_eq!(format(0.5, 'e', Some(1102), false), format!("5.{}e-01", "0".repeat(1102)));
        assert_eq!(format(0.5, 'g', Some(1_000_000), false), "0.5");
    }
}
