//! The layers of an image, opened one by one for the crate `conex-layer`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};

use conex_layer::unpack::LayerInput;
use conex_spec::{Compression, Descriptor, Digest, Error, Kind, Result};
use conex_store::seal::{Key, is_sealed};
use conex_store::{Event, Observer, Source, SourceExt, bridge};

use crate::open::Context;
use crate::spool::Spool;
use crate::unpack::Image;

/// The layers of an image, lowest first.
pub(crate) struct Layers<'a> {
    source: &'a dyn Source,
    layers: Vec<(&'a Descriptor, Digest)>,
    key: Option<Key>,
    observer: Arc<dyn Observer>,
    spool: Option<Spool>,
    /// Dropped with this, which tells the threads that still read.
    waiting: Arc<()>,
}

impl<'a> Layers<'a> {
    pub(crate) fn new(context: &Context, source: &'a dyn Source, image: &'a Image) -> Result<Self> {
        let layers = &image.manifest.layers;
        let diff_ids = image.config.diff_ids(layers.len())?;
        let layers = layers.iter().zip(diff_ids.iter().cloned()).collect();
        let observer = Arc::clone(&context.observer);
        let (key, waiting) = (context.key(), Arc::new(()));
        Ok(Self { source, layers, key, observer, spool: None, waiting })
    }

    /// The same, for layers that are opened more than once: what comes from far away comes once.
    pub(crate) fn kept(
        context: &Context,
        source: &'a dyn Source,
        image: &'a Image,
    ) -> Result<Self> {
        Ok(Self { spool: Some(context.keeper()), ..Self::new(context, source, image)? })
    }

    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn descriptor(&self, number: usize) -> &'a Descriptor {
        self.layers[number].0
    }

    /// Tells the source that one of the layers was wrong; true where another place has them.
    pub(crate) fn distrust(&self, why: &Error) -> bool {
        let heard = self.layers.iter().map(|(layer, _)| self.source.distrust(layer, why));
        heard.fold(false, |any, heard| any | heard)
    }

    /// Opens a layer: of a source far away, a download begins.
    pub(crate) async fn open(&self, number: usize) -> Result<LayerInput> {
        let layer = self.descriptor(number);
        let (key, spool) = (self.key.as_ref(), self.spool.as_ref());
        let reader = reader(self.source, layer, key, spool, &self.waiting).await?;
        self.input(number, reader)
    }

    /// The same, and tells how far its bytes are read.
    pub(crate) async fn open_told(&self, number: usize) -> Result<LayerInput> {
        let layer = self.descriptor(number);
        self.observer.event(Event::Started(layer));
        let input = self.open(number).await?;
        let (layer, observer) = (layer.bare(), Arc::clone(&self.observer));
        Ok(LayerInput { reader: Box::new(Told { inner: input.reader, layer, observer }), ..input })
    }

    /// A layer whose bytes come from elsewhere.
    pub(crate) fn input(&self, number: usize, reader: Box<dyn Read + Send>) -> Result<LayerInput> {
        let (layer, diff_id) = &self.layers[number];
        Ok(LayerInput {
            compression: compression(layer)?,
            diff_id: diff_id.clone(),
            reader,
            name: layer.digest.short().to_owned(),
        })
    }
}

/// A sealed file of this machine is read as it is; everything else is verified on the way. What comes
/// from elsewhere is kept in the `spool`, where there is one.
pub(crate) async fn reader(
    source: &dyn Source,
    layer: &Descriptor,
    key: Option<&Key>,
    spool: Option<&Spool>,
    waiting: &Arc<()>,
) -> Result<Box<dyn Read + Send>> {
    let shared = |file| Box::new(SharedFile { file, at: 0, waiting: Arc::downgrade(waiting) });
    if let Some(file) = spool.and_then(|spool| spool.get(layer)) {
        return Ok(shared(file));
    }
    let file = source.file(layer).await?;
    let spool = spool.filter(|_| file.is_none());
    if let Some(file) = file
        && is_sealed(key, &file, &layer.digest)?
    {
        return Ok(shared(file));
    }
    let content = bridge::reader(source.fetch(layer).await?);
    Ok(match spool {
        Some(spool) => spool.keep(layer, content),
        None => Box::new(content),
    })
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

/// Tells of every byte that is read.
struct Told {
    inner: Box<dyn Read + Send>,
    layer: Descriptor,
    observer: Arc<dyn Observer>,
}

impl Read for Told {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.observer.event(Event::Progress(&self.layer, count as u64));
        Ok(count)
    }
}
