//! JSON as the OCI specifications want it, with no room for two readings of one document.
//!
//! image-spec, considerations.md, "JSON": content follows I-JSON (RFC 7493), so it is UTF-8 and
//! an object holds no name twice. Go's decoder takes `LAYERS` for `layers`; two readers would
//! then see two documents under one digest, so a name that differs from a known one only in
//! case is refused too. Depth and length are bounded before any value is built.

mod words;

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

use crate::error::{Error, Kind, Result};

/// The deepest nesting of arrays and objects; real documents reach about eight.
pub(crate) const MAX_DEPTH: usize = 64;

/// The most values of one document. The largest index that is read lists about 70,000 entries of
/// three members each; a document of nothing but brackets would take fifty times its length.
/// The lint has the same limits as every reader.
pub(crate) const MAX_VALUES: usize = 300_000;
/// The most objects and arrays among them: each is worth many of the others.
pub(crate) const MAX_NESTS: usize = 1 << 17;
/// The most values in members that the specification does not know, which are kept one by one.
pub(crate) const MAX_FOREIGN: usize = 1 << 16;
/// The most members of one object; 100,000 annotations fit.
pub(crate) const MAX_MEMBERS: usize = 1 << 17;

/// The names that a specification gives to the members of an object, and what they hold.
/// Only there does a name's case matter: labels and annotations are free.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any value, or one whose names are free.
    Free,
    /// An object with these members, and any others.
    Object(&'static [(&'static str, Shape)]),
    /// An array of values of one shape.
    Array(&'static Shape),
}

/// Parses a whole document of at most `limit` bytes; `what` names it in errors.
pub fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
    shape: Shape,
    what: &str,
) -> Result<T> {
    check(bytes, limit, shape, what)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|err| {
        let place = words::pointer(err.path());
        words::told(what, &place, &err.into_inner().to_string())
    })
}

/// Checks all that [`parse`] checks before it builds the value.
pub fn check(bytes: &[u8], limit: usize, shape: Shape, what: &str) -> Result<()> {
    if bytes.len() > limit {
        return Err(Error::new(Kind::Limit, format!("{what} is too large"))
            .expected(format!("at most {limit} bytes"))
            .found(format!("{} bytes", bytes.len())));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::invalid(format!("{what} starts with a byte order mark"))
            .hint("RFC 8259, section 8.1: JSON carries none; remove the first three bytes"));
    }
    if let Err(err) = std::str::from_utf8(bytes) {
        let message = format!("{what} is not UTF-8 at byte {}", err.valid_up_to());
        return Err(Error::invalid(message));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seen = Seen::default();
    let walk = Walk { shape, path: Path::Root, depth: 0, foreign: false, seen: &seen };
    let walked = walk.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    walked.map_err(|err| match seen.too_many.get() {
        Some((limit, of)) => Error::new(Kind::Limit, format!("{what} has too many {of}"))
            .expected(format!("at most {limit}")),
        None => Error::invalid(format!("{what} is not sound JSON: {err}")),
    })
}

/// How much the walk has met.
#[derive(Default)]
struct Seen {
    values: Cell<usize>,
    nests: Cell<usize>,
    foreign: Cell<usize>,
    /// The limit that was passed, and what it counts.
    too_many: Cell<Option<(usize, &'static str)>>,
}

impl Seen {
    fn value<E: serde::de::Error>(&self, foreign: bool) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        self.foreign.set(self.foreign.get() + usize::from(foreign));
        self.limit(self.values.get(), MAX_VALUES, "values")?;
        self.limit(self.foreign.get(), MAX_FOREIGN, "values in unknown members")
    }

    fn limit<E: serde::de::Error>(
        &self,
        count: usize,
        limit: usize,
        of: &'static str,
    ) -> Result<(), E> {
        if count <= limit {
            return Ok(());
        }
        self.too_many.set(Some((limit, of)));
        Err(E::custom("too much"))
    }
}

/// Where in the document the walk stands; rendered only for an error.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(parent, name) => write!(f, "{parent}/{}", name.escape_debug()),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Walks a value without building it.
struct Walk<'a> {
    shape: Shape,
    path: Path<'a>,
    depth: usize,
    /// Whether this is in a member that the specification does not know.
    foreign: bool,
    seen: &'a Seen,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.seen.value(self.foreign)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let shape = match self.shape {
            Shape::Array(item) => *item,
            _ => Shape::Free,
        };
        let mut index = 0;
        let item = |index| Walk { shape, path: Path::Item(&self.path, index), depth, ..self };
        while items.next_element_seed(item(index))?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = Path::Member(&self.path, &name);
            let shape = self.shape.of_member(&name).map_err(|spelled| {
                A::Error::custom(format!("{path} differs from {spelled:?} only in case"))
            })?;
            let foreign = self.foreign || shape.is_none();
            let shape = shape.unwrap_or(Shape::Free);
            members.next_value_seed(Walk { shape, path, depth, foreign, seen: self.seen })?;
            if names.contains(&name) {
                return Err(A::Error::custom(format!("{path} stands there twice")));
            }
            names.insert(name);
            self.seen.limit(names.len(), MAX_MEMBERS, "members in one object")?;
        }
        Ok(())
    }
}

