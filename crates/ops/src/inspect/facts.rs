//! What artifacts of known kinds say about themselves, in a few lines: bills of materials, attestations,
//! modules of WebAssembly, models, charts. Nothing of it is verified.

mod boms;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Manifest, MediaType, Result};
use conex_store::{Source, SourceExt};

use super::is_of_content;
use crate::artifact::kinds;
use crate::helm::oci;

/// What is said, by its name, in the order in which it is shown.
pub type Facts = IndexMap<&'static str, String>;

/// Tells what a document says; nothing of a damaged one.
type Teller = fn(&[u8]) -> Option<Facts>;

/// The longest value that is shown, in characters.
const MAX_VALUE: usize = 200;
/// How many names are listed.
const MAX_NAMES: usize = 5;

/// Reads what an artifact of a known kind says: its config, or its one file. Both are documents of at
/// most 8 MiB; of a longer one nothing is told, and neither is of one that is damaged or missing.
pub(super) async fn read(source: &dyn Source, manifest: &Manifest) -> Result<Facts> {
    let mut facts = Facts::new();
    let Manifest::Image(image) = manifest else { return Ok(facts) };
    let (blob, tell): (&Descriptor, Teller) =
        match (&image.config.media_type, image.layers.as_slice()) {
            (kind, _) if *kind == kinds::WASM_CONFIG => (&image.config, wasm),
            (kind, _) if *kind == kinds::MODEL_CONFIG => (&image.config, model),
            (kind, _) if *kind == oci::CONFIG => (&image.config, chart),
            (_, [layer]) => match teller(&layer.media_type) {
                Some(tell) => (layer, tell),
                None => return Ok(facts),
            },
            _ => return Ok(facts),
        };
    if blob.size > LIMIT as u64 {
        return Ok(facts);
    }
    match source.read(blob).await {
        Ok(bytes) => facts.extend(tell(&bytes).unwrap_or_default()),
        Err(err) if is_of_content(&err) => {}
        Err(err) => return Err(err),
    }
    Ok(facts)
}

fn teller(layer: &MediaType) -> Option<Teller> {
    match layer {
        kind if *kind == kinds::SPDX_JSON => Some(spdx),
        kind if *kind == kinds::SPDX_TEXT => Some(boms::spdx_text),
        kind if *kind == kinds::CYCLONEDX_JSON => Some(cyclonedx),
        kind if *kind == kinds::CYCLONEDX_XML => Some(boms::cyclonedx_xml),
        kind if *kind == kinds::IN_TOTO => Some(in_toto),
        _ => None,
    }
}

/// A name and maybe a version.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    version: String,
}

impl Named {
    fn shown(&self) -> String {
        format!("{} {}", self.name, self.version).trim().to_owned()
    }
}

fn spdx(bytes: &[u8]) -> Option<Facts> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Spdx {
        spdx_version: String,
        name: String,
        packages: Option<Vec<IgnoredAny>>,
        files: Option<Vec<IgnoredAny>>,
        creation_info: Creation,
        #[serde(rename = "@graph")]
        graph: Option<Vec<boms::Element>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Creation {
        created: String,
        creators: Vec<String>,
    }
    let it: Spdx = parsed(bytes)?;
    if let Some(graph) = it.graph {
        return Some(boms::spdx_graph(&graph));
    }
    Some(told([
        ("format", it.spdx_version),
        ("name", it.name),
        ("packages", counted(it.packages.as_ref())),
        ("source files", counted(it.files.as_ref())),
        ("created", it.creation_info.created),
        ("made by", listed(it.creation_info.creators)),
    ]))
}

fn cyclonedx(bytes: &[u8]) -> Option<Facts> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct CycloneDx {
        bom_format: String,
        spec_version: String,
        metadata: Metadata,
        components: Option<Vec<IgnoredAny>>,
        vulnerabilities: Option<Vec<IgnoredAny>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        timestamp: String,
        component: Named,
    }
    let it: CycloneDx = parsed(bytes)?;
    Some(told([
        ("format", format!("{} {}", it.bom_format, it.spec_version)),
        ("name", it.metadata.component.shown()),
        ("components", counted(it.components.as_ref())),
        ("faults", counted(it.vulnerabilities.as_ref())),
        ("created", it.metadata.timestamp),
    ]))
}

