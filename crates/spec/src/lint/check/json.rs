//! What holds for every JSON document. considerations.md, "JSON"; RFC 7493.

use std::collections::HashSet;

use crate::lint::Linter;
use crate::lint::path::Path;
use crate::lint::rules::json as rules;
use crate::lint::tree::{Node, Object, quoted};
use crate::strict_json::{Shape, folds_to};

impl Linter<'_> {
    pub(in crate::lint) fn json(&mut self, node: &Node<'_>, at: &Path<'_>, shape: Shape) {
        match node {
            Node::String(text) => self.characters(text, at),
            Node::Unsigned(value) => self.precision(*value, node, at),
            Node::Signed(value) => self.precision(value.unsigned_abs(), node, at),
            Node::Array(items) => {
                let shape = if let Shape::Array(item) = shape { *item } else { Shape::Free };
                for (index, item) in items.iter().enumerate() {
                    self.json(item, &at.item(index), shape);
                }
            }
            Node::Object(object) => self.names(object, at, shape),
            Node::Null | Node::Bool(_) | Node::Float(_) => {}
        }
    }

    fn names(&mut self, object: &Object<'_>, at: &Path<'_>, shape: Shape) {
        let known = if let Shape::Object(known) = shape { known } else { &[] };
        let mut seen = HashSet::new();
        for (name, value) in &object.0 {
            let at = at.member(name);
            self.characters(name, &at);
            if !seen.insert(name.as_ref()) {
                self.wrong(&rules::DUPLICATE_NAME, &at, value);
            }
            let exact = known.iter().find(|(exact, _)| exact == name);
            if exact.is_none()
                && let Some((exact, _)) = known.iter().find(|(exact, _)| folds_to(name, exact))
            {
                let finding = self.report(&rules::CASE_VARIANT, &at);
                finding.expected = Some(quoted(exact));
                finding.found = Some(quoted(name));
            }
            self.json(value, &at, exact.map_or(Shape::Free, |(_, shape)| *shape));
        }
    }

    /// RFC 7493, section 2.1. Lone surrogates are no sound JSON for the parser already.
    fn characters(&mut self, text: &str, at: &Path<'_>) {
        if let Some(c) = text.chars().find(|c| is_noncharacter(*c)) {
            self.report(&rules::NONCHARACTER, at).found = Some(format!("U+{:04X}", u32::from(c)));
        }
    }

    /// A float is a double already, and one that was too large is no sound JSON for the parser.
    fn precision(&mut self, magnitude: u64, node: &Node<'_>, at: &Path<'_>) {
        // A double has 53 bits; trailing zero bits are free.
        if magnitude != 0 && magnitude >> magnitude.trailing_zeros() >= 1 << f64::MANTISSA_DIGITS {
            self.wrong(&rules::NUMBER_PRECISION, at, node);
        }
    }
}

fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}
