//! `conex pack`: an image from folders, one layer for each.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use conex_layer::pack::{Options, Packed, pack as pack_layer};
use conex_spec::config::{Execution, History, RootFs};
use conex_spec::{
    Descriptor, Error, ImageConfig, ImageManifest, Kind, Location, MediaType, Platform, Result,
};
use conex_store::{Stage, bridge};

use crate::copy::{CopyOptions, Summary, copy_to};
use crate::open::Context;

/// What the image is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The folders, base first. A file `.wh.NAME` in one deletes `NAME` of those before it
    /// (image-spec, layer.md, "Whiteouts").
    pub folders: Vec<PathBuf>,
    /// What the image runs on.
    pub platform: Platform,
    /// What a container starts with.
    pub execution: Execution,
    /// When it was made, as RFC 3339 writes it. Left out, the same folders give the same image.
    pub created: Option<String>,
    /// How the layers are written.
    pub layer: Options,
}

/// What was packed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// The image.
    pub root: Descriptor,
    /// Its layers.
    pub layers: Vec<Descriptor>,
    /// What could not be packed as it is.
    pub warnings: Vec<String>,
    /// What moved to the destination, and what was there already.
    pub summary: Summary,
}

/// Packs an image and puts it into a place.
///
/// # Errors
/// `NotFound` for a folder that does not exist, `Usage` for what is no folder.
pub async fn pack(
    context: &Context,
    recipe: &Recipe,
    to: &Location,
    options: &CopyOptions,
) -> Result<Report> {
    recipe.folders.iter().try_for_each(|folder| check_folder(folder))?;
    let stage = Stage::new(context.stage_folder(to)?, None, context.key())?;
    let (mut layers, mut warnings) = (Vec::new(), Vec::new());
    let mut config = config(recipe);
    for folder in &recipe.folders {
        let (layer, packed) = add_layer(&stage, folder.clone(), recipe.layer.clone()).await?;
        config.rootfs.diff_ids.push(packed.diff_id);
        config.history.push(history(recipe));
        warnings.extend(packed.warnings.kept().iter().map(ToString::to_string));
        layers.push(layer);
    }
    let config = stage.add_document(MediaType::CONFIG, config)?;
    let manifest = ImageManifest::new(config, layers.clone());
    let mut root = stage.add_document(MediaType::MANIFEST, manifest)?;
    root.platform = Some(recipe.platform.clone());
    let summary = copy_to(context, &stage, &root, to, &options.alone()).await?;
    Ok(Report { location: to.clone(), root, layers, warnings, summary })
}

fn config(recipe: &Recipe) -> ImageConfig {
    ImageConfig {
        created: recipe.created.clone(),
        architecture: recipe.platform.architecture.clone(),
        os: recipe.platform.os.clone(),
        os_version: recipe.platform.os_version.clone(),
        os_features: recipe.platform.os_features.clone(),
        variant: recipe.platform.variant.clone(),
        config: (recipe.execution != Execution::default()).then(|| recipe.execution.clone()),
        rootfs: RootFs::default(),
        ..ImageConfig::default()
    }
}

fn history(recipe: &Recipe) -> History {
    History {
        created: recipe.created.clone(),
        created_by: Some("conex pack".into()),
        ..History::default()
    }
}

/// All are looked at before any is packed.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    match std::fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::new(Kind::Usage, format!("{} cannot be packed", folder.display()))
            .expected("a folder")
            .found("something else")),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            Err(Error::not_found(format!("{} does not exist", folder.display()))
                .expected("a folder to be packed"))
        }
        Err(err) => Err(Error::io("cannot pack", folder, err)),
    }
}

async fn add_layer(
    stage: &Stage,
    folder: PathBuf,
    options: Options,
) -> Result<(Descriptor, Packed)> {
    let file = stage.file()?;
    let media_type = MediaType::layer(options.settings.compression);
    let (file, packed) = bridge::blocking(move || {
        let packed = pack_layer(&folder, &file, &options)?;
        Ok((file, packed))
    })
    .await?;
    let layer = Descriptor::new(media_type, packed.digest.clone(), packed.size);
    stage.add_file(&layer, file)?;
    Ok((layer, packed))
}
