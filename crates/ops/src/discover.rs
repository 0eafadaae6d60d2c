//! `conex discover`: the tree of what refers to an image, an index or an artifact, all levels of it.
//! distribution-spec, "Listing Referrers".
//!
//! Whoever may push can list what he wants: what is shown are claims, and none of it is verified.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use conex_spec::annotations::CREATED;
use conex_spec::date;
use conex_spec::layout::INDEX_FILE;
use conex_spec::{
    Descriptor, Digest, Document, Error, Glob, ImageIndex, Kind, Location, Manifest, Name,
    Platform, Result,
};
use conex_store::{Source, SourceExt};

use crate::choose::choose;
use crate::open::{Context, name_in};
use crate::walk::{MAX_DEPTH, MAX_NODES};

/// How many lists are asked for at a time.
const WIDTH: usize = 48;

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of an index, what refers to the image for this platform.
    pub platform: Option<Platform>,
    /// Only artifacts of one of these types, and the way to them; of all without any.
    pub types: Vec<Glob>,
    /// Only artifacts with all of these annotations; a key alone may have any value.
    pub annotations: Vec<(String, Option<String>)>,
    /// Of the artifacts of one type that refer to the same thing, only the newest.
    pub latest: bool,
    /// How many levels are looked at; all without it.
    pub depth: Option<usize>,
}

/// What refers to a root.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is.
    pub location: Location,
    /// The root, and below it what refers to it.
    #[serde(flatten)]
    pub root: Node,
    /// What is asked for, on all levels, as the tree shows it.
    pub matching: Vec<Descriptor>,
    /// How many these are.
    pub count: usize,
    /// How many there are as deep as was looked, whatever else was asked for.
    pub found: usize,
    /// Whether the root itself is not there: then it is what its referrers say of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}

/// A manifest, and what refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What it is: type, digest, size in bytes, artifact type and annotations.
    pub descriptor: Descriptor,
    /// When it says that it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Whether it is asked for, and not only on the way to what is.
    pub matches: bool,
    /// Whether it is shown elsewhere in the tree, with what is below it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// What has it as its subject, in the order of their dates, the oldest first.
    pub referrers: Vec<Node>,
}

/// Finds all that refers to what a location names, and to that, and so on.
///
/// # Errors
/// `NotFound` where there is neither a root nor anything that refers to it; `Limit` where there is more of
/// it than any real artifact has.
pub async fn discover(context: &Context, location: &Location, filter: &Filter) -> Result<Report> {
    let source = context.source(location)?;
    let name = name_in(location)?;
    let (mut root, missing) = match (source.resolve(name.as_ref()).await, name) {
        (Ok(root), _) => (root, false),
        (Err(err), Some(Name::Digest(digest))) if err.kind() == Kind::NotFound => {
            (absent(context, location, source.as_ref(), &digest, err).await?, true)
        }
        (Err(err), _) => return Err(err),
    };
    if let Some(platform) = &filter.platform {
        root = choose(source.as_ref(), &root, platform).await?;
    }
    if !root.media_type.is_manifest() {
        return Err(Error::new(Kind::Usage, format!("nothing refers to {location}"))
            .expected("a manifest or an index")
            .found(root.media_type));
    }
    let known = table(context, location, source.as_ref()).await?;
    let found = levels(source.as_ref(), known, &root, filter.depth.unwrap_or(MAX_DEPTH)).await?;
    let mut root = node(root, &found, &mut HashSet::new(), 0);
    let found = matching(&root).len();
    prune(&mut root, filter);
    let matching: Vec<_> = matching(&root).into_iter().cloned().collect();
    Ok(Report { location: location.clone(), count: matching.len(), matching, root, found, missing })
}

/// What is known of a root that is not there: clients may "push a manifest and referrers to that manifest in
/// either order" (distribution-spec, "Push"). Its type and size are claims of a referrer.
async fn absent(
    context: &Context,
    location: &Location,
    source: &dyn Source,
    digest: &Digest,
    err: Error,
) -> Result<Descriptor> {
    digest.algorithm()?;
    let referrers = match table(context, location, source).await? {
        Some(mut table) => table.remove(digest).unwrap_or_default(),
        None => source.referrers(digest).await?,
    };
    // A list may outlive what it lists.
    for referrer in referrers.iter().take(WIDTH) {
        let manifest = source.manifest(referrer).await.ok();
        let subject = manifest.as_ref().and_then(|manifest| manifest.subject());
        if let Some(subject) = subject.filter(|subject| subject.digest == *digest) {
            return Ok(subject.bare());
        }
    }
    Err(err)
}

