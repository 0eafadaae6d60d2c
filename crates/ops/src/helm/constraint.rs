//! Which versions are meant: `^1.2`, `~1.2.3`, `>=1 <2`, `1.x || 3.1 - 3.4`, as Helm reads them
//! (github.com/Masterminds/semver, "Checking Version Constraints").

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Prerelease};

use conex_spec::{Error, Kind, Result, Tag};

/// A semantic version, read leniently: `v` before it, one to three numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    semantic: semver::Version,
    text: String,
}

impl Version {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is for trying out: `1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.semantic.pre.is_empty()
    }

    /// The version that a tag stands for: "Helm adopts the convention of changing plus (+) to an
    /// underscore (_)", which no semantic version has.
    pub fn of_tag(tag: &str) -> Option<Self> {
        tag.replace('_', "+").parse().ok()
    }

    /// The tag of a version.
    pub fn tag(&self) -> Result<Tag> {
        Tag::of_version(&self.text)
    }

    /// Compares by precedence (<https://semver.org>, 11), and equal ones by their text.
    pub fn order(&self, other: &Self) -> Ordering {
        self.semantic.cmp_precedence(&other.semantic).then_with(|| self.text.cmp(&other.text))
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || {
            Error::invalid("not a semantic version")
                .expected("numbers such as 1.2.3, 1.2.3-rc.1 or 1.2.3+build")
                .found(format!("{text:.80?}"))
        };
        let partial = Partial::parse(text).ok_or_else(fault)?;
        if partial.wild() && text.contains(['x', 'X', '*']) {
            return Err(fault());
        }
        Ok(Self { semantic: partial.version().ok_or_else(fault)?, text: text.into() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Groups of which one must hold; of a group all must.
#[derive(Clone, Debug)]
pub struct Constraint {
    groups: Vec<Vec<Test>>,
    text: String,
}

impl Constraint {
    /// Whether a version is meant. Prereleases are, where the group names one itself.
    pub fn matches(&self, version: &Version) -> bool {
        let version = &version.semantic;
        self.groups.iter().any(|group| {
            let asked = group.iter().any(|test| !test.partial.pre.is_empty());
            (version.pre.is_empty() || asked) && group.iter().all(|test| test.holds(version))
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Constraint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let groups: Option<Vec<_>> = text.split("||").map(group).collect();
        let groups = groups.ok_or_else(|| {
            Error::new(Kind::Usage, "not a range of versions")
                .expected("for example ^1.2, ~1.2.3, >=1 <2, 1.x or 1.2 - 1.4, joined by ||")
                .found(format!("{text:.80?}"))
        })?;
        Ok(Self { groups, text: text.into() })
    }
}

/// Tests between spaces or commas.
fn group(text: &str) -> Option<Vec<Test>> {
    let mut rest = text.trim();
    let mut tests = Vec::new();
    while !rest.is_empty() || tests.is_empty() {
        let (operator, after) = operator(rest);
        let (partial, after) = word(after.trim_start())?;
        rest = match operator.is_none().then(|| hyphen(after)).flatten() {
            Some(high) => {
                let (high, after) = word(high)?;
                tests.push(Test { operator: Operator::AtLeast, partial });
                tests.push(Test { operator: Operator::AtMost, partial: high });
                after
            }
            None => {
                tests.push(Test { operator: operator.unwrap_or(Operator::Is), partial });
                after
            }
        };
        let next = rest.trim_start();
        let comma = next.strip_prefix(',').map(str::trim_start);
        if comma == Some("") || (next.len() == rest.len() && comma.is_none() && !rest.is_empty()) {
            return None;
        }
        rest = comma.unwrap_or(next);
    }
    Some(tests)
}

/// What follows ` - `, the hyphen of a range.
fn hyphen(text: &str) -> Option<&str> {
    let dash = text.trim_start();
    let high = dash.strip_prefix('-')?;
    let spaced = dash.len() < text.len() && high.starts_with(char::is_whitespace);
    spaced.then(|| high.trim_start())
}

/// The version at the beginning of a text, and what follows.
fn word(text: &str) -> Option<(Partial, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len());
    Some((Partial::parse(&text[..end])?, &text[end..]))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    Above,
    Below,
    AtLeast,
    AtMost,
    Tilde,
    Caret,
}

fn operator(text: &str) -> (Option<Operator>, &str) {
    const ALL: [(&str, Operator); 11] = [
        ("!=", Operator::IsNot),
        (">=", Operator::AtLeast),
        ("=>", Operator::AtLeast),
        ("<=", Operator::AtMost),
        ("=<", Operator::AtMost),
        ("~>", Operator::Tilde),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
        (">", Operator::Above),
        ("<", Operator::Below),
        ("=", Operator::Is),
    ];
    let found = ALL.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)));
    found.map_or((None, text), |(operator, rest)| (Some(operator), rest))
}

/// One condition.
#[derive(Clone, Debug)]
struct Test {
    operator: Operator,
    partial: Partial,
}

impl Test {
    fn holds(&self, version: &semver::Version) -> bool {
        let Some(bound) = self.partial.version() else { return false };
        let order = version.cmp_precedence(&bound);
        match self.operator {
            Operator::Is if self.partial.wild() => self.tilde(version, &bound),
            Operator::Is => order.is_eq(),
            Operator::IsNot => match self.partial.wild() {
                true => !self.partial.covers(version),
                false => order.is_ne(),
            },
            // `>11` means 12 or higher, `>11.1` means 11.2 or higher.
            Operator::Above => {
                order.is_gt()
                    && (self.partial.numbers[0].is_none() || !self.partial.covers(version))
            }
            Operator::Below => order.is_lt(),
            Operator::AtLeast => order.is_ge(),
            // `<=11` holds for 11.5 as well.
            Operator::AtMost => {
                order.is_le() || (self.partial.wild() && self.partial.covers(version))
            }
            Operator::Tilde => self.tilde(version, &bound),
            Operator::Caret => self.caret(version, &bound),
        }
    }

    /// The last number that is written may grow, the patch where all are.
    fn tilde(&self, version: &semver::Version, bound: &semver::Version) -> bool {
        let numbers = &self.partial.numbers;
        if version.cmp_precedence(bound).is_lt() {
            return false;
        }
        // Masterminds' rule: `~0.0.0` is any version, as `~*` is.
        let zero = (bound.major, bound.minor, bound.patch) == (0, 0, 0);
        if numbers[0].is_none() || (zero && numbers.iter().all(Option::is_some)) {
            return true;
        }
        version.major == bound.major && (numbers[1].is_none() || version.minor == bound.minor)
    }

    /// The first number that is not zero stays.
    fn caret(&self, version: &semver::Version, bound: &semver::Version) -> bool {
        let numbers = &self.partial.numbers;
        if version.cmp_precedence(bound).is_lt() {
            return false;
        }
        if numbers[0].is_none() {
            return true;
        }
        if bound.major > 0 || numbers[1].is_none() {
            return version.major == bound.major;
        }
        if version.major > 0 || version.minor != bound.minor {
            return false;
        }
        bound.minor > 0 || numbers[2].is_none() || version.patch == bound.patch
    }
}

/// A version of which numbers may be left open: `1`, `1.x`, `*`.
#[derive(Clone, Debug)]
struct Partial {
    numbers: [Option<u64>; 3],
    pre: Prerelease,
    build: BuildMetadata,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (bare, build) = match bare.split_once('+') {
            Some((bare, build)) => (bare, filled(build)?),
            None => (bare, ""),
        };
        let (core, pre) = match bare.split_once('-') {
            Some((core, pre)) => (core, filled(pre)?),
            None => (bare, ""),
        };
        let mut numbers = [None; 3];
        let mut open = false;
        for (at, part) in core.split('.').enumerate() {
            let slot = numbers.get_mut(at)?;
            if matches!(part, "x" | "X" | "*") {
                open = true;
            } else if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            } else if !open {
                *slot = Some(part.parse().ok()?);
            }
        }
        let (pre, build) = (Prerelease::new(pre).ok()?, BuildMetadata::new(build).ok()?);
        Some(Self { numbers, pre, build })
    }

    fn wild(&self) -> bool {
        self.numbers.iter().any(Option::is_none)
    }

    /// Whether a version has the numbers that are written.
    fn covers(&self, version: &semver::Version) -> bool {
        let theirs = [version.major, version.minor, version.patch];
        let mut pairs = self.numbers.iter().zip(theirs);
        pairs.all(|(mine, number)| mine.is_none_or(|mine| mine == number))
    }

    fn version(&self) -> Option<semver::Version> {
        let [major, minor, patch] = self.numbers.map(Option::unwrap_or_default);
        let (pre, build) = (self.pre.clone(), self.build.clone());
        Some(semver::Version { major, minor, patch, pre, build })
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
