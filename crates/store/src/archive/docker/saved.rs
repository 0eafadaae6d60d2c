//! `manifest.json`, Docker's list of the images in an archive.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use conex_spec::document::LIMIT;
use conex_spec::strict_json::{self, Shape};
use conex_spec::{
    Descriptor, Digest, Error, ImageManifest, Kind, Manifest, Name, Platform, Reference, Result,
    Tag,
};

use crate::archive::input::Archive;
use crate::blobs;

/// The name of the list.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The name of the list that engines before Docker 1.10 read: the layer on top of each name.
/// Engines still write it, and some scripts still read it.
pub const REPOSITORIES_FILE: &str = "repositories";

/// An entry of the list. Everything is named as a member of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    /// The image config.
    pub config: String,
    /// What the image is called: references, each with a tag.
    #[serde(default, deserialize_with = "list")]
    pub repo_tags: Vec<String>,
    /// The layers, base first.
    #[serde(default, deserialize_with = "list")]
    pub layers: Vec<String>,
}

/// Go writes `null` for an empty list.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

const SHAPE: Shape = Shape::Array(&Shape::Object(&[
    ("Config", Shape::Free),
    ("RepoTags", Shape::Free),
    ("Layers", Shape::Free),
    ("Parent", Shape::Free),
    ("LayerSources", Shape::Free),
]));

/// The list of an archive.
///
/// # Errors
/// `NotFound` where the archive has none; the hint says what it seems to be instead.
pub fn read(archive: &Archive) -> Result<Vec<Saved>> {
    if let Some(bytes) = archive.small(MANIFEST_FILE, LIMIT)? {
        let saved: Vec<Saved> = strict_json::parse(&bytes, LIMIT, SHAPE, MANIFEST_FILE)?;
        return match saved.is_empty() {
            true => Err(Error::not_found(format!("{MANIFEST_FILE} in the archive lists no image"))),
            false => Ok(saved),
        };
    }
    let err = Error::not_found("`docker save` did not write this archive")
        .expected(format!("a member `{MANIFEST_FILE}`"));
    Err(if archive.members().has("oci-layout") {
        err.hint("it is an OCI layout: read it as oci-archive:FILE[:TAG]")
    } else if archive.members().has("repositories") {
        err.hint(
            "a Docker engine older than 1.10 wrote it; load it there and save it with a later one",
        )
    } else {
        err
    })
}

/// The content of [`REPOSITORIES_FILE`] for some images: `{"NAME": {"TAG": "LAYER"}}`.
pub fn repositories(images: &[Saved]) -> Result<Vec<u8>> {
    let mut repositories: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for image in images {
        let Some(layer) = image.layers.last() else { continue };
        let layer = layer.rsplit('/').next().unwrap_or_default();
        for (name, tag) in image.repo_tags.iter().filter_map(|name| name.rsplit_once(':')) {
            repositories.entry(name).or_default().insert(tag, layer);
        }
    }
    serde_json::to_vec(&repositories)
        .map_err(|err| Error::invalid("images cannot be listed by their names").source(err))
}

/// A name for an image as the list has it: the canonical reference, and its tag alone.
pub fn repo_tag(name: &Tag) -> Result<(String, String)> {
    let fault = |err: Error| {
        err.with_kind(Kind::Usage).context(format_args!("Docker calls no image `{name}`"))
    };
    let reference: Reference = name.as_str().parse().map_err(fault)?;
    match reference.name_or_latest() {
        Name::Tag(tag) => {
            Ok((reference.without_name().with_tag(tag.clone())?.to_string(), tag.to_string()))
        }
        Name::Digest(_) => Err(Error::new(Kind::Usage, format!("Docker calls no image `{name}`"))
            .expected("NAME[:TAG]")
            .found("a digest")),
    }
}

/// The one image below a root as an entry of the list, still without a name; its members are
/// called as in a layout. `manifest` gives the bytes of manifests, `has` knows what is there.
///
/// # Errors
/// `Unsupported` where the root is no image, or more than one.
pub fn image_of(
    root: &Descriptor,
    manifest: impl Fn(&Digest) -> Option<Bytes>,
    has: impl Fn(&Digest) -> bool,
) -> Result<Saved> {
    let mut images = Vec::new();
    collect(root, &manifest, &mut HashSet::new(), &mut images)?;
    let one = || Error::new(Kind::Unsupported, "Docker's archives hold single images");
    let image = match images.as_slice() {
        [image] => image,
        [] => return Err(one().expected("an image").found("an artifact or an empty index")),
        more => {
            return Err(one()
                .expected("the image for one platform")
                .found(format!("an index of {} images", more.len()))
                .hint("narrow it with `--platform OS/ARCH`, or write an oci-archive"));
        }
    };
    if let Some(lost) = image.layers.iter().find(|layer| !has(&layer.digest)) {
        return Err(Error::new(Kind::Unsupported, "image is not whole")
            .expected("all of its layers")
            .found(format!("none of {}", lost.digest)));
    }
    let layers = image.layers.iter().map(|layer| blobs::path(&layer.digest));
    Ok(Saved {
        config: blobs::path(&image.config.digest)?,
        repo_tags: Vec::new(),
        layers: layers.collect::<Result<_>>()?,
    })
}

fn collect(
    root: &Descriptor,
    manifest: &impl Fn(&Digest) -> Option<Bytes>,
    seen: &mut HashSet<Digest>,
    images: &mut Vec<ImageManifest>,
) -> Result<()> {
    // What builders put beside images, such as attestations, runs nowhere.
    let runs = root.platform.as_ref().is_none_or(Platform::is_known);
    if !runs || !root.media_type.is_manifest() || !seen.insert(root.digest.clone()) {
        return Ok(());
    }
    let Some(bytes) = manifest(&root.digest) else { return Ok(()) };
    match Manifest::parse(bytes, Some(&root.media_type))?.into_value() {
        Manifest::Image(image) if image.is_image() => images.push(image),
        Manifest::Image(_) | Manifest::Artifact(_) => {}
        Manifest::Index(index) => {
            for entry in &index.manifests {
                collect(entry, manifest, seen, images)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_out() {
        let name = |text: &str| repo_tag(&Tag::new(text).unwrap());
        for (text, whole, tag) in [
            ("app", "docker.io/library/app:latest", "latest"),
            ("team/app:1", "docker.io/team/app:1", "1"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "1"),
        ] {
            assert_eq!(name(text).unwrap(), (whole.into(), tag.into()));
        }
        let digest = format!("app@{}", Digest::sha256(b""));
        for text in ["App", "a/../b", digest.as_str()] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
