//! Artifacts: content other than container images. image-spec, manifest.md, "Guidelines for
//! Artifact Usage", whose decision tree is [`Content`].
//!
//! ```
//! use conex_spec::artifact::{Content, manifest};
//! use conex_spec::{Descriptor, MediaType};
//!
//! let sbom = Descriptor::of(MediaType::new("text/spdx"), b"SPDXVersion: SPDX-2.3");
//! let manifest = manifest(MediaType::new("application/vnd.example.sbom"), Content::Files(vec![sbom]))?;
//! assert_eq!(manifest.config, Descriptor::empty().bare());
//! # Ok::<(), conex_spec::Error>(())
//! ```

use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::manifest::ImageManifest;
use crate::media_type::{MediaType, Role};

/// What an artifact consists of: the answers to the questions of the decision tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made at a time")]
pub enum Content {
    /// "Does the artifact consist of at least one file or blob?" No: there is only its type, its
    /// annotations and its subject.
    Nothing,
    /// "Does the artifact have additional JSON formatted metadata as configuration?" No: there
    /// are only files.
    Files(Vec<Descriptor>),
    /// Yes: there is a config that describes the files.
    Configured {
        /// The metadata, of a type of the artifact's own.
        config: Descriptor,
        /// The files.
        files: Vec<Descriptor>,
    },
}

/// The manifest of an artifact. Annotations and a subject may be set on it.
///
/// Where it lists the empty descriptor, the two bytes `{}` are to be stored as a blob. "The data field
/// is optional": it is left out, as in the examples of the specification.
///
/// # Errors
/// `Invalid` where there is no type, neither `artifact_type` nor a config's ("If the `config.mediaType`
/// is set to the empty value, the `artifactType` MUST be defined"); where `artifact_type` or a type of the content is no media type (RFC 6838), and where
/// the config is empty or of an image: "the `config.mediaType` value should not be a known OCI image
/// config media type" (image-spec, artifacts-guidance.md).
pub fn manifest(
    artifact_type: impl Into<Option<MediaType>>,
    content: Content,
) -> Result<ImageManifest> {
    let artifact_type = artifact_type.into();
    match &artifact_type {
        Some(artifact_type) => artifact_type.check().map_err(|err| err.context("artifactType"))?,
        None if matches!(content, Content::Configured { .. }) => {}
        None => {
            return Err(Error::invalid("an artifact without a config has no artifactType")
                .expected("a media type that says what sort of artifact it is"));
        }
    }
    let (config, files) = match content {
        Content::Nothing => (empty(), Vec::new()),
        Content::Files(files) => (empty(), files),
        Content::Configured { config, files } => {
            check_config(&config)?;
            (config, files)
        }
    };
    for file in &files {
        file.media_type.check().map_err(|err| err.context("layer"))?;
    }
    let mut manifest = ImageManifest::new(config, or_empty(files));
    manifest.artifact_type = artifact_type;
    Ok(manifest)
}

/// "If the artifact does not need layers, a single layer SHOULD be included with a non-zero size."
fn or_empty(files: Vec<Descriptor>) -> Vec<Descriptor> {
    if files.is_empty() { vec![empty()] } else { files }
}

fn empty() -> Descriptor {
    Descriptor::empty().bare()
}

