//! Decimal numbers, as Go's strconv writes them.

/// A number that is not negative. Without a precision it has the fewest digits that stand for it.
pub(super) fn format(number: f64, verb: char, precision: Option<usize>, sharp: bool) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return "+Inf".into();
    }
    match verb {
        'f' | 'F' => format!("{number:.*}", precision.unwrap_or(6)),
        'e' => exponential(number, precision.unwrap_or(6)),
        'E' => exponential(number, precision.unwrap_or(6)).to_uppercase(),
        'G' => general(number, precision, sharp).to_uppercase(),
        _ => general(number, precision, sharp),
    }
}

fn exponential(number: f64, precision: usize) -> String {
    let (digits, exponent) = parts(&format!("{number:.precision$e}"));
    join(&digits, exponent)
}

/// "%e for large exponents, %f otherwise."
fn general(number: f64, precision: Option<usize>, sharp: bool) -> String {
    let text = match precision {
        None => format!("{number:e}"),
        Some(precision) => format!("{number:.*e}", precision.max(1) - 1),
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
    format!("{number:.*}", usize::try_from(after).unwrap_or(0))
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
