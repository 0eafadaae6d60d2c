//! Artifacts whose files tell what they are: bills of materials, attestations, modules of
//! WebAssembly, models of machine learning.
//!
//! | kind | seen by | type of the layer, and of the artifact |
//! |---|---|---|
//! | SPDX | `spdxVersion`, or a `@context` of SPDX 3, in JSON; `SPDXVersion:` in text | `application/spdx+json`, `text/spdx` |
//! | CycloneDX | `bomFormat` in JSON, the name space in XML | `application/vnd.cyclonedx+json`, `+xml` |
//! | in-toto | a statement's `_type`, or a DSSE envelope around one | `application/vnd.in-toto+json` |
//! | WebAssembly | the first four bytes | `application/wasm`, with the config of the CNCF's layout |
//! | model | a folder with weights: `.safetensors`, `.gguf` | those of the CNCF's ModelPack |

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use conex_spec::{Descriptor, Error, Kind as Fault, MediaType, Result};

use super::draft::{Draft, Part};

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
/// Where in its folder a file of a model is.
const FILE_PATH: &str = "org.cncf.model.filepath";

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
    /// Of WebAssembly, whether it is a component and no module.
    pub component: bool,
}

impl Known {
    fn new(kind: Kind, media_type: MediaType) -> Self {
        Self { kind, media_type, predicate: None, component: false }
    }
}

impl Known {
    /// A folder with a model in it.
    pub(super) fn model() -> Self {
        Self::new(Kind::Model, MODEL)
    }

    /// What a file is of which someone says that it is of a kind.
    pub(super) fn named(kind: Kind, name: &str) -> Result<Self> {
        let ends = |ending: &str| name.to_ascii_lowercase().ends_with(ending);
        let media_type = match kind {
            Kind::Spdx if ends(".json") => SPDX_JSON,
            Kind::Spdx => SPDX_TEXT,
            Kind::CycloneDx if ends(".xml") => CYCLONEDX_XML,
            Kind::CycloneDx => CYCLONEDX_JSON,
            Kind::InToto => IN_TOTO,
            Kind::Wasm => {
                return Err(Error::new(
                    Fault::Usage,
                    format!("{name} is no module of WebAssembly"),
                )
                .expected(r"a file that begins with \0asm"));
            }
            Kind::Model => {
                return Err(Error::new(Fault::Usage, format!("{name} is no folder with a model"))
                    .expected("a folder with weights, a config and what else belongs to it"));
            }
        };
        Ok(Self::new(kind, media_type))
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
        Kind::Wasm if files.len() == 1 => {
            let derive = if first.component { component_config } else { module_config };
            draft.derived = Some((WASM_CONFIG, derive));
        }
        Kind::Model if files.len() == 1 => {
            draft.derived = Some((MODEL_CONFIG, model_config));
            draft.artifact_type.get_or_insert(MODEL);
        }
        Kind::Wasm | Kind::Model => {}
        _ => {
            draft.artifact_type.get_or_insert(first.media_type.clone());
        }
    }
}

fn module_config(_: &Draft, layers: &[Descriptor]) -> Result<Bytes> {
    wasm_config("wasip1", layers)
}

fn component_config(_: &Draft, layers: &[Descriptor]) -> Result<Bytes> {
    wasm_config("wasip2", layers)
}

/// The config of the CNCF's layout of modules and components.
fn wasm_config(os: &str, layers: &[Descriptor]) -> Result<Bytes> {
    let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
    printed(&serde_json::json!({ "architecture": "wasm", "os": os, "layerDigests": digests }))
}

/// The config of the CNCF's ModelPack: its layers are files as they are, so that they are what their
/// digests say before and after they are packed.
fn model_config(draft: &Draft, layers: &[Descriptor]) -> Result<Bytes> {
    let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
    let ends = |ending| {
        draft.layers.iter().any(|part| part.title.as_ref().is_some_and(|it| it.ends_with(ending)))
    };
    let format = if ends(".gguf") { "gguf" } else { "safetensors" };
    printed(&serde_json::json!({
        "descriptor": {},
        "modelfs": { "type": "layers", "diffIds": digests },
        "config": { "format": format },
    }))
}

fn printed(value: &serde_json::Value) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|err| Error::invalid("config cannot be printed").source(err))
}

/// Whether a file holds the weights of a model, by its name.
pub(super) fn is_weights(name: &str) -> bool {
    [".safetensors", ".gguf"].iter().any(|ending| name.ends_with(ending))
}

/// A file of a model.
pub(super) fn model_part((path, name): (PathBuf, String)) -> Part {
    let lower = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    let base = lower.rsplit('/').next().unwrap_or_default();
    let kind = if ends(&[".safetensors", ".gguf", ".onnx", ".bin", ".pt", ".pth", ".h5", ".ckpt"]) {
        "weight"
    } else if ends(&[".md", ".pdf", ".rst"])
        || ["readme", "license", "notice"].iter().any(|it| base.starts_with(it))
    {
        "doc"
    } else if ends(&[".py", ".ipynb", ".sh"]) {
        "code"
    } else {
        "weight.config"
    };
    let media_type = MediaType::new(format!("application/vnd.cncf.model.{kind}.v1.raw"));
    let mut part = Part::file(media_type, path).titled(name.clone());
    part.annotations.insert(FILE_PATH.to_owned(), name);
    part
}

/// Looks into a file; nothing where it is of no known kind.
///
/// # Errors
/// Only for a file that cannot be read.
pub fn recognise(path: &Path) -> Result<Option<Known>> {
    let cannot = |err| Error::io("cannot read", path, err);
    let mut file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    let mut head = Vec::new();
    Read::by_ref(&mut file).take(HEAD as u64).read_to_end(&mut head).map_err(cannot)?;
    if let Some(known) = by_head(&head) {
        return Ok(Some(known));
    }
    if head.trim_ascii_start().first() != Some(&b'{') || length > MAX_JSON {
        return Ok(None);
    }
    let reader = BufReader::new(head.as_slice().chain(file));
    Ok(serde_json::from_reader::<_, Top>(reader).ok().and_then(by_members))
}

fn by_head(head: &[u8]) -> Option<Known> {
    if head.starts_with(b"\0asm") {
        // The second half of the version is the layer: 0 is a module, 1 a component.
        let component = head.get(6..8) == Some(&[1, 0]);
        return Some(Known { component, ..Known::new(Kind::Wasm, WASM) });
    }
    let text = String::from_utf8_lossy(head);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.filter(|line| !line.starts_with('#')).any(|line| line.starts_with("SPDXVersion:")) {
        return Some(Known::new(Kind::Spdx, SPDX_TEXT));
    }
    let xml = text.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    (xml && text.contains("http://cyclonedx.org/schema/bom/"))
        .then(|| Known::new(Kind::CycloneDx, CYCLONEDX_XML))
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
            (b"\0asm\x01\0\0\0", Kind::Wasm, WASM),
        ] {
            let known = look(content).unwrap();
            assert_eq!((known.kind, known.media_type), (kind, media_type));
        }
        assert!(look(b"\0asm\x0d\0\x01\0").unwrap().component);
        let said = br#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"p"}"#;
        assert_eq!(look(said).unwrap().predicate.as_deref(), Some("p"));
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
            b"\xff\xfe",
        ] {
            assert_eq!(look(content), None);
        }
    }

    #[test]
    fn kinds_have_names() {
        for (name, kind) in Kind::ALL {
            assert_eq!(name.parse::<Kind>().unwrap(), kind);
        }
        assert_eq!("sbom".parse::<Kind>().unwrap_err().kind(), Fault::Usage);
    }
}
