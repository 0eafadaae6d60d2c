//! `conex pack`: an image from folders, one layer for each or one for all, alone or on top of another
//! image.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use conex_layer::pack::{Options, pack_over};
use conex_spec::config::{Execution, RootFs};
use conex_spec::{
    Descriptor, Error, ImageConfig, ImageManifest, Kind, Location, MediaType, Platform, Result,
};
use conex_store::{Source, Stage, bridge};

use crate::copy::{CopyOptions, Summary, copy_to};
use crate::onto::{Change, Layer, NO_TIME, history, with_layers};
use crate::open::Context;
use crate::unpack::{Image, load};

/// What the history says made a layer.
const CREATED_BY: &str = "conex pack";

/// What the image is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The folders, base first. A file `.wh.NAME` in one deletes `NAME` of those before it
    /// (image-spec, layer.md, "Whiteouts").
    pub folders: Vec<PathBuf>,
    /// Whether they become one layer together.
    pub one_layer: bool,
    /// The image that they go on top of: its config and history are kept.
    pub base: Option<Location>,
    /// What the image runs on, and which one of a base with several.
    pub platform: Platform,
    /// What a container starts with; of a base, what is to be another.
    pub execution: Execution,
    /// When it was made, as RFC 3339 writes it; without it a time that says nothing, so that the same
    /// folders give the same image.
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
    /// The layers that were packed.
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
    let base = match &recipe.base {
        Some(base) => Some(load(context, base, &recipe.platform).await?),
        None => None,
    };
    let below = base.as_ref().map(|(source, _)| Arc::clone(source));
    let stage = Stage::new(context.stage_folder(to)?, below, context.key())?;
    let mut layers = Vec::new();
    for folders in recipe.groups() {
        layers.push(pack_layer(&stage, folders, recipe.layer.clone()).await?);
    }
    let root = match &base {
        Some((source, image)) => on_top(&stage, source.as_ref(), image, &layers, recipe).await?,
        None => alone(&stage, &layers, recipe)?,
    };
    let summary = copy_to(context, &stage, &root, to, &options.alone()).await?;
    let warnings = layers.iter().flat_map(|(_, packed)| packed.warnings.kept());
    Ok(Report {
        location: to.clone(),
        root,
        warnings: warnings.map(ToString::to_string).collect(),
        layers: layers.into_iter().map(|(layer, _)| layer).collect(),
        summary,
    })
}

impl Recipe {
    /// The folders of each layer.
    fn groups(&self) -> Vec<Vec<PathBuf>> {
        match self.one_layer {
            true => vec![self.folders.clone()],
            false => self.folders.iter().map(|folder| vec![folder.clone()]).collect(),
        }
    }
}

/// An image of these layers alone.
fn alone(stage: &Stage, layers: &[Layer], recipe: &Recipe) -> Result<Descriptor> {
    let platform = &recipe.platform;
    let created = recipe.created.clone().unwrap_or_else(|| NO_TIME.into());
    let execution = Some(recipe.execution.clone()).filter(|it| *it != Execution::default());
    let mut config = ImageConfig {
        created: Some(created.clone()),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone(),
        config: execution,
        rootfs: RootFs::default(),
        ..ImageConfig::default()
    };
    for (_, packed) in layers {
        config.rootfs.diff_ids.push(packed.diff_id.clone());
        config.history.push(history(CREATED_BY, created.clone()));
    }
    let config = stage.add_document(MediaType::CONFIG, config)?;
    let layers = layers.iter().map(|(layer, _)| layer.clone()).collect();
    let root = stage.add_document(MediaType::MANIFEST, ImageManifest::new(config, layers))?;
    Ok(Descriptor { platform: Some(platform.clone()), ..root })
}

async fn on_top(
    stage: &Stage,
    source: &dyn Source,
    base: &Image,
    layers: &[Layer],
    recipe: &Recipe,
) -> Result<Descriptor> {
    let change = Change { created_by: CREATED_BY, created: recipe.created.as_deref() };
    let edit = |config: &mut ImageConfig| {
        if recipe.execution != Execution::default() {
            let mut execution = config.config.take().unwrap_or_default();
            overlay(&mut execution, &recipe.execution);
            config.config = Some(execution);
        }
    };
    let root = with_layers(stage, source, base, layers, &change, edit).await?;
    Ok(Descriptor { platform: Some(base.config.platform()), ..root })
}

/// Takes over what was asked for. A new entrypoint does without the arguments of the old one, as in a
/// Dockerfile.
fn overlay(execution: &mut Execution, asked: &Execution) {
    if !asked.entrypoint.is_empty() {
        execution.entrypoint.clone_from(&asked.entrypoint);
        execution.cmd.clear();
    }
    if !asked.cmd.is_empty() {
        execution.cmd.clone_from(&asked.cmd);
    }
    for (text, new) in
        [(&mut execution.user, &asked.user), (&mut execution.working_dir, &asked.working_dir)]
    {
        if !new.is_empty() {
            text.clone_from(new);
        }
    }
    for variable in &asked.env {
        let name = |text: &str| text.split_once('=').map_or(text, |(name, _)| name).to_owned();
        match execution.env.iter_mut().find(|old| name(old) == name(variable)) {
            Some(old) => old.clone_from(variable),
            None => execution.env.push(variable.clone()),
        }
    }
    for (name, value) in &asked.labels {
        execution.labels.insert(name.clone(), value.clone());
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

/// Packs folders as one layer.
async fn pack_layer(stage: &Stage, folders: Vec<PathBuf>, options: Options) -> Result<Layer> {
    let file = stage.file()?;
    let media_type = MediaType::layer(options.settings.compression);
    let (file, packed) = bridge::blocking(move || {
        let packed = pack_over(&folders, &file, &options)?;
        Ok((file, packed))
    })
    .await?;
    let layer = Descriptor::new(media_type, packed.digest.clone(), packed.size);
    stage.add_file(&layer, file)?;
    Ok((layer, packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_takes_the_place_of_what_was() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut execution = Execution {
            env: words(&["PATH=/bin", "A=1"]),
            entrypoint: words(&["/old"]),
            cmd: words(&["--old"]),
            user: "old".into(),
            working_dir: "/srv".into(),
            ..Execution::default()
        };
        let asked = Execution {
            env: words(&["A=2", "B=3=4"]),
            entrypoint: words(&["/new"]),
            user: "1:1".into(),
            ..Execution::default()
        };
        overlay(&mut execution, &asked);
        assert_eq!(execution.env, ["PATH=/bin", "A=2", "B=3=4"]);
        assert_eq!((execution.entrypoint, execution.cmd), (words(&["/new"]), vec![]));
        assert_eq!((execution.user.as_str(), execution.working_dir.as_str()), ("1:1", "/srv"));
    }
}
