//! A bundle out of a place again: `bundle.json` as it was pushed, and where its images are.

use std::path::{Path, PathBuf};

use serde::Serialize;

use conex_spec::{Descriptor, Error, ImageIndex, Kind, Location, Manifest, MediaType, Result};
use conex_store::{Source, SourceExt, Stage};

use super::bundle::Bundle;
use super::index::{self, CONFIG, RelocationMap};
use crate::artifact::bring::{Step, bring_few};
use crate::artifact::pull::Found;
use crate::helm::go_json;
use crate::open::Context;

/// What was pulled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it was.
    pub location: Location,
    /// The index.
    pub root: Descriptor,
    /// What the bundle is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its images are.
    pub relocation_map: RelocationMap,
    /// `bundle.json` and `relocation-mapping.json`.
    pub files: Vec<PathBuf>,
}

/// Pulls a bundle into a folder, which is made. Files that hold something else stay, unless
/// `overwrite` says so.
///
/// # Errors
/// `Usage` for what is no bundle, `Conflict` for a file that holds something else.
pub async fn pull(
    context: &Context,
    found: Found,
    folder: &Path,
    overwrite: bool,
) -> Result<Report> {
    let Found { location: from, source, root, manifest } = found;
    let Manifest::Index(index) = manifest else {
        return Err(no_bundle(&from, &root.media_type));
    };
    let (bundle, bytes) = read(source.as_ref(), &index, &from).await?;
    let relocation_map = index::relocation(&index, &bundle, &from)?;
    // What was verified, and what is made of it here.
    let stage = Stage::new(folder, None, None)?;
    let map = stage.add(MediaType::new("application/json"), go_json::print(&relocation_map)?);
    let bytes = stage.add(CONFIG, bytes);
    let steps =
        vec![Step::file("bundle.json", &bytes)?, Step::file("relocation-mapping.json", &map)?];
    let files = bring_few(context, &stage, folder, steps, overwrite).await?;
    let Bundle { name, version, .. } = bundle;
    Ok(Report { location: from, root, name, version, relocation_map, files })
}

/// The bundle of an index; `from` is what people call it.
pub(crate) async fn bundle(
    source: &dyn Source,
    index: &ImageIndex,
    from: &Location,
) -> Result<Bundle> {
    read(source, index, from).await.map(|(bundle, _)| bundle)
}

async fn read(
    source: &dyn Source,
    index: &ImageIndex,
    from: &Location,
) -> Result<(Bundle, bytes::Bytes)> {
    let entry = index::config(index).ok_or_else(|| no_bundle(from, &MediaType::INDEX))?;
    let bytes = config(source, entry, from).await?;
    let bundle = Bundle::parse(&bytes, &format!("the bundle.json of {from}"))?;
    Ok((bundle, bytes))
}

/// The bundle's own bytes.
async fn config(source: &dyn Source, entry: &Descriptor, from: &Location) -> Result<bytes::Bytes> {
    match source.manifest(entry).await?.into_value() {
        Manifest::Image(manifest) => source.read(&manifest.config).await,
        _ => Err(no_bundle(from, &entry.media_type).expected(CONFIG)),
    }
}

fn no_bundle(from: &Location, found: &MediaType) -> Error {
    Error::new(Kind::Usage, format!("{from} is no CNAB bundle"))
        .expected(format!("an index with a bundle's config, as {} has it", index::BUNDLE))
        .found(found)
        .hint("`conex inspect` tells what it is")
}