/// How many roots of a place on this machine have no name there.
pub(crate) async fn nameless(context: &Context, location: &Location) -> Result<usize> {
    let roots = roots(context, location).await?.unwrap_or_default();
    let is_nameless = |root: &&Descriptor| {
        root.ref_name().is_none_or(|name| name.is_empty() || name == root.digest.as_str())
    };
    Ok(roots.iter().filter(is_nameless).count())
}

/// Who refers to what.
type Table = HashMap<Digest, Vec<Descriptor>>;

/// What a place on this machine lists, read once; nothing for one that can be asked.
async fn table(
    context: &Context,
    location: &Location,
    source: &dyn Source,
) -> Result<Option<Table>> {
    let Some(roots) = roots(context, location).await? else { return Ok(None) };
    let manifests = roots.into_iter().filter(|root| root.media_type.is_manifest());
    let read = manifests.map(|root| async move {
        // One that is missing or damaged refers to nothing.
        let manifest = source.manifest(&root).await.ok();
        (root, manifest)
    });
    let mut table = Table::new();
    let mut read = stream::iter(read).buffered(WIDTH);
    while let Some((root, manifest)) = read.next().await {
        let Some(manifest) = manifest else { continue };
        if let Some(subject) = manifest.subject()
            && let Some(entry) = manifest.as_referrer(&root.digest, root.size, &subject.digest)
        {
            table.entry(subject.digest.clone()).or_default().push(entry);
        }
        // The referrers tag, as other tools write it (distribution-spec, "Referrers Tag Schema").
        if let (Some(subject), Manifest::Index(index)) = (of_tag(&root), &*manifest) {
            table.entry(subject).or_default().extend(index.manifests.iter().cloned());
        }
    }
    Ok(Some(table))
}

/// What a place on this machine lists, each with its name among the annotations.
async fn roots(context: &Context, location: &Location) -> Result<Option<Vec<Descriptor>>> {
    Ok(Some(match location {
        Location::Layout { .. } | Location::Store(_) => {
            let keep = context.keep_of(location)?;
            let entries = conex_store::bridge::blocking(move || keep.entries()).await?;
            // The name of an entry is not among its annotations any more.
            let named = entries.into_iter().map(|entry| {
                let mut root = entry.root;
                let key = conex_spec::descriptor::REF_NAME.to_owned();
                root.annotations.insert(key, entry.name);
                root
            });
            named.collect()
        }
        Location::OciArchive { .. } => {
            let index = context.oci_archive(location)?.index_file().await?;
            match index {
                Some(index) => {
                    Document::<ImageIndex>::parse(index)
                        .map_err(|err| err.context(INDEX_FILE))?
                        .into_value()
                        .manifests
                }
                None => Vec::new(),
            }
        }
        Location::DockerArchive { .. } | Location::DockerDaemon(_) => Vec::new(),
        _ => return Ok(None),
    }))
}

/// The subject whose list a root is by its name.
fn of_tag(root: &Descriptor) -> Option<Digest> {
    let name = root.ref_name()?;
    let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
    let (algorithm, hex) = tag.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Level by level, many lists at a time, each digest once.
async fn levels(
    source: &dyn Source,
    known: Option<Table>,
    root: &Descriptor,
    depth: usize,
) -> Result<Table> {
    let (mut found, mut seen) = (Table::new(), HashSet::from([root.digest.clone()]));
    let (mut level, known) = (vec![root.digest.clone()], &known);
    for at in 0..=depth.min(MAX_DEPTH) {
        if level.is_empty() || at == depth {
            break;
        }
        let lists = std::mem::take(&mut level).into_iter().map(|subject| async move {
            let list = match known {
                Some(table) => table.get(&subject).cloned().unwrap_or_default(),
                None => source.referrers(&subject).await?,
            };
            Ok::<_, Error>((subject, typed(source, each_once(list)).await?))
        });
        let mut lists = stream::iter(lists).buffered(WIDTH);
        while let Some((subject, list)) = lists.try_next().await? {
            for entry in &list {
                if seen.insert(entry.digest.clone()) {
                    level.push(entry.digest.clone());
                }
            }
            if seen.len() > MAX_NODES {
                return Err(Error::new(Kind::Limit, "too much refers to it")
                    .expected(format!("at most {MAX_NODES} artifacts")));
            }
            found.insert(subject, list);
        }
    }
    Ok(found)
}

fn each_once(mut list: Vec<Descriptor>) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    list.retain(|entry| seen.insert(entry.digest.clone()));
    list
}

