//! Every rule, on documents that break it and documents that do not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests stop at the first surprise"
)]

mod documents;

use std::collections::HashSet;

use conex_spec::MediaType;
use conex_spec::lint::{Context, Form, Outcome, Part, Severity, lint, rules};
use documents::cases;

/// Rules of content and of several documents, which `conex validate` checks (`ops/validate`).
const ELSEWHERE: [&str; 34] = [
    "layer-opaque",
    "archive-manifest-missing",
    "archive-manifest-invalid",
    "archive-manifest-empty",
    "archive-config-missing",
    "archive-layer-missing",
    "archive-name-outside",
    "archive-member-unreadable",
    "archive-config-name",
    "archive-repotag-invalid",
    "archive-repotag-twice",
    "archive-repositories-differ",
    "archive-layout-differs",
    "document-unknown",
    "index-platform-mismatch",
    "index-platform-detail",
    "layout-marker-missing",
    "layout-index-missing",
    "layout-blobs-missing",
    "layout-blob-name",
    "config-history-longer",
    "config-history-shorter",
    "config-diff-ids-count",
    "layer-diff-id-mismatch",
    "blob-missing",
    "blob-size-mismatch",
    "blob-digest-mismatch",
    "blob-unverifiable",
    "blob-unreadable",
    "layer-compression-mismatch",
    "layer-corrupt",
    "graph-too-deep",
    "graph-too-large",
    "media-type-mismatch",
];
/// Those that need more than a row of the table: see the tests below.
const LONG: [&str; 5] = [
    "json-utf8",
    "json-too-deep",
    "json-too-many-values",
    "document-too-large",
    "document-over-4mib",
];

fn form(word: &str) -> (Form, Context<'static>) {
    let form = match word {
        "descriptor" => Form::Descriptor,
        "index" | "index.json" => Form::Index,
        "manifest" => Form::Manifest,
        "config" => Form::Config,
        "layout" => Form::Layout,
        other => panic!("{other}"),
    };
    (form, Context { entry_point: word == "index.json", media_type: None })
}

