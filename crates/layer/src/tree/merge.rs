//! Puts a layer upon the tree: the rules of `unpack::apply`, on nodes.
//! image-spec, layer.md, "Applying Changesets".

use std::sync::Arc;

use conex_spec::{Error, Result};
use conex_tar::{Code, show};

use super::{Found, Inode, Listing, NONE, NodeId, ROOT, Tree, UNKNOWN};
use crate::name::{Name, components};
use crate::whiteout::{self, Whiteout};
use crate::xattr::travels;

/// Deeper trees are refused, as they are when unpacked.
const MAX_DEPTH: usize = 4096;
/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// An entry that is being applied.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    listing: &'a Listing,
    at: usize,
    layer: u32,
}

/// The last directory that was entered, by its name in the layer: entries come directory by
/// directory. Once something was removed, the same name may lead elsewhere.
struct Way {
    path: Vec<u8>,
    dir: u32,
    removals: u64,
}

impl Tree {
    /// A tree whose `unread` lowest layers are not read: what they have is unknown.
    pub(super) fn upper(unread: usize) -> Self {
        let mut tree =
            Self { unread: u32::try_from(unread).unwrap_or(u32::MAX), ..Self::default() };
        tree.nodes[ROOT.0 as usize].below = unread > 0;
        tree
    }

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
        self.warnings.append(listing.warnings().clone());
        self.first_of_last = self.nodes.len() as u32;
        self.taken.clear();
        self.opaque.clear();
        for at in 0..listing.len() {
            self.entry_of(Incoming { listing: &listing, at, layer }, &mut way)
                .map_err(|err| err.context(format!("tar entry {}", show(listing.name(at)))))?;
        }
        Ok(())
    }

    fn entry_of(&mut self, entry: Incoming<'_>, way: &mut Way) -> Result<()> {
        let Incoming { listing, at, layer } = entry;
        let path = listing.name(at);
        let (parent, last) = split(path);
        if !listing.is_literal() {
            if self.is_below_marker(path, parent)? {
                return Ok(());
            }
            if let Some(whiteout) = whiteout::parse(last)? {
                return self.whiteout(entry, parent, whiteout);
            }
            self.note_odd(entry);
        }
        if path.is_empty() {
            return self.root_entry(entry);
        }
        let dir = self.enter_by(layer, parent, way)?;
        let node = match self.lookup(dir, last) {
            there if listing.is_hard_link(at) => self.hard_link(entry, dir, last, there)?,
            Some(node) if listing.is_dir(at) && self.is_dir(NodeId(node)) => {
                if !self.nodes[node as usize].implied {
                    self.note_twice(entry, node, "appears twice in one layer");
                }
                self.give(node, entry);
                node
            }
            there => {
                // Only where nothing is known of the name may older layers have more below it.
                let below = listing.is_dir(at) && self.step(dir, last) == Found::Unknown;
                self.make_way(entry, there);
                let inode = self.add_inode(layer, at as u32);
                let node = self.add(dir, last, inode)?;
                self.nodes[node as usize].below = below;
                node
            }
        };
        let node = &mut self.nodes[node as usize];
        (node.layer, node.implied) = (layer, false);
        Ok(())
    }

    /// What is at the place of an entry goes.
    fn make_way(&mut self, entry: Incoming<'_>, there: Option<u32>) {
        if let Some(there) = there {
            self.note_twice(entry, there, "appears twice in one layer, the last entry counts");
            self.remove(there);
        }
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

    fn root_entry(&mut self, entry: Incoming<'_>) -> Result<()> {
        if !entry.listing.is_dir(entry.at) {
            return Err(Error::invalid("tar entry would replace the root").expected("a directory"));
        }
        self.give(ROOT.0, entry);
        Ok(())
    }

    /// A directory gets the attributes of another entry.
    fn give(&mut self, node: u32, entry: Incoming<'_>) {
        let inode = self.nodes[node as usize].inode;
        self.inodes[inode as usize] =
            Inode { layer: entry.layer, record: entry.at as u32, links: 1 };
    }

    /// The node of the new name. The target is a path of the image, cleaned as a name is; itself it is
    /// not followed (rule U6).
    fn hard_link(
        &mut self,
        entry: Incoming<'_>,
        dir: u32,
        last: &[u8],
        there: Option<u32>,
    ) -> Result<u32> {
        let target = Name::parse(entry.listing.target(entry.at).unwrap_or_default())?;
        let missing = || {
            Error::invalid("hard link to a file that is not there")
                .expected("an earlier entry or a file of a lower layer")
                .found(show(target.as_bytes()))
        };
        let (parent, file) = target.split();
        let found = match self.existing_dir(parent)? {
            Found::Node(parent) => self.step(parent.0, file),
            other => other,
        };
        let inode = match found {
            Found::Missing => return Err(missing()),
            Found::Unknown => self.add_inode(entry.layer, UNKNOWN),
            Found::Node(found) if self.is_dir(found) => {
                let what = show(target.as_bytes());
                return Err(Error::invalid("hard link to a directory").found(what));
            }
            Found::Node(found) => self.nodes[found.0 as usize].inode,
        };
        if let Some(there) = there {
            if self.nodes[there as usize].inode == inode {
                return Ok(there);
            }
            self.make_way(entry, Some(there));
            // The target was below what made way.
            if matches!(found, Found::Node(found) if self.nodes[found.0 as usize].gone) {
                return Err(missing());
            }
        }
        self.add(dir, last, inode)
    }

    fn whiteout(
        &mut self,
        entry: Incoming<'_>,
        parent: &[u8],
        whiteout: Whiteout<'_>,
    ) -> Result<()> {
        let path = entry.listing.name(entry.at);
        if !entry.listing.is_empty_file(entry.at) {
            let detail = "whiteout that is not an empty file";
            self.warnings.add(Code::WhiteoutContent, path, detail);
        }
        if whiteout == Whiteout::Aufs {
            self.note_aufs(path);
            return Ok(());
        }
        // Nothing is below the first layer.
        if entry.layer == 0 && self.unread == 0 {
            return Ok(());
        }
        match (self.existing_dir(parent)?, whiteout) {
            (Found::Node(dir), Whiteout::Hide(name)) => self.hide(entry.layer, dir.0, name),
            (Found::Node(dir), _) => self.hide_children(entry.layer, dir.0),
            (Found::Unknown, _) => self.unsure = true,
            (Found::Missing, _) => {}
        }
        Ok(())
    }

    /// "Whiteout files MUST only apply to resources in lower/parent layers": what this layer made
    /// stays, a directory of it without what was there before.
    fn hide(&mut self, layer: u32, dir: u32, name: &[u8]) {
        match self.lookup(dir, name) {
            Some(node) if self.nodes[node as usize].layer == layer => {
                if self.is_dir(NodeId(node)) {
                    self.renew(node, layer);
                    self.hide_children(layer, node);
                }
            }
            there => {
                there.into_iter().for_each(|node| self.remove(node));
                if self.nodes[dir as usize].below {
                    self.hidden.insert((dir, name.into()));
                }
            }
        }
    }

    /// Depth is bounded, but not by what a thread's stack holds: no recursion.
    fn hide_children(&mut self, layer: u32, dir: u32) {
        let mut waiting = vec![dir];
        while let Some(dir) = waiting.pop() {
            self.opaque.insert(dir);
            self.nodes[dir as usize].below = false;
            let mut child = self.nodes[dir as usize].first_child;
            while child != NONE {
                let next = self.nodes[child as usize].next;
                if self.nodes[child as usize].layer != layer {
                    self.remove(child);
                } else if self.is_dir(NodeId(child)) {
                    self.renew(child, layer);
                    waiting.push(child);
                }
                child = next;
            }
        }
    }

    /// A directory that the layer only implies is a new one, once what it was is hidden.
    fn renew(&mut self, node: u32, layer: u32) {
        if self.nodes[node as usize].implied {
            let inode = self.nodes[node as usize].inode;
            self.inodes[inode as usize] = Inode { layer, record: NONE, links: 1 };
        }
    }

    /// The directory of a cleaned path, made where it is not there. Links on the way are followed
    /// inside the tree (rule U2).
    fn enter(&mut self, layer: u32, path: &[u8]) -> Result<u32> {
        let mut todo = reversed(path);
        let (mut at, mut links, mut depth) = (ROOT.0, 0, 1);
        while let Some(name) = todo.pop() {
            match &name[..] {
                b"." => continue,
                b".." => {
                    depth = (depth - 1).max(1);
                    at = self.parent(NodeId(at)).map_or(ROOT.0, |parent| parent.0);
                    continue;
                }
                _ => {}
            }
            let found = self.step(at, &name);
            match found {
                Found::Node(node) if self.is_symlink(node.0) => {
                    let target = self.link_target(node.0);
                    links = count(links, path)?;
                    if target.starts_with(b"/") {
                        (at, depth) = (ROOT.0, 1);
                    }
                    todo.extend(reversed(&target));
                    continue;
                }
                Found::Node(node) if self.is_dir(node) => {
                    self.mark(node.0, layer);
                    at = node.0;
                }
                Found::Node(node) if self.nodes[node.0 as usize].layer == layer => {
                    return Err(Error::invalid(format!("tar entry below {}", show(path)))
                        .expected("a directory")
                        .found(format!("an earlier entry {} that is none", show(&name))));
                }
                _ => at = self.imply(at, &name, layer, found)?,
            }
            if depth == MAX_DEPTH {
                return Err(too_deep());
            }
            depth += 1;
        }
        Ok(at)
    }

    fn mark(&mut self, node: u32, layer: u32) {
        let node = &mut self.nodes[node as usize];
        if node.layer != layer {
            (node.layer, node.implied) = (layer, true);
        }
    }

    /// A new directory in the place of what was `found`.
    fn imply(&mut self, parent: u32, name: &[u8], layer: u32, found: Found) -> Result<u32> {
        if found == Found::Unknown {
            // An older layer may have a link here, and the entry lies elsewhere.
            self.unsure = true;
        }
        if let Some(there) = self.lookup(parent, name) {
            self.remove(there);
        }
        let inode = self.add_inode(layer, NONE);
        let node = self.add(parent, name, inode)?;
        let made = &mut self.nodes[node as usize];
        (made.layer, made.implied, made.below) = (layer, true, found == Found::Unknown);
        Ok(node)
    }

    /// Below AUFS's own directories everything is ignored; below a whiteout nothing can be.
    fn is_below_marker(&mut self, path: &[u8], parent: &[u8]) -> Result<bool> {
        for component in components(parent) {
            match whiteout::parse(component)? {
                None => {}
                Some(Whiteout::Aufs) => {
                    self.note_aufs(path);
                    return Ok(true);
                }
                Some(_) => {
                    return Err(Error::invalid("tar entry below a whiteout").found(show(component)));
                }
            }
        }
        Ok(false)
    }
}

