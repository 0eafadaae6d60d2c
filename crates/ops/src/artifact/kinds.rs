//! Artifacts whose files tell what they are: bills of materials, attestations, modules of
//! WebAssembly, models of machine learning.
//!
//! | kind | seen by | type of the layer, and of the artifact |
//! |---|---|---|
//! | SPDX | `spdxVersion`, or a `@context` of SPDX 3, in JSON or YAML; `SPDXVersion:` in text; the name space in XML | `application/spdx+json`, `+yaml`, `+xml`, `text/spdx` |
//! | CycloneDX | `bomFormat` in JSON, the name space in XML | `application/vnd.cyclonedx+json`, `+xml` |
//! | in-toto | a statement's `_type`, or a DSSE envelope around one; several, a line for each | `application/vnd.in-toto+json` |
//! | WebAssembly | the first four bytes | `application/wasm`, with the config of the CNCF's layout |
//! | model | a folder with weights, `.safetensors`, `.gguf`, that is pushed alone | those of the CNCF's ModelPack |

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::str::FromStr;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Error, Kind as Fault, MediaType, Result};

use super::draft::Draft;
use super::wasm::World;
use super::{model, wasm};

/// What is read of a file to see what it is, in bytes.
const HEAD: usize = 4096;
/// Longer JSON is not looked into, in bytes.
const MAX_JSON: u64 = 256 << 20;
/// What an attestation says about, as builders annotate it.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// SPDX in JSON, as IANA registers it.
pub const SPDX_JSON: MediaType = MediaType::from_static("application/spdx+json");
/// SPDX as tags and values.
pub const SPDX_TEXT: MediaType = MediaType::from_static("text/spdx");
/// SPDX in YAML.
pub const SPDX_YAML: MediaType = MediaType::from_static("application/spdx+yaml");
/// SPDX as RDF in XML.
pub const SPDX_XML: MediaType = MediaType::from_static("application/spdx+xml");
/// CycloneDX in JSON.
pub const CYCLONEDX_JSON: MediaType = MediaType::from_static("application/vnd.cyclonedx+json");
/// CycloneDX in XML.
pub const CYCLONEDX_XML: MediaType = MediaType::from_static("application/vnd.cyclonedx+xml");
/// A statement of in-toto, bare or in an envelope.
pub const IN_TOTO: MediaType = MediaType::from_static("application/vnd.in-toto+json");
/// A module or component of WebAssembly.
pub const WASM: MediaType = MediaType::from_static("application/wasm");
/// The config of a module or component.
pub const WASM_CONFIG: MediaType = MediaType::from_static("application/vnd.wasm.config.v0+json");
/// A model.
pub const MODEL: MediaType = MediaType::from_static("application/vnd.cncf.model.manifest.v1+json");
/// The config of a model.
pub const MODEL_CONFIG: MediaType =
    MediaType::from_static("application/vnd.cncf.model.config.v1+json");

/// A sort of artifact that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bill of materials of SPDX.
    Spdx,
    /// A bill of materials of CycloneDX.
    CycloneDx,
    /// An attestation.
    InToto,
    /// A module or component of WebAssembly.
    Wasm,
    /// A model of machine learning, in a folder.
    Model,
}

impl Kind {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("spdx", Self::Spdx),
        ("cyclonedx", Self::CycloneDx),
        ("in-toto", Self::InToto),
        ("wasm", Self::Wasm),
        ("model", Self::Model),
    ];

    fn noun(self) -> &'static str {
        match self {
            Self::Spdx => "a document of SPDX",
            Self::CycloneDx => "a document of CycloneDX",
            Self::InToto => "an attestation",
            Self::Wasm => "a module of WebAssembly",
            Self::Model => "a model",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            Error::new(Fault::Usage, "not a known kind of artifact")
                .expected(names.join(", "))
                .found(text.escape_debug())
        })
    }
}

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The sort of artifact.
    pub kind: Kind,
    /// The type of the file.
    pub media_type: MediaType,
    /// Of an attestation, what it says.
    pub predicate: Option<String>,
    /// Of a component of WebAssembly, and no module, what it asks for and offers.
    pub world: Option<World>,
}

impl Known {
    fn new(kind: Kind, media_type: MediaType) -> Self {
        Self { kind, media_type, predicate: None, world: None }
    }

    /// A folder with a model in it.
    pub(super) fn model() -> Self {
        Self::new(Kind::Model, MODEL)
    }
}

