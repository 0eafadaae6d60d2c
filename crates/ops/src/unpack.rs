//! `conex unpack`: an image as a root file system.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Weak};

use serde::Serialize;

use conex_layer::unpack::{LayerInput, Options, Report as LayerReport, Unpacker};
use conex_spec::{
    Compression, Descriptor, Document, Error, ImageConfig, ImageManifest, Kind, Location, Platform,
    Result,
};
use conex_store::seal::{Key, is_sealed};
use conex_store::{Event, Source, SourceExt, bridge};
use conex_tar::show;

use crate::choose::choose;
use crate::open::Context;

/// What was unpacked.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The image.
    pub image: Descriptor,
    /// What it runs on.
    pub platform: Platform,
    /// What was written.
    pub tree: Tree,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Tree {
    /// Entries of all layers, whiteouts included.
    pub entries: u64,
    /// Bytes of content in files.
    pub bytes: u64,
    /// Files with the set-user-id or set-group-id bit.
    #[serde(rename = "setId")]
    pub set_id: u64,
    /// Files with capabilities.
    pub capable: u64,
    /// The names of such files, the first thousand.
    pub privileged: Vec<String>,
    /// How many things were odd.
    pub odd: u64,
    /// The first of them.
    pub warnings: Vec<String>,
}

impl From<LayerReport> for Tree {
    fn from(report: LayerReport) -> Self {
        Self {
            entries: report.entries,
            bytes: report.bytes,
            set_id: report.set_id,
            capable: report.capable,
            privileged: report.privileged.iter().map(|name| show(name)).collect(),
            odd: report.warnings.count(),
            warnings: report.warnings.kept().iter().map(ToString::to_string).collect(),
        }
    }
}

/// An image that is about to be unpacked: its documents agree with each other.
#[derive(Debug)]
pub struct Image {
    /// The manifest's descriptor.
    pub root: Descriptor,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config.
    pub config: Document<ImageConfig>,
}

/// Unpacks the image that suits `platform` to a folder that does not exist yet, or is empty.
/// The folder appears whole, or not at all.
pub async fn unpack(
    context: &Context,
    location: &Location,
    platform: &Platform,
    target: &Path,
    options: Options,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let unpacker = Unpacker::new(target, options)?;
    let unpacked = apply_layers(context, &source, &image, unpacker).await;
    let unpacker = unpacked.map_err(|err| err.context(doing()))?;
    let tree = bridge::blocking(move || unpacker.publish().map(Tree::from)).await?;
    Ok(Report { platform: image.config.platform(), image: image.root, tree })
}

/// Reads the documents of the image that a location names and that suits `platform`.
pub async fn load(
    context: &Context,
    location: &Location,
    platform: &Platform,
) -> Result<(Arc<dyn Source>, Image)> {
    let (source, root) = context.resolve(location).await?;
    let root = choose(source.as_ref(), &root, platform).await?;
    let manifest = source.manifest(&root).await?.into_value().into_image()?;
    if !manifest.is_image() {
        return Err(Error::invalid(format!("{} is no container image", root.digest.short()))
            .expected("an image config")
            .found(manifest.artifact_type()));
    }
    let config = source.document::<ImageConfig>(&manifest.config).await?;
    config.diff_ids(manifest.layers.len())?;
    Ok((source, Image { root, manifest, config }))
}

/// Applies the layers one upon the other.
pub async fn apply_layers(
    context: &Context,
    source: &Arc<dyn Source>,
    image: &Image,
    mut unpacker: Unpacker,
) -> Result<Unpacker> {
    let key = context.key();
    // Dropped with this call, which tells the threads below.
    let waiting = Arc::new(());
    let diff_ids = image.config.diff_ids(image.manifest.layers.len())?;
    for (layer, diff_id) in image.manifest.layers.iter().zip(diff_ids) {
        context.observer.event(Event::Started(layer));
        let input = LayerInput {
            compression: compression(layer)?,
            diff_id: diff_id.clone(),
            reader: reader(source.as_ref(), layer, key.as_ref(), &waiting).await?,
            name: layer.digest.short().to_owned(),
        };
        unpacker = bridge::blocking(move || {
            unpacker.apply(input)?;
            Ok(unpacker)
        })
        .await?;
        context.observer.event(Event::Done(layer));
    }
    Ok(unpacker)
}

pub(crate) fn compression(layer: &Descriptor) -> Result<Compression> {
    layer.media_type.compression().ok_or_else(|| {
        Error::new(
            Kind::Unsupported,
            format!("layer {} is of an unknown type", layer.digest.short()),
        )
        .expected("a tar, plain or compressed with gzip or zstd")
        .found(&layer.media_type)
    })
}

/// A sealed file of this machine is read as it is; everything else is verified on the way.
pub(crate) async fn reader(
    source: &dyn Source,
    layer: &Descriptor,
    key: Option<&Key>,
    waiting: &Arc<()>,
) -> Result<Box<dyn Read + Send>> {
    if let Some(file) = source.file(layer).await?
        && is_sealed(key, &file, &layer.digest)?
    {
        return Ok(Box::new(SharedFile { file, at: 0, waiting: Arc::downgrade(waiting) }));
    }
    Ok(Box::new(bridge::reader(source.fetch(layer).await?)))
}

/// A file read from its start, wherever else the same open file is read; it ends in an error
/// once nobody waits for the result.
struct SharedFile {
    file: Arc<File>,
    at: u64,
    waiting: Weak<()>,
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.waiting.strong_count() == 0 {
            return Err(Error::new(Kind::Io, "interrupted").into());
        }
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
