//! `conex artifact pull`: the files of an artifact into a folder, all of them or none.
//!
//! What is wrong is told before anything is written: a title that leads out of the folder, two files
//! that want one place, a name that is taken. Blobs come in parallel into a private folder, are verified
//! there, and get their names when all are whole; one that broke off is gone on with next time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use conex_spec::annotations::TITLE;
use conex_spec::{
    Annotations, Descriptor, Error, Glob, Kind, Location, Manifest, MediaType, Platform, Result,
};
use conex_store::bridge::blocking;
use conex_store::{Source, SourceExt};

use super::draft::{UNPACK, UNPACKED_DIGEST};
use super::fetch::fetch;
use super::landing::Landing;
use super::{titles, tree};
use crate::choose::choose;
use crate::copy::CopyOptions;
use crate::copy::budget::Budget;
use crate::open::Context;

/// How much of a blob that broke off is worth to be kept for the next time, in bytes.
const WORTH: u64 = 1 << 20;
/// How many files are under way at a time, as far as the budget lets them.
const WIDTH: usize = 64;

/// What is pulled, and how.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of an index, the manifest for this platform.
    pub platform: Option<Platform>,
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
    /// Whether what is pulled may be lost with the machine.
    pub without_sync: bool,
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

/// A file or folder that was pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Its name below the folder.
    pub title: String,
    /// The blob.
    pub layer: Descriptor,
    /// Whether it was a packed folder that was unpacked.
    pub folder: bool,
    /// How many bytes of it were there from an earlier time.
    pub resumed: u64,
}

/// A layer that was not pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The blob.
    pub layer: Descriptor,
    /// Why.
    pub why: &'static str,
}

/// Pulls an artifact's files into a folder, which is made where there is none.
///
/// # Errors
/// `Usage` for an image and for an index without a platform, `Invalid` for titles that lead out of the
/// folder, `Conflict` for files that are there.
pub async fn pull(
    context: &Context,
    from: &Location,
    dir: &Path,
    wanted: &Wanted,
    options: &CopyOptions,
) -> Result<Pulled> {
    let (source, mut root) = context.resolve(from).await?;
    if let Some(platform) = &wanted.platform {
        root = choose(source.as_ref(), &root, platform).await?;
    }
    let manifest = source.manifest(&root).await?.into_value();
    let mut pulled = Pulled {
        location: from.clone(),
        artifact_type: kind_of(&manifest, from, &root)?,
        root,
        annotations: manifest.annotations().clone(),
        dir: dir.to_owned(),
        files: Vec::new(),
        skipped: Vec::new(),
    };
    let plan = plan(&manifest, wanted, &mut pulled.skipped)?;
    let (path, durable) = (dir.to_owned(), !wanted.without_sync);
    let (landing, _lock) = blocking(move || Landing::open(&path, durable)).await?;
    let landing = Arc::new(landing);
    let done = land(context, &source, &landing, plan, wanted, options).await;
    let (landing, keep) = (landing.clone(), done.is_err().then_some(WORTH));
    blocking(move || {
        landing.clear(keep);
        Ok(())
    })
    .await?;
    pulled.files = done.map_err(|err| err.context(format_args!("cannot pull {from}")))?;
    Ok(pulled)
}

