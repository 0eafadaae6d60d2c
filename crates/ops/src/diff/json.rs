//! What differs between two JSON documents, by RFC 6901 pointers.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use similar::{DiffTag, TextDiff};

use conex_spec::{Error, Result};

use super::side::Side;

/// Arrays that take longer to compare are told coarsely.
const PATIENCE: Duration = Duration::from_secs(2);

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

/// The smallest members that differ. Of arrays the elements that came or went are told, those that went
/// by their place in the old array and the others by that in the new one.
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
        (Value::Array(a), Value::Array(b)) => elements(found, &pointer, a, b),
        (a, b) => {
            found.push(Edit { pointer, old: Some(a.clone()), new: Some(b.clone()) });
        }
    }
}

/// Elements that differ in the same place are compared with each other.
fn elements(found: &mut Vec<Edit>, pointer: &str, old: &[Value], new: &[Value]) {
    let printed = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>();
    let (a, b) = (printed(old), printed(new));
    let (a, b): (Vec<&str>, Vec<&str>) =
        (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect());
    let diff = TextDiff::configure().timeout(PATIENCE).diff_slices(&a, &b);
    let at = |index: usize| format!("{pointer}/{index}");
    for op in diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal) {
        let (gone, come) = (op.old_range(), op.new_range());
        let pairs = gone.len().min(come.len());
        for (i, j) in gone.clone().zip(come.clone()) {
            collect(found, at(i), &old[i], &new[j]);
        }
        found.extend(gone.skip(pairs).map(|i| Edit {
            pointer: at(i),
            old: Some(old[i].clone()),
            new: None,
        }));
        found.extend(come.skip(pairs).map(|j| Edit {
            pointer: at(j),
            old: None,
            new: Some(new[j].clone()),
        }));
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
                ("/a/c~0~1/1".into(), Some(json!(2)), None),
                ("/gone".into(), Some(json!(null)), None),
                ("/new".into(), None, Some(json!(true))),
            ]
        );
    }

    #[test]
    fn elements_that_came_or_went_are_told() {
        let told = |old: Value, new: Value| {
            let edits = edits(&old, &new).into_iter();
            edits.map(|edit| (edit.pointer, edit.old, edit.new)).collect::<Vec<_>>()
        };
        let found =
            told(json!(["PATH=/bin", "A=1", "Z=0"]), json!(["NEW=x", "PATH=/bin", "A=2", "Z=0"]));
        assert_eq!(
            found,
            [
                ("/0".into(), None, Some(json!("NEW=x"))),
                ("/1".into(), Some(json!("A=1")), Some(json!("A=2"))),
            ]
        );
        let found = told(json!([{"a": 1, "b": 2}]), json!([{"a": 1, "b": 3}, []]));
        assert_eq!(
            found,
            [("/0/b".into(), Some(json!(2)), Some(json!(3))), ("/1".into(), None, Some(json!([]))),]
        );
    }
}
