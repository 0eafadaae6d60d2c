//! The names of an archive's members, and where their content lies.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Entry, Kind as Sort, show};

/// All names together take no more memory than this, in bytes; a million layers have shorter ones.
const MAX_NAMES: usize = 64 << 20;
/// What a member costs besides its name.
const OVERHEAD: usize = 64;
/// Longer chains of links are no real ones.
const MAX_LINKS: usize = 32;

/// Where the content of a member lies, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From the beginning of the file.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

/// Members by their clean names.
#[derive(Debug, Default)]
pub struct Members {
    by_name: HashMap<Box<[u8]>, Member>,
    /// How much memory the names take.
    used: usize,
}

#[derive(Debug)]
enum Member {
    File(Part),
    /// The clean name of another member.
    Link(Box<[u8]>),
    /// Why nothing can be read from it.
    Unreadable(&'static str),
}

impl Members {
    /// Adds an entry of the tar; `part` is where its content lies, if it is a file.
    ///
    /// # Errors
    /// `Invalid` for a name that leads out of the archive; `Limit` for too many names.
    pub fn add(&mut self, entry: &Entry, part: Part) -> Result<()> {
        let name = clean(&entry.path, &[]).ok_or_else(|| {
            Error::invalid("member of the archive has a name that leads out of it")
                .found(show(&entry.path))
        })?;
        let member = match &entry.kind {
            Sort::File if entry.sparse => Member::Unreadable("a sparse file"),
            Sort::File => Member::File(part),
            // The target of a symbolic link is relative to its folder, of a hard link to the root.
            Sort::Symlink(target) => link(clean(target, folder(&name))),
            Sort::HardLink(target) => link(clean(target, &[])),
            Sort::Dir => return Ok(()),
            _ => Member::Unreadable("a device"),
        };
        self.used += name.len() + OVERHEAD;
        if let Member::Link(target) = &member {
            self.used += target.len();
        }
        if self.used > MAX_NAMES {
            return Err(Error::new(Kind::Limit, "archive has too many members")
                .expected(format!("at most {MAX_NAMES} bytes of names")));
        }
        match self.by_name.entry(name.into()) {
            // Some readers take the first and some the last of two.
            Slot::Occupied(mut known) => *known.get_mut() = Member::Unreadable("there twice"),
            Slot::Vacant(slot) => {
                slot.insert(member);
            }
        }
        Ok(())
    }

    /// Where the content of a member lies; links between members are followed. Nothing where
    /// there is no member of this name.
    ///
    /// # Errors
    /// `Invalid` where the content cannot be told: a member that is there twice or is no regular
    /// file, and links that lead in a circle or out of the archive (rule D7).
    pub fn find(&self, name: &str) -> Result<Option<Part>> {
        let fault = |found: &str| {
            Error::invalid(format!("{} cannot be read from the archive", show(name.as_bytes())))
                .expected("one regular file")
                .found(found)
        };
        let Some(mut at) = clean(name.as_bytes(), &[]) else { return Ok(None) };
        for links in 0..=MAX_LINKS {
            match self.by_name.get(at.as_slice()) {
                Some(Member::File(part)) => return Ok(Some(*part)),
                Some(Member::Link(target)) => at = target.to_vec(),
                Some(Member::Unreadable(why)) => return Err(fault(why)),
                None if links > 0 => {
                    return Err(fault(&format!("a link to {}, which is no member", show(&at))));
                }
                None => return Ok(None),
            }
        }
        Err(fault("links that lead in a circle"))
    }

    /// Whether there is a member of this name that could be read.
    pub fn has(&self, name: &str) -> bool {
        matches!(self.find(name), Ok(Some(_)))
    }

    /// All names, folders not counted, in no order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_name.keys().map(|name| &name[..])
    }

