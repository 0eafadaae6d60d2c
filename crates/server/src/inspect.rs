//! What a pushed manifest is, before anything of it is kept.

use bytes::Bytes;
use conex_spec::descriptor::Annotations;
use conex_spec::media_type::Role;
use conex_spec::strict_json::{self, Shape};
use conex_spec::{Descriptor, Digest, Error, Kind, Manifest, MediaType, Result};
use serde::Deserialize;
use serde_json::Value;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) media_type: MediaType,
    /// What it cannot be without.
    pub(crate) children: Vec<Descriptor>,
    pub(crate) subject: Option<Descriptor>,
    sort: Sort,
    /// What the document says itself.
    own_type: Option<MediaType>,
    /// What a list of referrers says.
    artifact_type: Option<MediaType>,
    annotations: Annotations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Image,
    Index,
    Artifact,
    Opaque,
}

/// Where in a repository something must be that a manifest needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Under {
    Manifests,
    Blobs,
    /// It is an entry of an index, of a type that we do not know, or is mentioned somewhere.
    Either,
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
        let (sort, own_type) = match manifest {
            Manifest::Image(image) => (Sort::Image, &image.artifact_type),
            Manifest::Index(index) => (Sort::Index, &index.artifact_type),
            Manifest::Artifact(artifact) => (Sort::Artifact, &artifact.artifact_type),
        };
        Self {
            sort,
            own_type: own_type.clone(),
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

    /// Where a child must be. Clients go by its media type, and fetch as a blob what they do not
    /// know; an index may list manifests of unknown types, and BuildKit's caches list layers in one.
    pub(crate) fn under(&self, child: &Descriptor) -> Under {
        match (child.media_type.is_manifest(), self.sort) {
            (true, _) => Under::Manifests,
            (false, Sort::Image | Sort::Artifact) => Under::Blobs,
            (false, Sort::Index | Sort::Opaque) => Under::Either,
        }
    }

    /// The digests of all that it needs, whose bytes these are. Of a document that we do not know,
    /// any digest that it names may be one. Nothing where the bytes are no JSON.
    pub(crate) fn needs(&self, bytes: &[u8]) -> Option<Vec<(Digest, Under)>> {
        let needed = |child: &Descriptor| (child.digest.clone(), self.under(child));
        let mut needs: Vec<_> = self.children.iter().map(needed).collect();
        if needs.is_empty() {
            mentioned(&serde_json::from_slice(bytes).ok()?, &mut needs);
        }
        Some(needs)
    }

    /// Whether all types that it states are such. To be asked of what is pushed, and not of what is
    /// there already. An error comes with the member at fault.
    pub(crate) fn check_types(&self) -> Result<(), (String, Error)> {
        if let Some(own) = &self.own_type {
            check_type(own).map_err(|err| ("artifactType".to_owned(), err))?;
        }
        for (at, child) in self.children.iter().enumerate() {
            let named = |(name, err)| (format!("{}.{name}", self.member(at)), err);
            check_descriptor(child).map_err(named)?;
        }
        if let Some(subject) = &self.subject {
            check_descriptor(subject).map_err(|(name, err)| (format!("subject.{name}"), err))?;
        }
        self.check_empty_config().map_err(|err| ("artifactType".to_owned(), err))
    }

    /// `artifactType` "MUST be set when `config.mediaType` is set to the empty value" (image-spec,
    /// manifest.md).
    fn check_empty_config(&self) -> Result<()> {
        let config = self.children.first().filter(|_| self.sort == Sort::Image);
        if self.own_type.is_none() && config.is_some_and(|it| it.media_type == MediaType::EMPTY) {
            return Err(Error::invalid("missing, though the config is the empty one")
                .expected("what sort of artifact it is"));
        }
        Ok(())
    }

    /// What the document calls a child, counted as in `children`.
    pub(crate) fn member(&self, at: usize) -> String {
        match (self.sort, at) {
            (Sort::Image, 0) => "config".to_owned(),
            (Sort::Image, at) => format!("layers[{}]", at - 1),
            (Sort::Index | Sort::Opaque, at) => format!("manifests[{at}]"),
            (Sort::Artifact, at) => format!("blobs[{at}]"),
        }
    }
}

/// Layers that their makers forbid to distribute lie elsewhere. image-spec, layer.md,
/// "Non-Distributable Layers".
pub(crate) fn is_foreign(child: &Descriptor) -> bool {
    !child.urls.is_empty() || !child.media_type.is_distributable()
}

fn check_descriptor(descriptor: &Descriptor) -> Result<(), (&'static str, Error)> {
    check_type(&descriptor.media_type).map_err(|err| ("mediaType", err))?;
    let artifact = descriptor.artifact_type.iter().try_for_each(check_type);
    artifact.map_err(|err| ("artifactType", err))
}

/// "Values MUST comply with RFC 6838" (image-spec, descriptor.md, "Properties"); some drafts did not.
/// Parameters, as in `text/plain; charset=utf-8`, are nobody's fault.
fn check_type(media_type: &MediaType) -> Result<()> {
    if media_type.role() != Role::Other {
        return Ok(());
    }
    match media_type.as_str().split_once(';') {
        Some((plain, _)) => MediaType::new(plain).check(),
        None => media_type.check(),
    }
}

fn mentioned(value: &Value, found: &mut Vec<(Digest, Under)>) {
    match value {
        Value::String(text) => {
            found.extend(text.parse().ok().map(|digest| (digest, Under::Either)));
        }
        Value::Array(values) => values.iter().for_each(|value| mentioned(value, found)),
        Value::Object(members) => members.values().for_each(|value| mentioned(value, found)),
        _ => {}
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
            sort: Sort::Opaque,
            own_type: self.artifact_type.clone(),
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
    fn types_that_are_none_are_named() {
        let child = |media_type: &str| {
            let digest = Digest::sha256(b"{}");
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":2}}"#)
        };
        let image = |config: &str, layer: &str, more: &str| {
            let (config, layer) = (child(config), child(layer));
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{more}}}"#)
        };
        let subject = format!(r#","subject":{}"#, child("garbage"));
        let empty = MediaType::EMPTY;
        for (json, member) in [
            (image("", "a/b", ""), "config.mediaType"),
            (image("a/b", "garbage no slash", ""), "layers[0].mediaType"),
            (image("a/b", "a/b", &subject), "subject.mediaType"),
            (image("a/b", "a/b", r#","artifactType":"garbage""#), "artifactType"),
            (image("a/b", "a/b", r#","artifactType":"""#), "artifactType"),
            (image(empty.as_str(), "a/b", ""), "artifactType"),
            (
                format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, child("garbage")),
                "manifests[0].mediaType",
            ),
        ] {
            let (found, _) = parse(&json, None).unwrap().check_types().unwrap_err();
            assert_eq!(found, member, "{json}");
        }
        for json in [
            image(empty.as_str(), empty.as_str(), r#","artifactType":"a/b""#),
            image(MediaType::CONFIG.as_str(), MediaType::BARE_LAYER_GZIP.as_str(), ""),
            image(MediaType::DOCKER_CONFIG.as_str(), MediaType::DOCKER_LAYER.as_str(), ""),
            image("a/b", "text/plain; charset=utf-8", ""),
            // Of a chart of Helm and of a signature of cosign.
            image(
                "application/vnd.cncf.helm.config.v1+json",
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
                "",
            ),
            image(
                MediaType::CONFIG.as_str(),
                "application/vnd.dev.cosign.simplesigning.v1+json",
                "",
            ),
        ] {
            assert!(parse(&json, None).unwrap().check_types().is_ok(), "{json}");
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
