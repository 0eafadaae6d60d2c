//! What differs between two JSON documents, by RFC 6901 pointers.

use serde::Serialize;
use serde_json::Value;

use conex_spec::{Error, Result};

use super::side::Side;

/// A member that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edit {
    /// Where it is in the document.
    pub pointer: String,
    /// What the first document has there; nothing where it has no such member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What the second document has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// What differs between the manifests and between the configs of two images. What follows from the layers
/// alone is told by the files.
pub(super) async fn documents(a: &Side, b: &Side) -> Result<(Vec<Edit>, Vec<Edit>)> {
    let (Some(a), Some(b)) = (&a.files, &b.files) else { return Ok((Vec::new(), Vec::new())) };
    let manifest = |files: &crate::files::Files| {
        let mut value = serde_json::to_value(&files.image.manifest).map_err(unprintable)?;
        if let Value::Object(members) = &mut value {
            members.shift_remove("layers");
            members.shift_remove("config");
        }
        Ok::<_, Error>(value)
    };
    let config = |files: &crate::files::Files| {
        let mut value: Value =
            serde_json::from_slice(files.image.config.bytes()).map_err(unprintable)?;
        if let Some(rootfs) = value.get_mut("rootfs").and_then(Value::as_object_mut) {
            rootfs.shift_remove("diff_ids");
        }
        Ok::<_, Error>(value)
    };
    Ok((edits(&manifest(a)?, &manifest(b)?), edits(&config(a)?, &config(b)?)))
}

fn unprintable(err: serde_json::Error) -> Error {
    Error::invalid("document cannot be compared").source(err)
}

/// The smallest members that differ. Arrays differ as a whole: their elements have no names.
pub(super) fn edits(old: &Value, new: &Value) -> Vec<Edit> {
    let mut found = Vec::new();
    collect(&mut found, String::new(), old, new);
    found
}

/// Documents are at most 64 levels deep.
fn collect(found: &mut Vec<Edit>, pointer: String, old: &Value, new: &Value) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let below =
                |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            for (name, value) in a {
                match b.get(name) {
                    Some(other) => collect(found, below(name), value, other),
                    None => found.push(Edit {
                        pointer: below(name),
                        old: Some(value.clone()),
                        new: None,
                    }),
                }
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                found.push(Edit { pointer: below(name), old: None, new: Some(value.clone()) });
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            found.push(Edit { pointer, old: Some(a.clone()), new: Some(b.clone()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_smallest_members_are_told() {
        let old = json!({"a": {"b": 1, "c~/": [1, 2]}, "gone": null, "same": "x"});
        let new = json!({"a": {"b": 2, "c~/": [1]}, "same": "x", "new": true});
        let edits: Vec<_> =
            edits(&old, &new).into_iter().map(|edit| (edit.pointer, edit.old, edit.new)).collect();
        assert_eq!(
            edits,
            [
                ("/a/b".into(), Some(json!(1)), Some(json!(2))),
                ("/a/c~0~1".into(), Some(json!([1, 2])), Some(json!([1]))),
                ("/gone".into(), Some(json!(null)), None),
                ("/new".into(), None, Some(json!(true))),
            ]
        );
    }
}
