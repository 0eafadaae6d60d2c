//! What a pushed manifest is, before anything of it is kept.

use bytes::Bytes;
use conex_spec::descriptor::Annotations;
use conex_spec::media_type::Role;
use conex_spec::strict_json::{self, Shape};
use conex_spec::{Descriptor, Error, Kind, Manifest, MediaType, Result};
use serde::Deserialize;
use serde_json::Value;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) media_type: MediaType,
    /// What it cannot be without.
    pub(crate) children: Vec<Descriptor>,
    pub(crate) subject: Option<Descriptor>,
    artifact_type: Option<MediaType>,
    annotations: Annotations,
}

impl Inspected {
    /// Reads a manifest strictly. `content_type` is what the client says it is.
    ///
    /// A media type that we do not know is no error: "An encountered mediaType that is unknown MUST
    /// NOT generate an error" (image-spec, media-types.md). Such a document is kept as it is, so long
    /// as no reader could take it for an image or index of two kinds (CVE-2021-41190).
    pub(crate) fn parse(bytes: &Bytes, content_type: Option<MediaType>) -> Result<Self> {
        if let Some(media_type) = &content_type {
            media_type.check()?;
        }
        let stated = match &content_type {
            Some(media_type) => Some(media_type.role()),
            None => Opaque::parse(bytes)?.media_type.map(|own| own.role()),
        };
        if stated == Some(Role::Other) {
            return Opaque::parse(bytes)?.inspect(content_type);
        }
        let manifest = Manifest::parse(bytes.clone(), content_type.as_ref())?;
        Ok(Self::known(manifest.value()))
    }

    fn known(manifest: &Manifest) -> Self {
        Self {
            media_type: manifest.media_type(),
            children: manifest.children().into_iter().cloned().collect(),
            subject: manifest.subject().cloned(),
            artifact_type: manifest.referrer_type().cloned(),
            annotations: manifest.annotations().clone(),
        }
    }

    /// Its entry in the list of its subject's referrers. distribution-spec, "Listing Referrers".
    pub(crate) fn as_referrer(&self, manifest: &Descriptor) -> Descriptor {
        let mut entry = manifest.bare();
        entry.artifact_type.clone_from(&self.artifact_type);
        entry.annotations.clone_from(&self.annotations);
        entry
    }
}

/// A manifest of a media type that we do not know.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opaque {
    #[serde(default)]
    schema_version: Value,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    artifact_type: Option<MediaType>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<Annotations>,
    manifests: Option<Value>,
    layers: Option<Value>,
    config: Option<Value>,
    fs_layers: Option<Value>,
}

impl Opaque {
    const SHAPE: Shape = Shape::Object(&[
        ("schemaVersion", Shape::Free),
        ("mediaType", Shape::Free),
        ("artifactType", Shape::Free),
        ("subject", Shape::Free),
        ("annotations", Shape::Free),
        ("manifests", Shape::Free),
        ("layers", Shape::Free),
        ("config", Shape::Free),
        ("fsLayers", Shape::Free),
    ]);

    fn parse(bytes: &[u8]) -> Result<Self> {
        strict_json::parse(bytes, conex_spec::document::LIMIT, Self::SHAPE, "manifest")
    }

    fn inspect(self, content_type: Option<MediaType>) -> Result<Inspected> {
        self.check()?;
        if let (Some(outside), Some(own)) = (&content_type, &self.media_type)
            && outside != own
        {
            return Err(Error::invalid("manifest says another media type than its Content-Type")
                .expected(outside)
                .found(own));
        }
        let media_type = content_type.or(self.media_type).ok_or_else(|| {
            Error::invalid("manifest has no media type").hint("send it as the Content-Type")
        })?;
        media_type.check()?;
        Ok(Inspected {
            media_type,
            children: Vec::new(),
            subject: self.subject,
            artifact_type: self.artifact_type,
            annotations: self.annotations.unwrap_or_default(),
        })
    }

