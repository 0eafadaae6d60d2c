//! From one location to another, as a person asks for it: some platforms, some tags or all of
//! them, several names, with what belongs to the images.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, future, stream};

use conex_spec::{Descriptor, Digest, Error, Kind, Location, Name, Platform, Result, Tag};
use conex_store::referrers::{SUFFIXES, is_digest_tag};
use conex_store::{Event, Sink, Source, SourceExt};

use super::archive_names;
use super::belongings::in_words_of;
use super::engine::{Engine, Task, WIDTH};
use super::named::{Company, Images};
use super::nowhere::Nowhere;
use super::remembered::Remembered;
use super::report::conflict;
use super::select::{Selection, select};
use super::tags::TagFilter;
use super::unchanged::standing;
use super::{CopyOptions, Summary};
use crate::choose;
use crate::open::{Context, check_fits, name_in};

pub use super::report::{Artifact, Copied, Kept, Report, Sort};

/// More tags than this has no real repository.
const MAX_TAGS: usize = 1_000_000;

/// What is to be copied.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where from.
    pub from: Location,
    /// Where to.
    pub to: Location,
    /// For which platforms; without any for all.
    pub platforms: Vec<Platform>,
    /// Whether an index stays as it is although not all of its entries are copied.
    pub sparse: bool,
    /// Which tags of a whole repository; nothing where `from` names the one root.
    pub tags: Option<TagFilter>,
    /// More names for the root at the destination.
    pub names: Vec<String>,
    /// Whether a name that stands for something else at the destination is left alone.
    pub no_clobber: bool,
    /// Whether the images that charts and bundles name come along.
    pub images: bool,
}

impl Request {
    /// All of one root, under the name that the destination gives.
    pub fn new(from: Location, to: Location) -> Self {
        Self {
            from,
            to,
            platforms: Vec::new(),
            sparse: false,
            tags: None,
            names: Vec::new(),
            no_clobber: false,
            images: false,
        }
    }
}

/// Copies what is asked for. Both sides are asked at once where they do not depend on each other.
///
/// # Errors
/// `Conflict` where a single root was not copied because all of its names are taken; of several
/// names the others are given, and [`Report::kept`] lists these.
pub async fn run(context: &Context, request: &Request, options: &CopyOptions) -> Result<Report> {
    check(request)?;
    let source = match &request.tags {
        Some(_) => context.source_of_all(&request.from)?,
        None => context.source(&request.from)?,
    };
    let looker = context.look(&request.to)?;
    let beside = looker.as_deref().filter(|_| !matches!(request.to, Location::Registry(_)));
    let from = Remembered::new(source.as_ref()).beside(beside.and_then(|sink| sink.as_source()));
    let job = Job { context, request, options, from: &from, looker: looker.as_ref() };
    match &request.tags {
        Some(filter) => job.many(filter).await,
        None => job.one().await,
    }
}

fn check(request: &Request) -> Result<()> {
    let usage = |text: String| Error::new(Kind::Usage, text);
    if request.sparse && request.platforms.is_empty() {
        return Err(usage("nothing is left out of a sparse index".into())
            .hint("choose its images with `--platform OS/ARCH`"));
    }
    if request.tags.is_none() {
        return Ok(());
    }
    for location in [&request.from, &request.to] {
        // An archive of Docker's is told the repository that its tags are to be of.
        let named = location.name().is_some()
            && (location == &request.from || !archive_names::names_repository(location));
        let what = match location {
            Location::DockerDaemon(_) => "the images of an engine are copied one at a time".into(),
            _ if named => format!("{location} names one image, where many tags are to be copied"),
            _ => continue,
        };
        return Err(usage(what)
            .expected("a place without a tag, as `registry.example/team/app` or `oci:DIR`")
            .found(location));
    }
    Ok(())
}

struct Job<'a> {
    context: &'a Context,
    request: &'a Request,
    options: &'a CopyOptions,
    from: &'a Remembered<'a>,
    /// The destination, where it can be asked without making it.
    looker: Option<&'a Arc<dyn Sink>>,
}

