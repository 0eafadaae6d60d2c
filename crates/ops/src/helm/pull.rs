//! A chart out of a place again: its archive and its provenance file, called as Helm calls them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use serde::Serialize;

use conex_spec::{Descriptor, Error, ImageManifest, Kind, Location, Manifest, MediaType, Result};
use conex_store::{Source, SourceExt};

use super::{Chart, oci};
use crate::open::Context;

/// What was pulled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where it was.
    pub location: Location,
    /// The manifest.
    pub root: Descriptor,
    /// What the chart says about itself.
    pub chart: Chart,
    /// The files that were written: the archive, then the provenance file where there is one.
    pub files: Vec<PathBuf>,
}

/// Whether a manifest is that of a chart.
pub fn is_chart(manifest: &ImageManifest) -> bool {
    manifest.config.media_type == oci::CONFIG
}

/// Pulls a chart into a folder, which is made. A file that is there already is replaced only where
/// `overwrite` says so, or where it holds the same.
///
/// # Errors
/// `Usage` for what is no chart, `Conflict` for a file that holds something else.
pub async fn pull(
    context: &Context,
    from: &Location,
    folder: &Path,
    overwrite: bool,
) -> Result<Report> {
    let (source, root) = context.resolve(from).await?;
    let (manifest, chart) = read(source.as_ref(), &root).await?;
    let archive = manifest
        .layers
        .iter()
        .find(|layer| layer.media_type == oci::CONTENT || layer.media_type == oci::LEGACY_CONTENT);
    let archive = archive.ok_or_else(|| {
        Error::invalid(format!("{from} is a chart without its archive"))
            .expected(format!("a layer of type {}", oci::CONTENT))
    })?;
    let provenance = manifest.layers.iter().find(|layer| layer.media_type == oci::PROVENANCE);
    let name = chart.file_name();
    let mut wanted = vec![(archive, folder.join(&name))];
    wanted.extend(provenance.map(|layer| (layer, folder.join(format!("{name}.prov")))));
    fs::create_dir_all(folder).map_err(|err| Error::io("cannot make", folder, err))?;
    for (layer, path) in &wanted {
        check_free(layer, path, overwrite)?;
    }
    for (layer, path) in &wanted {
        save(source.as_ref(), layer, path).await?;
    }
    let files = wanted.into_iter().map(|(_, path)| path).collect();
    Ok(Report { location: from.clone(), root, chart, files })
}

/// The manifest and the metadata of a chart.
///
/// # Errors
/// `Usage` for what is no chart, `Invalid` for metadata that break its rules.
pub async fn read(source: &dyn Source, root: &Descriptor) -> Result<(ImageManifest, Chart)> {
    let manifest = match source.manifest(root).await?.into_value() {
        Manifest::Image(manifest) if is_chart(&manifest) => manifest,
        other => {
            let found = other.referrer_type().map(ToString::to_string);
            return Err(Error::new(Kind::Usage, format!("{} is no chart", source.location()))
                .expected(oci::CONFIG)
                .found(found.unwrap_or_else(|| root.media_type.to_string()))
                .hint("`conex inspect` tells what it is"));
        }
    };
    let config = source.read(&manifest.config).await?;
    let chart = Chart::from_config(&config)
        .map_err(|err| err.context(format_args!("config {}", manifest.config.digest)))?;
    Ok((manifest, chart))
}

fn check_free(layer: &Descriptor, path: &Path, overwrite: bool) -> Result<()> {
    let Ok(bytes) = fs::read(path) else { return Ok(()) };
    let same = bytes.len() as u64 == layer.size
        && Descriptor::of(layer.media_type.clone(), &bytes).digest == layer.digest;
    if overwrite || same {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, format!("{} is there already", path.display()))
        .expected("no file, or the same one")
        .hint("`--overwrite` replaces it"))
}

/// Writes a verified blob beside its place first, then under its name.
async fn save(source: &dyn Source, layer: &Descriptor, path: &Path) -> Result<()> {
    let staged = staged(path);
    let failed = |err| Error::io("cannot write", &staged, err);
    let written = async {
        let mut file = File::create(&staged).map_err(failed)?;
        let mut content = source.fetch(layer).await?;
        while let Some(chunk) = content.try_next().await? {
            file.write_all(&chunk).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        fs::rename(&staged, path).map_err(failed)
    };
    let written = written.await;
    if written.is_err() {
        // It is no file of anyone's yet.
        let _ = fs::remove_file(&staged);
    }
    written
}

/// Writes small files, all or none of those that are in the way of something else.
pub(crate) fn write(folder: &Path, files: &[(&PathBuf, &[u8])], overwrite: bool) -> Result<()> {
    fs::create_dir_all(folder).map_err(|err| Error::io("cannot make", folder, err))?;
    for (path, bytes) in files {
        check_free(&Descriptor::of(MediaType::OCTETS, bytes), path, overwrite)?;
    }
    for (path, bytes) in files {
        let staged = staged(path);
        let failed = |err| Error::io("cannot write", path, err);
        fs::write(&staged, bytes).and_then(|()| fs::rename(&staged, path)).map_err(failed)?;
    }
    Ok(())
}

fn staged(path: &Path) -> PathBuf {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".part");
    staged.into()
}
