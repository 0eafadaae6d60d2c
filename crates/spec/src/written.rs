//! JSON as it was written.
//!
//! A number, a string or a `null` keeps its very characters here, so that an edit of one member
//! changes no other: neither the digits of a number that is too long for this machine, nor an
//! empty member that a printer would leave out. Only white space between values is not kept.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::Value;

use crate::error::{Error, Result};

/// Deeper values come neither out of the parser nor out of a sane program.
const MAX_DEPTH: usize = 128;

/// A value of a sound JSON text.
#[derive(Debug)]
pub(crate) enum Written<'a> {
    /// A string, a number or a literal; or any value that an edit put there.
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    /// By the name that the characters mean.
    Object(IndexMap<Cow<'a, str>, Member<'a>>),
}

/// A member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The name as it was written, with its quotes.
    name: Cow<'a, str>,
    value: Written<'a>,
}

impl<'a> Written<'a> {
    /// Splits a text that was parsed before.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).ok();
        text.and_then(|text| Scanner { text, at: 0 }.value(0))
            .ok_or_else(|| Error::invalid("document is no sound JSON"))
    }

    /// Makes the change that leads from `before` to `after`, two values of which the first was
    /// read from this text. Members that neither of them has stay, and so does the order; a new
    /// member goes behind the one that stands before it in `after`.
    pub(crate) fn change(&mut self, before: &Value, after: &Value) {
        if before == after {
            return;
        }
        match (&mut *self, before, after) {
            (Self::Object(members), Value::Object(before), Value::Object(after)) => {
                change_members(members, before, after);
            }
            (Self::Array(items), Value::Array(before), Value::Array(after))
                if items.len() == before.len() =>
            {
                change_items(items, before, after);
            }
            _ => *self = Self::new(after),
        }
    }

    /// Appends the text without white space.
    pub(crate) fn print(&self, text: &mut String) {
        match self {
            Self::Text(own) => text.push_str(own),
            Self::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    item.print(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (index, member) in members.values().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    text.push_str(&member.name);
                    text.push(':');
                    member.value.print(text);
                }
                text.push('}');
            }
        }
    }

    fn new(value: &Value) -> Self {
        Self::Text(value.to_string().into())
    }
}

type Object = serde_json::Map<String, Value>;

fn change_members<'a>(
    members: &mut IndexMap<Cow<'a, str>, Member<'a>>,
    before: &Object,
    after: &Object,
) {
    members.retain(|name, _| after.contains_key(&**name) || !before.contains_key(&**name));
    let mut place = 0;
    for (name, value) in after {
        if let Some((index, _, member)) = members.get_full_mut(name.as_str()) {
            match before.get(name) {
                Some(old) => member.value.change(old, value),
                // What stood there meant the same as nothing: `null`, an empty object.
                None => member.value = Written::new(value),
            }
            place = index + 1;
        } else if before.get(name) != Some(value) {
            let written = Value::String(name.clone()).to_string().into();
            let member = Member { name: written, value: Written::new(value) };
            members.shift_insert(place, name.clone().into(), member);
            place += 1;
        }
    }
}

fn change_items<'a>(items: &mut Vec<Written<'a>>, before: &[Value], after: &[Value]) {
    if before.len() == after.len() {
        let pairs = before.iter().zip(after);
        items.iter_mut().zip(pairs).for_each(|(item, (old, new))| item.change(old, new));
        return;
    }
    // Items came or went: those that are still there are taken over as they were written.
    let mut known: IndexMap<String, Vec<Written<'a>>> = IndexMap::new();
    for (item, old) in std::mem::take(items).into_iter().zip(before).rev() {
        known.entry(old.to_string()).or_default().push(item);
    }
    items.extend(after.iter().map(|new| {
        let kept = known.get_mut(&new.to_string()).and_then(Vec::pop);
        kept.unwrap_or_else(|| Written::new(new))
    }));
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// Nothing comes back where the text is no sound JSON; what was parsed before is.
impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Option<Written<'a>> {
        match self.next_byte()? {
            _ if depth > MAX_DEPTH => None,
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(|text| Written::Text(text.into())),
            _ => self.word().map(|text| Written::Text(text.into())),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Written<'a>> {
        let mut members = IndexMap::new();
        self.at += 1;
        while self.next_byte()? != b'}' {
            self.skip(b',');
            self.next_byte()?;
            let name = self.string()?;
            self.next_byte()?;
            self.skip(b':');
            let value = self.value(depth + 1)?;
            members.insert(meaning(name)?, Member { name: name.into(), value });
        }
        self.at += 1;
        Some(Written::Object(members))
    }

    fn array(&mut self, depth: usize) -> Option<Written<'a>> {
        let mut items = Vec::new();
        self.at += 1;
        while self.next_byte()? != b']' {
            self.skip(b',');
            items.push(self.value(depth + 1)?);
        }
        self.at += 1;
        Some(Written::Array(items))
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let mut bytes = rest.bytes().enumerate();
        bytes.next().filter(|(_, first)| *first == b'"')?;
        loop {
            match bytes.next()? {
                (_, b'\\') => drop(bytes.next()),
                (end, b'"') => return self.take(end + 1),
                _ => {}
            }
        }
    }

    /// A number or a literal.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        self.take(end).filter(|word| !word.is_empty())
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length;
        Some(text)
    }

    /// The next byte that is no white space; the scanner stands at it then.
    fn next_byte(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().take_while(|b| b" \t\n\r".contains(b)).count();
        self.at += space;
        rest.get(space).copied()
    }

    fn skip(&mut self, byte: u8) {
        if self.text.as_bytes().get(self.at) == Some(&byte) {
            self.at += 1;
        }
    }
}

