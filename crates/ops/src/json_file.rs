//! A bare JSON file: a document of the specification outside of any store.
//!
//! What sort of document it is shows in its member names (image-spec gives no two of them the
//! same), and a person may name it instead. Nothing here judges the document: a damaged one is
//! recognised too, so that the one who reads it next can say what is wrong with it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Serialize, Serializer};

use conex_spec::document::LIMIT;
use conex_spec::media_type::Role;
use conex_spec::{Error, Kind, Location, MediaType, Result};
use conex_store::{Event, Observer};

use crate::small_file;

/// What a person points to: content in a store, or a file that holds one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A root in a store.
    Location(Location),
    /// A file that holds one document; `-` is standard input.
    File(PathBuf),
}

/// A sort of document that a file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// image-spec, descriptor.md
    Descriptor,
    /// image-spec, image-index.md; Docker's manifest list too
    Index,
    /// image-spec, manifest.md; Docker's manifests and the drafts of the artifact manifest too
    Manifest,
    /// image-spec, config.md
    Config,
    /// image-spec, image-layout.md, "oci-layout file"
    Layout,
}

/// The file as it is.
#[derive(Clone, Debug)]
pub struct JsonFile {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Bytes,
}

impl JsonFile {
    /// Reads a file of at most 8 MiB; `-` is standard input.
    ///
    /// # Errors
    /// `Limit` for a larger one, and what the operating system says.
    pub fn read(path: &Path) -> Result<Self> {
        let (limit, what) = (LIMIT as u64, "one JSON document");
        let bytes = match path == Path::new("-") {
            true => small_file::read_from(io::stdin().lock(), path, limit, what),
            false => small_file::read(path, limit, what),
        };
        let bytes = bytes.map_err(|err| match err.kind() {
            Kind::Limit => err.hint("archives are written oci-archive:FILE or docker-archive:FILE"),
            _ => err,
        })?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// What sort of document it is: the one that was named, or what its members show.
    pub fn kind(&self, named: Option<DocumentKind>) -> Result<DocumentKind> {
        named.map_or_else(
            || recognise(&self.bytes).map_err(|err| err.context(self.path.display())),
            Ok,
        )
    }
}

/// What sort of document these bytes are, as their member names show.
///
/// # Errors
/// `Invalid` where they are no JSON object, or one that no specification knows.
pub fn recognise(bytes: &[u8]) -> Result<DocumentKind> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let members = Members::deserialize(&mut deserializer).map_err(|err| {
        Error::invalid("not a JSON object")
            .source(err)
            .hint("archives are written oci-archive:FILE or docker-archive:FILE, folders oci:DIR")
    })?;
    members.kind().ok_or_else(|| {
        Error::invalid("no document of the image specification")
            .expected("members of a descriptor, index, manifest, config or layout marker")
            .found(members.found())
            .hint("name it with `--as descriptor|index|manifest|config|layout`")
    })
}

/// The names of the top level that tell documents apart, and nothing of what they hold.
#[derive(Default)]
struct Members {
    /// Those of [`TELLING`] that are there.
    names: Vec<&'static str>,
    /// The first few others, for the error.
    others: Vec<String>,
    media_type: Option<MediaType>,
}

const TELLING: [&str; 14] = [
    "imageLayoutVersion",
    "manifests",
    "layers",
    "fsLayers",
    "blobs",
    "config",
    "rootfs",
    "history",
    "architecture",
    "os",
    "digest",
    "size",
    "schemaVersion",
    "mediaType",
];

impl Members {
    fn kind(&self) -> Option<DocumentKind> {
        let has = |name: &str| self.names.contains(&name);
        let any = |names: &[&str]| names.iter().any(|name| has(name));
        Some(if has("imageLayoutVersion") {
            DocumentKind::Layout
        } else if has("manifests") {
            DocumentKind::Index
        } else if any(&["layers", "fsLayers", "blobs"]) {
            DocumentKind::Manifest
        } else if any(&["rootfs", "history"]) || (has("architecture") && has("os")) {
            DocumentKind::Config
        } else if any(&["digest", "size"]) {
            DocumentKind::Descriptor
        } else {
            // Something is missing; what it calls itself is left.
            match self.media_type.as_ref().map(MediaType::role) {
                Some(Role::Index) => DocumentKind::Index,
                Some(Role::Manifest | Role::Artifact | Role::Schema1) => DocumentKind::Manifest,
                Some(_) if !has("schemaVersion") => DocumentKind::Descriptor,
                _ if has("config") => DocumentKind::Manifest,
                _ => return None,
            }
        })
    }

