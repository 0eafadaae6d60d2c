//! `.helmignore`: which files of a folder are no part of the chart (Helm, pkg/ignore).
//!
//! It is not `.gitignore`: the first rule that matches decides, a rule with `!` leaves out everything
//! that it does *not* match, and `**` is an error.

use conex_spec::{Error, Result};

/// The rules of a folder, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    pattern: Vec<char>,
    /// `!`: what it does not match is left out.
    negated: bool,
    /// A `/` at its end: it matches folders only.
    folder: bool,
    /// A `/` within it: the whole path is meant, else the last name of it.
    path: bool,
}

impl Rules {
    /// Reads the lines of a file, and adds Helm's own rule: nothing hidden in `templates`.
    ///
    /// # Errors
    /// `Invalid`, with the line.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().chain(["templates/.?*"]).enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |expected: &str| {
                Error::invalid(format!(".helmignore, line {}: not a rule", at + 1))
                    .expected(expected)
                    .found(format!("{line:.80?}"))
            };
            if line.contains("**") {
                return Err(fault("`*`, which stays within one folder"));
            }
            let rule = Rule::parse(line);
            if !is_sound(&rule.pattern) {
                return Err(fault("a pattern whose brackets are closed"));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// Whether a path in the folder is left out, and all below it where it is a folder.
    pub(crate) fn leave_out(&self, path: &str, is_folder: bool) -> bool {
        for rule in &self.0 {
            let matches = (is_folder || !rule.folder) && rule.matches(path);
            if matches != rule.negated {
                return true;
            }
        }
        false
    }
}

impl Rule {
    fn parse(line: &str) -> Self {
        let (negated, line) = match line.strip_prefix('!') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let (folder, line) = match line.strip_suffix('/') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let path = line.contains('/');
        let pattern = line.strip_prefix('/').unwrap_or(line).chars().collect();
        Self { pattern, negated, folder, path }
    }

    fn matches(&self, path: &str) -> bool {
        let name = if self.path { path } else { path.rsplit('/').next().unwrap_or(path) };
        let name: Vec<char> = name.chars().collect();
        matches(&self.pattern, &name)
    }
}

/// Go's `filepath.Match`: `*` and `?` stay within one name, `[a-z]` and `[^a-z]` are sets, `\` takes
/// the next letter as it is. In the time of the product of the lengths, whatever the pattern.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where to go on from when the rest does not match: after the last star, one letter later.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, seen));
            at += 1;
            continue;
        }
        if at == pattern.len() && seen == name.len() {
            return true;
        }
        let step = name.get(seen).and_then(|c| one(&pattern[at..], *c));
        match (step, star) {
            (Some(length), _) => (at, seen) = (at + length, seen + 1),
            (None, Some((after, from))) if name.get(from).is_some_and(|c| *c != '/') => {
                star = Some((after, from + 1));
                (at, seen) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// How long the part of a pattern is that matches one letter, where it does.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '[' => {
            let (set, length) = set(pattern)?;
            (c != '/' && set.holds(c)).then_some(length)
        }
        '\\' => (*pattern.get(1)? == c).then_some(2),
        first => (*first == c).then_some(1),
    }
}

struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// The set at the beginning of a pattern, and its length there.
fn set(pattern: &[char]) -> Option<(Set, usize)> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = 1 + usize::from(negated);
    let mut ranges = Vec::new();
    while ranges.is_empty() || pattern.get(at)? != &']' {
        let (low, next) = letter(pattern, at)?;
        let (high, next) = match pattern.get(next)? {
            '-' => letter(pattern, next + 1)?,
            _ => (low, next),
        };
        ranges.push((low, high));
        at = next;
    }
    Some((Set { negated, ranges }, at + 1))
}

fn letter(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        '-' | ']' => None,
        c => Some((*c, at + 1)),
    }
}

fn is_sound(mut pattern: &[char]) -> bool {
    while let Some(first) = pattern.first() {
        let length = match first {
            '[' => match set(pattern) {
                Some((_, length)) => length,
                None => return false,
            },
            '\\' if pattern.len() < 2 => return false,
            '\\' => 2,
            _ => 1,
        };
        pattern = &pattern[length..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of Helm's own tests (pkg/ignore/rules_test.go).
    #[test]
    fn rules_leave_out_what_they_leave_out_for_helm() {
        for (rule, path, is_folder, expected) in [
            ("helm.txt", "helm.txt", false, true),
            ("helm.*", "helm.txt", false, true),
            ("helm.*", "rudder.txt", false, false),
            ("*.txt", "tiller.txt", false, true),
            ("*.txt", "cargo/a.txt", false, true),
            ("cargo/*.txt", "cargo/a.txt", false, true),
            ("cargo/*.*", "cargo/a.txt", false, true),
            ("cargo/*.txt", "mast/a.txt", false, false),
            ("ru[c-e]?er.txt", "rudder.txt", false, true),
            ("templates/.?*", "templates/.dotfile", false, true),
            ("cargo/", "cargo", true, true),
            ("cargo", "cargo/", true, false),
            ("cargo/", "mast", true, false),
            ("helm.txt/", "helm.txt", false, false),
            ("/a.txt", "a.txt", false, true),
            ("/a.txt", "cargo/a.txt", false, false),
            ("/cargo/a.txt", "cargo/a.txt", false, true),
            ("!helm.txt", "helm.txt", false, false),
            ("!helm.txt", "tiller.txt", false, true),
            ("!*.txt", "cargo", true, true),
            ("!cargo/", "mast/", true, true),
            ("# a comment", "# a comment", false, false),
            ("[^a-c]", "d", false, true),
            ("[^a-c]", "b", false, false),
            ("\\*", "*", false, true),
            ("\\*", "x", false, false),
            ("a*b*c", "a/b/c", false, false),
            ("*a*b", "xxaxxbxb", false, true),
            ("", "templates/.hidden", false, true),
            ("", "templates/shown", false, false),
        ] {
            let rules = Rules::parse(rule).unwrap();
            assert_eq!(rules.leave_out(path, is_folder), expected, "{rule:?} {path:?}");
        }
        let rules = Rules::parse("*.bak\n\n# x\n!*.yaml\n").unwrap();
        assert!(rules.leave_out("a.bak", false) && rules.leave_out("a.txt", false));
        assert!(!rules.leave_out("a.yaml", false));
    }

    #[test]
    fn what_is_no_rule_is_an_error_with_its_line() {
        for bad in ["**", "a/**/b", "[", "[a", "[]a]", "[a-]", "a\\", "[-x]"] {
            let err = Rules::parse(&format!("ok\n{bad}\n")).unwrap_err();
            assert!(err.message().contains("line 2"), "{bad}: {err}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let rule = "*a".repeat(2000);
        let rules = Rules::parse(&rule).unwrap();
        assert!(!rules.leave_out(&"a".repeat(1999), false));
    }
}
