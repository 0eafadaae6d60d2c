//! How a failure is told: one clear error, its parts on lines of their own, a hint apart.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;

use conex_spec::{Error, Kind};
use serde_json::json;

use crate::args::Format;
use crate::output::{Output, escape};

/// What a shell tells of a program that a broken pipe ended, as `cat` is: 128 and SIGPIPE.
pub const READER_GONE: u8 = 141;

/// Prints a failure on standard error; the exit code tells its kind.
pub fn report(err: &Error, output: &Output) -> ExitCode {
    if is_reader_gone(err) {
        return ExitCode::from(READER_GONE);
    }
    let text = match output.format() {
        Format::Text | Format::Template(_) | Format::Table(_) | Format::Sarif => {
            format!("error: {}", text(err))
        }
        Format::Json => format!("{}\n", as_json(err)),
    };
    // Nobody is left to tell if standard error is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code(err.kind()))
}

/// Whether whoever read what was written has enough, as `head` has: no fault that anyone need be
/// told of. A registry that hangs up is another kind.
fn is_reader_gone(err: &Error) -> bool {
    let cause = std::error::Error::source(err).and_then(|cause| cause.downcast_ref());
    let broken = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    err.kind() == Kind::Io && cause.is_some_and(broken)
}

/// Prints what clap has to say; its own exit codes are 0 for help and 2 for mistakes. Where JSON is
/// wanted a mistake is told as any other failure.
pub fn usage(err: &clap::Error, words: &[OsString]) -> ExitCode {
    let unnamed = if err.kind() == ErrorKind::InvalidUtf8 { no_text(words) } else { None };
    let json = err.use_stderr() && wants_json(words.iter());
    let told = match (unnamed, json) {
        (Some(err), false) => format!("error: {}", text(&err)),
        (Some(err), true) => format!("{}\n", as_json(&err)),
        (None, true) => format!("{}\n", as_json(&mistake(&err.render().to_string()))),
        (None, false) => {
            // Nobody is left to tell if standard error is gone.
            let _ = err.print();
            String::new()
        }
    };
    // As above.
    let _ = std::io::stderr().write_all(told.as_bytes());
    ExitCode::from(u8::try_from(err.exit_code()).unwrap_or(2))
}

/// The word that is no text, which clap does not name.
fn no_text(words: &[OsString]) -> Option<Error> {
    let word = words.iter().find(|word| word.to_str().is_none())?;
    Some(
        Error::new(Kind::Usage, "an argument is no text")
            .expected("UTF-8")
            .found(format!("{word:?}")),
    )
}

/// Whether `--format json` is among the words of a command that cannot be parsed.
fn wants_json<'a>(words: impl Iterator<Item = &'a OsString>) -> bool {
    let mut before = OsStr::new("");
    for word in words.take_while(|word| *word != "--") {
        if word == "--format=json" || (before == "--format" && word == "json") {
            return true;
        }
        before = word;
    }
    false
}

/// What clap writes in paragraphs: the mistake, tips, how the command is used. What is wrong with a value
/// has its own parts, as [`text`] writes them.
fn mistake(text: &str) -> Error {
    let joined = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = text.split("\n\n");
    let (mut what, mut expected, mut found, mut hints) = (Vec::new(), None, None, Vec::new());
    for line in parts.next().unwrap_or_default().lines() {
        if let Some(value) = line.strip_prefix("  expected ") {
            expected = Some(joined(value));
        } else if let Some(value) = line.strip_prefix("  found    ") {
            found = Some(joined(value));
        } else if let Some(hint) = line.strip_prefix("hint: ") {
            hints.push(joined(hint));
        } else {
            what.push(line.trim_start_matches("error: "));
        }
    }
    let more = parts.map(|part| joined(part.trim_start().trim_start_matches("tip: ")));
    hints.extend(more.filter(|part| !part.is_empty()));
    let mut err = Error::new(Kind::Usage, joined(&what.join("\n")));
    if let Some(expected) = expected {
        err = err.expected(expected);
    }
    if let Some(found) = found {
        err = err.found(found);
    }
    if hints.is_empty() { err } else { err.hint(hints.join("; ")) }
}

/// What and where, then the other parts, each on a line of its own.
pub fn text(err: &Error) -> String {
    let mut text = format!("{}\n", escape(err.message()));
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            text += &format!("  {name:<8} {}\n", escape(value));
        }
    };
    line("expected", err.expected_value());
    line("found", err.found_value());
    for cause in causes(err) {
        line("cause", Some(&cause));
    }
    if let Some(hint) = err.hint_text() {
        text += &format!("hint: {}\n", escape(hint));
    }
    text
}

/// The chain of causes; some repeat the one above them.
fn causes(err: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(err);
    while let Some(source) = cause {
        causes.push(source.to_string());
        cause = source.source();
    }
    causes.dedup();
    causes
}

fn as_json(err: &Error) -> serde_json::Value {
    json!({
        "error": err.message(),
        "kind": format!("{:?}", err.kind()),
        "expected": err.expected_value(),
        "found": err.found_value(),
        "causes": causes(err),
        "hint": err.hint_text(),
    })
}

/// The exit codes of `conex --help`.
fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Usage => 2,
        Kind::NotFound => 3,
        Kind::Invalid | Kind::Mismatch => 4,
        Kind::Unauthorized | Kind::Denied => 5,
        Kind::Network => 6,
        Kind::NoSpace | Kind::Io => 7,
        Kind::Limit => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_wanted_where_it_is_said() {
        for (words, wanted) in [
            (&["copy", "--format", "json"][..], true),
            (&["--format=json", "copy"], true),
            (&["copy", "--format", "text"], false),
            (&["copy", "json"], false),
            (&["copy", "--", "--format=json"], false),
        ] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert_eq!(wants_json(words.iter()), wanted, "{words:?}");
        }
        let err = mistake("error: no such\n  thing\n\n  tip: try\n\nUsage: conex\n");
        assert_eq!((err.message(), err.hint_text()), ("no such thing", Some("try; Usage: conex")));
        let err = mistake("error: bad value: x\n  expected a\n  found    b\nhint: look\n\nmore\n");
        let told = (err.message(), err.expected_value(), err.found_value(), err.hint_text());
        assert_eq!(told, ("bad value: x", Some("a"), Some("b"), Some("look; more")));
    }

    #[test]
    fn parts_have_lines_of_their_own() {
        let err = Error::new(Kind::Mismatch, "content of x has another digest")
            .expected("a")
            .found("b\x1b[31m")
            .hint("look again");
        let expected = "content of x has another digest\n  expected a\n  found    b\\u{1b}[31m\nhint: look again\n";
        assert_eq!(text(&err), expected);
        assert_eq!(code(err.kind()), 4);
    }
}