    fn found(&self) -> String {
        let names: Vec<_> =
            self.names.iter().copied().chain(self.others.iter().map(String::as_str)).collect();
        if names.is_empty() { "an empty object".into() } else { names.join(", ") }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<String>()? {
            match TELLING.iter().find(|telling| **telling == name) {
                Some(telling) if !members.names.contains(telling) => members.names.push(telling),
                Some(_) => {}
                None if members.others.len() < 5 => members.others.push(name.clone()),
                None => {}
            }
            if name == "mediaType" {
                members.media_type = map.next_value::<Text>()?.0.map(MediaType::new);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// A string; anything else is passed over.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Text, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Text(None))
    }
}

impl FromStr for Target {
    type Err = Error;

    /// `file:PATH`, `-`, what can only be a path (`./x`, `/x`) and names a file, and the name of
    /// a `.json` file that is there; everything else is a location. `docker://` and `oci:` force one.
    ///
    /// # Errors
    /// `NotFound` for what can only be meant as a file, and is none.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self::File(path.into()));
        }
        let path = Path::new(text);
        let only_a_path = ["./", "../", "/"].iter().any(|start| text.starts_with(start));
        let named_so = path.extension().is_some_and(|extension| extension == "json");
        if text == "-" || ((only_a_path || named_so) && path.is_file()) {
            return Ok(Self::File(path.into()));
        }
        if path.is_dir() && only_a_path {
            return Err(Error::new(Kind::Usage, format!("{} is a folder", path.display()))
                .expected("the path of a file, or a location")
                .hint(format!("did you mean oci:{text}?")));
        }
        let location = text.parse();
        if location.is_err() && (named_so || only_a_path) && !path.exists() {
            return Err(Error::not_found(format!("there is no file {}", shown(path)))
                .hint(format!("places of images are written {FORMS}")));
        }
        location.map(Self::Location)
    }
}

/// A target as it was typed. A file of this machine goes before an image of Docker's registry that
/// happens to be written in the same way; only what looks at documents is meant so.
#[derive(Clone, Debug)]
pub struct Typed {
    /// What is meant.
    pub target: Target,
    /// What else it could have meant.
    pub other: Option<Location>,
}

impl Typed {
    /// Tells where something else could have been meant.
    pub fn tell(&self, observer: &dyn Observer) {
        if let Some(other) = &self.other {
            let target = &self.target;
            let text = format!("{target} is a file here; the image is written docker://{other}");
            observer.event(Event::Warning(&text));
        }
    }
}

impl FromStr for Typed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse()? {
            // With a host before the first slash, or `docker://`, it is written for a registry.
            Target::Location(other @ Location::Registry(_))
                if is_short(text) && Path::new(text).is_file() =>
            {
                Ok(Self { target: Target::File(text.into()), other: Some(other) })
            }
            target => Ok(Self { target, other: None }),
        }
    }
}

fn is_short(text: &str) -> bool {
    let host = text.split_once('/').map_or("", |(host, _)| host);
    !text.contains("://") && !host.contains(['.', ':']) && host != "localhost"
}

/// What locations of files and folders look like.
const FORMS: &str = "oci:DIR, oci-archive:FILE or docker-archive:FILE";

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(location) => location.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Descriptor, Self::Index, Self::Manifest, Self::Config, Self::Layout];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Layout => "layout",
        }
    }
}

