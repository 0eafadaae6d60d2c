//! JSON as it stands in the bytes: names that stand there twice, the order of members and the
//! spelling of numbers are all still to be seen. What is judged here has been bounded first.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::strict_json::{MAX_DEPTH, MAX_MEMBERS, MAX_NESTS, MAX_VALUES, Shape};

/// What is shown of a value, in characters.
const SHOWN: usize = 100;

/// A value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    /// With a point or an exponent, or too large for an integer.
    Float(f64),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// The members of an object, in their order.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(pub(super) Vec<(Cow<'a, str>, Node<'a>)>);

impl<'a> Object<'a> {
    /// The first member of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The text of a member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }
}

impl<'a> Node<'a> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(super) fn array(&self) -> Option<&[Node<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// How many values it is, itself counted.
    fn count(&self) -> usize {
        1 + match self {
            Self::Array(items) => items.iter().map(Self::count).sum(),
            Self::Object(object) => object.0.iter().map(|(_, node)| node.count()).sum::<usize>(),
            _ => 0,
        }
    }

    /// What it is, in one line that is never long.
    pub(super) fn show(&self) -> String {
        match self {
            Self::String(text) => quoted(text),
            Self::Array(items) if items.is_empty() => "an empty array".into(),
            Self::Array(items) => format!("an array of {}", items.len()),
            Self::Object(object) if object.0.is_empty() => "an empty object".into(),
            Self::Object(_) => "an object".into(),
            Self::Null => "null".into(),
            Self::Bool(value) => value.to_string(),
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            // Debug keeps the point: `1.0`, `1e300`.
            Self::Float(value) => format!("{value:?}"),
        }
    }
}

/// Text of a stranger in quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().nth(SHOWN).is_none() {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut:?} and {} more bytes", text.len() - cut.len())
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) enum Fault {
    TooDeep,
    /// More than so many of something.
    TooMany(usize, &'static str),
    /// In the words of the parser.
    Syntax(String),
}

/// Parses one value and nothing after it.
pub(super) fn parse(text: &str) -> Result<Node<'_>, Fault> {
    let bounds = Bounds::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Seed { bounds: &bounds, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node));
    parsed.map_err(|err| match bounds.passed.get() {
        Some(Bound::Depth) => Fault::TooDeep,
        Some(Bound::Count(limit, of)) => Fault::TooMany(limit, of),
        None => Fault::Syntax(err.to_string()),
    })
}

/// How many values stand in members that the specification does not know.
pub(super) fn foreign(node: &Node<'_>, shape: Shape) -> usize {
    match (node, shape) {
        (Node::Array(items), Shape::Array(item)) => {
            items.iter().map(|node| foreign(node, *item)).sum()
        }
        (Node::Object(object), Shape::Object(known)) => {
            let shape = |name: &str| known.iter().find(|(exact, _)| *exact == name);
            let of = |(name, node): &(Cow<'_, str>, Node<'_>)| match shape(name) {
                Some((_, shape)) => foreign(node, *shape),
                None => node.count(),
            };
            object.0.iter().map(of).sum()
        }
        _ => 0,
    }
}

#[derive(Clone, Copy)]
enum Bound {
    Depth,
    Count(usize, &'static str),
}

#[derive(Default)]
struct Bounds {
    values: Cell<usize>,
    nests: Cell<usize>,
    passed: Cell<Option<Bound>>,
}

struct Seed<'b> {
    bounds: &'b Bounds,
    depth: usize,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.add(&self.bounds.nests, MAX_NESTS, "objects and arrays")?;
        if self.depth < MAX_DEPTH {
            return Ok(self.depth + 1);
        }
        self.bounds.passed.set(Some(Bound::Depth));
        Err(E::custom("too deep"))
    }

    fn add<E: serde::de::Error>(
        &self,
        count: &Cell<usize>,
        limit: usize,
        of: &'static str,
    ) -> Result<(), E> {
        count.set(count.get() + 1);
        if count.get() <= limit {
            return Ok(());
        }
        self.bounds.passed.set(Some(Bound::Count(limit, of)));
        Err(E::custom("too many"))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        self.add(&self.bounds.values, MAX_VALUES, "values")?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Seed { bounds: self.bounds, depth })? {
            items.push(item);
        }
        Ok(Node::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let depth = self.deeper()?;
        let mut members = Vec::new();
        let count = Cell::new(0);
        while let Some(name) = map.next_key_seed(Name)? {
            self.add(&count, MAX_MEMBERS, "members in one object")?;
            let value = map.next_value_seed(Seed { bounds: self.bounds, depth })?;
            members.push((name, value));
        }
        Ok(Node::Object(Object(members)))
    }
}

/// A name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_still_to_be_seen() {
        let node = parse(r#"{"a":1,"\u0061":-2,"b":[1.0,1e3,18446744073709551616,"x",null]}"#);
        let node = node.unwrap();
        let names: Vec<_> =
            node.object().unwrap().0.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["a", "a", "b"]);
        let shown: Vec<_> = node
            .object()
            .unwrap()
            .get("b")
            .unwrap()
            .array()
            .unwrap()
            .iter()
            .map(Node::show)
            .collect();
        assert_eq!(shown, ["1.0", "1000.0", "1.8446744073709552e19", "\"x\"", "null"]);
        assert_eq!(Node::String("é".repeat(200).into()).show().chars().count(), 121);
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(&deep(64)).is_ok());
        assert!(matches!(parse(&deep(65)), Err(Fault::TooDeep)));
        assert!(matches!(parse(&"[".repeat(1 << 20)), Err(Fault::TooDeep)));
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert!(matches!(parse(&many), Err(Fault::TooMany(MAX_VALUES, "values"))));
        assert!(matches!(parse("{} {}"), Err(Fault::Syntax(_))));
        assert!(matches!(parse(r#""\ud800""#), Err(Fault::Syntax(_))));
    }
}
