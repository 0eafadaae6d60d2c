//! Bills of materials that are no plain JSON objects: SPDX as tags and values, the graph of SPDX 3, and
//! CycloneDX in XML. A few words are looked for; whether the rest is sound nobody asks.

use serde_json::Value;

use super::{Facts, listed, parsed, told};

/// The name space of CycloneDX, before its version.
const CYCLONEDX: &str = "http://cyclonedx.org/schema/bom/";

/// SPDX 2, annex "tag-value": a tag and its value on each line. Longer values stand in `<text>`.
pub(super) fn spdx_text(bytes: &[u8]) -> Option<Facts> {
    let text = std::str::from_utf8(bytes).ok()?;
    let values = |tag: &'static str| {
        text.lines().filter_map(move |line| {
            let (name, value) = line.trim_start_matches('\u{feff}').split_once(':')?;
            (name.trim() == tag).then(|| value.trim().to_owned())
        })
    };
    let first = |tag| values(tag).next().unwrap_or_default();
    Some(told([
        ("format", first("SPDXVersion")),
        ("name", first("DocumentName")),
        ("packages", counted(values("PackageName").count())),
        ("source files", counted(values("FileName").count())),
        ("created", first("Created")),
        ("made by", listed(values("Creator").collect())),
    ]))
}

/// SPDX 3, "Serialization": elements in `@graph`, each with its `type`.
pub(super) fn spdx_graph(bytes: &[u8]) -> Option<Facts> {
    let document: Value = parsed(bytes)?;
    let graph = document.get("@graph")?.as_array()?;
    let of = |sort: &'static str| {
        graph.iter().filter(move |it| it.get("type").and_then(Value::as_str) == Some(sort))
    };
    let text = |sort, member| {
        let value = of(sort).find_map(|it| it.get(member)?.as_str());
        value.unwrap_or_default().to_owned()
    };
    let version = text("CreationInfo", "specVersion");
    Some(told([
        ("format", format!("SPDX {version}")),
        ("name", text("SpdxDocument", "name")),
        ("packages", counted(of("software_Package").count())),
        ("source files", counted(of("software_File").count())),
        ("created", text("CreationInfo", "created")),
    ]))
}

/// CycloneDX, bom-1.x.xsd. Elements with a prefix of their own tell no more than the format.
pub(super) fn cyclonedx_xml(bytes: &[u8]) -> Option<Facts> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, version) = text.split_once(CYCLONEDX)?;
    let version = version.split(['"', '\'']).next()?;
    let metadata = between(text, "<metadata>", "</metadata>").unwrap_or_default();
    let component = metadata.split_once("<component").map_or("", |(_, below)| below);
    let said = |name: &str| between(component, &format!("<{name}>"), "<").unwrap_or_default();
    let whole = |text: &str| ["<component ", "<component>"].map(|it| text.matches(it).count());
    let components = whole(text).iter().sum::<usize>() - whole(metadata).iter().sum::<usize>();
    Some(told([
        ("format", format!("CycloneDX {version}")),
        ("name", format!("{} {}", said("name"), said("version"))),
        ("components", counted(components)),
        ("created", between(metadata, "<timestamp>", "<").unwrap_or_default().to_owned()),
    ]))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inside, _)| inside.trim())
}

/// What there is none of need not be told.
fn counted(count: usize) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}
