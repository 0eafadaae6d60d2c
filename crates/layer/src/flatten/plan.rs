//! What is to be written of a tree, and under which names.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::vec;

use conex_spec::{Error, Result};
use conex_tar::show;

use crate::name::Name;
use crate::tree::{Found, NodeId, ROOT, Tree};

/// Names to be written, without content.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By layer and number of the entry that has the content.
    pub(super) files: HashMap<(usize, usize), Named>,
    /// Directories, links, pipes and devices: each directory before what is in it, and all of that
    /// before the next one; the root last.
    pub(super) rest: Vec<(Vec<u8>, Rest)>,
}

/// What is not a file.
#[derive(Debug)]
pub(super) enum Rest {
    Node(NodeId),
    /// A directory that hides what lower layers have in it.
    Opaque(NodeId),
    /// A name that hides that of a lower layer.
    Whiteout,
    /// Another name of a node that has this one.
    Link(Vec<u8>),
}

/// A file and all of its names.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) node: NodeId,
    pub(super) names: Vec<Vec<u8>>,
}

/// Which parts of a tree are wanted; without names, all of it.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// With all that is below them.
    names: HashSet<NodeId>,
    some: bool,
}

impl Choice {
    /// The parts that these paths name, and the links that lead there; nothing where layers that
    /// were not read could add to them.
    pub(super) fn find(tree: &Tree, paths: &[Vec<u8>]) -> Result<Option<Self>> {
        let mut choice = Self { some: true, ..Self::default() };
        for path in paths {
            let clean = Name::parse(path).map_err(|_| {
                Error::new(conex_spec::Kind::Usage, "this is no path of the image")
                    .expected("one below its root, as `etc/passwd`")
                    .found(if path.is_empty() { "nothing".into() } else { show(path) })
            })?;
            let names = &mut choice.names;
            // A link is what is wanted where it is the end of the path.
            let found = tree.resolve(clean.as_bytes(), false, &mut |link| {
                names.insert(link);
            })?;
            match found {
                Found::Missing => {
                    return Err(Error::not_found(format!("image has no {}", show(path))));
                }
                Found::Node(node) if tree.is_whole(node) => {
                    choice.names.insert(node);
                    choice.some = choice.some && node != ROOT;
                }
                Found::Node(_) | Found::Unknown => return Ok(None),
            }
        }
        Ok(Some(choice))
    }

    fn has(&self, node: NodeId) -> bool {
        !self.some || self.names.contains(&node)
    }
}

/// A directory on the way, and what is left to do in it.
struct Frame {
    node: NodeId,
    /// With a slash at the end; empty for the root.
    path: Vec<u8>,
    children: vec::IntoIter<NodeId>,
    /// Whether it was chosen, or lies below what was.
    chosen: bool,
    /// Whether it is written for what is in it.
    used: bool,
    /// Its own place in [`Plan::rest`].
    at: usize,
}

/// What overlayfs has to be told of the last layer.
#[derive(Default)]
struct Hidden<'a> {
    /// By directory, the names that are gone for good.
    gone: HashMap<NodeId, BTreeSet<&'a [u8]>>,
    /// Directories that hide what lower layers have in them.
    opaque: HashSet<NodeId>,
}

impl Plan {
    /// Names in order, so that the same tree always gives the same plan.
    pub(super) fn new(tree: &Tree, choice: &Choice) -> Self {
        let wants = |parent: bool, node| parent || choice.has(node);
        Self::of(tree, !choice.some, &Hidden::default(), wants)
    }

    /// What the last layer changes: as overlayfs stacks it upon the layers below.
    pub(super) fn top(tree: &Tree) -> Self {
        let touched = touched(tree);
        Self::of(tree, false, &Hidden::of(tree), |_, node| match tree.is_dir(node) {
            true => tree.is_touched(node),
            false => touched.contains(&tree.inode_number(node)),
        })
    }

