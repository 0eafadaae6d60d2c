//! Platforms, in an index and in a config. image-index.md, config.md.

use crate::lint::path::Path;
use crate::lint::rules::platform as rules;
use crate::lint::tree::{Node, Object};
use crate::lint::{Linter, Rule};
use crate::platform::words::{ARCHITECTURES, SYSTEMS};

impl Linter<'_> {
    /// `platform` of a descriptor.
    pub(in crate::lint) fn platform(&mut self, node: &Node<'_>, at: &Path<'_>) {
        let Some(object) = node.object() else {
            return self.wrong(&rules::NOT_AN_OBJECT, at, node);
        };
        let missing = [&rules::ARCHITECTURE_MISSING, &rules::OS_MISSING];
        self.platform_members(object, at, missing, &rules::MEMBER_INVALID, false);
        if let Some(features) = object.get("features") {
            self.wrong(&rules::FEATURES_RESERVED, &at.member("features"), features);
        }
    }

    /// What a platform and a config have in common; in a config an optional member may be null.
    pub(in crate::lint) fn platform_members(
        &mut self,
        object: &Object<'_>,
        at: &Path<'_>,
        missing: [&'static Rule; 2],
        invalid: &'static Rule,
        nullable: bool,
    ) {
        let unknown = [&rules::ARCHITECTURE_UNKNOWN, &rules::OS_UNKNOWN];
        let words: [&[&str]; 2] = [&ARCHITECTURES, &SYSTEMS];
        for (index, name) in ["architecture", "os"].into_iter().enumerate() {
            let at = &at.member(name);
            match object.get(name) {
                None => self.missing(missing[index], at),
                Some(node) => match node.text() {
                    None => self.wrong(invalid, at, node),
                    Some(word) if words[index].contains(&word) => {}
                    Some(_) => self.wrong(unknown[index], at, node),
                },
            }
        }
        for name in ["os.version", "variant"] {
            if let Some(node) = object.get(name)
                && node.text().is_none()
                && !(nullable && node.is_null())
            {
                self.wrong(invalid, &at.member(name), node);
            }
        }
        if let Some(features) = object.get("os.features")
            && !(nullable && features.is_null())
        {
            let windows = object.text("os") == Some("windows");
            self.os_features(features, &at.member("os.features"), windows);
        }
        self.variant(object, at);
    }

    fn os_features(&mut self, node: &Node<'_>, at: &Path<'_>, windows: bool) {
        let Some(features) = node.array() else {
            return self.wrong(&rules::OS_FEATURES_INVALID, at, node);
        };
        for (index, feature) in features.iter().enumerate() {
            match feature.text() {
                None => self.wrong(&rules::OS_FEATURES_INVALID, &at.item(index), feature),
                Some("win32k") => {}
                Some(_) if windows => {
                    self.wrong(&rules::OS_FEATURES_UNKNOWN, &at.item(index), feature);
                }
                // "When `os` is not `windows`, values are implementation-defined".
                Some(_) => {}
            }
        }
    }

    /// image-index.md, "Platform Variants". Other architectures have no table, so anything goes.
    fn variant(&mut self, object: &Object<'_>, at: &Path<'_>) {
        let (Some(architecture), Some(variant)) =
            (object.text("architecture"), object.text("variant"))
        else {
            return;
        };
        let numbered = |prefix: &str| {
            variant.strip_prefix(prefix).is_some_and(|rest| {
                let mut parts = rest.splitn(2, '.');
                let number = |part: &str| {
                    (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
                };
                parts.all(number)
            })
        };
        let known = match architecture {
            // v5 is older than the table, and what some registries hold.
            "arm" => matches!(variant, "v5" | "v6" | "v7" | "v8"),
            "arm64" => numbered("v"),
            "amd64" => matches!(variant, "v1" | "v2" | "v3" | "v4"),
            "ppc64le" => numbered("power"),
            "riscv64" => variant.starts_with("rva"),
            // A variant of its own means nothing; an empty one is none.
            _ => true,
        };
        if !known && !variant.is_empty() {
            self.report(&rules::VARIANT_UNKNOWN, &at.member("variant")).found =
                Some(format!("{variant:?} of {architecture:?}"));
        }
    }
}
