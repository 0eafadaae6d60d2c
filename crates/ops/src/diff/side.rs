//! One of the two that are compared: its layers, and the tree that they come to.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_layer::Root;
use conex_layer::tree::{Listing, NodeId, Tree, hash_file, hashes};
use conex_spec::{Descriptor, Digest, Error, Kind, Result};
use conex_store::bridge;
use conex_tar::compression::{Decoder, detect};

use super::{Hashes, Layers, OneLayer, Operand, Options};
use crate::files::Files;
use crate::open::Context;
use crate::spool::Spool;

/// One of the two.
pub(super) struct Side {
    pub(super) files: Option<Files>,
    layers: Vec<Layer>,
    /// The number of the first of them.
    first: usize,
    pub(super) tree: Tree,
}

/// A layer of an image, known by its diff ID.
type Blob = (Digest, OneLayer);

/// Where a layer of the tree is read.
#[derive(Clone)]
pub(super) enum Layer {
    /// In an image; what it is known by is its diff ID.
    Blob(Box<Descriptor>, Digest),
    /// A tar, perhaps compressed.
    File(PathBuf),
    Folder(PathBuf),
}

impl Side {
    pub(super) async fn open(
        context: &Context,
        operand: &Operand,
        options: &Options,
        spool: &Spool,
    ) -> Result<Self> {
        let (files, layers) = match operand {
            Operand::Image(location) => {
                let files = Files::open(context, location, &options.platform).await?;
                let layers = blobs(&files, options.layer)?;
                (Some(files.keeping(spool.clone())), layers)
            }
            Operand::Path(path) => (None, vec![local(path)?]),
        };
        let first = options.layer.unwrap_or(1);
        Ok(Self { files, layers, first, tree: Tree::default() })
    }

    /// Whether both come to the same tree whatever is in their layers.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.ids().is_some_and(|mine| Some(mine) == other.ids())
    }

    fn ids(&self) -> Option<Vec<&Digest>> {
        self.layers.iter().map(Layer::id).collect()
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        self.files.as_ref().map(|files| files.image.root.digest.clone())
    }

    pub(super) fn layers_beside(&self, other: &Self) -> Option<Layers> {
        let (mine, theirs) = (self.blobs()?, other.blobs()?);
        let only = |these: &[Blob], those: &[Blob]| {
            let only = these.iter().filter(|(id, _)| !those.iter().any(|(other, _)| other == id));
            only.map(|(_, layer)| layer.clone()).collect::<Vec<_>>()
        };
        let (old, new) = (only(&mine, &theirs), only(&theirs, &mine));
        let bytes = |layers: &[OneLayer]| layers.iter().map(|layer| layer.size).sum();
        Some(Layers {
            shared: mine.len() - old.len(),
            old: old.len(),
            old_bytes: bytes(&old),
            new: new.len(),
            new_bytes: bytes(&new),
            only_old: old,
            only_new: new,
        })
    }

    fn blobs(&self) -> Option<Vec<Blob>> {
        let first = self.first;
        let of = |(at, layer): (usize, &Layer)| match layer {
            Layer::Blob(blob, id) => {
                let (digest, size) = (blob.digest.clone(), blob.size);
                Some((id.clone(), OneLayer { number: first + at, digest, size }))
            }
            _ => None,
        };
        self.layers.iter().enumerate().map(of).collect()
    }

    /// Hashes of files that have none yet, and of those that have.
    pub(super) async fn hashes(&self, nodes: impl Iterator<Item = NodeId>) -> Result<Hashes> {
        let mut found = Hashes::new();
        let mut wanted: HashMap<usize, Vec<NodeId>> = HashMap::new();
        for node in nodes {
            match (self.tree.hash(node), self.tree.place(node)) {
                (Some(hash), _) => drop(found.insert(node, *hash)),
                (None, Some((layer, _))) => wanted.entry(layer).or_default().push(node),
                (None, None) => {}
            }
        }
        for (layer, nodes) in wanted {
            if let Layer::Folder(path) = &self.layers[layer] {
                let root = Root::open(path)?;
                for node in nodes {
                    found.insert(node, hash_file(&root, &self.tree.path(node))?);
                }
                continue;
            }
            let offset = |node: &NodeId| self.tree.entry(*node).offset;
            let offsets: BTreeSet<u64> = nodes.iter().map(offset).collect();
            let hashes = self.read(layer, move |tar| hashes(tar, &offsets)).await?;
            found
                .extend(nodes.iter().filter_map(|node| Some((*node, *hashes.get(&offset(node))?))));
        }
        Ok(found)
    }

    /// The folder, where a layer of the tree is one.
    pub(super) fn folder(&self, layer: usize) -> Option<&Path> {
        match self.layers.get(layer)? {
            Layer::Folder(path) => Some(path),
            _ => None,
        }
    }

    /// Gives the tar of a layer to blocking work.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        layer: usize,
        work: impl FnOnce(&mut dyn BufRead) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match (&self.layers[layer], &self.files) {
            (Layer::Blob(blob, _), Some(files)) => files.read(blob, work).await,
            (Layer::File(path), _) => {
                let (path, name) = (path.clone(), path.display());
                let result = bridge::blocking(move || work(&mut open_tar(&path)?)).await;
                result.map_err(|err| err.context(format!("cannot read {name}")))
            }
            _ => Err(Error::new(Kind::Usage, "a folder is no tar")),
        }
    }

    async fn listing(&self, layer: usize, hashes: bool) -> Result<Arc<Listing>> {
        match self.folder(layer).map(Path::to_owned) {
            Some(path) => bridge::blocking(move || Listing::of_folder(&path)).await.map(Arc::new),
            None => self.read(layer, move |tar| Listing::read(tar, hashes)).await.map(Arc::new),
        }
    }

    /// Reads the layers that nobody has yet.
    async fn list(&self, known: &Known) -> Result<Vec<Arc<Listing>>> {
        let mut listings = Vec::new();
        for (at, layer) in self.layers.iter().enumerate() {
            listings.push(match layer.id().and_then(|id| known.get(id)) {
                Some(listing) => Arc::clone(listing),
                None => self.listing(at, true).await?,
            });
        }
        Ok(listings)
    }

    fn build(&mut self, listings: Vec<Arc<Listing>>) -> Result<()> {
        listings.into_iter().try_for_each(|listing| self.tree.apply(listing))
    }
}

