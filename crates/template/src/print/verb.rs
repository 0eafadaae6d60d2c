//! One value under one verb.

use conex_spec::Platform;
use serde_json::{Map, Value as Json};

use crate::buffer::Buffer;
use crate::print::{float, quote};
use crate::value::{Value, sorted};

/// The flags, width and precision of a verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spec {
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

impl Spec {
    /// Prints a value; one that a verb does not fit is shown as `%!d(string=x)`.
    pub(super) fn value(self, out: &mut Buffer, value: &Value<'_>, verb: char) {
        match (verb, value) {
            _ if out.overflowed() => {}
            ('T', _) => self.text(out, value.type_name()),
            ('v', Value::Nil) => self.pad(out, "<nil>"),
            (_, Value::List(_) | Value::Made(_)) => self.list(out, value, verb),
            (_, Value::Map(_)) => self.map(out, value, verb),
            ('v' | 't', Value::Bool(value)) => self.pad(out, if *value { "true" } else { "false" }),
            (_, Value::Int(number)) => {
                self.integer(out, number.unsigned_abs(), *number < 0, value, verb);
            }
            (_, Value::Uint(number)) => self.integer(out, *number, false, value, verb),
            ('v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(number)) => {
                self.float(out, *number, verb);
            }
            ('v', Value::Text(text)) if self.sharp => {
                Self { sharp: false, ..self }.quoted(out, text.as_str());
            }
            ('v' | 's', Value::Text(text)) => self.text(out, text.as_str()),
            ('q', Value::Text(text)) => self.quoted(out, text.as_str()),
            ('x' | 'X', Value::Text(text)) => self.hexadecimal(out, text.as_str(), verb == 'X'),
            _ => self.misfit(out, value, verb),
        }
    }

    /// `%!verb(type=value)`
    fn misfit(self, out: &mut Buffer, value: &Value<'_>, verb: char) {
        out.push("%!");
        out.push_char(verb);
        out.push("(");
        if matches!(value, Value::Nil) {
            out.push("<nil>");
        } else {
            out.push(value.type_name());
            out.push("=");
            self.value(out, value, 'v');
        }
        out.push(")");
    }

    /// Elements are printed as the list is, with the same verb.
    fn list(self, out: &mut Buffer, list: &Value<'_>, verb: char) {
        let syntax = verb == 'v' && self.sharp;
        out.push(if syntax { "[]interface {}{" } else { "[" });
        for index in 0..list.list_length().unwrap_or_default() {
            if index > 0 {
                out.push(if syntax { ", " } else { " " });
            }
            self.inner(out, &list.element(index).unwrap_or(Value::Nil), verb);
            if out.overflowed() {
                return;
            }
        }
        out.push(if syntax { "}" } else { "]" });
    }

    fn map(self, out: &mut Buffer, map: &Value<'_>, verb: char) {
        let Value::Map(map) = map else { return };
        let one = || platform(map).or_else(|| descriptor(map));
        if let Some(text) = one().filter(|_| matches!(verb, 'v' | 's') && !self.sharp) {
            return self.pad(out, &text);
        }
        let syntax = verb == 'v' && self.sharp;
        out.push(if syntax { "map[string]interface {}{" } else { "map[" });
        for (index, (key, json)) in sorted(map).into_iter().enumerate() {
            if index > 0 {
                out.push(if syntax { ", " } else { " " });
            }
            self.value(out, &Value::text(key), verb);
            out.push(":");
            self.inner(out, &Value::of(json), verb);
        }
        out.push(if syntax { "}" } else { "]" });
    }

    fn inner(self, out: &mut Buffer, value: &Value<'_>, verb: char) {
        match value {
            Value::Nil if self.sharp && verb == 'v' => out.push("interface {}(nil)"),
            Value::Nil => out.push("<nil>"),
            value => self.value(out, value, verb),
        }
    }

    fn text(self, out: &mut Buffer, text: &str) {
        let length = self.precision.map_or(text.len(), |precision| {
            text.char_indices().nth(precision).map_or(text.len(), |(at, _)| at)
        });
        self.pad(out, &text[..length]);
    }

    fn quoted(self, out: &mut Buffer, text: &str) {
        let length = self.precision.map_or(text.len(), |precision| {
            text.char_indices().nth(precision).map_or(text.len(), |(at, _)| at)
        });
        let text = &text[..length];
        if self.sharp && quote::can_backquote(text) {
            return self.pad(out, &format!("`{text}`"));
        }
        self.pad(out, &quote::quote(text, '"', self.plus));
    }

    /// The bytes of a text in hexadecimal.
    fn hexadecimal(self, out: &mut Buffer, text: &str, upper: bool) {
        let mut shown = String::new();
        let bytes = text.as_bytes();
        let length = self.precision.map_or(bytes.len(), |precision| precision.min(bytes.len()));
        let prefix = if upper { "0X" } else { "0x" };
        for (index, byte) in bytes[..length].iter().enumerate() {
            if self.space && index > 0 {
                shown.push(' ');
            }
            if self.sharp && (self.space || index == 0) {
                shown += prefix;
            }
            shown += &if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        }
        self.pad(out, &shown);
    }

