//! `conex unpack`: an image as a root file system.

use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use conex_layer::Root;
use conex_layer::flatten::Flat;
use conex_layer::unpack::{Options, Report as LayerReport, Unpacker};
use conex_spec::{
    Descriptor, Document, Error, ImageConfig, ImageManifest, Kind, Location, Platform, Result,
};
use conex_store::archive::Output;
use conex_store::{Event, Source, SourceExt, bridge};
use conex_tar::show;

use crate::choose::choose;
use crate::export::flatten;
use crate::layers::Layers;
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

/// Where an image is unpacked to, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// A folder that does not exist yet, or is empty.
    pub dir: PathBuf,
    /// How its layers are applied.
    pub options: Options,
    /// Where a manifest of the tree is written to.
    pub mtree: Option<PathBuf>,
    /// Whether layers are refused that another reader may take for another tree.
    pub strict: bool,
}

impl Target {
    /// Whether what was unpacked may become visible.
    pub(crate) fn check(&self, unpacker: &Unpacker) -> Result<()> {
        let Some(reason) = unpacker.ambiguity().filter(|_| self.strict) else { return Ok(()) };
        Err(Error::invalid("layers mean different things to different readers")
            .expected("each name once, one size, nothing behind the end")
            .found(reason)
            .hint("without --strict the last entry of a name counts, and this is a warning"))
    }
}

/// Unpacks the image that suits `platform`. The folder appears whole, or not at all.
pub async fn unpack(
    context: &Context,
    location: &Location,
    platform: &Platform,
    target: &Target,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let begin = || Unpacker::new(&target.dir, target.options);
    let unpacked = apply_layers(context, &source, &image, begin).await;
    let unpacker = unpacked.map_err(|err| err.context(doing()))?;
    let tree = publish(unpacker, target, None).await.map_err(|err| err.context(doing()))?;
    Ok(Report { platform: image.config.platform(), image: image.root, tree })
}

/// Makes the config of a bundle out of its tree.
pub(crate) type MakeConfig = Box<dyn FnOnce(&Root) -> Result<Vec<u8>> + Send>;

/// Makes the tree visible, and its manifest after it.
pub(crate) async fn publish(
    mut unpacker: Unpacker,
    target: &Target,
    config: Option<MakeConfig>,
) -> Result<Tree> {
    target.check(&unpacker)?;
    let (mtree, durable) = (target.mtree.clone(), target.options.sync);
    bridge::blocking(move || {
        let mut manifest = mtree.map(|path| Output::create(&path, durable)).transpose()?;
        if let Some(manifest) = &mut manifest {
            unpacker.manifest(&mut BufWriter::new(manifest))?;
        }
        let report = match config {
            Some(config) => unpacker.publish_bundle(config)?,
            None => unpacker.publish()?,
        };
        manifest.map_or(Ok(()), Output::finish)?;
        Ok(Tree::from(report))
    })
    .await
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
            .found(manifest.artifact_type())
            .hint(format!(
                "`conex artifact pull {location} DIR` writes the files of an artifact"
            )));
    }
    let config = source.document::<ImageConfig>(&manifest.config).await?;
    config.diff_ids(manifest.layers.len())?;
    Ok((source, Image { root, manifest, config }))
}

/// Applies all layers: from the newest to the oldest one, so that nothing is written that a newer
/// layer hides, where that tells what they mean; else in their order.
pub async fn apply_layers(
    context: &Context,
    source: &Arc<dyn Source>,
    image: &Image,
    begin: impl Fn() -> Result<Unpacker>,
) -> Result<Unpacker> {
    let layers = Layers::new(context, source.as_ref(), image)?;
    // Nothing hides anything in a single one.
    if layers.len() > 1
        && let Some(unpacker) = apply_from_top(context, &layers, begin()?).await?
    {
        return Ok(unpacker);
    }
    apply_in_order(context, &layers, begin).await
}

