//! `conex export`: all layers of an image as one tar, or only some of its files.

use std::io::{BufWriter, Write};

use serde::Serialize;

use conex_layer::flatten::{Flat, Flattener, Limits, Parts, Stream};
use conex_spec::{Descriptor, Location, Platform, Result};
use conex_store::archive::Output;
use conex_store::{Event, bridge};

use crate::layers::Layers;
use crate::open::Context;
use crate::unpack::load;

/// How much is gathered before it is written, in bytes.
const BUFFER: usize = 256 << 10;

/// What was exported.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The image.
    pub image: Descriptor,
    /// What it runs on.
    pub platform: Platform,
    /// Bytes of the tar.
    pub bytes: u64,
    /// How many of its layers were looked into.
    pub layers: usize,
    /// How many things were odd.
    pub odd: u64,
    /// The first of them.
    pub warnings: Vec<String>,
}

/// Writes the image that suits `platform` as one tar: the tree that [`crate::unpack`] would give.
/// With paths, only what they name, with all that is below and the links and folders on the way.
///
/// # Errors
/// `NotFound` for a path that the image does not have.
pub async fn export(
    context: &Context,
    location: &Location,
    platform: &Platform,
    paths: Vec<Vec<u8>>,
    out: Output,
) -> Result<Report> {
    let doing = || format!("cannot export {location}");
    let (source, image) =
        load(context, location, platform).await.map_err(|err| err.context(doing()))?;
    let layers = Layers::kept(context, source.as_ref(), &image)?;
    let exported = async {
        let (flat, read) = flatten(context, &layers, paths).await?;
        let warnings = flat.warnings().clone();
        let (out, _) = write(&layers, flat, out).await?;
        let bytes = out.written();
        bridge::blocking(move || out.finish()).await?;
        Ok((bytes, read, warnings))
    };
    let (bytes, read, warnings) =
        exported.await.map_err(|err: conex_spec::Error| err.context(doing()))?;
    Ok(Report {
        platform: image.config.platform(),
        bytes,
        layers: read,
        odd: warnings.count(),
        warnings: warnings.kept().iter().map(ToString::to_string).collect(),
        image: image.root,
    })
}

/// The tree of an image, or the parts of it that the paths name; and how many layers were read.
pub(crate) async fn flatten(
    context: &Context,
    layers: &Layers<'_>,
    paths: Vec<Vec<u8>>,
) -> Result<(Flat, usize)> {
    if paths.is_empty() {
        let mut flattener = Flattener::new(Limits::default());
        for number in 0..layers.len() {
            let layer = layers.open_told(number).await?;
            flattener = bridge::blocking(move || {
                flattener.apply(layer)?;
                Ok(flattener)
            })
            .await?;
            context.observer.event(Event::Done(layers.descriptor(number)));
        }
        return Ok((flattener.finish(), layers.len()));
    }
    let mut parts = Parts::new(paths, Limits::default());
    for below in (0..layers.len()).rev() {
        let layer = layers.open_told(below).await?;
        let (back, flat) = bridge::blocking(move || {
            parts.read(layer)?;
            let flat = parts.settle(below)?;
            Ok((parts, flat))
        })
        .await?;
        context.observer.event(Event::Done(layers.descriptor(below)));
        if let Some(flat) = flat {
            return Ok((flat, layers.len() - below));
        }
        parts = back;
    }
    // An image without layers has nothing but a root.
    let flat = parts.settle(0)?.unwrap_or_else(|| Flattener::new(Limits::default()).finish());
    Ok((flat, layers.len()))
}

/// Writes the tar, reading the layers that have what it needs.
pub(crate) async fn write<W: Write + Send + 'static>(
    layers: &Layers<'_>,
    flat: Flat,
    out: W,
) -> Result<(W, Flat)> {
    let needed = flat.layers();
    let mut stream = Stream::new(flat, BufWriter::with_capacity(BUFFER, out));
    for number in needed {
        let layer = layers.open(number).await?;
        stream = bridge::blocking(move || {
            stream.layer(number, layer)?;
            Ok(stream)
        })
        .await?;
    }
    bridge::blocking(move || {
        let (out, flat) = stream.finish()?;
        let out = out.into_inner().map_err(|err| {
            conex_spec::Error::from_io(err.into_error(), || "cannot write the tar".into())
        })?;
        Ok((out, flat))
    })
    .await
}