impl FromStr for DocumentKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            Error::new(Kind::Usage, "not a sort of document")
                .expected("descriptor, index, manifest, config or layout")
                .found(text.escape_debug())
        })
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for DocumentKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_tell_documents_apart() {
        for (kind, json) in [
            (DocumentKind::Layout, r#"{"imageLayoutVersion":"1.0.0"}"#),
            (DocumentKind::Index, r#"{"schemaVersion":2,"manifests":[]}"#),
            (DocumentKind::Index, r#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#),
            (DocumentKind::Manifest, r#"{"schemaVersion":2,"config":{},"layers":[]}"#),
            (DocumentKind::Manifest, r#"{"schemaVersion":1,"fsLayers":[],"architecture":"x"}"#),
            (DocumentKind::Manifest, r#"{"mediaType":"a","artifactType":"b","blobs":[]}"#),
            (DocumentKind::Manifest, r#"{"schemaVersion":2,"config":{}}"#),
            (DocumentKind::Config, r#"{"architecture":"amd64","os":"linux","config":{}}"#),
            (DocumentKind::Config, r#"{"rootfs":{}}"#),
            (DocumentKind::Descriptor, r#"{"mediaType":"a/b","digest":"x","size":1}"#),
            (DocumentKind::Descriptor, r#"{"mediaType":"a/b"}"#),
            // What is wrong with it is for others to say.
            (DocumentKind::Index, r#"{"manifests":[],"manifests":1,"layers":[]}"#),
            (DocumentKind::Index, r#"{"mediaType":[{"a":1}],"manifests":null}"#),
        ] {
            assert_eq!(recognise(json.as_bytes()).unwrap(), kind, "{json}");
        }
    }

    #[test]
    fn what_is_no_document_says_what_it_is() {
        for (json, part) in [
            ("{}", "an empty object"),
            (r#"{"name":1,"version":2}"#, "name, version"),
            (r#"{"schemaVersion":2,"mediaType":"a/b"}"#, "schemaVersion"),
            ("[]", "object"),
            ("\u{1f}\u{8b}", "object"),
            ("", "object"),
            (&format!("{{\"a\":{}", "[".repeat(100_000)), "not a JSON object"),
        ] {
            let err = recognise(json.as_bytes()).unwrap_err();
            assert_eq!(err.kind(), Kind::Invalid);
            assert!(err.to_string().contains(part), "{err}");
        }
    }

    #[test]
    fn a_path_is_taken_for_a_file_only_where_it_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        std::fs::write(&file, "{}").unwrap();
        let target = |text: &str| text.parse::<Target>();
        assert_eq!(target(file.to_str().unwrap()).unwrap(), Target::File(file.clone()));
        assert_eq!(target("file:a:b").unwrap(), Target::File("a:b".into()));
        assert_eq!(target("-").unwrap(), Target::File("-".into()));
        assert!(matches!(target("alpine").unwrap(), Target::Location(Location::Registry(_))));
        assert!(matches!(target("oci:x").unwrap(), Target::Location(Location::Layout { .. })));
        let folder = dir.path().to_str().unwrap();
        assert_eq!(
            target(folder).unwrap_err().hint_text().unwrap(),
            format!("did you mean oci:{folder}?")
        );
        for text in ["nothere.json", "a/nothere.json", "./nothere.json", "./nothere", "/no/where"] {
            let err = target(text).unwrap_err();
            assert!(err.to_string().contains("there is no file"), "{text}: {err}");
            assert!(!err.hint_text().unwrap().contains("did you mean"), "{text}: {err}");
        }
        assert!(target("image.tar").is_err());
        assert!(matches!(target("localhost:5000/x.json").unwrap(), Target::Location(_)));
        assert_eq!(JsonFile::read(&file).unwrap().bytes, "{}");
    }

    #[test]
    fn more_than_a_document_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        std::fs::File::create(&path).unwrap().set_len(LIMIT as u64 + 1).unwrap();
        let err = JsonFile::read(&path).unwrap_err();
        assert_eq!(err.kind(), Kind::Limit);
        assert!(err.hint_text().is_some_and(|hint| hint.contains("oci-archive:FILE")));
        let err = JsonFile::read(Path::new("/nowhere.json")).unwrap_err();
        assert_eq!(err.kind(), Kind::NotFound);
    }
}