/// What is odd is told in the words of `unpack::apply`.
impl Tree {
    fn note_aufs(&mut self, path: &[u8]) {
        self.warnings.add(Code::AufsMarker, path, "marker of AUFS left out");
    }

    /// Tells of an entry for a name that its own layer has given already.
    fn note_twice(&mut self, entry: Incoming<'_>, there: u32, detail: &str) {
        if self.nodes[there as usize].layer == entry.layer && !entry.listing.is_literal() {
            let path = entry.listing.name(entry.at);
            self.warnings.add(Code::DuplicateEntry, path, detail);
        }
    }

    /// Tells what of an entry does not become part of the tree.
    fn note_odd(&mut self, entry: Incoming<'_>) {
        let path = entry.listing.name(entry.at);
        if entry.listing.is_overlay_whiteout(entry.at) {
            let detail = "device 0:0 replaced by an empty file";
            self.warnings.add(Code::DeviceReplaced, path, detail);
        } else if !entry.listing.is_hard_link(entry.at) {
            for xattr in entry.listing.xattrs(entry.at).iter().filter(|xattr| !travels(&xattr.name))
            {
                let detail = format!("attribute {} is not taken from a layer", show(&xattr.name));
                self.warnings.add(Code::XattrDropped, path, detail);
            }
        }
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