    fn check(&self) -> Result<()> {
        let own = self.media_type.as_ref().map(MediaType::role);
        if self.fs_layers.is_some() || self.schema_version == 1 || own == Some(Role::Schema1) {
            return Err(Error::new(Kind::Unsupported, "manifest is of Docker schema 1"));
        }
        if self.manifests.is_some() && (self.layers.is_some() || self.config.is_some()) {
            return Err(Error::invalid("manifest is both an index and an image"));
        }
        self.subject.as_ref().map_or(Ok(()), |subject| subject.embedded().map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str, content_type: Option<&str>) -> Result<Inspected> {
        Inspected::parse(&Bytes::from(json.to_owned()), content_type.map(MediaType::new))
    }

    #[test]
    fn unknown_media_types_are_kept() {
        let draft = "application/vnd.oci.artifact.manifest.v1+json";
        let subject = serde_json::to_string(&Descriptor::of(MediaType::MANIFEST, b"x")).unwrap();
        let json = format!(
            r#"{{"mediaType":"{draft}","artifactType":"a/b","blobs":[],"subject":{subject},"annotations":{{"k":"v"}}}}"#
        );
        for content_type in [Some(draft), None] {
            let found = parse(&json, content_type).unwrap();
            assert_eq!(found.media_type.as_str(), draft);
            let entry = found.as_referrer(&Descriptor::of(MediaType::new(draft), b"y"));
            assert_eq!(entry.artifact_type, Some(MediaType::new("a/b")));
            assert_eq!(entry.annotations["k"], "v");
        }
        assert!(parse("{}", Some("application/json")).unwrap().children.is_empty());
    }

    /// Their children are known, so that none of them is taken without its content (rule L3).
    #[test]
    fn drafts_are_taken_with_their_children() {
        let child = |media_type: &str| {
            let child = Descriptor::of(MediaType::new(media_type), b"x");
            serde_json::to_string(&child).unwrap()
        };
        let image = "application/vnd.oci.manifest.v1+json";
        let index = "application/vnd.oci.index.v1+json";
        let artifact = "application/vnd.oci.artifact.manifest.v1+json";
        let (config, layer) = (
            child("application/vnd.oci.config.v1+json"),
            child("application/vnd.oci.layer.v1.tar"),
        );
        for (media_type, members, children) in [
            (image, format!(r#""schemaVersion":2,"config":{config},"layers":[{layer}]"#), 2),
            (index, format!(r#""schemaVersion":2,"manifests":[{}]"#, child(image)), 1),
            (artifact, format!(r#""blobs":[{layer}],"artifactType":"a/b""#), 1),
        ] {
            let json = format!(r#"{{"mediaType":"{media_type}",{members}}}"#);
            for content_type in [Some(media_type), None] {
                let found = parse(&json, content_type).unwrap();
                assert_eq!(found.children.len(), children, "{media_type}");
                assert_eq!(found.media_type.as_str(), media_type);
            }
            for odd in [r#","fsLayers":[]"#, r#","manifests":[],"layers":[]"#] {
                assert!(
                    parse(&json.replacen("}", &format!("{odd}}}"), 9), None).is_err(),
                    "{json}"
                );
            }
        }
    }

    #[test]
    fn what_could_be_two_things_is_refused() {
        let image = MediaType::MANIFEST;
        for (json, content_type) in [
            ("{}", None),
            ("{}", Some(image.as_str())),
            (r#"{"layers":[],"manifests":[]}"#, Some("application/json")),
            (r#"{"config":{},"manifests":[]}"#, Some("application/json")),
            (r#"{"fsLayers":[]}"#, Some("application/json")),
            (r#"{"schemaVersion":1,"mediaType":"a/b"}"#, None),
            (r#"{"mediaType":"a/b"}"#, Some("a/c")),
            (r#"{"MediaType":"a/b"}"#, Some("a/b")),
            (r#"{"a":1,"a":2}"#, Some("a/b")),
            ("[]", Some("a/b")),
            ("{}", Some("nonsense")),
            ("{}", Some("a/b\u{e9}")),
            (r#"{"mediaType":"no media type"}"#, None),
            (r#"{"subject":{}}"#, Some("a/b")),
        ] {
            assert!(parse(json, content_type).is_err(), "{json} as {content_type:?}");
        }
    }
}
