//! The JSON Schemas of image-spec, as Debian packs them (1.1.0-rc2), in another's validator: they
//! and the lint agree on every document of the lint's own tests, but for the differences named here.

use std::fs;

use conex_spec::lint::{Severity, rules};
use serde_json::{Value, json};

use crate::lint_documents::{Case, cases};
use crate::support::program::run_partner;
use crate::support::scratch::Scratch;

const FOLDER: &str = "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema";
/// Shows that the schemas are there.
pub const SCHEMAS: &str =
    "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema/config-schema.json";
/// Shows that the validator is there.
pub const VALIDATOR: &str = "/usr/lib/python3/dist-packages/jsonschema/__init__.py";

/// Errors that the schemas do not see, and why; the second word stands in the document.
const UNSEEN: [(&str, &str, &str); 21] = [
    ("digest-encoding", "", "the pattern is that of any algorithm"),
    ("descriptor-size-invalid", "", "9223372036854776000 is their largest size; 2.0 is an integer"),
    ("descriptor-data-mismatch", "", "a schema computes no digest"),
    ("descriptor-data-invalid", "", "the encoding is only noted, and rc2 has no `data`"),
    ("descriptor-url-invalid", "", "`format` is not checked by default"),
    ("json-case-variant", "", "any other name is allowed"),
    ("json-duplicate-name", "", "the parser keeps the last"),
    ("json-noncharacter", "", "the parser lets them through"),
    ("json-syntax", "ud800", "the parser lets lone surrogates through"),
    ("index-media-type-invalid", "", "any media type is allowed"),
    ("manifest-media-type-invalid", "", "any media type is allowed"),
    ("document-shape-conflict", "", "any other name is allowed"),
    ("manifest-artifact-type-missing", "", "no property depends on another"),
    ("config-created-invalid", "", "`format` is not checked by default"),
    ("config-member-invalid", "Memory", "the reserved properties are not in them"),
    ("config-user-range", "", "any string is allowed"),
    ("config-env-invalid", "", "any string is allowed"),
    ("descriptor-size-negative", "", "rc2 takes any int64"),
    ("descriptor-artifact-type-invalid", "", "rc2 has no `artifactType`"),
    ("index-artifact-type-invalid", "", "rc2 has no `artifactType`"),
    ("manifest-artifact-type-invalid", "", "rc2 has no `artifactType`"),
];
/// The same, of a manifest's `subject`.
const UNSEEN_SUBJECT: (&str, &str) = ("descriptor-not-object", r#""subject""#);

/// Documents that the schemas refuse and the text allows: what stands in them, and why.
const REFUSED: [(&str, &str, &str); 3] = [
    ("manifest", r#""layers":[]"#, "manifest.md: `layers` SHOULD have at least one entry"),
    ("config", ":null", "config.md: any OPTIONAL field MAY also be set to null"),
    ("descriptor", r#":"vnd.oci.image.layer"#, "a draft, which conex reads"),
];

pub fn agree_with_the_lint() {
    let scratch = Scratch::new("schemas");
    let (script, list) = (scratch.arg("schemas.py"), scratch.arg("cases.json"));
    let cases = cases();
    let written: Vec<_> =
        cases.iter().map(|case| json!({"form": case.form, "json": case.json})).collect();
    fs::write(&list, Value::from(written).to_string()).unwrap();
    fs::write(&script, include_str!("schemas.py")).unwrap();
    let verdicts = run_partner("python3", &[&script, FOLDER, &list]);
    let verdicts: Vec<Option<bool>> = serde_json::from_str(&verdicts).unwrap();
    assert_eq!(verdicts.len(), cases.len());
    assert!(verdicts.iter().flatten().count() > 150);
    let unexplained: Vec<_> = cases
        .iter()
        .zip(verdicts)
        .filter(|(case, valid)| valid.is_some_and(|valid| !is_explained(case, valid)))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

fn is_explained(case: &Case, valid: bool) -> bool {
    let is_error = |id: &&&str| rules::find(id).unwrap().severity == Severity::Error;
    let errors: Vec<_> = case.rules.iter().filter(is_error).copied().collect();
    if valid {
        return errors.iter().all(|id| {
            let known =
                UNSEEN.iter().any(|(rule, part, _)| *rule == *id && case.json.contains(part));
            known || (UNSEEN_SUBJECT.0 == *id && case.json.contains(UNSEEN_SUBJECT.1))
        });
    }
    let refused =
        |(form, part, _): &(&str, &str, &str)| case.form == *form && case.json.contains(part);
    !errors.is_empty() || REFUSED.iter().any(refused)
}
