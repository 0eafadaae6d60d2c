//! Descriptors. descriptor.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::draft::{Draft, IMAGE_PARTS};
use crate::error::Kind;
use crate::lint::grammar::{self, DigestFault};
use crate::lint::path::Path;
use crate::lint::rules::descriptor as rules;
use crate::lint::tree::{Node, Object, quoted};
use crate::lint::{Linter, Rule};
use crate::media_type::MediaType;

impl Linter<'_> {
    /// The rules of every descriptor, wherever it stands.
    pub(in crate::lint) fn descriptor(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(object) = node.object() else {
            return self.wrong(&rules::NOT_AN_OBJECT, at, node);
        };
        match object.get("mediaType") {
            None => self.missing(&rules::MEDIA_TYPE_MISSING, at),
            Some(value) => {
                self.media_type(value, &at.member("mediaType"), &rules::MEDIA_TYPE_INVALID);
            }
        }
        match object.get("digest") {
            None => self.missing(&rules::DIGEST_MISSING, at),
            Some(value) => self.digest(value, &at.member("digest")),
        }
        self.size(object, at);
        if let Some(urls) = object.get("urls") {
            self.urls(urls, &at.member("urls"));
        }
        if let Some(annotations) = object.get("annotations") {
            self.annotations(annotations, &at.member("annotations"));
        }
        if let Some(value) = object.get("artifactType") {
            self.artifact_type(value, &at.member("artifactType"), &rules::ARTIFACT_TYPE_INVALID);
        }
        if let Some(platform) = object.get("platform") {
            self.platform(platform, &at.member("platform"));
        }
        self.data(object, at);
        self.empty(object, at);
    }

    /// RFC 6838, and whether it is of Docker or of a draft.
    pub(in crate::lint) fn media_type(
        &mut self,
        node: &Node<'_>,
        at: &Path<'_>,
        invalid: &'static Rule,
    ) {
        let Some(text) = node.text() else { return self.wrong(invalid, at, node) };
        if !self.old_media_type(text, at) && !grammar::is_media_type(text) {
            self.wrong(invalid, at, node);
        }
    }

    /// Names the draft or Docker's format that a media type is of, and the modern form.
    pub(in crate::lint) fn old_media_type(&mut self, text: &str, at: &Path<'_>) -> bool {
        let media_type = MediaType::new(text);
        if let Some((draft, modern)) = Draft::of(&media_type) {
            let finding = self.report(&rules::DRAFT_MEDIA_TYPE, at);
            finding.expected = Some(quoted(modern.as_str()));
            finding.found = Some(format!("{}, of {}", quoted(text), draft.name()));
            return true;
        }
        if let Some(modern) = modern_of_docker(&media_type) {
            let finding = self.report(&rules::DOCKER_MEDIA_TYPE, at);
            finding.expected = Some(quoted(modern.as_str()));
            finding.found = Some(quoted(text));
        }
        if !media_type.is_distributable() {
            self.report(&rules::NON_DISTRIBUTABLE, at).found = Some(quoted(text));
        }
        false
    }

    /// `artifactType` of a document or of a descriptor.
    pub(in crate::lint) fn artifact_type(
        &mut self,
        node: &Node<'_>,
        at: &Path<'_>,
        invalid: &'static Rule,
    ) {
        match node.text() {
            Some(text) if IMAGE_PARTS.contains(&text) => {
                self.wrong(&rules::DRAFT_ARTIFACT_TYPE, at, node);
            }
            Some(text) if grammar::is_media_type(text) => {}
            _ => self.wrong(invalid, at, node),
        }
    }

    pub(in crate::lint) fn digest(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(text) = node.text() else {
            return self.wrong(&rules::DIGEST_INVALID, at, node);
        };
        match grammar::digest(text).map(|digest| digest.algorithm().ok()) {
            Ok(Some(Algorithm::Sha256)) => {}
            Ok(Some(other)) => {
                self.report(&rules::DIGEST_NOT_SHA256, at).found = Some(other.to_string());
            }
            Ok(None) => self.wrong(&rules::DIGEST_UNREGISTERED, at, node),
            Err(DigestFault::Grammar) => self.wrong(&rules::DIGEST_INVALID, at, node),
            Err(DigestFault::Encoding(algorithm)) => {
                let finding = self.report(&rules::DIGEST_ENCODING, at);
                let length = algorithm.hex_length();
                finding.expected = Some(format!("{length} of 0-9 and a-f after {algorithm}:"));
                finding.found = Some(quoted(text));
            }
        }
    }

    fn size(&mut self, object: &Object<'_>, at: &Path<'_>) {
        let at = &at.member("size");
        match object.get("size") {
            None => self.missing(&rules::SIZE_MISSING, at),
            Some(Node::Unsigned(size)) if i64::try_from(*size).is_ok() => {}
            Some(node @ Node::Signed(_)) => self.wrong(&rules::SIZE_NEGATIVE, at, node),
            Some(node) => self.wrong(&rules::SIZE_INVALID, at, node),
        }
    }

    fn urls(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(urls) = node.array() else { return self.wrong(&rules::URLS_INVALID, at, node) };
        for (index, url) in urls.iter().enumerate() {
            let at = &at.item(index);
            match url.text() {
                None => self.wrong(&rules::URLS_INVALID, at, url),
                Some(text) if !grammar::is_uri(text) => self.wrong(&rules::URL_INVALID, at, url),
                Some(text) => {
                    let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
                    if !matches!(scheme.as_str(), "http" | "https") {
                        self.wrong(&rules::URL_SCHEME, at, url);
                    }
                }
            }
        }
    }

    /// "The decoded data MUST be identical to the referenced content" (rule J7).
    fn data(&mut self, object: &Object<'_>, at: &Path<'_>) {
        let Some(data) = object.get("data") else { return };
        let at = &at.member("data");
        let Some(text) = data.text() else { return self.wrong(&rules::DATA_INVALID, at, data) };
        let Ok(content) = BASE64.decode(text) else {
            return self.wrong(&rules::DATA_INVALID, at, data);
        };
        // What is broken is told already, and says nothing of the content.
        let digest = object.text("digest").and_then(|text| text.parse::<Digest>().ok());
        let (Some(digest), Some(Node::Unsigned(size))) = (digest, object.get("size")) else {
            return;
        };
        if i64::try_from(*size).is_err() {
            return;
        }
        let descriptor = Descriptor::new(MediaType::EMPTY, digest, *size);
        if let Err(err) = descriptor.verify(&content)
            && err.kind() == Kind::Mismatch
        {
            let finding = self.report(&rules::DATA_MISMATCH, at);
            finding.expected = err.expected_value().map(str::to_owned);
            finding.found = err.found_value().map(str::to_owned);
        }
    }

    fn empty(&mut self, object: &Object<'_>, at: &Path<'_>) {
        if object.text("mediaType") != Some(MediaType::EMPTY.as_str()) {
            return;
        }
        let digest = object.text("digest").and_then(|text| text.parse::<Digest>().ok());
        let Some(algorithm) = digest.as_ref().and_then(|digest| digest.algorithm().ok()) else {
            return;
        };
        let expected = algorithm.digest(b"{}");
        if digest.as_ref() != Some(&expected) {
            let finding = self.report(&rules::EMPTY_CONTENT, &at.member("digest"));
            finding.expected = Some(expected.to_string());
            finding.found = digest.map(|digest| digest.to_string());
        }
    }
}

/// The compatibility matrix of media-types.md, read from Docker's side.
fn modern_of_docker(media_type: &MediaType) -> Option<MediaType> {
    let pairs = [
        (MediaType::DOCKER_LIST, MediaType::INDEX),
        (MediaType::DOCKER_MANIFEST, MediaType::MANIFEST),
        (MediaType::DOCKER_CONFIG, MediaType::CONFIG),
        (MediaType::DOCKER_LAYER, MediaType::LAYER),
        (MediaType::DOCKER_LAYER_GZIP, MediaType::LAYER_GZIP),
        (MediaType::DOCKER_LAYER_ZSTD, MediaType::LAYER_ZSTD),
        (MediaType::DOCKER_FOREIGN_LAYER_GZIP, MediaType::FOREIGN_LAYER_GZIP),
    ];
    pairs.into_iter().find(|(docker, _)| docker == media_type).map(|(_, modern)| modern)
}
