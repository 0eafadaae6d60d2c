//! `conex rm`: names are taken away; the content is collected later.
//!
//! A digest names a root, and in a layout a root may have several names. They all go with it, which
//! nobody who types a digest sees: so they are told, and more than one only goes on request.

use std::sync::Arc;

use serde::Serialize;

use conex_spec::{Error, Kind, Location, Name, Result, Tag};
use conex_store::{Collection, bridge};

use crate::choose::listed;
use crate::open::{Context, name_in};

/// What was taken away.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The names, every one; the location by digest where a root had none.
    pub removed: Vec<Location>,
}

/// Takes names away. All are looked for first, so that a mistyped one changes nothing. With
/// `force` a digest may take several names with it.
///
/// # Errors
/// `Usage` for a digest with several names without `force`; `NotFound` for what is not there.
pub async fn rm(context: &Context, names: &[Location], force: bool) -> Result<Report> {
    let mut all = Vec::new();
    for location in names {
        let collection = context.keep_of(location)?;
        let name = name_in(location)?.ok_or_else(|| {
            Error::new(Kind::Usage, format!("{location} names no image"))
                .expected("`oci:DIR:TAG`, `oci:DIR@DIGEST` or `store:NAME`")
        })?;
        collection.resolve(Some(&name)).await?;
        if !force && matches!(location, Location::Layout { .. }) {
            check_single(&collection, &name, location).await?;
        }
        all.push((collection, name, location));
    }
    let mut removed = Vec::new();
    for (collection, name, location) in all {
        let (of, wanted) = (Arc::clone(&collection), name.clone());
        let gone = bridge::blocking(move || of.remove(&wanted)).await?;
        if gone.is_empty() {
            return Err(not_listed(&names_of(collection, &name).await?, location));
        }
        removed.extend(gone.iter().map(|name| named(location, name)));
    }
    Ok(Report { removed })
}

/// Several names do not go unseen.
async fn check_single(
    collection: &Arc<dyn Collection>,
    name: &Name,
    location: &Location,
) -> Result<()> {
    let names = names_of(Arc::clone(collection), name).await?;
    if names.len() < 2 {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{location} has {} names", names.len()))
        .expected("one name, or `--force` to remove all of them")
        .found(listed(names.iter())))
}

/// The names of the root with a digest; none where a name was asked for.
async fn names_of(collection: Arc<dyn Collection>, name: &Name) -> Result<Vec<String>> {
    let Name::Digest(digest) = name.clone() else { return Ok(Vec::new()) };
    bridge::blocking(move || {
        let entries = collection.entries()?.into_iter();
        let same = entries.filter(|entry| entry.root.digest == digest).map(|entry| entry.name);
        let mut names: Vec<_> = same.filter(|name| name != digest.as_str()).collect();
        names.dedup();
        Ok(names)
    })
    .await
}

fn not_listed(names: &[String], location: &Location) -> Error {
    let err = Error::not_found(format!("{location} is not listed"));
    match names {
        [] => err.hint("content without a name goes with `conex gc`"),
        names => err.found(listed(names.iter())).hint("remove it by its names"),
    }
}

/// What was removed, as people type it.
fn named(location: &Location, name: &str) -> Location {
    let Location::Layout { .. } = location else { return location.clone() };
    let digest = || location.name().filter(|asked| asked.as_str() == name);
    // A name that cannot be typed was not asked for by itself.
    let name = digest().or_else(|| Tag::new(name).ok().map(Name::Tag));
    let named = name.and_then(|name| location.with_name(name).ok());
    named.unwrap_or_else(|| location.clone())
}
