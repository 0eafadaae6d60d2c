//! `conex repack`: what changed in an unpacked tree becomes a layer on top of its image.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use conex_layer::Root;
use conex_layer::pack::{Options as LayerOptions, Packed, Plan, pack, pack_changes};
use conex_layer::tree::{
    Aspect, Change, ContentHash, Difference, Listing, NodeId, Tree, compare, hash_file, hashes,
};
use conex_spec::config::History;
use conex_spec::{
    Descriptor, Document, Error, ImageConfig, ImageManifest, Kind, Location, MediaType, Platform,
    Result,
};
use conex_store::{Source, SourceExt, Stage, bridge};

use crate::copy::{CopyOptions, Summary, copy_to};
use crate::files::Files;
use crate::open::Context;
use crate::pack::check_folder;

/// What to pack, and upon what.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The folder that the image was unpacked to, or the upper directory of an overlay upon it.
    pub folder: PathBuf,
    /// The image that was unpacked.
    pub base: Location,
    /// Which image of an index.
    pub platform: Platform,
    /// Whether files of the same size and time are read, to see that their content is the same too.
    pub content: bool,
    /// Whether all owners are as they were: they are not kept by an unpacking without privilege.
    pub ignore_owners: bool,
    /// What the history says made the layer.
    pub created_by: String,
    /// When, as RFC 3339 writes it.
    pub created: Option<String>,
    /// How the layer is written; with `overlay` the folder itself says what was changed.
    pub layer: LayerOptions,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// The new image, or the index that has it.
    pub root: Descriptor,
    /// The layer that was added; none where nothing had changed.
    pub layer: Option<Descriptor>,
    /// Files and directories that are new or differ; of an overlay, all that it has.
    pub changed: u64,
    /// Those that are gone; of an overlay they are among the others.
    pub removed: u64,
    /// What could not be packed as it is.
    pub warnings: Vec<String>,
    /// What moved to the destination, and what was there already.
    pub summary: Summary,
}

/// Packs the changes and puts the new image into a place. Other images of an index stay as they are.
///
/// Without a change the image is copied as it is.
///
/// # Errors
/// `NotFound` for a folder or an image that does not exist, `Unsupported` for an image in an index
/// within an index.
pub async fn repack(
    context: &Context,
    recipe: &Recipe,
    to: &Location,
    options: &CopyOptions,
) -> Result<Report> {
    check_folder(&recipe.folder)?;
    let (source, root) = context.resolve(&recipe.base).await?;
    let files = Files::open(context, &recipe.base, &recipe.platform).await?;
    let stage = Stage::new(context.stage_folder(to)?, Some(Arc::clone(&source)), context.key())?;
    let made = layer(&stage, &files, recipe).await?;
    let new = match &made.layer {
        Some((layer, packed)) => {
            let image = with_layer(&stage, &source, &files, layer, packed, recipe).await?;
            in_index(&stage, &source, &root, &files.image.root, image).await?
        }
        None => root,
    };
    let summary = copy_to(context, &stage, &new, to, &options.alone()).await?;
    Ok(Report {
        location: to.clone(),
        root: new,
        layer: made.layer.map(|(layer, _)| layer),
        changed: made.changed,
        removed: made.removed,
        warnings: made.warnings,
        summary,
    })
}

/// The layer of what changed.
#[derive(Default)]
struct Made {
    layer: Option<(Descriptor, Packed)>,
    changed: u64,
    removed: u64,
    warnings: Vec<String>,
}

async fn layer(stage: &Stage, files: &Files, recipe: &Recipe) -> Result<Made> {
    let plan = match recipe.layer.overlay {
        true => None,
        false => Some(plan(files, recipe).await?),
    };
    if plan.as_ref().is_some_and(Plan::is_empty) {
        return Ok(Made::default());
    }
    let (folder, options, file) = (recipe.folder.clone(), recipe.layer.clone(), stage.file()?);
    let (file, packed, plan) = bridge::blocking(move || {
        let packed = match &plan {
            Some(plan) => pack_changes(&folder, &file, &options, plan)?,
            None => pack(&folder, &file, &options)?,
        };
        Ok((file, packed, plan))
    })
    .await?;
    let media_type = MediaType::layer(recipe.layer.settings.compression);
    let layer = Descriptor::new(media_type, packed.digest.clone(), packed.size);
    stage.add_file(&layer, file)?;
    Ok(Made {
        changed: plan.as_ref().map_or(packed.entries, |plan| plan.changed),
        removed: plan.as_ref().map_or(0, |plan| plan.removed),
        warnings: packed.warnings.kept().iter().map(ToString::to_string).collect(),
        layer: Some((layer, packed)),
    })
}

