//! Patterns of paths as a `.dockerignore` has them, and what they choose of a folder.
//!
//! The rules are those of Docker's builder (`moby/patternmatcher`): Go's `filepath.Match` with `**` beside
//! it, and `!` for exceptions; the last pattern that fits decides, and what a pattern leaves out or brings
//! back goes with all that is below it.

use std::collections::HashMap;

use conex_spec::{Error, Kind, Result};

/// Some patterns in their order; the last one that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    exception: bool,
    parts: Vec<Part>,
}

/// A piece of a pattern, for bytes: names have no encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exactly(u8),
    /// `?`: anything but a slash.
    One,
    /// `*`: any number of those.
    Some,
    /// `**` and the slash after it: nothing, or anything that ends in a slash.
    Folders,
    /// `**` at the end, or before a plain name: anything.
    All,
    /// `[a-z]`, `[^a-z]`: whether those are meant that are not listed, and the ranges.
    Among(bool, Vec<(u8, u8)>),
}

impl Patterns {
    /// The lines of a `.dockerignore`: a comment begins with `#` in the first column, white space around a
    /// pattern is nothing, and so is a slash before it.
    pub fn dockerignore(text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            patterns.add(line)?;
        }
        Ok(patterns)
    }

    /// Adds one pattern; an empty one is none.
    pub fn add(&mut self, line: &str) -> Result<()> {
        let line = line.trim();
        let (exception, text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if line.is_empty() {
            return Ok(());
        }
        if text.is_empty() {
            return Err(bad(line, "a pattern after `!`"));
        }
        let parts = parse(&clean(text)).map_err(|expected| bad(line, expected))?;
        self.0.push(Pattern { exception, parts });
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something below a directory that fits may not fit.
    fn has_exceptions(&self) -> bool {
        self.0.iter().any(|pattern| pattern.exception)
    }

    /// Whether the last pattern that fits a path is no exception, and which ones fit it, given which fit
    /// the directory that it is in. As in Docker's `patternmatcher`, a pattern that would change nothing
    /// is not looked at, and what is below does not inherit it: `!docs` brings `docs` back only where
    /// something before it left `docs` out, and not what another pattern leaves out below.
    fn fitting(&self, above: Option<&Vec<bool>>, path: &[u8]) -> (bool, Vec<bool>) {
        let (mut matched, mut fitting) = (false, vec![false; self.0.len()]);
        for (at, pattern) in self.0.iter().enumerate() {
            fitting[at] = above.is_some_and(|above| above[at])
                || pattern.exception == matched && pattern.fits(path);
            if fitting[at] {
                matched = !pattern.exception;
            }
        }
        (matched, fitting)
    }
}

/// What of a folder is packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what fits, where there are any.
    pub include: Patterns,
    /// Not what fits.
    pub exclude: Patterns,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// Not taken itself; what is below it may be.
    Descend,
    Leave,
}

/// A filter on its way through a tree.
#[derive(Debug)]
pub(super) struct Filtering<'a> {
    filter: &'a Filter,
    /// What fits the directories on the way, by their path with a slash at the end.
    above: HashMap<Vec<u8>, (Vec<bool>, Vec<bool>)>,
}

impl<'a> Filtering<'a> {
    pub(super) fn new(filter: &'a Filter) -> Self {
        Self { filter, above: HashMap::new() }
    }

    /// Directories must be asked for before what is in them.
    pub(super) fn verdict(&mut self, dir: &[u8], name: &[u8], is_dir: bool) -> Verdict {
        let Filter { include, exclude } = self.filter;
        if include.is_empty() && exclude.is_empty() {
            return Verdict::Take;
        }
        let path = [dir, name].concat();
        let above = self.above.get(dir);
        let (wanted, included) = include.fitting(above.map(|above| &above.0), &path);
        let (unwanted, excluded) = exclude.fitting(above.map(|above| &above.1), &path);
        let wanted = wanted || include.is_empty();
        if is_dir {
            self.above.insert([&path[..], b"/"].concat(), (included, excluded));
        }
        match (wanted, unwanted) {
            (true, false) => Verdict::Take,
            (false, false) if is_dir => Verdict::Descend,
            (_, true) if is_dir && exclude.has_exceptions() => Verdict::Descend,
            _ => Verdict::Leave,
        }
    }

