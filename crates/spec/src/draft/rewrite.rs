//! A document of a draft, written anew as image-spec 1.1 has it.

use super::{ArtifactManifest, Draft, is_image_part};
use crate::descriptor::Descriptor;
use crate::document::Document;
use crate::error::Result;
use crate::manifest::{ImageIndex, ImageManifest, Manifest};
use crate::media_type::MediaType;
use crate::renewed::{Renewed, renew};

/// A document of image-spec 1.1.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The document. One that needed no change has its old bytes.
    pub document: Document<Manifest>,
    /// Whether it lists the two bytes `{}` ([`Descriptor::empty`]), which the old one did not:
    /// whoever stores the document stores them too.
    pub needs_empty: bool,
}

impl Rewritten {
    /// How a parent describes the document. An artifact keeps its type beside it.
    pub fn descriptor(&self) -> Descriptor {
        let mut descriptor = self.document.as_descriptor();
        if let Manifest::Image(image) = self.document.value()
            && !image.is_image()
        {
            descriptor.artifact_type = Some(image.artifact_type().clone());
        }
        descriptor
    }
}

/// Writes a manifest or an index as image-spec 1.1 has it: media types of drafts become those of
/// today, the document says what it is, an artifact manifest becomes an image manifest (image-spec,
/// manifest.md, "Guidelines for Artifact Usage"). Annotations, platforms and unknown members stay.
///
/// The bytes change, and with them the digest: go from the leaves to the root and put into
/// `renewed` what became of each child (and of each subject) whose digest changed.
///
/// # Errors
/// `Invalid` where the outcome would break a rule of 1.1, as an artifact without a type does.
pub fn rewrite(document: &Document<Manifest>, renewed: &Renewed) -> Result<Rewritten> {
    let bytes = document.bytes().clone();
    let (document, needs_empty) = match document.value() {
        Manifest::Image(image) => {
            let old = Document::from_parts(bytes, image.clone());
            (old.edit(|image| rewrite_image(image, renewed))?.map(Manifest::Image), false)
        }
        Manifest::Index(index) => {
            let old = Document::from_parts(bytes, index.clone());
            (old.edit(|index| rewrite_index(index, renewed))?.map(Manifest::Index), false)
        }
        Manifest::Artifact(artifact) => {
            let image = rewrite_artifact(artifact.clone(), renewed)?;
            (Document::new(image)?.map(Manifest::Image), true)
        }
    };
    Ok(Rewritten { document, needs_empty })
}

fn rewrite_image(image: &mut ImageManifest, renewed: &Renewed) {
    image.media_type = Some(modern(image.media_type.take(), MediaType::MANIFEST));
    image.artifact_type.take_if(|artifact_type| is_image_part(artifact_type));
    std::iter::once(&mut image.config)
        .chain(&mut image.layers)
        .chain(&mut image.subject)
        .for_each(|child| rewrite_descriptor(child, renewed));
}

fn rewrite_index(index: &mut ImageIndex, renewed: &Renewed) {
    index.media_type = Some(modern(index.media_type.take(), MediaType::INDEX));
    index.artifact_type.take_if(|artifact_type| is_image_part(artifact_type));
    let children = index.manifests.iter_mut().chain(&mut index.subject);
    children.for_each(|child| rewrite_descriptor(child, renewed));
}

/// The config is the empty descriptor, and so is the one layer of an artifact without blobs:
/// "for portability, `layers` SHOULD have at least one entry" (image-spec, manifest.md).
fn rewrite_artifact(artifact: ArtifactManifest, renewed: &Renewed) -> Result<ImageManifest> {
    let mut image = crate::artifact::manifest(
        artifact.artifact_type.unwrap_or(MediaType::UNKNOWN_ARTIFACT),
        crate::artifact::Content::Files(artifact.blobs),
    )?;
    image.subject = artifact.subject;
    image.annotations = artifact.annotations;
    image.extra = artifact.extra;
    rewrite_image(&mut image, renewed);
    Ok(image)
}

fn rewrite_descriptor(descriptor: &mut Descriptor, renewed: &Renewed) {
    renew(descriptor, renewed);
    if let Some((_, modern)) = Draft::of(&descriptor.media_type) {
        descriptor.media_type = modern;
    }
    descriptor.artifact_type.take_if(|artifact_type| is_image_part(artifact_type));
}

fn modern(own: Option<MediaType>, default: MediaType) -> MediaType {
    own.map_or(default, |own| Draft::of(&own).map_or(own, |(_, modern)| modern))
}
