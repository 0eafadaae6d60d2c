//! One run over many roots: every digest is looked at once, what is there already is skipped, many
//! requests are under way at a time, children are there before parents, names come last.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, future, stream};

use conex_spec::{Descriptor, Digest, Error, Kind, Location, Manifest, Result, Tag};
use conex_store::{Event, Observer, Sink, Source};

use super::CopyOptions;
use super::belongings::{Belongings, With, in_words_of};
use super::blob::Copier;
use super::budget::Budget;
use super::summary::{Outcome, Summary};
use super::unchanged::Same;
use crate::images::told_by_config;
use crate::walk::{Graph, Node, Walk};

/// How many requests that move next to nothing are under way at a time.
pub(crate) const WIDTH: usize = 16;
/// How many roots are walked together; their manifests are in memory.
const BATCH: usize = 64;

/// A root to be copied.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) root: Descriptor,
    /// What the destination is to call it.
    pub(crate) names: Vec<Tag>,
    /// Whether it is a root there too, if only by its digest.
    pub(crate) listed: bool,
    /// Of an index that is copied as it is, the entries that are copied with it.
    pub(crate) only: Option<Arc<HashSet<Digest>>>,
    /// What the names stand for at the destination, where that is known.
    pub(crate) standing: Option<Vec<Option<Digest>>>,
}

impl Task {
    pub(crate) fn new(root: &Descriptor, names: Vec<Tag>) -> Self {
        Self { root: root.clone(), names, listed: true, only: None, standing: None }
    }
}

