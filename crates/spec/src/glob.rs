//! Patterns of names, as shells have them: `*`, `?`, `[a-z]`, `[!0-9]`.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Kind, Result};

/// A pattern. A slash is a letter like any other, so that `*` goes beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Exactly(char),
    /// Whether those are meant that are not listed, and the ranges.
    Among(bool, Vec<(char, char)>),
}

impl Glob {
    /// Whether the whole of a name fits.
    pub fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut part) = (0, 0);
        // Where the last `*` stands, and how much it swallows so far: only it is ever gone back to.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    star = Some((part, at));
                    part += 1;
                    continue;
                }
                Some(one) if one.takes(name[at]) => {
                    (at, part) = (at + 1, part + 1);
                    continue;
                }
                _ => {}
            }
            let Some((from, swallowed)) = star else { return false };
            star = Some((from, swallowed + 1));
            (at, part) = (swallowed + 1, from + 1);
        }
        self.parts[part..].iter().all(|rest| *rest == Part::Any)
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Exactly(wanted) => *wanted == c,
            Self::Among(others, ranges) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *others
            }
        }
    }
}

/// As it was written.
impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Glob {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Exactly(rest.next().ok_or_else(|| wrong(text))?),
                '[' => among(&mut rest).ok_or_else(|| wrong(text))?,
                c => Part::Exactly(c),
            });
        }
        Ok(Self { parts, text: text.to_owned() })
    }
}

/// What follows a `[`. A `]` that comes first is one of the letters.
fn among(rest: &mut std::str::Chars<'_>) -> Option<Part> {
    let others = rest.as_str().starts_with(['!', '^']);
    if others {
        rest.next();
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    loop {
        match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Part::Among(others, ranges)),
            from => {
                let mut ahead = rest.clone();
                match (ahead.next(), ahead.next()) {
                    (Some('-'), Some(to)) if to != ']' => {
                        *rest = ahead;
                        ranges.push((from, to));
                    }
                    _ => ranges.push((from, from)),
                }
            }
        }
    }
}

fn wrong(text: &str) -> Error {
    Error::new(Kind::Usage, "not a pattern")
        .expected("letters, `*`, `?` and `[a-z]`; `\\` before one of them that is meant itself")
        .found(text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, fitting, others) in [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "a/b"], &[]),
            ("1.*", &["1.", "1.2", "1.2-rc"], &["1", "11.2"]),
            ("*-alpine", &["3-alpine", "-alpine"], &["3-alpine3", "alpine"]),
            ("a*b*c", &["abc", "aXbYc", "abcbc"], &["ab", "acb"]),
            ("v?", &["v1", "vé"], &["v", "v12"]),
            ("[0-9]*", &["1", "9x"], &["x"]),
            ("[!a-c]", &["d", "-"], &["b", ""]),
            ("[]a-]", &["]", "a", "-"], &["b"]),
            ("\\*", &["*"], &["a"]),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            for name in fitting {
                assert!(glob.fits(name), "{pattern} {name}");
            }
            for name in others {
                assert!(!glob.fits(name), "{pattern} {name}");
            }
        }
        for bad in ["[", "[]", "[a", "[!", "\\"] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
    }

    /// No pattern takes more than the product of both lengths.
    #[test]
    fn many_stars_are_no_trap() {
        let glob: Glob = "a*".repeat(60).parse().unwrap();
        assert!(!glob.fits(&("a".repeat(5000) + "b").replace('a', "c")));
        assert!(glob.fits(&"a".repeat(5000)));
    }
}
