//! Which versions of a chart are in a place, the newest first, and which of them one means.

use std::str::FromStr;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use conex_spec::annotations::CREATED;
use conex_spec::{Digest, Error, Kind, Location, Manifest, Name, Result, Tag};
use conex_store::Event;

use super::constraint::{Constraint, Version};
use super::{oci, pull};
use crate::artifact::{self, pull::Found};
use crate::discover::nameless;
use crate::inspect::is_of_content;
use crate::open::{Context, name_in};
use crate::tags::{self, Place, tags};

/// How many versions an error names.
const MAX_SHOWN: usize = 5;

/// One version of a chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What the chart is called.
    pub name: String,
    /// The version.
    pub version: String,
    /// The version of what is in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    /// Its tag.
    pub tag: Tag,
    /// Its manifest.
    pub digest: Digest,
    /// When it was made, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// One sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether nobody looks after it any more.
    pub deprecated: bool,
    /// Whether it has a provenance file.
    pub signed: bool,
    /// Why it cannot be used, where it cannot; then its tag tells the version, and nothing else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Row {
    fn new(tag: Tag, digest: Digest) -> Self {
        Self {
            name: String::new(),
            version: String::new(),
            app_version: String::new(),
            tag,
            digest,
            created: None,
            description: String::new(),
            deprecated: false,
            signed: false,
            fault: None,
        }
    }
}

/// Which versions are meant.
#[derive(Clone, Debug, Default)]
pub enum Wanted {
    /// All, prereleases too.
    #[default]
    All,
    /// All but prereleases.
    Releases,
    /// One version or a range: a version that is there just so is meant before the range is.
    Range(String, Constraint),
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self::Range(text.into(), text.parse()?))
    }
}

/// The versions in a place and their tags, the newest first: names alone, nothing is looked into.
///
/// # Errors
/// `NotFound` where there is no such place, `Usage` for a location that names one version.
pub async fn list(
    context: &Context,
    place: &Location,
    wanted: &Wanted,
) -> Result<Vec<(Version, Tag)>> {
    if let Some(name) = place.name() {
        return Err(Error::new(Kind::Usage, format!("{place} names one version"))
            .expected("REGISTRY/REPOSITORY, oci:DIR, oci-archive:FILE or store:NAME")
            .found(name)
            .hint(format!("without it all versions in {} are looked at", place.place())));
    }
    let options = tags::Options { jobs: 1, ..tags::Options::default() };
    let rows = tags(context, &Place::At(place.clone()), &options).await?;
    let mut found = Vec::new();
    for row in rows {
        if let Some(version) = Version::of_tag(&row.name) {
            found.push((version, Tag::new(&row.name)?));
        }
    }
    found.sort_by(|(a, _), (b, _)| b.order(a));
    let exact = |version: &Version, text: &str| version.as_str() == text;
    match wanted {
        Wanted::All => {}
        Wanted::Releases => found.retain(|(version, _)| !version.is_prerelease()),
        Wanted::Range(text, _) if found.iter().any(|(version, _)| exact(version, text)) => {
            found.retain(|(version, _)| exact(version, text));
        }
        Wanted::Range(_, range) => found.retain(|(version, _)| range.matches(version)),
    }
    Ok(found)
}

/// The newest version that is meant. Others than charts may have tags of versions too: each is looked into,
/// the newest first, until one is a chart.
///
/// # Errors
/// `NotFound`, with the newest that there are; `Usage` for a location that names one of them.
pub async fn find(context: &Context, place: &Location, wanted: &Wanted) -> Result<Found> {
    let mut others = Vec::new();
    for (version, tag) in list(context, place, wanted).await? {
        let location = place.with_name(Name::Tag(tag))?;
        let found = match artifact::pull::find(context, &location, None).await {
            // It was taken away since it was listed.
            Err(err) if err.kind() == Kind::NotFound => continue,
            found => found?,
        };
        match &found.manifest {
            Manifest::Image(manifest) if pull::is_chart(manifest) => return Ok(found),
            _ => others.push(version),
        }
    }
    let text = match wanted {
        Wanted::Range(text, _) => text.as_str(),
        _ => "*",
    };
    let err = Error::not_found(format!("no version of the chart in {place} is meant"))
        .expected(text)
        .hint(format!("`conex charts {place}` lists all"));
    if !others.is_empty() {
        return Err(err.found(format!("{}, which are no charts", newest(&others))));
    }
    let all = list(context, place, &Wanted::All).await?;
    let all: Vec<_> = all.into_iter().map(|(version, _)| version).collect();
    Err(err.found(if all.is_empty() { "no versions".to_owned() } else { newest(&all) }))
}

fn newest(versions: &[Version]) -> String {
    let names: Vec<_> = versions.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    names.join(", ")
}

/// Looks into each version that is meant, `jobs` at a time; what is no chart is passed over.
pub async fn versions(
    context: &Context,
    place: &Location,
    wanted: &Wanted,
    limit: Option<usize>,
    jobs: usize,
) -> Result<Vec<Row>> {
    let found = list(context, place, wanted).await?;
    let rows = stream::iter(found).map(|(_, tag)| look(context, place, tag)).buffered(jobs.max(1));
    let rows = rows.try_filter_map(|row| std::future::ready(Ok(row)));
    let rows: Vec<Row> = rows.take(limit.unwrap_or(usize::MAX)).try_collect().await?;
    if rows.is_empty() && limit != Some(0) {
        tell_none(context, place).await?;
    }
    Ok(rows)
}

/// An empty list has its reason: nobody takes it for a place without charts where these have no names.
async fn tell_none(context: &Context, place: &Location) -> Result<()> {
    let nameless = match nameless(context, place).await? {
        0 => String::new(),
        count => format!(
            "; {count} of what is there {} no name, and `conex tag {place}@DIGEST VERSION` gives one",
            if count == 1 { "has" } else { "have" }
        ),
    };
    let text = format!("no chart in {place} has a tag that is a version as asked for{nameless}");
    context.observer.event(Event::Warning(&text));
    Ok(())
}

async fn look(context: &Context, place: &Location, tag: Tag) -> Result<Option<Row>> {
    let location = place.with_name(Name::Tag(tag.clone()))?;
    let source = context.source(&location)?;
    let root = match source.resolve(name_in(&location)?.as_ref()).await {
        // It was taken away since it was listed.
        Err(err) if err.kind() == Kind::NotFound => return Ok(None),
        root => root?,
    };
    let (manifest, chart) = match pull::read(source.as_ref(), &location, &root).await {
        Err(err) if err.kind() == Kind::Usage => return Ok(None),
        // One that is damaged hides no others.
        Err(err) if is_of_content(&err) => {
            let version = Version::of_tag(tag.as_str()).map(|version| version.to_string());
            return Ok(Some(Row {
                version: version.unwrap_or_default(),
                fault: Some(err.to_string()),
                ..Row::new(tag, root.digest)
            }));
        }
        read => read?,
    };
    Ok(Some(Row {
        name: chart.name,
        version: chart.version,
        app_version: chart.app_version,
        created: manifest.annotations.get(CREATED).cloned(),
        description: chart.description,
        deprecated: chart.deprecated,
        signed: manifest.layers.iter().any(|layer| layer.media_type == oci::PROVENANCE),
        ..Row::new(tag, root.digest)
    }))
}