/// What sort of artifact it is.
fn kind_of(manifest: &Manifest, from: &Location, root: &Descriptor) -> Result<MediaType> {
    match manifest {
        Manifest::Image(image) if !image.is_image() => Ok(image.artifact_type().clone()),
        Manifest::Artifact(artifact) => {
            Ok(artifact.artifact_type.clone().unwrap_or(MediaType::UNKNOWN_ARTIFACT))
        }
        Manifest::Image(_) => {
            let instead = match from {
                Location::Registry(_) => format!(
                    "`conex pull {from}` pulls images, `conex unpack {from} DIR` unpacks them"
                ),
                _ => format!("`conex unpack {from} DIR` unpacks images"),
            };
            Err(Error::new(Kind::Usage, format!("{from} is a container image, and no artifact"))
                .expected("a config that is none of an image")
                .found(root.digest.clone())
                .hint(instead))
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

/// A layer that is wanted.
#[derive(Clone, Debug)]
struct Step {
    title: String,
    layer: Descriptor,
    folder: bool,
}

fn plan(manifest: &Manifest, wanted: &Wanted, skipped: &mut Vec<Skipped>) -> Result<Vec<Step>> {
    let layers: Vec<&Descriptor> = match manifest {
        Manifest::Image(image) => image.layers.iter().collect(),
        other => other.children(),
    };
    let mut taken = titles::Taken::default();
    let mut steps = Vec::new();
    for layer in layers {
        if layer.media_type == MediaType::EMPTY {
            continue;
        }
        let fits = |globs: &[Glob], text: &str| {
            globs.is_empty() || globs.iter().any(|glob| glob.fits(text))
        };
        let stated = layer.annotations.get(TITLE);
        let why = match stated {
            _ if !fits(&wanted.types, layer.media_type.as_str()) => Some("of another type"),
            Some(title) if !fits(&wanted.titles, title) => Some("of another title"),
            None if !wanted.titles.is_empty() || !wanted.untitled => Some("without a title"),
            _ => None,
        };
        if let Some(why) = why {
            skipped.push(Skipped { layer: layer.clone(), why });
            continue;
        }
        let title = match stated {
            Some(title) => titles::clean(title)
                .map_err(|err| err.context(format_args!("layer {}", layer.digest)))?,
            None => format!("{}-{}", layer.digest.algorithm_name(), layer.digest.encoded()),
        };
        taken.take(&title)?;
        let folder = !wanted.packed && layer.annotations.get(UNPACK).is_some_and(|it| it == "true");
        steps.push(Step { title, layer: layer.clone(), folder });
    }
    Ok(steps)
}

/// Brings all into the stage, and then gives them their names.
async fn land(
    context: &Context,
    source: &Arc<dyn Source>,
    landing: &Arc<Landing>,
    plan: Vec<Step>,
    wanted: &Wanted,
    options: &CopyOptions,
) -> Result<Vec<File>> {
    let overwrite = wanted.overwrite;
    let (steps, held) = (plan.clone(), landing.clone());
    blocking(move || {
        steps.iter().try_for_each(|step| match overwrite {
            true => held.check_way(&step.title),
            false => held.check_free(&step.title),
        })
    })
    .await?;
    let mut blobs: Vec<&Descriptor> = plan.iter().map(|step| &step.layer).collect();
    blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
    blobs.dedup_by(|a, b| a.digest == b.digest);
    let budget = Budget::for_files(options.jobs);
    let fetches = blobs.into_iter().map(|blob| {
        let budget = &budget;
        async move {
            let _room = budget.room_for(blob).await?;
            let file = landing.blob(&blob.digest)?;
            let resumed = fetch(source.as_ref(), blob, file, &context.observer).await?;
            Ok::<_, Error>((blob.digest.clone(), resumed))
        }
    });
    let fetched = stream::iter(fetches).buffer_unordered(WIDTH);
    let fetched: std::collections::HashMap<_, _> = fetched.try_collect().await?;
    let landing = landing.clone();
    blocking(move || {
        // Of files with the same content, the last gets the blob itself.
        let last: std::collections::HashMap<_, _> =
            plan.iter().enumerate().map(|(at, step)| (step.layer.digest.clone(), at)).collect();
        let mut staged = Vec::new();
        for (at, step) in plan.iter().enumerate() {
            let is_last = last.get(&step.layer.digest) == Some(&at);
            staged.push(stage(&landing, at, step, is_last)?);
        }
        landing.sync()?;
        let mut files = Vec::new();
        for (step, path) in plan.into_iter().zip(staged) {
            landing.place(&path, &step.title, overwrite)?;
            let resumed = fetched.get(&step.layer.digest).copied().unwrap_or_default();
            let Step { title, layer, folder } = step;
            files.push(File { title, layer, folder, resumed });
        }
        Ok(files)
    })
    .await
}

/// What is to get the title of a step: the blob itself, a copy of it where others want it too, or the
/// folder that was packed in it.
fn stage(landing: &Landing, at: usize, step: &Step, is_last: bool) -> Result<PathBuf> {
    let blob = landing.staged(&step.layer.digest);
    if step.folder {
        let stated = step.layer.annotations.get(UNPACKED_DIGEST).map(String::as_str);
        let target = landing.beside(&format!("tree-{at}"));
        return tree::unpack(&blob, &step.title, stated, &target)
            .map_err(|err| err.context(format_args!("folder {:?}", step.title)));
    }
    if is_last {
        return Ok(blob);
    }
    let copy = landing.beside(&format!("copy-{at}"));
    std::fs::copy(&blob, &copy).map_err(|err| Error::io("cannot write", &copy, err))?;
    Ok(copy)
}
