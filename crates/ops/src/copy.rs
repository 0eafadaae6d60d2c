//! One engine for every pair of stores: each digest once, what is there already skipped,
//! several blobs at a time, children before parents, the tag last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use conex_spec::{Descriptor, Error, Kind, Location, Result, Tag};
use conex_store::bridge::bytes_stream;
use conex_store::{ByteStream, Event, Observer, Reopen, Sink, Source};

use crate::open::{Context, check_fits};
use crate::walk::{Graph, Node, walk};

/// How often a blob is begun anew after the source or the sink broke off.
const ATTEMPTS: usize = 3;

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// How many blobs move at a time.
    pub jobs: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { jobs: 4 }
    }
}

/// What a copy did. All sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Content that moved.
    pub moved: Count,
    /// Content that was at the destination already.
    pub present: Count,
    /// Content that the destination took over without moving bytes.
    pub adopted: Count,
    /// Layers that may not be distributed and were left out.
    pub left_out: Count,
}

/// How much of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many blobs and manifests.
    pub blobs: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, blob: &Descriptor) {
        self.add_bytes(blob.size);
    }

    /// Counts one more blob of so many bytes.
    pub fn add_bytes(&mut self, size: u64) {
        self.blobs += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Moved,
    Present,
    Adopted,
    LeftOut,
}

/// Copies all content below `root`, and then names it `tag`.
pub async fn copy(
    from: &dyn Source,
    root: &Descriptor,
    to: &dyn Sink,
    tag: Option<&Tag>,
    options: &CopyOptions,
    observer: &Arc<dyn Observer>,
) -> Result<Summary> {
    let summary = copy_content(from, root, to, options, observer).await?;
    to.tag(root, tag).await?;
    to.finish().await?;
    Ok(summary)
}

/// [`copy`] to where a location says, under the name that it gives there.
pub async fn copy_to(
    context: &Context,
    from: &dyn Source,
    root: &Descriptor,
    to: &Location,
    options: &CopyOptions,
) -> Result<Summary> {
    // A name that cannot be given is told before anything is made at the destination.
    let tag = tag_for(root, to)?;
    check_fits(from, root, to).await?;
    let sink = context.sink(to)?;
    copy(from, root, sink.as_ref(), tag.as_ref(), options, &context.observer).await
}

/// Copies all content below `root` without making it a root of the destination.
pub async fn copy_content(
    from: &dyn Source,
    root: &Descriptor,
    to: &dyn Sink,
    options: &CopyOptions,
    observer: &Arc<dyn Observer>,
) -> Result<Summary> {
    let copied = Copier { from, to, options, observer }.run(root).await;
    let route = || format!("cannot copy {} to {}", from.location(), to.location());
    copied.map_err(|err| err.context(route()))
}

/// Moves one blob or manifest, whatever the destination has in its place.
pub(crate) async fn put(
    from: &dyn Source,
    blob: &Descriptor,
    to: &dyn Sink,
    options: &CopyOptions,
    observer: &Arc<dyn Observer>,
) -> Result<()> {
    let copier = Copier { from, to, options, observer };
    copier.put(blob, None).await.map(drop)
}

struct Copier<'a> {
    from: &'a dyn Source,
    to: &'a dyn Sink,
    options: &'a CopyOptions,
    observer: &'a Arc<dyn Observer>,
}

