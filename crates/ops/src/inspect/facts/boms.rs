//! Bills of materials that are no plain JSON objects: SPDX as tags and values, the graph of SPDX 3, and
//! CycloneDX in XML. A few words are looked for; whether the rest is sound nobody asks.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Facts, listed, told};

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

/// An element of SPDX 3; one that is no object, or says other things, is passed over.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Element {
    Said(Said),
    Other(IgnoredAny),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Said {
    #[serde(rename = "type")]
    sort: String,
    name: String,
    spec_version: String,
    created: String,
}

/// SPDX 3, "Serialization": elements in `@graph`, each with its `type`.
pub(super) fn spdx_graph(graph: &[Element]) -> Facts {
    let of = |sort: &'static str| {
        graph.iter().filter_map(move |element| match element {
            Element::Said(said) if said.sort == sort => Some(said),
            _ => None,
        })
    };
    let text = |sort, member: fn(&Said) -> &String| {
        of(sort).map(member).find(|text| !text.is_empty()).cloned().unwrap_or_default()
    };
    let version = text("CreationInfo", |it| &it.spec_version);
    told([
        ("format", format!("SPDX {version}")),
        ("name", text("SpdxDocument", |it| &it.name)),
        ("packages", counted(of("software_Package").count())),
        ("source files", counted(of("software_File").count())),
        ("created", text("CreationInfo", |it| &it.created)),
    ])
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
