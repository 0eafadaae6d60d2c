//! One engine for every pair of stores: each digest once, what is there already skipped,
//! several blobs at a time, children before parents, names last.
//!
//! | looking for | module |
//! |---|---|
//! | from one location to another, as a person asks for it | [`request`] |
//! | the run over many roots | `engine` |
//! | what it need not look into | `unchanged` |
//! | which platforms of an index | [`select`] |
//! | which tags of a repository | [`tags`] |
//! | what Docker's archives call images | `archive_names` |
//! | referrers and signatures | [`belongings`] |
//! | the images that charts and bundles name | [`named`] |
//! | how much moves at a time | `budget` |

mod archive_names;
pub mod belongings;
mod blob;
pub(crate) mod budget;
mod engine;
pub mod named;
mod nowhere;
mod remembered;
mod report;
pub mod request;
pub mod select;
mod summary;
pub mod tags;
mod unchanged;

use std::collections::HashSet;
use std::sync::Arc;

use conex_spec::{Descriptor, Error, Kind, Location, Result, Tag};
use conex_store::{Observer, Sink, Source};

pub use belongings::With;
pub use summary::{Count, Summary};

use crate::open::{Context, check_fits};
use blob::Copier;
use engine::{Engine, Task};
use remembered::Remembered;

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyOptions {
    /// How many blobs move at a time; of large ones fewer, so that memory stays bounded.
    pub jobs: usize,
    /// What comes along with an image.
    pub with: With,
    /// Look for every blob and manifest at the destination, also where a root stands there under
    /// its name already: a registry may have lost what is below it.
    pub full: bool,
    /// Hash what is there already on this machine, so that damage is found which left the time of a
    /// file as it was. Without it a file counts that is as it was when it was verified.
    pub rehash: bool,
    /// Only find out what would move: nothing is made or changed at the destination.
    pub dry_run: bool,
}

impl CopyOptions {
    /// The image alone.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { with: With::NONE, ..self }
    }
}

impl Default for CopyOptions {
    /// Twelve jobs: the config and the layers of most images in one go.
    fn default() -> Self {
        Self { jobs: 12, with: With::default(), full: false, rehash: true, dry_run: false }
    }
}

/// Copies all content below `root` and what belongs to it, and then names it `tag`.
pub async fn copy(
    from: &dyn Source,
    root: &Descriptor,
    to: &dyn Sink,
    tag: Option<&Tag>,
    options: &CopyOptions,
    observer: &Arc<dyn Observer>,
) -> Result<Summary> {
    let from = Remembered::new(from);
    let task = Task::new(root, tag.cloned().into_iter().collect());
    let summary = Engine::new(&from, to, options, observer).run(&[task]).await;
    if options.dry_run { summary } else { ended(to, summary).await }
}

/// Ends the writing: what went well is finished, and what failed leaves nothing that is empty.
async fn ended<T>(to: &dyn Sink, result: Result<T>) -> Result<T> {
    let result = match result {
        Ok(done) => to.finish().await.map(|()| done),
        failed => failed,
    };
    if result.is_err() {
        to.abandon().await;
    }
    result
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

/// Copies all content below `root`, and nothing beside it, without making it a root of the
/// destination.
pub async fn copy_content(
    from: &dyn Source,
    root: &Descriptor,
    to: &dyn Sink,
    options: &CopyOptions,
    observer: &Arc<dyn Observer>,
) -> Result<Summary> {
    let task = Task { listed: false, ..Task::new(root, Vec::new()) };
    Engine::new(from, to, &options.alone(), observer).run(&[task]).await
}

/// Copies blobs whose manifest is yet to be made, each digest once. Those of up to `unasked` bytes are
/// offered to a registry without a look for them first.
pub(crate) async fn copy_blobs(
    from: &dyn Source,
    blobs: &[Descriptor],
    to: &dyn Sink,
    unasked: u64,
    options: &CopyOptions,
    observer: &Arc<dyn Observer>,
) -> Result<Summary> {
    let mut seen = HashSet::new();
    let once = blobs.iter().filter(|blob| seen.insert(blob.digest.clone())).cloned().collect();
    let options = options.alone();
    Engine::new(from, to, &options, observer).unasked(unasked).run_blobs(once).await
}

/// Moves one blob or manifest, whatever the destination has in its place.
pub(crate) async fn put(
    from: &dyn Source,
    blob: &Descriptor,
    to: &dyn Sink,
    observer: &Arc<dyn Observer>,
) -> Result<()> {
    let copier = Copier { from, to, observer };
    copier.put(blob, None).await.map(drop)
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
