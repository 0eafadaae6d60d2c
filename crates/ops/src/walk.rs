//! What can be reached from roots: each digest once, children before their parents.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, future, stream};

use conex_spec::{Descriptor, Digest, Document, Error, Kind, Manifest, Result};
use conex_store::{Source, SourceExt};

use crate::copy::belongings::{Attached, Belongings};

/// Indexes nested deeper than this are no real ones, nor are referrers of referrers.
pub const MAX_DEPTH: usize = 32;
/// More content than this hangs from no real root.
pub const MAX_NODES: usize = 100_000;
/// All manifests of one walk together are held in memory, and never more than this, in bytes.
const MAX_MANIFESTS: u64 = 64 << 20;
/// How many manifests are asked for at a time.
const WIDTH: usize = 16;

/// All content below some roots, the roots included.
#[derive(Debug, Default)]
pub struct Graph {
    /// Manifests and indexes, children before parents: a single root is the last.
    pub manifests: Vec<Node>,
    /// Configs, layers and other leaves, in the order in which they were met.
    pub blobs: Vec<Descriptor>,
    /// What belongs to the manifests without being part of them.
    pub attached: Vec<Attached>,
}

impl Graph {
    /// The leaves and the manifests.
    pub fn content(&self) -> impl Iterator<Item = &Descriptor> {
        self.blobs.iter().chain(self.manifests.iter().map(|node| &node.descriptor))
    }
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
    let mut walk = Walk::new(source, None);
    walk.add(root, None)?;
    walk.run().await
}

/// Several roots, level by level, many requests at a time.
pub(crate) struct Walk<'a> {
    source: &'a dyn Source,
    belongings: Option<&'a Belongings<'a>>,
    graph: Graph,
    /// What was met, as a manifest or as a leaf, and its size.
    seen: HashMap<(Digest, bool), u64>,
    /// The size of all manifests so far.
    bytes: u64,
    /// Manifests that are part of something, though met before.
    needed: HashSet<Digest>,
    /// What is to be read next.
    frontier: Vec<Step<'a>>,
    /// What was found to belong to a manifest, to be read when all roots are.
    waiting: Vec<(Attached, usize)>,
}

/// A manifest to be read.
struct Step<'a> {
    node: Descriptor,
    /// How many indexes are above it.
    depth: usize,
    /// How many subjects are below it.
    links: usize,
    /// What it must belong to, if it is here for that.
    attached: Option<Attached>,
    /// Where only some entries of an index are wanted: these.
    only: Option<&'a HashSet<Digest>>,
}