fn check_config(config: &Descriptor) -> Result<()> {
    config.media_type.check().map_err(|err| err.context("config"))?;
    if !matches!(config.media_type.role(), Role::Config | Role::Empty) {
        return Ok(());
    }
    Err(Error::invalid("config of an artifact is of no type of its own")
        .expected("a media type for this sort of metadata")
        .found(&config.media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::error::Kind;
    use crate::manifest::Manifest;

    fn kind() -> MediaType {
        MediaType::new("application/vnd.example.recipe.v1")
    }

    fn file(text: &str) -> Descriptor {
        Descriptor::of(MediaType::new("text/plain"), text.as_bytes())
    }

    #[test]
    fn each_branch_of_the_decision_tree() {
        let config = Descriptor::of(MediaType::new("application/vnd.example.meta+json"), b"[]");
        let empty = Descriptor::empty().bare();
        for (content, expected_config, layers) in [
            (Content::Nothing, &empty, vec![empty.clone()]),
            (Content::Files(vec![]), &empty, vec![empty.clone()]),
            (Content::Files(vec![file("a"), file("b")]), &empty, vec![file("a"), file("b")]),
            (
                Content::Configured { config: config.clone(), files: vec![file("a")] },
                &config,
                vec![file("a")],
            ),
            (
                Content::Configured { config: config.clone(), files: vec![] },
                &config,
                vec![empty.clone()],
            ),
        ] {
            let made = manifest(kind(), content).unwrap();
            assert_eq!((&made.config, &made.layers), (expected_config, &layers));
            assert_eq!((made.artifact_type(), made.is_image()), (&kind(), false));
            let document = Document::new(made.clone()).unwrap();
            let read = Manifest::parse(document.bytes().clone(), Some(&MediaType::MANIFEST));
            assert_eq!(read.unwrap().into_value(), Manifest::Image(made));
        }
    }

    /// The examples of the decision tree come out member for member, in the same order.
    #[test]
    fn the_examples_of_the_specification() {
        for text in [
            include_str!("../testdata/artifact-minimal.json"),
            include_str!("../testdata/artifact-without-config.json"),
            include_str!("../testdata/artifact-with-config.json"),
        ] {
            let example = Manifest::parse(text, None).unwrap().into_value().into_image().unwrap();
            let files = example.layers.iter().cloned();
            let files = files.filter(|layer| layer.media_type != MediaType::EMPTY).collect();
            let content = match example.config.media_type.role() {
                Role::Empty => Content::Files(files),
                _ => Content::Configured { config: example.config.clone(), files },
            };
            let mut made = manifest(example.artifact_type.clone(), content).unwrap();
            made.annotations = example.annotations.clone();
            let words = |text: &str| text.split_whitespace().collect::<String>();
            let made = Document::new(made).unwrap();
            assert_eq!(words(std::str::from_utf8(made.bytes()).unwrap()), words(text));
        }
    }

    #[test]
    fn only_a_config_stands_for_the_type() {
        let config = Descriptor::of(MediaType::new("application/vnd.example.meta+json"), b"[]");
        let made = manifest(None, Content::Configured { config, files: vec![] }).unwrap();
        assert_eq!(made.artifact_type, None);
        assert_eq!(made.artifact_type().as_str(), "application/vnd.example.meta+json");
        for content in [Content::Nothing, Content::Files(vec![file("a")])] {
            assert_eq!(manifest(None, content).unwrap_err().kind(), Kind::Invalid);
        }
    }

    #[test]
    fn the_empty_descriptor_is_the_one_of_the_specification() {
        let text = serde_json::to_string(&Descriptor::empty()).unwrap();
        assert_eq!(
            text,
            r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="}"#
        );
    }

    #[test]
    fn types_must_be_media_types_and_a_config_of_its_own() {
        let with = |config: MediaType| {
            let config = Descriptor::of(config, b"{}");
            manifest(kind(), Content::Configured { config, files: vec![] })
        };
        let nameless = Descriptor::of(MediaType::new("nameless"), b"");
        for result in [
            manifest(MediaType::new(""), Content::Nothing),
            manifest(kind(), Content::Files(vec![nameless])),
            with(MediaType::CONFIG),
            with(MediaType::DOCKER_CONFIG),
            with(MediaType::EMPTY),
            with(MediaType::new("a b/c")),
        ] {
            assert_eq!(result.unwrap_err().kind(), Kind::Invalid);
        }
    }

    /// "Tooling to work with artifacts should fallback to the `config.mediaType` value."
    #[test]
    fn older_artifacts_are_of_their_configs_type() {
        let helm = MediaType::new("application/vnd.cncf.helm.config.v1+json");
        let old = ImageManifest::new(Descriptor::of(helm.clone(), b"{}"), vec![file("chart")]);
        assert_eq!(old.artifact_type(), &helm);
        assert_eq!(Manifest::Image(old).referrer_type(), Some(&helm));
    }
}
