//! Media types: what sort of content a descriptor points to. image-spec, media-types.md.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A media type, known or not. Unknown ones are kept as they are:
/// "An encountered `mediaType` that is unknown MUST NOT generate an error."
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Cow<'static, str>);

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952; what every client understands.
    #[default]
    Gzip,
    /// RFC 8478.
    Zstd,
}

/// What the content of a media type is to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// An image index, or Docker's manifest list.
    Index,
    /// An image manifest, of OCI or of Docker.
    Manifest,
    /// The configuration of an image.
    Config,
    /// A filesystem changeset.
    Layer(Compression),
    /// The artifact manifest that image-spec 1.1 had in its release candidates only.
    Artifact,
    /// `{}`, standing for nothing. image-spec, manifest.md, "Guidance for an Empty Descriptor".
    Empty,
    /// A descriptor as a document of its own. image-spec, descriptor.md.
    Descriptor,
    /// The marker file of a layout. image-spec, image-layout.md, "oci-layout file".
    LayoutHeader,
    /// Docker's manifest of 2014, signed JSON, which is recognised only to be refused.
    Schema1,
    /// Anything else: opaque bytes.
    Other,
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $role:expr;)*) => {
        impl MediaType {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*

            /// What content of this type is to an image.
            pub fn role(&self) -> Role {
                match self.as_str() {
                    $($text => $role,)*
                    _ => Role::Other,
                }
            }

            /// One of the constants, which need no memory of their own.
            fn known(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

media_types! {
    /// image-spec, image-index.md
    INDEX = "application/vnd.oci.image.index.v1+json", Role::Index;
    /// image-spec, manifest.md
    MANIFEST = "application/vnd.oci.image.manifest.v1+json", Role::Manifest;
    /// image-spec, config.md
    CONFIG = "application/vnd.oci.image.config.v1+json", Role::Config;
    /// image-spec, layer.md
    LAYER = "application/vnd.oci.image.layer.v1.tar", Role::Layer(Compression::None);
    /// image-spec, layer.md, "`+gzip` Media Types"
    LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip", Role::Layer(Compression::Gzip);
    /// image-spec, layer.md, "`+zstd` Media Types"
    LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd", Role::Layer(Compression::Zstd);
    /// image-spec, layer.md, "Non-Distributable Layers"; deprecated there
    FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar", Role::Layer(Compression::None);
    /// image-spec, layer.md, "Non-Distributable Layers"; deprecated there
    FOREIGN_LAYER_GZIP = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Role::Layer(Compression::Gzip);
    /// image-spec, layer.md, "Non-Distributable Layers"; deprecated there
    FOREIGN_LAYER_ZSTD = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Role::Layer(Compression::Zstd);
    /// image-spec, manifest.md, "Guidance for an Empty Descriptor"
    EMPTY = "application/vnd.oci.empty.v1+json", Role::Empty;
    /// What nothing more is known of (RFC 2046, 4.5.1)
    OCTETS = "application/octet-stream", Role::Other;
    /// What clients write as the type of an artifact that has none
    UNKNOWN_ARTIFACT = "application/vnd.unknown.artifact.v1", Role::Other;
    /// image-spec, descriptor.md
    DESCRIPTOR = "application/vnd.oci.descriptor.v1+json", Role::Descriptor;
    /// image-spec, image-layout.md, "oci-layout file"
    LAYOUT_HEADER = "application/vnd.oci.layout.header.v1+json", Role::LayoutHeader;
    /// Docker's image index
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json", Role::Index;
    /// Docker's image manifest
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json", Role::Manifest;
    /// Docker's image config
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json", Role::Config;
    /// Docker's uncompressed layer
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar", Role::Layer(Compression::None);
    /// Docker's layer; "interchangeable and fully compatible" with the OCI one
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip", Role::Layer(Compression::Gzip);
    /// Docker's zstd layer, as BuildKit writes it
    DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd", Role::Layer(Compression::Zstd);
    /// Docker's non-distributable layer
    DOCKER_FOREIGN_LAYER_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Role::Layer(Compression::Gzip);
    /// Docker's uncompressed non-distributable layer
    DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar", Role::Layer(Compression::None);
    /// Docker's first manifest
    DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json", Role::Schema1;
    /// Docker's first manifest, signed
    DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws", Role::Schema1;

    /// Of image-spec 1.1.0-rc1 and rc2; see [`crate::draft`]
    DRAFT_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json", Role::Artifact;
    /// Of the first proposal of artifacts; see [`crate::draft`]
    DRAFT_INDEX = "application/vnd.oci.index.v1+json", Role::Index;
    /// Of the first proposal of artifacts; see [`crate::draft`]
    DRAFT_MANIFEST = "application/vnd.oci.manifest.v1+json", Role::Manifest;
    /// Of the first proposal of artifacts; see [`crate::draft`]
    DRAFT_CONFIG = "application/vnd.oci.config.v1+json", Role::Config;
    /// Of the first proposal of artifacts; see [`crate::draft`]
    DRAFT_LAYER = "application/vnd.oci.layer.v1.tar", Role::Layer(Compression::None);
    /// Of the first proposal of artifacts; see [`crate::draft`]
    DRAFT_LAYER_GZIP = "application/vnd.oci.layer.v1.tar+gzip", Role::Layer(Compression::Gzip);
    /// Of the first proposal of artifacts; see [`crate::draft`]
    DRAFT_LAYER_ZSTD = "application/vnd.oci.layer.v1.tar+zstd", Role::Layer(Compression::Zstd);
    /// [`MediaType::LAYER_GZIP`] as some wrote it who followed the first proposal
    BARE_LAYER_GZIP = "vnd.oci.image.layer.v1.tar+gzip", Role::Layer(Compression::Gzip);
    /// Of image-spec before 1.0; see [`crate::draft`]
    EARLY_LIST = "application/vnd.oci.image.manifest.list.v1+json", Role::Index;
    /// Of image-spec before 1.0; see [`crate::draft`]
    EARLY_CONFIG = "application/vnd.oci.image.serialization.config.v1+json", Role::Config;
    /// Of image-spec before 1.0; see [`crate::draft`]
    EARLY_ROOTFS_GZIP = "application/vnd.oci.image.serialization.rootfs.tar.gzip", Role::Layer(Compression::Gzip);
    /// Of image-spec before 1.0; see [`crate::draft`]
    EARLY_SHORT_ROOTFS_GZIP = "application/vnd.oci.image.rootfs.tar.gzip", Role::Layer(Compression::Gzip);
    /// Of image-spec before 1.0; see [`crate::draft`]
    EARLY_LAYER = "application/vnd.oci.image.layer.tar", Role::Layer(Compression::None);
    /// Of image-spec before 1.0; see [`crate::draft`]
    EARLY_LAYER_GZIP = "application/vnd.oci.image.layer.tar+gzip", Role::Layer(Compression::Gzip);
}

impl MediaType {
    /// The manifests that conex understands, in the order in which it asks a registry for them.
    /// Drafts come last, and are asked for, since a registry need not give what nobody accepts.
    pub const MANIFESTS: [Self; 8] = [
        Self::INDEX,
        Self::MANIFEST,
        Self::DOCKER_LIST,
        Self::DOCKER_MANIFEST,
        Self::DRAFT_ARTIFACT,
        Self::DRAFT_INDEX,
        Self::DRAFT_MANIFEST,
        Self::EARLY_LIST,
    ];

    /// A media type from its text, kept as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// A media type from a constant, without a copy of it.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The media type of an HTTP `Content-Type` header: parameters are dropped, since
    /// "the client SHOULD ignore parameters on the `Content-Type` header" (distribution-spec,
    /// "Pulling manifests").
    pub fn from_content_type(header: &str) -> Self {
        let essence = header.split(';').next().unwrap_or_default();
        Self::new(essence.trim().to_ascii_lowercase())
    }

    /// The layer type of OCI for a compression.
    pub const fn layer(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::LAYER,
            Compression::Gzip => Self::LAYER_GZIP,
            Compression::Zstd => Self::LAYER_ZSTD,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether content of this type lists other content: an index or a manifest.
    /// A registry keeps it under `manifests/`, everything else under `blobs/`. Docker's schema 1
    /// counts, although whoever reads one refuses it.
    pub fn is_manifest(&self) -> bool {
        matches!(self.role(), Role::Index | Role::Manifest | Role::Artifact | Role::Schema1)
    }

    /// Whether content of this type is an index, OCI's or Docker's.
    pub fn is_index(&self) -> bool {
        self.role() == Role::Index
    }

    /// Whether content of this type may be given on. image-spec, layer.md, "Non-Distributable Layers".
    pub fn is_distributable(&self) -> bool {
        let kept = [
            Self::FOREIGN_LAYER,
            Self::FOREIGN_LAYER_GZIP,
            Self::FOREIGN_LAYER_ZSTD,
            Self::DOCKER_FOREIGN_LAYER,
            Self::DOCKER_FOREIGN_LAYER_GZIP,
        ];
        !kept.contains(self)
    }

    /// Whether the text is a media type at all: "Values MUST comply with RFC 6838, including the
    /// naming requirements in its section 4.2" (image-spec, descriptor.md, "Properties"), which
    /// allows two names of at most 127 characters each.
    ///
    /// # Errors
    /// `Invalid`, with the text where it can be shown.
    pub fn check(&self) -> Result<()> {
        if self.0.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name)) {
            return Ok(());
        }
        Err(Error::invalid("not a media type")
            .expected("type/subtype, as RFC 6838 section 4.2 names them")
            .found(format!("{:.160?}", self.as_str())))
    }

    /// How a layer of this type is compressed; nothing if it is no layer of a known type.
    pub fn compression(&self) -> Option<Compression> {
        match self.role() {
            Role::Layer(compression) => Some(compression),
            _ => None,
        }
    }
}

/// RFC 6838, section 4.2: `restricted-name`.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && name.len() <= 127 && name.bytes().all(allowed)
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::known(&text).unwrap_or_else(|| Self::new(text)))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles() {
        assert!(MediaType::DOCKER_LIST.is_index());
        assert!(MediaType::new("application/vnd.oci.image.manifest.v1+json").is_manifest());
        assert_eq!(MediaType::DOCKER_LAYER_GZIP.compression(), Some(Compression::Gzip));
        assert_eq!(MediaType::new("application/xml").role(), Role::Other);
    }

    #[test]
    fn drafts_have_the_role_of_their_modern_form() {
        for (draft, role) in [
            (MediaType::DRAFT_INDEX, Role::Index),
            (MediaType::EARLY_LIST, Role::Index),
            (MediaType::DRAFT_MANIFEST, Role::Manifest),
            (MediaType::DRAFT_ARTIFACT, Role::Artifact),
            (MediaType::DRAFT_CONFIG, Role::Config),
            (MediaType::DRAFT_LAYER_GZIP, Role::Layer(Compression::Gzip)),
            (MediaType::EARLY_ROOTFS_GZIP, Role::Layer(Compression::Gzip)),
        ] {
            assert_eq!(draft.role(), role, "{draft}");
            let manifest = matches!(role, Role::Index | Role::Manifest | Role::Artifact);
            assert_eq!(draft.is_manifest(), manifest, "{draft}");
        }
        assert!(!MediaType::DESCRIPTOR.is_manifest() && !MediaType::LAYOUT_HEADER.is_manifest());
    }

    #[test]
    fn names_follow_rfc_6838() {
        let long = format!("a/{}", "b".repeat(128));
        for bad in ["", "a", "a/", "/b", "a/b/c", "a/b c", "a/.b", "a/b;c=d", "a/é", &long] {
            assert!(MediaType::new(bad).check().is_err(), "{bad}");
        }
        for good in ["a/b", "application/vnd.example+type", "x/1!#$&-^_.+", &long[..129]] {
            assert!(MediaType::new(good).check().is_ok(), "{good}");
        }
    }

    #[test]
    fn parameters_of_a_header_are_dropped() {
        let header = "Application/vnd.oci.image.index.v1+JSON; charset=utf-8";
        assert_eq!(MediaType::from_content_type(header), MediaType::INDEX);
    }
}
