//! What a typed document says of a value that it does not take, in people's words.

use serde_path_to_error::{Path, Segment};

use crate::error::Error;

/// The place as a JSON pointer (RFC 6901); empty for the whole document.
pub(super) fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer = pointer + "/" + &part;
    }
    pointer
}

/// The error for a document `what` and a place in it; `told` is what serde says.
pub(super) fn told(what: &str, place: &str, told: &str) -> Error {
    let told = told.rsplit_once(" at line ").map_or(told, |(told, _)| told);
    let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
    let unlike = Error::invalid(format!("{what} breaks its schema{at}"));
    if let Some(name) = told.strip_prefix("missing field `").and_then(|name| name.strip_suffix('`'))
    {
        return unlike.expected(format!("a member {name:?}")).found("nothing");
    }
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = kinds.iter().find_map(|kind| told.strip_prefix(kind));
    match rest.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            unlike.expected(expected_words(expected)).found(found_words(found))
        }
        None => Error::invalid(format!("{what} breaks its schema{at}: {told}")),
    }
}

fn expected_words(expected: &str) -> String {
    let words = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other if other.contains("string") => "a string",
        other => other,
    };
    words.to_owned()
}

fn found_words(found: &str) -> String {
    let quoted = |kind: &str| Some(found.strip_prefix(kind)?.trim_matches('`').to_owned());
    match found {
        "map" => "an object".to_owned(),
        "sequence" => "an array".to_owned(),
        "null" | "unit value" | "Option value" => "null".to_owned(),
        _ => [quoted("integer "), quoted("floating point "), quoted("boolean "), quoted("string ")]
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_else(|| found.to_owned()),
    }
}
