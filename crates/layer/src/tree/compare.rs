//! What differs between two trees.

use std::collections::HashMap;

use conex_spec::Result;
use conex_tar::{Entry, Kind};

use super::{NodeId, ROOT, Tree};

/// What of a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// A file became a directory, or the like.
    Kind,
    /// The bytes of a file.
    Content,
    /// The target of a symbolic link.
    Target,
    /// The numbers of a device.
    Device,
    /// The permissions, set-ID and sticky bits.
    Mode,
    /// The user or the group.
    Owner,
    /// The time of the last change.
    Time,
    /// The extended attributes.
    Xattrs,
    /// Which other names the file has.
    Links,
}

/// How a name differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the second tree has it.
    Added,
    /// Only the first tree has it.
    Removed,
    /// Both have it, with differences in their order in [`Aspect`].
    Changed(Vec<Aspect>),
}

/// A name that differs, with its node in each tree that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub difference: Difference,
    /// In the first tree.
    pub old: Option<NodeId>,
    /// In the second tree.
    pub new: Option<NodeId>,
}

/// All names that differ, in the order of a walk: by bytes, each directory before what is in it.
///
/// `same` is asked whether two files of one size have the same content, where neither hashes nor a
/// layer that both trees share tell it.
pub fn compare(
    old: &Tree,
    new: &Tree,
    same: &mut dyn FnMut(NodeId, NodeId) -> Result<bool>,
) -> Result<Vec<Change>> {
    let mut differ = Differ { old, new, same, links: Links::default(), changes: Vec::new() };
    differ.pair(ROOT, ROOT)?;
    // Directories of both trees, each with its children, merged and last first.
    let mut waiting = vec![differ.children(ROOT, ROOT)];
    while let Some(children) = waiting.last_mut() {
        match children.pop() {
            None => {
                waiting.pop();
            }
            Some((Some(a), Some(b))) => {
                differ.pair(a, b)?;
                match (old.is_dir(a), new.is_dir(b)) {
                    (true, true) => waiting.push(differ.children(a, b)),
                    (true, false) => differ.all(old, a, Difference::Removed),
                    (false, true) => differ.all(new, b, Difference::Added),
                    (false, false) => {}
                }
            }
            Some((Some(a), None)) => {
                differ.one(a, Difference::Removed);
                differ.all(old, a, Difference::Removed);
            }
            Some((None, Some(b))) => {
                differ.one(b, Difference::Added);
                differ.all(new, b, Difference::Added);
            }
            Some((None, None)) => {}
        }
    }
    Ok(differ.changes)
}

type Pair = (Option<NodeId>, Option<NodeId>);

struct Differ<'a> {
    old: &'a Tree,
    new: &'a Tree,
    same: &'a mut dyn FnMut(NodeId, NodeId) -> Result<bool>,
    links: Links,
    changes: Vec<Change>,
}

/// Which file of one tree is which of the other, of those that have several names.
#[derive(Default)]
struct Links {
    forth: HashMap<u32, u32>,
    back: HashMap<u32, u32>,
}

impl Differ<'_> {
    /// The names in two directories, side by side, last first.
    fn children(&self, a: NodeId, b: NodeId) -> Vec<Pair> {
        let (old, new) = (self.old.children(a), self.new.children(b));
        let mut pairs = Vec::with_capacity(old.len().max(new.len()));
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(&a), Some(&b)) => self.old.name(a).cmp(self.new.name(b)),
            };
            pairs.push((old.next_if(|_| order.is_le()), new.next_if(|_| order.is_ge())));
        }
        pairs.reverse();
        pairs
    }

    fn one(&mut self, node: NodeId, difference: Difference) {
        let (old, new) = match difference {
            Difference::Added => (None, Some(node)),
            _ => (Some(node), None),
        };
        self.changes.push(Change { difference, old, new });
    }

    /// All below a directory.
    fn all(&mut self, tree: &Tree, dir: NodeId, difference: Difference) {
        for node in tree.walk(dir).skip(1) {
            self.one(node, difference.clone());
        }
    }

    fn pair(&mut self, a: NodeId, b: NodeId) -> Result<()> {
        let linked = self.links.agree(self.old, a, self.new, b);
        if linked && is_same_entry(self.old, a, self.new, b) {
            return Ok(());
        }
        let (x, y) = (self.old.entry(a), self.new.entry(b));
        let mut aspects = attributes(&x, &y);
        if x.kind == Kind::File && y.kind == Kind::File && !self.same_content(a, &x, b, &y)? {
            aspects.push(Aspect::Content);
        }
        if !linked {
            aspects.push(Aspect::Links);
        }
        if !aspects.is_empty() {
            aspects.sort_unstable();
            let difference = Difference::Changed(aspects);
            self.changes.push(Change { difference, old: Some(a), new: Some(b) });
        }
        Ok(())
    }

    fn same_content(&mut self, a: NodeId, x: &Entry, b: NodeId, y: &Entry) -> Result<bool> {
        if x.size != y.size || x.size == 0 {
            return Ok(x.size == y.size);
        }
        if is_same_entry(self.old, a, self.new, b) {
            return Ok(true);
        }
        match (self.old.hash(a), self.new.hash(b)) {
            (Some(x), Some(y)) => Ok(x == y),
            _ => (self.same)(a, b),
        }
    }
}

impl Links {
    /// Whether the other names of both are the same ones, as far as was seen.
    fn agree(&mut self, old: &Tree, a: NodeId, new: &Tree, b: NodeId) -> bool {
        let (x, y) = (old.links(a), new.links(b));
        if x == 1 && y == 1 || old.is_dir(a) || new.is_dir(b) {
            return true;
        }
        let (a, b) = (old.inode_number(a), new.inode_number(b));
        x == y && *self.forth.entry(a).or_insert(b) == b && *self.back.entry(b).or_insert(a) == a
    }
}

/// Whether both are one entry of one layer that both trees are made of.
fn is_same_entry(old: &Tree, a: NodeId, new: &Tree, b: NodeId) -> bool {
    match (old.record(old.inode(a)), new.record(new.inode(b))) {
        (Some((x, i)), Some((y, j))) => std::ptr::eq(x, y) && i == j,
        (None, None) => true,
        _ => false,
    }
}

fn attributes(x: &Entry, y: &Entry) -> Vec<Aspect> {
    let mut aspects = Vec::new();
    let mut note = |differs: bool, aspect| {
        if differs {
            aspects.push(aspect);
        }
    };
    match (&x.kind, &y.kind) {
        (Kind::Symlink(x), Kind::Symlink(y)) => note(x != y, Aspect::Target),
        (x, y) if std::mem::discriminant(x) != std::mem::discriminant(y) => {
            note(true, Aspect::Kind);
        }
        (x, y) => note(x != y, Aspect::Device),
    }
    // Linux keeps no permissions of links.
    let links = matches!((&x.kind, &y.kind), (Kind::Symlink(_), Kind::Symlink(_)));
    note(x.mode != y.mode && !links, Aspect::Mode);
    note((x.uid, x.gid) != (y.uid, y.gid), Aspect::Owner);
    note(x.mtime != y.mtime, Aspect::Time);
    note(sorted(x) != sorted(y), Aspect::Xattrs);
    aspects
}

/// The attributes that would be unpacked.
fn sorted(entry: &Entry) -> Vec<&conex_tar::Xattr> {
    let mut xattrs: Vec<_> =
        entry.xattrs.iter().filter(|xattr| crate::xattr::travels(&xattr.name)).collect();
    xattrs.sort();
    xattrs
}
