//! Names of entries: from the bytes in a tar to a path below the root.
//!
//! A name is bytes, in no encoding. It is cleaned lexically before anything looks at the disk:
//! `/x`, `./x` and `a/../x` are all `x` in the root. A name that would climb above the root has
//! no honest writer and is refused (rule U1), never bent into the root.

use conex_spec::{Error, Result};
use conex_tar::show;

/// The longest component of a path, in bytes: `NAME_MAX` of Linux. What cannot be unpacked is not listed or
/// exported either.
const MAX_COMPONENT: usize = 255;

/// The path of an entry below the root: no empty, `.` or `..` component. Empty is the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Components joined by single slashes.
    bytes: Vec<u8>,
}

impl Name {
    /// Cleans the bytes of a tar header; fails for an empty name, for a NUL and for a name that
    /// climbs above the root.
    pub fn parse(raw: &[u8]) -> Result<Self> {
        if raw.is_empty() {
            return Err(Error::invalid("tar entry has an empty name"));
        }
        if raw.contains(&0) {
            let message = format!("name of tar entry {} holds a NUL byte", show(raw));
            return Err(Error::invalid(message));
        }
        let mut name = Self::default();
        for component in raw.split(|&b| b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => name.pop(raw)?,
                _ if component.len() > MAX_COMPONENT => {
                    return Err(Error::invalid("component of a name is too long")
                        .expected(format!("at most {MAX_COMPONENT} bytes, as file systems have it"))
                        .found(format!("{} bytes, {}", component.len(), show(component))));
                }
                _ => name.push(component),
            }
        }
        Ok(name)
    }

    /// The components joined by `/`; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The directory's path and the last component; the last is empty only for the root.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.bytes.iter().rposition(|&b| b == b'/') {
            Some(slash) => (&self.bytes[..slash], &self.bytes[slash + 1..]),
            None => (&[], &self.bytes),
        }
    }

    fn push(&mut self, component: &[u8]) {
        if !self.bytes.is_empty() {
            self.bytes.push(b'/');
        }
        self.bytes.extend_from_slice(component);
    }

    fn pop(&mut self, raw: &[u8]) -> Result<()> {
        if self.bytes.is_empty() {
            return Err(Error::invalid("name of tar entry leaves the root")
                .expected("a path below the root")
                .found(show(raw)));
        }
        let parent = self.split().0.len();
        self.bytes.truncate(parent);
        Ok(())
    }
}

/// The components of a cleaned path; none for the root.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (raw, clean) in [
            ("a", "a"),
            ("./a", "a"),
            ("/abs", "abs"),
            ("//a//b/", "a/b"),
            ("a/../x", "x"),
            ("a/b/../../x/.", "x"),
            ("/", ""),
            (".", ""),
            ("./", ""),
            ("a/..", ""),
            ("...", "..."),
            ("a/..b", "a/..b"),
            ("a\\..\\b", "a\\..\\b"),
        ] {
            let name = Name::parse(raw.as_bytes()).unwrap();
            assert_eq!(name.as_bytes(), clean.as_bytes(), "{raw}");
        }
    }

    /// Rule U1: reject, never clamp.
    #[test]
    fn names_above_the_root_are_refused() {
        for raw in ["..", "../x", "a/../../x", "/../x", "a/b/../../../c", "", "a\0b"] {
            assert!(Name::parse(raw.as_bytes()).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn components_are_as_long_as_file_systems_take_them() {
        let name = |length: usize| [&b"a/"[..], &vec![b'n'; length], b"/b"].concat();
        assert!(Name::parse(&name(255)).is_ok());
        let err = Name::parse(&name(256)).unwrap_err().to_string();
        assert!(err.contains("256 bytes"), "{err}");
    }

    #[test]
    fn parts() {
        let split = |raw: &str| {
            let name = Name::parse(raw.as_bytes()).unwrap();
            let (parent, last) = name.split();
            (parent.to_vec(), last.to_vec())
        };
        assert_eq!(split("a/b/c"), (b"a/b".to_vec(), b"c".to_vec()));
        assert_eq!(split("c"), (b"".to_vec(), b"c".to_vec()));
        assert_eq!(split("/"), (b"".to_vec(), b"".to_vec()));
        assert_eq!(components(b"a/b").count(), 2);
        assert_eq!(components(b"").count(), 0);
    }
}
