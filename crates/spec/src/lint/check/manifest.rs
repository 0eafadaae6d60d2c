//! Image manifests, and what an index has in common with them. manifest.md.

use crate::draft::{Draft, IMAGE_PARTS};
use crate::lint::path::Path;
use crate::lint::rules::descriptor::DOCKER_PROPERTY;
use crate::lint::rules::manifest as rules;
use crate::lint::tree::{Node, Object, quoted};
use crate::lint::{Linter, Rule, grammar};
use crate::media_type::{MediaType, Role};

/// What an index and a manifest are both asked, each in the words of its own document.
pub(super) struct Head {
    pub(super) media_type: MediaType,
    pub(super) schema_version_missing: &'static Rule,
    pub(super) schema_version_invalid: &'static Rule,
    pub(super) media_type_missing: &'static Rule,
    pub(super) media_type_invalid: &'static Rule,
    pub(super) artifact_type_invalid: &'static Rule,
}

const HEAD: Head = Head {
    media_type: MediaType::MANIFEST,
    schema_version_missing: &rules::SCHEMA_VERSION_MISSING,
    schema_version_invalid: &rules::SCHEMA_VERSION_INVALID,
    media_type_missing: &rules::MEDIA_TYPE_MISSING,
    media_type_invalid: &rules::MEDIA_TYPE_INVALID,
    artifact_type_invalid: &rules::ARTIFACT_TYPE_INVALID,
};

