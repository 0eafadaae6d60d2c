//! `conex rm`: names are taken away; the content is collected later.

use serde::Serialize;

use conex_spec::{Error, Kind, Location, Result};
use conex_store::bridge;

use crate::open::{Context, name_in};

/// What was taken away.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The names.
    pub removed: Vec<Location>,
}

/// Takes names away. All are looked for first, so that a mistyped one changes nothing.
pub async fn rm(context: &Context, names: &[Location]) -> Result<Report> {
    let mut all = Vec::new();
    for location in names {
        let collection = context.keep_of(location)?;
        let name = name_in(location)?.ok_or_else(|| {
            Error::new(Kind::Usage, format!("{location} names no image"))
                .expected("`oci:DIR:TAG`, `oci:DIR@DIGEST` or `store:NAME`")
        })?;
        collection.resolve(Some(&name)).await?;
        all.push((collection, name, location));
    }
    let mut removed = Vec::new();
    for (collection, name, location) in all {
        if !bridge::blocking(move || collection.remove(&name)).await? {
            return Err(Error::not_found(format!("{location} is not listed"))
                .hint("content without a name goes with `conex gc`"));
        }
        removed.push(location.clone());
    }
    Ok(Report { removed })
}
