//! `conex pull`: an image for one platform into the local store, only what is not there yet.

use serde::Serialize;

use conex_spec::{Descriptor, Location, Platform, Reference, Result};

use crate::choose::choose;
use crate::copy::{CopyOptions, Summary, copy, tag_for};
use crate::open::Context;

/// What was pulled.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it is now.
    pub location: Location,
    /// What the registry's name stands for.
    pub root: Descriptor,
    /// The image for the platform.
    pub image: Descriptor,
    /// What moved, and what was there already.
    pub summary: Summary,
}

/// Pulls the image that suits `platform`; the whole index where there is none.
pub async fn pull(
    context: &Context,
    reference: &Reference,
    platform: Option<&Platform>,
    options: &CopyOptions,
) -> Result<Report> {
    let (source, root) = context.resolve(&Location::Registry(reference.clone())).await?;
    let image = match platform {
        Some(platform) => choose(source.as_ref(), &root, platform).await?,
        None => root.clone(),
    };
    let location = Location::Store(reference.clone());
    let store = context.sink(&location)?;
    let name = match reference.digest() {
        Some(_) => None,
        None => tag_for(&image, &location)?,
    };
    let summary =
        copy(source.as_ref(), &image, store.as_ref(), name.as_ref(), options, &context.observer)
            .await?;
    Ok(Report { location, root, image, summary })
}
