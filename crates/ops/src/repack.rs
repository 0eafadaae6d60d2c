//! `conex repack`: what changed in an unpacked tree becomes a layer on top of its image.

mod unpacked;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use conex_layer::Root;
use conex_layer::pack::{Options as LayerOptions, Owners, Plan, pack, pack_changes};
use conex_layer::tree::{Aspect, Change as Altered, ContentHash, Difference, hash_file, hashes};
use conex_spec::{Descriptor, Location, MediaType, Platform, Result};
use conex_store::{Stage, bridge};

use crate::copy::{CopyOptions, Summary, copy_to};
use crate::files::Files;
use crate::onto::{Change, Layer, replaced, with_layers};
use crate::open::Context;
use crate::pack::check_folder;

pub use self::unpacked::Unpacked;

use self::unpacked::Compared;

/// What to pack, and upon what.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the image was unpacked to, or the upper directory of an overlay upon it.
    pub unpacked: Unpacked,
    /// The image that was unpacked.
    pub base: Location,
    /// Which image of an index.
    pub platform: Platform,
    /// Whether files of the same size and time are read, to see that their content is the same too.
    pub content: bool,
    /// Whether it was unpacked with privilege. Without, owners, set-ID bits, devices and some attributes
    /// are not kept, and taken to be as they were.
    pub privileged: bool,
    /// What the history says made the layer.
    pub created_by: String,
    /// When, as RFC 3339 writes it.
    pub created: Option<String>,
    /// How the layer is written; with `overlay` the folder itself says what was changed. Unless all
    /// owners are kept, they are no change.
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
    /// Those that are gone; of an overlay, the whiteouts, of which one may stand for a whole folder.
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
/// `NotFound` for a folder or an image that does not exist.
pub async fn repack(
    context: &Context,
    recipe: &Recipe,
    to: &Location,
    options: &CopyOptions,
) -> Result<Report> {
    check_folder(&recipe.unpacked.folder)?;
    let (source, root) = context.resolve(&recipe.base).await?;
    let mut files = Files::open(context, &recipe.base, &recipe.platform).await?;
    if recipe.content {
        files = files.keeping(context.keeper());
    }
    let stage = Stage::new(context.stage_folder(to)?, Some(Arc::clone(&source)), context.key())?;
    let made = layer(&stage, &files, recipe).await?;
    let new = match &made.layer {
        Some((layer, packed)) => {
            let layers = [(layer.clone(), packed.clone())];
            let change =
                Change { created_by: &recipe.created_by, created: recipe.created.as_deref() };
            let (image, source) = (&files.image, &source);
            let new = with_layers(&stage, source.as_ref(), image, &layers, &change, |_| {}).await?;
            replaced(&stage, source, &root, &image.root, &new).await?
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
    layer: Option<Layer>,
    changed: u64,
    removed: u64,
    warnings: Vec<String>,
}

async fn layer(stage: &Stage, files: &Files, recipe: &Recipe) -> Result<Made> {
    let mut options = recipe.layer.clone();
    let plan = match options.overlay {
        true => None,
        false => Some(plan(files, recipe, &mut options.owners).await?),
    };
    if options.overlay && !recipe.privileged && options.owners == Owners::Keep {
        options.owners = Owners::Set { uid: 0, gid: 0 };
    }
    if plan.as_ref().is_some_and(Plan::is_empty) {
        return Ok(Made::default());
    }
    let (folder, file) = (recipe.unpacked.folder.clone(), stage.file()?);
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
        changed: plan.as_ref().map_or(packed.entries - packed.whiteouts, |plan| plan.changed),
        removed: plan.as_ref().map_or(packed.whiteouts, |plan| plan.removed),
        warnings: packed.warnings.kept().iter().map(ToString::to_string).collect(),
        layer: Some((layer, packed)),
    })
}

/// Compares the folder with what was unpacked, and finds whose the files in the layer are.
async fn plan(files: &Files, recipe: &Recipe, owners: &mut Owners) -> Result<Plan> {
    let image = files.tree().await?;
    let (unpacked, privileged) = (recipe.unpacked.clone(), recipe.privileged);
    let said = owners.clone();
    let compared =
        bridge::blocking(move || unpacked::changes(&unpacked, image, &said, privileged)).await?;
    let more = match recipe.content {
        true => different(files, &compared, &recipe.unpacked.folder).await?,
        false => Vec::new(),
    };
    Ok(compared.plan(more, owners))
}

/// Those of the pairs whose content is not the same.
async fn different(files: &Files, compared: &Compared, folder: &Path) -> Result<Vec<Altered>> {
    let Compared { disk, image, doubtful: pairs, .. } = compared;
    let mut wanted: HashMap<usize, BTreeSet<u64>> = HashMap::new();
    for (old, _) in pairs {
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
    for &(old, new) in pairs {
        let there =
            image.place(old).and_then(|(layer, _)| known.get(&(layer, image.entry(old).offset)));
        let here = hash_file(&root, &disk.path(new))?;
        if there != Some(&here) {
            let difference = Difference::Changed(vec![Aspect::Content]);
            changes.push(Altered { difference, old: Some(old), new: Some(new) });
        }
    }
    Ok(changes)
}
