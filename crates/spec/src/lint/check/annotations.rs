//! Annotations and labels. annotations.md.

use crate::digest::Digest;
use crate::lint::grammar;
use crate::lint::path::Path;
use crate::lint::rules::annotations as rules;
use crate::lint::tree::{Node, Object};
use crate::lint::{Linter, Rule};

const PREFIX: &str = "org.opencontainers";
const IMAGE: &str = "org.opencontainers.image.";

/// What follows [`IMAGE`] in the keys of annotations.md, and of conversion.md, "Annotations".
const KEYS: [&str; 22] = [
    "created",
    "authors",
    "url",
    "documentation",
    "source",
    "version",
    "revision",
    "vendor",
    "licenses",
    "ref.name",
    "title",
    "description",
    "base.digest",
    "base.name",
    "os",
    "architecture",
    "variant",
    "author",
    "stopSignal",
    "exposedPorts",
    "os.version",
    "os.features",
];

impl Linter<'_> {
    pub(in crate::lint) fn annotations(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(object) = node.object() else { return self.wrong(&rules::NOT_A_MAP, at, node) };
        for (key, value) in &object.0 {
            let at = &at.member(key);
            if !grammar::is_reverse_domain(key) {
                self.report(&rules::KEY_DOMAIN, at);
            }
            if is_reserved(key) {
                self.report(&rules::KEY_RESERVED, at);
            }
            match value.text() {
                None => self.wrong(&rules::VALUE_INVALID, at, value),
                Some(text) => self.predefined(key, text, value, at),
            }
        }
        self.base(object, at);
    }

    fn predefined(&mut self, key: &str, text: &str, value: &Node<'_>, at: &Path<'_>) {
        let Some(key) = key.strip_prefix(IMAGE) else { return };
        let (sound, rule): (bool, &'static Rule) = match key {
            "created" => (grammar::is_time(text), &rules::CREATED_INVALID),
            "url" | "documentation" | "source" => (grammar::is_url(text), &rules::URL_INVALID),
            "licenses" => (grammar::is_license_expression(text), &rules::LICENSES_INVALID),
            "ref.name" => (grammar::is_ref_name(text), &rules::REF_NAME_GRAMMAR),
            "base.digest" => (text.parse::<Digest>().is_ok(), &rules::BASE_DIGEST_INVALID),
            "base.name" => (grammar::is_qualified_reference(text), &rules::BASE_NAME_INVALID),
            _ => return,
        };
        // "While the value MUST be present, it MAY be an empty string."
        if !sound && !text.is_empty() {
            self.wrong(rule, at, value);
        }
        if key == "ref.name" && !self.names_entry(at) {
            self.wrong(&rules::REF_NAME_PLACE, at, value);
        }
    }

    /// Whether this annotation is one of an entry of a layout's index.json: `/manifests/N/annotations/KEY`.
    fn names_entry(&self, at: &Path<'_>) -> bool {
        let Path::Member(Path::Member(Path::Item(entries, _), _), _) = at else { return false };
        self.context.entry_point && matches!(entries, Path::Member(Path::Root, "manifests"))
    }

    /// "If the `image.base.name` annotation is specified, the `image.base.digest` annotation
    /// SHOULD be the digest of the manifest".
    fn base(&mut self, object: &Object<'_>, at: &Path<'_>) {
        let [name, digest] = ["base.name", "base.digest"].map(|key| format!("{IMAGE}{key}"));
        if object.text(&name).is_some_and(|name| !name.is_empty()) && !object.has(&digest) {
            self.missing(&rules::BASE_DIGEST_MISSING, &at.member(&digest));
        }
    }
}

/// Of the prefix that OCI keeps for itself, but in none of its specifications. A later one may
/// define it, so that this is never more than a warning.
fn is_reserved(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(PREFIX) else { return false };
    if !rest.is_empty() && !rest.starts_with('.') {
        return false;
    }
    match key.strip_prefix(IMAGE) {
        Some(key) => !KEYS.contains(&key),
        // distribution-spec, "Listing Referrers"
        None => key != "org.opencontainers.referrers.filtersApplied",
    }
}
