//! Paths in a tree: links lead where they would in a container that has the tree as its root.

use conex_spec::Result;

use super::merge::{count, reversed};
use super::{NodeId, ROOT, Tree};

impl Tree {
    /// The node of a path, links followed, those at its end too; nothing where there is none.
    ///
    /// # Errors
    /// More than 40 links on the way.
    pub fn find(&self, path: &[u8]) -> Result<Option<NodeId>> {
        self.resolve(path, true)
    }

    /// The same, without following a link at the very end.
    pub fn find_name(&self, path: &[u8]) -> Result<Option<NodeId>> {
        self.resolve(path, false)
    }

    /// The directory of a path.
    pub(super) fn existing_dir(&self, path: &[u8]) -> Result<Option<u32>> {
        let node = self.find(path)?;
        Ok(node.filter(|&node| self.is_dir(node)).map(|node| node.0))
    }

    pub(super) fn link_target(&self, node: u32) -> Vec<u8> {
        let record = self.record(self.inode(NodeId(node)));
        record.and_then(|(listing, at)| listing.target(at)).unwrap_or_default().to_vec()
    }

    fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Option<NodeId>> {
        let mut todo = reversed(path);
        let (mut at, mut links) = (ROOT, 0);
        while let Some(name) = todo.pop() {
            match &name[..] {
                _ if !self.is_dir(at) => return Ok(None),
                b"." => continue,
                b".." => {
                    at = self.parent(at).unwrap_or(ROOT);
                    continue;
                }
                _ => {}
            }
            let Some(node) = self.lookup(at.0, &name) else { return Ok(None) };
            if !self.is_symlink(node) || todo.is_empty() && !follow_last {
                at = NodeId(node);
                continue;
            }
            links = count(links, path)?;
            let target = self.link_target(node);
            if target.starts_with(b"/") {
                at = ROOT;
            }
            todo.extend(reversed(&target));
        }
        Ok(Some(at))
    }
}