/// See the module.
pub(crate) struct Engine<'a> {
    from: &'a dyn Source,
    pub(super) to: &'a dyn Sink,
    pub(super) options: &'a CopyOptions,
    observer: &'a Arc<dyn Observer>,
    pub(super) belongings: Option<Belongings<'a>>,
    budget: Budget,
    /// Whether the registry has not yet refused to mount.
    mounts: AtomicBool,
    /// What is at the destination by now.
    done: HashSet<Digest>,
    /// What was read there.
    looked: Mutex<HashSet<Digest>>,
    pub(super) same: Same,
    /// Up to how many bytes a blob is offered to a registry without a look for it first.
    unasked: u64,
    summary: Summary,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(
        from: &'a dyn Source,
        to: &'a dyn Sink,
        options: &'a CopyOptions,
        observer: &'a Arc<dyn Observer>,
    ) -> Self {
        // Docker's archives and engines hold nothing but images.
        let single =
            matches!(to.location(), Location::DockerArchive { .. } | Location::DockerDaemon(_));
        let with = if single { With::NONE } else { options.with };
        let belongings = with.any().then(|| Belongings::new(from, with, observer));
        Self {
            from,
            to,
            options,
            observer,
            belongings,
            budget: Budget::new(options.jobs, to),
            mounts: AtomicBool::new(same_registry(from.location(), to.location())),
            done: HashSet::new(),
            looked: Mutex::default(),
            same: Same::default(),
            unasked: 0,
            summary: Summary::default(),
        }
    }

    /// The same, but blobs of up to so many bytes are offered to a registry without a look for them
    /// first: that saves a round trip where they are new, as what is made by this command mostly is.
    pub(crate) fn unasked(mut self, bytes: u64) -> Self {
        self.unasked = bytes;
        self
    }

    /// The same, where the tags of the source were listed already.
    pub(crate) fn with_tags(mut self, tags: Option<HashSet<Tag>>) -> Self {
        self.belongings = self.belongings.map(|belongings| belongings.with_tags(tags));
        self
    }

    /// Copies all content below the roots, and then gives them their names.
    pub(crate) async fn run(&mut self, tasks: &[Task]) -> Result<Summary> {
        let route = match self.from.location() {
            // It was made by this very command.
            Location::Memory => format!("cannot write {}", self.to.location()),
            from => format!("cannot copy {from} to {}", self.to.location()),
        };
        for batch in tasks.chunks(BATCH) {
            self.batch(batch).await.map_err(|err| err.context(&route))?;
        }
        Ok(std::mem::take(&mut self.summary))
    }

    /// Copies blobs whose manifest is yet to be made. No digest may be there twice.
    pub(crate) async fn run_blobs(&mut self, blobs: Vec<Descriptor>) -> Result<Summary> {
        let (graph, mut summary) = (Graph { blobs, ..Graph::default() }, Summary::default());
        let copied = self.copy_blobs(&graph, &mut summary).await;
        copied.map_err(|err| err.context(format_args!("cannot write {}", self.to.location())))?;
        self.done.extend(graph.blobs.into_iter().map(|blob| blob.digest));
        Ok(summary)
    }

    /// Whether it is known that something is at the destination by now.
    pub(crate) fn reached(&self, digest: &Digest) -> bool {
        self.done.contains(digest)
    }

    async fn batch(&mut self, tasks: &[Task]) -> Result<()> {
        self.begin();
        let looked = tasks.iter().map(|task| self.unchanged(task));
        let looked: Vec<_> = stream::iter(looked).buffered(WIDTH).try_collect().await?;
        let mut left = Vec::new();
        for (task, unchanged) in tasks.iter().zip(looked) {
            match unchanged {
                Some(content) => {
                    self.observer.event(Event::Present(&task.root));
                    self.summary.unchanged += 1;
                    for blob in content.iter() {
                        if self.done.insert(blob.digest.clone()) {
                            self.summary.present.add(blob);
                        }
                    }
                }
                None => left.push(task),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        match self.copy(&left).await {
            // All of them together may be too much to be held.
            Err(err) if err.kind() == Kind::Limit && left.len() > 1 => {
                for task in left {
                    self.copy(&[task]).await?;
                }
                Ok(())
            }
            copied => copied,
        }
    }

    fn begin(&self) {
        if let Some(belongings) = &self.belongings {
            belongings.begin();
        }
    }

    async fn copy(&mut self, tasks: &[&Task]) -> Result<()> {
        self.begin();
        let graph = {
            let mut walk = Walk::new(self.from, self.belongings.as_ref());
            for task in tasks {
                walk.add(&task.root, task.only.as_deref())?;
            }
            walk.run().await?
        };
        let mut summary = Summary::default();
        for attached in &graph.attached {
            summary.referrers.add(&attached.root);
        }
        let there = self.copy_blobs(&graph, &mut summary).await?;
        self.copy_manifests(&graph, tasks, &there, &mut summary).await?;
        self.publish(&graph, tasks, &there).await?;
        self.done.extend(graph.content().map(|blob| blob.digest.clone()));
        self.summary.merge(summary);
        Ok(())
    }

    /// The blobs, and at the same time a look at which manifests are there.
    async fn copy_blobs(&self, graph: &Graph, summary: &mut Summary) -> Result<HashSet<Digest>> {
        let width = WIDTH.max(self.options.jobs).min(self.to.width());
        let fresh = graph.blobs.iter().filter(|blob| !self.done.contains(&blob.digest));
        let copies = fresh.map(|blob| async move { Ok((blob, self.copy_blob(blob).await?)) });
        let copies = stream::iter(copies).buffer_unordered(width);
        let blobs = copies.try_collect::<Vec<_>>();
        let looks = graph.manifests.iter().map(|node| async move {
            let blob = &node.descriptor;
            let there = self.done.contains(&blob.digest) || self.has(blob).await?;
            Ok::<_, Error>(there.then(|| blob.digest.clone()))
        });
        let looks = stream::iter(looks).buffer_unordered(WIDTH).try_collect::<Vec<_>>();
        let (blobs, looks) = future::try_join(blobs, looks).await?;
        for (blob, outcome) in blobs {
            summary.count(blob, outcome);
        }
        Ok(looks.into_iter().flatten().collect())
    }

    async fn copy_blob(&self, blob: &Descriptor) -> Result<Outcome> {
        let forbidden = !blob.media_type.is_distributable();
        if forbidden && matches!(self.to.location(), Location::Registry(_)) {
            // "Implementations SHOULD NOT upload layers tagged with this media type"
            // (image-spec, layer.md, "Non-Distributable Layers").
            return Ok(self.leave_out(blob));
        }
        if let Some(outcome) = self.without_bytes(blob).await? {
            return Ok(outcome);
        }
        if self.options.dry_run {
            return Ok(Outcome::Moved { resumed: 0 });
        }
        let _room = self.budget.room_for(blob).await?;
        match self.copier().put(blob, None).await {
            Err(err) if forbidden && err.kind() == Kind::NotFound => Ok(self.leave_out(blob)),
            moved => moved,
        }
    }

    /// Whether a blob is there, or can be taken over. Inside a registry a mount answers both in
    /// one request, as long as the registry does it.
    async fn without_bytes(&self, blob: &Descriptor) -> Result<Option<Outcome>> {
        let mounts = self.mounts.load(Ordering::Relaxed);
        if mounts && !self.options.dry_run {
            if self.to.adopt(blob, self.from).await? {
                self.observer.event(Event::Adopted(blob));
                return Ok(Some(Outcome::Adopted));
            }
            self.mounts.store(false, Ordering::Relaxed);
        }
        let asks = blob.size > self.unasked || !matches!(self.to.location(), Location::Registry(_));
        if asks && self.has(blob).await? {
            self.observer.event(Event::Present(blob));
            return Ok(Some(Outcome::Present));
        }
        if self.options.dry_run {
            return Ok(mounts.then_some(Outcome::Adopted));
        }
        if !mounts && self.to.adopt(blob, self.from).await? {
            self.observer.event(Event::Adopted(blob));
            return Ok(Some(Outcome::Adopted));
        }
        Ok(None)
    }

    /// Whether something is at the destination, by what it holds: it is hashed once, however many
    /// images share it.
    pub(super) async fn has(&self, blob: &Descriptor) -> Result<bool> {
        if self.options.rehash && !self.options.dry_run && self.is_new(&blob.digest) {
            self.to.look_again(blob).await?;
        }
        self.to.has(blob).await
    }

    fn is_new(&self, digest: &Digest) -> bool {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone())
    }

    /// Level by level, so that every manifest finds its children there. A root that is no part of
    /// another is left for the end, where it is put together with its names.
    async fn copy_manifests(
        &self,
        graph: &Graph,
        tasks: &[&Task],
        there: &HashSet<Digest>,
        summary: &mut Summary,
    ) -> Result<()> {
        let parts: HashSet<_> = graph
            .manifests
            .iter()
            .flat_map(|node| node.manifest.children().into_iter().map(|child| &child.digest))
            .collect();
        let named = graph.attached.iter().filter(|attached| attached.name.is_some());
        let listed = tasks.iter().filter(|task| task.listed).map(|task| &task.root.digest);
        let ends: HashSet<_> = named.map(|attached| &attached.root.digest).chain(listed).collect();
        let last = |digest: &Digest| !parts.contains(digest) && ends.contains(digest);
        let top = graph.manifests.iter().map(|node| node.height).max().unwrap_or_default();
        for height in 1..=top {
            let level = graph.manifests.iter().filter(|node| node.height == height);
            let mut missing = Vec::new();
            for node in level {
                let blob = &node.descriptor;
                if there.contains(&blob.digest) {
                    if !self.done.contains(&blob.digest) {
                        self.observer.event(Event::Present(blob));
                        summary.count(blob, Outcome::Present);
                    }
                    continue;
                }
                summary.count(blob, Outcome::Moved { resumed: 0 });
                if !last(&blob.digest) && !self.options.dry_run {
                    missing.push(self.put(node));
                }
            }
            let puts = stream::iter(missing).buffer_unordered(WIDTH.min(self.to.width()));
            puts.try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn put(&self, node: &Node) -> Result<()> {
        let bytes = node.manifest.bytes().clone();
        self.copier().put(&node.descriptor, Some(bytes)).await.map(drop)
    }

    /// Gives names, first to what belongs to the images: who sees an image can then see whose
    /// word there is for it.
    async fn publish(&self, graph: &Graph, tasks: &[&Task], there: &HashSet<Digest>) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        let manifests: &Manifests<'_> =
            &graph.manifests.iter().map(|node| (&node.descriptor.digest, node)).collect();
        for attached in &graph.attached {
            let name = attached.name.as_ref().map(|name| in_words_of(self.to.location(), name));
            let names: Vec<Tag> = name.transpose()?.into_iter().collect();
            // A registry lists referrers by itself.
            if !names.is_empty() || !matches!(self.to.location(), Location::Registry(_)) {
                self.to
                    .publish(
                        &attached.root,
                        node_of(manifests, &attached.root)?.manifest.bytes().clone(),
                        &names,
                    )
                    .await?;
            }
        }
        let listed = tasks.iter().filter(|task| task.listed);
        let roots = listed.map(|task| async move {
            let root = &task.root;
            let fresh = !there.contains(&root.digest) && root.media_type.is_manifest();
            if fresh {
                self.observer.event(Event::Started(root));
            }
            self.name(manifests, task).await?;
            if fresh {
                self.observer.event(Event::Done(root));
            }
            Ok::<_, Error>(())
        });
        stream::iter(roots).buffered(WIDTH.min(self.to.width())).try_collect().await
    }

    async fn name(&self, manifests: &Manifests<'_>, task: &Task) -> Result<()> {
        if task.root.media_type.is_manifest() {
            let manifest = &node_of(manifests, &task.root)?.manifest;
            let root = self.with_platform(&task.root, manifest).await;
            return self.to.publish(&root, manifest.bytes().clone(), &task.names).await;
        }
        if task.names.is_empty() {
            return self.to.tag(&task.root, None).await;
        }
        for name in &task.names {
            self.to.tag(&task.root, Some(name)).await?;
        }
        Ok(())
    }

    /// "This property SHOULD be present if its target is platform-specific" (image-spec,
    /// image-index.md, "`platform`"), and `index.json` is an index. Where the root came without
    /// it, as from a registry, the image's config tells; an image that does not tell has none.
    async fn with_platform(&self, root: &Descriptor, manifest: &Manifest) -> Descriptor {
        let lists = matches!(
            self.to.location(),
            Location::Layout { .. } | Location::OciArchive { .. } | Location::DockerArchive { .. }
        );
        if !lists || root.platform.is_some() {
            return root.clone();
        }
        // An archive cannot be read back while it is written.
        let source = self.to.as_source().unwrap_or(self.from);
        Descriptor { platform: told_by_config(source, manifest).await, ..root.clone() }
    }

    fn copier(&self) -> Copier<'a> {
        Copier { from: self.from, to: self.to, observer: self.observer }
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

type Manifests<'a> = HashMap<&'a Digest, &'a Node>;

fn node_of<'a>(manifests: &Manifests<'a>, root: &Descriptor) -> Result<&'a Node> {
    let missing = || {
        Error::new(Kind::Usage, format!("{} cannot be a root", root.digest))
            .expected("a manifest or an index")
            .found(&root.media_type)
    };
    manifests.get(&root.digest).copied().ok_or_else(missing)
}

fn same_registry(from: &Location, to: &Location) -> bool {
    match (from, to) {
        (Location::Registry(a), Location::Registry(b)) => a.registry() == b.registry(),
        _ => false,
    }
}