    /// Nothing below a directory will be asked for any more.
    pub(super) fn leave(&mut self, dir: &[u8]) {
        self.above.remove(dir);
    }
}

fn bad(line: &str, expected: &str) -> Error {
    Error::new(Kind::Usage, "not a pattern of paths").expected(expected).found(line.escape_debug())
}

/// As Go's `filepath.Clean`, and without a slash at the beginning.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if text.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn parse(text: &str) -> Result<Vec<Part>, &'static str> {
    let bytes = text.as_bytes();
    let (mut parts, mut at) = (Vec::new(), 0);
    // `**.md`: Docker asks only for the end of the path then, in whatever folder.
    let plain = |rest: &[u8]| {
        !rest.is_empty() && rest[0] != b'/' && !rest.iter().any(|b| b"*?[]\\".contains(b))
    };
    if let Some(rest) = bytes.strip_prefix(b"**").filter(|rest| plain(rest)) {
        parts.push(Part::All);
        at = bytes.len() - rest.len();
    }
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'*' if bytes.get(at) == Some(&b'*') => {
                at += 1;
                at += usize::from(bytes.get(at) == Some(&b'/'));
                parts.push(if at == bytes.len() { Part::All } else { Part::Folders });
            }
            b'*' => parts.push(Part::Some),
            b'?' => parts.push(Part::One),
            b'[' => parts.push(class(bytes, &mut at)?),
            b'\\' => {
                let next = bytes.get(at).ok_or("something after `\\`")?;
                parts.push(Part::Exactly(*next));
                at += 1;
            }
            byte => parts.push(Part::Exactly(byte)),
        }
    }
    Ok(parts)
}

fn class(bytes: &[u8], at: &mut usize) -> Result<Part, &'static str> {
    const OPEN: &str = "`]` after `[`";
    let others = bytes.get(*at) == Some(&b'^');
    *at += usize::from(others);
    let mut ranges = Vec::new();
    let next = |at: &mut usize| -> Result<u8, &'static str> {
        *at += usize::from(bytes.get(*at) == Some(&b'\\'));
        *at += 1;
        bytes.get(*at - 1).copied().ok_or(OPEN)
    };
    while bytes.get(*at) != Some(&b']') || ranges.is_empty() {
        let from = next(at)?;
        let to = if bytes.get(*at) == Some(&b'-') && bytes.get(*at + 1) != Some(&b']') {
            *at += 1;
            next(at)?
        } else {
            from
        };
        if from > to {
            return Err("a range from lower to higher");
        }
        ranges.push((from, to));
    }
    *at += 1;
    Ok(Part::Among(others, ranges))
}

impl Pattern {
    /// Whether the whole of a path fits. All ways are tried side by side, so that no pattern takes longer
    /// than its length times that of the path.
    fn fits(&self, path: &[u8]) -> bool {
        let end = self.parts.len();
        // Places in the pattern, and, behind them, those within a `**/`.
        let mut now = vec![false; 2 * end + 2];
        self.reach(&mut now, 0);
        for &byte in path {
            let mut next = vec![false; now.len()];
            for (at, part) in self.parts.iter().enumerate() {
                let inside = now[end + 1 + at];
                if !now[at] && !inside {
                    continue;
                }
                match part {
                    Part::Exactly(wanted) if byte == *wanted => self.reach(&mut next, at + 1),
                    Part::One if byte != b'/' => self.reach(&mut next, at + 1),
                    Part::Some if byte != b'/' => self.reach(&mut next, at),
                    Part::All => self.reach(&mut next, at),
                    Part::Folders => {
                        next[end + 1 + at] = true;
                        if byte == b'/' {
                            self.reach(&mut next, at + 1);
                        }
                    }
                    Part::Among(others, ranges)
                        if ranges.iter().any(|(a, b)| (*a..=*b).contains(&byte)) != *others =>
                    {
                        self.reach(&mut next, at + 1);
                    }
                    _ => {}
                }
            }
            now = next;
        }
        now[end]
    }

