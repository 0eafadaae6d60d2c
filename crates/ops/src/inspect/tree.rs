//! The graph below a root: indexes, manifests, configs and layers, and what refers to them.
//!
//! Everything is read level by level, in parallel, and shown once: where a digest is met again,
//! its node says so and has no children, so an index of 2^30 paths is thirty nodes (rule J6).

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use conex_spec::media_type::Role;
use conex_spec::{Descriptor, Digest, Manifest, Result};
use conex_store::{Source, SourceExt};

use super::{Options, absence, is_of_content, open, told};
use crate::json_file::Target;
use crate::open::Context;

/// How many manifests are read at a time.
const PARALLEL: usize = 8;
/// Deeper nodes are shown without what is below them.
const MAX_DEPTH: usize = 32;
/// More nodes than this are not shown.
const MAX_NODES: usize = 10_000;
/// How much of all manifests together is read, in bytes.
const MAX_MANIFESTS: u64 = 16 << 20;

/// A root and everything that hangs from it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// Where it is.
    pub location: Target,
    /// The root.
    pub root: Node,
    /// Whether some of it is not shown, because it is too much.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Content in the tree.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// How its parent describes it.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What it is: index, manifest, config, layer, artifact, empty, blob.
    pub role: &'static str,
    /// Whether it was shown before, with what is below it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// Why it, or what is below it, cannot be had, where it cannot: `missing`, or what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What it lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
    /// The manifests whose subject it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Self>,
}

/// The tree below what a location names.
pub async fn tree(context: &Context, target: &Target, options: &Options) -> Result<Tree> {
    let opened = open(context, target, options).await?;
    if opened.alone {
        let root = listed(opened.source.as_ref(), opened.root).await?;
        return Ok(Tree { location: target.clone(), root, cut: false });
    }
    let (root, cut) = tree_of(opened.source.as_ref(), opened.root).await?;
    Ok(Tree { location: target.clone(), root, cut })
}

/// A document of which only itself can be read: what it lists is listed.
async fn listed(source: &dyn Source, root: Descriptor) -> Result<Node> {
    let mut loaded = HashMap::new();
    if root.media_type.is_manifest() {
        let manifest = source.manifest(&root).await?;
        loaded.insert(root.digest.clone(), Loaded::of(&manifest));
    }
    let mut builder = Builder { loaded, shown: HashSet::new(), nodes: 0, cut: false };
    Ok(builder.node(root, 0))
}

/// The tree below a root, and whether some of it was cut.
pub async fn tree_of(source: &dyn Source, root: Descriptor) -> Result<(Node, bool)> {
    let mut loaded = HashMap::new();
    let complete = load(source, &root, &mut loaded).await?;
    let mut builder = Builder { loaded, shown: HashSet::new(), nodes: 0, cut: !complete };
    let root = builder.node(root, 0);
    Ok((root, builder.cut))
}

/// A manifest's children and referrers.
#[derive(Default)]
struct Loaded {
    role: Option<&'static str>,
    children: Vec<Descriptor>,
    referrers: Vec<Descriptor>,
    fault: Option<String>,
}

impl Loaded {
    fn of(manifest: &Manifest) -> Self {
        Self {
            children: manifest.children().into_iter().cloned().collect(),
            role: Some(match manifest {
                Manifest::Index(_) => "index",
                Manifest::Image(image) if image.is_image() => "image",
                Manifest::Image(_) | Manifest::Artifact(_) => "artifact",
            }),
            ..Self::default()
        }
    }
}

/// Reads every manifest, level by level; whether that were all.
async fn load(
    source: &dyn Source,
    root: &Descriptor,
    loaded: &mut HashMap<Digest, Loaded>,
) -> Result<bool> {
    let mut level = vec![root.clone()];
    let (mut bytes, mut complete) = (0_u64, true);
    for _ in 0..=MAX_DEPTH {
        let mut fresh = Vec::new();
        for node in std::mem::take(&mut level) {
            if loaded.contains_key(&node.digest) {
                continue;
            }
            if !node.media_type.is_manifest() {
                if let Some(fault) = absence(source, &node).await {
                    let leaf = Loaded { fault: Some(fault), ..Loaded::default() };
                    loaded.insert(node.digest.clone(), leaf);
                }
                continue;
            }
            bytes = bytes.saturating_add(node.size);
            if bytes > MAX_MANIFESTS || loaded.len() >= MAX_NODES {
                complete = false;
                break;
            }
            loaded.insert(node.digest.clone(), Loaded::default());
            fresh.push(node);
        }
        let mut reads =
            stream::iter(fresh.iter().map(|node| look(source, node))).buffered(PARALLEL);
        let mut index = 0;
        while let Some(read) = reads.next().await {
            let read = read?;
            level.extend(read.children.iter().chain(&read.referrers).cloned());
            loaded.insert(fresh[index].digest.clone(), read);
            index += 1;
        }
        if level.is_empty() {
            return Ok(complete);
        }
    }
    Ok(complete && level.iter().all(|node| loaded.contains_key(&node.digest)))
}

/// One manifest and who refers to it. A fault of the content is the node's.
async fn look(source: &dyn Source, node: &Descriptor) -> Result<Loaded> {
    let (manifest, referrers) = tokio::join!(source.manifest(node), source.referrers(&node.digest));
    let mut loaded = Loaded::default();
    match manifest {
        Ok(manifest) => {
            loaded = Loaded::of(&manifest);
        }
        Err(err) if is_of_content(&err) => loaded.fault = Some(told(&err)),
        Err(err) => return Err(err),
    }
    match referrers {
        Ok(referrers) => loaded.referrers = referrers,
        Err(err) if is_of_content(&err) => {
            loaded.fault.get_or_insert_with(|| format!("referrers are not known: {err}"));
        }
        Err(err) => return Err(err),
    }
    Ok(loaded)
}

struct Builder {
    loaded: HashMap<Digest, Loaded>,
    shown: HashSet<Digest>,
    nodes: usize,
    cut: bool,
}

impl Builder {
    fn node(&mut self, descriptor: Descriptor, depth: usize) -> Node {
        self.nodes += 1;
        let mut node = Node {
            role: role(&descriptor),
            repeated: !self.shown.insert(descriptor.digest.clone()),
            descriptor,
            fault: None,
            children: Vec::new(),
            referrers: Vec::new(),
        };
        let Some(loaded) = self.loaded.get_mut(&node.descriptor.digest) else { return node };
        node.role = loaded.role.unwrap_or(node.role);
        node.fault.clone_from(&loaded.fault);
        if node.repeated {
            return node;
        }
        let children = std::mem::take(&mut loaded.children);
        let referrers = std::mem::take(&mut loaded.referrers);
        if depth >= MAX_DEPTH {
            self.cut |= !children.is_empty() || !referrers.is_empty();
            return node;
        }
        node.children = self.nodes(children, depth + 1);
        node.referrers = self.nodes(referrers, depth + 1);
        node
    }

    fn nodes(&mut self, descriptors: Vec<Descriptor>, depth: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        for descriptor in descriptors {
            if self.nodes >= MAX_NODES {
                self.cut = true;
                break;
            }
            nodes.push(self.node(descriptor, depth));
        }
        nodes
    }
}

fn role(descriptor: &Descriptor) -> &'static str {
    match descriptor.media_type.role() {
        Role::Index => "index",
        Role::Manifest => "manifest",
        Role::Artifact => "artifact",
        Role::Config => "config",
        Role::Layer(_) => "layer",
        Role::Empty => "empty",
        _ => "blob",
    }
}
