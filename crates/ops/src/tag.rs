//! `conex tag`: another name for what is there.

use serde::Serialize;

use conex_spec::{Descriptor, Error, Kind, Location, Name, Reference, Result, Tag};
use conex_store::{Sink, Source, SourceExt};

use crate::copy::tag_for;
use crate::open::{Context, name_in, written_once};
use crate::walk::Walk;

/// What was named.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its new names.
    pub locations: Vec<Location>,
    /// What they stand for.
    pub root: Descriptor,
}

/// Gives an image or artifact more names in the same place. A registry gets the bytes of the
/// manifest once more and no blob, under as many names at once as it takes.
pub async fn tag(context: &Context, from: &Location, new: &[String]) -> Result<Report> {
    let locations: Vec<Location> = new.iter().map(|new| named(from, new)).collect::<Result<_>>()?;
    let (source, root) = context.resolve(from).await?;
    let Some(place) = locations.first() else { return Ok(Report { locations, root }) };
    let mut tags = Vec::new();
    for location in &locations {
        tags.extend(tag_for(&root, location)?);
    }
    let sink = context.sink(place)?;
    if matches!(place, Location::Registry(_)) && root.media_type.is_manifest() {
        let bytes = source.read(&root).await?;
        sink.publish(&root, bytes, &tags).await?;
    } else {
        make_durable(source.as_ref(), &root, sink.as_ref()).await?;
        for tag in &tags {
            sink.tag(&root, Some(tag)).await?;
        }
    }
    sink.finish().await?;
    Ok(Report { locations, root })
}

/// What a command without sync or another tool put there may not be on the disk yet; a look makes
/// it so. Content that is missing or damaged is no concern of a name.
async fn make_durable(from: &dyn Source, root: &Descriptor, to: &dyn Sink) -> Result<()> {
    let mut below = Walk::new(from, None);
    below.add(root, None)?;
    let Ok(graph) = below.run().await else { return Ok(()) };
    for blob in graph.content() {
        to.has(blob).await?;
    }
    Ok(())
}

/// The tags that new names mean beside a location, as [`tag`] takes them; archives take them too, while
/// they are written.
///
/// # Errors
/// `Usage` for what is no name there.
pub fn more(location: &Location, new: &[String]) -> Result<Vec<Tag>> {
    let tags = new.iter().map(|new| match location {
        Location::OciArchive { .. } => Tag::new(new).map_err(|err| err.with_kind(Kind::Usage)),
        _ => match name_in(&named(location, new)?)? {
            Some(Name::Tag(tag)) => Ok(tag),
            _ => Err(Error::new(Kind::Usage, "not a tag").found(new)),
        },
    });
    tags.collect()
}

/// What a new name means beside an image: a tag, or in the local store any name, or the whole
/// location, which must then be in the same place.
fn named(from: &Location, new: &str) -> Result<Location> {
    let whole = ["oci:", "store:", "docker://"].iter().any(|prefix| new.starts_with(prefix));
    let mistyped = |err: Error| err.with_kind(Kind::Usage);
    let location = match from {
        Location::OciArchive { .. } | Location::DockerArchive { .. } => {
            return Err(written_once(from));
        }
        _ if whole => new.parse().map_err(mistyped)?,
        Location::Layout { .. } => {
            from.with_name(Name::Tag(Tag::new(new).map_err(mistyped)?)).map_err(mistyped)?
        }
        Location::Store(_) => Location::Store(new.parse().map_err(mistyped)?),
        Location::Registry(reference) if new.contains('/') => {
            let other: Reference = new.parse().map_err(mistyped)?;
            // Docker's rules may have made another registry of it than was meant.
            if other.without_name() != reference.without_name() {
                return Err(elsewhere(from, new));
            }
            Location::Registry(other)
        }
        Location::Registry(_) => {
            let tag = Tag::registry(new).map_err(mistyped)?;
            from.with_name(Name::Tag(tag)).map_err(mistyped)?
        }
        other => {
            return Err(Error::new(Kind::Usage, format!("{other} cannot be given names"))
                .hint("`conex copy FROM TO` writes it under another one"));
        }
    };
    let same = match (from, &location) {
        (Location::Layout { path, .. }, Location::Layout { path: other, .. }) => path == other,
        (Location::Registry(a), Location::Registry(b)) => a.without_name() == b.without_name(),
        (Location::Store(_), Location::Store(_)) => true,
        _ => false,
    };
    if same { Ok(location) } else { Err(elsewhere(from, new)) }
}

fn elsewhere(from: &Location, new: &str) -> Error {
    Error::new(Kind::Usage, format!("{from} is in another place than its new name"))
        .found(new)
        .hint("`conex copy FROM TO` copies between places")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_named_so_is_a_mistake_of_the_caller() {
        for (from, new) in [
            ("oci:dir:a", ""),
            ("store:a", "UPPER case"),
            ("store:a", "store:"),
            ("x.io/app:1", "not a tag"),
            ("x.io/app:1", "x.io/app:?"),
            ("oci-archive:a.tar:1", "2"),
            ("docker-archive:a.tar", "2"),
            ("docker-daemon:a", "2"),
        ] {
            let err = named(&from.parse().unwrap(), new).unwrap_err();
            assert_eq!(err.kind(), Kind::Usage, "{from} {new}: {err}");
        }
    }

    #[test]
    fn a_new_name_is_in_the_same_place() {
        let named = |from: &str, new: &str| {
            named(&from.parse().unwrap(), new).map(|location| location.to_string()).ok()
        };
        for (from, new, expected) in [
            ("oci:dir:a", "b", Some("oci:dir:b")),
            ("oci:dir:a", "x.io/b:1", Some("oci:dir:x.io/b:1")),
            ("oci:dir:a", "oci:dir:b", Some("oci:dir:b")),
            ("oci:dir:a", "oci:other:b", None),
            ("oci:dir:a", "store:b", None),
            ("store:a", "b:2", Some("store:docker.io/library/b:2")),
            ("store:a", "store:x.io/b:1", Some("store:x.io/b:1")),
            ("x.io/app:1", "2", Some("x.io/app:2")),
            ("x.io/app:1", "x.io/app:2", Some("x.io/app:2")),
            ("x.io/app:1", "x.io/other:2", None),
            ("x.io/app:1", "not a tag", None),
            ("oci-archive:a.tar:1", "2", None),
        ] {
            assert_eq!(named(from, new).as_deref(), expected, "{from} {new}");
        }
    }
}