/// All layers, one upon the other; once more where one was wrong and comes from another place
/// then, since what is unpacked of it is not to be told from the rest.
async fn apply_in_order(
    context: &Context,
    layers: &Layers<'_>,
    begin: impl Fn() -> Result<Unpacker>,
) -> Result<Unpacker> {
    loop {
        match apply_opened(context, layers, begin()?).await {
            Err(err) if is_about_content(&err) && layers.distrust(&err) => {}
            applied => return applied,
        }
    }
}

/// Nothing where layers have to be applied in their order, or are wrong: what is wrong with them is told in
/// that order.
async fn apply_from_top(
    context: &Context,
    layers: &Layers<'_>,
    mut unpacker: Unpacker,
) -> Result<Option<Unpacker>> {
    for number in (0..layers.len()).rev() {
        let input = layers.open_told(number).await?;
        let applied = bridge::blocking(move || {
            let told = unpacker.apply_below(input)?;
            Ok(told.then_some(unpacker))
        });
        unpacker = match applied.await {
            Ok(Some(unpacker)) => unpacker,
            Ok(None) => return Ok(None),
            Err(err) if is_about_content(&err) => return Ok(None),
            Err(err) => return Err(err),
        };
        context.observer.event(Event::Done(layers.descriptor(number)));
    }
    Ok(Some(unpacker))
}

/// Whether bytes that are not those of a layer may have led to an error.
fn is_about_content(err: &Error) -> bool {
    matches!(err.kind(), Kind::Invalid | Kind::Mismatch | Kind::Limit | Kind::Unsupported)
}

/// Applies the layers in their order.
async fn apply_opened(
    context: &Context,
    layers: &Layers<'_>,
    mut unpacker: Unpacker,
) -> Result<Unpacker> {
    for number in 0..layers.len() {
        let input = layers.open_told(number).await?;
        unpacker = bridge::blocking(move || {
            unpacker.apply(input)?;
            Ok(unpacker)
        })
        .await?;
        context.observer.event(Event::Done(layers.descriptor(number)));
    }
    Ok(unpacker)
}

/// Unpacks what these paths name, with all that is below and the links and folders on the way.
/// Only the layers are read that can have it, the newest one first.
///
/// # Errors
/// `NotFound` for a path that the image does not have.
pub async fn unpack_parts(
    context: &Context,
    location: &Location,
    platform: &Platform,
    paths: Vec<Vec<u8>>,
    target: &Target,
) -> Result<Report> {
    let doing = || format!("cannot unpack {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let layers = Layers::kept(context, source.as_ref(), &image)?;
    let unpacker = Unpacker::new(&target.dir, target.options)?;
    let unpacked = async {
        let (flat, _) = flatten(context, &layers, paths).await?;
        let (mut unpacker, flat) = through_pipe(&layers, flat, unpacker).await?;
        unpacker.note(flat.warnings());
        Ok(unpacker)
    };
    let unpacker = unpacked.await.map_err(|err: Error| err.context(doing()))?;
    let tree = publish(unpacker, target, None).await.map_err(|err| err.context(doing()))?;
    Ok(Report { platform: image.config.platform(), image: image.root, tree })
}

/// One thread makes a tar, another one unpacks it.
pub(crate) async fn through_pipe(
    layers: &Layers<'_>,
    flat: Flat,
    mut unpacker: Unpacker,
) -> Result<(Unpacker, Flat)> {
    let pipe = std::io::pipe();
    let (reader, writer) =
        pipe.map_err(|err| Error::from_io(err, || "cannot make a pipe".into()))?;
    let unpack = bridge::blocking(move || {
        unpacker.apply_own(Box::new(reader))?;
        Ok(unpacker)
    });
    let write = async { crate::export::write(layers, flat, writer).await.map(|(_, flat)| flat) };
    let (unpacked, written) = futures_util::future::join(unpack, write).await;
    match (unpacked, written) {
        // Who reads no more has failed, and that is why nobody can write.
        (Err(err), Err(cut)) if cut.kind() == Kind::Io => Err(err),
        (_, Err(err)) | (Err(err), Ok(_)) => Err(err),
        (Ok(unpacker), Ok(flat)) => Ok((unpacker, flat)),
    }
}
