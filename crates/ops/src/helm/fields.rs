//! The members of a mapping, each of the sort that it must be.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use conex_spec::{Error, Result};

use super::yaml::{Node, Scalar, Value};

/// A mapping, the file that it stands in, and where there: `dependencies[2].`
pub(super) struct Fields<'a> {
    members: &'a IndexMap<String, Node>,
    file: &'a str,
    at: String,
    line: usize,
}

impl<'a> Fields<'a> {
    /// Nothing else than a mapping has members.
    pub(super) fn of(node: &'a Node, file: &'a str, at: &str) -> Result<Self> {
        match &node.value {
            Value::Mapping(members) => {
                let dot = if at.is_empty() { "" } else { "." };
                Ok(Self { members, file, at: format!("{at}{dot}"), line: node.line })
            }
            _ => {
                let called = if at.is_empty() { "it".into() } else { format!("`{at}`") };
                Err(fault(file, node.line, &format!("{called} has no members"))
                    .expected("a mapping")
                    .found(node.noun()))
            }
        }
    }

    /// Text, or nothing of it.
    pub(super) fn text(&self, name: &str) -> Result<String> {
        match self.get(name) {
            Some(node) => text(node).ok_or_else(|| self.sort(name, node, "text")),
            None => Ok(String::new()),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let nodes = self.list(name)?;
        let each = |node: &Node| text(node).ok_or_else(|| self.sort(name, node, "a list of texts"));
        nodes.iter().map(each).collect()
    }

    /// Texts by their names.
    pub(super) fn map(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let Some(node) = self.get(name) else { return Ok(BTreeMap::new()) };
        let Value::Mapping(members) = &node.value else {
            return Err(self.sort(name, node, "a mapping of texts"));
        };
        let each = |(key, node): (&String, &Node)| {
            let text = text(node).ok_or_else(|| self.sort(&format!("{name}.{key}"), node, "text"));
            Ok((key.clone(), text?))
        };
        members.iter().map(each).collect()
    }

    /// True or false, false where nothing stands.
    pub(super) fn truth(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Node { value: Value::Scalar(Scalar::Bool(value)), .. }) => Ok(*value),
            Some(node) => Err(self.sort(name, node, "true or false")),
        }
    }

    /// A list of whatever JSON can say.
    pub(super) fn json_list(&self, name: &str) -> Result<Vec<serde_json::Value>> {
        Ok(self.list(name)?.iter().map(Node::json).collect())
    }

    /// A list of mappings, each read by itself.
    pub(super) fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&Fields<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let nodes = self.list(name)?.iter().enumerate();
        let each = |(at, node): (usize, &'a Node)| {
            read(&Fields::of(node, self.file, &format!("{}{name}[{at}]", self.at))?)
        };
        nodes.map(each).collect()
    }

    /// The fault of a member that must be there.
    pub(super) fn missing(&self, name: &str, expected: &str) -> Error {
        let line = self.get(name).map_or(self.line, |node| node.line);
        fault(self.file, line, &format!("`{}{name}` is missing or empty", self.at))
            .expected(expected)
    }

    /// The fault of a member whose text breaks a rule.
    pub(super) fn wrong(&self, name: &str) -> Error {
        let node = self.get(name);
        let line = node.map_or(self.line, |node| node.line);
        let message = format!("`{}{name}` is not what it must be", self.at);
        let found = node.and_then(Node::text).unwrap_or_default();
        fault(self.file, line, &message).found(format!("{found:.80?}"))
    }

    fn sort(&self, name: &str, node: &Node, expected: &str) -> Error {
        fault(self.file, node.line, &format!("`{}{name}` is not what it must be", self.at))
            .expected(expected)
            .found(node.noun())
    }

    fn list(&self, name: &str) -> Result<&'a [Node]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Node { value: Value::Sequence(nodes), .. }) => Ok(nodes),
            Some(node) => Err(self.sort(name, node, "a list")),
        }
    }

    /// Null is nothing.
    fn get(&self, name: &str) -> Option<&'a Node> {
        self.members.get(name).filter(|node| !node.is_null())
    }
}

/// A scalar's text; null is an empty one, as in Go.
fn text(node: &Node) -> Option<String> {
    if node.is_null() { Some(String::new()) } else { node.text() }
}

fn fault(file: &str, line: usize, message: &str) -> Error {
    Error::invalid(format!("{file}, line {line}: {message}"))
}
