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
}
