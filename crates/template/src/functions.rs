//! What a template can call: Go's own functions, and those of docker, podman and skopeo.
//!
//! Two of Go's are elsewhere: `and` and `or` stop at the first value that decides, so they are
//! part of the language (`eval.rs`). `call` is not there, since JSON holds no functions.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use conex_spec::{Error, Kind, Result};

use crate::buffer::Buffer;
use crate::value::{Text, Value};
use crate::{compare, escape, print, text};

/// Its arguments, and how many of them there may be.
type Function = for<'a> fn(&[Value<'a>], &mut Buffer) -> Result<Answer<'a>>;

/// What a function gives.
pub(crate) enum Answer<'a> {
    /// A value.
    Value(Value<'a>),
    /// The text that is in the buffer.
    Buffer,
}

use Answer::Value as Is;

/// Each function and how many arguments it takes.
const FUNCTIONS: &[(&str, RangeInclusive<usize>, Function)] = &[
    ("and", 1..=usize::MAX, |_, _| Ok(Answer::Buffer)),
    ("eq", 2..=usize::MAX, |args, _| compare::equal(&args[0], &args[1..]).map(truth)),
    ("default", 2..=2, |args, _| Ok(Is(args[usize::from(args[1].is_true())].clone()))),
    ("ge", 2..=2, |args, _| order(args, Ordering::is_ge)),
    ("gt", 2..=2, |args, _| order(args, Ordering::is_gt)),
    ("html", 0..=usize::MAX, |args, out| escape::html(out, args)),
    ("index", 1..=usize::MAX, |args, _| index(args)),
    ("join", 2..=2, text::join),
    ("js", 0..=usize::MAX, |args, out| escape::js(out, args)),
    ("json", 1..=1, |args, out| json(args, out, false)),
    ("jsonPretty", 1..=1, |args, out| json(args, out, true)),
    ("le", 2..=2, |args, _| order(args, Ordering::is_le)),
    ("len", 1..=1, |args, _| len(args)),
    ("lower", 1..=1, |args, out| text::map(args, out, str::to_lowercase)),
    ("lt", 2..=2, |args, _| order(args, Ordering::is_lt)),
    ("ne", 2..=2, |args, _| compare::equal(&args[0], &args[1..]).map(|same| truth(!same))),
    ("not", 1..=1, |args, _| Ok(truth(!args[0].is_true()))),
    ("or", 1..=usize::MAX, |_, _| Ok(Answer::Buffer)),
    ("pad", 3..=3, text::pad),
    ("prettyjson", 1..=1, |args, out| json(args, out, true)),
    ("print", 0..=usize::MAX, |args, out| {
        print::print(out, args);
        Ok(Answer::Buffer)
    }),
    ("printPretty", 1..=1, |args, out| json(args, out, true)),
    ("printf", 1..=usize::MAX, |args, out| {
        print::printf(out, text::text(args, 0)?, &args[1..]);
        Ok(Answer::Buffer)
    }),
    ("println", 0..=usize::MAX, |args, out| {
        print::println(out, args);
        Ok(Answer::Buffer)
    }),
    ("slice", 1..=4, |args, _| slice(args)),
    ("split", 2..=2, text::split),
    ("title", 1..=1, |args, out| text::map(args, out, text::title)),
    ("trimPrefix", 2..=2, |args, _| text::trim(args, |text, prefix| text.strip_prefix(prefix))),
    ("trimSuffix", 2..=2, |args, _| text::trim(args, |text, suffix| text.strip_suffix(suffix))),
    ("truncate", 2..=2, text::truncate),
    ("upper", 1..=1, |args, out| text::map(args, out, str::to_uppercase)),
    ("urlquery", 0..=usize::MAX, |args, out| escape::urlquery(out, args)),
];

/// Whether there is such a function.
pub(crate) fn is_known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// All functions, for an error.
pub(crate) fn names() -> String {
    FUNCTIONS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

/// Fails unless a function takes so many arguments.
pub(crate) fn check_count(name: &str, count: usize) -> Result<()> {
    let Some((_, range, _)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(Error::new(Kind::Usage, "unknown function").found(name));
    };
    if range.contains(&count) {
        return Ok(());
    }
    let expected = match (range.start(), range.end()) {
        (least, &usize::MAX) => format!("at least {least}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    Err(Error::new(Kind::Usage, "wrong number of arguments").expected(expected).found(count))
}

/// Calls a function; a text that it makes is in `out`.
pub(crate) fn call<'a>(name: &str, args: &[Value<'a>], out: &mut Buffer) -> Result<Answer<'a>> {
    check_count(name, args.len())?;
    match FUNCTIONS.iter().find(|(known, ..)| *known == name) {
        Some((_, _, function)) => function(args, out),
        None => Ok(Is(Value::Nil)),
    }
}

fn truth<'a>(value: bool) -> Answer<'a> {
    Is(Value::Bool(value))
}

fn order<'a>(args: &[Value<'_>], test: fn(Ordering) -> bool) -> Result<Answer<'a>> {
    compare::order(&args[0], &args[1]).map(|order| truth(order.is_some_and(test)))
}

