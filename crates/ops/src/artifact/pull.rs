//! `conex artifact pull`: the files of an artifact into a folder, all of them or none.
//!
//! What is wrong is told before anything is written: a title that leads out of the folder, two files
//! that want one place, a name that is taken. How they come is in `bring`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use conex_spec::annotations::TITLE;
use conex_spec::{
    Annotations, Descriptor, Error, Glob, Kind, Location, Manifest, MediaType, Platform, Result,
};
use conex_store::{Source, SourceExt};

pub use super::bring::File;
use super::bring::{How, Step, bring};
use super::draft::UNPACK;
use crate::choose::choose;
use crate::cnab::index::is_bundle;
use crate::copy::CopyOptions;
use crate::helm::pull::titled;
use crate::open::Context;

/// Why a layer is not pulled that has no name to be written under.
pub const WITHOUT_TITLE: &str = "without a title";
/// How many files an error tells.
const MAX_TOLD: usize = 10;

/// What is pulled, and how.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only layers of one of these types; of all without any.
    pub types: Vec<Glob>,
    /// Only files with such a title; all without any.
    pub titles: Vec<Glob>,
    /// Whether files that are there are replaced.
    pub overwrite: bool,
    /// Whether layers without a title are pulled too, under their digests.
    pub untitled: bool,
    /// Whether packed folders stay packed.
    pub packed: bool,
}

/// What was pulled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pulled {
    /// Where it is from.
    pub location: Location,
    /// Its manifest.
    pub root: Descriptor,
    /// What sort of artifact it is: of an older one, the type of its config.
    pub artifact_type: MediaType,
    /// Annotations of the manifest.
    pub annotations: Annotations,
    /// The folder.
    pub dir: PathBuf,
    /// What came into it.
    pub files: Vec<File>,
    /// What did not, and why.
    pub skipped: Vec<Skipped>,
}

/// A layer that was not pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The blob.
    pub layer: Descriptor,
    /// Why.
    pub why: &'static str,
}

/// What a location names, before anyone knows what sort of artifact it is.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub location: Location,
    /// Its place, open.
    pub source: Arc<dyn Source>,
    /// Its descriptor; of an index, that of the manifest for the platform.
    pub root: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Looks what a location names; of an index, what it has for a platform.
///
/// # Errors
/// `NotFound`, `Usage` for a blob.
pub async fn find(
    context: &Context,
    location: &Location,
    platform: Option<&Platform>,
) -> Result<Found> {
    let (source, mut root) = context.resolve(location).await?;
    if let Some(platform) = platform {
        root = choose(source.as_ref(), &root, platform).await?;
    }
    if !root.media_type.is_manifest() {
        return Err(Error::new(Kind::Usage, format!("{location} is a blob, and no artifact"))
            .expected("a manifest")
            .found(&root.media_type)
            .hint(format!("`conex blob get {location}` writes it")));
    }
    let manifest = source.manifest(&root).await?.into_value();
    Ok(Found { location: location.clone(), source, root, manifest })
}

/// Pulls an artifact's files into a folder, which is made where there is none. Of an index, [`find`] and
/// [`pull_found`] take the artifact for a platform.
///
/// # Errors
/// `NotFound` where nothing is wanted of what there is, `Usage` for an index, `Invalid` for an image and for
/// titles that lead out of the folder, `Conflict` for files that are there.
pub async fn pull(
    context: &Context,
    from: &Location,
    dir: &Path,
    wanted: &Wanted,
    options: &CopyOptions,
) -> Result<Pulled> {
    let found = find(context, from, None).await?;
    pull_found(context, found, dir, wanted, options).await
}

/// The same for what was found already: nothing is asked twice.
///
/// # Errors
/// Those of [`pull`].
pub async fn pull_found(
    context: &Context,
    found: Found,
    dir: &Path,
    wanted: &Wanted,
    options: &CopyOptions,
) -> Result<Pulled> {
    let Found { location, source, root, manifest } = found;
    let from = &location;
    let mut pulled = Pulled {
        location: from.clone(),
        artifact_type: kind_of(&manifest, from)?,
        root,
        annotations: manifest.annotations().clone(),
        dir: dir.to_owned(),
        files: Vec::new(),
        skipped: Vec::new(),
    };
    let manifest = titled(source.as_ref(), from, &pulled.root, manifest).await?;
    let plan = plan(&manifest, wanted, &mut pulled.skipped)?;
    if plan.is_empty() && !(wanted.types.is_empty() && wanted.titles.is_empty()) {
        return Err(nothing_fits(from, &pulled.skipped, wanted));
    }
    let (overwrite, durable) = (wanted.overwrite, context.is_durable());
    let how = How { overwrite, durable, jobs: options.jobs };
    let brought = bring(source.as_ref(), dir, plan, how, &context.observer).await;
    pulled.files = brought.map_err(|err| err.context(format_args!("cannot pull {from}")))?;
    Ok(pulled)
}

