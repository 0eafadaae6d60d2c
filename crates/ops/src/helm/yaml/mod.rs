//! YAML as Helm reads it: the first document of a text, with the scalars of Go's YAML 1.1.
//!
//! The text may be hostile: it is bounded in length, depth and number of nodes, and an alias costs
//! as many nodes as what it stands for, so that a few lines cannot become gigabytes.

use indexmap::IndexMap;
use indexmap::map::Entry;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use conex_spec::{Error, Kind, Result};

mod scalar;

pub(crate) use scalar::Scalar;

/// The longest text that is read, in bytes: Helm itself reads no file of a chart above 5 MiB.
pub(crate) const LIMIT: usize = 5 << 20;
/// How deep a text may be nested.
const DEPTH: usize = 100;
/// How many nodes it may have, those of aliases counted each time.
const NODES: usize = 500_000;

/// A value and the line that it begins in, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(IndexMap<String, Node>),
}

impl Node {
    /// What people call it.
    pub(crate) fn noun(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) => scalar.noun(),
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The text of a scalar, as Go's YAML gives it to a field that is a string; nothing for null.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Scalar(scalar) => scalar.text(),
            _ => None,
        }
    }

    /// Whether there is no value: Go leaves the field as if it were not written.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar::Null))
    }

    /// The same as JSON, maps in the order of their keys as Go prints them.
    pub(crate) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar.json(),
            Value::Sequence(nodes) => nodes.iter().map(Self::json).collect(),
            Value::Mapping(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(key, _)| *key);
                members.into_iter().map(|(key, node)| (key.clone(), node.json())).collect()
            }
        }
    }
}

/// Parses the first document of a text; `name` is the file in messages. An empty text is null.
///
/// # Errors
/// `Invalid` with the line, `Limit` for what is too much.
pub(crate) fn parse(text: &str, name: &str) -> Result<Node> {
    if text.len() > LIMIT {
        return Err(Error::new(Kind::Limit, format!("{name} is too large"))
            .expected(format!("at most {LIMIT} bytes"))
            .found(format!("{} bytes", text.len())));
    }
    let mut builder = Builder { name, open: Vec::new(), anchors: IndexMap::new(), nodes: 0 };
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|err| {
            Error::invalid(format!("{name}, line {}: not YAML", err.marker().line()))
                .found(format!("{} (column {})", err.info(), err.marker().col() + 1))
        })?;
        if let Some(root) = builder.event(event, span)? {
            return Ok(root);
        }
    }
    Ok(Node { line: 1, value: Value::Scalar(Scalar::Null) })
}

/// What is not closed yet, and what aliases stand for.
struct Builder<'a> {
    name: &'a str,
    open: Vec<Open>,
    anchors: IndexMap<usize, (Node, usize)>,
    nodes: usize,
}

struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<String>,
    /// How many nodes there were before it.
    before: usize,
}

impl Builder<'_> {
    /// The whole document where this event ends it.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_ref().filter(|tag| tag.is_yaml_core_schema());
                let scalar = Scalar::new(&text, plain, tag.map(|tag| tag.suffix.as_str()));
                // Long texts weigh as much as many short ones.
                let weight = 1 + text.len() / 64;
                self.count(weight, line)?;
                self.close(Node { line, value: Value::Scalar(scalar) }, anchor, weight)
            }
            Event::SequenceStart(anchor, _) => self.open(line, Value::Sequence(vec![]), anchor),
            Event::MappingStart(anchor, _) => {
                self.open(line, Value::Mapping(IndexMap::new()), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, line),
            _ => Ok(None),
        }
    }

    fn open(&mut self, line: usize, value: Value, anchor: usize) -> Result<Option<Node>> {
        if self.open.len() == DEPTH {
            return Err(self.limit(line, "nested too deep", format!("at most {DEPTH} levels")));
        }
        let before = self.nodes;
        self.count(1, line)?;
        self.open.push(Open { node: Node { line, value }, anchor, key: None, before });
        Ok(None)
    }

    fn end(&mut self) -> Result<Option<Node>> {
        let Some(Open { mut node, anchor, before, .. }) = self.open.pop() else {
            return Ok(None);
        };
        if let Value::Mapping(members) = &mut node.value
            && !merge(members)
        {
            let fault = self.fault(node.line, "`<<` merges something else");
            return Err(fault.expected("mappings"));
        }
        let size = self.nodes.saturating_sub(before);
        self.close(node, anchor, size)
    }

    /// A copy of what the anchor names, which is whole by then: nothing contains itself.
    fn alias(&mut self, anchor: usize, line: usize) -> Result<Option<Node>> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(self.fault(line, "an alias stands for something that contains it"));
        };
        let size = *size;
        if self.nodes.saturating_add(size) > NODES {
            return Err(self.too_many(line));
        }
        let node = Node { line, ..node.clone() };
        self.count(size, line)?;
        self.close(node, 0, size)
    }

    /// Takes over a whole node of so many nodes.
    fn close(&mut self, node: Node, anchor: usize, size: usize) -> Result<Option<Node>> {
        if anchor != 0 {
            // What an anchor keeps is memory as well.
            self.count(size, node.line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let (name, line) = (self.name, node.line);
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(node));
        };
        match &mut open.node.value {
            Value::Sequence(nodes) => nodes.push(node),
            Value::Mapping(members) => match open.key.take() {
                None => open.key = Some(key(&node, name)?),
                Some(key) => match members.entry(key) {
                    Entry::Vacant(entry) => {
                        entry.insert(node);
                    }
                    Entry::Occupied(entry) => {
                        let message = format!("{name}, line {line}: a key stands there twice");
                        return Err(Error::invalid(message)
                            .expected(format!("it once, as in line {}", entry.get().line))
                            .found(format!("{:.80?}", entry.key())));
                    }
                },
            },
            Value::Scalar(_) => {}
        }
        Ok(None)
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES { Err(self.too_many(line)) } else { Ok(()) }
    }

    fn too_many(&self, line: usize) -> Error {
        self.limit(line, "too many values, aliases counted", format!("at most {NODES}"))
    }

    fn limit(&self, line: usize, what: &str, expected: String) -> Error {
        self.fault(line, what).with_kind(Kind::Limit).expected(expected)
    }

    fn fault(&self, line: usize, what: &str) -> Error {
        Error::invalid(format!("{}, line {line}: {what}", self.name))
    }
}

