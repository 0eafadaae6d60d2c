//! The tree in memory: names, attributes, and where the content of each file lies.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use conex_spec::{Error, Kind as Fault, Result};
use conex_tar::{Entry, Kind, Time, Xattr, show};

use crate::name::components;

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;
/// As deep as a tree may be that is unpacked to a disk.
const MAX_DEPTH: usize = 4096;

/// Number of a node.
pub(super) type Id = u32;
/// The root directory is the first node.
pub(super) const ROOT: Id = 0;

/// A file, directory, link or device, which may have several names.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<Xattr>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Dir(Dir),
    /// A file, and in which layer the how-manieth entry has its content.
    File {
        size: u64,
        layer: u32,
        entry: u64,
    },
    /// A link, pipe or device.
    Other(Kind),
    /// Another name of something in a layer that was not read.
    Unknown,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    pub(super) children: BTreeMap<Box<[u8]>, Child>,
    /// Whether layers that were not read may have more in it.
    pub(super) below: bool,
    /// Which names those layers do not count for.
    hidden: BTreeSet<Box<[u8]>>,
}

/// A name of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) node: Id,
    /// The layer that made the name, or that has entries below it.
    pub(super) layer: u32,
    /// Whether that layer has entries below it but none for itself.
    pub(super) implied: bool,
}

/// What a name is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Is(Id),
    Nothing,
    /// A layer that was not read may have it.
    Unknown,
}

/// All nodes, by number.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// The layer that is being applied.
    pub(super) layer: u32,
    /// Whether a layer that was not read could change what names stand for.
    pub(super) unsure: bool,
    /// Names of lower layers that the current layer took away or gave to something else.
    pub(super) taken: HashSet<(Id, Box<[u8]>)>,
    /// Directories of which the current layer hides what lower layers have in them.
    pub(super) opaque: HashSet<Id>,
}

impl Node {
    pub(super) fn new(entry: &Entry, body: Body) -> Self {
        Self {
            body,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: Vec::new(),
        }
    }

    /// For a directory without an entry.
    fn implied(below: bool) -> Self {
        Self {
            body: Body::Dir(Dir { below, ..Dir::default() }),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
        }
    }

    /// Takes over the attributes of another node.
    pub(super) fn set(&mut self, other: Self) {
        let body = std::mem::replace(&mut self.body, Body::Other(Kind::Fifo));
        *self = Self { body, ..other };
    }
}

impl Nodes {
    /// Only a root, where `below` tells whether layers were left out.
    pub(super) fn new(below: bool) -> Self {
        Self {
            nodes: vec![Node::implied(below)],
            layer: 0,
            unsure: false,
            taken: HashSet::new(),
            opaque: HashSet::new(),
        }
    }

    /// The next layer begins.
    pub(super) fn next_layer(&mut self) {
        self.layer += 1;
        self.taken.clear();
        self.opaque.clear();
    }