impl Walk<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.seen.nests.set(self.seen.nests.get() + 1);
        self.seen.limit(self.seen.nests.get(), MAX_NESTS, "objects and arrays")?;
        if self.depth < MAX_DEPTH {
            return Ok(self.depth + 1);
        }
        Err(E::custom(format!("more than {MAX_DEPTH} levels of nesting")))
    }
}

impl Shape {
    /// The shape of a member, nothing for one that is not known; fails with the known name that
    /// this one pretends to be.
    fn of_member(self, name: &str) -> Result<Option<Self>, &'static str> {
        let Self::Object(known) = self else {
            return Ok(Some(Self::Free));
        };
        if let Some((_, shape)) = known.iter().find(|(exact, _)| *exact == name) {
            return Ok(Some(*shape));
        }
        match known.iter().find(|(exact, _)| folds_to(name, exact)) {
            Some((exact, _)) => Err(exact),
            None => Ok(None),
        }
    }
}

/// Whether Go's decoder would take `name` for `exact`: it folds ASCII case,
/// and the two letters outside ASCII that fold into it.
pub(crate) fn folds_to(name: &str, exact: &str) -> bool {
    let folded = name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(exact.chars().map(|c| c.to_ascii_lowercase()))
}

/// `null` for an optional member is "equivalent to being absent" (image-spec, config.md, "Properties").
pub(crate) fn null_is_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::Object(&[
        ("layers", Shape::Array(&Shape::Object(&[("size", Shape::Free)]))),
        ("annotations", Shape::Free),
        ("kind", Shape::Free),
    ]);

    fn fault(json: &[u8]) -> Option<String> {
        check(json, 1 << 20, SHAPE, "it").err().map(|err| err.to_string())
    }

    #[test]
    fn sound_documents_pass() {
        for json in [
            r#"{"layers":[{"size":1}],"annotations":{"a":"1","A":"2","LAYERS":"x"},"unknown":{"Size":1}}"#,
            " \n{} \n",
            r#"{"layers":[],"x":1e300,"y":-1,"z":null,"t":true}"#,
        ] {
            assert_eq!(fault(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        for (json, place) in [
            (&br#"{"layers":[],"layers":[]}"#[..], "/layers stands there twice"),
            (br#"{"annotations":{"a":1,"\u0061":2}}"#, "/annotations/a stands there twice"),
            (br#"{"layers":[{},{"size":1,"size":2}]}"#, "/layers/1/size stands there twice"),
            (br#"{"LAYERS":[]}"#, r#"/LAYERS differs from "layers" only in case"#),
            (br#"{"layers":[{"Size":1}]}"#, r#"/layers/0/Size differs from "size""#),
            ("{\"\u{212a}ind\":1}".as_bytes(), r#"differs from "kind" only in case"#),
            (b"{}{}", "trailing"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b"{\"a\":\"\xff\"}", "not UTF-8 at byte 6"),
            (br#"{"a":"\ud800"}"#, "hex escape"),
            (br#"{"a":1"#, "EOF"),
            (b"", "EOF"),
        ] {
            let found = fault(json).unwrap_or_default();
            assert!(found.contains(place), "{place} not in {found}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(fault(deep(64).as_bytes()), None);
        assert!(fault(deep(65).as_bytes()).unwrap().contains("64 levels"));
        assert!(fault("[".repeat(100_000).as_bytes()).unwrap().contains("64 levels"));
        let long = check(b"[1,2]", 4, SHAPE, "it").unwrap_err();
        assert_eq!(long.kind(), Kind::Limit);
    }
    #[test]
    fn numbers_of_values_are_bounded() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{\"annotations\":{{{}}}}}", members.join(","))
        };
        let values =
            |name: &str, count: usize| format!("{{\"{name}\":[0{}]}}", ",0".repeat(count - 1));
        let check = |json: &str| check(json.as_bytes(), 8 << 20, SHAPE, "it");
        assert!(check(&members(100_000)).is_ok());
        assert!(check(&values("kind", MAX_VALUES - 2)).is_ok());
        assert!(check(&values("unknown", 60_000)).is_ok());
        for (json, of) in [
            (members(150_000), "members in one object"),
            (values("kind", MAX_VALUES - 1), "values"),
            (values("unknown", 70_000), "values in unknown members"),
            (values("kind", 140_000).replace('0', "[]"), "objects and arrays"),
        ] {
            let err = check(&json).unwrap_err();
            assert_eq!(err.kind(), Kind::Limit);
            assert_eq!(err.message(), format!("it has too many {of}"));
        }
    }
}