fn in_toto(bytes: &[u8]) -> Option<Facts> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Statement {
        #[serde(rename = "_type")]
        kind: String,
        predicate_type: String,
        subject: Vec<Named>,
        payload_type: String,
        signatures: Option<Vec<IgnoredAny>>,
    }
    // A line for each, where there are several.
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Statement>();
    let all = values.collect::<Result<Vec<_>, _>>().ok()?;
    let count = all.len();
    let it = all.into_iter().next()?;
    Some(told([
        ("statements", if count > 1 { format!("{count}; the first:") } else { String::new() }),
        ("format", if it.kind.is_empty() { it.payload_type } else { it.kind }),
        ("predicate", it.predicate_type),
        ("says of", listed(it.subject.into_iter().map(|subject| subject.name).collect())),
        ("signatures", counted(it.signatures.as_ref())),
    ]))
}

fn wasm(bytes: &[u8]) -> Option<Facts> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        os: String,
        architecture: String,
        author: String,
        component: Option<Component>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Component {
        exports: Vec<String>,
        imports: Vec<String>,
    }
    let it: Config = parsed(bytes)?;
    let component = it.component.unwrap_or_default();
    let target = format!("{}/{}", it.os, it.architecture);
    Some(told([
        ("runs on", target),
        ("author", it.author),
        ("exports", listed(component.exports)),
        ("imports", listed(component.imports)),
    ]))
}

fn model(bytes: &[u8]) -> Option<Facts> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Model {
        descriptor: Named,
        config: Config,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        architecture: String,
        format: String,
        param_size: String,
        precision: String,
        quantization: String,
    }
    let it: Model = parsed(bytes)?;
    Some(told([
        ("name", it.descriptor.shown()),
        ("format", it.config.format),
        ("network", it.config.architecture),
        ("parameters", it.config.param_size),
        ("precision", format!("{} {}", it.config.precision, it.config.quantization)),
    ]))
}

