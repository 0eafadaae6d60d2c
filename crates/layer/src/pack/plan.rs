//! What of a folder becomes the layer that turns one tree into another.
//! image-spec, layer.md, "Representing Changes".

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Change, Difference, NodeId, ROOT, Tree};

/// For each directory that the layer has, by its path with a slash at the end, what it has there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    dirs: BTreeMap<Vec<u8>, BTreeSet<(Vec<u8>, Step)>>,
    /// Whose files are, where the disk does not say it.
    owners: BTreeMap<Vec<u8>, (u32, u32)>,
    /// How many files and directories differ.
    pub changed: u64,
    /// How many are gone.
    pub removed: u64,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It is written as it is on the disk.
    Write,
    /// A whiteout of it is written.
    Hide,
}

impl Plan {
    /// From what differs between the image and the folder. Directories above a change come with it: tools
    /// that put layers side by side would else make up their owners and modes. Of a file with several
    /// names all come, since links from one layer into another do not last.
    pub fn new(folder: &Tree, image: &Tree, changes: &[Change]) -> Self {
        let mut plan = Self::default();
        let mut linked = BTreeSet::new();
        for change in changes {
            match (&change.difference, change.old, change.new) {
                (Difference::Removed, Some(old), _) => plan.remove(folder, image, old),
                (_, _, Some(new)) => {
                    plan.changed += 1;
                    plan.write(folder, new);
                    if folder.links(new) > 1 && !folder.is_dir(new) {
                        linked.insert(folder.inode_number(new));
                    }
                }
                _ => {}
            }
        }
        if !linked.is_empty() {
            let of_those = |node: &NodeId| linked.contains(&folder.inode_number(*node));
            folder.walk(ROOT).filter(of_those).for_each(|node| plan.write(folder, node));
        }
        plan
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    /// Of what both trees have, `owner` tells of its node in the folder and in the image whose it is in
    /// the layer.
    pub fn set_owners(
        &mut self,
        folder: &Tree,
        image: &Tree,
        owner: impl Fn(NodeId, NodeId) -> (u32, u32),
    ) {
        let named = |tree: &Tree, path: &[u8]| {
            let node = tree.find_name(path).ok().flatten();
            node.filter(|node| tree.path(*node) == path)
        };
        let written = self.dirs.iter().flat_map(|(dir, steps)| {
            let names = steps.iter().filter(|(_, step)| *step == Step::Write);
            names.map(move |(name, _)| [&dir[..], name].concat())
        });
        let all = written.chain([Vec::new()]).filter_map(|path| {
            let nodes = named(folder, &path).zip(named(image, &path));
            nodes.map(|(here, there)| (path, owner(here, there)))
        });
        self.owners = all.collect();
    }

    /// Whose a file of this name of the layer is, where the disk does not say it.
    pub(super) fn owner(&self, name: &[u8]) -> Option<(u32, u32)> {
        let path = name.strip_prefix(b"./").unwrap_or(name);
        self.owners.get(path.strip_suffix(b"/").unwrap_or(path)).copied()
    }

    /// What is written in a directory, in the order of the names.
    pub(super) fn names(&self, dir: &[u8]) -> Vec<(Vec<u8>, Step)> {
        self.dirs.get(dir).map(|steps| steps.iter().cloned().collect()).unwrap_or_default()
    }

    fn write(&mut self, folder: &Tree, node: NodeId) {
        let path = folder.path(node);
        if path.is_empty() {
            self.dirs.entry(Vec::new()).or_default();
            return;
        }
        self.add(&path, Step::Write);
    }

    fn remove(&mut self, folder: &Tree, image: &Tree, node: NodeId) {
        self.removed += 1;
        let path = image.path(node);
        let above = image.parent(node).map(|parent| image.path(parent)).unwrap_or_default();
        // What is below something that is gone, or no directory any more, goes with it.
        let lasts = folder
            .find_name(&above)
            .ok()
            .flatten()
            .is_some_and(|dir| folder.is_dir(dir) && folder.path(dir) == above);
        if lasts {
            self.add(&path, Step::Hide);
        }
    }

    fn add(&mut self, path: &[u8], step: Step) {
        let (mut path, mut step) = (path, step);
        loop {
            let (dir, name) = match path.iter().rposition(|&b| b == b'/') {
                Some(slash) => path.split_at(slash + 1),
                None => (&[][..], path),
            };
            let fresh = self.dirs.entry(dir.to_vec()).or_default().insert((name.to_vec(), step));
            if !fresh || dir.is_empty() {
                return;
            }
            (path, step) = (&dir[..dir.len() - 1], Step::Write);
        }
    }
}
