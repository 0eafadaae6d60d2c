//! Puts a layer upon the tree: the rules of `unpack::apply`, on nodes.
//! image-spec, layer.md, "Applying Changesets".

use std::sync::Arc;

use conex_spec::{Error, Result};
use conex_tar::show;

use super::{Inode, Listing, NONE, NodeId, ROOT, Tree};
use crate::name::{Name, components};
use crate::whiteout::{self, Whiteout};

/// Deeper trees are refused, as they are when unpacked.
const MAX_DEPTH: usize = 4096;
/// As many links as Linux follows in one path.
pub(super) const MAX_LINKS: usize = 40;

/// The last directory that was entered, by its name in the layer: entries come directory by
/// directory. Once something was removed, the same name may lead elsewhere.
struct Way {
    path: Vec<u8>,
    dir: u32,
    removals: u64,
}

impl Tree {
    /// Applies the next layer over what is there. After an error the tree is of no use.
    ///
    /// # Errors
    /// What unpacking refuses: entries below files and whiteouts of their own layer, hard links to
    /// nothing or to directories, links in a circle, a root that is no directory (rules U2, U4, U6,
    /// U7).
    pub fn apply(&mut self, listing: Arc<Listing>) -> Result<()> {
        let layer = self.layers.len() as u32;
        let mut way = Way { path: Vec::new(), dir: ROOT.0, removals: 0 };
        self.layers.push(Arc::clone(&listing));
        for at in 0..listing.len() {
            let name = listing.name(at);
            self.entry_of(&listing, layer, at, &mut way)
                .map_err(|err| err.context(format!("tar entry {}", show(name))))?;
        }
        Ok(())
    }

    fn entry_of(&mut self, listing: &Listing, layer: u32, at: usize, way: &mut Way) -> Result<()> {
        let path = listing.name(at);
        if path.is_empty() {
            return self.root_entry(listing, layer, at);
        }
        let (parent, last) = split(path);
        if !listing.is_literal() {
            if is_below_marker(parent)? {
                return Ok(());
            }
            if let Some(whiteout) = whiteout::parse(last)? {
                return self.whiteout(layer, parent, whiteout);
            }
        }
        let dir = self.enter_by(layer, parent, way)?;
        let there = self.lookup(dir, last);
        let node = match there {
            _ if listing.is_hard_link(at) => match self.hard_link(listing, at, dir, last, there)? {
                Some(node) => node,
                None => return Ok(()),
            },
            Some(node) if listing.is_dir(at) && self.is_dir(NodeId(node)) => {
                self.give(node, layer, at);
                node
            }
            _ => {
                there.into_iter().for_each(|node| self.remove(node));
                let inode = self.add_inode(layer, at as u32);
                self.add(dir, last, inode)?
            }
        };
        let node = &mut self.nodes[node as usize];
        (node.layer, node.implied) = (layer, false);
        Ok(())
    }

    /// As [`Tree::enter`], without looking again for the directory that was entered last.
    fn enter_by(&mut self, layer: u32, path: &[u8], way: &mut Way) -> Result<u32> {
        if way.path.is_empty() || way.path != path || way.removals != self.removals {
            way.dir = self.enter(layer, path)?;
            path.clone_into(&mut way.path);
            way.removals = self.removals;
        }
        Ok(way.dir)
    }

    fn root_entry(&mut self, listing: &Listing, layer: u32, at: usize) -> Result<()> {
        if !listing.is_dir(at) {
            return Err(Error::invalid("tar entry would replace the root").expected("a directory"));
        }
        self.give(ROOT.0, layer, at);
        Ok(())
    }

    /// A directory gets the attributes of another entry.
    fn give(&mut self, node: u32, layer: u32, at: usize) {
        let inode = self.nodes[node as usize].inode;
        self.inodes[inode as usize] = Inode { layer, record: at as u32, links: 1 };
    }

    /// The node of the new name; nothing where it stands for the same file already.
    fn hard_link(
        &mut self,
        listing: &Listing,
        at: usize,
        dir: u32,
        last: &[u8],
        there: Option<u32>,
    ) -> Result<Option<u32>> {
        let target = Name::parse(listing.target(at).unwrap_or_default())?;
        let missing = || {
            Error::invalid("hard link to a file that is not there")
                .expected("an earlier entry or a file of a lower layer")
                .found(show(target.as_bytes()))
        };
        let (parent, file) = target.split();
        let parent = self.existing_dir(parent)?.ok_or_else(missing)?;
        let found = self.lookup(parent, file).ok_or_else(missing)?;
        if self.is_dir(NodeId(found)) {
            return Err(Error::invalid("hard link to a directory").found(show(target.as_bytes())));
        }
        let inode = self.nodes[found as usize].inode;
        if let Some(there) = there {
            if self.nodes[there as usize].inode == inode {
                return Ok(None);
            }
            self.remove(there);
            if self.nodes[found as usize].gone {
                return Err(missing());
            }
        }
        self.add(dir, last, inode).map(Some)
    }