/// Says what an artifact is whose files are all of one kind, unless someone said it: by its type, or
/// by a config that its layers are described in.
pub(super) fn complete(draft: &mut Draft, files: &[Option<Known>]) {
    let Some(Some(first)) = files.first() else { return };
    if files.iter().any(|file| file.as_ref().is_none_or(|file| file.kind != first.kind)) {
        return;
    }
    match first.kind {
        Kind::Wasm if files.len() == 1 => draft.derived = Some(Derived::Wasm(first.world.clone())),
        Kind::Model if files.len() == 1 => {
            draft.derived = Some(Derived::Model);
            draft.artifact_type.get_or_insert(MODEL);
        }
        Kind::Wasm | Kind::Model => {}
        _ => {
            draft.artifact_type.get_or_insert(first.media_type.clone());
        }
    }
}

/// A config that follows from what an artifact is made of, once that is hashed.
#[derive(Clone, Debug)]
pub enum Derived {
    /// That of a module of WebAssembly, or of a component.
    Wasm(Option<World>),
    /// That of a model.
    Model,
}

impl Derived {
    /// What it is.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Wasm(_) => WASM_CONFIG,
            Self::Model => MODEL_CONFIG,
        }
    }

    pub(super) fn config(&self, draft: &Draft, layers: &[Descriptor]) -> Result<Bytes> {
        match self {
            Self::Wasm(world) => wasm::config(draft, layers, world.as_ref()),
            Self::Model => model::config(draft, layers),
        }
    }
}

pub(super) fn printed(value: &serde_json::Value) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|err| Error::invalid("config cannot be printed").source(err))
}

/// What looks like a chart or a bundle and is no good one may be meant as nothing but a file.
pub(crate) fn or_as_files(err: Error) -> Error {
    match err.kind() {
        Fault::Invalid | Fault::Limit if err.hint_text().is_none() => {
            err.hint("`--as files` pushes it as it is")
        }
        _ => err,
    }
}

/// Looks into a file of which someone says that it is of a kind.
///
/// # Errors
/// `Invalid`, with what was found, where it is of none or of another.
pub(super) fn expect(path: &Path, kind: Kind) -> Result<Known> {
    let name = path.display();
    if kind == Kind::Model {
        model::check(&[(path.to_owned(), name.to_string())], path)?;
        return Ok(Known::model());
    }
    let signs = match kind {
        Kind::Spdx => "`spdxVersion`, or a `@context` of SPDX 3",
        Kind::CycloneDx => "`bomFormat`, or the name space in XML",
        Kind::InToto => "a `_type` of in-toto, or a `payloadType` and `signatures`",
        Kind::Wasm | Kind::Model => r"`\0asm` at its start",
    };
    let found = match recognise(path)? {
        Some(known) if known.kind == kind => return Ok(known),
        Some(known) => known.kind.noun().to_owned(),
        None => contents(path)?,
    };
    Err(Error::invalid(format!("{name} is not {}", kind.noun()))
        .expected(signs)
        .found(found)
        .hint("without `--as` it is what its content tells; `--artifact-type` says anything"))
}

/// What a file of no known kind holds, in a few words.
fn contents(path: &Path) -> Result<String> {
    let (file, head, length) = open(path)?;
    if head.trim_ascii_start().first() != Some(&b'{') {
        return Ok(shown(&head));
    }
    if length > LIMIT as u64 {
        return Ok(format!("JSON of {length} bytes without that at its top"));
    }
    let reader = BufReader::new(head.as_slice().chain(file));
    let parsed = serde_json::from_reader::<_, serde_json::Map<String, serde_json::Value>>(reader);
    Ok(match parsed {
        Ok(members) if members.is_empty() => "an empty object of JSON".to_owned(),
        Ok(members) => {
            let names: Vec<_> = members.keys().take(5).map(|key| format!("`{key:.40}`")).collect();
            format!("JSON with {}", names.join(", "))
        }
        Err(err) => format!("no sound JSON: {err}"),
    })
}

/// How the first bytes of a file are shown.
pub(super) fn shown(head: &[u8]) -> String {
    if head.is_empty() {
        return "nothing".to_owned();
    }
    format!("{:?} at its start", String::from_utf8_lossy(&head[..head.len().min(40)]))
}

/// A file, its first bytes, and how long it is.
fn open(path: &Path) -> Result<(File, Vec<u8>, u64)> {
    let cannot = |err| Error::io("cannot read", path, err);
    let mut file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(HEAD as u64).read_to_end(&mut head).map_err(cannot)?;
    Ok((file, head, length))
}

