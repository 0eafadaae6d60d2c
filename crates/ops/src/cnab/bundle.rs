//! `bundle.json`: what a bundle says about itself. CNAB Core, 101-bundle-json.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use conex_spec::strict_json::{Shape, parse};
use conex_spec::{Descriptor, Digest, Error, Location, MediaType, Reference, Result, Tag};

use crate::helm::{Constraint, Version};
use crate::small_file;

/// The longest `bundle.json` that is read, in bytes.
pub const LIMIT: usize = 4 << 20;

/// The members of a bundle that matter where it is stored; its bytes are kept as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// Which version of the specification it follows.
    pub schema_version: String,
    /// What it is called.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words by which it is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Vec<String>>,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintainers: Option<Vec<Value>>,
    /// The image that installs it. CNAB allows several, those who store bundles one.
    pub invocation_images: Vec<Image>,
    /// The images that it is made of, by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<BTreeMap<String, Image>>,
}

/// An image of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Where it is: `registry.example/app:1`.
    pub image: String,
    /// `oci` or `docker`, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_type: Option<String>,
    /// The digest of its manifest or index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_digest: Option<String>,
    /// The size of that in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
}

/// What an image is to its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// It installs the bundle.
    Invocation,
    /// The bundle is made of it, under this name.
    Component(&'a str),
}

impl Part<'_> {
    /// Where it stands in `bundle.json`.
    pub fn field(&self) -> String {
        match self {
            Self::Invocation => "invocationImages[0]".into(),
            Self::Component(name) => format!("images.{name}"),
        }
    }
}

impl Bundle {
    /// Reads and checks a `bundle.json`; `name` is what people call it.
    ///
    /// # Errors
    /// `Invalid`, with the name and the field.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        let bundle: Self = parse(bytes, LIMIT, Shape::Free, name)?;
        bundle.check().map_err(|err| err.context(name))?;
        Ok(bundle)
    }

    /// The tag of its version, `_` for `+`.
    pub fn tag(&self) -> Result<Tag> {
        Tag::of_version(&self.version)
    }

    /// All images: the one that installs it first, then the others in the order of their names.
    pub fn parts(&self) -> impl Iterator<Item = (Part<'_>, &Image)> {
        let first = self.invocation_images.iter().map(|image| (Part::Invocation, image));
        let named = self.images.iter().flatten();
        first.chain(named.map(|(name, image)| (Part::Component(name), image)))
    }

    fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(wrong("name", "some text", "none"));
        }
        if !is_known(&self.schema_version) {
            return Err(wrong(
                "schemaVersion",
                "version 1 of CNAB, as v1.2.0",
                &self.schema_version,
            ));
        }
        // "'latest' is not a valid bundle version", nor is anything else that is none.
        let semantic = self.version.parse::<Version>();
        if semantic.is_err() || self.tag().is_err() {
            return Err(wrong("version", "a semantic version such as 1.2.3", &self.version));
        }
        if self.invocation_images.len() != 1 {
            let found = format!("{} of them", self.invocation_images.len());
            return Err(wrong("invocationImages", "one image", &found));
        }
        for (part, image) in self.parts() {
            image.check_type(part)?;
            image.reference(part)?;
            image.digest(part)?;
        }
        Ok(())
    }
}

/// Whether a schema is the one of CNAB Core 1; drafts were called `cnab-core-1.0.0` and `v1.0.0-WD`.
fn is_known(schema: &str) -> bool {
    let version = schema.strip_prefix("cnab-core-").unwrap_or(schema).parse::<Version>();
    let first = ">=1.0.0-0 <2.0.0-0".parse::<Constraint>();
    matches!((version, first), (Ok(version), Ok(first)) if first.matches(&version))
}

impl Image {
    /// "The list of formats is open-ended, but any CNAB-compliant system MUST implement `docker` and `oci`":
    /// a registry has no others.
    fn check_type(&self, part: Part<'_>) -> Result<()> {
        match self.image_type.as_deref().unwrap_or_default() {
            "" | "oci" | "docker" => Ok(()),
            other => {
                let field = format!("{}.imageType", part.field());
                Err(wrong(&field, "`oci` or `docker`, which a registry holds", other))
            }
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn reference(&self, part: Part<'_>) -> Result<Reference> {
        let field = format!("{}.image", part.field());
        match self.image.parse() {
            Ok(Location::Registry(reference)) => Ok(reference),
            Ok(_) => Err(wrong(&field, "an image of a registry", &self.image)),
            Err(err) => Err(wrong(&field, "an image of a registry", &self.image).source(err)),
        }
    }

    /// The digest that it must have, where that is said.
    pub fn digest(&self, part: Part<'_>) -> Result<Option<Digest>> {
        let text = self.content_digest.as_deref().filter(|text| !text.is_empty());
        let field = || format!("{}.contentDigest", part.field());
        let parse = |text: &str| {
            text.parse::<Digest>().map_err(|err| wrong(&field(), "a digest", text).source(err))
        };
        text.map(parse).transpose()
    }

    /// Checks that what was found is what the bundle says.
    ///
    /// # Errors
    /// `Mismatch`, with the field.
    pub fn check(&self, part: Part<'_>, found: &Descriptor) -> Result<()> {
        let field = part.field();
        let other = |name: &str, expected: String, found: String| {
            Error::new(
                conex_spec::Kind::Mismatch,
                format!("{field}.{name} is not that of {}", self.image),
            )
            .expected(expected)
            .found(found)
        };
        if let Some(digest) = self.digest(part)?
            && digest != found.digest
        {
            return Err(other("contentDigest", digest.to_string(), found.digest.to_string())
                .hint("the image was pushed anew, or the bundle names another one"));
        }
        match (self.size.filter(|size| *size != 0), &self.media_type) {
            (Some(size), _) if size != found.size => {
                Err(other("size", size.to_string(), found.size.to_string()))
            }
            (_, Some(kind)) if !kind.as_str().is_empty() && *kind != found.media_type => {
                Err(other("mediaType", kind.to_string(), found.media_type.to_string()))
            }
            _ => Ok(()),
        }
    }
}

fn wrong(field: &str, expected: &str, found: &str) -> Error {
    Error::invalid(format!("`{field}` is not what it must be"))
        .expected(expected)
        .found(format!("{found:.160?}"))
}

/// Whether a file is to be a bundle: JSON with the members that only bundles have. One that is called
/// `bundle.json` is one with either of them already, and where it is no JSON: what it lacks is told, and it
/// does not go up as any other file. Others call files so too, as Sigstore does.
pub fn is_bundle(path: &std::path::Path) -> bool {
    // To open anything else might wait for someone.
    let Ok(meta) = std::fs::metadata(path) else { return false };
    if !meta.is_file() || meta.len() > LIMIT as u64 {
        return false;
    }
    let named = path.file_name().is_some_and(|name| name == "bundle.json");
    let Ok(bytes) = small_file::read(path, LIMIT as u64, "a bundle") else { return false };
    if !named && bytes.trim_ascii_start().first() != Some(&b'{') {
        return false;
    }
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) => {
            // Where it is a number, it is a schema of something else.
            let schema = value.get("schemaVersion").is_some_and(Value::is_string);
            let images = value.get("invocationImages").is_some();
            if named { schema || images } else { schema && images }
        }
        Err(_) => named,
    }
}