impl Copier<'_> {
    async fn run(&self, root: &Descriptor) -> Result<Summary> {
        let graph = walk(self.from, root).await?;
        let mut summary = Summary::default();
        self.copy_blobs(&graph, &mut summary).await?;
        self.copy_manifests(&graph, &mut summary).await?;
        Ok(summary)
    }

    async fn copy_blobs(&self, graph: &Graph, summary: &mut Summary) -> Result<()> {
        let copies =
            graph.blobs.iter().map(|blob| async move { Ok((blob, self.copy_blob(blob).await?)) });
        let mut copies = stream::iter(copies).buffer_unordered(self.width());
        while let Some((blob, outcome)) = copies.try_next().await? {
            summary.count(blob, outcome);
        }
        Ok(())
    }

    fn width(&self) -> usize {
        self.options.jobs.min(self.to.width()).max(1)
    }

    /// Level by level, so that every manifest finds its children there.
    async fn copy_manifests(&self, graph: &Graph, summary: &mut Summary) -> Result<()> {
        let top = graph.manifests.iter().map(|node| node.height).max().unwrap_or_default();
        for height in 1..=top {
            let level = graph.manifests.iter().filter(|node| node.height == height);
            let copies =
                level.map(|node| async move { Ok((node, self.copy_manifest(node).await?)) });
            let mut copies = stream::iter(copies).buffer_unordered(self.width());
            while let Some((node, outcome)) = copies.try_next().await? {
                summary.count(&node.descriptor, outcome);
            }
        }
        Ok(())
    }

    async fn copy_manifest(&self, node: &Node) -> Result<Outcome> {
        let descriptor = &node.descriptor;
        if self.to.has(descriptor).await? {
            self.observer.event(Event::Present(descriptor));
            return Ok(Outcome::Present);
        }
        self.put(descriptor, Some(node.manifest.bytes().clone())).await
    }

    async fn copy_blob(&self, blob: &Descriptor) -> Result<Outcome> {
        let forbidden = !blob.media_type.is_distributable();
        if forbidden && matches!(self.to.location(), Location::Registry(_)) {
            // "Implementations SHOULD NOT upload layers tagged with this media type"
            // (image-spec, layer.md, "Non-Distributable Layers").
            return Ok(self.leave_out(blob));
        }
        if self.to.has(blob).await? {
            self.observer.event(Event::Present(blob));
            return Ok(Outcome::Present);
        }
        if self.to.adopt(blob, self.from).await? {
            self.observer.event(Event::Adopted(blob));
            return Ok(Outcome::Adopted);
        }
        match self.put(blob, None).await {
            Err(err) if forbidden && err.kind() == Kind::NotFound => Ok(self.leave_out(blob)),
            moved => moved,
        }
    }

    /// Moves a blob, whose bytes may be at hand.
    async fn put(&self, blob: &Descriptor, bytes: Option<Bytes>) -> Result<Outcome> {
        self.observer.event(Event::Started(blob));
        let bytes = match bytes {
            Some(bytes) => Some(bytes),
            None => blob.embedded()?,
        };
        let content = Content { copier: self, blob, bytes, told: Arc::default() };
        let mut attempt = 1;
        while let Err(err) = self.to.put_from(blob, &content).await {
            if err.kind() != Kind::Network || attempt == ATTEMPTS {
                return Err(err);
            }
            self.observer.event(Event::Retry(&err, Duration::ZERO));
            attempt += 1;
        }
        self.observer.event(Event::Done(blob));
        Ok(Outcome::Moved)
    }

    fn leave_out(&self, blob: &Descriptor) -> Outcome {
        let text = format!(
            "left out {}: a {} may not be distributed",
            blob.digest.short(),
            blob.media_type
        );
        self.observer.event(Event::Warning(&text));
        Outcome::LeftOut
    }
}

/// A blob to be moved.
struct Content<'a> {
    copier: &'a Copier<'a>,
    blob: &'a Descriptor,
    /// All of it, where it is at hand.
    bytes: Option<Bytes>,
    /// How many bytes the observer has heard of: each once, however often it is read.
    told: Arc<AtomicU64>,
}

#[async_trait]
impl Reopen for Content<'_> {
    async fn open(&self, start: u64) -> Result<ByteStream> {
        let (from, range) = (self.copier.from, start..self.blob.size);
        let content = match &self.bytes {
            Some(bytes) => bytes_stream(bytes.clone(), range),
            None => from
                .open(self.blob, range)
                .await
                .map_err(|err| err.context(format_args!("cannot read from {}", from.location())))?,
        };
        let (observer, blob) = (self.copier.observer.clone(), self.blob.bare());
        let (told, mut at) = (self.told.clone(), start);
        tell(observer.as_ref(), &blob, &told, at);
        Ok(content
            .inspect_ok(move |chunk| {
                at += chunk.len() as u64;
                tell(observer.as_ref(), &blob, &told, at);
            })
            .boxed())
    }

    fn anew(&self, why: &Error) {
        self.copier.observer.event(Event::Retry(why, Duration::ZERO));
    }
}

/// Tells that the move has come to a byte.
fn tell(observer: &dyn Observer, blob: &Descriptor, told: &AtomicU64, at: u64) {
    let before = told.fetch_max(at, Ordering::Relaxed);
    if at > before {
        observer.event(Event::Progress(blob, at - before));
    }
}

impl Summary {
    /// Adds what another copy did.
    pub fn merge(&mut self, other: Self) {
        let counts = [
            (&mut self.moved, other.moved),
            (&mut self.present, other.present),
            (&mut self.adopted, other.adopted),
            (&mut self.left_out, other.left_out),
        ];
        for (sum, count) in counts {
            sum.blobs += count.blobs;
            sum.bytes = sum.bytes.saturating_add(count.bytes);
        }
    }

    fn count(&mut self, blob: &Descriptor, outcome: Outcome) {
        match outcome {
            Outcome::Moved => self.moved.add(blob),
            Outcome::Present => self.present.add(blob),
            Outcome::Adopted => self.adopted.add(blob),
            Outcome::LeftOut => self.left_out.add(blob),
        }
    }
}

/// The tag that a destination asks for, checked: a digest there must be that of the root.
pub fn tag_for(root: &Descriptor, location: &Location) -> Result<Option<Tag>> {
    match crate::open::name_in(location)? {
        Some(conex_spec::Name::Tag(tag)) => Ok(Some(tag)),
        Some(conex_spec::Name::Digest(digest)) if digest == root.digest => Ok(None),
        Some(conex_spec::Name::Digest(digest)) => Err(Error::new(
            Kind::Usage,
            format!("{location} names another digest than the root has"),
        )
        .expected(digest)
        .found(&root.digest)
        .hint("give the destination a tag or no name at all")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