    fn whiteout(&mut self, layer: u32, parent: &[u8], whiteout: Whiteout<'_>) -> Result<()> {
        if whiteout == Whiteout::Aufs || layer == 0 {
            return Ok(());
        }
        let Some(dir) = self.existing_dir(parent)? else { return Ok(()) };
        match whiteout {
            Whiteout::Hide(name) => {
                if let Some(node) = self.lookup(dir, name) {
                    self.hide(layer, node);
                }
            }
            Whiteout::Opaque | Whiteout::Aufs => self.hide_children(layer, dir),
        }
        Ok(())
    }

    /// "Whiteout files MUST only apply to resources in lower/parent layers": what this layer made
    /// stays, a directory of it without what was there before.
    fn hide(&mut self, layer: u32, node: u32) {
        if self.nodes[node as usize].layer != layer {
            self.remove(node);
        } else if self.is_dir(NodeId(node)) {
            if self.nodes[node as usize].implied {
                let inode = self.nodes[node as usize].inode;
                self.inodes[inode as usize] = Inode { layer, record: NONE, links: 1 };
            }
            self.hide_children(layer, node);
        }
    }

    /// Depth is bounded, but not by what a thread's stack holds: no recursion.
    fn hide_children(&mut self, layer: u32, dir: u32) {
        let mut waiting = vec![dir];
        while let Some(dir) = waiting.pop() {
            let mut child = self.nodes[dir as usize].first_child;
            while child != NONE {
                let next = self.nodes[child as usize].next;
                if self.nodes[child as usize].layer != layer {
                    self.remove(child);
                } else if self.is_dir(NodeId(child)) {
                    if self.nodes[child as usize].implied {
                        let inode = self.nodes[child as usize].inode;
                        self.inodes[inode as usize] = Inode { layer, record: NONE, links: 1 };
                    }
                    waiting.push(child);
                }
                child = next;
            }
        }
    }

    /// The directory of a cleaned path, made where it is not there. Links on the way are followed
    /// inside the tree (rule U2).
    fn enter(&mut self, layer: u32, path: &[u8]) -> Result<u32> {
        let mut todo = reversed(path);
        let (mut at, mut links) = (ROOT.0, 0);
        while let Some(name) = todo.pop() {
            if name == b"." {
                continue;
            }
            if name == b".." {
                at = self.parent(NodeId(at)).map_or(ROOT.0, |parent| parent.0);
                continue;
            }
            let found = self.lookup(at, &name);
            match found {
                Some(node) if self.is_dir(NodeId(node)) => {
                    self.mark(node, layer);
                    at = node;
                }
                Some(node) if self.is_symlink(node) => {
                    let target = self.link_target(node);
                    links = count(links, path)?;
                    if target.starts_with(b"/") {
                        at = ROOT.0;
                    }
                    todo.extend(reversed(&target));
                }
                Some(node) if self.nodes[node as usize].layer == layer => {
                    return Err(Error::invalid(format!("tar entry below {}", show(path)))
                        .expected("a directory")
                        .found(format!("an earlier entry {} that is none", show(&name))));
                }
                other => {
                    other.into_iter().for_each(|node| self.remove(node));
                    at = self.imply(at, &name, layer)?;
                }
            }
        }
        Ok(at)
    }

    fn mark(&mut self, node: u32, layer: u32) {
        let node = &mut self.nodes[node as usize];
        if node.layer != layer {
            (node.layer, node.implied) = (layer, true);
        }
    }

    fn imply(&mut self, parent: u32, name: &[u8], layer: u32) -> Result<u32> {
        let (mut depth, mut at) = (0, parent);
        while at != ROOT.0 {
            at = self.nodes[at as usize].parent;
            depth += 1;
        }
        if depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        let inode = self.add_inode(layer, NONE);
        let node = self.add(parent, name, inode)?;
        (self.nodes[node as usize].layer, self.nodes[node as usize].implied) = (layer, true);
        Ok(node)
    }
}

fn too_deep() -> Error {
    Error::new(conex_spec::Kind::Limit, "directories are nested too deeply")
        .expected(format!("at most {MAX_DEPTH}"))
}

/// One link more, or an error where they lead in a circle.
pub(super) fn count(links: usize, path: &[u8]) -> Result<usize> {
    if links >= MAX_LINKS {
        let message = format!("too many symbolic links in {}", show(path));
        return Err(Error::invalid(message).expected(format!("at most {MAX_LINKS}")));
    }
    Ok(links + 1)
}

pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

pub(super) fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<_> = components(path).map(<[u8]>::to_vec).collect();
    parts.reverse();
    parts
}

/// Below AUFS's own directories everything is ignored; below a whiteout nothing can be.
fn is_below_marker(parent: &[u8]) -> Result<bool> {
    for component in components(parent) {
        match whiteout::parse(component)? {
            None => {}
            Some(Whiteout::Aufs) => return Ok(true),
            Some(_) => {
                return Err(Error::invalid("tar entry below a whiteout").found(show(component)));
            }
        }
    }
    Ok(false)
}
