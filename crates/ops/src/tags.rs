//! `conex tags`: the names in a repository, a layout, an archive or the local store, and what they
//! stand for.
//!
//! Names alone cost one request for each thousand of them. Details cost one for each name, which
//! tells its digest, and some for each digest that was not met before; several go at a time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use conex_spec::annotations::CREATED;
use conex_spec::{
    Descriptor, Digest, Error, ImageConfig, Kind, Location, Manifest, MediaType, Name, Platform,
    Result, Tag, date,
};
use conex_store::{Collection, Source, SourceExt};

use crate::glob::Glob;
use crate::open::{Context, Keep};
use crate::order;
use crate::walk::walk;

/// Where names are listed: a location without a name, or `store:` for the whole local store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A repository, a layout, an archive, or a repository of the local store.
    At(Location),
    /// The whole local store.
    Store,
}

/// Whether a word is the HOST:PORT of a registry rather than an image of Docker's with a tag.
fn is_registry(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, port)| {
        (host == "localhost" || host.contains('.')) && port.parse::<u16>().is_ok()
    })
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "store:" {
            return Ok(Self::Store);
        }
        let location: Location = text.parse()?;
        match location.name() {
            None => Ok(Self::At(location)),
            Some(name) => {
                Err(Error::new(Kind::Usage, "a whole place is meant, not one of its images")
                    .expected(
                        "REGISTRY/REPOSITORY, oci:DIR, oci-archive:FILE, store:NAME or store:",
                    )
                    .found(text.escape_debug())
                    .hint(if is_registry(text) {
                        format!("`conex repos {text}` lists the repositories of a registry")
                    } else {
                        format!("without `{name}` all names there are listed")
                    }))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(location) => location.fmt(f),
            Self::Store => f.write_str("store:"),
        }
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// By the bytes of the name.
    Name,
    /// By version, the newest first.
    Version,
    /// By date, the newest first; what has none comes last.
    Date,
    /// By size, the largest first.
    Size,
}

/// What is listed, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether each name is looked into.
    pub details: bool,
    /// Nothing for the order of the place.
    pub sort: Option<Sort>,
    /// Turns the order round.
    pub reverse: bool,
    /// Which names are listed.
    pub filter: Option<Glob>,
    /// How many, after all the rest.
    pub limit: Option<usize>,
    /// The name after which the list begins, in the order of the place.
    pub last: Option<Tag>,
    /// How many names are looked into at a time.
    pub jobs: usize,
}

/// A name, and where it was asked for what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The tag; of the whole local store the whole name.
    pub name: String,
    /// What it stands for, with its size in bytes of all content, compressed as it is stored.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The root.
    pub digest: Digest,
    /// A manifest or an index.
    pub media_type: MediaType,
    /// The size in bytes of all its content as it is stored, each digest counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When it was made, as RFC 3339 writes it: the annotation, or what the first config says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What it runs on.
    pub platforms: Vec<Platform>,
    /// Why it cannot be used, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Lists names.
///
/// # Errors
/// `NotFound` where there is no such place.
pub async fn tags(context: &Context, place: &Place, options: &Options) -> Result<Vec<Row>> {
    let listed = Listed::open(context, place)?;
    let names = names(listed.names(options), options).await?;
    if let (Place::At(location @ Location::Store(_)), true) = (place, names.is_empty()) {
        listed.check(location).await?;
    }
    let details = options.details || matches!(options.sort, Some(Sort::Date | Sort::Size));
    let mut rows = match details {
        true => look(&listed, names, options.jobs.max(1)).await?,
        false => names.into_iter().map(|name| Row { name, details: None }).collect(),
    };
    sort(&mut rows, options);
    rows.truncate(options.limit.unwrap_or(usize::MAX));
    Ok(rows)
}

/// A place whose names are listed.
struct Listed {
    source: Arc<dyn Source>,
    /// What stands before each name where it is asked for.
    prefix: String,
    /// A registry can begin in the midst of its list.
    registry: Option<conex_client::Repository>,
}

impl Listed {
    fn open(context: &Context, place: &Place) -> Result<Self> {
        let (source, prefix): (Arc<dyn Source>, _) = match place {
            Place::Store => (Arc::new(context.local_store(&Location::Memory)?), String::new()),
            Place::At(location @ Location::Store(reference)) => {
                (context.source(location)?, format!("{}:", reference.without_name()))
            }
            Place::At(location) => (context.source_of_all(location)?, String::new()),
        };
        let registry = match place {
            Place::At(Location::Registry(reference)) => Some(context.client.repository(reference)),
            _ => None,
        };
        Ok(Self { source, prefix, registry })
    }

    fn names<'a>(&'a self, options: &'a Options) -> BoxStream<'a, Result<String>> {
        let last = options.last.as_ref();
        let tags = match &self.registry {
            Some(repository) => {
                // Where all that comes is wanted, no more is asked for.
                let page = options.limit.filter(|_| options.filter.is_none() && !gathers(options));
                return repository.tags_after(last, page).map_ok(|tag| tag.to_string()).boxed();
            }
            None => self.source.tags(),
        };
        let own = tags.try_filter_map(move |tag| {
            let name = tag.as_str().strip_prefix(self.prefix.as_str()).map(str::to_owned);
            let after = |name: &String| last.is_none_or(|last| name.as_str() > last.as_str());
            std::future::ready(Ok(name.filter(after)))
        });
        own.boxed()
    }