impl<'a> Walk<'a> {
    /// `belongings` says what comes along with each manifest.
    pub(crate) fn new(source: &'a dyn Source, belongings: Option<&'a Belongings<'a>>) -> Self {
        Self {
            source,
            belongings,
            graph: Graph::default(),
            seen: HashMap::new(),
            bytes: 0,
            needed: HashSet::new(),
            frontier: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Adds a root; of the manifests below it only those of `only`.
    pub(crate) fn add(
        &mut self,
        root: &Descriptor,
        only: Option<&'a HashSet<Digest>>,
    ) -> Result<()> {
        self.meet(root, 0, 0, only)
    }

    /// Reads all that can be reached from the roots.
    pub(crate) async fn run(mut self) -> Result<Graph> {
        loop {
            let steps = std::mem::take(&mut self.frontier);
            if steps.is_empty() && !self.attach()? {
                break;
            }
            let (source, belongings) = (self.source, self.belongings);
            let read = steps.into_iter().map(|step| async move {
                let manifest = async {
                    match source.manifest(&step.node).await {
                        // Lists of referrers outlive what they list.
                        Err(err) if step.attached.is_some() && err.kind() == Kind::NotFound => {
                            Ok(None)
                        }
                        read => read.map(Some),
                    }
                };
                let found = async {
                    match belongings {
                        Some(belongings) => belongings.of(&step.node).await,
                        None => Ok(Vec::new()),
                    }
                };
                let (manifest, found) = future::try_join(manifest, found).await?;
                Ok::<_, Error>((step, manifest, found))
            });
            let mut read = stream::iter(read).buffered(WIDTH);
            while let Some((step, manifest, found)) = read.try_next().await? {
                self.take(step, manifest, found)?;
            }
        }
        self.graph.sort()?;
        Ok(self.graph)
    }

    fn meet(
        &mut self,
        node: &Descriptor,
        depth: usize,
        links: usize,
        only: Option<&'a HashSet<Digest>>,
    ) -> Result<()> {
        let is_manifest = node.media_type.is_manifest();
        // One digest may be listed both as a manifest and as something opaque.
        match self.seen.insert((node.digest.clone(), is_manifest), node.size) {
            Some(size) if size == node.size => {
                self.needed.insert(node.digest.clone());
                return Ok(());
            }
            Some(size) => return Err(node.wrong_size(size).context("two sizes are stated")),
            None => {}
        }
        self.check_bounds(depth)?;
        if !is_manifest {
            self.graph.blobs.push(node.clone());
            return Ok(());
        }
        self.weigh(node)?;
        let node = node.clone();
        self.frontier.push(Step { node, depth, links, attached: None, only });
        Ok(())
    }

    /// Takes note of a manifest, what it needs, and what belongs to it.
    fn take(
        &mut self,
        step: Step<'a>,
        manifest: Option<Document<Manifest>>,
        found: Vec<Attached>,
    ) -> Result<()> {
        let (node, links, mut attached) = (step.node, step.links, step.attached);
        if let (Some(claim), Some(belongings)) = (&attached, self.belongings)
            && !manifest.as_ref().is_some_and(|manifest| claim.belongs(manifest))
        {
            belongings.leave_out(claim);
            attached = None;
            if !self.needed.contains(&node.digest) {
                // It may still be met as a part of something.
                self.seen.remove(&(node.digest, true));
                return Ok(());
            }
        }
        let place = self.source.location();
        let missing = || Error::not_found(format!("{} is not in {place}", node.digest));
        let manifest = manifest.ok_or_else(missing)?;
        for child in manifest.children() {
            let unwanted = step.only.is_some_and(|only| !only.contains(&child.digest));
            if unwanted && child.media_type.is_manifest() {
                continue;
            }
            self.meet(child, step.depth + 1, links, step.only)?;
        }
        self.graph.attached.extend(attached);
        self.waiting.extend(found.into_iter().map(|attached| (attached, links + 1)));
        self.graph.manifests.push(Node { descriptor: node, manifest, height: 0 });
        Ok(())
    }

    /// Goes on with what belongs to the manifests; false where there is nothing new. That is not
    /// done before all parts of them are known: a false claim then hides none of these.
    fn attach(&mut self) -> Result<bool> {
        for (attached, links) in std::mem::take(&mut self.waiting) {
            let node = attached.root.clone();
            if self.seen.contains_key(&(node.digest.clone(), true)) {
                // Part of something else too, or listed twice; its name is still wanted.
                if attached.name.is_some() {
                    self.needed.insert(node.digest);
                    self.graph.attached.push(attached);
                }
                continue;
            }
            self.seen.insert((node.digest.clone(), true), node.size);
            self.check_bounds(links)?;
            self.weigh(&node)?;
            let attached = Some(attached);
            self.frontier.push(Step { node, depth: 0, links, attached, only: None });
        }
        Ok(!self.frontier.is_empty())
    }

    fn weigh(&mut self, node: &Descriptor) -> Result<()> {
        self.bytes = self.bytes.saturating_add(node.size);
        if self.bytes > MAX_MANIFESTS {
            return Err(Error::new(Kind::Limit, "root lists too many or too large manifests")
                .expected(format!("at most {MAX_MANIFESTS} bytes of them")));
        }
        Ok(())
    }

    fn check_bounds(&self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if self.seen.len() > MAX_NODES {
            return Err(Error::new(Kind::Limit, "root lists too much content")
                .expected(format!("at most {MAX_NODES} descriptors")));
        }
        Ok(())
    }
}

impl Graph {
    /// Works out the heights from the leaves up, without recursion.
    fn sort(&mut self) -> Result<()> {
        let at = self.manifests.iter().enumerate();
        let at: HashMap<_, _> = at.map(|(n, node)| (node.descriptor.digest.clone(), n)).collect();
        let mut parents = vec![Vec::new(); self.manifests.len()];
        let mut left = vec![0_usize; self.manifests.len()];
        for (n, node) in self.manifests.iter().enumerate() {
            let children = node.manifest.children().into_iter();
            let manifests = children.filter(|child| child.media_type.is_manifest());
            for &child in manifests.filter_map(|child| at.get(&child.digest)) {
                parents[child].push(n);
                left[n] += 1;
            }
        }
        let mut ready: Vec<usize> = (0..left.len()).filter(|n| left[*n] == 0).collect();
        while let Some(n) = ready.pop() {
            let height = self.manifests[n].height + 1;
            self.manifests[n].height = height;
            if height > MAX_DEPTH + 1 {
                return Err(too_deep());
            }
            for &parent in &parents[n] {
                self.manifests[parent].height = self.manifests[parent].height.max(height);
                left[parent] -= 1;
                if left[parent] == 0 {
                    ready.push(parent);
                }
            }
        }
        self.manifests.sort_by_key(|node| node.height);
        Ok(())
    }
}

fn too_deep() -> Error {
    Error::new(Kind::Limit, "indexes are nested too deep")
        .expected(format!("at most {MAX_DEPTH} levels"))
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
        leaf.media_type = MediaType::OCTETS;
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