impl Layer {
    fn id(&self) -> Option<&Digest> {
        match self {
            Self::Blob(_, id) => Some(id),
            _ => None,
        }
    }
}

type Known = HashMap<Digest, Arc<Listing>>;

/// Reads what both trees are made of: layers of both once, without hashing their content, since it is the
/// same; then those of either, side by side.
pub(super) async fn read(a: &mut Side, b: &mut Side) -> Result<()> {
    let mut known = Known::new();
    for (at, layer) in a.layers.iter().enumerate() {
        let shared = |id: &&Digest| b.layers.iter().any(|other| other.id() == Some(id));
        if let Some(id) = layer.id().filter(shared)
            && !known.contains_key(id)
        {
            known.insert(id.clone(), a.listing(at, false).await?);
        }
    }
    let (old, new) = futures_util::future::try_join(a.list(&known), b.list(&known)).await?;
    a.build(old)?;
    b.build(new)
}

fn blobs(files: &Files, only: Option<usize>) -> Result<Vec<Layer>> {
    let diff_ids = files.image.config.diff_ids(files.layers().len())?;
    let blob = |at: usize| Layer::Blob(Box::new(files.layers()[at].clone()), diff_ids[at].clone());
    match only {
        Some(number) => files.layer(number).map(|_| vec![blob(number - 1)]),
        None => Ok((0..diff_ids.len()).map(blob).collect()),
    }
}

fn local(path: &Path) -> Result<Layer> {
    let meta = std::fs::metadata(path).map_err(|err| Error::io("cannot open", path, err))?;
    let path = path.to_owned();
    Ok(if meta.is_dir() { Layer::Folder(path) } else { Layer::File(path) })
}

fn open_tar(path: &Path) -> Result<impl BufRead + use<>> {
    let fail = |err| Error::io("cannot open", path, err);
    let mut file = File::open(path).map_err(fail)?;
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head).map_err(fail)?;
    file.rewind().map_err(fail)?;
    Ok(BufReader::with_capacity(256 << 10, Decoder::new(detect(&head), file)?))
}