    pub(super) fn get(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(super) fn dir(&self, id: Id) -> Option<&Dir> {
        match &self.get(id).body {
            Body::Dir(dir) => Some(dir),
            _ => None,
        }
    }

    fn dir_mut(&mut self, id: Id) -> Option<&mut Dir> {
        match &mut self.get_mut(id).body {
            Body::Dir(dir) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn child(&self, dir: Id, name: &[u8]) -> Option<Child> {
        self.dir(dir)?.children.get(name).copied()
    }

    pub(super) fn find(&self, dir: Id, name: &[u8]) -> Found {
        let Some(here) = self.dir(dir) else { return Found::Nothing };
        match here.children.get(name) {
            Some(child) if matches!(self.get(child.node).body, Body::Unknown) => Found::Unknown,
            Some(child) => Found::Is(child.node),
            None if here.below && !here.hidden.contains(name) => Found::Unknown,
            None => Found::Nothing,
        }
    }

    /// Whether the current layer has made this name, or has entries below it.
    pub(super) fn is_ours(&self, dir: Id, name: &[u8]) -> bool {
        self.child(dir, name).is_some_and(|child| child.layer == self.layer)
    }

    /// Adds a node under a name, in the place of whatever has it.
    pub(super) fn add(&mut self, dir: Id, name: &[u8], node: Node) -> Result<Id> {
        let id = Id::try_from(self.nodes.len())
            .map_err(|_| Error::new(Fault::Limit, "image has too many entries"))?;
        self.nodes.push(node);
        self.link(dir, name, id);
        Ok(id)
    }

    /// Gives a node a name by an entry of the current layer.
    pub(super) fn link(&mut self, dir: Id, name: &[u8], node: Id) {
        let child = Child { node, layer: self.layer, implied: false };
        let before = self.dir_mut(dir).and_then(|dir| dir.children.insert(name.into(), child));
        if before.is_some_and(|before| before.node != node && before.layer != self.layer) {
            self.taken.insert((dir, name.into()));
        }
    }

    /// A new directory under this name: its lower layers count unless they are hidden.
    pub(super) fn add_dir(&mut self, dir: Id, name: &[u8]) -> Result<Id> {
        let below = self.find(dir, name) == Found::Unknown;
        self.add(dir, name, Node::implied(below))
    }

    /// The directory of this cleaned path, made where it is not there. Links are followed, and
    /// `/` and `..` end at the root.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<Id> {
        let mut walk = Walk::new(path);
        while let Some(name) = walk.next()? {
            let at = walk.at();
            let id = match self.find(at, &name) {
                Found::Is(id) => match &self.get(id).body {
                    Body::Dir(_) => id,
                    Body::Other(Kind::Symlink(target)) => {
                        walk.follow(target)?;
                        continue;
                    }
                    _ if self.is_ours(at, &name) => return Err(in_the_way(path, &name)),
                    _ => self.imply(at, &name)?,
                },
                Found::Unknown => {
                    self.unsure = true;
                    self.imply(at, &name)?
                }
                Found::Nothing => self.imply(at, &name)?,
            };
            self.mark(at, &name);
            walk.push(id)?;
        }
        Ok(walk.at())
    }

    /// The directory of this path as it is; [`Found::Nothing`] also where something else is.
    pub(super) fn resolve(&self, path: &[u8]) -> Result<Found> {
        let mut walk = Walk::new(path);
        while let Some(name) = walk.next()? {
            match self.find(walk.at(), &name) {
                Found::Is(id) => match &self.get(id).body {
                    Body::Dir(_) => walk.push(id)?,
                    Body::Other(Kind::Symlink(target)) => walk.follow(target)?,
                    _ => return Ok(Found::Nothing),
                },
                other => return Ok(other),
            }
        }
        Ok(Found::Is(walk.at()))
    }

    fn imply(&mut self, dir: Id, name: &[u8]) -> Result<Id> {
        let id = self.add_dir(dir, name)?;
        if let Some(child) = self.dir_mut(dir).and_then(|dir| dir.children.get_mut(name)) {
            child.implied = true;
        }
        Ok(id)
    }

    /// Notes that the current layer has entries below this name.
    fn mark(&mut self, dir: Id, name: &[u8]) {
        let layer = self.layer;
        if let Some(child) = self.dir_mut(dir).and_then(|dir| dir.children.get_mut(name))
            && child.layer != layer
        {
            (child.layer, child.implied) = (layer, true);
        }
    }

    /// Applies a whiteout of one name: what the layer itself made stays, without what was there
    /// before.
    pub(super) fn hide(&mut self, dir: Id, name: &[u8]) {
        if self.hide_or_keep(dir, name) {
            self.hide_children_of(dir, name);
        }
    }

    /// Applies an opaque whiteout.
    pub(super) fn hide_children(&mut self, dir: Id) {
        let mut pending = vec![dir];
        while let Some(dir) = pending.pop() {
            self.opaque.insert(dir);
            let Some(here) = self.dir_mut(dir) else { continue };
            here.below = false;
            let names: Vec<_> = here.children.keys().cloned().collect();
            for name in names {
                if self.hide_or_keep(dir, &name) {
                    pending.extend(self.child(dir, &name).map(|child| child.node));
                }
            }
        }
    }

    fn hide_children_of(&mut self, dir: Id, name: &[u8]) {
        if let Some(child) = self.child(dir, name) {
            self.hide_children(child.node);
        }
    }

    /// Removes a name unless this layer made it. True where it is a directory of this layer: it
    /// stays, as new, and what is in it is for the caller to go through.
    fn hide_or_keep(&mut self, dir: Id, name: &[u8]) -> bool {
        let layer = self.layer;
        let Some(here) = self.dir_mut(dir) else { return false };
        match here.children.get(name).copied() {
            Some(child) if child.layer == layer => {
                let node = self.get_mut(child.node);
                let is_dir = matches!(node.body, Body::Dir(_));
                if is_dir && child.implied {
                    node.set(Node::implied(false));
                }
                is_dir
            }
            there => {
                here.children.remove(name);
                if here.below {
                    here.hidden.insert(name.into());
                }
                if there.is_some() {
                    self.taken.insert((dir, name.into()));
                }
                false
            }
        }
    }
}

fn in_the_way(path: &[u8], name: &[u8]) -> Error {
    Error::invalid(format!("tar entry below {}", show(path)))
        .expected("a directory")
        .found(format!("an earlier entry {} that is none", show(name)))
}

/// A way through the tree, one component at a time.
pub(super) struct Walk<'a> {
    path: &'a [u8],
    stack: Vec<Id>,
    todo: Vec<Vec<u8>>,
    links: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(path: &'a [u8]) -> Self {
        let mut walk = Self { path, stack: vec![ROOT], todo: Vec::new(), links: 0 };
        walk.plan(path);
        walk
    }

    fn plan(&mut self, path: &[u8]) {
        let start = self.todo.len();
        self.todo.extend(components(path).map(<[u8]>::to_vec));
        self.todo[start..].reverse();
    }

    /// The next name to be looked up; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        while let Some(name) = self.todo.pop() {
            match &name[..] {
                // Only targets of links still have these.
                b"." => {}
                b".." if self.stack.len() == 1 => {}
                b".." => {
                    self.stack.pop();
                }
                _ => return Ok(Some(name)),
            }
        }
        Ok(None)
    }

    /// Whether the name that was handed out is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.todo.is_empty()
    }

    pub(super) fn at(&self) -> Id {
        self.stack.last().copied().unwrap_or(ROOT)
    }

    pub(super) fn push(&mut self, dir: Id) -> Result<()> {
        if self.stack.len() == MAX_DEPTH {
            return Err(Error::new(Fault::Limit, "directories are nested too deeply")
                .expected(format!("at most {MAX_DEPTH} levels")));
        }
        self.stack.push(dir);
        Ok(())
    }

    pub(super) fn follow(&mut self, target: &[u8]) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            let errno = rustix::io::Errno::LOOP;
            return Err(crate::sys::failed("follow the links in", self.path, errno));
        }
        if target.starts_with(b"/") {
            self.stack.truncate(1);
        }
        self.plan(target);
        Ok(())
    }
}
