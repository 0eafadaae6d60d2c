//! A bundle and all its images into one repository, layout or store.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use conex_spec::artifact::{Content, manifest};
use conex_spec::{Descriptor, Document, Location, MediaType, Name, Result, Tag};
use conex_store::{Source, Stage};

use super::bundle::{Bundle, Image, LIMIT, Part};
use super::index::{self, CONFIG, RelocationMap};
use crate::artifact::draft::check_place;
use crate::artifact::kinds::or_as_files;
use crate::copy::{CopyOptions, Summary, copy_content};
use crate::open::Context;
use crate::small_file;

/// How many images are looked for at a time.
const LOOKS: usize = 8;

/// What is pushed.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// The `bundle.json`.
    pub path: PathBuf,
    /// A place that has the images, by digest or under their whole names as tags; without it they come
    /// from the registries that the bundle names.
    pub images_from: Option<Location>,
}

/// What was pushed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it is, with its tag.
    pub location: Location,
    /// The index.
    pub root: Descriptor,
    /// What the bundle is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its images are now.
    pub relocation_map: RelocationMap,
    /// What moved, and what was there already.
    pub summary: Summary,
}

/// Pushes a bundle. A location without a tag gets that of the version.
///
/// # Errors
/// `Invalid` for what is no bundle, `NotFound` for an image that is not there, `Mismatch` for one of another
/// digest than the bundle says: all before anything is sent.
pub async fn push(
    context: &Context,
    recipe: &Recipe,
    to: &Location,
    options: &CopyOptions,
) -> Result<Report> {
    check_place(to)?;
    let (bundle, bytes) = read(&recipe.path)?;
    let to = match to.name() {
        None => to.with_name(Name::Tag(bundle.tag()?))?,
        Some(_) => to.clone(),
    };
    let asked = bundle.parts().map(|(part, image)| find(context, recipe, part, image));
    let found: Vec<Found> = stream::iter(asked).buffered(LOOKS).try_collect().await?;

    let stage = Stage::new(context.stage_folder(&to)?, None, context.key())?;
    let config = stage.add(CONFIG, bytes);
    stage.add(MediaType::EMPTY, &b"{}"[..]);
    let config = manifest(CONFIG, Content::Configured { config, files: Vec::new() })?;
    let config = stage.add_document(MediaType::MANIFEST, config)?;
    let images: Vec<_> = found.iter().map(|found| found.root.clone()).collect();
    let index = Document::new(index::make(&bundle, &config, &images)?)?;
    let mut root = index.descriptor(MediaType::INDEX);
    root.artifact_type = Some(index::BUNDLE);
    let tags: Vec<Tag> = crate::copy::tag_for(&root, &to)?.into_iter().collect();
    let relocation_map = index::relocation(&index, &bundle, &to)?;

    let sink = context.sink(&to)?;
    let mut summary = Summary::default();
    let observer = &context.observer;
    for Found { source, root } in &found {
        let moved = copy_content(source.as_ref(), root, sink.as_ref(), options, observer).await?;
        summary.merge(moved);
    }
    summary.merge(copy_content(&stage, &config, sink.as_ref(), options, observer).await?);
    sink.publish(&root, index.bytes().clone(), &tags).await?;
    sink.finish().await?;
    summary.moved.add(&root);
    let Bundle { name, version, .. } = bundle;
    Ok(Report { location: to, root, name, version, relocation_map, summary })
}

struct Found {
    source: Arc<dyn Source>,
    root: Descriptor,
}

/// Looks for an image, and whether it is the one that is meant.
async fn find(context: &Context, recipe: &Recipe, part: Part<'_>, image: &Image) -> Result<Found> {
    let reference = image.reference(part)?;
    let (source, root) = match &recipe.images_from {
        None => context.resolve(&Location::Registry(reference)).await,
        Some(place) => {
            let name = match image.digest(part)?.or_else(|| reference.digest().cloned()) {
                Some(digest) => Name::Digest(digest),
                None => Name::Tag(Tag::new(&image.image)?),
            };
            context.resolve(&place.with_name(name)?).await
        }
    }
    .map_err(|err| err.context(format_args!("{}: {}", recipe.path.display(), part.field())))?;
    image.check(part, &root).map_err(|err| err.context(recipe.path.display()))?;
    Ok(Found { source, root: root.bare() })
}

fn read(path: &std::path::Path) -> Result<(Bundle, Bytes)> {
    let read = || {
        let bytes = small_file::read(path, LIMIT as u64, "a bundle")?;
        Ok((Bundle::parse(&bytes, &path.display().to_string())?, bytes))
    };
    read().map_err(or_as_files)
}
