//! Image indexes and the marker of a layout. image-index.md, image-layout.md.

use std::collections::HashMap;

use super::manifest::Head;
use crate::descriptor::REF_NAME;
use crate::draft::Draft;
use crate::layout::VERSION;
use crate::lint::path::Path;
use crate::lint::rules::descriptor::PLATFORM_MISSING;
use crate::lint::rules::index as rules;
use crate::lint::tree::{Node, Object, quoted};
use crate::lint::{Linter, grammar};
use crate::media_type::{MediaType, Role};

const HEAD: Head = Head {
    media_type: MediaType::INDEX,
    schema_version_missing: &rules::SCHEMA_VERSION_MISSING,
    schema_version_invalid: &rules::SCHEMA_VERSION_INVALID,
    media_type_missing: &rules::MEDIA_TYPE_MISSING,
    media_type_invalid: &rules::MEDIA_TYPE_INVALID,
    artifact_type_invalid: &rules::ARTIFACT_TYPE_INVALID,
};

impl Linter<'_> {
    pub(in crate::lint) fn index(&mut self, object: &Object<'_>) {
        self.agree(object);
        self.head(object, &HEAD);
        self.shape(object, &["config", "layers", "fsLayers", "blobs"]);
        let root = &Path::Root;
        match object.get("manifests") {
            None => self.missing(&rules::MANIFESTS_MISSING, root),
            Some(node) => self.entries(node, &root.member("manifests")),
        }
        self.common_tail(object);
    }

    fn entries(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(entries) = node.array() else {
            return self.wrong(&rules::MANIFESTS_INVALID, at, node);
        };
        for (index, entry) in entries.iter().enumerate() {
            let at = &at.item(index);
            self.descriptor(entry, at);
            if let Some(entry) = entry.object() {
                self.entry(entry, at);
            }
        }
        if self.context.entry_point {
            self.ref_names(entries, at);
        }
    }

    fn entry(&mut self, entry: &Object<'_>, at: &Path<'_>) {
        let Some(text) = entry.text("mediaType") else { return };
        let media_type = MediaType::new(text);
        let role = media_type.role();
        let draft = Draft::of(&media_type);
        let known = matches!(role, Role::Index | Role::Manifest) || draft.is_some();
        // "In general the `mediaType` … will be either": an index.json may list anything.
        if !known && grammar::is_media_type(text) && !self.context.entry_point {
            self.report(&rules::ENTRY_MEDIA_TYPE, &at.member("mediaType")).found =
                Some(quoted(text));
        }
        // What is an artifact is not specific to a platform.
        let is_image = role == Role::Manifest && !entry.has("artifactType");
        if is_image && !entry.has("platform") {
            self.missing(&PLATFORM_MISSING, at);
        }
    }

    /// Two entries of one name, where they are not the same content.
    fn ref_names(&mut self, entries: &[Node<'_>], at: &Path<'_>) {
        let mut seen: HashMap<&str, (&str, Option<String>)> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let Some(entry) = entry.object() else { continue };
            let annotations = entry.get("annotations").and_then(Node::object);
            let Some(name) = annotations.and_then(|map| map.text(REF_NAME)) else { continue };
            let digest = entry.text("digest").unwrap_or_default();
            let platform = platform_of(entry);
            match seen.insert(name, (digest, platform.clone())) {
                Some((other, told))
                    if other != digest && !differ(told.as_deref(), platform.as_deref()) =>
                {
                    let at = at.item(index);
                    let at = at.member("annotations");
                    self.report(&rules::REF_NAME_DUPLICATE, &at.member(REF_NAME)).found =
                        Some(quoted(name));
                }
                _ => {}
            }
        }
    }

    /// image-layout.md, "oci-layout file".
    pub(in crate::lint) fn layout(&mut self, object: &Object<'_>) {
        let root = &Path::Root;
        let at = &root.member("imageLayoutVersion");
        match object.get("imageLayoutVersion") {
            None => self.missing(&rules::VERSION_MISSING, root),
            Some(node) if node.text() == Some(VERSION) => {}
            Some(node) => self.wrong(&rules::VERSION_UNKNOWN, at, node),
        }
    }
}

/// What tells two platforms apart, in one text.
fn platform_of(entry: &Object<'_>) -> Option<String> {
    let platform = entry.get("platform").and_then(Node::object)?;
    let words = ["os", "architecture", "variant", "os.version"];
    Some(words.map(|word| platform.text(word).unwrap_or_default()).join("/"))
}

/// One name for the images of several platforms is what some tools write.
fn differ(one: Option<&str>, other: Option<&str>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}