/// Looks into a file; nothing where it is of no known kind.
///
/// # Errors
/// For a file that cannot be read, and for a component of WebAssembly that breaks off.
pub fn recognise(path: &Path) -> Result<Option<Known>> {
    let (file, head, length) = open(path)?;
    if head.starts_with(wasm::MAGIC) {
        let world = wasm::read(head.as_slice().chain(file));
        let world = world.map_err(|err| or_as_files(wasm::told(path.display(), &err)))?;
        return Ok(Some(Known { world, ..Known::new(Kind::Wasm, WASM) }));
    }
    if let Some(known) = by_head(&head) {
        return Ok(Some(known));
    }
    if head.trim_ascii_start().first() != Some(&b'{') || length > MAX_JSON {
        return Ok(None);
    }
    Ok(by_values(BufReader::new(head.as_slice().chain(file))))
}

/// One document; of attestations there may be several, a line for each.
fn by_values(from: impl Read) -> Option<Known> {
    let mut values = serde_json::Deserializer::from_reader(from).into_iter::<Top>();
    let mut first = by_members(values.next()?.ok()?)?;
    for value in values {
        let next = by_members(value.ok()?)?;
        if first.kind != Kind::InToto || next.kind != Kind::InToto {
            return None;
        }
        first.predicate = first.predicate.filter(|said| next.predicate.as_ref() == Some(said));
    }
    Some(first)
}

fn by_head(head: &[u8]) -> Option<Known> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        let spaces = || first_element(text).split_whitespace().filter(|it| it.starts_with("xmlns"));
        let has = |space: &str, kind, media_type| {
            spaces().any(|it| it.contains(space)).then(|| Known::new(kind, media_type))
        };
        let cyclonedx = has("http://cyclonedx.org/schema/bom/", Kind::CycloneDx, CYCLONEDX_XML);
        return cyclonedx.or_else(|| has("://spdx.org/rdf/", Kind::Spdx, SPDX_XML));
    }
    text.lines().find_map(|line| match line {
        _ if line.trim_start().starts_with("SPDXVersion:") => {
            Some(Known::new(Kind::Spdx, SPDX_TEXT))
        }
        // At the top of the document, and not of something else that tells of one.
        _ if line.starts_with("spdxVersion:") => Some(Known::new(Kind::Spdx, SPDX_YAML)),
        _ => None,
    })
}

/// The head of an XML document's first element; empty where it is too far away.
fn first_element(mut text: &str) -> &str {
    let before = [("<?", "?>"), ("<!--", "-->"), ("<!", ">")];
    while let Some((_, close)) = before.iter().find(|(open, _)| text.starts_with(open)) {
        text = text.split_once(close).map_or("", |(_, rest)| rest.trim_start());
    }
    text.split_once('>').map_or("", |(head, _)| head)
}

/// The members by which documents are told apart; anything else is passed over unread.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Top {
    #[serde(rename = "spdxVersion")]
    spdx: Option<IgnoredAny>,
    #[serde(rename = "@context")]
    context: Option<serde_json::Value>,
    #[serde(rename = "bomFormat")]
    bom_format: Option<String>,
    #[serde(rename = "_type")]
    statement: Option<String>,
    #[serde(rename = "predicateType")]
    predicate: Option<String>,
    #[serde(rename = "payloadType")]
    payload: Option<String>,
    signatures: Option<IgnoredAny>,
}

