//! Layers put on top of an image that is there: what `repack` and `pack --base` have in common.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use conex_layer::pack::Packed;
use conex_spec::config::History;
use conex_spec::{
    Compression, Descriptor, Digest, Document, Error, ImageConfig, ImageIndex, ImageManifest, Kind,
    MediaType, Result,
};
use conex_store::{Source, SourceExt, Stage};

use crate::unpack::Image;
use crate::walk::{MAX_DEPTH, MAX_NODES};

/// A time that says nothing, which reproducible builds write where none was named. A history without
/// any is legal (image-spec, config.md, "Properties": `created` is OPTIONAL), but some tools stop at it.
pub(crate) const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// A layer, and what it was packed to.
pub(crate) type Layer = (Descriptor, Packed);

/// What becomes of an image beside its layers.
pub(crate) struct Change<'a> {
    /// What the history says made the layers.
    pub(crate) created_by: &'a str,
    /// When, as RFC 3339 writes it; without it the layers are as old as the image.
    pub(crate) created: Option<&'a str>,
}

/// The image with these layers on top; `edit` may change its config further.
pub(crate) async fn with_layers(
    stage: &Stage,
    source: &dyn Source,
    image: &Image,
    layers: &[Layer],
    change: &Change<'_>,
    edit: impl FnOnce(&mut ImageConfig),
) -> Result<Descriptor> {
    let config: Document<ImageConfig> = image.config.edit(|config| {
        let age = config.created.clone().unwrap_or_else(|| NO_TIME.into());
        let created = change.created.map_or(age, Into::into);
        if change.created.is_some() {
            config.created = Some(created.clone());
        }
        for (_, packed) in layers {
            config.rootfs.diff_ids.push(packed.diff_id.clone());
            config.history.push(history(change.created_by, created.clone()));
        }
        edit(config);
    })?;
    let config = stage.add(image.manifest.config.media_type.clone(), config.bytes().clone());
    let manifest: Document<ImageManifest> = Document::parse(source.read(&image.root).await?)?;
    let types = layers.iter().map(|(layer, _)| like(&image.root, layer));
    let types = types.collect::<Result<Vec<_>>>()?;
    let manifest = manifest.edit(|manifest| {
        let (digest, size) = (config.digest.clone(), config.size);
        manifest.config = Descriptor { digest, size, data: None, ..manifest.config.clone() };
        for ((layer, _), media_type) in layers.iter().zip(types) {
            manifest.layers.push(Descriptor { media_type, ..layer.clone() });
        }
    })?;
    Ok(stage.add(image.root.media_type.clone(), manifest.bytes().clone()))
}

/// An entry of a history.
pub(crate) fn history(created_by: &str, created: String) -> History {
    History {
        created: Some(created),
        created_by: Some(created_by.to_owned()),
        ..History::default()
    }
}

/// A manifest of Docker's takes Docker's layers, and those are compressed with gzip.
fn like(manifest: &Descriptor, layer: &Descriptor) -> Result<MediaType> {
    if manifest.media_type != MediaType::DOCKER_MANIFEST {
        return Ok(layer.media_type.clone());
    }
    match layer.media_type.compression() {
        Some(Compression::Gzip) => Ok(MediaType::DOCKER_LAYER_GZIP),
        _ => Err(Error::new(Kind::Unsupported, "image is of Docker's own form")
            .expected("`--compression gzip`")
            .found(&layer.media_type)),
    }
}

/// The root that has the new image in the place of the old one, wherever an index lists it, and all else
/// as it was; without an index, the image itself.
pub(crate) async fn replaced(
    stage: &Stage,
    source: &Arc<dyn Source>,
    root: &Descriptor,
    old: &Descriptor,
    new: &Descriptor,
) -> Result<Descriptor> {
    if !root.media_type.is_index() {
        return Ok(Descriptor { platform: root.platform.clone(), ..new.clone() });
    }
    let mut replace = Replace { stage, source: source.as_ref(), old, new, known: HashMap::new() };
    replace.index(root, 0).await
}

/// One image in the place of another.
struct Replace<'a> {
    stage: &'a Stage,
    source: &'a dyn Source,
    old: &'a Descriptor,
    new: &'a Descriptor,
    /// What became of each index.
    known: HashMap<Digest, Descriptor>,
}

impl Replace<'_> {
    /// Indexes may list indexes (image-spec, image-index.md, "manifests").
    fn index<'s>(
        &'s mut self,
        root: &'s Descriptor,
        depth: usize,
    ) -> BoxFuture<'s, Result<Descriptor>> {
        async move {
            if let Some(known) = self.known.get(&root.digest) {
                return Ok(known.clone());
            }
            if depth > MAX_DEPTH || self.known.len() > MAX_NODES {
                return Err(Error::new(
                    Kind::Limit,
                    "indexes are nested too deep or list too much",
                )
                .expected(format!("at most {MAX_DEPTH} levels and {MAX_NODES} entries")));
            }
            let index: Document<ImageIndex> = Document::parse(self.source.read(root).await?)?;
            let mut entries = Vec::new();
            for entry in &index.value().manifests {
                entries.push(match &entry.digest {
                    digest if *digest == self.old.digest => Some(self.new.clone()),
                    _ if entry.media_type.is_index() => Some(self.index(entry, depth + 1).await?),
                    _ => None,
                });
            }
            let edited = index.edit(|index| {
                for (entry, new) in index.manifests.iter_mut().zip(entries) {
                    if let Some(new) = new.filter(|new| new.digest != entry.digest) {
                        (entry.digest, entry.size, entry.data) = (new.digest, new.size, None);
                    }
                }
            })?;
            let new = self.stage.add(root.media_type.clone(), edited.bytes().clone());
            self.known.insert(root.digest.clone(), new.clone());
            Ok(new)
        }
        .boxed()
    }
}