/// The characters that a written name means.
fn meaning(name: &str) -> Option<Cow<'_, str>> {
    if name.contains('\\') {
        return serde_json::from_str::<String>(name).ok().map(Cow::Owned);
    }
    name.get(1..name.len() - 1).map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn printed(text: &str) -> String {
        let mut out = String::new();
        Written::parse(text.as_bytes()).unwrap().print(&mut out);
        out
    }

    fn changed(text: &str, before: &Value, after: &Value) -> String {
        let mut written = Written::parse(text.as_bytes()).unwrap();
        written.change(before, after);
        let mut out = String::new();
        written.print(&mut out);
        out
    }

    #[test]
    fn every_character_of_a_value_is_kept() {
        for text in [
            r#"{"a":1e400,"b":123456789012345678901234567890,"c":0.10,"d":"\u0041\"\\/","\u0065":null}"#,
            "[]",
            "{}",
            "[[],{},[{}],-0,true]",
            "\"x\"",
            "7",
        ] {
            assert_eq!(printed(text), text);
        }
        assert_eq!(printed(" {\n \"a\" : [ 1 ,\t2 ] , \"b\":{ } }\r\n"), r#"{"a":[1,2],"b":{}}"#);
    }

    #[test]
    fn unsound_text_is_an_error_and_no_panic() {
        for text in ["", "{", "[", "\"", "{\"a\"", "{\"a\":", "[1", "{1}", "\"\\", "[,"] {
            assert!(Written::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Written::parse("[".repeat(1000).as_bytes()).is_err());
        assert!(Written::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let text = r#"{"z":1e2,"n":null,"a":{"x":1.0,"y":2},"l":[1.0,{"q":3,"p":4}]}"#;
        let before = json!({"a": {"y": 2}, "l": [1, {"p": 4}]});
        let after = json!({"a": {"y": 5}, "n": [], "new": "v", "l": [1, {"p": 6}]});
        let expected = r#"{"z":1e2,"n":[],"new":"v","a":{"x":1.0,"y":5},"l":[1.0,{"q":3,"p":6}]}"#;
        assert_eq!(changed(text, &before, &after), expected);
        let gone = json!({"l": [1, {"p": 4}]});
        assert_eq!(changed(text, &before, &gone), r#"{"z":1e2,"n":null,"l":[1.0,{"q":3,"p":4}]}"#);
    }

    #[test]
    fn items_that_stay_are_taken_over() {
        let (before, text) =
            (json!([{"p": 1}, {"p": 2}, {"p": 2}]), r#"[{"p":1.0},{"q":0,"p":2},{"p":2}]"#);
        for (after, expected) in [
            (json!([{"p": 2}, {"p": 2}]), r#"[{"q":0,"p":2},{"p":2}]"#),
            (
                json!([{"p": 9}, {"p": 1}, {"p": 2}, {"p": 2}]),
                r#"[{"p":9},{"p":1.0},{"q":0,"p":2},{"p":2}]"#,
            ),
            (json!([]), "[]"),
        ] {
            assert_eq!(changed(text, &before, &after), expected);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"\\\\é\n]{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_gives_the_text_back(value in value()) {
            let text = value.to_string();
            prop_assert_eq!(printed(&text), text);
            prop_assert_eq!(printed(&serde_json::to_string_pretty(&value).unwrap()), value.to_string());
        }

        /// Whatever the change, the text means the new value afterwards.
        #[test]
        fn a_change_arrives(before in value(), after in value()) {
            let text = changed(&before.to_string(), &before, &after);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), after);
        }

        #[test]
        fn any_text_is_met_without_a_panic(text in "[\\[\\]{}\",:\\\\a1 é]{0,40}") {
            let _ = Written::parse(text.as_bytes());
        }
    }
}