/// Compares the folder with what was unpacked.
async fn plan(files: &Files, recipe: &Recipe) -> Result<Plan> {
    let image = files.tree().await?;
    let (folder, ignore_owners) = (recipe.folder.clone(), recipe.ignore_owners);
    let (image, disk, mut changes, doubtful) = bridge::blocking(move || {
        let mut disk = Tree::default();
        disk.apply(Arc::new(Listing::of_folder(&folder)?))?;
        let mut doubtful = Vec::new();
        let changes = compare(&image, &disk, &mut |a, b| {
            doubtful.push((a, b));
            Ok(true)
        })?;
        Ok((image, disk, changes, doubtful))
    })
    .await?;
    if ignore_owners {
        changes.retain_mut(without_owner);
    }
    if recipe.content {
        changes.extend(different(files, &image, &disk, doubtful, &recipe.folder).await?);
    }
    Ok(Plan::new(&disk, &image, &changes))
}

fn without_owner(change: &mut Change) -> bool {
    match &mut change.difference {
        Difference::Changed(aspects) => {
            aspects.retain(|aspect| *aspect != Aspect::Owner);
            !aspects.is_empty()
        }
        _ => true,
    }
}

/// Those of the pairs whose content is not the same.
async fn different(
    files: &Files,
    image: &Tree,
    disk: &Tree,
    pairs: Vec<(NodeId, NodeId)>,
    folder: &Path,
) -> Result<Vec<Change>> {
    let mut wanted: HashMap<usize, BTreeSet<u64>> = HashMap::new();
    for (old, _) in &pairs {
        if let Some((layer, _)) = image.place(*old) {
            wanted.entry(layer).or_default().insert(image.entry(*old).offset);
        }
    }
    let mut known: HashMap<(usize, u64), ContentHash> = HashMap::new();
    for (layer, offsets) in wanted {
        let found = files.read(&files.layers()[layer], move |tar| hashes(tar, &offsets)).await?;
        known.extend(found.into_iter().map(|(offset, hash)| ((layer, offset), hash)));
    }
    let root = Root::open(folder)?;
    let mut changes = Vec::new();
    for (old, new) in pairs {
        let there =
            image.place(old).and_then(|(layer, _)| known.get(&(layer, image.entry(old).offset)));
        let here = hash_file(&root, &disk.path(new))?;
        if there != Some(&here) {
            let difference = Difference::Changed(vec![Aspect::Content]);
            changes.push(Change { difference, old: Some(old), new: Some(new) });
        }
    }
    Ok(changes)
}

/// The image with one layer more.
async fn with_layer(
    stage: &Stage,
    source: &Arc<dyn Source>,
    files: &Files,
    layer: &Descriptor,
    packed: &Packed,
    recipe: &Recipe,
) -> Result<Descriptor> {
    let image = &files.image;
    let config: Document<ImageConfig> = image.config.edit(|config| {
        config.rootfs.diff_ids.push(packed.diff_id.clone());
        if recipe.created.is_some() {
            config.created.clone_from(&recipe.created);
        }
        config.history.push(History {
            created: recipe.created.clone(),
            created_by: Some(recipe.created_by.clone()),
            ..History::default()
        });
    })?;
    let config = stage.add(image.manifest.config.media_type.clone(), config.bytes().clone());
    let bytes = source.read(&image.root).await?;
    let manifest: Document<ImageManifest> = Document::parse(bytes)?;
    let layer = Descriptor { media_type: like(&image.root, layer)?, ..layer.clone() };
    let manifest = manifest.edit(|manifest| {
        manifest.config = Descriptor {
            digest: config.digest.clone(),
            size: config.size,
            data: None,
            ..manifest.config.clone()
        };
        manifest.layers.push(layer);
    })?;
    Ok(stage.add(image.root.media_type.clone(), manifest.bytes().clone()))
}

/// A manifest of Docker's takes Docker's layers, and those are compressed with gzip.
fn like(manifest: &Descriptor, layer: &Descriptor) -> Result<MediaType> {
    if manifest.media_type != MediaType::DOCKER_MANIFEST {
        return Ok(layer.media_type.clone());
    }
    match layer.media_type.compression() {
        Some(conex_spec::Compression::Gzip) => Ok(MediaType::DOCKER_LAYER_GZIP),
        _ => Err(Error::new(Kind::Unsupported, "image is of Docker's own form")
            .expected("`--compression gzip`")
            .found(&layer.media_type)),
    }
}

/// The index that has the new image in the place of the old one; where there is none, the image.
async fn in_index(
    stage: &Stage,
    source: &Arc<dyn Source>,
    root: &Descriptor,
    old: &Descriptor,
    new: Descriptor,
) -> Result<Descriptor> {
    if !root.media_type.is_index() {
        return Ok(Descriptor { platform: root.platform.clone(), ..new });
    }
    let bytes = source.read(root).await?;
    let index: Document<conex_spec::ImageIndex> = Document::parse(bytes)?;
    let edited = index.edit(|index| {
        for entry in index.manifests.iter_mut().filter(|entry| entry.digest == old.digest) {
            (entry.digest, entry.size, entry.data) = (new.digest.clone(), new.size, None);
        }
    })?;
    if edited.bytes() == index.bytes() {
        return Err(Error::new(Kind::Unsupported, "image is in an index within an index")
            .expected("an index that lists the image itself")
            .found(&old.digest));
    }
    Ok(stage.add(root.media_type.clone(), edited.bytes().clone()))
}