    fn integer(self, out: &mut Buffer, number: u64, negative: bool, value: &Value<'_>, verb: char) {
        let c = u32::try_from(number).ok().filter(|_| !negative).and_then(char::from_u32);
        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
        let (digits, prefix) = match verb {
            'v' | 'd' => (number.to_string(), ""),
            'b' => (format!("{number:b}"), "0b"),
            'o' | 'O' => (format!("{number:o}"), "0"),
            'x' => (format!("{number:x}"), "0x"),
            'X' => (format!("{number:X}"), "0X"),
            'c' => return self.pad(out, c.encode_utf8(&mut [0; 4])),
            'q' => {
                return self.pad(out, &quote::quote(c.encode_utf8(&mut [0; 4]), '\'', self.plus));
            }
            'U' => return self.unicode(out, number, c),
            _ => return self.misfit(out, value, verb),
        };
        let prefix = match verb {
            'O' => "0o",
            _ if self.sharp && verb != 'v' && !(verb == 'o' && digits.starts_with('0')) => prefix,
            _ => "",
        };
        let sign = sign(negative, self.plus, self.space);
        // "A precision of 0 means that the precision is the value zero, and prints nothing."
        if self.precision == Some(0) && number == 0 {
            return Self { zero: false, ..self }.pad(out, "");
        }
        let width = self.width.unwrap_or_default();
        let least = match self.precision {
            Some(precision) => precision,
            None if self.zero && !self.minus => width.saturating_sub(sign.len()),
            None => 0,
        };
        // The sharp prefix of `%#o` is a digit itself.
        let least = if prefix == "0" { least.saturating_sub(1) } else { least };
        let zeros = least.saturating_sub(digits.len());
        let length = sign.len() + prefix.len() + zeros + digits.len();
        self.around(out, length, |out| {
            out.push(sign);
            out.push(prefix);
            out.fill('0', zeros);
            out.push(&digits);
        });
    }

    fn unicode(self, out: &mut Buffer, number: u64, c: char) {
        let digits = self.precision.unwrap_or(4).clamp(4, 64);
        let mut shown = format!("U+{number:0digits$X}");
        if self.sharp && !c.is_control() {
            shown += &format!(" '{c}'");
        }
        Self { zero: false, ..self }.pad(out, &shown);
    }

    fn float(self, out: &mut Buffer, number: f64, verb: char) {
        let shown = float::format(number.abs(), verb, self.precision, self.sharp);
        let sign = sign(number.is_sign_negative(), self.plus, self.space);
        let zeros = if self.zero && !self.minus && number.is_finite() {
            self.width.unwrap_or_default().saturating_sub(sign.len() + shown.len())
        } else {
            0
        };
        self.around(out, sign.len() + zeros + shown.len(), |out| {
            out.push(sign);
            out.fill('0', zeros);
            out.push(&shown);
        });
    }

    /// Pads with spaces, or as Go does for texts too with zeros on the left.
    fn pad(self, out: &mut Buffer, text: &str) {
        let missing = self.width.unwrap_or_default().saturating_sub(text.chars().count());
        if self.zero && !self.minus {
            out.fill('0', missing);
            out.push(text);
        } else {
            self.around(out, text.chars().count(), |out| out.push(text));
        }
    }

    fn around(self, out: &mut Buffer, length: usize, write: impl FnOnce(&mut Buffer)) {
        let missing = self.width.unwrap_or_default().saturating_sub(length);
        if !self.minus {
            out.fill(' ', missing);
        }
        write(out);
        if self.minus {
            out.fill(' ', missing);
        }
    }
}

/// A platform is a text to regctl's templates: `linux/arm64/v8`.
fn platform(map: &Map<String, Json>) -> Option<String> {
    const MEMBERS: [&str; 6] =
        ["architecture", "os", "os.version", "os.features", "variant", "features"];
    let known = map.keys().all(|name| MEMBERS.contains(&name.as_str()));
    if !known || !map.contains_key("os") || !map.contains_key("architecture") {
        return None;
    }
    let platform: Platform = serde_json::from_value(Json::Object(map.clone())).ok()?;
    Some(platform.to_string())
}

/// A layer, an entry or another descriptor is its digest, as skopeo's `{{.Layers}}` has it; what
/// names its own place is a whole answer, and what has a container's members is a config.
fn descriptor(map: &Map<String, Json>) -> Option<String> {
    let is_one = map.contains_key("mediaType") && map.contains_key("size");
    let is_more = |name: &String| name == "location" || name.starts_with(char::is_uppercase);
    let digest = map.get("digest").filter(|_| is_one && !map.keys().any(is_more));
    digest.and_then(Json::as_str).map(str::to_owned)
}

fn sign(negative: bool, plus: bool, space: bool) -> &'static str {
    match (negative, plus, space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (.., true) => " ",
        _ => "",
    }
}