fn by_members(top: Top) -> Option<Known> {
    let spdx3 = |context: &serde_json::Value| context.to_string().contains("://spdx.org/rdf/3");
    if top.spdx.is_some() || top.context.as_ref().is_some_and(spdx3) {
        return Some(Known::new(Kind::Spdx, SPDX_JSON));
    }
    if top.bom_format.as_deref() == Some("CycloneDX") {
        return Some(Known::new(Kind::CycloneDx, CYCLONEDX_JSON));
    }
    if top.statement.is_some_and(|kind| kind.starts_with("https://in-toto.io/Statement/")) {
        return Some(Known { predicate: top.predicate, ..Known::new(Kind::InToto, IN_TOTO) });
    }
    let enveloped = top.payload.as_deref() == Some(IN_TOTO.as_str()) && top.signatures.is_some();
    enveloped.then(|| Known::new(Kind::InToto, IN_TOTO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(content: &[u8]) -> Option<Known> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, content).unwrap();
        recognise(&path).unwrap()
    }

    #[test]
    fn content_tells_what_it_is() {
        let long = format!(r#"{{"a":"{}","bomFormat":"CycloneDX"}}"#, "x".repeat(10_000));
        for (content, kind, media_type) in [
            (&br#"{"spdxVersion":"SPDX-2.3"}"#[..], Kind::Spdx, SPDX_JSON),
            (
                br#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}"#,
                Kind::Spdx,
                SPDX_JSON,
            ),
            (b"# made\nSPDXVersion: SPDX-2.3\n", Kind::Spdx, SPDX_TEXT),
            (long.as_bytes(), Kind::CycloneDx, CYCLONEDX_JSON),
            (
                br#"<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.5"/>"#,
                Kind::CycloneDx,
                CYCLONEDX_XML,
            ),
            (br#" {"_type":"https://in-toto.io/Statement/v1"}"#, Kind::InToto, IN_TOTO),
            (
                br#"{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[]}"#,
                Kind::InToto,
                IN_TOTO,
            ),
            (
                b"{\"_type\":\"https://in-toto.io/Statement/v1\"}\n{\"_type\":\"https://in-toto.io/Statement/v1\"}\n",
                Kind::InToto,
                IN_TOTO,
            ),
            (b"# made\nspdxVersion: SPDX-2.3\n", Kind::Spdx, SPDX_YAML),
            (
                b"<?xml version='1.0'?>\n<!-- a > b -->\n<rdf:RDF\n xmlns:spdx='http://spdx.org/rdf/terms#'/>",
                Kind::Spdx,
                SPDX_XML,
            ),
            (b"\0asm\x01\0\0\0", Kind::Wasm, WASM),
        ] {
            let known = look(content).unwrap();
            assert_eq!((known.kind, known.media_type), (kind, media_type));
        }
        let component = look(b"\0asm\x0d\0\x01\0\x0b\x09\x01\0\x03run\x01\0\0").unwrap();
        assert_eq!(component.world.unwrap().exports, ["run"]);
        let said = br#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"p"}"#;
        assert_eq!(look(said).unwrap().predicate.as_deref(), Some("p"));
        assert_eq!(look(&[said, &said[..]].concat()).unwrap().predicate.as_deref(), Some("p"));
        let other = br#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"q"}"#;
        assert_eq!(look(&[said, &other[..]].concat()).unwrap().predicate, None);
    }

    #[test]
    fn anything_else_is_left_alone() {
        for content in [
            &b""[..],
            b"{",
            b"{}",
            b"[]",
            b"\0as",
            br#"{"bomFormat":"other"}"#,
            br#"{"bomFormat":1}"#,
            b"<a>cyclonedx</a>",
            br#"<!DOCTYPE html><html><a href="http://spdx.org/rdf/terms">SPDX</a></html>"#,
            br#"<!-- <bom xmlns="http://cyclonedx.org/schema/bom/1.5"> --><a/>"#,
            b"\xff\xfe",
            br#"{"spdxVersion":"SPDX-2.3"} x"#,
            br#"{"spdxVersion":"SPDX-2.3"} {"spdxVersion":"SPDX-2.3"}"#,
            br#"{"_type":"https://in-toto.io/Statement/v1"} {}"#,
        ] {
            assert_eq!(look(content), None);
        }
    }

    #[test]
    fn what_is_said_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let told = |content: &[u8], kind| {
            std::fs::write(&path, content).unwrap();
            expect(&path, kind).map(|known| known.media_type)
        };
        let sbom = br#"{"spdxVersion":"SPDX-2.3"}"#;
        assert_eq!(told(sbom, Kind::Spdx).unwrap(), SPDX_JSON);
        for (content, kind, found) in [
            (&sbom[..], Kind::CycloneDx, "a document of SPDX"),
            (b"", Kind::Spdx, "nothing"),
            (b"{}", Kind::Spdx, "an empty object of JSON"),
            (br#"{"a":1,"b":2}"#, Kind::InToto, "JSON with `a`, `b`"),
            (
                b"{",
                Kind::CycloneDx,
                "no sound JSON: EOF while parsing an object at line 1 column 1",
            ),
            (b"<html>", Kind::CycloneDx, "\"<html>\" at its start"),
            (b"\x7fELF", Kind::Wasm, "\"\\u{7f}ELF\" at its start"),
        ] {
            let err = told(content, kind).unwrap_err();
            assert_eq!((err.kind(), err.found_value()), (Fault::Invalid, Some(found)), "{err:?}");
            assert!(err.message().contains("a.json is not a"), "{err}");
        }
        assert!(told(b"text", Kind::Model).unwrap_err().message().contains("holds no weights"));
        let err = told(b"\0asm\x0d\0\x01\0\x0b", Kind::Wasm).unwrap_err();
        assert!(err.message().contains("no sound component"), "{err}");
    }

    #[test]
    fn kinds_have_names() {
        for (name, kind) in Kind::ALL {
            assert_eq!(name.parse::<Kind>().unwrap(), kind);
        }
        assert_eq!("sbom".parse::<Kind>().unwrap_err().kind(), Fault::Usage);
    }
}
