//! Go's `print`, `println` and `printf`. <https://pkg.go.dev/fmt>

mod float;
mod quote;
mod verb;

use crate::buffer::Buffer;
use crate::value::Value;

pub(crate) use quote::is_printable;
use verb::Spec;

/// As Go, a width or precision above this is a mistake.
const MAX_WIDTH: i64 = 1_000_000;

/// One value as `{{ }}` and `%v` print it.
pub(crate) fn value(out: &mut Buffer, value: &Value<'_>) {
    Spec::default().value(out, value, 'v');
}

/// Values with a space between two of which neither is a text.
pub(crate) fn print(out: &mut Buffer, values: &[Value<'_>]) {
    for (index, value) in values.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| before.as_text().is_none() && value.as_text().is_none()) {
            out.push(" ");
        }
        self::value(out, value);
    }
}

/// Values with a space between any two, and a new line.
pub(crate) fn println(out: &mut Buffer, values: &[Value<'_>]) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(" ");
        }
        self::value(out, value);
    }
    out.push("\n");
}

/// Values where the verbs of `format` want them. As Go's, it has no errors: what is wrong shows
/// in the text, as `%!d(string=x)`.
pub(crate) fn printf(out: &mut Buffer, format: &str, values: &[Value<'_>]) {
    let mut printer = Printf { rest: format, values, next: 0, reordered: false, sound: true };
    while let Some((text, verb)) = printer.rest.split_once('%') {
        out.push(text);
        printer.rest = verb;
        printer.verb(out);
    }
    out.push(printer.rest);
    // "Too many arguments", which explicit indexes cannot know.
    if !printer.reordered && printer.next < values.len() {
        out.push("%!(EXTRA ");
        for (index, value) in values[printer.next..].iter().enumerate() {
            out.push(if index > 0 { ", " } else { "" });
            if matches!(value, Value::Nil) {
                out.push("<nil>");
                continue;
            }
            out.push(value.type_name());
            out.push("=");
            self::value(out, value);
        }
        out.push(")");
    }
}

struct Printf<'p, 'a> {
    /// What follows.
    rest: &'p str,
    values: &'p [Value<'a>],
    next: usize,
    /// Whether this verb used an index as `%[1]d`.
    reordered: bool,
    /// Whether that index made sense.
    sound: bool,
}

impl Printf<'_, '_> {
    /// One verb, from behind its `%`.
    fn verb(&mut self, out: &mut Buffer) {
        let mut spec = Spec::default();
        (self.reordered, self.sound) = (false, true);
        while let Some(flag) = self.rest.chars().next().filter(|flag| "#0+- ".contains(*flag)) {
            match flag {
                '#' => spec.sharp = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                _ => spec.space = true,
            }
            self.rest = &self.rest[1..];
        }
        let indexed = self.index();
        self.width(out, &mut spec, indexed);
        self.precision(out, &mut spec);
        if !self.reordered || self.rest.starts_with('[') {
            self.index();
        }
        let Some(verb) = self.rest.chars().next() else {
            out.push("%!(NOVERB)");
            return;
        };
        self.rest = &self.rest[verb.len_utf8()..];
        if verb == '%' {
            out.push("%");
        } else if !self.sound {
            out.push(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            spec.value(out, value, verb);
        } else {
            out.push(&format!("%!{verb}(MISSING)"));
        }
    }

    fn width(&mut self, out: &mut Buffer, spec: &mut Spec, indexed: bool) {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.argument() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => out.push("%!(BADWIDTH)"),
            }
        } else if let Some(width) = self.number() {
            spec.width = Some(width);
            // An index stands before the `*` or the verb, not before digits.
            self.sound &= !indexed;
        }
    }

    fn precision(&mut self, out: &mut Buffer, spec: &mut Spec) {
        let Some(rest) = self.rest.strip_prefix('.') else { return };
        self.rest = rest;
        self.sound &= !self.reordered || self.rest.starts_with(['[', '*']) || self.next > 0;
        self.index();
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.argument().and_then(|precision| usize::try_from(precision).ok()) {
                Some(precision) => spec.precision = Some(precision),
                None => out.push("%!(BADPREC)"),
            }
        } else {
            spec.precision = Some(self.number().unwrap_or(0));
        }
    }

    /// An integer of the values, for `*`.
    fn argument(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(number) if number.abs() <= MAX_WIDTH => Some(*number),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = self.rest[..length].parse().ok()?;
        self.rest = &self.rest[length..];
        usize::try_from(number).ok().filter(|_| number <= MAX_WIDTH)
    }

    /// `[n]`; whether there was one.
    fn index(&mut self) -> bool {
        let Some(inner) = self.rest.strip_prefix('[') else { return false };
        self.reordered = true;
        let Some((digits, rest)) = inner.split_once(']') else {
            self.sound = false;
            self.rest = inner;
            return true;
        };
        self.rest = rest;
        match digits.parse::<usize>() {
            Ok(number) if (1..=self.values.len()).contains(&number) => self.next = number - 1,
            _ => self.sound = false,
        }
        true
    }
}
