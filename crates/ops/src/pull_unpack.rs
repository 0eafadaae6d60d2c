//! `conex pull --unpack`: an image into the local store and into a folder at once.
//!
//! The first layer that is missing goes to the disk, into its hashes and into the tree as it
//! arrives. The others are fetched beside it; by the time it is their turn most are there, and are
//! read as the machine still has them in memory.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use conex_layer::unpack::{LayerInput, Unpacker};
use conex_spec::{Descriptor, Digest, Error, Kind, Location, Platform, Reference, Result};
use conex_store::{ByteStream, Event, LocalStore, Sink, Source, SourceExt, bridge};

use crate::copy::{CopyOptions, put};
use crate::layers::Layers;
use crate::open::Context;
use crate::pull::{self, pull};
use crate::unpack::{Target, Tree, load, publish};

/// How many layers are fetched beside the one that is unpacked as it comes.
const BESIDE: usize = 3;
/// How many chunks of a layer may wait to be unpacked.
const QUEUE: usize = 8;

/// What was pulled and unpacked.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was pulled.
    #[serde(flatten)]
    pub pulled: pull::Report,
    /// What was written.
    pub tree: Tree,
}

/// Pulls the image that suits `platform` and unpacks it while it comes. The folder appears once
/// the whole image is in the store, or not at all.
pub async fn pull_unpack(
    context: &Context,
    reference: &Reference,
    platform: &Platform,
    options: &CopyOptions,
    target: &Target,
) -> Result<Report> {
    let doing = || format!("cannot unpack {reference}");
    let from = Location::Registry(reference.clone());
    let (source, image) =
        load(context, &from, platform).await.map_err(|err| err.context(doing()))?;
    let store = context.local_store(&Location::Store(reference.clone()))?;
    let unpacker = Unpacker::new(&target.dir, target.options)?;
    let layers = Layers::new(context, &store, &image)?;
    let missing = missing(&store, &image.manifest.layers).await?;
    let (arrived, arrivals) = watch::channel(HashSet::new());
    let (chunks, teed) = mpsc::channel(QUEUE);
    let download = Download { context, source: source.as_ref(), store: &store, arrived };
    let first = missing.first().map(|layer| layer.digest.clone());
    let apply = Apply { layers, missing: &missing, first, teed: Some(teed), arrivals };
    let (unpacker, ()) = tokio::try_join!(apply.run(unpacker), download.run(&missing, chunks))
        .map_err(|err| err.context(doing()))?;
    // What is refused gets no name in the store either.
    target.check(&unpacker).map_err(|err| err.context(doing()))?;
    // All content is there: what is left is to find that out, and to give it its name.
    let mut pulled = pull(context, reference, Some(platform), options).await?;
    for layer in &missing {
        let summary = &mut pulled.summary;
        summary.moved.bytes += layer.size;
        summary.moved.blobs += 1;
        summary.present.bytes = summary.present.bytes.saturating_sub(layer.size);
        summary.present.blobs = summary.present.blobs.saturating_sub(1);
    }
    let tree = publish(unpacker, target, None).await.map_err(|err| err.context(doing()))?;
    Ok(Report { pulled, tree })
}

/// The layers that the store lacks, each once.
async fn missing<'a>(store: &LocalStore, layers: &'a [Descriptor]) -> Result<Vec<&'a Descriptor>> {
    let mut missing: Vec<&Descriptor> = Vec::new();
    for layer in layers {
        let known = missing.iter().any(|other| other.digest == layer.digest);
        if !known && !store.has(layer).await? {
            missing.push(layer);
        }
    }
    Ok(missing)
}

/// Brings layers into the store.
struct Download<'a> {
    context: &'a Context,
    source: &'a dyn Source,
    store: &'a LocalStore,
    /// Those that are there now.
    arrived: watch::Sender<HashSet<Digest>>,
}

impl Download<'_> {
    async fn run(
        self,
        missing: &[&Descriptor],
        chunks: mpsc::Sender<Result<bytes::Bytes>>,
    ) -> Result<()> {
        let Some((first, others)) = missing.split_first() else { return Ok(()) };
        let beside = stream::iter(others).map(Ok).try_for_each_concurrent(BESIDE, |layer| async {
            put(self.source, layer, self.store, &self.context.observer).await?;
            self.arrived.send_modify(|arrived| {
                arrived.insert(layer.digest.clone());
            });
            Ok(())
        });
        tokio::try_join!(self.first(first, chunks), beside)?;
        Ok(())
    }

    async fn first(
        &self,
        layer: &Descriptor,
        chunks: mpsc::Sender<Result<bytes::Bytes>>,
    ) -> Result<()> {
        let observer = self.context.observer.clone();
        observer.event(Event::Started(layer));
        let content = self.source.fetch(layer).await?;
        let told = layer.bare();
        let teed = content.then(move |chunk| {
            let (chunks, observer, told) = (chunks.clone(), observer.clone(), told.clone());
            async move {
                // Who unpacks may have failed, and tells of it.
                if let Ok(chunk) = &chunk {
                    observer.event(Event::Progress(&told, chunk.len() as u64));
                    let _ = chunks.send(Ok(chunk.clone())).await;
                } else {
                    let broken = Error::new(Kind::Network, "the download broke off");
                    let _ = chunks.send(Err(broken)).await;
                }
                chunk
            }
        });
        self.store.put(layer, teed.boxed()).await?;
        self.context.observer.event(Event::Done(layer));
        self.arrived.send_modify(|arrived| {
            arrived.insert(layer.digest.clone());
        });
        Ok(())
    }
}

/// Applies the layers in their order, each once it is there.
struct Apply<'a> {
    layers: Layers<'a>,
    missing: &'a [&'a Descriptor],
    first: Option<Digest>,
    teed: Option<mpsc::Receiver<Result<bytes::Bytes>>>,
    arrivals: watch::Receiver<HashSet<Digest>>,
}

impl Apply<'_> {
    async fn run(mut self, mut unpacker: Unpacker) -> Result<Unpacker> {
        for number in 0..self.layers.len() {
            let input = self.input(number).await?;
            unpacker = bridge::blocking(move || {
                unpacker.apply(input)?;
                Ok(unpacker)
            })
            .await?;
        }
        Ok(unpacker)
    }

    async fn input(&mut self, number: usize) -> Result<LayerInput> {
        let digest = self.layers.descriptor(number).digest.clone();
        if self.first.as_ref() == Some(&digest)
            && let Some(teed) = self.teed.take()
        {
            return self.layers.input(number, Box::new(bridge::reader(stream_of(teed))));
        }
        if self.missing.iter().any(|layer| layer.digest == digest) {
            let there = self.arrivals.wait_for(|arrived| arrived.contains(&digest)).await;
            there.map_err(|_| Error::new(Kind::Network, "the download broke off"))?;
        }
        self.layers.open(number).await
    }
}

fn stream_of(chunks: mpsc::Receiver<Result<bytes::Bytes>>) -> ByteStream {
    stream::unfold(chunks, |mut chunks| async { Some((chunks.recv().await?, chunks)) }).boxed()
}
