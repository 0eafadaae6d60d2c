//! Manifests of trees: a line for each name with what it is, as mtree(5) has them, and whether a
//! tree is still what its manifest says.
//!
//! ```text
//! #mtree
//! ./etc/os-release type=link mode=0777 uid=0 gid=0 time=1700000000.000000000 nlink=1 link=../usr/lib/os-release
//! ```
//!
//! What is written has a whole path on each line, which bsdtar, NetBSD's mtree and go-mtree read.
//! What is read may also be the older form, of names in folders with `/set` and `..`.

mod read;
mod text;
mod walk;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd};

use conex_spec::{Error, Result};
use conex_tar::show;

use self::walk::visit;
use crate::Root;

/// The first line.
const HEAD: &str = "#mtree\n";
/// Says that files have no other attributes than those of the manifest.
const WHOLE: &str = "# conex: xattrs are complete\n";

/// What a manifest says of a name, by keyword.
pub(crate) type Words = BTreeMap<String, Vec<u8>>;

/// How a tree differs from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name below the root.
    pub path: Vec<u8>,
    /// What is different: a keyword of the manifest, or `name` where one of both has no such name.
    pub keyword: String,
    /// What the manifest says; nothing where it does not.
    pub expected: Option<Vec<u8>>,
    /// What is there; nothing where nothing is.
    pub found: Option<Vec<u8>>,
}

/// Writes the manifest of a tree: names in order, each folder before what is in it. Returns how many
/// names there are.
pub fn write(root: &Root, out: &mut impl Write) -> Result<u64> {
    write_with(root, root_of(root.as_fd())?, out)
}

/// What a manifest says of the root itself.
pub(crate) fn root_of(root: BorrowedFd<'_>) -> Result<Words> {
    walk::describe_dir(root, b"")
}

/// [`write`] with something else about the root.
pub(crate) fn write_with(root: &Root, is: Words, out: &mut impl Write) -> Result<u64> {
    let cannot = |err| Error::from_io(err, || "cannot write the manifest".into());
    out.write_all([HEAD, WHOLE].concat().as_bytes()).map_err(cannot)?;
    let mut count = 0;
    visit(root.as_fd(), None, &mut |path, words| {
        count += 1;
        let words = if path.is_empty() { is.clone() } else { words };
        out.write_all(text::line(path, &words).as_bytes()).map_err(cannot)
    })?;
    out.flush().map_err(cannot)?;
    Ok(count)
}

/// Compares a tree with its manifest; only the keywords that the manifest has.
///
/// # Errors
/// `Invalid` for a manifest that cannot be read, `Unsupported` for a digest other than SHA-256.
pub fn check(root: &Root, manifest: impl BufRead) -> Result<Vec<Difference>> {
    let manifest = read::read(manifest)?;
    let mut names = manifest.names;
    let mut differences = Vec::new();
    let hashed = |path: &[u8], names: &BTreeMap<Vec<u8>, Words>| {
        names.get(path).is_some_and(|words| words.contains_key(walk::SHA256))
    };
    let wanted = names.clone();
    visit(root.as_fd(), Some(&|path| hashed(path, &wanted)), &mut |path, found| {
        match names.remove(path) {
            Some(expected) => compare(path, expected, found, manifest.whole, &mut differences),
            None => differences.push(Difference::name(path, None, Some(found))),
        }
        Ok(())
    })?;
    let optional = |words: &Words| words.contains_key("optional");
    let missing = names.iter().filter(|(_, words)| !optional(words));
    differences
        .extend(missing.map(|(path, words)| Difference::name(path, Some(words.clone()), None)));
    Ok(differences)
}

fn compare(path: &[u8], expected: Words, mut found: Words, whole: bool, out: &mut Vec<Difference>) {
    if let Some(target) = found.get("link") {
        // go-mtree tells how long it is.
        found.insert("size".into(), target.len().to_string().into_bytes());
    }
    for (keyword, value) in expected {
        if read::IGNORED.contains(&keyword.as_str()) || is_of_file_system(&keyword, &found) {
            continue;
        }
        let there = match keyword.as_str() {
            // Whole seconds, as a tar without PAX has them.
            "tar_time" => found.get("time").map(|time| text::seconds(time)),
            _ => found.remove(&keyword),
        };
        let value = if keyword == "tar_time" { text::seconds(&value) } else { value };
        if there.as_ref() != Some(&value) {
            let (path, expected) = (path.to_vec(), Some(value));
            out.push(Difference { path, keyword, expected, found: there });
        }
    }
    for (keyword, value) in found {
        if whole && keyword.starts_with(walk::XATTR) {
            let (path, found) = (path.to_vec(), Some(value));
            out.push(Difference { path, keyword, expected: None, found });
        }
    }
}

/// Sizes of what is neither file nor link, and how many names a folder has, each file system decides;
/// go-mtree writes them all the same.
fn is_of_file_system(keyword: &str, found: &Words) -> bool {
    let kind = found.get("type").map(Vec::as_slice);
    match keyword {
        "size" => !matches!(kind, Some(b"file" | b"link")),
        "nlink" => kind == Some(b"dir"),
        _ => false,
    }
}

impl Difference {
    fn name(path: &[u8], expected: Option<Words>, found: Option<Words>) -> Self {
        let kind = |words: Words| words.get("type").cloned().unwrap_or_default();
        Self {
            path: path.to_vec(),
            keyword: "name".into(),
            expected: expected.map(kind),
            found: found.map(kind),
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { ".".into() } else { show(&self.path) };
        let value =
            |value: &Option<Vec<u8>>| value.as_ref().map_or("nothing".into(), |value| show(value));
        write!(
            f,
            "{path}: {} is {}, expected {}",
            self.keyword,
            value(&self.found),
            value(&self.expected)
        )
    }
}

#[cfg(test)]
mod tests;