impl Linter<'_> {
    pub(in crate::lint) fn manifest(&mut self, object: &Object<'_>) {
        let stated = object.text("mediaType").unwrap_or_default();
        if is_schema1(object) || self.context.media_type.is_some_and(|t| t.role() == Role::Schema1)
        {
            // Nothing else that it asks applies to that format.
            let found = if stated.is_empty() { "schemaVersion 1" } else { stated };
            return self.report_found(&rules::DOCKER_SCHEMA1, &Path::Root, found);
        }
        self.agree(object);
        if stated == MediaType::DRAFT_ARTIFACT.as_str() || object.has("blobs") {
            return self.artifact_manifest(object);
        }
        self.head(object, &HEAD);
        self.shape(object, &["manifests"]);
        let root = &Path::Root;
        match object.get("config") {
            None => self.missing(&rules::CONFIG_MISSING, root),
            Some(config) => self.descriptor(config, &root.member("config")),
        }
        match object.get("layers") {
            None => self.missing(&rules::LAYERS_MISSING, root),
            Some(layers) => self.layers(object, layers, &root.member("layers")),
        }
        self.common_tail(object);
        self.artifact(object);
    }

    /// `schemaVersion`, `mediaType` and `artifactType`.
    pub(super) fn head(&mut self, object: &Object<'_>, head: &Head) {
        let root = &Path::Root;
        match object.get("schemaVersion") {
            None => self.missing(head.schema_version_missing, root),
            Some(Node::Unsigned(2)) => {}
            Some(node) => {
                self.wrong(head.schema_version_invalid, &root.member("schemaVersion"), node);
            }
        }
        let at = &root.member("mediaType");
        match object.get("mediaType") {
            None => self.missing(head.media_type_missing, root),
            Some(node) => match node.text() {
                Some(text) if text == head.media_type.as_str() => {}
                Some(text) if MediaType::new(text).role() == head.media_type.role() => {
                    self.old_media_type(text, at);
                }
                Some(text) if draft_of(text).as_ref() == Some(&head.media_type) => {
                    self.old_media_type(text, at);
                }
                _ => self.wrong(head.media_type_invalid, at, node),
            },
        }
        if let Some(node) = object.get("artifactType") {
            self.artifact_type(node, &root.member("artifactType"), head.artifact_type_invalid);
        }
    }

    /// `subject` and `annotations`, and what Docker's formats have not.
    pub(super) fn common_tail(&mut self, object: &Object<'_>) {
        let root = &Path::Root;
        if let Some(subject) = object.get("subject") {
            self.descriptor(subject, &root.member("subject"));
        }
        if let Some(annotations) = object.get("annotations") {
            self.annotations(annotations, &root.member("annotations"));
        }
        let stated = object.text("mediaType").map(MediaType::new);
        if stated.is_some_and(|t| [MediaType::DOCKER_MANIFEST, MediaType::DOCKER_LIST].contains(&t))
        {
            for name in ["annotations", "subject", "artifactType"] {
                if object.has(name) {
                    self.report(&DOCKER_PROPERTY, &root.member(name));
                }
            }
        }
    }

    /// Members that only the other sort of document has (rule J1).
    pub(super) fn shape(&mut self, object: &Object<'_>, foreign: &[&str]) {
        for name in foreign.iter().filter(|name| object.has(name)) {
            self.report(&rules::SHAPE_CONFLICT, &Path::Root.member(name)).found =
                Some(quoted(name));
        }
    }

    /// "Implementations that have an expected media type which does not match" (media-types.md,
    /// "Media Type Conflicts"): conex takes it for an attack (rule J1).
    pub(super) fn agree(&mut self, object: &Object<'_>) {
        let (Some(outside), Some(own)) = (self.context.media_type, object.text("mediaType")) else {
            return;
        };
        if outside.as_str() != own {
            let finding = self.report(&rules::MEDIA_TYPE_MISMATCH, &Path::Root.member("mediaType"));
            finding.expected = Some(quoted(outside.as_str()));
            finding.found = Some(quoted(own));
        }
    }

    fn layers(&mut self, object: &Object<'_>, layers: &Node<'_>, at: &Path<'_>) {
        let Some(items) = layers.array() else {
            return self.wrong(&rules::LAYERS_INVALID, at, layers);
        };
        if items.is_empty() {
            self.wrong(&rules::LAYERS_EMPTY, at, layers);
        }
        let image = is_image(object);
        for (index, layer) in items.iter().enumerate() {
            let at = &at.item(index);
            self.descriptor(layer, at);
            let text = layer.object().and_then(|layer| layer.text("mediaType"));
            if image
                && let Some(text) = text
                && !is_layer(text)
                && grammar::is_media_type(text)
                && draft_of(text).is_none()
            {
                self.report_found(&rules::LAYER_MEDIA_TYPE, &at.member("mediaType"), text);
            }
        }
    }

    /// manifest.md, "Guidelines for Artifact Usage".
    fn artifact(&mut self, object: &Object<'_>) {
        let root = &Path::Root;
        let config = object.get("config").and_then(Node::object);
        let config_type = config.and_then(|config| config.text("mediaType"));
        let artifact_type = object.text("artifactType").filter(|t| !IMAGE_PARTS.contains(t));
        let layers = object.get("layers").and_then(Node::array).unwrap_or_default();
        let at = &root.member("config");
        let at = &at.member("mediaType");
        let Some(config_type) = config_type else { return };
        if config_type == MediaType::EMPTY.as_str() && !object.has("artifactType") {
            self.missing(&rules::ARTIFACT_TYPE_MISSING, root);
        }
        if is_image(object) {
            if artifact_type.is_some() {
                self.report_found(&rules::ARTIFACT_CONFIG, at, config_type);
            }
            return;
        }
        let types = layers.iter().filter_map(|layer| layer.object()?.text("mediaType"));
        if artifact_type.is_none()
            && !layers.is_empty()
            && types.filter(|text| is_layer(text)).count() == layers.len()
            && config_type != MediaType::EMPTY.as_str()
            && draft_of(config_type).is_none()
        {
            self.report_found(&rules::CONFIG_MEDIA_TYPE, at, config_type);
        }
        if let [layer] = layers
            && let Some(Node::Unsigned(0)) = layer.object().and_then(|layer| layer.get("size"))
        {
            let layers = root.member("layers");
            let first = layers.item(0);
            self.report_found(&rules::ARTIFACT_LAYER_EMPTY, &first.member("size"), "0");
        }
    }

    /// The artifact manifest of drafts of 1.1: `blobs`, `subject`, `annotations`, no config.
    fn artifact_manifest(&mut self, object: &Object<'_>) {
        let root = &Path::Root;
        let finding = self.report(&rules::DRAFT_ARTIFACT_MANIFEST, root);
        finding.expected = Some(quoted(MediaType::MANIFEST.as_str()));
        finding.found = Some(object.text("mediaType").map_or("`blobs`".into(), quoted));
        self.shape(object, &["manifests", "layers", "config"]);
        if let Some(node) = object.get("artifactType") {
            let at = &root.member("artifactType");
            self.artifact_type(node, at, &rules::ARTIFACT_TYPE_INVALID);
        }
        if let Some(blobs) = object.get("blobs") {
            let at = &root.member("blobs");
            match blobs.array() {
                None => self.wrong(&rules::LAYERS_INVALID, at, blobs),
                Some(blobs) => {
                    for (index, blob) in blobs.iter().enumerate() {
                        self.descriptor(blob, &at.item(index));
                    }
                }
            }
        }
        self.common_tail(object);
    }

    fn report_found(&mut self, rule: &'static Rule, at: &Path<'_>, found: &str) {
        self.report(rule, at).found = Some(quoted(found));
    }
}

fn is_schema1(object: &Object<'_>) -> bool {
    let stated = object.text("mediaType").map(MediaType::new);
    // What has the members of later formats is one of those, with a wrong number.
    let is_later = object.has("config") || object.has("layers");
    object.has("fsLayers")
        || (!is_later && matches!(object.get("schemaVersion"), Some(Node::Unsigned(1))))
        || stated.is_some_and(|stated| stated.role() == Role::Schema1)
}

/// Whether it is a container image: its config is an image config, perhaps Docker's.
fn is_image(object: &Object<'_>) -> bool {
    let config = object.get("config").and_then(Node::object);
    let config_type = config.and_then(|config| config.text("mediaType"));
    config_type.is_some_and(|text| MediaType::new(text).role() == Role::Config)
}

fn is_layer(text: &str) -> bool {
    matches!(MediaType::new(text).role(), Role::Layer(_))
}

fn draft_of(text: &str) -> Option<MediaType> {
    Draft::of(&MediaType::new(text)).map(|(_, modern)| modern)
}
