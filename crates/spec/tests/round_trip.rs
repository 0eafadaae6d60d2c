//! Whatever a document holds beside what the specification knows, in whatever order: it is read,
//! and an edit leaves it as it was.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use conex_spec::document::Format;
use conex_spec::{Descriptor, Digest, Document, ImageConfig, ImageIndex, ImageManifest, MediaType};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A value that no specification knows, with numbers no machine holds.
fn unknown() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        "[1-9][0-9]{0,30}",
        "[a-z é\\\\\\\\u0041]{0,5}".prop_map(|text| Value::from(text).to_string()),
        Just(r#"{"b":[],"a":{"Layers":1.50}}"#.to_owned()),
    ]
}

/// An object of these members and some unknown ones, in any order.
fn object(known: Vec<(&'static str, String)>) -> impl Strategy<Value = String> {
    prop::collection::btree_map("x-[a-z]{1,4}", unknown(), 0..4).prop_flat_map(move |unknown| {
        let known = known.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let unknown = unknown.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let members: Vec<_> = known.chain(unknown).collect();
        Just(members).prop_shuffle().prop_map(|members| format!("{{{}}}", members.join(",")))
    })
}

fn descriptor(media_type: MediaType) -> impl Strategy<Value = String> {
    let known = vec![
        ("mediaType", format!("\"{media_type}\"")),
        ("digest", format!("\"{}\"", Digest::sha256(b""))),
        ("size", "0".into()),
        ("annotations", "null".into()),
        ("urls", "[]".into()),
    ];
    object(known)
}

fn manifest() -> impl Strategy<Value = String> {
    let layers = prop::collection::vec(descriptor(MediaType::LAYER), 0..3);
    (descriptor(MediaType::CONFIG), layers).prop_flat_map(|(config, layers)| {
        object(vec![
            ("schemaVersion", "2".into()),
            ("config", config),
            ("layers", format!("[{}]", layers.join(","))),
            ("annotations", r#"{"z":"1","a":"2"}"#.into()),
        ])
    })
}

fn index() -> impl Strategy<Value = String> {
    prop::collection::vec(descriptor(MediaType::MANIFEST), 0..3).prop_flat_map(|entries| {
        object(vec![
            ("schemaVersion", "2".into()),
            ("manifests", format!("[{}]", entries.join(","))),
            ("annotations", r#"{"z":"1","a":"2"}"#.into()),
        ])
    })
}

fn config() -> impl Strategy<Value = String> {
    let execution = object(vec![
        ("Cmd", "null".into()),
        ("User", "\"\"".into()),
        ("Labels", r#"{"z":"1","a":"2"}"#.into()),
        ("Healthcheck", r#"{"Test":["NONE"],"Odd":1.0}"#.into()),
    ]);
    execution.prop_flat_map(|execution| {
        object(vec![
            ("architecture", "\"amd64\"".into()),
            ("os", "\"linux\"".into()),
            ("config", execution),
            ("history", "[]".into()),
            ("rootfs", r#"{"type":"layers","diff_ids":[]}"#.into()),
        ])
    })
}

/// Adds a member to the map that both `change` and the text name, and finds nothing else changed.
fn check<T: Format + Clone + PartialEq>(text: &str, change: impl Fn(&mut T)) {
    let document = Document::<T>::parse(text.to_owned()).unwrap();
    assert_eq!(document.bytes(), text.as_bytes());
    assert_eq!(document.edit(|_| ()).unwrap().bytes(), text.as_bytes());
    let edited = document.edit(&change).unwrap();
    let expected = text.replace(r#""a":"2"}"#, r#""a":"2","new":"3"}"#);
    assert_eq!(std::str::from_utf8(edited.bytes()).unwrap(), expected);
    assert_eq!(document.edit(&change).unwrap().bytes(), edited.bytes());
    assert!(Document::<T>::parse(edited.bytes().clone()).unwrap().value() == edited.value());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn manifests(text in manifest()) {
        prop_assume!(serde_json::from_str::<Value>(&text).is_ok());
        check(&text, |manifest: &mut ImageManifest| {
            manifest.annotations.insert("new".into(), "3".into());
        });
    }

    #[test]
    fn indexes(text in index()) {
        prop_assume!(serde_json::from_str::<Value>(&text).is_ok());
        check(&text, |index: &mut ImageIndex| {
            index.annotations.insert("new".into(), "3".into());
        });
    }

    #[test]
    fn configs(text in config()) {
        prop_assume!(serde_json::from_str::<Value>(&text).is_ok());
        check(&text, |config: &mut ImageConfig| {
            config.config.as_mut().unwrap().labels.insert("new".into(), "3".into());
        });
    }

    /// A descriptor that goes from one document into another takes along what nobody knows.
    #[test]
    fn descriptors_travel_whole(text in descriptor(MediaType::MANIFEST)) {
        prop_assume!(serde_json::from_str::<Value>(&text).is_ok());
        let entry = Document::<Descriptor>::parse(text.clone()).unwrap().into_value();
        let index = Document::new(ImageIndex::new(vec![entry])).unwrap();
        let index: Value = serde_json::from_slice(index.bytes()).unwrap();
        let old: Map<String, Value> = serde_json::from_str(&text).unwrap();
        // Numbers beyond 64 bits become the nearest that the machine has (RFC 7493, section 2.2).
        let exact = |value: &Value| !value.is_f64() && *value != json!(null) && *value != json!([]);
        for (name, value) in old.iter().filter(|(_, value)| exact(value)) {
            prop_assert_eq!(&index["manifests"][0][name.as_str()], value);
        }
    }
}
