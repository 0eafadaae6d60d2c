//! Which tags of a repository are copied.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

use conex_spec::{Error, Kind, Result};

/// What a tag must be like. Of one sort of rule any may match; every sort that is there must.
/// Without rules every tag is taken.
#[derive(Clone, Debug, Default)]
pub struct TagFilter {
    /// Patterns of which one matches.
    pub globs: Vec<Glob>,
    /// Regular expressions of which one matches.
    pub regexes: Vec<Regex>,
    /// Ranges of versions of which one holds the tag.
    pub versions: Vec<Versions>,
    /// Patterns of which none matches.
    pub exclude: Vec<Glob>,
}

impl TagFilter {
    /// Whether a tag is to be copied.
    pub fn takes(&self, tag: &str) -> bool {
        let any = |glob: &Glob| glob.matches(tag);
        (self.globs.is_empty() || self.globs.iter().any(any))
            && (self.regexes.is_empty() || self.regexes.iter().any(|regex| regex.matches(tag)))
            && (self.versions.is_empty() || self.versions.iter().any(|range| range.matches(tag)))
            && !self.exclude.iter().any(any)
    }
}

/// A pattern for a whole tag: `*` is any text, `?` any one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(crate::glob::Glob);

impl FromStr for Glob {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || text.contains(['[', ']', '{', '}', '\\']) {
            return Err(Error::new(Kind::Usage, "not a pattern for tags")
                .expected("text with `*` for any text and `?` for any character")
                .found(text.escape_debug())
                .hint("`--tags-regex` takes a regular expression"));
        }
        text.parse().map(Self)
    }
}

impl Glob {
    fn matches(&self, tag: &str) -> bool {
        self.0.fits(tag)
    }
}

/// A regular expression for a whole tag. It takes linear time, whatever it is.
#[derive(Clone)]
pub struct Regex(regex_lite::Regex);

impl FromStr for Regex {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // The text must be whole by itself: `a)|(b` would become so between these brackets.
        let checked = regex_lite::Regex::new(text);
        let whole = checked.and_then(|_| regex_lite::Regex::new(&format!("^(?:{text})$")));
        whole.map(Self).map_err(|err| {
            Error::new(Kind::Usage, "not a regular expression")
                .found(text.escape_debug())
                .source(err)
        })
    }
}

impl Regex {
    fn matches(&self, tag: &str) -> bool {
        self.0.is_match(tag)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// A range of versions as Cargo writes it: `>=1.2, <2`, `^1.4`, `~1.4.2`; or several of them, with
/// `||` between, of which one holds the version.
#[derive(Clone, Debug)]
pub struct Versions(Vec<VersionReq>);

impl FromStr for Versions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let ranges: Result<Vec<VersionReq>, semver::Error> =
            text.split("||").map(str::parse).collect();
        ranges.map(Self).map_err(|err| {
            Error::new(Kind::Usage, "not a range of versions")
                .expected("comparisons as in `>=1.2, <2` or `^1.4 || ^2.1`")
                .found(text.escape_debug())
                .source(err)
        })
    }
}

impl Versions {
    /// A tag that is no version is in no range; a pre-release only in one that names it.
    fn matches(&self, tag: &str) -> bool {
        let holds = |version: Version| self.0.iter().any(|range| range.matches(&version));
        version(tag).is_some_and(holds)
    }
}

/// The version that a tag names: `1.2.3`, `v1.2.3`, and `1.2` for `1.2.0`. One number alone is
/// the name of a whole series.
fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let (numbers, rest) = text.split_at(text.find('-').unwrap_or(text.len()));
    match numbers.matches('.').count() {
        1 => format!("{numbers}.0{rest}").parse().ok(),
        2 => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, tag: &str) -> bool {
        pattern.parse::<Glob>().unwrap().matches(tag)
    }

    #[test]
    fn globs_match_whole_tags() {
        for (pattern, tags, others) in [
            ("*", &["", "1", "a.b"][..], &[][..]),
            ("v1.*", &["v1.", "v1.2", "v1.2.3"], &["v1", "v2.1", "xv1.2"]),
            ("1.?", &["1.2"], &["1.", "1.22"]),
            ("*-alpine", &["1-alpine", "-alpine"], &["1-alpine3", "alpine"]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["ab", "acb"]),
            ("latest", &["latest"], &["latest2", "Latest"]),
        ] {
            assert!(tags.iter().all(|tag| glob(pattern, tag)), "{pattern}");
            assert!(!others.iter().any(|tag| glob(pattern, tag)), "{pattern}");
        }
        assert!(!glob(&"*a".repeat(40), &"a".repeat(39)));
        for bad in ["", "[ab]", "{a,b}", r"\*"] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }

    #[test]
    fn expressions_match_whole_tags() {
        let regex: Regex = r"v\d+|edge".parse().unwrap();
        for (tag, fits) in [("v12", true), ("edge", true), ("v12-rc", false), ("xedge", false)] {
            assert_eq!(regex.matches(tag), fits, "{tag}");
        }
        for bad in ["(", "a)|(b"] {
            assert_eq!(bad.parse::<Regex>().unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }

    #[test]
    fn versions_are_compared_as_versions() {
        let range: Versions = ">=1.2, <2".parse().unwrap();
        for tag in ["1.2.0", "1.2", "v1.10.3", "1.99"] {
            assert!(range.matches(tag), "{tag}");
        }
        for tag in ["1.1.9", "2.0.0", "1", "latest", "1.3.0-rc.1", "1.2.3-alpine", "1.2.3.4", ""] {
            assert!(!range.matches(tag), "{tag}");
        }
        assert!(">=1.3.0-rc.1".parse::<Versions>().unwrap().matches("1.3.0-rc.2"));
        let either: Versions = "^1.4, <1.8 || 3.*".parse().unwrap();
        assert!(["1.5", "3.0", "v3.7.1"].iter().all(|tag| either.matches(tag)));
        assert!(!["1.3", "1.8", "2.0", "4.0"].iter().any(|tag| either.matches(tag)));
        for bad in ["newest", "", "^1 ||", "^1 || y", "^1 | ^2"] {
            assert!(bad.parse::<Versions>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_sort_of_rule_must_be_met() {
        let filter = TagFilter {
            globs: vec!["1.*".parse().unwrap(), "2.*".parse().unwrap()],
            versions: vec![">=1.5".parse().unwrap()],
            exclude: vec!["*.9".parse().unwrap()],
            ..TagFilter::default()
        };
        let taken = |tag| filter.takes(tag);
        assert_eq!(
            ["1.5", "2.0", "1.4", "3.0", "1.9"].map(taken),
            [true, true, false, false, false]
        );
        assert!(TagFilter::default().takes("anything"));
    }
}