/// A list need not say of what type its entries are; their manifests do.
async fn typed(source: &dyn Source, list: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
    let read = list.into_iter().map(|mut entry| async move {
        if entry.artifact_type.is_none() && entry.media_type.is_manifest() {
            match source.manifest(&entry).await {
                Ok(manifest) => entry.artifact_type = manifest.referrer_type().cloned(),
                // Lists of referrers outlive what they list.
                Err(err) if err.kind() == Kind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        Ok(entry)
    });
    stream::iter(read).buffered(WIDTH).try_collect().await
}

/// The tree, in which each digest is opened once, so that no cycle is endless (rule J6).
fn node(descriptor: Descriptor, found: &Table, shown: &mut HashSet<Digest>, depth: usize) -> Node {
    let created = descriptor.annotations.get(CREATED).cloned();
    let below = found.get(&descriptor.digest).filter(|list| !list.is_empty());
    let fresh = shown.insert(descriptor.digest.clone());
    let mut list = match below {
        Some(list) if fresh && depth < MAX_DEPTH => list.clone(),
        _ => Vec::new(),
    };
    list.sort_by_cached_key(|entry| (date_of(entry), entry.digest.clone()));
    let mut referrers = Vec::new();
    for entry in list {
        referrers.push(node(entry, found, shown, depth + 1));
    }
    let repeated = below.is_some() && !fresh;
    Node { descriptor, created, matches: true, repeated, referrers }
}

/// Of each type the last that is asked for itself; those that say no date are older than all others. The
/// way to what is below another stays.
fn newest(nodes: Vec<Node>) -> Vec<Node> {
    let fitting = nodes.iter().enumerate().filter(|(_, node)| node.matches);
    let last: HashMap<_, _> =
        fitting.map(|(at, node)| (node.descriptor.artifact_type.clone(), at)).collect();
    let keep = |at: usize, node: &Node| match node.matches {
        true => last.get(&node.descriptor.artifact_type) == Some(&at),
        false => !node.referrers.is_empty(),
    };
    nodes.into_iter().enumerate().filter(|(at, node)| keep(*at, node)).map(|(_, it)| it).collect()
}

fn date_of(entry: &Descriptor) -> Option<(i64, u32)> {
    entry.annotations.get(CREATED).and_then(|text| date::rfc3339(text))
}

/// Leaves what is asked for, and the way to it.
fn prune(node: &mut Node, filter: &Filter) {
    node.matches = fits(&node.descriptor, filter);
    for below in &mut node.referrers {
        prune(below, filter);
    }
    node.referrers.retain(|below| below.matches || !below.referrers.is_empty());
    if filter.latest {
        node.referrers = newest(std::mem::take(&mut node.referrers));
    }
}

/// Whether an artifact is asked for, whatever is below it.
fn fits(entry: &Descriptor, filter: &Filter) -> bool {
    let kind = entry.artifact_type.as_ref().unwrap_or(&entry.media_type);
    (filter.types.is_empty() || filter.types.iter().any(|glob| glob.fits(kind.as_str())))
        && filter.annotations.iter().all(|(key, value)| {
            let said = entry.annotations.get(key);
            said.is_some_and(|it| value.as_ref().is_none_or(|value| value == it))
        })
}

/// What is asked for below a node.
fn matching(node: &Node) -> Vec<&Descriptor> {
    let mut all = Vec::new();
    for below in &node.referrers {
        all.extend(below.matches.then_some(&below.descriptor));
        all.extend(matching(below));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;
    use conex_store::Memory;

    fn entry(name: &str) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::MANIFEST, name.as_bytes());
        entry.artifact_type = Some(MediaType::new(name));
        entry
    }

    /// Lists as a registry may claim them: `a/b c/d` says that `a` refers to `b`, and `c` to `d`.
    fn claims_of(text: &str) -> Table {
        let mut table = Table::new();
        for claim in text.split(' ').filter(|claim| !claim.is_empty()) {
            let (referrer, subject) = claim.split_once('/').unwrap();
            table.entry(entry(subject).digest).or_default().push(entry(referrer));
        }
        table
    }

    async fn tree(text: &str, depth: usize, filter: &Filter) -> Result<String> {
        let found = levels(&Memory::new(), Some(claims_of(text)), &entry("x"), depth).await?;
        let mut root = node(entry("x"), &found, &mut HashSet::new(), 0);
        prune(&mut root, filter);
        Ok(shown(&root))
    }

    /// `x(a(b) c)`, `a*` for one that is shown elsewhere, and `~a` for one on the way.
    fn shown(node: &Node) -> String {
        let way = if node.matches || node.descriptor == entry("x") { "" } else { "~" };
        let name = format!("{way}{}", node.descriptor.artifact_type.as_ref().unwrap());
        let mut below: Vec<_> = node.referrers.iter().map(shown).collect();
        below.sort();
        let mark = if node.repeated { "*" } else { "" };
        match below.is_empty() {
            true => name + mark,
            false => format!("{name}({})", below.join(" ")),
        }
    }

    #[tokio::test]
    async fn levels_end_where_they_should() {
        let all = Filter::default();
        for (claims, depth, expected) in [
            ("", 9, "x"),
            ("a/x b/x c/a", 9, "x(a(c) b)"),
            ("a/x b/a c/b", 0, "x"),
            ("a/x b/a c/b", 1, "x(a)"),
            ("a/x b/a c/b", 2, "x(a(b))"),
            // The same thing listed twice, and below two others.
            ("a/x a/x", 9, "x(a)"),
            ("x/x", 9, "x(x*)"),
            ("a/x x/a", 9, "x(a(x*))"),
            ("a/x b/a a/b", 9, "x(a(b(a*)))"),
        ] {
            assert_eq!(tree(claims, depth, &all).await.unwrap(), expected, "{claims:?} {depth}");
        }
        // Of what is below two others, one place shows all and the other says so.
        let twice = tree("a/x b/x c/a c/b d/c", 9, &all).await.unwrap();
        assert!(["x(a(c(d)) b(c*))", "x(a(c*) b(c(d)))"].contains(&&*twice), "{twice}");
    }

    #[tokio::test]
    async fn a_chain_without_an_end_has_one() {
        let chain = |length: usize| {
            let mut claims = "n0/x".to_owned();
            for at in 1..length {
                claims += &format!(" n{at}/n{}", at - 1);
            }
            claims
        };
        let shown = tree(&chain(MAX_DEPTH + 50), usize::MAX, &Filter::default()).await.unwrap();
        assert_eq!(shown.matches('(').count(), MAX_DEPTH);
        let wide = (0..=MAX_NODES).map(|at| entry(&format!("w{at}"))).collect();
        let table = Table::from([(entry("x").digest, wide)]);
        let err = levels(&Memory::new(), Some(table), &entry("x"), 9).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Limit);
    }

    #[tokio::test]
    async fn the_way_to_what_is_asked_for_stays() {
        let types = |text: &str| Filter { types: vec![text.parse().unwrap()], ..Filter::default() };
        let claims = "aa/x bb/x cc/aa dd/cc";
        for (wanted, expected) in
            [("c*", "x(~aa(cc))"), ("dd", "x(~aa(~cc(dd)))"), ("bb", "x(bb)"), ("zz", "x")]
        {
            assert_eq!(tree(claims, 9, &types(wanted)).await.unwrap(), expected, "{wanted}");
        }
        // Who is on the way is not counted.
        let found = levels(&Memory::new(), Some(claims_of(claims)), &entry("x"), 9).await.unwrap();
        let mut root = node(entry("x"), &found, &mut HashSet::new(), 0);
        assert_eq!(matching(&root).len(), 4);
        prune(&mut root, &types("dd"));
        assert_eq!(matching(&root), [&entry("dd")]);
    }

    /// Of what is asked for, and not of what else there is.
    #[test]
    fn the_newest_of_each_type_is_the_one_with_the_last_date() {
        let made = |kind: &str, date: &str, stage: &str| {
            let mut made = entry(kind);
            made.digest = Digest::sha256(format!("{kind}{date}").as_bytes());
            for (key, value) in [(CREATED, date), ("stage", stage)] {
                if !value.is_empty() {
                    made.annotations.insert(key.to_owned(), value.to_owned());
                }
            }
            made
        };
        let list = vec![
            made("a", "2026-03-01T00:00:00+01:00", "test"),
            made("a", "2026-02-28T23:30:00Z", ""),
            made("a", "", "test"),
            made("b", "soon", "test"),
        ];
        let found = Table::from([(entry("x").digest, list)]);
        let newest = |annotations: &[(&str, Option<&str>)]| {
            let annotations = annotations.iter();
            let annotations =
                annotations.map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
            let filter =
                Filter { latest: true, annotations: annotations.collect(), ..Filter::default() };
            let mut root = node(entry("x"), &found, &mut HashSet::new(), 0);
            prune(&mut root, &filter);
            let mut dates: Vec<_> =
                root.referrers.into_iter().map(|it| it.created.unwrap_or_default()).collect();
            dates.sort();
            dates
        };
        assert_eq!(newest(&[]), ["2026-02-28T23:30:00Z", "soon"]);
        assert_eq!(newest(&[("stage", Some("test"))]), ["2026-03-01T00:00:00+01:00", "soon"]);
        assert_eq!(newest(&[("stage", Some("live"))]), [""; 0]);
    }
}
