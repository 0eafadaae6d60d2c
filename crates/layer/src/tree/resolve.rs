//! Paths in a tree: links lead where they would in a container that has the tree as its root.

use conex_spec::Result;

use super::merge::{count, reversed};
use super::{NodeId, ROOT, Tree, UNKNOWN};

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This name.
    Node(NodeId),
    /// Nothing.
    Missing,
    /// A layer that was not read decides.
    Unknown,
}

impl Tree {
    /// The node of a path, links followed, those at its end too; nothing where there is none.
    ///
    /// # Errors
    /// More than 40 links on the way.
    pub fn find(&self, path: &[u8]) -> Result<Option<NodeId>> {
        self.look(path).map(Found::node)
    }

    /// The same, without following a link at the very end.
    pub fn find_name(&self, path: &[u8]) -> Result<Option<NodeId>> {
        self.resolve(path, false, &mut |_| {}).map(Found::node)
    }

    /// As [`Tree::find`], for a tree of which some layers were not read.
    pub fn look(&self, path: &[u8]) -> Result<Found> {
        self.resolve(path, true, &mut |_| {})
    }

    /// The directory of a path; nothing also where something else is.
    pub(super) fn existing_dir(&self, path: &[u8]) -> Result<Found> {
        Ok(match self.look(path)? {
            Found::Node(node) if !self.is_dir(node) => Found::Missing,
            found => found,
        })
    }

    /// What a name in a directory stands for.
    pub(super) fn step(&self, dir: u32, name: &[u8]) -> Found {
        match self.lookup(dir, name).map(NodeId) {
            Some(node) if self.inode(node).record == UNKNOWN => Found::Unknown,
            Some(node) => Found::Node(node),
            None if !self.nodes[dir as usize].below => Found::Missing,
            None if self.hidden.contains(&(dir, name.into())) => Found::Missing,
            None => Found::Unknown,
        }
    }

    pub(super) fn link_target(&self, node: u32) -> Vec<u8> {
        let record = self.record(self.inode(NodeId(node)));
        record.and_then(|(listing, at)| listing.target(at)).unwrap_or_default().to_vec()
    }

    /// Tells `passed` of each link that was followed.
    pub(crate) fn resolve(
        &self,
        path: &[u8],
        follow_last: bool,
        passed: &mut dyn FnMut(NodeId),
    ) -> Result<Found> {
        let mut todo = reversed(path);
        let (mut at, mut links) = (ROOT, 0);
        while let Some(name) = todo.pop() {
            match &name[..] {
                _ if !self.is_dir(at) => return Ok(Found::Missing),
                b"." => continue,
                b".." => {
                    at = self.parent(at).unwrap_or(ROOT);
                    continue;
                }
                _ => {}
            }
            let found = self.step(at.0, &name);
            let Found::Node(node) = found else { return Ok(found) };
            if !self.is_symlink(node.0) || todo.is_empty() && !follow_last {
                at = node;
                continue;
            }
            passed(node);
            links = count(links, path)?;
            let target = self.link_target(node.0);
            if target.starts_with(b"/") {
                at = ROOT;
            }
            todo.extend(reversed(&target));
        }
        Ok(Found::Node(at))
    }
}

impl Found {
    fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }
}
