//! docker's functions of texts, which podman, skopeo and regctl have too.

use std::sync::Arc;

use conex_spec::{Error, Kind, Result};

use crate::buffer::Buffer;
use crate::eval::PART;
use crate::functions::Answer::{self, Value as Is};
use crate::functions::part;
use crate::print;
use crate::value::{Text, Value};

/// An argument that must be a text; nothing counts as an empty one.
pub(crate) fn text<'v>(args: &'v [Value<'_>], index: usize) -> Result<&'v str> {
    match args.get(index) {
        Some(Value::Nil) => Ok(""),
        Some(Value::Text(text)) => Ok(text.as_str()),
        other => Err(wrong(index, "a string", other)),
    }
}

fn count(args: &[Value<'_>], index: usize) -> Result<usize> {
    match args.get(index) {
        Some(Value::Int(number)) => usize::try_from(*number)
            .map_err(|_| wrong(index, "a whole number that is not negative", None).found(number)),
        other => Err(wrong(index, "a whole number", other)),
    }
}

fn wrong(index: usize, expected: &str, found: Option<&Value<'_>>) -> Error {
    Error::new(Kind::Usage, format!("argument {} has another type", index + 1))
        .expected(expected)
        .found(found.map_or("nothing", Value::type_name))
}

/// One text made of another.
pub(crate) fn map<'a>(
    args: &[Value<'_>],
    out: &mut Buffer,
    change: impl Fn(&str) -> String,
) -> Result<Answer<'a>> {
    out.push(&change(text(args, 0)?));
    Ok(Answer::Buffer)
}

/// The elements of a list with a text between them: `join LIST SEPARATOR`.
pub(crate) fn join<'a>(args: &[Value<'_>], out: &mut Buffer) -> Result<Answer<'a>> {
    let separator = text(args, 1)?;
    let length = match &args[0] {
        Value::Nil => 0,
        list => list.list_length().ok_or_else(|| wrong(0, "a list", Some(list)))?,
    };
    for index in 0..length {
        if index > 0 {
            out.push(separator);
        }
        print::value(out, &args[0].element(index).unwrap_or(Value::Nil));
        if out.overflowed() {
            break;
        }
    }
    Ok(Answer::Buffer)
}

/// The parts between separators; without a separator the characters: `split TEXT SEPARATOR`.
pub(crate) fn split<'a>(args: &[Value<'a>], out: &mut Buffer) -> Result<Answer<'a>> {
    let separator = text(args, 1)?.to_owned();
    let whole = match &args[0] {
        Value::Text(text) => text.clone(),
        _ => Text::Made(text(args, 0)?.into()),
    };
    let mut parts = Vec::new();
    let mut start = 0;
    let length = whole.as_str().len();
    while start <= length {
        let rest = &whole.as_str()[start..];
        let found = if separator.is_empty() {
            rest.chars().next().map(char::len_utf8).filter(|first| *first < rest.len())
        } else {
            rest.find(&separator)
        };
        let end = found.map_or(length, |found| start + found);
        parts.push(Value::Text(part(&whole, start, end)?));
        if parts.len() * PART > out.room() {
            out.overflow();
            return Ok(Answer::Buffer);
        }
        if found.is_none() {
            break;
        }
        start = end + separator.len();
    }
    if separator.is_empty() && length == 0 {
        parts.clear();
    }
    Ok(Is(Value::Made(Arc::from(parts))))
}

/// The first letter of each word in upper case.
pub(crate) fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if before.is_alphanumeric() || before == '_' || before == '\'' {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        before = c;
    }
    titled
}

/// Spaces around a text that is not empty: `pad TEXT BEFORE AFTER`.
pub(crate) fn pad<'a>(args: &[Value<'_>], out: &mut Buffer) -> Result<Answer<'a>> {
    let (text, before, after) = (text(args, 0)?, count(args, 1)?, count(args, 2)?);
    if !text.is_empty() {
        out.fill(' ', before);
        out.push(text);
        out.fill(' ', after);
    }
    Ok(Answer::Buffer)
}

/// No more than so many characters: `truncate TEXT COUNT`.
pub(crate) fn truncate<'a>(args: &[Value<'_>], out: &mut Buffer) -> Result<Answer<'a>> {
    let (text, most) = (text(args, 0)?, count(args, 1)?);
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    out.push(&text[..end]);
    Ok(Answer::Buffer)
}

/// A text without a part at one end: `trimPrefix TEXT PREFIX`.
pub(crate) fn trim<'a>(
    args: &[Value<'a>],
    strip: for<'t> fn(&'t str, &str) -> Option<&'t str>,
) -> Result<Answer<'a>> {
    let (whole, affix) = (text(args, 0)?, text(args, 1)?);
    Ok(Is(strip(whole, affix).map_or_else(|| args[0].clone(), Value::text)))
}
