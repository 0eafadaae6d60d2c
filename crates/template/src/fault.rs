//! Faults of a template, each with its line and column.

use conex_spec::{Error, Kind};

/// A fault at a byte of the template.
pub(crate) fn fault(source: &str, at: usize, message: &str) -> Error {
    Error::new(Kind::Usage, message).context(place(source, at))
}

/// `template, line 1, column 5`; columns are counted in characters, from 1.
pub(crate) fn place(source: &str, at: usize) -> String {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("template, line {line}, column {column}")
}