/// Elements and members, one after the other. What a map lacks is an empty text where all that
/// it holds are texts, as in Go's maps of labels and annotations; nothing has nothing.
fn index<'a>(args: &[Value<'a>]) -> Result<Answer<'a>> {
    let mut value = args[0].clone();
    for key in &args[1..] {
        value = match (&value, key) {
            (Value::Nil, Value::Text(_)) => Value::text(""),
            (Value::Nil, _) => Value::Nil,
            (Value::Map(map), Value::Text(key)) => match map.get(key.as_str()) {
                Some(member) => Value::of(member),
                None if map.values().all(serde_json::Value::is_string) => Value::text(""),
                None => Value::Nil,
            },
            (list, Value::Int(at)) if list.list_length().is_some() => element(list, *at)?,
            (Value::Text(text), Value::Int(at)) => {
                let byte =
                    usize::try_from(*at).ok().and_then(|at| text.as_str().as_bytes().get(at));
                let byte = byte.ok_or_else(|| out_of_range(*at, text.as_str().len()))?;
                Value::Int(i64::from(*byte))
            }
            (value, key) => {
                return Err(Error::new(Kind::Usage, "value has no such index")
                    .expected("a map and a string, or a list and a whole number")
                    .found(format!("{} and {}", value.type_name(), key.type_name())));
            }
        };
    }
    Ok(Is(value))
}

fn element<'a>(list: &Value<'a>, at: i64) -> Result<Value<'a>> {
    let element = usize::try_from(at).ok().and_then(|at| list.element(at));
    element.ok_or_else(|| out_of_range(at, list.list_length().unwrap_or_default()))
}

fn out_of_range(at: i64, length: usize) -> Error {
    Error::new(Kind::Usage, "index is out of range")
        .expected(format!("less than {length}, and not negative"))
        .found(at)
}

/// Bytes of a text, elements of a list, members of a map. Nothing has none.
fn len<'a>(args: &[Value<'_>]) -> Result<Answer<'a>> {
    let length = match &args[0] {
        Value::Nil => 0,
        Value::Text(text) => text.as_str().len(),
        Value::Map(map) => map.len(),
        other => other.list_length().ok_or_else(|| {
            Error::new(Kind::Usage, "value has no length")
                .expected("a string, a list or a map")
                .found(other.type_name())
        })?,
    };
    Ok(Is(Value::Int(i64::try_from(length).unwrap_or(i64::MAX))))
}

/// `slice x 1 2` is `x[1:2]`.
fn slice<'a>(args: &[Value<'a>]) -> Result<Answer<'a>> {
    let length = match &args[0] {
        Value::Text(text) => text.as_str().len(),
        other => other.list_length().ok_or_else(|| {
            Error::new(Kind::Usage, "value cannot be sliced")
                .expected("a string or a list")
                .found(other.type_name())
        })?,
    };
    let mut bounds = [0, length, length];
    for (bound, arg) in bounds.iter_mut().zip(&args[1..]) {
        *bound = match arg {
            Value::Int(at) => usize::try_from(*at)
                .ok()
                .filter(|at| *at <= length)
                .ok_or_else(|| out_of_range(*at, length + 1))?,
            other => {
                return Err(Error::new(Kind::Usage, "not a bound of a slice")
                    .expected("a whole number")
                    .found(other.type_name()));
            }
        };
    }
    let [from, to, capacity] = bounds;
    if args.len() == 4 && matches!(args[0], Value::Text(_)) {
        return Err(Error::new(Kind::Usage, "a string is sliced with two bounds").found(3));
    }
    if from > to || to > capacity {
        return Err(Error::new(Kind::Usage, "bounds of a slice are in the wrong order")
            .found(format!("{from}, {to}, {capacity}")));
    }
    match &args[0] {
        Value::List(list) => Ok(Is(Value::List(&list[from..to]))),
        Value::Made(list) => Ok(Is(Value::Made(list[from..to].into()))),
        Value::Text(text) => part(text, from, to).map(|text| Is(Value::Text(text))),
        _ => Ok(Is(Value::Nil)),
    }
}

/// Some bytes of a text, which must be whole characters.
pub(crate) fn part<'a>(text: &Text<'a>, from: usize, to: usize) -> Result<Text<'a>> {
    let part = match text {
        Text::Data(text) => text.get(from..to).map(Text::Data),
        Text::Made(text) => text.get(from..to).map(|part| Text::Made(part.into())),
    };
    part.ok_or_else(|| {
        Error::new(Kind::Usage, "slice cuts a character in two")
            .expected("bounds between characters of UTF-8")
            .found(format!("bytes {from} to {to}"))
    })
}

/// As docker's: characters that HTML gives a meaning are left as they are.
fn json<'a>(args: &[Value<'_>], out: &mut Buffer, pretty: bool) -> Result<Answer<'a>> {
    let printed = if pretty {
        serde_json::to_writer_pretty(&mut *out, &args[0])
    } else {
        serde_json::to_writer(&mut *out, &args[0])
    };
    match printed {
        // The one who called says that it did not fit.
        Err(_) if out.overflowed() => Ok(Answer::Buffer),
        Err(err) => Err(Error::invalid("value cannot be printed as JSON").source(err)),
        Ok(()) => Ok(Answer::Buffer),
    }
}
