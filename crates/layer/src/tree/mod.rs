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
mod lookup;
mod merge;
mod resolve;

use std::sync::Arc;

use conex_spec::{Error, Kind as Fault, Result};
use conex_tar::{Entry, Kind};

pub use self::compare::{Aspect, Change, Difference, compare};
pub use self::folder::hash_file;
pub use self::listing::{ContentHash, Listing, contents, hashes};
pub use self::lookup::{Lookup, Newest};

use self::index::Index;
use self::listing::{MAX_ENTRIES, MAX_NAMES};

/// No node, no record.
const NONE: u32 = u32::MAX;

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
        }
    }
}

impl Tree {
    /// The layers so far.
    pub fn layers(&self) -> &[Arc<Listing>] {
        &self.layers
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

    /// What an unpacked tree would have there. The path is the name's own; a file with several names
    /// is a file under each of them. What no layer has an entry for is as it is unpacked: root's, of
    /// mode 0755, from 1970.
    pub fn entry(&self, node: NodeId) -> Entry {
        let inode = self.inode(node);
        let entry = self.record(inode).and_then(|(listing, at)| listing.entry(at));
        let mut entry = entry.unwrap_or_else(|| Entry::new("", Kind::Dir));
        entry.path = self.path(node);
        entry
    }

    /// Whether it is a directory.
    pub fn is_dir(&self, node: NodeId) -> bool {
        match self.record(self.inode(node)) {
            Some((listing, at)) => listing.is_dir(at),
            None => true,
        }
    }

    /// The layer whose entry it is, counted from 0; nothing for a directory that is only implied.
    pub fn layer(&self, node: NodeId) -> Option<usize> {
        let inode = self.inode(node);
        (inode.record != NONE).then_some(inode.layer as usize)
    }

    /// The entry that it is made of: the layer and the place in its listing.
    pub fn place(&self, node: NodeId) -> Option<(usize, usize)> {
        let inode = self.inode(node);
        (inode.record != NONE).then_some((inode.layer as usize, inode.record as usize))
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

    fn inode(&self, node: NodeId) -> &Inode {
        &self.inodes[self.nodes[node.0 as usize].inode as usize]
    }

    fn record(&self, inode: &Inode) -> Option<(&Listing, usize)> {
        if inode.record == NONE {
            return None;
        }
        Some((self.layers.get(inode.layer as usize)?, inode.record as usize))
    }

    fn is_symlink(&self, node: u32) -> bool {
        let record = self.record(self.inode(NodeId(node)));
        record.is_some_and(|(listing, at)| listing.is_symlink(at))
    }

    fn lookup(&self, parent: u32, name: &[u8]) -> Option<u32> {
        let mut at = self.index.first(parent, name);
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.parent == parent && self.name(NodeId(at)) == name {
                return Some(at);
            }
            at = node.collision;
        }
        None
    }

    fn add_inode(&mut self, layer: u32, record: u32) -> u32 {
        self.inodes.push(Inode { layer, record, links: 0 });
        self.inodes.len() as u32 - 1
    }

    /// Adds a name, which must not be there.
    fn add(&mut self, parent: u32, name: &[u8], inode: u32) -> Result<u32> {
        if self.nodes.len() >= 2 * MAX_ENTRIES || self.names.len() + name.len() > MAX_NAMES {
            return Err(Error::new(Fault::Limit, "image has too many files to be listed"));
        }
        let id = self.nodes.len() as u32;
        let mut node = Node::new(parent, inode, self.names.len() as u32, name.len() as u32);
        self.names.extend_from_slice(name);
        node.collision = self.index.insert(parent, name, id);
        let first = std::mem::replace(&mut self.nodes[parent as usize].first_child, id);
        node.next = first;
        if first != NONE {
            self.nodes[first as usize].previous = id;
        }
        self.nodes.push(node);
        self.inodes[inode as usize].links += 1;
        Ok(id)
    }

    /// Removes a name and all below it.
    fn remove(&mut self, node: u32) {
        self.removals += 1;
        self.unlink(node);
        let mut waiting = vec![node];
        while let Some(at) = waiting.pop() {
            let mut child = self.nodes[at as usize].first_child;
            while child != NONE {
                waiting.push(child);
                child = self.nodes[child as usize].next;
            }
            self.forget(at);
        }
    }

    /// Takes a node out of its directory's list.
    fn unlink(&mut self, node: u32) {
        let (parent, previous, next) = {
            let node = &self.nodes[node as usize];
            (node.parent, node.previous, node.next)
        };
        match previous {
            NONE => self.nodes[parent as usize].first_child = next,
            previous => self.nodes[previous as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
    }

    /// Takes a node out of the index.
    fn forget(&mut self, node: u32) {
        let (parent, collision, inode) = {
            let node = &mut self.nodes[node as usize];
            node.gone = true;
            (node.parent, node.collision, node.inode)
        };
        self.inodes[inode as usize].links -= 1;
        let place = self.index.place(parent, self.name(NodeId(node)));
        let first = self.index.get(place);
        if first == node {
            self.index.set(place, collision);
            return;
        }
        let mut at = first;
        while at != NONE {
            let next = self.nodes[at as usize].collision;
            if next == node {
                self.nodes[at as usize].collision = collision;
                return;
            }
            at = next;
        }
    }
}

#[cfg(test)]
mod tests;
