//! What sort of manifest a document is, before it is read as one.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::document::LIMIT;
use crate::error::{Error, Kind, Result};
use crate::media_type::{MediaType, Role};
use crate::strict_json::{self, Shape};

/// The media type of a manifest: what the outside (a descriptor, a `Content-Type`) says, what the
/// document says and what its members show must agree (CVE-2021-41190, rule J1).
pub(super) fn media_type_of(bytes: &[u8], outside: Option<&MediaType>) -> Result<MediaType> {
    let probe: Probe = strict_json::parse(bytes, LIMIT, Probe::SHAPE, "manifest")?;
    probe.agree(outside)
}

/// What tells the sorts of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: One,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    manifests: Present,
    #[serde(default)]
    config: Present,
    #[serde(default)]
    layers: Present,
    #[serde(default)]
    fs_layers: Present,
    #[serde(default)]
    blobs: Present,
}

/// Whether a member is there at all, even as `null` or empty.
#[derive(Clone, Copy, Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// Whether a value is the number 1, without keeping any other, however large.
#[derive(Clone, Copy, Default)]
struct One(bool);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(false))
    }
}

impl<'de> Visitor<'de> for One {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self, E> {
        Ok(Self(value == 1))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

/// What the members of a document show it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Members {
    Index,
    Image,
    Artifact,
}

impl Probe {
    const SHAPE: Shape = Shape::Object(&[
        ("schemaVersion", Shape::Free),
        ("mediaType", Shape::Free),
        ("manifests", Shape::Free),
        ("config", Shape::Free),
        ("layers", Shape::Free),
        ("fsLayers", Shape::Free),
        ("blobs", Shape::Free),
        ("artifactType", Shape::Free),
        ("subject", Shape::Free),
        ("annotations", Shape::Free),
    ]);

    /// The one media type that the outside, the document and its members agree on.
    fn agree(&self, outside: Option<&MediaType>) -> Result<MediaType> {
        self.refuse_schema1(outside)?;
        if let (Some(outside), Some(own)) = (outside, &self.media_type)
            && outside != own
        {
            return Err(Error::invalid(
                "manifest says another media type than its descriptor or Content-Type",
            )
            .expected(outside)
            .found(own));
        }
        let stated = outside.or(self.media_type.as_ref());
        let members = self.members(stated)?;
        let Some(stated) = stated else {
            return Ok(members.media_type());
        };
        match (stated.role(), members) {
            (Role::Index, Members::Index)
            | (Role::Manifest, Members::Image)
            | (Role::Artifact, Members::Artifact) => Ok(stated.clone()),
            (Role::Index | Role::Manifest | Role::Artifact, _) => {
                Err(Error::invalid("manifest is not of the media type it states")
                    .expected(stated)
                    .found(format!("the members {}", members.names())))
            }
            _ => Err(Error::new(Kind::Unsupported, "not a media type of a manifest")
                .expected(MediaType::MANIFESTS.map(|known| known.to_string()).join(", "))
                .found(stated)),
        }
    }

    fn refuse_schema1(&self, outside: Option<&MediaType>) -> Result<()> {
        let is_schema1 = |media_type: Option<&MediaType>| {
            media_type.is_some_and(|media_type| media_type.role() == Role::Schema1)
        };
        let named = is_schema1(outside) || is_schema1(self.media_type.as_ref());
        if self.fs_layers.0 || self.schema_version.0 || named {
            return Err(Error::new(Kind::Unsupported, "manifest is of Docker schema 1")
                .expected("schemaVersion 2")
                .found("schemaVersion 1, whose signature and history no longer protect the image")
                .hint("push the image again with a tool of 2017 or later"));
        }
        Ok(())
    }

    /// What the members show the document to be. An artifact manifest may have none at all that
    /// another one has not, so there the media type must say it.
    fn members(&self, stated: Option<&MediaType>) -> Result<Members> {
        let image = self.config.0 || self.layers.0;
        let artifact = stated.is_some_and(|stated| stated.role() == Role::Artifact);
        match (self.manifests.0, image) {
            (true, true) => Err(Error::invalid("manifest is both an index and an image")
                .expected("either `manifests`, or `config` and `layers`")
                .found("both")),
            (true, false) => Ok(Members::Index),
            (false, true) => Ok(Members::Image),
            (false, false) if artifact => Ok(Members::Artifact),
            (false, false) => Err(Error::invalid("document is no manifest")
                .expected("`manifests`, or `config` and `layers`")
                .found(if self.blobs.0 {
                    "`blobs`, as in a draft of the artifact manifest, without that media type"
                } else {
                    "neither"
                })),
        }
    }
}

impl Members {
    /// OCI's type for a document that does not state its own.
    fn media_type(self) -> MediaType {
        match self {
            Self::Index => MediaType::INDEX,
            Self::Image => MediaType::MANIFEST,
            Self::Artifact => MediaType::DRAFT_ARTIFACT,
        }
    }

    fn names(self) -> &'static str {
        match self {
            Self::Index => "`manifests`",
            Self::Image => "`config` and `layers`",
            Self::Artifact => "of an artifact",
        }
    }
}