fn chart(bytes: &[u8]) -> Option<Facts> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        name: String,
        version: String,
        app_version: String,
        description: String,
        dependencies: Vec<Named>,
    }
    let it: Config = parsed(bytes)?;
    Some(told([
        ("name", it.name),
        ("version", it.version),
        ("application", it.app_version),
        ("description", it.description),
        ("needs", listed(it.dependencies.iter().map(Named::shown).collect())),
    ]))
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// What is not empty, and no more of it than a line takes.
fn told<const N: usize>(facts: [(&'static str, String); N]) -> Facts {
    let short = |(name, value): (&'static str, String)| {
        let value: String = value.trim().chars().take(MAX_VALUE).collect();
        (!value.is_empty()).then_some((name, value))
    };
    facts.into_iter().filter_map(short).collect()
}

fn counted(list: Option<&Vec<IgnoredAny>>) -> String {
    list.map(|list| list.len().to_string()).unwrap_or_default()
}

fn listed(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::ImageManifest;
    use conex_store::Memory;

    async fn about(
        config: (MediaType, &str),
        layer: (MediaType, &str),
    ) -> Vec<(&'static str, String)> {
        let store = Memory::new();
        let config = store.add(config.0, config.1.to_owned());
        let layer = store.add(layer.0, layer.1.to_owned());
        let manifest = Manifest::Image(ImageManifest::new(config, vec![layer]));
        read(&store, &manifest).await.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn a_file_tells_what_it_is() {
        let many = r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"p","subject":[
            {"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"},{"name":"e"},{"name":"f"},{}]}"#;
        for (kind, text, expected) in [
            (
                kinds::SPDX_JSON,
                r#"{"spdxVersion":"SPDX-2.3","name":"app","packages":[{},{}],"creationInfo":
                    {"created":"2026-01-01T00:00:00Z","creators":["Tool: t"]}}"#,
                "format=SPDX-2.3 name=app packages=2 created=2026-01-01T00:00:00Z made by=Tool: t",
            ),
            (
                kinds::CYCLONEDX_JSON,
                r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{}],
                    "metadata":{"component":{"name":"app","version":"1"}}}"#,
                "format=CycloneDX 1.5 name=app 1 components=1",
            ),
            (
                kinds::IN_TOTO,
                many,
                "format=https://in-toto.io/Statement/v1 predicate=p says of=a, b, c, d, e, and 2 more",
            ),
            (
                kinds::IN_TOTO,
                r#"{"payloadType":"application/vnd.in-toto+json","signatures":[{}]}"#,
                "format=application/vnd.in-toto+json signatures=1",
            ),
            (
                kinds::IN_TOTO,
                "{\"_type\":\"t\",\"predicateType\":\"p\"}\n{\"_type\":\"u\"}",
                "statements=2; the first: format=t predicate=p",
            ),
            (
                kinds::SPDX_TEXT,
                "SPDXVersion: SPDX-2.3\nDocumentName: app\nCreator: Tool: t\nCreated: 2026-01-01T00:00:00Z\n\n\
                 PackageName: a\nPackageComment: <text>of PackageName: b</text>\n",
                "format=SPDX-2.3 name=app packages=1 created=2026-01-01T00:00:00Z made by=Tool: t",
            ),
            (
                kinds::SPDX_JSON,
                r#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[
                    {"type":"CreationInfo","specVersion":"3.0.1","created":"2026-01-01T00:00:00Z"},
                    {"type":"SpdxDocument","name":"app"},{"type":"software_Package"},7]}"#,
                "format=SPDX 3.0.1 name=app packages=1 created=2026-01-01T00:00:00Z",
            ),
            (
                kinds::CYCLONEDX_XML,
                r#"<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.5"><metadata>
                    <timestamp>2026-01-01T00:00:00Z</timestamp><component type="application"><name>app</name>
                    <version>1</version></component></metadata><components><component type="library">
                    <name>a</name></component></components></bom>"#,
                "format=CycloneDX 1.5 name=app 1 components=1 created=2026-01-01T00:00:00Z",
            ),
            (kinds::CYCLONEDX_XML, "<bom/>", ""),
            (kinds::SPDX_TEXT, "\u{0}", ""),
            (kinds::SPDX_JSON, "{", ""),
            (kinds::SPDX_JSON, r#"{"packages":7}"#, ""),
            (MediaType::OCTETS, "{}", ""),
        ] {
            let facts = about((MediaType::EMPTY, "{}"), (kind, text)).await;
            let shown: Vec<_> =
                facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(shown.join(" "), expected);
        }
    }

    #[tokio::test]
    async fn a_config_tells_what_it_is() {
        for (kind, text, expected) in [
            (
                kinds::WASM_CONFIG,
                r#"{"architecture":"wasm","os":"wasip2","component":{"exports":["run"]}}"#,
                "runs on=wasip2/wasm exports=run",
            ),
            (
                kinds::MODEL_CONFIG,
                r#"{"descriptor":{"name":"m"},"config":{"format":"gguf","paramSize":"8b"}}"#,
                "name=m format=gguf parameters=8b",
            ),
            (
                oci::CONFIG,
                r#"{"name":"app","version":"1.0.0","dependencies":[{"name":"db","version":"^2"}]}"#,
                "name=app version=1.0.0 needs=db ^2",
            ),
        ] {
            let facts = about((kind, text), (MediaType::OCTETS, "x")).await;
            let shown: Vec<_> =
                facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(shown.join(" "), expected);
        }
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(1000));
        let facts = about((oci::CONFIG, &long), (MediaType::OCTETS, "x")).await;
        assert_eq!(facts[0].1.len(), MAX_VALUE);
    }

    /// What a registry has lost is no reason to say nothing of the rest.
    #[tokio::test]
    async fn what_is_missing_tells_nothing() {
        let config = Descriptor::of(oci::CONFIG, b"{}");
        let manifest = Manifest::Image(ImageManifest::new(config, vec![]));
        assert!(read(&Memory::new(), &manifest).await.unwrap().is_empty());
    }
}
