//! `html`, `js` and `urlquery`, as Go's text/template writes them.

use conex_spec::Result;

use crate::buffer::Buffer;
use crate::functions::Answer;
use crate::print;
use crate::value::Value;

/// Text that HTML shows as it is.
pub(crate) fn html<'a>(out: &mut Buffer, args: &[Value<'_>]) -> Result<Answer<'a>> {
    each(out, args, |out, c| match c {
        '\0' => out.push("\u{fffd}"),
        '"' => out.push("&#34;"),
        '\'' => out.push("&#39;"),
        '&' => out.push("&amp;"),
        '<' => out.push("&lt;"),
        '>' => out.push("&gt;"),
        c => out.push_char(c),
    })
}

/// The inside of a string of JavaScript.
pub(crate) fn js<'a>(out: &mut Buffer, args: &[Value<'_>]) -> Result<Answer<'a>> {
    each(out, args, |out, c| match c {
        '\\' => out.push("\\\\"),
        '\'' => out.push("\\'"),
        '"' => out.push("\\\""),
        '<' | '>' | '&' | '=' | '\0'..='\x1f' => out.push(&format!("\\u{:04X}", u32::from(c))),
        c if c.is_ascii() || print::is_printable(c) => out.push_char(c),
        c => out.push(&format!("\\u{:04X}", u32::from(c))),
    })
}

/// The value of a query in a URL.
pub(crate) fn urlquery<'a>(out: &mut Buffer, args: &[Value<'_>]) -> Result<Answer<'a>> {
    each(out, args, |out, c| match c {
        ' ' => out.push("+"),
        c if c.is_ascii_alphanumeric() || "-_.~".contains(c) => out.push_char(c),
        c => {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push(&format!("%{byte:02X}"));
            }
        }
    })
}

/// A single text as it is, anything else as `print` has it.
fn each<'a>(
    out: &mut Buffer,
    args: &[Value<'_>],
    mut write: impl FnMut(&mut Buffer, char),
) -> Result<Answer<'a>> {
    let mut plain = Buffer::new(out.room());
    let shown: Vec<_> = args
        .iter()
        .map(|arg| if matches!(arg, Value::Nil) { Value::text("<no value>") } else { arg.clone() })
        .collect();
    print::print(&mut plain, &shown);
    match plain.finish() {
        Some(text) => text.chars().for_each(|c| write(out, c)),
        None => out.overflow(),
    }
    Ok(Answer::Buffer)
}