    /// `wants` is asked for each name whether it is written, and told whether its directory is.
    fn of(
        tree: &Tree,
        root: bool,
        hidden: &Hidden<'_>,
        wants: impl Fn(bool, NodeId) -> bool,
    ) -> Self {
        let mut plan = Self::default();
        let mut first = HashMap::new();
        let mut frames = vec![Frame::new(tree, ROOT, Vec::new(), root, 0)];
        plan.whiteouts(hidden, &mut frames);
        while let Some(top) = frames.last_mut() {
            let Some(child) = top.children.next() else {
                plan.leave(&mut frames);
                continue;
            };
            let chosen = wants(top.chosen, child);
            let path = [&top.path[..], tree.name(child)].concat();
            if tree.is_dir(child) {
                let below = [&path[..], b"/"].concat();
                let opaque = hidden.opaque.contains(&child);
                let at = plan.rest.len();
                let kind = if opaque { Rest::Opaque } else { Rest::Node };
                plan.rest.push((below.clone(), kind(child)));
                let frame = Frame::new(tree, child, below, chosen, at);
                frames.push(Frame { used: opaque, ..frame });
                plan.whiteouts(hidden, &mut frames);
            } else if chosen {
                top.used = true;
                plan.add(tree, &mut first, child, path);
            }
        }
        // Where a layer that was not read describes the root, nothing is said of it.
        if tree.is_described(ROOT) {
            plan.rest.push((b"./".to_vec(), Rest::Node(ROOT)));
        }
        plan
    }

    /// Names that are gone from the directory that is being entered.
    fn whiteouts(&mut self, hidden: &Hidden<'_>, frames: &mut [Frame]) {
        let Some(top) = frames.last_mut() else { return };
        for name in hidden.gone.get(&top.node).into_iter().flatten() {
            top.used = true;
            self.rest.push(([&top.path[..], name].concat(), Rest::Whiteout));
        }
    }

    fn leave(&mut self, frames: &mut Vec<Frame>) {
        let Some(frame) = frames.pop() else { return };
        let Some(parent) = frames.last_mut() else { return };
        if frame.chosen || frame.used {
            parent.used = true;
        } else {
            self.rest.truncate(frame.at);
        }
    }

    fn add(&mut self, tree: &Tree, first: &mut HashMap<u32, Vec<u8>>, node: NodeId, path: Vec<u8>) {
        if let Some(place) = tree.place(node)
            && tree.has_content(node)
        {
            let new = || Named { node, names: Vec::new() };
            self.files.entry(place).or_insert_with(new).names.push(path);
            return;
        }
        let rest = match first.entry(tree.inode_number(node)) {
            Entry::Occupied(first) => Rest::Link(first.get().clone()),
            Entry::Vacant(new) => {
                new.insert(path.clone());
                Rest::Node(node)
            }
        };
        self.rest.push((path, rest));
    }

    /// Layers with content that is to be written.
    pub(super) fn layers(&self) -> BTreeSet<usize> {
        self.files.keys().map(|(layer, _)| *layer).collect()
    }
}

impl Frame {
    fn new(tree: &Tree, node: NodeId, path: Vec<u8>, chosen: bool, at: usize) -> Self {
        let children = tree.children(node).into_iter();
        Self { node, path, children, chosen, used: false, at }
    }
}

impl<'a> Hidden<'a> {
    fn of(tree: &'a Tree) -> Self {
        let mut hidden = Self { opaque: tree.opaque().collect(), ..Self::default() };
        // The root of a layer is never opaque to overlayfs.
        hidden.opaque.remove(&ROOT);
        let mut replaced = HashSet::new();
        for (dir, name) in tree.taken() {
            match tree.child(dir, name) {
                Some(now) if tree.is_dir(now) => {
                    replaced.insert(now);
                }
                None if !hidden.opaque.contains(&dir) => {
                    hidden.gone.entry(dir).or_default().insert(name);
                }
                _ => {}
            }
        }
        hidden.opaque.extend(replaced);
        hidden
    }
}

/// Inodes that got a name from the last layer. A file of a lower layer that did goes into this one
/// with all of its names, so that they stay one file.
fn touched(tree: &Tree) -> HashSet<u32> {
    let names = tree.walk(ROOT).filter(|&node| !tree.is_dir(node) && tree.is_touched(node));
    names.map(|node| tree.inode_number(node)).collect()
}
