//! `eq ne lt le gt ge`. <https://pkg.go.dev/text/template#hdr-Functions>

use std::cmp::Ordering;

use conex_spec::{Error, Kind, Result};

use crate::value::Value;

/// Whether `first` is one of the others.
pub(crate) fn equal(first: &Value<'_>, others: &[Value<'_>]) -> Result<bool> {
    for other in others {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same(left: &Value<'_>, right: &Value<'_>) -> Result<bool> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        _ => order(left, right).map(|order| order == Some(Ordering::Equal)),
    }
}

/// The order of two values that have one; nothing for what is no number. Unlike Go's, whole and
/// decimal numbers can be compared: JSON does not tell them apart.
pub(crate) fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Option<Ordering>> {
    if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
        return Ok(Some(left.cmp(right)));
    }
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return Ok(Some(left.cmp(&right)));
    }
    match (decimal(left), decimal(right)) {
        (Some(left), Some(right)) => Ok(left.partial_cmp(&right)),
        _ => Err(Error::new(Kind::Usage, "values cannot be compared")
            .expected("two numbers or two strings")
            .found(format!("{} and {}", left.type_name(), right.type_name()))),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::Uint(number) => Some((*number).into()),
        _ => None,
    }
}

fn decimal(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        value => whole(value).map(|number| number as f64),
    }
}
