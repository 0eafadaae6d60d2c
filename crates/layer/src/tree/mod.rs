//! The file tree of an image as a value: what `conex unpack` would write, without writing it.
//!
//! Each layer is read once into a [`Listing`]; a [`Tree`] puts listings one upon the other by the
//! rules of image-spec, layer.md, "Applying Changesets", which are those of [`crate::unpack`]: links
//! in the way to an entry are followed inside the tree, whiteouts spare what their own layer has
//! made, and directories that are only implied belong to root. A folder on the disk becomes a tree
//! by [`Listing::of_folder`].
//!
//! ```
//! use conex_layer::tree::{Listing, Tree};
//! use conex_tar::{Entry, Kind, Writer};
//!
//! let mut layer = Writer::new(Vec::new());
//! layer.append(&Entry::new("etc/hostname", Kind::File), &b""[..])?;
//! let listing = Listing::read(&layer.finish()?[..], false)?;
//! let mut tree = Tree::default();
//! tree.apply(listing.into())?;
//! let node = tree.find(b"/etc/hostname")?.expect("a file of the layer");
//! assert_eq!(tree.path(node), b"etc/hostname");
//! # Ok::<(), conex_spec::Error>(())
//! ```

mod compare;
mod folder;
mod index;
mod listing;
mod merge;
mod newest;
mod nodes;
mod resolve;

use std::collections::HashSet;
use std::sync::Arc;

use conex_tar::{Entry, Kind, Warnings};

pub use self::compare::{Aspect, Change, Difference, compare};
pub use self::folder::hash_file;
pub use self::listing::{ContentHash, Listing, contents, hashes};
pub use self::newest::Newest;
pub use self::resolve::Found;

use self::index::Index;
use crate::xattr::travels;

/// No node, no record.
const NONE: u32 = u32::MAX;
/// The record of a file of a layer that was not read.
const UNKNOWN: u32 = u32::MAX - 1;

/// A name in the tree. Names of one file share its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// The root of every tree.
pub const ROOT: NodeId = NodeId(0);

/// A merged tree. It keeps the listings that it was made of.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    inodes: Vec<Inode>,
    names: Vec<u8>,
    index: Index,
    layers: Vec<Arc<Listing>>,
    /// How many names were removed so far.
    removals: u64,
    /// How many layers below were not read.
    unread: u32,
    /// Whether one of those could change what names stand for.
    unsure: bool,
    /// Names in directories for which those do not count.
    hidden: HashSet<(u32, Box<[u8]>)>,
    /// The first node that the last layer made; it may have entries below earlier ones.
    first_of_last: u32,
    /// Names of lower layers that the last one took away or gave to something else.
    taken: Vec<u32>,
    /// Directories of which the last layer hides what lower ones have in them.
    opaque: HashSet<u32>,
    warnings: Warnings,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    inode: u32,
    name: u32,
    name_length: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    /// The next node of the same place in the index.
    collision: u32,
    /// The layer that made it or has entries below it, last.
    layer: u32,
    /// Whether that layer has no entry for it itself.
    implied: bool,
    gone: bool,
    /// Whether layers that were not read may have more in it.
    below: bool,
}

/// What one or more names stand for: an entry of a layer, or a directory without one.
#[derive(Clone, Debug)]
struct Inode {
    layer: u32,
    record: u32,
    links: u32,
}

impl Default for Tree {
    /// A root and nothing in it.
    fn default() -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            inodes: Vec::new(),
            names: Vec::new(),
            index: Index::default(),
            layers: Vec::new(),
            removals: 0,
            unread: 0,
            unsure: false,
            hidden: HashSet::new(),
            first_of_last: 0,
            taken: Vec::new(),
            opaque: HashSet::new(),
            warnings: Warnings::default(),
        };
        tree.inodes.push(Inode { layer: 0, record: NONE, links: 1 });
        tree.nodes.push(Node::new(NONE, 0, 0, 0));
        tree
    }
}

impl Node {
    fn new(parent: u32, inode: u32, name: u32, name_length: u32) -> Self {
        Self {
            parent,
            inode,
            name,
            name_length,
            first_child: NONE,
            next: NONE,
            previous: NONE,
            collision: NONE,
            layer: NONE,
            implied: true,
            gone: false,
            below: false,
        }
    }
}

impl Tree {
    /// How many layers it is made of, with those below that were not read.
    pub fn height(&self) -> usize {
        self.unread as usize + self.layers.len()
    }

