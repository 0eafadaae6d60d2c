//! Names of a tree, added and removed one by one.

use conex_spec::{Error, Kind as Fault, Result};

use super::listing::{MAX_ENTRIES, MAX_NAMES};
use super::{Inode, Listing, NONE, Node, NodeId, Tree, UNKNOWN};

impl Tree {
    pub(super) fn inode(&self, node: NodeId) -> &Inode {
        &self.inodes[self.nodes[node.0 as usize].inode as usize]
    }

    pub(super) fn record(&self, inode: &Inode) -> Option<(&Listing, usize)> {
        if inode.record >= UNKNOWN {
            return None;
        }
        Some((self.layers.get(inode.layer as usize)?, inode.record as usize))
    }

    pub(super) fn is_symlink(&self, node: u32) -> bool {
        let record = self.record(self.inode(NodeId(node)));
        record.is_some_and(|(listing, at)| listing.is_symlink(at))
    }

    pub(super) fn lookup(&self, parent: u32, name: &[u8]) -> Option<u32> {
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

    /// Whether the last layer made this name, or has entries below it.
    pub(super) fn is_of_last(&self, node: u32) -> bool {
        self.nodes[node as usize].layer as usize + 1 == self.layers.len()
    }

    pub(super) fn add_inode(&mut self, layer: u32, record: u32) -> u32 {
        self.inodes.push(Inode { layer, record, links: 0 });
        self.inodes.len() as u32 - 1
    }

    /// Adds a name, which must not be there.
    pub(super) fn add(&mut self, parent: u32, name: &[u8], inode: u32) -> Result<u32> {
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
    pub(super) fn remove(&mut self, node: u32) {
        self.removals += 1;
        // A directory that the last layer entered before is still one of a lower layer.
        if node < self.first_of_last {
            self.taken.push(node);
        }
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

    /// Whether the last layer has an entry for the name or below it.
    pub(crate) fn is_touched(&self, node: NodeId) -> bool {
        self.is_of_last(node.0)
    }

    /// Names, with their directories, of lower layers that the last one took away or gave to something
    /// else.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (NodeId, &[u8])> {
        let of = |&node: &u32| (NodeId(self.nodes[node as usize].parent), self.name(NodeId(node)));
        self.taken.iter().map(of)
    }

    /// Directories of which the last layer hides what lower ones have in them.
    pub(crate) fn opaque(&self) -> impl Iterator<Item = NodeId> {
        self.opaque.iter().copied().map(NodeId)
    }

    /// Whether nothing below a name is unknown.
    pub(crate) fn is_whole(&self, node: NodeId) -> bool {
        let known =
            |node: NodeId| self.inode(node).record != UNKNOWN && !self.nodes[node.0 as usize].below;
        self.unread == 0 || self.walk(node).all(known)
    }

    /// Whether its attributes are known.
    pub(crate) fn is_described(&self, node: NodeId) -> bool {
        self.inode(node).record < UNKNOWN || !self.nodes[node.0 as usize].below
    }

    /// Whether it is a file whose content an entry of a layer has.
    pub(crate) fn has_content(&self, node: NodeId) -> bool {
        self.record(self.inode(node)).is_some_and(|(listing, at)| listing.is_file(at))
    }
}