    /// How many members there are, folders not counted.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

fn link(target: Option<Vec<u8>>) -> Member {
    match target {
        Some(target) => Member::Link(target.into()),
        None => Member::Unreadable("a link that leads out of it"),
    }
}

fn folder(name: &[u8]) -> &[u8] {
    let slash = name.iter().rposition(|&b| b == b'/');
    slash.map_or(&[], |at| &name[..at])
}

/// The name without `.`, `..` and needless slashes, starting from a folder whose name is clean.
/// A leading slash is the root of the archive. Nothing where it leads above that root.
fn clean(name: &[u8], folder: &[u8]) -> Option<Vec<u8>> {
    let start = if name.starts_with(b"/") { &[] } else { folder };
    let mut parts: Vec<&[u8]> = start.split(|&b| b == b'/').filter(|p| !p.is_empty()).collect();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(entries: &[(&str, Sort)]) -> Result<Members> {
        let mut members = Members::default();
        for (offset, (name, kind)) in entries.iter().enumerate() {
            members.add(&Entry::new(*name, kind.clone()), part(offset as u64))?;
        }
        Ok(members)
    }

    fn part(offset: u64) -> Part {
        Part { offset, size: 1 }
    }

    fn symlink(target: &str) -> Sort {
        Sort::Symlink(target.into())
    }

    #[test]
    fn names_are_cleaned_on_both_sides() {
        let members = members(&[("./a//b/./c", Sort::File), ("/x/../y", Sort::File)]).unwrap();
        for name in ["a/b/c", "/a/b/c", "./a/x/../b/c"] {
            assert_eq!(members.find(name).unwrap(), Some(part(0)), "{name}");
        }
        assert_eq!(members.find("y").unwrap(), Some(part(1)));
        for name in ["../a/b/c", "../../etc/passwd", "a/b", "", "/", ".."] {
            assert_eq!(members.find(name).unwrap(), None, "{name}");
        }
    }

    /// Rule D7.
    #[test]
    fn links_are_followed_inside_and_never_outside_or_in_circles() {
        let members = members(&[
            ("one/layer.tar", Sort::File),
            ("two/layer.tar", symlink("../one/layer.tar")),
            ("three/layer.tar", Sort::HardLink("two/layer.tar".into())),
            ("passwd", symlink("../../etc/passwd")),
            ("absolute", symlink("/etc/passwd")),
            ("circle", symlink("elcric")),
            ("elcric", symlink("circle")),
            ("self", symlink("self")),
            ("fifo", Sort::Fifo),
        ])
        .unwrap();
        for name in ["two/layer.tar", "three/layer.tar"] {
            assert_eq!(members.find(name).unwrap(), Some(part(0)));
        }
        for (name, found) in [
            ("passwd", "out of"),
            ("absolute", "etc/passwd, which is no member"),
            ("circle", "in a circle"),
            ("self", "in a circle"),
            ("fifo", "a device"),
        ] {
            let err = members.find(name).unwrap_err();
            assert!(err.found_value().unwrap().contains(found), "{name}: {err}");
            assert!(!members.has(name));
        }
    }

    #[test]
    fn two_members_of_one_name_are_neither() {
        let entries = [("a", Sort::File), ("./a", Sort::File), ("d/", Sort::Dir), ("d", Sort::Dir)];
        let members = members(&entries).unwrap();
        assert_eq!(members.find("a").unwrap_err().found_value(), Some("there twice"));
        assert_eq!(members.find("d").unwrap(), None);
        assert_eq!((members.len(), members.is_empty()), (1, false));
    }

    #[test]
    fn names_above_the_root_and_floods_of_names_are_refused() {
        for name in ["../a", "a/../../b", "/.."] {
            let err = members(&[(name, Sort::File)]).unwrap_err();
            assert!(err.message().contains("leads out of it"), "{name}: {err}");
        }
        let mut flood = Members::default();
        let add = |n: u32| {
            flood.add(&Entry::new(format!("{n:01000}"), Sort::File), Part { offset: 0, size: 0 })
        };
        let err = (0..100_000).try_for_each(add).unwrap_err();
        assert_eq!(err.kind(), Kind::Limit);
    }
}
