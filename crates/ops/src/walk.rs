//! What can be reached from a root: each digest once, children before their parents.

use std::collections::HashMap;

use futures_util::future::BoxFuture;

use conex_spec::{Descriptor, Digest, Document, Error, Kind, Manifest, Result};
use conex_store::{Source, SourceExt};

/// Indexes nested deeper than this are no real ones.
pub const MAX_DEPTH: usize = 32;
/// More content than this hangs from no real root.
pub const MAX_NODES: usize = 100_000;
/// All manifests of one root together are held in memory, and never more than this, in bytes.
const MAX_MANIFESTS: u64 = 64 << 20;

/// All content below a root, the root included.
#[derive(Debug, Default)]
pub struct Graph {
    /// Manifests and indexes, children before parents: the root is the last.
    pub manifests: Vec<Node>,
    /// Configs, layers and other leaves, in the order in which they were met.
    pub blobs: Vec<Descriptor>,
}

/// A manifest or an index.
#[derive(Debug)]
pub struct Node {
    /// How its parent describes it.
    pub descriptor: Descriptor,
    /// The document.
    pub manifest: Document<Manifest>,
    /// How many levels of manifests are below it.
    pub height: usize,
}

impl Graph {
    /// The length in bytes of all content.
    pub fn size(&self) -> u64 {
        let manifests = self.manifests.iter().map(|node| node.descriptor.size);
        manifests.chain(self.blobs.iter().map(|blob| blob.size)).fold(0, u64::saturating_add)
    }
}

/// Reads every manifest that can be reached. A diamond costs no more than its distinct content,
/// so an index that lists itself over and over by other names ends here (rule J6).
pub async fn walk(source: &dyn Source, root: &Descriptor) -> Result<Graph> {
    let mut walk = Walk { source, graph: Graph::default(), seen: HashMap::new(), bytes: 0 };
    walk.visit(root, 0).await?;
    Ok(walk.graph)
}

struct Walk<'a> {
    source: &'a dyn Source,
    graph: Graph,
    /// What was met, as a manifest or as a leaf, and its size.
    seen: HashMap<(Digest, bool), u64>,
    /// The size of all manifests so far.
    bytes: u64,
}

impl Walk<'_> {
    fn visit<'b>(&'b mut self, node: &'b Descriptor, depth: usize) -> BoxFuture<'b, Result<usize>> {
        Box::pin(async move {
            let is_manifest = node.media_type.is_manifest();
            // One digest may be listed both as a manifest and as something opaque.
            match self.seen.insert((node.digest.clone(), is_manifest), node.size) {
                Some(size) if size == node.size => return Ok(self.height_of(&node.digest)),
                Some(size) => return Err(node.wrong_size(size).context("two sizes are stated")),
                None => {}
            }
            self.check_bounds(depth)?;
            if !is_manifest {
                self.graph.blobs.push(node.clone());
                return Ok(0);
            }
            self.bytes = self.bytes.saturating_add(node.size);
            if self.bytes > MAX_MANIFESTS {
                return Err(Error::new(Kind::Limit, "root lists too many or too large manifests")
                    .expected(format!("at most {MAX_MANIFESTS} bytes of them")));
            }
            let manifest = self.source.manifest(node).await?;
            let mut height = 0;
            for child in manifest.children() {
                height = height.max(self.visit(child, depth + 1).await?);
            }
            let height = height + 1;
            self.graph.manifests.push(Node { descriptor: node.clone(), manifest, height });
            Ok(height)
        })
    }

    fn height_of(&self, digest: &Digest) -> usize {
        let known = self.graph.manifests.iter().find(|node| node.descriptor.digest == *digest);
        known.map_or(0, |node| node.height)
    }

    fn check_bounds(&self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(Kind::Limit, "indexes are nested too deep")
                .expected(format!("at most {MAX_DEPTH} levels")));
        }
        if self.seen.len() > MAX_NODES {
            return Err(Error::new(Kind::Limit, "root lists too much content")
                .expected(format!("at most {MAX_NODES} descriptors")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::{ImageIndex, MediaType};
    use conex_store::Memory;
    use conex_testkit::images;

    fn index(store: &Memory, entries: Vec<Descriptor>) -> Descriptor {
        let index = Document::new(ImageIndex::new(entries)).unwrap();
        store.add(MediaType::INDEX, index.bytes().clone())
    }

    #[tokio::test]
    async fn children_come_before_parents_and_each_digest_once() {
        let store = Memory::new();
        let root = images::two_platforms(&store);
        let graph = walk(&store, &root).await.unwrap();
        let heights: Vec<_> = graph.manifests.iter().map(|node| node.height).collect();
        assert_eq!(heights, [1, 1, 2]);
        assert_eq!(graph.manifests[2].descriptor, root);
        // Two configs and three layers, two of which both images have.
        assert_eq!(graph.blobs.len(), 5);
    }

    #[tokio::test]
    async fn two_to_the_thirty_paths_are_thirty_nodes() {
        let store = Memory::new();
        let mut root = images::two_platforms(&store);
        for _ in 0..29 {
            root = index(&store, vec![root.clone(), root]);
        }
        assert_eq!(walk(&store, &root).await.unwrap().manifests.len(), 32);
    }

    #[tokio::test]
    async fn depth_is_bounded() {
        let store = Memory::new();
        let mut root = images::two_platforms(&store);
        for _ in 0..40 {
            root = index(&store, vec![root]);
        }
        assert_eq!(walk(&store, &root).await.unwrap_err().kind(), Kind::Limit);
    }

    #[tokio::test]
    async fn a_digest_listed_as_a_leaf_first_is_still_walked_as_a_manifest() {
        let store = Memory::new();
        let image = images::image(&store, &conex_spec::Platform::new("linux", "amd64"), 1, 10);
        let mut leaf = image.bare();
        leaf.media_type = MediaType::new("application/octet-stream");
        let root = index(&store, vec![leaf, image]);
        let graph = walk(&store, &root).await.unwrap();
        assert_eq!((graph.manifests.len(), graph.blobs.len()), (2, 3));
    }

    #[tokio::test]
    async fn one_digest_has_one_size() {
        let store = Memory::new();
        let layer = store.add(MediaType::LAYER, "content");
        let lying = Descriptor { size: 5, ..layer.clone() };
        let platform = conex_spec::Platform::new("linux", "amd64");
        let root = images::image_of(&store, &platform, vec![layer, lying]);
        assert_eq!(walk(&store, &root).await.unwrap_err().kind(), Kind::Mismatch);
    }
}
