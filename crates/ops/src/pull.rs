//! `conex pull`: an image for one platform into the local store, only what is not there yet.

use serde::Serialize;

use conex_spec::{Descriptor, Location, Manifest, Platform, Reference, Result};
use conex_store::{Event, SourceExt, bridge};

use crate::choose::choose;
use crate::cnab::index::{BUNDLE, is_bundle};
use crate::copy::{CopyOptions, Summary, copy_content};
use crate::open::{Context, stored_name};

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
        Some(platform) if root.media_type.is_index() => {
            choose(source.as_ref(), &root, platform).await?
        }
        _ => root.clone(),
    };
    let location = Location::Store(reference.clone());
    let store = context.local_store(&location)?;
    let observer = &context.observer;
    let summary = copy_content(source.as_ref(), &image, &store, options, observer).await?;
    if let Some(platform) = platform {
        // Whether a single image suits is in its config, which is here by now.
        choose(&store, &image, platform).await?;
    }
    let kind = match store.manifest(&image).await?.into_value() {
        Manifest::Image(manifest) if !manifest.is_image() => Some(manifest.artifact_type().clone()),
        Manifest::Index(index) if is_bundle(&index) => Some(BUNDLE),
        _ => None,
    };
    if let Some(kind) = kind {
        let text = format!(
            "{reference} is an artifact ({kind}); `conex artifact pull {reference} DIR` writes its files"
        );
        observer.event(Event::Warning(&text));
    }
    // The name stands for the image that was chosen, also where it is the digest of an index.
    let name = stored_name(reference)?;
    let shown = match reference.digest() {
        Some(_) => reference.to_string(),
        None => name.to_string(),
    };
    let recorded = image.clone();
    bridge::blocking(move || store.record(&name, &shown, &recorded)).await?;
    Ok(Report { location, root, image, summary })
}
