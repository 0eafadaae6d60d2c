//! Descriptors: what content is, what it is called and how long. image-spec, descriptor.md.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::document::Format;
use crate::error::{Error, Kind, Result};
use crate::extra::Extra;
use crate::media_type::MediaType;
use crate::platform::Platform;
use crate::strict_json::{Shape, null_is_absent};

/// Free metadata, in the order of the document. image-spec, annotations.md.
pub type Annotations = IndexMap<String, String>;

pub use crate::annotations::REF_NAME;

/// Points to content. image-spec, descriptor.md, "Properties", has a paragraph for each member;
/// those that it does not know are kept in `extra`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// `mediaType`: what sort of content it is. "Values MUST comply with RFC 6838"; see
    /// [`MediaType::check`].
    pub media_type: MediaType,
    /// `digest`: what the content is called.
    pub digest: Digest,
    /// `size`: the length of the content in bytes, at most 2^63 - 1.
    #[serde(deserialize_with = "int64")]
    pub size: u64,
    /// `urls`: where else the content may lie (RFC 3986). Never fetched unless asked for.
    #[serde(default, deserialize_with = "null_is_absent", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// `annotations`: free metadata; see [`crate::annotations`].
    #[serde(
        default,
        deserialize_with = "null_is_absent",
        skip_serializing_if = "IndexMap::is_empty"
    )]
    pub annotations: Annotations,
    /// `data`: the content itself, in Base64 (RFC 4648, section 4); see [`Descriptor::embedded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// `platform`: what the content runs on, where it is an entry of an index (image-spec,
    /// image-index.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// `artifactType`: what sort of artifact a manifest is; for an image manifest "the value of the
    /// config descriptor `mediaType`" where it has no type of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The names that image-spec gives to a platform's members. image-spec, image-index.md.
pub(crate) const PLATFORM: Shape = Shape::Object(&[
    ("architecture", Shape::Free),
    ("os", Shape::Free),
    ("os.version", Shape::Free),
    ("os.features", Shape::Free),
    ("variant", Shape::Free),
    ("features", Shape::Free),
]);

/// The names that image-spec gives to a descriptor's members.
pub(crate) const DESCRIPTOR: Shape = Shape::Object(&[
    ("mediaType", Shape::Free),
    ("digest", Shape::Free),
    ("size", Shape::Free),
    ("urls", Shape::Free),
    ("annotations", Shape::Free),
    ("data", Shape::Free),
    ("platform", PLATFORM),
    ("artifactType", Shape::Free),
]);

impl Descriptor {
    /// A descriptor with the three members that every one has.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            platform: None,
            artifact_type: None,
            extra: Extra::default(),
        }
    }

    /// The descriptor of bytes that are all at hand.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// The two bytes `{}`. image-spec, manifest.md, "Guidance for an Empty Descriptor".
    pub fn empty() -> Self {
        let mut empty = Self::of(MediaType::EMPTY, b"{}");
        empty.data = Some(BASE64.encode(b"{}"));
        empty
    }

    /// The same content without what an index says of it: platform, annotations, unknown members.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self::new(self.media_type.clone(), self.digest.clone(), self.size)
    }

    /// The name that a layout's index gives to this entry.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// The content embedded in `data`, verified: "The decoded data MUST be identical to the
    /// referenced content" (image-spec, descriptor.md, "Properties").
    pub fn embedded(&self) -> Result<Option<Bytes>> {
        let Some(data) = &self.data else {
            return Ok(None);
        };
        let bytes = BASE64.decode(data).map_err(|err| {
            Error::invalid(format!("`data` of {} is not Base64", self.digest)).source(err)
        })?;
        self.verify(&bytes)?;
        Ok(Some(bytes.into()))
    }

    /// Checks length and digest of bytes that are all at hand.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 != self.size {
            return Err(self.wrong_size(bytes.len() as u64));
        }
        let found = self.digest.algorithm()?.digest(bytes);
        self.digest
            .check(&found, || format!("content of {} has another digest", self.digest.short()))
    }

    /// The fault of content that has another length than this descriptor says.
    pub fn wrong_size(&self, found: u64) -> Error {
        Error::new(Kind::Mismatch, format!("content of {} has another size", self.digest.short()))
            .expected(format!("{} bytes", self.size))
            .found(format!("{found} bytes"))
    }
}

/// A descriptor is a document of its own under [`MediaType::DESCRIPTOR`].
impl Format for Descriptor {
    const NAME: &'static str = "descriptor";
    const SHAPE: Shape = DESCRIPTOR;

    fn check(&self) -> Result<()> {
        self.embedded().map(drop)
    }
}

/// `size` is an int64 that "MUST NOT be negative" (image-spec, descriptor.md, "Properties").
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if size <= i64::MAX as u64 {
        return Ok(size);
    }
    let message: Cow<str> = format!("size {size} is greater than 2^63 - 1").into();
    Err(serde::de::Error::custom(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict_json;

    fn parse(json: &str) -> Result<Descriptor> {
        strict_json::parse(json.as_bytes(), 1 << 16, DESCRIPTOR, "descriptor")
    }

    fn with(member: &str) -> String {
        let digest = Digest::sha256(b"{}");
        format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":2{member}}}"#)
    }

    #[test]
    fn unknown_members_are_kept() {
        let text = with(r#","annotations":{"b":"1","a":"2"},"x-new":{"k":[1]}"#);
        let descriptor = parse(&text).unwrap();
        assert_eq!(serde_json::to_string(&descriptor).unwrap(), text);
    }

    #[test]
    fn sizes_are_whole_and_bounded() {
        let json = |size: &str| with("").replace("\"size\":2", &format!("\"size\":{size}"));
        assert!(parse(&json("9223372036854775807")).is_ok());
        for bad in ["-1", "9223372036854775808", "1e3", "1.5", "1.0", "\"7\"", "null"] {
            let err = parse(&json(bad)).unwrap_err();
            assert!(err.message().contains("size"), "{bad}: {err}");
        }
    }

    #[test]
    fn absent_and_null_are_the_same() {
        let descriptor =
            parse(&with(r#","annotations":null,"urls":null,"platform":null"#)).unwrap();
        assert_eq!(descriptor, Descriptor::of(MediaType::new("a/b"), b"{}"));
    }

    #[test]
    fn embedded_content_is_verified() {
        assert_eq!(Descriptor::empty().embedded().unwrap().unwrap(), "{}");
        for (data, kind) in [
            ("e30", Kind::Invalid),
            ("e30=AAAA", Kind::Invalid),
            ("W10=", Kind::Mismatch),
            ("e30K", Kind::Mismatch),
        ] {
            let mut descriptor = Descriptor::empty();
            descriptor.data = Some(data.into());
            assert_eq!(descriptor.embedded().unwrap_err().kind(), kind, "{data}");
        }
    }
}
