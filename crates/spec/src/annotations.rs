//! Annotations: free metadata of descriptors, manifests and indexes. image-spec, annotations.md.
//!
//! "Consumers MUST NOT generate an error if they encounter an unknown annotation key", so every key
//! is kept; the constants here are those that the specification defines, with their meaning.

use crate::descriptor::Annotations;
use crate::error::{Error, Result};

/// Only OCI specifications define keys that begin so. annotations.md, "Rules".
pub const RESERVED_PREFIX: &str = "org.opencontainers";
/// Only the image specification defines keys that begin so. annotations.md, "Rules".
pub const IMAGE_PREFIX: &str = "org.opencontainers.image.";

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] $(#[$doc])* pub const $name: &str = $text;)*

        /// All keys of annotations.md, "Pre-Defined Annotation Keys", each with its meaning.
        pub const PREDEFINED: &[(&str, &str)] = &[$(($text, $meaning)),*];
    };
}

keys! {
    /// RFC 3339.
    CREATED = "org.opencontainers.image.created", "When the image was built.";
    AUTHORS = "org.opencontainers.image.authors", "Whom to ask: the people or organization responsible.";
    URL = "org.opencontainers.image.url", "Where to find more about the image.";
    DOCUMENTATION = "org.opencontainers.image.documentation", "Where its documentation is.";
    SOURCE = "org.opencontainers.image.source", "Where the source code is that it is built from.";
    /// May be a tag of the source code, may be a semantic version.
    VERSION = "org.opencontainers.image.version", "The version of the packaged software.";
    REVISION = "org.opencontainers.image.revision", "The revision of the source code.";
    VENDOR = "org.opencontainers.image.vendor", "Who distributes it.";
    LICENSES = "org.opencontainers.image.licenses", "The licenses of the software, as an SPDX expression.";
    /// "SHOULD only be considered valid when on descriptors on `index.json` within image layout";
    /// see [`check_ref_name`].
    REF_NAME = "org.opencontainers.image.ref.name", "The name of an entry of a layout's index.";
    TITLE = "org.opencontainers.image.title", "What people call it; the file name of an artifact's layer.";
    DESCRIPTION = "org.opencontainers.image.description", "What the packaged software is.";
    BASE_DIGEST = "org.opencontainers.image.base.digest", "The digest of the image that it is based on.";
    /// Fully qualified: `registry.example/repo:tag`.
    BASE_NAME = "org.opencontainers.image.base.name", "The reference of the image that it is based on.";
}

/// The older label that means the same as a key, where there is one. annotations.md,
/// "Back-compatibility with Label Schema".
pub const LABEL_SCHEMA: [(&str, &str); 9] = [
    (CREATED, "org.label-schema.build-date"),
    (URL, "org.label-schema.url"),
    (SOURCE, "org.label-schema.vcs-url"),
    (VERSION, "org.label-schema.version"),
    (REVISION, "org.label-schema.vcs-ref"),
    (VENDOR, "org.label-schema.vendor"),
    (TITLE, "org.label-schema.name"),
    (DESCRIPTION, "org.label-schema.description"),
    (DOCUMENTATION, "org.label-schema.usage"),
];

/// What annotations or labels say under a key, or under the older label that means the same.
/// Documentation that is no URL means something else there and is passed over.
pub fn get<'a>(annotations: &'a Annotations, key: &str) -> Option<&'a str> {
    let older = || {
        let (_, label) = LABEL_SCHEMA.iter().find(|(modern, _)| *modern == key)?;
        let found = annotations.get(*label)?;
        (key != DOCUMENTATION || found.contains("://")).then_some(found)
    };
    annotations.get(key).or_else(older).map(String::as_str)
}

/// What a pre-defined key means.
pub fn meaning(key: &str) -> Option<&'static str> {
    PREDEFINED.iter().find(|(known, _)| *known == key).map(|(_, meaning)| *meaning)
}

/// Whether a value of [`REF_NAME`] follows the grammar that it SHOULD have: letters and digits,
/// joined by one of `-._:@+`, by `--` or by `/`.
///
/// # Errors
/// `Invalid`. A name that breaks the grammar still names its entry; only writers should refuse it.
pub fn check_ref_name(name: &str) -> Result<()> {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let component =
        |text: &str| text.replace("--", "-").split(['-', '.', '_', ':', '@', '+']).all(word);
    if name.split('/').all(component) {
        return Ok(());
    }
    Err(Error::invalid("not a name of a layout's entry")
        .expected("letters and digits, joined by one of - . _ : @ + / or by --")
        .found(format!("{name:.160?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_the_specification_are_there_once() {
        assert_eq!(PREDEFINED.len(), 14);
        for (index, (key, meaning)) in PREDEFINED.iter().enumerate() {
            assert!(key.starts_with(IMAGE_PREFIX) && key.starts_with(RESERVED_PREFIX));
            assert!(PREDEFINED[..index].iter().all(|(other, _)| other != key), "{key}");
            assert_eq!(super::meaning(key), Some(*meaning));
        }
        assert_eq!(meaning("com.example.key"), None);
        assert!(LABEL_SCHEMA.iter().all(|(key, _)| meaning(key).is_some()));
    }

    #[test]
    fn older_labels_answer_where_the_key_does_not() {
        let labels: Annotations = [
            ("org.label-schema.vcs-ref", "abc"),
            ("org.label-schema.usage", "run it"),
            ("org.label-schema.name", "old"),
            (TITLE, "new"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        assert_eq!(get(&labels, REVISION), Some("abc"));
        assert_eq!(get(&labels, TITLE), Some("new"));
        assert_eq!((get(&labels, DOCUMENTATION), get(&labels, AUTHORS)), (None, None));
    }

    #[test]
    fn names_of_entries_follow_their_grammar() {
        for good in [
            "v1",
            "stable-release",
            "a/b:1.0",
            "registry.example:5000/a@sha256:0a",
            "a--b",
            "2.0.0+debug",
        ] {
            assert!(check_ref_name(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "-a", "a-", "a..b", "a---b", "a b", "é", "a//b", "a-.b"] {
            assert!(check_ref_name(bad).is_err(), "{bad}");
        }
    }
}
