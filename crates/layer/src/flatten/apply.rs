//! Applies the entries of one layer to the tree in memory, by the rules by which
//! [`crate::unpack`] applies them to a disk. image-spec, layer.md, "Applying Changesets".

use std::io::BufRead;

use conex_spec::{Error, Kind as Fault, Result};
use conex_tar::{Code, Entry, Kind, Reader, Warnings, show};

use super::tree::{Body, Found, Node, Nodes, ROOT};
use crate::name::{Name, components};
use crate::unpack::room::Room;
use crate::whiteout::{self, Whiteout};
use crate::xattr::travels;

/// One layer on its way into the tree.
pub(super) struct Applier<'a> {
    pub(super) nodes: &'a mut Nodes,
    pub(super) warnings: &'a mut Warnings,
    /// How many entries may still come.
    pub(super) entries_left: &'a mut u64,
    /// How many bytes files may still have.
    pub(super) room: &'a mut Room,
}

impl Applier<'_> {
    /// Reads a whole layer; contents are passed over.
    pub(super) fn apply(&mut self, stream: impl BufRead) -> Result<()> {
        let mut reader = Reader::from_buffered(stream);
        let mut number = 0;
        while let Some(entry) = reader.next_entry()? {
            self.next(&entry, number)?;
            number += 1;
        }
        self.warnings.append(reader.take_warnings());
        Ok(())
    }

    /// Applies an entry, which is the `number`th of its layer from 0.
    pub(super) fn next(&mut self, entry: &Entry, number: u64) -> Result<()> {
        *self.entries_left = self.entries_left.checked_sub(1).ok_or_else(|| {
            Error::new(Fault::Limit, "image has too many entries")
                .found(format!("one more, {}", show(&entry.path)))
        })?;
        self.room.take(entry.size)?;
        let name = Name::parse(&entry.path)?;
        self.entry(entry, number, &name)
            .map_err(|err| err.context(format!("{} {}", entry.kind.noun(), show(&entry.path))))
    }

    fn entry(&mut self, entry: &Entry, number: u64, name: &Name) -> Result<()> {
        if name.is_root() {
            return self.root(entry);
        }
        let (parent, last) = name.split();
        if self.is_below_marker(entry, parent)? {
            return Ok(());
        }
        if let Some(whiteout) = whiteout::parse(last)? {
            return self.whiteout(entry, parent, whiteout);
        }
        let dir = self.nodes.enter(parent)?;
        match &entry.kind {
            Kind::Dir => self.dir(entry, dir, last),
            Kind::HardLink(target) => self.hard_link(entry, target, dir, last),
            Kind::File => {
                let body = Body::File { size: entry.size, layer: self.nodes.layer, entry: number };
                self.node(entry, dir, last, body)
            }
            // That is how overlayfs marks a deleted file (rule U9).
            Kind::CharDevice { major: 0, minor: 0 } => {
                let detail = "device 0:0 replaced by an empty file";
                self.warnings.add(Code::DeviceReplaced, &entry.path, detail);
                let mode = entry.mode & 0o777;
                let plain = Entry { mode, xattrs: Vec::new(), ..entry.clone() };
                self.node(&plain, dir, last, Body::Other(Kind::File))
            }
            other => self.node(entry, dir, last, Body::Other(other.clone())),
        }
    }

    fn is_below_marker(&mut self, entry: &Entry, parent: &[u8]) -> Result<bool> {
        for component in components(parent) {
            match whiteout::parse(component)? {
                None => {}
                Some(Whiteout::Aufs) => {
                    self.aufs(entry);
                    return Ok(true);
                }
                Some(_) => {
                    return Err(Error::invalid("tar entry below a whiteout").found(show(component)));
                }
            }
        }
        Ok(false)
    }

    fn aufs(&mut self, entry: &Entry) {
        self.warnings.add(Code::AufsMarker, &entry.path, "marker of AUFS left out");
    }

    /// The root may only be a directory, and only its attributes change (rule U4).
    fn root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Dir {
            return Err(Error::invalid("tar entry would replace the root")
                .expected("a directory")
                .found(entry.kind.noun()));
        }
        let node = self.described(entry, Body::Other(Kind::Dir));
        self.nodes.get_mut(ROOT).set(node);
        Ok(())
    }

    fn dir(&mut self, entry: &Entry, dir: u32, last: &[u8]) -> Result<()> {
        let there = self.nodes.child(dir, last);
        let is_dir = |id| self.nodes.dir(id).is_some();
        let id = match there {
            Some(child) if is_dir(child.node) => {
                if child.layer == self.nodes.layer && !child.implied {
                    self.twice(entry, "appears twice in one layer");
                }
                self.nodes.link(dir, last, child.node);
                child.node
            }
            _ => {
                self.check_twice(entry, dir, last);
                self.nodes.add_dir(dir, last)?
            }
        };
        let node = self.described(entry, Body::Other(Kind::Dir));
        self.nodes.get_mut(id).set(node);
        Ok(())
    }

    fn node(&mut self, entry: &Entry, dir: u32, last: &[u8], body: Body) -> Result<()> {
        self.check_twice(entry, dir, last);
        let node = self.described(entry, body);
        self.nodes.add(dir, last, node).map(drop)
    }

    /// The target is a path of the image, cleaned as a name is; itself it is not followed (rule U6).
    fn hard_link(&mut self, entry: &Entry, target: &[u8], dir: u32, last: &[u8]) -> Result<()> {
        let target = Name::parse(target)?;
        let (parent, file) = target.split();
        let found = match self.nodes.resolve(parent)? {
            Found::Is(parent) => self.nodes.find(parent, file),
            other => other,
        };
        match found {
            Found::Is(id) if self.nodes.dir(id).is_some() => {
                Err(Error::invalid("hard link to a directory").found(show(target.as_bytes())))
            }
            Found::Is(id) => {
                if self.nodes.child(dir, last).is_none_or(|child| child.node != id) {
                    self.check_twice(entry, dir, last);
                }
                self.nodes.link(dir, last, id);
                Ok(())
            }
            Found::Unknown => self.nodes.add(dir, last, Node::new(entry, Body::Unknown)).map(drop),
            Found::Nothing => Err(Error::invalid("hard link to a file that is not there")
                .expected("an earlier entry or a file of a lower layer")
                .found(show(target.as_bytes()))),
        }
    }

    fn whiteout(&mut self, entry: &Entry, parent: &[u8], whiteout: Whiteout<'_>) -> Result<()> {
        if entry.kind != Kind::File || entry.size > 0 {
            let detail = "whiteout that is not an empty file";
            self.warnings.add(Code::WhiteoutContent, &entry.path, detail);
        }
        if whiteout == Whiteout::Aufs {
            self.aufs(entry);
            return Ok(());
        }
        // Nothing is below the first layer.
        if self.nodes.layer == 0 {
            return Ok(());
        }
        match (self.nodes.resolve(parent)?, whiteout) {
            (Found::Is(dir), Whiteout::Hide(name)) => self.nodes.hide(dir, name),
            (Found::Is(dir), _) => self.nodes.hide_children(dir),
            (Found::Unknown, _) => self.nodes.unsure = true,
            (Found::Nothing, _) => {}
        }
        Ok(())
    }

    fn described(&mut self, entry: &Entry, body: Body) -> Node {
        let mut node = Node::new(entry, body);
        for xattr in &entry.xattrs {
            if travels(&xattr.name) {
                node.xattrs.push(xattr.clone());
            } else {
                let detail = format!("attribute {} is not taken from a layer", show(&xattr.name));
                self.warnings.add(Code::XattrDropped, &entry.path, detail);
            }
        }
        node
    }

    fn check_twice(&mut self, entry: &Entry, dir: u32, last: &[u8]) {
        if self.nodes.is_ours(dir, last) {
            self.twice(entry, "appears twice in one layer, the last entry counts");
        }
    }

    fn twice(&mut self, entry: &Entry, detail: &str) {
        self.warnings.add(Code::DuplicateEntry, &entry.path, detail);
    }
}
