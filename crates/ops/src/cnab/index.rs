//! A bundle as an index: its config first, then the image that installs it, then its components, each
//! told apart by annotations. github.com/cnabio/cnab-to-oci, converter.

use std::collections::BTreeMap;

use conex_spec::annotations::{AUTHORS, DESCRIPTION, TITLE, VERSION};
use conex_spec::{Annotations, Descriptor, Error, ImageIndex, Location, MediaType, Name, Result};

use super::bundle::{Bundle, Image, Part};
use crate::helm::go_json;

/// The config of a bundle: `bundle.json`.
pub const CONFIG: MediaType = MediaType::from_static("application/vnd.cnab.config.v1+json");
/// What a bundle's index is.
pub const BUNDLE: MediaType = MediaType::from_static("application/vnd.cnab.manifest.v1");
/// What sort of artifact an index is, from the time before `artifactType`.
pub const ARTIFACT_TYPE: &str = "org.opencontainers.artifactType";
/// Which version of CNAB a bundle follows.
pub const RUNTIME_VERSION: &str = "io.cnab.runtime_version";
/// Its keywords, a JSON array.
pub const KEYWORDS: &str = "io.cnab.keywords";
/// What an entry is: `config`, `invocation` or `component`.
pub const ENTRY: &str = "io.cnab.manifest.type";
/// The name of a component.
pub const COMPONENT: &str = "io.cnab.component.name";

/// What the names of a bundle's images stand for where the bundle is.
pub type RelocationMap = BTreeMap<String, String>;

/// Makes the index of a bundle from the manifest of its config and its images, as
/// [`Bundle::parts`] lists them.
pub fn make(bundle: &Bundle, config: &Descriptor, images: &[Descriptor]) -> Result<ImageIndex> {
    let mut manifests = vec![entry(config, &[(ENTRY, "config")])];
    for ((part, _), image) in bundle.parts().zip(images) {
        manifests.push(match part {
            Part::Invocation => entry(image, &[(ENTRY, "invocation")]),
            Part::Component(name) => entry(image, &[(COMPONENT, name), (ENTRY, "component")]),
        });
    }
    let mut index = ImageIndex::new(manifests);
    index.artifact_type = Some(BUNDLE);
    index.annotations = annotations(bundle)?;
    Ok(index)
}

/// Whether an index is that of a bundle: one of its entries is a bundle's config.
pub fn is_bundle(index: &ImageIndex) -> bool {
    config(index).is_some()
}

/// The entry of the config.
pub fn config(index: &ImageIndex) -> Option<&Descriptor> {
    index.manifests.iter().find(|entry| kind(entry) == "config")
}

/// Where each image of a bundle is now.
///
/// # Errors
/// `Invalid` for an index that lists other images than its bundle has.
pub fn relocation(index: &ImageIndex, bundle: &Bundle, at: &Location) -> Result<RelocationMap> {
    let found = images(index, bundle, at)?.into_iter();
    let now = |root: &Descriptor| at.with_name(Name::Digest(root.digest.clone()));
    found.map(|(_, image, root)| Ok((image.image.clone(), now(root)?.to_string()))).collect()
}

/// Each image of a bundle with its entry.
///
/// # Errors
/// `Invalid` for an index that lists other images than its bundle has.
pub fn images<'a>(
    index: &'a ImageIndex,
    bundle: &'a Bundle,
    at: &Location,
) -> Result<Vec<(Part<'a>, &'a Image, &'a Descriptor)>> {
    let find = |(part, image): (Part<'a>, &'a Image)| {
        let found = index.manifests.iter().find(|entry| match part {
            Part::Invocation => kind(entry) == "invocation",
            Part::Component(name) => {
                let named = entry.annotations.get(COMPONENT).map(String::as_str);
                kind(entry) == "component" && named == Some(name)
            }
        });
        let missing = || {
            Error::invalid(format!("the index in {at} lacks an image of its bundle"))
                .expected(part.field())
        };
        Ok((part, image, found.ok_or_else(missing)?))
    };
    bundle.parts().map(find).collect()
}

fn kind(entry: &Descriptor) -> &str {
    entry.annotations.get(ENTRY).map_or("", String::as_str)
}

fn entry(content: &Descriptor, annotations: &[(&str, &str)]) -> Descriptor {
    let mut entry = content.bare();
    let own = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    entry.annotations = own.collect();
    entry
}

fn annotations(bundle: &Bundle) -> Result<Annotations> {
    let mut all: Annotations = [
        (RUNTIME_VERSION, bundle.schema_version.as_str()),
        (ARTIFACT_TYPE, BUNDLE.as_str()),
        (DESCRIPTION, &bundle.description),
        (TITLE, &bundle.name),
        (VERSION, &bundle.version),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Some(keywords) = &bundle.keywords {
        all.insert(KEYWORDS.into(), json(keywords)?);
    }
    if let Some(maintainers) = &bundle.maintainers {
        all.insert(AUTHORS.into(), json(maintainers)?);
    }
    all.sort_unstable_keys();
    Ok(all)
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    Ok(String::from_utf8_lossy(&go_json::print(value)?).into_owned())
}