fn key(node: &Node, name: &str) -> Result<String> {
    let text = match &node.value {
        Value::Scalar(Scalar::Null) => Some("null".into()),
        Value::Scalar(scalar) => scalar.text(),
        _ => None,
    };
    text.ok_or_else(|| {
        Error::invalid(format!("{name}, line {}: not a key", node.line))
            .expected("text")
            .found(node.noun())
    })
}

/// Merges what stands under `<<` (<https://yaml.org/type/merge.html>), where a mapping's own keys go
/// first. False where something else stands there.
fn merge(members: &mut IndexMap<String, Node>) -> bool {
    let Some(merged) = members.shift_remove("<<") else {
        return true;
    };
    let sources = match merged.value {
        Value::Sequence(nodes) => nodes,
        _ => vec![merged],
    };
    for source in sources {
        let Value::Mapping(source) = source.value else {
            return false;
        };
        for (key, node) in source {
            members.entry(key).or_insert(node);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(text, "Chart.yaml").unwrap().json().to_string()
    }

    fn fault(text: &str) -> Error {
        parse(text, "Chart.yaml").unwrap_err()
    }

    #[test]
    fn documents_become_values_in_the_order_of_their_keys() {
        assert_eq!(
            json("b: [1, two, '3']\na: {c: 1.50, d: yes, e: ~}\n---\nz: 1\n"),
            r#"{"a":{"c":1.5,"d":true,"e":null},"b":[1,"two","3"]}"#
        );
        assert_eq!(json(""), "null");
        assert_eq!(json("# nothing\n"), "null");
        assert_eq!(json("\u{feff}a: 1"), r#"{"a":1}"#);
        assert_eq!(json("a: |\n  x\n  y\nb: >-\n  p\n  q\n"), r#"{"a":"x\ny\n","b":"p q"}"#);
    }

    #[test]
    fn anchors_and_merges_are_as_in_go() {
        assert_eq!(json("a: &x [1]\nb: *x\n"), r#"{"a":[1],"b":[1]}"#);
        assert_eq!(
            json("base: &b {p: 1, q: 2}\nc:\n  <<: *b\n  q: 3\n"),
            r#"{"base":{"p":1,"q":2},"c":{"p":1,"q":3}}"#
        );
        let err = fault("a:\n  <<: 1\n");
        assert!(err.message().contains("line 2: `<<` merges"), "{err}");
    }

    #[test]
    fn faults_name_their_line() {
        for (text, line, part) in [
            ("a: 1\nb: [1,\nc: 2\n", 3, "not YAML"),
            ("a: 1\nb: @x\n", 2, "not YAML"),
            ("a: 1\nb: 2\na: 3\n", 3, "twice"),
            ("a: 1\n[x]: 2\n", 2, "not a key"),
            ("a: *nowhere\n", 1, "not YAML"),
            ("a: 'x\n", 1, "not YAML"),
        ] {
            let err = fault(text);
            assert_eq!(err.kind(), Kind::Invalid, "{err}");
            let expected = format!("Chart.yaml, line {line}: ");
            assert!(err.message().starts_with(&expected), "{text:?}: {err}");
            assert!(err.message().contains(part), "{err}");
        }
    }

    #[test]
    fn what_grows_without_end_ends_in_an_error() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = level - 1;
            let ten = vec![format!("*a{below}"); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
        }
        assert_eq!(fault(&bomb).kind(), Kind::Limit);
        for deep in ["[".repeat(200_000), "- ".repeat(200_000), "{a: ".repeat(100_000)] {
            let err = fault(&deep);
            assert!(matches!(err.kind(), Kind::Limit | Kind::Invalid), "{err}");
        }
        assert_eq!(fault(&"-\n".repeat(NODES + 1)).kind(), Kind::Limit);
        assert_eq!(fault(&" ".repeat(LIMIT + 1)).kind(), Kind::Limit);
        assert!(parse("a: &a [*a]", "x").is_err());
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 1000].join(", "));
        assert_eq!(fault(&long).kind(), Kind::Limit);
    }
}
