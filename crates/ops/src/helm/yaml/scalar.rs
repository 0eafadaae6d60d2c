//! What a word of YAML means to Go: `yes` is true, `010` is eight, `1.10` is 1.1.
//!
//! Helm reads its files through sigs.k8s.io/yaml, where a number or a truth in the place of a text
//! becomes the text that Go prints for it. The bytes of a chart's config depend on that.

use serde_json::Value as Json;

/// A scalar with its meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// From the text of a node: only what is written without quotes and without a tag may mean
    /// more than itself.
    pub(crate) fn new(text: &str, plain: bool, tag: Option<&str>) -> Self {
        match tag {
            Some("str" | "binary") => Self::Text(text.into()),
            None if !plain => Self::Text(text.into()),
            _ => Self::meaning(text),
        }
    }

    fn meaning(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
                Self::Bool(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off"
            | "OFF" => Self::Bool(false),
            _ => number(text).unwrap_or_else(|| Self::Text(text.into())),
        }
    }

    /// What people call it.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
        }
    }

    /// What a field that is a string gets.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => go_float(*value),
            Self::Text(text) => text.clone(),
        })
    }

    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => Json::Null,
            },
            Self::Float(value) => {
                serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number)
            }
            Self::Text(text) => text.as_str().into(),
        }
    }
}

fn number(text: &str) -> Option<Scalar> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let bare = text.replace('_', "");
    if let Some(value) = integer(&bare) {
        return Some(Scalar::Int(value));
    }
    is_float(&bare).then(|| bare.parse().ok().map(Scalar::Float)).flatten()
}

/// Go's `ParseInt` and `ParseUint` of base 0: the first characters tell the base.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let value = sign * i128::from_str_radix(digits, base).ok()?;
    let fits = (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value);
    fits.then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some = !whole.is_empty() || !fraction.is_empty();
    some && digits(whole) && digits(fraction) && !exponent.is_empty() && digits(exponent)
}

/// `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits, with an exponent where that is
/// below -4 or above 5.
fn go_float(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..6).contains(&exponent) => format!("{value}"),
        Ok(exponent) if exponent < 0 => format!("{mantissa}e-{:02}", -exponent),
        Ok(exponent) => format!("{mantissa}e+{exponent:02}"),
        Err(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_go_takes_them_for() {
        for (word, text) in [
            ("1.10", "1.1"),
            ("1.0", "1"),
            ("2", "2"),
            ("010", "8"),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("-7", "-7"),
            ("1e3", "1000"),
            ("1000000.0", "1e+06"),
            ("0.00001", "1e-05"),
            ("123456.5", "123456.5"),
            ("-0.0", "-0"),
            ("yes", "true"),
            ("Off", "false"),
            ("1.2.3", "1.2.3"),
            ("v1", "v1"),
            ("2024-01-01", "2024-01-01"),
            ("08", "8"),
            ("099", "99"),
            ("-", "-"),
            (".", "."),
            ("1e", "1e"),
            ("0x", "0x"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
        ] {
            assert_eq!(Scalar::new(word, true, None).text().as_deref(), Some(text), "{word}");
            assert_eq!(Scalar::new(word, false, None).text().as_deref(), Some(word));
            assert_eq!(Scalar::new(word, true, Some("str")).text().as_deref(), Some(word));
        }
        assert_eq!(Scalar::new("~", true, None), Scalar::Null);
        assert_eq!(Scalar::new("", true, None).text(), None);
        assert_eq!(Scalar::new("", false, None).text().as_deref(), Some(""));
    }

    #[test]
    fn json_has_numbers_of_its_own() {
        let json = |word| Scalar::new(word, true, None).json().to_string();
        assert_eq!(json("18446744073709551615"), "18446744073709551615");
        assert_eq!(json("1.50"), "1.5");
        assert_eq!(json("no"), "false");
    }
}
