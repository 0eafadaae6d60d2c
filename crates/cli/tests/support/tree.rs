//! Whether two trees are the same: names, types, contents, modes, owners, times to the
//! nanosecond, extended attributes, devices and hard links.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

/// What is the same in two trees that are the same. Names in both are relative to the root.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    /// Of regular files; what other files have says nothing.
    size: u64,
    mtime: (i64, i64),
    device: u64,
    target: PathBuf,
    xattrs: BTreeMap<String, Vec<u8>>,
    /// All names of a file that has several.
    names: BTreeSet<PathBuf>,
}

/// All nodes below a root, and the root itself.
pub type Tree = BTreeMap<PathBuf, Node>;

/// Reads a tree.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut links: HashMap<(u64, u64), BTreeSet<PathBuf>> = HashMap::new();
    let mut inodes = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(name) = waiting.pop() {
        let path = root.join(&name);
        let meta =
            fs::symlink_metadata(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        if meta.is_dir() {
            waiting.extend(
                fs::read_dir(&path).unwrap().map(|entry| name.join(entry.unwrap().file_name())),
            );
        } else if meta.nlink() > 1 {
            links.entry((meta.dev(), meta.ino())).or_default().insert(name.clone());
            inodes.push((name.clone(), (meta.dev(), meta.ino())));
        }
        tree.insert(name, node(&path, &meta));
    }
    for (name, inode) in inodes {
        // Names outside the tree are nobody's business.
        if links[&inode].len() > 1 {
            tree.get_mut(&name).unwrap().names = links[&inode].clone();
        }
    }
    tree
}

fn node(path: &Path, meta: &Metadata) -> Node {
    let kind = meta.file_type();
    Node {
        kind: match () {
            () if kind.is_dir() => "folder",
            () if kind.is_file() => "file",
            () if kind.is_symlink() => "symlink",
            () if kind.is_char_device() => "character device",
            () if kind.is_block_device() => "block device",
            () if kind.is_fifo() => "fifo",
            () => "socket",
        },
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        size: if kind.is_file() { meta.size() } else { 0 },
        mtime: (meta.mtime(), meta.mtime_nsec()),
        device: meta.rdev(),
        target: if kind.is_symlink() { fs::read_link(path).unwrap() } else { PathBuf::new() },
        xattrs: xattrs(path),
        names: BTreeSet::new(),
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}

/// The differences of two trees on disk, one line each; the first is what was expected.
pub fn differences(expected: &Path, found: &Path) -> Vec<String> {
    let (left, right) = (read(expected), read(found));
    let mut lines = Vec::new();
    for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        let shown = format!("{:?}", Path::new("/").join(name));
        match (left.get(name), right.get(name)) {
            (Some(_), None) => lines.push(format!("{shown} is missing")),
            (None, Some(_)) => lines.push(format!("{shown} is too many")),
            (Some(a), Some(b)) if a != b => {
                lines.push(format!("{shown} differs\n  expected {a:?}\n  found    {b:?}"));
            }
            (Some(a), Some(_))
                if a.kind == "file" && !same(&expected.join(name), &found.join(name)) =>
            {
                lines.push(format!("{shown} has another content"));
            }
            _ => {}
        }
    }
    lines
}

/// Fails with the first differences where there are any; returns how many nodes are the same.
pub fn assert_same(expected: &Path, found: &Path) -> usize {
    let lines = differences(expected, found);
    assert!(
        lines.is_empty(),
        "{} differences\n{}",
        lines.len(),
        lines[..lines.len().min(20)].join("\n")
    );
    read(found).len()
}

fn same(a: &Path, b: &Path) -> bool {
    let [mut a, mut b] = [a, b].map(|path| File::open(path).unwrap());
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = a.read(&mut left).unwrap();
        let full = b.read_exact(&mut right[..count]).is_ok();
        if !full || left[..count] != right[..count] {
            return false;
        }
        if count == 0 {
            return b.read(&mut right).unwrap() == 0;
        }
    }
}

/// A comparison that sees nothing proves nothing: each kind of difference must be seen.
pub fn sees_every_difference() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let scratch = super::scratch::Scratch::new("tree");
    let make = |name: &str| {
        let dir = scratch.folder(name);
        fs::write(dir.join("file"), "content").unwrap();
        fs::hard_link(dir.join("file"), dir.join("link")).unwrap();
        symlink("file", dir.join("symlink")).unwrap();
        fs::write(dir.join(std::ffi::OsStr::from_bytes(b"odd \xff")), "").unwrap();
        for name in ["file", "symlink", "odd", ""] {
            touch(&dir.join(name), 1_000_000_000, 1);
        }
        touch(&dir.join(std::ffi::OsStr::from_bytes(b"odd \xff")), 1_000_000_000, 1);
        dir
    };
    let left = make("left");
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("time", |dir| touch(&dir.join("file"), 1_000_000_000, 2)),
        ("mode", |dir| {
            fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o4755)).unwrap();
        }),
        ("content", |dir| {
            fs::write(dir.join("file"), "CONTENT").unwrap();
            touch(&dir.join("file"), 1_000_000_000, 1);
        }),
        ("missing", |dir| fs::remove_file(dir.join("symlink")).unwrap()),
        ("link", |dir| {
            fs::remove_file(dir.join("link")).unwrap();
            fs::copy(dir.join("file"), dir.join("link")).unwrap();
            touch(&dir.join("link"), 1_000_000_000, 1);
        }),
        ("xattr", |dir| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(dir.join("file"), "user.test", b"", flags).unwrap();
        }),
    ];
    for (name, change) in changes {
        let right = make(name);
        assert_eq!(differences(&left, &right), Vec::<String>::new());
        change(&right);
        assert!(!differences(&left, &right).is_empty(), "{name}");
    }
}

/// Sets the modification time of anything, links included.
pub fn touch(path: &Path, seconds: i64, nanoseconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    // What is not there has no time.
    let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}
