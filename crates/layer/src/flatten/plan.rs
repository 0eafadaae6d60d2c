//! What is to be written of a tree, and under which names.

use std::collections::btree_map;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use conex_spec::{Error, Result};
use conex_tar::{Kind, show};

use super::tree::{Body, Child, Found, Id, Nodes, ROOT, Walk};
use crate::name::Name;

/// Names to be written, without content.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By layer and number of the entry that has the content.
    pub(super) files: HashMap<(u32, u64), Named>,
    /// Directories, links, pipes and devices: each directory before what is in it, and all of that
    /// before the next one; the root last.
    pub(super) rest: Vec<(Vec<u8>, Rest)>,
}

/// What is not a file.
#[derive(Debug)]
pub(super) enum Rest {
    Node(Id),
    /// A directory that hides what lower layers have in it.
    Opaque(Id),
    /// A name that hides that of a lower layer.
    Whiteout,
    /// Another name of a node that has this one.
    Link(Vec<u8>),
}

/// A file and all of its names.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) node: Id,
    pub(super) names: Vec<Vec<u8>>,
}

/// A name in a directory.
type Place = (Id, Box<[u8]>);

/// Which parts of a tree are wanted; without places, all of it.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// With all that is below them.
    places: HashSet<Place>,
    some: bool,
}

/// What a path that was asked for turned out to be.
enum Settled {
    Chosen,
    /// Layers that were not read may say otherwise.
    Unknown,
}

impl Choice {
    /// The parts that these paths name, and the links that lead there; nothing where layers that
    /// were not read could add to them.
    pub(super) fn find(nodes: &Nodes, paths: &[Vec<u8>]) -> Result<Option<Self>> {
        let mut choice = Self { some: true, ..Self::default() };
        for path in paths {
            match choice.settle(nodes, path)? {
                Settled::Chosen => {}
                Settled::Unknown => return Ok(None),
            }
        }
        Ok(Some(choice))
    }

    fn settle(&mut self, nodes: &Nodes, path: &[u8]) -> Result<Settled> {
        let clean = Name::parse(path)?;
        let mut walk = Walk::new(clean.as_bytes());
        while let Some(name) = walk.next()? {
            let (at, last) = (walk.at(), walk.is_last());
            let id = match nodes.find(at, &name) {
                Found::Is(id) => id,
                Found::Unknown => return Ok(Settled::Unknown),
                Found::Nothing => return Err(missing(path)),
            };
            match &nodes.get(id).body {
                Body::Dir(_) => {}
                // The link itself is what is wanted where it is the end of the path.
                Body::Other(Kind::Symlink(target)) if !last => {
                    self.places.insert((at, name.into()));
                    walk.follow(target)?;
                    continue;
                }
                _ if !last => return Err(missing(path)),
                _ => {}
            }
            if last {
                self.places.insert((at, name.into()));
                let whole = is_whole(nodes, id);
                return Ok(if whole { Settled::Chosen } else { Settled::Unknown });
            }
            walk.push(id)?;
        }
        // The root, or a link that leads to a folder above where it lies: all of that is wanted.
        self.some = self.some && walk.at() != ROOT;
        let children = nodes.dir(walk.at()).into_iter().flat_map(|dir| dir.children.keys());
        self.places.extend(children.map(|name| (walk.at(), name.clone())));
        let whole = is_whole(nodes, walk.at());
        Ok(if whole { Settled::Chosen } else { Settled::Unknown })
    }

    fn has(&self, dir: Id, name: &[u8]) -> bool {
        !self.some || self.places.contains(&(dir, name.into()))
    }
}

/// Whether all of a directory is known.
fn is_whole(nodes: &Nodes, id: Id) -> bool {
    let mut pending = vec![id];
    while let Some(id) = pending.pop() {
        match &nodes.get(id).body {
            Body::Dir(dir) if dir.below => return false,
            Body::Dir(dir) => pending.extend(dir.children.values().map(|child| child.node)),
            Body::Unknown => return false,
            _ => {}
        }
    }
    true
}

fn missing(path: &[u8]) -> Error {
    Error::not_found(format!("image has no {}", show(path)))
}

/// A directory on the way, and what is left to do in it.
struct Frame<'a> {
    id: Id,
    /// With a slash at the end; empty for the root.
    path: Vec<u8>,
    children: btree_map::Iter<'a, Box<[u8]>, Child>,
    /// Whether it was chosen, or lies below what was.
    chosen: bool,
    /// Whether it is written for what is in it.
    used: bool,
    /// Its own place in [`Plan::rest`].
    at: usize,
}

impl Plan {
    /// Names in order, so that the same tree always gives the same plan.
    pub(super) fn new(nodes: &Nodes, choice: &Choice) -> Self {
        Self::of(nodes, !choice.some, |parent, dir, name, _| parent || choice.has(dir, name))
    }

