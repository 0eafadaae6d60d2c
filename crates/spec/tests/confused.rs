//! Every member of every document with a value of another sort: refused with the place, what was
//! expected and what was found, in words that are no programmer's.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use conex_spec::layout::LayoutMarker;
use conex_spec::{Document, Error, ImageConfig, Kind, Manifest};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn descriptor() -> Value {
    json!({"mediaType": "a/b", "digest": DIGEST, "size": 0, "urls": ["https://a.example"],
        "annotations": {"a": "b"}, "data": "", "artifactType": "c/d",
        "platform": {"os": "linux", "architecture": "arm", "os.version": "1", "os.features": ["x"],
            "variant": "v7"}})
}

fn manifest() -> Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "a/b", "config": descriptor(), "layers": [descriptor()],
        "subject": descriptor(), "annotations": {"a": "b"}})
}

fn index() -> Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "artifactType": "a/b", "manifests": [descriptor()], "annotations": {"a": "b"}})
}

fn config() -> Value {
    json!({"created": "2020-01-01T00:00:00Z", "author": "a", "architecture": "arm", "os": "linux",
        "variant": "v7", "os.version": "1", "os.features": ["x"],
        "config": {"User": "u", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=1"], "Entrypoint": ["a"],
            "Cmd": ["b"], "Volumes": {"/v": {}}, "WorkingDir": "/", "Labels": {"a": "b"},
            "StopSignal": "SIGTERM"},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
        "history": [{"created": "2020-01-01T00:00:00Z", "author": "a", "created_by": "b",
            "comment": "c", "empty_layer": true}]})
}

/// All places below a value.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (name, child) in children {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(child, &at, all);
        all.push(at);
    }
}

fn refused(form: &str, value: &Value) -> Option<Error> {
    let bytes = value.to_string().into_bytes();
    match form {
        "config" => Document::<ImageConfig>::parse(bytes).err(),
        "layout" => Document::<LayoutMarker>::parse(bytes).err(),
        _ => Manifest::parse(bytes, None).err(),
    }
}

#[test]
fn another_sort_of_value_is_told_in_words() {
    let layout = json!({"imageLayoutVersion": "1.0.0"});
    let mut seen = 0;
    for (form, sound) in
        [("manifest", manifest()), ("index", index()), ("config", config()), ("layout", layout)]
    {
        assert!(refused(form, &sound).is_none(), "{form}");
        let mut all = Vec::new();
        places(&sound, "", &mut all);
        for place in all {
            for other in
                [json!("text"), json!(5), json!(-5), json!(1.5), json!(true), json!([]), json!({})]
            {
                let mut confused = sound.clone();
                *confused.pointer_mut(&place).unwrap() = other.clone();
                let Some(err) = refused(form, &confused) else { continue };
                seen += 1;
                told(&err, &place, &format!("{form} {place} = {other}"));
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

fn told(err: &Error, place: &str, case: &str) {
    let text = format!("{err} {:?} {:?}", err.expected_value(), err.found_value());
    assert!(
        matches!(err.kind(), Kind::Invalid | Kind::Mismatch | Kind::Unsupported),
        "{case}: {text}"
    );
    for word in [
        "invalid type",
        "invalid value",
        "u64",
        "i64",
        "struct ",
        "sequence",
        "unit",
        " map",
        "line ",
    ] {
        assert!(!text.contains(word), "{case}: {text}");
    }
    if err.message().contains("breaks its schema at ") {
        let top = place.split('/').nth(1).unwrap();
        assert!(err.message().contains(top), "{case}: {text}");
    }
}

#[test]
fn the_parts_of_an_error() {
    for (pointer, value, at, expected, found) in [
        (
            "/layers/0/size",
            json!("7"),
            "/layers/0/size",
            "a whole number that is not negative",
            "\"7\"",
        ),
        ("/layers", json!({}), "/layers", "an array", "an object"),
        ("/config/mediaType", json!([]), "/config/mediaType", "a string", "an array"),
    ] {
        let mut document = manifest();
        *document.pointer_mut(pointer).unwrap() = value;
        let err = refused("manifest", &document).unwrap();
        assert!(err.message().ends_with(&format!("breaks its schema at {at}")), "{err}");
        assert_eq!(
            (err.expected_value(), err.found_value()),
            (Some(expected), Some(found)),
            "{err}"
        );
    }
}