    /// A name of the local store is a place only if something has it.
    async fn check(&self, location: &Location) -> Result<()> {
        let begins = |tag: Tag| tag.as_str().starts_with(&self.prefix);
        let mut known = self.source.tags().map_ok(begins);
        while let Some(known) = known.try_next().await? {
            if known {
                return Ok(());
            }
        }
        Err(Error::not_found(format!("{location} is not in the local store"))
            .hint("`conex tags store:` lists what is there"))
    }

    fn name(&self, row: &str) -> Result<Name> {
        Tag::new(&format!("{}{row}", self.prefix)).map(Name::Tag)
    }
}

/// Whether all names must be there before the first is shown.
fn gathers(options: &Options) -> bool {
    options.sort.is_some() || options.reverse
}

async fn names(names: BoxStream<'_, Result<String>>, options: &Options) -> Result<Vec<String>> {
    let fits = |name: &String| options.filter.as_ref().is_none_or(|glob| glob.fits(name));
    let wanted = names.try_filter(|name| std::future::ready(fits(name)));
    match options.limit {
        Some(limit) if !gathers(options) => wanted.take(limit).try_collect().await,
        _ => wanted.try_collect().await,
    }
}

/// Looks into each name, and into each digest once.
async fn look(listed: &Listed, names: Vec<String>, jobs: usize) -> Result<Vec<Row>> {
    let resolve = |name: String| async move {
        let root = match listed.source.resolve(Some(&listed.name(&name)?)).await {
            // It was taken away since it was listed.
            Err(err) if err.kind() == Kind::NotFound && listed.registry.is_some() => None,
            root => Some(root?),
        };
        Ok::<_, Error>((name, root))
    };
    let roots: Vec<(String, Option<Descriptor>)> =
        stream::iter(names).map(resolve).buffered(jobs).try_collect().await?;
    let mut distinct: HashMap<Digest, Descriptor> = HashMap::new();
    for (_, root) in &roots {
        distinct.extend(root.iter().map(|root| (root.digest.clone(), root.clone())));
    }
    let source = listed.source.as_ref();
    let details = stream::iter(distinct.into_values()).map(|root| async move {
        Ok::<_, Error>((root.digest.clone(), details(source, &root).await?))
    });
    let details: HashMap<Digest, Details> = details.buffer_unordered(jobs).try_collect().await?;
    let row = |(name, root): (String, Option<Descriptor>)| {
        let details = details.get(&root?.digest).cloned();
        Some(Row { name, details })
    };
    Ok(roots.into_iter().filter_map(row).collect())
}

/// What a root is; what is wrong with its content is told, and ends no list.
async fn details(source: &dyn Source, root: &Descriptor) -> Result<Details> {
    let mut details = Details {
        digest: root.digest.clone(),
        media_type: root.media_type.clone(),
        size: None,
        created: None,
        platforms: Vec::new(),
        fault: None,
    };
    match read(source, root, &mut details).await {
        Err(err) if matches!(err.kind(), Kind::Network | Kind::Unauthorized | Kind::Io) => Err(err),
        Err(err) => Ok(Details { fault: Some(err.to_string()), ..details }),
        Ok(()) => Ok(details),
    }
}

async fn read(source: &dyn Source, root: &Descriptor, details: &mut Details) -> Result<()> {
    let graph = walk(source, root).await?;
    details.size = Some(graph.size());
    let Some(top) = graph.manifests.last() else { return Ok(()) };
    details.created = top.manifest.annotations().get(CREATED).cloned();
    for node in &graph.manifests {
        let Manifest::Image(image) = node.manifest.value() else { continue };
        let stated = node.descriptor.platform.clone();
        if !image.is_image() || stated.as_ref().is_some_and(|platform| !platform.is_known()) {
            continue;
        }
        // One config is asked for its date, and those of images whose index names no platform.
        if details.created.is_none() || stated.is_none() {
            let config = source.document::<ImageConfig>(&image.config).await?;
            if details.created.is_none() {
                details.created.clone_from(&config.created);
            }
            details.platforms.push(stated.unwrap_or_else(|| config.platform()));
        } else {
            details.platforms.extend(stated);
        }
    }
    Ok(())
}

fn sort(rows: &mut [Row], options: &Options) {
    let created =
        |row: &Row| row.details.as_ref().and_then(|it| date::rfc3339(it.created.as_deref()?));
    let size = |row: &Row| row.details.as_ref().and_then(|it| it.size);
    match options.sort {
        None => {}
        Some(Sort::Name) => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Some(Sort::Version) => rows.sort_by(|a, b| order::by_version(&b.name, &a.name)),
        Some(Sort::Date) => {
            rows.sort_by_cached_key(|row| (Reverse(created(row)), row.name.clone()));
        }
        Some(Sort::Size) => {
            rows.sort_by_cached_key(|row| (Reverse(size(row)), row.name.clone()));
        }
    }
    if options.reverse {
        rows.reverse();
    }
}

/// The names of the local store without their tags, each once, in their order.
pub(crate) fn stored_repositories(context: &Context) -> Result<Vec<String>> {
    let store = context.keep(&Keep::Store)?;
    let names = Collection::entries(store.as_ref())?.into_iter().map(|entry| entry.name);
    let references = names.filter_map(|name| name.parse::<conex_spec::Reference>().ok());
    let mut names: Vec<String> =
        references.map(|reference| reference.without_name().to_string()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}