    /// What the current layer changes: as overlayfs stacks it upon the layers below.
    pub(super) fn top(nodes: &Nodes) -> Self {
        let layer = nodes.layer;
        let touched = touched(nodes);
        Self::of(nodes, false, |_, _, _, child| match nodes.get(child.node).body {
            Body::Dir(_) => child.layer == layer,
            _ => touched.contains(&child.node),
        })
    }

    /// `wants` is asked for each name whether it is written, and told whether its directory is.
    fn of(nodes: &Nodes, root: bool, wants: impl Fn(bool, Id, &[u8], &Child) -> bool) -> Self {
        let mut plan = Self::default();
        let mut first = HashMap::new();
        let mut frames: Vec<Frame<'_>> =
            frame(nodes, ROOT, Vec::new(), root, 0).into_iter().collect();
        let gone = gone(nodes);
        plan.whiteouts(&gone, &mut frames);
        while let Some(top) = frames.last_mut() {
            let Some((name, child)) = top.children.next() else {
                plan.leave(&mut frames);
                continue;
            };
            let chosen = wants(top.chosen, top.id, name, child);
            let path = [&top.path[..], name].concat();
            let below = [&path[..], b"/"].concat();
            let at = plan.rest.len();
            if let Some(frame) = frame(nodes, child.node, below.clone(), chosen, at) {
                let opaque = nodes.opaque.contains(&child.node)
                    || nodes.taken.contains(&(top.id, name.clone()));
                let kind = if opaque { Rest::Opaque } else { Rest::Node };
                plan.rest.push((below, kind(child.node)));
                frames.push(Frame { used: opaque, ..frame });
                plan.whiteouts(&gone, &mut frames);
            } else if chosen {
                top.used = true;
                plan.add(nodes, &mut first, child.node, path);
            }
        }
        plan.rest.push((b"./".to_vec(), Rest::Node(ROOT)));
        plan
    }

    /// Names that are gone from the directory that is being entered.
    fn whiteouts(&mut self, gone: &HashMap<Id, BTreeSet<&[u8]>>, frames: &mut [Frame<'_>]) {
        let Some(top) = frames.last_mut() else { return };
        for name in gone.get(&top.id).into_iter().flatten() {
            top.used = true;
            self.rest.push(([&top.path[..], name].concat(), Rest::Whiteout));
        }
    }

    fn leave(&mut self, frames: &mut Vec<Frame<'_>>) {
        let Some(frame) = frames.pop() else { return };
        let Some(parent) = frames.last_mut() else { return };
        if frame.chosen || frame.used {
            parent.used = true;
        } else {
            self.rest.truncate(frame.at);
        }
    }

    fn add(&mut self, nodes: &Nodes, first: &mut HashMap<Id, Vec<u8>>, node: Id, path: Vec<u8>) {
        if let Body::File { layer, entry, .. } = nodes.get(node).body {
            let new = || Named { node, names: Vec::new() };
            self.files.entry((layer, entry)).or_insert_with(new).names.push(path);
            return;
        }
        let rest = match first.entry(node) {
            Entry::Occupied(first) => Rest::Link(first.get().clone()),
            Entry::Vacant(new) => {
                new.insert(path.clone());
                Rest::Node(node)
            }
        };
        self.rest.push((path, rest));
    }

    /// Layers with content that is to be written.
    pub(super) fn layers(&self) -> BTreeSet<u32> {
        self.files.keys().map(|(layer, _)| *layer).collect()
    }
}

/// By directory, the names that the current layer took away for good.
fn gone(nodes: &Nodes) -> HashMap<Id, BTreeSet<&[u8]>> {
    let mut gone: HashMap<Id, BTreeSet<&[u8]>> = HashMap::new();
    for (dir, name) in &nodes.taken {
        // The root of a layer is never opaque to overlayfs.
        let opaque = *dir != ROOT && nodes.opaque.contains(dir);
        if nodes.child(*dir, name).is_none() && !opaque {
            gone.entry(*dir).or_default().insert(name);
        }
    }
    gone
}

/// Whatever got a name from the current layer. A file of a lower layer that did goes into this one
/// with all of its names, so that they stay one file.
fn touched(nodes: &Nodes) -> HashSet<Id> {
    let mut touched = HashSet::new();
    let mut pending = vec![ROOT];
    while let Some(id) = pending.pop() {
        for child in nodes.dir(id).into_iter().flat_map(|dir| dir.children.values()) {
            match nodes.get(child.node).body {
                Body::Dir(_) => pending.push(child.node),
                _ if child.layer == nodes.layer => {
                    touched.insert(child.node);
                }
                _ => {}
            }
        }
    }
    touched
}

fn frame(nodes: &Nodes, id: Id, path: Vec<u8>, chosen: bool, at: usize) -> Option<Frame<'_>> {
    let children = nodes.dir(id)?.children.iter();
    Some(Frame { id, path, children, chosen, used: false, at })
}
