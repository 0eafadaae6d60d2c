//! What a template may ask of an image although it is not set: in Go, the fields of skopeo's and
//! docker's answers are then empty texts, lists and maps, and not absent.

use serde_json::{Map, Value, json};

const TEXTS: [&str; 3] = ["name", "artifactType", "created"];
const LISTS: [&str; 2] = ["repoTags", "repoDigests"];
const MAPS: [&str; 1] = ["annotations"];

const IMAGE_TEXTS: [&str; 3] = ["created", "author", "variant"];
const IMAGE_LISTS: [&str; 2] = ["env", "history"];
const IMAGE_MAPS: [&str; 1] = ["labels"];

const CONFIG_TEXTS: [&str; 3] = ["User", "WorkingDir", "StopSignal"];
const CONFIG_LISTS: [&str; 3] = ["Env", "Entrypoint", "Cmd"];
const CONFIG_MAPS: [&str; 3] = ["Labels", "ExposedPorts", "Volumes"];

/// Adds what is not set, to the report and to the images in it.
pub fn fill(report: &mut Value) {
    let Some(report) = report.as_object_mut() else { return };
    add(report, &TEXTS, &LISTS, &MAPS);
    if report.contains_key("rootfs") {
        image(report);
    }
    entries(report.get_mut("manifests"));
}

fn entries(entries: Option<&mut Value>) {
    for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(entry) = entry.as_object_mut() else { continue };
        add(entry, &["artifactType"], &[], &MAPS);
        if let Some(inside) = entry.get_mut("image").and_then(Value::as_object_mut) {
            image(inside);
        }
        self::entries(entry.get_mut("manifests"));
    }
}

fn image(image: &mut Map<String, Value>) {
    add(image, &IMAGE_TEXTS, &IMAGE_LISTS, &IMAGE_MAPS);
    if let Some(config) = image.get_mut("config").and_then(Value::as_object_mut) {
        add(config, &CONFIG_TEXTS, &CONFIG_LISTS, &CONFIG_MAPS);
    }
    for layer in image.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(layer) = layer.as_object_mut() {
            add(layer, &["createdBy", "created"], &[], &MAPS);
        }
    }
}

fn add(map: &mut Map<String, Value>, texts: &[&str], lists: &[&str], maps: &[&str]) {
    for (names, empty) in [(texts, json!("")), (lists, json!([])), (maps, json!({}))] {
        for name in names {
            map.entry(*name).or_insert_with(|| empty.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_stays_and_what_is_not_is_empty() {
        let mut report = json!({"digest": "d", "rootfs": {}, "env": ["A=1"],
            "config": {"Cmd": ["x"]}, "layers": [{"digest": "l"}]});
        fill(&mut report);
        assert_eq!(report["env"], json!(["A=1"]));
        assert_eq!(report["config"]["Cmd"], json!(["x"]));
        for (pointer, empty) in [
            ("/name", json!("")),
            ("/repoTags", json!([])),
            ("/labels", json!({})),
            ("/config/Env", json!([])),
            ("/config/User", json!("")),
            ("/layers/0/createdBy", json!("")),
        ] {
            assert_eq!(report.pointer(pointer), Some(&empty), "{pointer}");
        }
        let mut index = json!({"manifests": [{"image": {"config": {}}}, {"manifests": [{}]}]});
        fill(&mut index);
        assert_eq!(index.pointer("/manifests/0/image/config/Labels"), Some(&json!({})));
        assert_eq!(index.pointer("/manifests/1/manifests/0/annotations"), Some(&json!({})));
        assert!(index.get("env").is_none(), "an index has no environment");
    }
}
