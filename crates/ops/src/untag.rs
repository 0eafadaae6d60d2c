//! `conex untag`: tags are taken away, and nothing else.
//!
//! In a registry the manifest stays, by its digest. In a layout and in the local store it stays a
//! root, listed without a name, so that `conex gc` keeps it.

use serde::Serialize;

use conex_spec::{Descriptor, Error, Kind, Location, Name, Result, Tag};
use conex_store::{Event, Source, bridge};

use crate::manifest::whole_archive;
use crate::open::{Context, name_in};

/// A tag that was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it was called.
    pub location: Location,
    /// What it stood for, which is there still.
    pub root: Descriptor,
}

/// Takes tags away. All are looked for first, so that a mistyped one changes nothing.
///
/// # Errors
/// `Unsupported` where a registry deletes no tags, and for archives.
pub async fn untag(context: &Context, locations: &[Location]) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for location in locations {
        let tag = tag_in(location)?;
        let (_, root) = context.resolve(location).await?;
        all.push((tag, Row { location: location.clone(), root }));
    }
    let mut rows = Vec::new();
    for (tag, row) in all {
        take(context, tag, &row).await?;
        rows.push(row);
    }
    Ok(rows)
}

fn tag_in(location: &Location) -> Result<Tag> {
    match location {
        Location::OciArchive { .. } | Location::DockerArchive { .. } => {
            return Err(whole_archive(location));
        }
        Location::DockerDaemon(_) => {
            return Err(Error::new(Kind::Unsupported, "an engine's images are its own")
                .hint("`docker rmi NAME` takes a name away there"));
        }
        _ => {}
    }
    // A tag must be typed: nobody means `latest` who leaves it out here.
    match (location.name(), name_in(location)?) {
        (Some(Name::Tag(_)), Some(Name::Tag(tag))) => Ok(tag),
        _ => Err(Error::new(Kind::Usage, format!("{location} names no tag"))
            .expected("REGISTRY/REPOSITORY:TAG, oci:DIR:TAG or store:NAME:TAG")
            .hint("`conex delete` deletes manifests")),
    }
}

async fn take(context: &Context, tag: Tag, row: &Row) -> Result<()> {
    if let Location::Registry(reference) = &row.location {
        let repository = context.client.repository(reference);
        repository.untag(&tag).await?;
        let name = Name::Digest(row.root.digest.clone());
        if let Err(err) = repository.resolve(Some(&name)).await
            && err.kind() == Kind::NotFound
        {
            // Nothing can be done any more, but it must not go unnoticed.
            let text = format!(
                "the registry has deleted the manifest {} with the tag {tag}, and so its other tags",
                row.root.digest
            );
            context.observer.event(Event::Warning(&text));
        }
        return Ok(());
    }
    let collection = context.keep_of(&row.location)?;
    let location = row.location.clone();
    bridge::blocking(move || match collection.unname(&tag)? {
        true => Ok(()),
        false => Err(Error::not_found(format!("{location} is not listed"))),
    })
    .await
}