    /// What was odd about its layers.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// The path from the root, without a slash at either end.
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = node.0;
        while at != ROOT.0 {
            parts.push(self.name(NodeId(at)));
            at = self.nodes[at as usize].parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// The last component of the path; empty for the root.
    pub fn name(&self, node: NodeId) -> &[u8] {
        let node = &self.nodes[node.0 as usize];
        let start = node.name as usize;
        self.names.get(start..start + node.name_length as usize).unwrap_or_default()
    }

    /// The directory it is in; nothing for the root.
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        let parent = self.nodes[node.0 as usize].parent;
        (parent != NONE).then_some(NodeId(parent))
    }

    /// The names in a directory, in the order of their bytes; none for anything else.
    pub fn children(&self, node: NodeId) -> Vec<NodeId> {
        let mut children = Vec::new();
        let mut at = self.nodes[node.0 as usize].first_child;
        while at != NONE {
            children.push(NodeId(at));
            at = self.nodes[at as usize].next;
        }
        children.sort_unstable_by(|&a, &b| self.name(a).cmp(self.name(b)));
        children
    }

    /// The child of this name.
    pub fn child(&self, node: NodeId, name: &[u8]) -> Option<NodeId> {
        self.lookup(node.0, name).map(NodeId)
    }

    /// What an unpacked tree would have there, attributes that do not travel left out. The path is the
    /// name's own; a file with several names is a file under each of them. What no layer has an entry
    /// for is as it is unpacked: root's, of mode 0755, from 1970.
    pub fn entry(&self, node: NodeId) -> Entry {
        let record = self.record(self.inode(node));
        let entry = record.and_then(|(listing, at)| Some((listing, listing.entry(at)?)));
        let mut entry = match entry {
            Some((listing, entry)) if listing.is_literal() => entry,
            Some((_, entry)) => unpacked(entry),
            None => Entry::new("", Kind::Dir),
        };
        entry.path = self.path(node);
        entry
    }

    /// Whether it is a directory.
    pub fn is_dir(&self, node: NodeId) -> bool {
        let inode = self.inode(node);
        match self.record(inode) {
            Some((listing, at)) => listing.is_dir(at),
            None => inode.record == NONE,
        }
    }

    /// The layer whose entry it is, counted from 0, the lowest one; nothing for a directory that is only
    /// implied.
    pub fn layer(&self, node: NodeId) -> Option<usize> {
        self.place(node).map(|(layer, _)| layer)
    }

    /// The entry that it is made of: the layer and the place in its listing.
    pub fn place(&self, node: NodeId) -> Option<(usize, usize)> {
        let inode = self.inode(node);
        let known = inode.record < UNKNOWN;
        known.then_some(((self.unread + inode.layer) as usize, inode.record as usize))
    }

    /// How many names it has.
    pub fn links(&self, node: NodeId) -> u32 {
        self.inode(node).links
    }

    /// A number that all names of one file share.
    pub fn inode_number(&self, node: NodeId) -> u32 {
        self.nodes[node.0 as usize].inode
    }

    /// The hash of a file's content, where its listing has it.
    pub fn hash(&self, node: NodeId) -> Option<&ContentHash> {
        let (listing, at) = self.record(self.inode(node))?;
        listing.hash(at)
    }

    /// How many names there are, the root included.
    pub fn count(&self) -> usize {
        self.nodes.iter().filter(|node| !node.gone).count()
    }

    /// All names below a directory, and it itself first, each directory before what is in it.
    pub fn walk(&self, from: NodeId) -> impl Iterator<Item = NodeId> {
        let mut waiting = vec![from];
        std::iter::from_fn(move || {
            let node = waiting.pop()?;
            waiting.extend(self.children(node).into_iter().rev());
            Some(node)
        })
    }
}

/// What unpacking makes of an entry. A device 0:0 is how overlayfs marks a deleted file (rule U9).
fn unpacked(mut entry: Entry) -> Entry {
    if is_overlay_whiteout(&entry.kind) {
        (entry.kind, entry.mode) = (Kind::File, entry.mode & 0o777);
        entry.xattrs.clear();
    }
    entry.xattrs.retain(|xattr| travels(&xattr.name));
    entry
}

fn is_overlay_whiteout(kind: &Kind) -> bool {
    *kind == Kind::CharDevice { major: 0, minor: 0 }
}

#[cfg(test)]
mod tests;