impl Job<'_> {
    async fn one(&self) -> Result<Report> {
        let (from, to) = (&self.request.from, &self.request.to);
        let mut names = self.names()?;
        let asked = name_in(from)?;
        let resolved = self.from.resolve(asked.as_ref());
        let (root, mut standing) = future::try_join(resolved, self.standing(&names)).await?;
        let own = self.own_name(&root).await?;
        if let Some(own) = &own {
            names.push(own.clone());
            standing = self.standing(&names).await?;
            self.check_free(own, &root, &standing)?;
        }
        let selection = self.select(&root).await?;
        self.check_digest(&selection.root)?;
        if selection.root.digest != root.digest && self.is_same_place() {
            let itself = standing.iter().flatten().any(|digest| *digest == root.digest);
            if itself || names.is_empty() {
                return Err(narrows(from, to));
            }
        }
        let kept = self.kept(&names, &selection.root, &standing);
        if kept.len() == names.len() {
            conflict(to, &kept)?;
        }
        let taken = |name: &Tag| kept.iter().any(|kept| kept.name == *name);
        let free = names.into_iter().zip(standing).filter(|(name, _)| !taken(name));
        let (names, standing) = free.unzip();
        check_fits(self.from, &selection.root, to).await?;
        let task = task(selection, names, standing);
        let moved = self.copy(std::slice::from_ref(&task), &[]).await?;
        let copied = vec![self.copied(None, &task).await];
        let mut report = self.report(copied, kept, moved);
        if let Some(own) = own {
            report.to = to.with_name(Name::Tag(own))?;
        }
        Ok(report)
    }

    /// What a chart or a bundle is called where nobody named it: among the names of its images it would be
    /// lost without one. It keeps its tag, or has that of its version.
    async fn own_name(&self, root: &Descriptor) -> Result<Option<Tag>> {
        let (from, to) = (&self.request.from, &self.request.to);
        let unnamed = to.name().is_none() && self.request.names.is_empty();
        let takes = matches!(to, Location::Layout { .. } | Location::OciArchive { .. });
        if !(self.request.images && unnamed && takes) {
            return Ok(None);
        }
        let tag = match from {
            Location::Registry(reference) | Location::Store(reference) => reference.tag().cloned(),
            other => match other.name() {
                Some(Name::Tag(tag)) => Some(tag),
                _ => None,
            },
        };
        if tag.is_some() {
            return Ok(tag);
        }
        let artifact = Artifact::of(&*self.from.manifest(root).await?);
        let version = artifact.and_then(|artifact| artifact.version);
        Ok(version.and_then(|version| Tag::of_version(&version).ok()))
    }

    /// A name that nobody typed is taken from nothing else.
    fn check_free(&self, own: &Tag, root: &Descriptor, standing: &[Option<Digest>]) -> Result<()> {
        let to = &self.request.to;
        match standing.iter().flatten().find(|there| **there != root.digest) {
            None => Ok(()),
            Some(there) => {
                Err(Error::new(Kind::Conflict, format!("{own} in {to} stands for something else"))
                    .expected(&root.digest)
                    .found(there)
                    .hint(format!("say what it is to be called there: `{to}:NAME`")))
            }
        }
    }

    async fn many(&self, filter: &TagFilter) -> Result<Report> {
        let listed = self.tags().await?;
        let chosen = listed.iter().filter(|(tag, _)| !is_digest_tag(tag) && filter.takes(tag));
        let chosen: Vec<_> = chosen.collect();
        if chosen.is_empty() {
            return Err(Error::not_found(format!("no such tag in {}", self.request.from))
                .expected("a tag that the filters take")
                .found(format!("{} tags", listed.len())));
        }
        let looked = chosen.iter().map(async |(tag, name)| {
            let name = Name::Tag(name.clone());
            let there = vec![self.name(tag)?];
            let resolved = self.from.resolve(Some(&name));
            let (root, standing) = future::try_join(resolved, self.standing(&there)).await?;
            Ok::<_, Error>((tag, there, root, standing))
        });
        let looked: Vec<_> = stream::iter(looked).buffered(WIDTH).try_collect().await?;
        let (mut tasks, mut tags, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let roots = looked.iter().map(|(tag, _, root, _)| (tag.as_str(), root));
        let selections = self.selections(roots).await?;
        for (tag, names, root, standing) in looked {
            let Some(Some(selection)) = selections.get(&root.digest) else { continue };
            if selection.root.digest != root.digest && self.is_same_place() {
                return Err(narrows(&self.request.from, &self.request.to));
            }
            let taken = self.kept(&names, &selection.root, &standing);
            if taken.is_empty() {
                check_fits(self.from, &selection.root, &self.request.to).await?;
                tags.push(tag);
                tasks.push(task(selection.clone(), names, standing));
            }
            kept.extend(taken);
        }
        let moved = self.copy(&tasks, &listed).await?;
        let copied = tags.into_iter().zip(&tasks);
        let copied = copied.map(|(tag, task)| self.copied(Some(tag.clone()), task));
        let copied = stream::iter(copied).buffered(WIDTH).collect().await;
        Ok(self.report(copied, kept, moved))
    }

    /// What is copied of each root, by its digest. Hundreds of tags may stand for the same one.
    async fn selections(
        &self,
        roots: impl Iterator<Item = (&str, &Descriptor)>,
    ) -> Result<HashMap<Digest, Option<Selection>>> {
        let mut seen = HashSet::new();
        let distinct: Vec<_> = roots.filter(|(_, root)| seen.insert(&root.digest)).collect();
        let chosen = distinct.into_iter().map(async |(tag, root)| {
            Ok::<_, Error>((root.digest.clone(), self.select_or_leave(tag, root).await?))
        });
        let width = self.options.jobs.clamp(1, WIDTH);
        stream::iter(chosen).buffered(width).try_collect().await
    }

    /// All tags of the source: the tag of the repository, and what the source calls it.
    async fn tags(&self) -> Result<Vec<(String, Tag)>> {
        let prefix = match &self.request.from {
            Location::Store(reference) => format!("{}:", reference.without_name()),
            _ => String::new(),
        };
        let is_archive = matches!(self.request.from, Location::DockerArchive { .. });
        let mut tags = self.from.tags();
        let mut all = Vec::new();
        while let Some(tag) = tags.try_next().await? {
            if let Some(text) = tag.as_str().strip_prefix(&prefix) {
                all.push((text.to_owned(), tag.clone()));
            }
            if all.len() > MAX_TAGS {
                return Err(Error::new(Kind::Limit, "too many tags")
                    .expected(format!("at most {MAX_TAGS}")));
            }
        }
        if is_archive {
            return Ok(archive_names::read(all.into_iter().map(|(_, name)| name).collect()));
        }
        Ok(all)
    }

    /// What the destination is to call the one root. A digest there gives no name.
    fn names(&self) -> Result<Vec<Tag>> {
        let to = &self.request.to;
        let mut names = Vec::new();
        let wanted = match to {
            // Who names tags does not mean `latest` as well.
            Location::Registry(reference) if !self.request.names.is_empty() => reference.name(),
            _ if !self.request.names.is_empty() && archive_names::names_repository(to) => None,
            _ => name_in(to)?,
        };
        if let Some(Name::Tag(tag)) = wanted {
            names.push(tag);
        }
        for text in &self.request.names {
            let name = self.name(text)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn name(&self, text: &str) -> Result<Tag> {
        let to = &self.request.to;
        let name = match to {
            Location::Registry(_) => Tag::registry(text),
            Location::DockerDaemon(_) => {
                return Err(Error::new(Kind::Unsupported, format!("{to} takes one name")));
            }
            Location::DockerArchive { .. } => {
                let many = self.request.tags.is_some();
                archive_names::written(text, &self.request.from, to, many)
            }
            _ => in_words_of(to, text),
        };
        name.map_err(|err| {
            let err = err.with_kind(Kind::Usage).context(format_args!("name in {to}"));
            if self.request.tags.is_some() { err.hint("`--exclude` leaves a tag out") } else { err }
        })
    }

    async fn standing(&self, names: &[Tag]) -> Result<Vec<Option<Digest>>> {
        match self.looker {
            Some(sink) => standing(sink.as_ref(), names).await,
            None => Ok(vec![None; names.len()]),
        }
    }

    async fn select(&self, root: &Descriptor) -> Result<Selection> {
        select(self.from, root, &self.request.platforms, self.request.sparse).await
    }

    /// Of many tags, one without an image for a platform is left out, and that is told.
    async fn select_or_leave(&self, tag: &str, root: &Descriptor) -> Result<Option<Selection>> {
        match self.select(root).await {
            Err(err) if err.kind() == Kind::NotFound => {
                let text = format!("left out the tag {tag}: {err}");
                self.context.observer.event(Event::Warning(&text));
                Ok(None)
            }
            selection => selection.map(Some),
        }
    }

    fn check_digest(&self, root: &Descriptor) -> Result<()> {
        match name_in(&self.request.to)? {
            Some(Name::Digest(_)) => super::tag_for(root, &self.request.to).map(drop),
            _ => Ok(()),
        }
    }

    fn kept(&self, names: &[Tag], root: &Descriptor, standing: &[Option<Digest>]) -> Vec<Kept> {
        let taken = names.iter().zip(standing).filter_map(|(name, found)| {
            let found = found.clone().filter(|found| *found != root.digest)?;
            Some(Kept { name: name.clone(), root: root.digest.clone(), found })
        });
        taken.filter(|_| self.request.no_clobber).collect()
    }

    /// Whether both sides are the same repository, layout or store, as far as their names tell.
    fn is_same_place(&self) -> bool {
        match (&self.request.from, &self.request.to) {
            (Location::Registry(a), Location::Registry(b)) => a.without_name() == b.without_name(),
            (Location::Store(_), Location::Store(_)) => true,
            (Location::Layout { path: a, .. }, Location::Layout { path: b, .. }) => {
                let real = |path: &std::path::Path| path.canonicalize().ok();
                a == b || real(a).is_some_and(|a| Some(a) == real(b))
            }
            _ => false,
        }
    }

    /// Of the tags of the source, those of signatures that did not come along are told.
    async fn copy(&self, tasks: &[Task], listed: &[(String, Tag)]) -> Result<Moved> {
        let many = self.request.tags.is_some();
        let tags = many.then(|| listed.iter().map(|(_, name)| name.clone()).collect());
        let mut company = match self.request.images {
            true => Some(Company::find(self.context, self.request, self.from, tasks).await?),
            false => None,
        };
        let sink: Arc<dyn Sink> = match (self.options.dry_run, self.looker) {
            (false, _) => self.context.sink(&self.request.to)?,
            (true, Some(looker)) => Arc::clone(looker),
            (true, None) => Arc::new(Nowhere(self.request.to.clone())),
        };
        let observer = &self.context.observer;
        let mut engine =
            Engine::new(self.from, sink.as_ref(), self.options, observer).with_tags(tags);
        // Images first: who sees the chart then has what it names.
        let mut ended = async {
            let images = match &mut company {
                Some(company) => company.copy(&sink, self.options).await?,
                None => Summary::default(),
            };
            Ok((engine.run(tasks).await.map_err(|err| self.refused(err))?, images))
        }
        .await;
        if !self.options.dry_run {
            ended = super::ended(sink.as_ref(), ended).await;
        }
        let (mut summary, images) = ended?;
        // What is below an index that was there already was not looked at.
        let whole = summary.unchanged == 0 || !tasks.iter().any(|t| t.root.media_type.is_index());
        let mut left = Vec::new();
        if whole && self.options.with.signatures {
            let names = listed.iter().filter(|(tag, _)| is_left(&engine, tag));
            left.extend(names.map(|(tag, _)| tag.clone()));
        }
        summary.merge(images);
        Ok(Moved { summary, left, named: company.map(|company| company.images) })
    }

    /// "a registry […] MAY" refuse an index whose entries it does not have, and most do.
    fn refused(&self, err: Error) -> Error {
        match (self.request.sparse, &self.request.to) {
            (true, Location::Registry(_)) => err.hint(
                "the registry may take no sparse index; without `--sparse` the index lists only \
                 what is copied",
            ),
            _ => err,
        }
    }

    async fn copied(&self, tag: Option<String>, task: &Task) -> Copied {
        let root = &task.root;
        // What was there already may not have been read, and costs no request for this.
        let local = !matches!(self.request.from, Location::Registry(_) | Location::DockerDaemon(_));
        let (mut images, mut artifact) = (None, None);
        if local || self.from.knows(&root.digest) {
            images = choose::images(self.from, root).await.ok().map(|images| images.len());
            let manifest = self.from.manifest(root).await.ok();
            artifact = manifest.and_then(|manifest| Artifact::of(&manifest));
        }
        // The config of a bundle is an entry too, and artifacts hold no images.
        let others = match artifact.as_ref().map(|artifact| artifact.kind) {
            None => 0,
            Some(Sort::Bundle) => 1,
            Some(Sort::Chart | Sort::Other) => usize::MAX,
        };
        let images = images.map(|images| images.saturating_sub(others));
        Copied { tag, names: task.names.clone(), root: root.clone(), images, artifact }
    }

    fn report(&self, copied: Vec<Copied>, kept: Vec<Kept>, moved: Moved) -> Report {
        Report {
            from: self.request.from.clone(),
            to: self.request.to.clone(),
            dry_run: self.options.dry_run,
            copied,
            kept,
            left: moved.left,
            named: moved.named,
            summary: moved.summary,
        }
    }
}

/// What a copy came to.
struct Moved {
    summary: Summary,
    left: Vec<String>,
    named: Option<Images>,
}

fn task(selection: Selection, names: Vec<Tag>, standing: Vec<Option<Digest>>) -> Task {
    Task {
        only: selection.only.map(Arc::new),
        standing: Some(standing),
        ..Task::new(&selection.root, names)
    }
}

fn narrows(from: &Location, to: &Location) -> Error {
    Error::new(Kind::Usage, format!("{from} would lose its other platforms"))
        .expected("another name for the chosen images")
        .found(to)
        .hint("give the destination another tag")
}

/// Whether a tag is that of a signature of something that was not copied.
fn is_left(engine: &Engine<'_>, tag: &str) -> bool {
    let subject = SUFFIXES.iter().find_map(|suffix| tag.strip_suffix(suffix)?.strip_suffix('.'));
    let subject = subject.filter(|_| is_digest_tag(tag));
    let digest = subject.and_then(|name| name.replacen('-', ":", 1).parse::<Digest>().ok());
    digest.is_some_and(|digest| !engine.reached(&digest))
}