/// What sort of artifact it is.
fn kind_of(manifest: &Manifest, from: &Location) -> Result<MediaType> {
    match manifest {
        Manifest::Image(image) if !image.is_image() => Ok(image.artifact_type().clone()),
        Manifest::Artifact(artifact) => {
            Ok(artifact.artifact_type.clone().unwrap_or(MediaType::UNKNOWN_ARTIFACT))
        }
        Manifest::Image(image) => {
            let instead = match from {
                Location::Registry(_) => format!(
                    "`conex pull {from}` pulls images, `conex unpack {from} DIR` unpacks them"
                ),
                _ => format!("`conex unpack {from} DIR` unpacks images"),
            };
            Err(Error::invalid(format!("{from} is a container image, and no artifact"))
                .expected("a config that is none of an image")
                .found(&image.config.media_type)
                .hint(instead))
        }
        // By itself it is pulled elsewhere.
        Manifest::Index(index) if is_bundle(index) => {
            Err(Error::new(Kind::Usage, format!("{from} is a CNAB bundle"))
                .expected("one artifact")
                .hint("without `--type` and `--title` it is pulled whole"))
        }
        Manifest::Index(index) => {
            let platforms = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
            let platforms: Vec<_> = platforms.map(Platform::to_string).collect();
            let err = Error::new(Kind::Usage, format!("{from} is an index of several manifests"))
                .expected("one artifact");
            Err(match platforms.is_empty() {
                true => err.hint("`conex inspect` shows them; name one as LOCATION@DIGEST"),
                false => err.found(platforms.join(", ")).hint("choose one with `--platform`"),
            })
        }
    }
}

/// Of the layers that there are none is wanted.
fn nothing_fits(from: &Location, skipped: &[Skipped], wanted: &Wanted) -> Error {
    let types = wanted.types.iter().map(|glob| format!("type {glob}"));
    let titles = wanted.titles.iter().map(|glob| format!("title {glob}"));
    let asked: Vec<_> = types.chain(titles).collect();
    let there = skipped.iter().take(MAX_TOLD).map(|skipped| {
        let layer = &skipped.layer;
        let title = layer.annotations.get(TITLE).map_or("no title", String::as_str);
        format!("{title:.80} ({})", layer.media_type)
    });
    let there: Vec<_> = there.collect();
    let more = if skipped.len() > MAX_TOLD { ", …" } else { "" };
    let found = if there.is_empty() { "no files".to_owned() } else { there.join(", ") + more };
    let err = Error::not_found(format!("nothing in {from} is what was asked for")).found(found);
    // What is of a type as asked for may have no name to be written under.
    let fits = wanted.titles.is_empty() && skipped.iter().any(|it| it.why == WITHOUT_TITLE);
    match fits {
        true => err
            .expected(format!("{}, with a title", asked.join(", ")))
            .hint("`--untitled` pulls what has no title, under its digest"),
        false => err.expected(asked.join(", ")),
    }
}

fn plan(manifest: &Manifest, wanted: &Wanted, skipped: &mut Vec<Skipped>) -> Result<Vec<Step>> {
    let layers: Vec<&Descriptor> = match manifest {
        Manifest::Image(image) => image.layers.iter().collect(),
        other => other.children(),
    };
    let mut steps = Vec::new();
    for layer in layers {
        if stands_for_nothing(layer) {
            continue;
        }
        let fits = |globs: &[Glob], text: &str| {
            globs.is_empty() || globs.iter().any(|glob| glob.fits(text))
        };
        let stated = layer.annotations.get(TITLE);
        let why = match stated {
            _ if !fits(&wanted.types, layer.media_type.as_str()) => Some("of another type"),
            Some(title) if !fits(&wanted.titles, title) => Some("of another title"),
            None if !wanted.titles.is_empty() || !wanted.untitled => Some(WITHOUT_TITLE),
            _ => None,
        };
        if let Some(why) = why {
            skipped.push(Skipped { layer: layer.clone(), why });
            continue;
        }
        let step = match stated {
            Some(title) => Step::file(title, layer)?,
            None => {
                let digest = &layer.digest;
                Step::file(&format!("{}-{}", digest.algorithm_name(), digest.encoded()), layer)?
            }
        };
        let folder = !wanted.packed && layer.annotations.get(UNPACK).is_some_and(|it| it == "true");
        steps.push(if folder { step.unpacked() } else { step });
    }
    Ok(steps)
}

/// Whether a layer is there because there is to be one (image-spec, manifest.md, "Guidance for an Empty
/// Descriptor"), and not a file that is called so or has a name.
fn stands_for_nothing(layer: &Descriptor) -> bool {
    let empty = Descriptor::empty();
    layer.media_type == empty.media_type
        && (&layer.digest, layer.size) == (&empty.digest, empty.size)
        && !layer.annotations.contains_key(TITLE)
}
