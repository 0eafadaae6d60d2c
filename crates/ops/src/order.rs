//! Orders of names: by version, and of times.

use std::cmp::Ordering;

/// Compares tags as versions (<https://semver.org>, 11), with what tags make of them: a `v` before
/// the numbers, as many numbers as there are, and a suffix as in `3.19-alpine`. What is no version
/// comes before all versions, in the order of its bytes.
pub fn by_version(a: &str, b: &str) -> Ordering {
    match (Version::parse(a), Version::parse(b)) {
        (Some(left), Some(right)) => left.cmp(&right).then_with(|| a.cmp(b)),
        (left, right) => left.is_some().cmp(&right.is_some()).then_with(|| a.cmp(b)),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    numbers: Vec<&'a str>,
    suffix: Option<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
        // A tag cannot hold the `+` of build metadata; many write `_` for it.
        let (bare, _) = bare.split_once(['+', '_']).unwrap_or((bare, ""));
        let (core, suffix) = match bare.split_once('-') {
            Some((core, suffix)) => (core, Some(suffix)),
            None => (bare, None),
        };
        let numbers: Vec<&str> = core.split('.').collect();
        let sound = numbers.iter().all(|number| is_number(number));
        sound.then_some(Self { numbers, suffix })
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let number =
            |version: &Self, at: usize| version.numbers.get(at).copied().unwrap_or("0").to_owned();
        let numbers = (0..length)
            .map(|at| by_number(&number(self, at), &number(other, at)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal);
        numbers.then_with(|| match (self.suffix, other.suffix) {
            // "a pre-release version has lower precedence than a normal version"
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => by_identifiers(left, right),
        })
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Numbers of any length.
fn by_number(a: &str, b: &str) -> Ordering {
    let [a, b] = [a, b].map(|text| text.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn by_identifiers(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => by_number(a, b),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// A time of RFC 3339 in seconds since 1970 and nanoseconds; nothing for what is none.
pub fn instant(text: &str) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, separator)| bytes.get(*at) != Some(separator))
        || !matches!(bytes.get(10), Some(b'T' | b't' | b' '))
    {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        text.get(from..to).filter(|digits| is_number(digits))?.parse().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = match zone.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let (hours, minutes) = zone[1..].split_once(':')?;
            if !is_number(hours) || !is_number(minutes) {
                return None;
            }
            sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - offset, nanos))
}

/// Of the calendar that was always in use, by whole eras of 400 years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_their_order() {
        let ordered = [
            "edge",
            "latest",
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "v1.0.1",
            "1.2",
            "1.10",
            "3.19-alpine",
            "3.19",
            "20240101",
            "99999999999999999999999",
        ];
        let mut sorted = ordered;
        sorted.reverse();
        sorted.sort_by(|a, b| by_version(a, b));
        assert_eq!(sorted, ordered);
        assert_eq!(by_version("1", "1.0"), "1".cmp("1.0"));
        assert_eq!(by_version("1.0", "v1"), Ordering::Less);
        assert_eq!(by_version("vv1", "1"), Ordering::Less);
    }

    #[test]
    fn instants() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("2000-02-29T23:59:59.5Z", Some((951_868_799, 500_000_000))),
            ("2024-05-06T07:08:09.123456789+02:00", Some((1_714_972_089, 123_456_789))),
            ("1969-12-31T23:59:59-00:30", Some((1799, 0))),
            ("2024-05-06", None),
            ("2024-05-06T07:08:09", None),
            ("2024-05-06T07:08:09.Z1", None),
            ("x024-05-06T07:08:09Z", None),
            ("2024-05-06T07:08:0é", None),
            ("", None),
        ] {
            assert_eq!(instant(text), expected, "{text}");
        }
    }
}
