//! Values while a template runs. Data is borrowed; only texts and lists of texts are made.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

/// A value of a template.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    /// Nothing: an absent member, `null`, `nil`.
    Nil,
    Bool(bool),
    Int(i64),
    /// Above the greatest [`Value::Int`].
    Uint(u64),
    Float(f64),
    Text(Text<'a>),
    List(&'a [Json]),
    /// A list that a function made.
    Made(Arc<[Value<'a>]>),
    Map(&'a Map<String, Json>),
}

/// A text, of the data or made.
#[derive(Clone, Debug)]
pub(crate) enum Text<'a> {
    Data(&'a str),
    Made(Arc<str>),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Data(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> Value<'a> {
    pub(crate) fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::Uint(number),
                (None, None) => number.as_f64().map_or(Self::Nil, Self::Float),
            },
            Json::String(text) => Self::Text(Text::Data(text)),
            Json::Array(list) => Self::List(list),
            Json::Object(map) => Self::Map(map),
        }
    }

    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    /// Whether it counts as true: anything but false, 0, nothing and what is empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Uint(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.as_str().is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Made(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// How Go calls the type of such a value in an `any`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) | Self::Made(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }

    /// The text, where it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// How many elements a list has.
    pub(crate) fn list_length(&self) -> Option<usize> {
        match self {
            Self::List(list) => Some(list.len()),
            Self::Made(list) => Some(list.len()),
            _ => None,
        }
    }

    /// An element of a list.
    pub(crate) fn element(&self, index: usize) -> Option<Self> {
        match self {
            Self::List(list) => list.get(index).map(Self::of),
            Self::Made(list) => list.get(index).cloned(),
            _ => None,
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text.as_str()),
            Self::List(list) => list.serialize(serializer),
            Self::Made(list) => serializer.collect_seq(list.iter()),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

/// What skopeo, docker and regctl call a member that has another name here, by its letters.
const CALLED: [(&str, &str); 9] = [
    ("layersdata", "layers"),
    ("mimetype", "mediatype"),
    ("getdescriptor", "root"),
    ("getconfig", "config"),
    ("getlayers", "layers"),
    ("getannotations", "annotations"),
    ("getmanifestlist", "manifests"),
    ("getdigest", "digest"),
    // Docker's `RootFS` has them so.
    ("layers", "diffids"),
];

/// A member of a map by its name; else the one whose name has the same letters, so that
/// `.MediaType`, `.OSVersion` and `.RootFS.DiffIDs` find `mediaType`, `os.version` and
/// `rootfs.diff_ids`, which Go's programs call so; else one that they call otherwise, or that is
/// among the members which `other` gathers.
pub(crate) fn member<'a>(map: &'a Map<String, Json>, name: &str) -> Option<Value<'a>> {
    let found = map.get(name).or_else(|| {
        let name: String = letters(name).collect();
        let other = || alike(map.get("other")?.as_object()?, &name);
        let called = || {
            let called = CALLED.iter().filter(|(theirs, _)| *theirs == name);
            called.filter_map(|(_, ours)| alike(map, ours)).next()
        };
        if name.is_empty() { None } else { alike(map, &name).or_else(called).or_else(other) }
    });
    found.map(Value::of)
}

fn alike<'a>(map: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    map.iter().find(|(key, _)| letters(key).eq(name.chars())).map(|(_, json)| json)
}

fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// The members of a map in the order of their keys' bytes, as Go visits them.
pub(crate) fn sorted(map: &Map<String, Json>) -> Vec<(&str, &Json)> {
    let mut members: Vec<_> = map.iter().map(|(key, json)| (key.as_str(), json)).collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}
