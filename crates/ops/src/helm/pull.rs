//! A chart out of a place again: its archive and its provenance file, called as Helm calls them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use conex_spec::annotations::TITLE;
use conex_spec::{Descriptor, Error, ImageManifest, Kind, Location, Manifest, MediaType, Result};
use conex_store::{Source, SourceExt};

use super::push::MAX_ARCHIVE;
use super::{Chart, oci};
use crate::artifact::bring::{Step, bring_few};
use crate::artifact::pull::Found;
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

/// The archive of a chart.
///
/// # Errors
/// `Invalid` where there is none.
pub(crate) fn archive_of<'a>(
    manifest: &'a ImageManifest,
    from: &Location,
) -> Result<&'a Descriptor> {
    let is_archive = |kind: &MediaType| *kind == oci::CONTENT || *kind == oci::LEGACY_CONTENT;
    manifest.layers.iter().find(|layer| is_archive(&layer.media_type)).ok_or_else(|| {
        Error::invalid(format!("{from} is a chart without its archive"))
            .expected(format!("a layer of type {}", oci::CONTENT))
    })
}

/// A whole archive in memory, verified.
///
/// # Errors
/// `Limit` for one that Helm would not take either.
pub(crate) async fn read_archive(source: &dyn Source, layer: &Descriptor) -> Result<Bytes> {
    source.read_up_to(layer, "the chart", MAX_ARCHIVE).await
}

/// Pulls a chart into a folder, which is made. A file that is there already is replaced only where
/// `overwrite` says so, or where it holds the same.
///
/// # Errors
/// `Usage` for what is no chart, `Conflict` for a file that holds something else.
pub async fn pull(
    context: &Context,
    found: Found,
    folder: &Path,
    overwrite: bool,
) -> Result<Report> {
    let Found { location: from, source, root, manifest } = found;
    let (manifest, chart) = of_manifest(source.as_ref(), &from, &root, manifest).await?;
    let named = named(&manifest, &chart, &from)?.into_iter();
    let steps = named.map(|(name, layer)| Step::file(&name, layer)).collect::<Result<_>>()?;
    let files = bring_few(context, source.as_ref(), folder, steps, overwrite).await?;
    Ok(Report { location: from, root, chart, files })
}

/// What the files of a chart are called here: its archive, then its provenance file where there is one.
fn named<'a>(
    manifest: &'a ImageManifest,
    chart: &Chart,
    from: &Location,
) -> Result<Vec<(String, &'a Descriptor)>> {
    let name = chart.file_name();
    let provenance = manifest.layers.iter().find(|layer| layer.media_type == oci::PROVENANCE);
    let provenance = provenance.map(|layer| (format!("{name}.prov"), layer));
    Ok([(name, archive_of(manifest, from)?)].into_iter().chain(provenance).collect())
}

/// A manifest whose layers have titles: those of a chart, which has none, are the names of its files.
pub(crate) async fn titled(
    source: &dyn Source,
    from: &Location,
    root: &Descriptor,
    manifest: Manifest,
) -> Result<Manifest> {
    if !matches!(&manifest, Manifest::Image(image) if is_chart(image)) {
        return Ok(manifest);
    }
    let (mut manifest, chart) = of_manifest(source, from, root, manifest).await?;
    let names = named(&manifest, &chart, from)?.into_iter();
    let names: Vec<_> = names.map(|(name, layer)| (name, layer.digest.clone())).collect();
    for (name, digest) in names {
        for layer in manifest.layers.iter_mut().filter(|layer| layer.digest == digest) {
            layer.annotations.entry(TITLE.to_owned()).or_insert_with(|| name.clone());
        }
    }
    Ok(Manifest::Image(manifest))
}

/// The manifest and the metadata of a chart; `from` is what people call it.
///
/// # Errors
/// `Usage` for what is no chart, `Invalid` for metadata that break its rules.
pub async fn read(
    source: &dyn Source,
    from: &Location,
    root: &Descriptor,
) -> Result<(ImageManifest, Chart)> {
    let manifest = source.manifest(root).await?.into_value();
    of_manifest(source, from, root, manifest).await
}

async fn of_manifest(
    source: &dyn Source,
    from: &Location,
    root: &Descriptor,
    manifest: Manifest,
) -> Result<(ImageManifest, Chart)> {
    let manifest = match manifest {
        Manifest::Image(manifest) if is_chart(&manifest) => manifest,
        other => {
            let found = other.referrer_type().map(ToString::to_string);
            return Err(Error::new(Kind::Usage, format!("{from} is no chart"))
                .expected(oci::CONFIG)
                .found(found.unwrap_or_else(|| root.media_type.to_string()))
                .hint("`conex inspect` tells what it is"));
        }
    };
    let config = source.read(&manifest.config).await?;
    let chart =
        Chart::from_config(&config).map_err(|err| err.context(format_args!("config of {from}")))?;
    Ok((manifest, chart))
}