    /// Marks a place, and those that are reached from it by nothing.
    fn reach(&self, places: &mut [bool], mut at: usize) {
        places[at] = true;
        while matches!(self.parts.get(at), Some(Part::Some | Part::All | Part::Folders)) {
            at += 1;
            places[at] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    /// Whether a path is left out, asked for as a walk does.
    fn excluded(text: &str, path: &str) -> bool {
        let filter = Filter { exclude: Patterns::dockerignore(text).unwrap(), ..Filter::default() };
        let mut filtering = Filtering::new(&filter);
        let mut dir = String::new();
        let mut verdict = Verdict::Take;
        let count = path.split('/').count();
        for (at, name) in path.split('/').enumerate() {
            verdict = filtering.verdict(dir.as_bytes(), name.as_bytes(), at + 1 < count);
            dir += &format!("{name}/");
            if verdict == Verdict::Leave {
                break;
            }
        }
        verdict != Verdict::Take
    }

    /// Cases of moby/patternmatcher's documentation and tests, and of Docker's on `.dockerignore`.
    #[test]
    fn patterns_are_those_of_docker() {
        for (text, path, expected) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir", false),
            ("dir/**", "dir/dir2/file", true),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/dir/file", true),
            ("**file*", "dir/file.txt", true),
            ("**/file*txt", "dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("a**/*.txt", "abc/xyz/file.txt", true),
            ("a*/*.txt", "abc/xyz/file.txt", false),
            ("a[b-d]e", "ace", true),
            ("a[b-d]e", "aae", false),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("a\\*c", "abc", false),
            ("a\\*c", "a*c", true),
            ("*", "a/b/c", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "other.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("docs\n!docs/README.md", "docs/README.md", false),
            ("docs\n!docs/README.md", "docs/other", true),
            ("!docs\ndocs", "docs", true),
            ("/foo", "foo", true),
            ("foo/", "foo/bar", true),
            ("  foo  ", "foo", true),
            ("# foo\nfoo2", "# foo", false),
            (" # foo", "# foo", true),
            ("./a/../b", "b", true),
            ("\u{feff}foo", "foo", true),
            ("! foo\n", "foo", false),
            ("**.md", "a.md", true),
            ("**.md", "x/y/a.md", true),
            ("**.md", "a.mdx", false),
            ("**file", "myfile", true),
            ("**d/file", "bad/file", true),
            ("**.m*", "a.md", false),
            ("**.m*", "x/.md", true),
            ("dir**", "directory/file", true),
            ("**/*.md\n!docs", "docs/a.md", true),
            ("**/*.md\n!docs", "docs/a.txt", false),
            ("**/*.md\n!docs/**", "docs/a.md", false),
            ("docs/*\n!docs/", "docs/a", true),
            ("docs\n!docs", "docs/a", false),
            ("*\n!docs", "docs/a/b", false),
            ("*\n!docs\ndocs/a", "docs/a/b", true),
            ("docs\n!docs/a\ndocs/a/b", "docs/a/c", false),
            ("docs\n!docs/a\ndocs/a/b", "docs/a/b/c", true),
            ("!docs\n*.md", "docs/a.md", false),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/*/temp*", "a/temporary.txt", false),
        ] {
            assert_eq!(excluded(text, path), expected, "{text:?} {path}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["!", "! ", "a[", "a[b", "a\\", "[z-a]"] {
            assert!(Patterns::dockerignore(text).is_err(), "{text}");
        }
        assert!(Patterns::dockerignore("\n \n#x\n").unwrap().is_empty());
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        assert!(!excluded(&format!("{}b", "*a".repeat(30)), &"a".repeat(250)));
        assert!(excluded(&format!("{}b", "**/*a".repeat(20)), &format!("{}b", "a".repeat(200))));
    }
}
