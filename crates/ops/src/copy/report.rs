//! What a request came to.

use serde::Serialize;

use conex_spec::annotations::{TITLE, VERSION};
use conex_spec::{Descriptor, Digest, Error, Kind, Location, Manifest, MediaType, Result, Tag};

use super::Summary;
use super::named::Images;
use crate::{cnab, helm};

/// How many tags that were kept an error names.
const MAX_SHOWN: usize = 5;

/// What was copied.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where from.
    pub from: Location,
    /// Where to.
    pub to: Location,
    /// Whether nothing moved in fact.
    pub dry_run: bool,
    /// The roots, each with its names.
    pub copied: Vec<Copied>,
    /// The names at the destination that were left alone.
    pub kept: Vec<Kept>,
    /// Tags of signatures whose images were not among what was copied; they stay behind.
    pub left: Vec<String>,
    /// The images that charts and bundles name, where they were to come along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<Images>,
    /// What moved, and what was there already.
    pub summary: Summary,
}

/// A root at its destination.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Its tag at the source, where a whole repository was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its names at the destination.
    pub names: Vec<Tag>,
    /// What they stand for.
    pub root: Descriptor,
    /// How many images it holds, where its manifests were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// What it is, where it is known to be no image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
}

/// What was copied that is no image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// The sort.
    pub kind: Sort,
    /// The same as others call it.
    pub artifact_type: MediaType,
    /// What a chart or bundle is called, as it is annotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A sort of artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sort {
    /// A chart of Helm.
    Chart,
    /// A bundle of CNAB.
    Bundle,
    /// Any other.
    Other,
}

impl Artifact {
    /// What a manifest is, where it is no image and no index of images.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let (kind, artifact_type) = match manifest {
            Manifest::Image(image) if image.is_image() => return None,
            Manifest::Image(image) if helm::pull::is_chart(image) => {
                (Sort::Chart, helm::oci::CONFIG)
            }
            Manifest::Index(index) if cnab::index::is_bundle(index) => {
                (Sort::Bundle, cnab::index::BUNDLE)
            }
            Manifest::Index(_) => return None,
            other => {
                let stated = other.referrer_type().cloned();
                (Sort::Other, stated.unwrap_or(MediaType::UNKNOWN_ARTIFACT))
            }
        };
        let named = |key| manifest.annotations().get(key).filter(|_| kind != Sort::Other).cloned();
        Some(Self { kind, artifact_type, name: named(TITLE), version: named(VERSION) })
    }
}

/// A name that stands for something else at the destination, and still does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The name.
    pub name: Tag,
    /// What it would have stood for.
    pub root: Digest,
    /// What it stands for.
    pub found: Digest,
}

impl Report {
    /// An error where names were left alone, or an image is missing that should have come along.
    ///
    /// # Errors
    /// `Conflict`, with the names; that of the image.
    pub fn check(&self) -> Result<()> {
        conflict(&self.to, &self.kept)?;
        self.named.as_ref().map_or(Ok(()), Images::check)
    }
}

/// An error where names were left alone.
pub(super) fn conflict(to: &Location, kept: &[Kept]) -> Result<()> {
    let Some(first) = kept.first() else { return Ok(()) };
    let shown: Vec<_> = kept.iter().take(MAX_SHOWN).map(|kept| kept.name.as_str()).collect();
    let more = if kept.len() > MAX_SHOWN { ", …" } else { "" };
    let (stands, was) = if kept.len() == 1 { ("stands", "was") } else { ("stand", "were") };
    let what = format!(
        "{}{more} in {} {stands} for something else, and {was} left so",
        shown.join(", "),
        to.place()
    );
    Err(Error::new(Kind::Conflict, what)
        .expected(&first.root)
        .found(&first.found)
        .hint("without `--no-clobber` names are moved"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_left_are_told() {
        let to: Location = "oci:mirror:9".parse().unwrap();
        assert!(conflict(&to, &[]).is_ok());
        let kept = |name: &str| {
            let [root, found] = [name, "other"].map(|text| Digest::sha256(text.as_bytes()));
            Kept { name: Tag::new(name).unwrap(), root, found }
        };
        let told = |names: &[&str]| {
            let kept: Vec<_> = names.iter().map(|name| kept(name)).collect();
            conflict(&to, &kept).unwrap_err().message().to_owned()
        };
        assert_eq!(told(&["1"]), "1 in oci:mirror stands for something else, and was left so");
        let all = told(&["1", "2", "3", "4", "5", "6"]);
        let start = "1, 2, 3, 4, 5, … in oci:mirror stand for something else, and were left so";
        assert_eq!(all, start);
    }
}
