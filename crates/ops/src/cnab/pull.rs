//! A bundle out of a place again: `bundle.json` as it was pushed, and where its images are.

use std::path::{Path, PathBuf};

use serde::Serialize;

use conex_spec::{Descriptor, Error, ImageIndex, Kind, Location, Manifest, Result};
use conex_store::{Source, SourceExt};

use super::bundle::Bundle;
use super::index::{self, CONFIG, RelocationMap};
use crate::helm::go_json;
use crate::helm::pull::write;
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
    from: &Location,
    folder: &Path,
    overwrite: bool,
) -> Result<Report> {
    let (source, root) = context.resolve(from).await?;
    let index = read_index(source.as_ref(), &root).await?;
    let bytes = match index::config(&index) {
        Some(entry) => config(source.as_ref(), entry).await?,
        None => return Err(no_bundle(from, &root)),
    };
    let bundle = Bundle::parse(&bytes).map_err(|err| err.context(from))?;
    let relocation_map = index::relocation(&index, &bundle, from)?;
    let map = go_json::print(&relocation_map)?;
    let files = vec![folder.join("bundle.json"), folder.join("relocation-mapping.json")];
    write(folder, &[(&files[0], &bytes), (&files[1], &map)], overwrite)?;
    let Bundle { name, version, .. } = bundle;
    Ok(Report { location: from.clone(), root, name, version, relocation_map, files })
}

async fn read_index(source: &dyn Source, root: &Descriptor) -> Result<ImageIndex> {
    match source.manifest(root).await?.into_value() {
        Manifest::Index(index) => Ok(index),
        _ => Err(no_bundle(source.location(), root)),
    }
}

/// The bundle's own bytes.
async fn config(source: &dyn Source, entry: &Descriptor) -> Result<bytes::Bytes> {
    match source.manifest(entry).await?.into_value() {
        Manifest::Image(manifest) => source.read(&manifest.config).await,
        _ => Err(no_bundle(source.location(), entry).expected(CONFIG)),
    }
}

fn no_bundle(from: &Location, found: &Descriptor) -> Error {
    Error::new(Kind::Usage, format!("{from} is no CNAB bundle"))
        .expected(format!("an index with a bundle's config, as {} has it", index::BUNDLE))
        .found(&found.media_type)
        .hint("`conex inspect` tells what it is")
}