fn ids(outcome: &Outcome) -> Vec<&'static str> {
    outcome.findings.iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn every_document_breaks_the_rules_of_its_row() {
    let mut wrong = String::new();
    for case in cases() {
        let (form, context) = form(case.form);
        let found = ids(&lint(form, case.json.as_bytes(), &context));
        if found != case.rules {
            wrong += &format!("{} {}\n  {:?}\n  {found:?}\n", case.form, case.json, case.rules);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_has_a_document_that_breaks_it() {
    let broken: HashSet<_> = cases().into_iter().flat_map(|case| case.rules).collect();
    for rule in rules::all() {
        let elsewhere = ELSEWHERE.contains(&rule.id) || LONG.contains(&rule.id);
        assert!(broken.contains(rule.id) != elsewhere, "{}", rule.id);
    }
}

/// The typed documents refuse nothing that has no error, and the lint has an error for whatever
/// they refuse, or conex would refuse what it calls sound.
#[test]
fn what_the_typed_documents_refuse_has_an_error() {
    use conex_spec::layout::LayoutMarker;
    use conex_spec::{Document, ImageConfig, Manifest};
    for case in cases() {
        let (form, context) = form(case.form);
        let bytes = case.json.clone().into_bytes();
        let outcome = lint(form, &bytes, &context);
        let unsound = outcome.findings.iter().any(|f| f.rule.severity == Severity::Error);
        let refused = match form {
            Form::Index | Form::Manifest => Manifest::parse(bytes, None).err(),
            Form::Config => Document::<ImageConfig>::parse(bytes).err(),
            Form::Layout => Document::<LayoutMarker>::parse(bytes).err(),
            Form::Descriptor => continue,
        };
        // Drafts are inspected and copied, whether or not the typed documents know them.
        let draft = case.rules.iter().any(|rule| rule.starts_with("draft-"));
        if let Some(err) = refused.filter(|_| !draft) {
            assert!(unsound, "{}: {err}", case.json);
        }
    }
}

#[test]
fn findings_say_where_and_what() {
    let (_, context) = form("manifest");
    let json = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":"sha256:AB","size":1},"layers":[{"mediaType":"a/b","digest":"blake3:x","size":-4,"annotations":{"a/b~c":7}}]}"#;
    let outcome = lint(Form::Manifest, json.as_bytes(), &context);
    let found: Vec<_> = outcome
        .findings
        .iter()
        .map(|f| (f.rule.id, f.pointer.as_str(), f.found.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        found,
        [
            ("digest-encoding", "/config/digest", "\"sha256:AB\""),
            ("digest-encoding", "/layers/0/digest", "\"blake3:x\""),
            ("descriptor-size-negative", "/layers/0/size", "-4"),
            ("annotation-key-domain", "/layers/0/annotations/a~1b~0c", ""),
            ("annotation-value-invalid", "/layers/0/annotations/a~1b~0c", "7"),
        ]
    );
}

#[test]
fn the_modern_form_of_a_draft_is_named() {
    let (_, context) = form("descriptor");
    let json = r#"{"mediaType":"application/vnd.oci.layer.v1.tar+gzip","digest":"a:b","size":0}"#;
    let finding = lint(Form::Descriptor, json.as_bytes(), &context).findings.remove(0);
    assert_eq!(finding.expected.unwrap(), r#""application/vnd.oci.image.layer.v1.tar+gzip""#);
    assert!(finding.found.unwrap().contains("first proposal"));
}

/// Rule J1.
#[test]
fn the_document_agrees_with_its_descriptor() {
    let json = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    for (outside, rules) in
        [(MediaType::INDEX, &[][..]), (MediaType::DOCKER_LIST, &["media-type-mismatch"])]
    {
        let context = Context { media_type: Some(&outside), ..Context::default() };
        assert_eq!(ids(&lint(Form::Index, json.as_bytes(), &context)), rules);
    }
}

#[test]
fn links_of_a_broken_document_are_still_followed() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let json = format!(
        r#"{{"layers":[{{"mediaType":"a/b","digest":"{digest}","size":1}},{{"digest":"x"}},7],"layers":null,"config":{{"mediaType":"c/d","digest":"{digest}","size":2}},"subject":{{}}}}"#
    );
    let outcome = lint(Form::Manifest, json.as_bytes(), &Context::default());
    let links: Vec<_> =
        outcome.links.iter().map(|link| (link.part, link.pointer.as_str())).collect();
    assert_eq!(links, [(Part::Config, "/config"), (Part::Layer, "/layers/0")]);
    let config = r#"{"rootfs":{"diff_ids":["x","sha256:1"]},"history":[{},{"empty_layer":true},7],"os":"linux"}"#;
    let facts = lint(Form::Config, config.as_bytes(), &Context::default()).config.unwrap();
    assert_eq!(facts.diff_ids.unwrap(), [None, None]);
    assert_eq!((facts.history, facts.platform.os.as_str()), (Some(2), "linux"));
}

/// Rules J4 and J5: what is hostile is bounded.
#[test]
fn hostile_documents_are_bounded() {
    let (_, context) = form("index");
    let check = |bytes: &[u8]| lint(Form::Index, bytes, &context);
    assert_eq!(ids(&check(b"{\"a\":\"\xff\"}")), ["json-utf8"]);
    assert_eq!(ids(&check("[".repeat(1 << 20).as_bytes())), ["json-too-deep"]);
    assert_eq!(ids(&check("{\"a\":".repeat(1 << 20).as_bytes())), ["json-too-deep"]);
    assert_eq!(ids(&check(&vec![b' '; (8 << 20) + 1])), ["document-too-large"]);
    let many = format!("[{}0]", "0,".repeat(2 << 20));
    assert_eq!(ids(&check(many.as_bytes())), ["json-too-many-values"]);
    same_limits();
    let large = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"x":"{}"}}"#,
        "x".repeat(5 << 20)
    );
    assert_eq!(ids(&check(large.as_bytes())), ["document-over-4mib"]);
    // 250,000 faults: a thousand are told, the others counted.
    let faulty = format!(r#"{{"schemaVersion":2,"manifests":[{}0]}}"#, "0,".repeat(250_000));
    let outcome = check(faulty.as_bytes());
    assert_eq!((outcome.findings.len(), outcome.omitted), (1000, 249_002));
}

/// What the lint takes, every reader takes, and the other way around, up to the last value.
fn same_limits() {
    use conex_spec::Manifest;
    let index = |members: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],{members}}}"#
        )
    };
    let annotations = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("\"a.b.c{n}\":\"\"")).collect();
        index(&format!(r#""annotations":{{{}}}"#, members.join(",")))
    };
    let unknown = |value: &str, count: usize| {
        index(&format!("\"x\":[{}{value}]", format!("{value},").repeat(count - 1)))
    };
    for (border, sound, refused) in [
        ("members", annotations(131_072), annotations(131_073)),
        // The array is a value too.
        ("unknown", unknown("0", 65_535), unknown("0", 65_536)),
    ] {
        for (json, is_sound) in [(sound, true), (refused, false)] {
            let told = ids(&lint(Form::Index, json.as_bytes(), &Context::default()));
            assert_eq!(!told.contains(&"json-too-many-values"), is_sound, "{border}");
            assert_eq!(Manifest::parse(json.into_bytes(), None).is_ok(), is_sound, "{border}");
        }
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for form in [Form::Descriptor, Form::Index, Form::Manifest, Form::Config, Form::Layout] {
                lint(form, &bytes, &Context::default());
            }
        }

        #[test]
        fn nothing_panics_on_a_damaged_document(at in 0_usize..400, byte in any::<u8>(), which in 0_usize..60) {
            let cases = cases();
            let case = &cases[which * cases.len() / 60];
            let (form, context) = form(case.form);
            let mut bytes = case.json.clone().into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            lint(form, &bytes, &context);
        }
    }
}
