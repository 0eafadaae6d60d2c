//! What goes to standard output: the result, as text, as one JSON document, or as a Go template
//! makes it of that document.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Value;

pub use conex_spec::shown::escape;
use conex_spec::{Error, Location, Result};
use conex_template::Template;

use crate::args::Format;

/// Prints results.
#[derive(Clone, Debug)]
pub struct Output {
    format: Format,
    aside: bool,
    reported: Arc<AtomicBool>,
}

impl Output {
    /// A printer of one format.
    pub fn new(format: Format) -> Self {
        Self { format, aside: false, reported: Arc::default() }
    }

    /// The same printer beside what is written to a location: where an archive goes to standard
    /// output, the report goes to standard error.
    #[must_use]
    pub fn beside(&self, destination: &Location) -> Self {
        Self { aside: destination.is_stream(), ..self.clone() }
    }

    /// The same printer, to standard error.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self { aside: true, ..self.clone() }
    }

    /// The format.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Whether a report was printed.
    pub fn has_reported(&self) -> bool {
        self.reported.load(Ordering::Relaxed)
    }

    /// Prints a report: as text in the words of `text`, else what serde makes of it.
    pub fn report<T: Serialize>(&self, report: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        self.report_with(report, text, |_| ())
    }

    /// As [`Output::report`]; `fill` adds what a template may ask for and JSON leaves out.
    pub fn report_with<T: Serialize>(
        &self,
        report: &T,
        text: impl FnOnce(&T) -> String,
        fill: impl FnOnce(&mut Value),
    ) -> Result<()> {
        self.reported.store(true, Ordering::Relaxed);
        let value = || {
            let mut value = serde_json::to_value(report).map_err(unprintable)?;
            name_the_one(&mut value);
            Ok::<_, Error>(value)
        };
        let filled = || {
            let mut value = value()?;
            fill(&mut value);
            Ok::<_, Error>(value)
        };
        match &self.format {
            // Each part of a text is escaped where it is put in; this holds for the others too.
            Format::Text => self.print(&escape_lines(&text(report))),
            // Whoever has no findings never gets here with SARIF; see `commands::run`.
            Format::Json | Format::Sarif => {
                let json = serde_json::to_string_pretty(&value()?).map_err(unprintable)?;
                self.print(&(json + "\n"))
            }
            Format::Template(template) => self.print_rendered(render(template, &filled()?)?),
            Format::Table(template) => self.print_rendered(table(template, &filled()?)?),
        }
    }

    /// Others read the exact text; a terminal would obey it.
    fn print_rendered(&self, text: String) -> Result<()> {
        let shown =
            if self.aside { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        self.print(&if shown { escape_lines(&text) } else { text })
    }

    /// Prints text as it is. A reader that has gone away is no failure.
    pub fn print(&self, text: &str) -> Result<()> {
        self.print_bytes(text.as_bytes())
    }

    /// Prints bytes as they are. A reader that has gone away is no failure.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.stream_bytes(bytes).map(drop)
    }

    /// Prints some of the bytes of a long stream. Returns whether anyone still reads it.
    pub fn stream_bytes(&self, bytes: &[u8]) -> Result<bool> {
        let mut out: Box<dyn Write> =
            if self.aside { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::from_io(err, || "cannot write to standard output".into()))
            }
            written => Ok(written.is_ok()),
        }
    }
}

/// A stream to someone who may stop reading: that is no failure.
#[derive(Debug)]
pub struct Pipe<W>(pub W);

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// A report about one thing tells at its top what that is, as `inspect` does, so that `{{.Digest}}` serves
/// with every command.
fn name_the_one(report: &mut Value) {
    let Some(report) = report.as_object_mut().filter(|report| !report.contains_key("digest"))
    else {
        return;
    };
    // Of an index and the image for a platform, the image is what was asked for.
    let one = ["image", "root", "blob", "descriptor"]
        .iter()
        .find_map(|name| report.get(*name)?.as_object().filter(|it| it.contains_key("digest")));
    let Some(one) = one.cloned() else { return };
    for name in ["mediaType", "digest", "size", "artifactType"] {
        if let Some(value) = one.get(name)
            && !report.contains_key(name)
        {
            report.insert(name.to_owned(), value.clone());
        }
    }
}

fn unprintable(err: serde_json::Error) -> Error {
    Error::invalid("result cannot be printed").source(err)
}

/// What a template makes of a result; of a list, of each element, unless the template itself
/// starts with a `range`, as docker and podman have it. What is printed ends in a new line.
fn render(template: &Template, value: &Value) -> Result<String> {
    let line = |value: &Value| {
        let mut text = template.render(value)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    };
    match value {
        Value::Array(rows) if !template.source().trim_start().starts_with("{{range") => {
            rows.iter().map(line).collect()
        }
        value => line(value),
    }
}

/// What docker makes of `table TEMPLATE`: a head of the members' names, then a line for each
/// element, its columns parted by tabs and as wide as they must be.
fn table(template: &Template, value: &Value) -> Result<String> {
    let rows = match value {
        Value::Array(rows) => rows.as_slice(),
        row => std::slice::from_ref(row),
    };
    let head = template.render(&head(rows)).map_err(|err| {
        err.hint("the columns of a table are plain members, as {{.Name}} or {{json .Name}}")
    })?;
    let mut lines = vec![head.replace('"', "")];
    for row in rows {
        lines.push(template.render(row)?);
    }
    Ok(columns(&lines))
}

/// An element that has its names for values: `mediaType` is `MEDIA TYPE`.
fn head(rows: &[Value]) -> Value {
    let names = rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys());
    let title = |name: &String| {
        let mut title = String::new();
        let mut before = ' ';
        for c in name.chars() {
            if c.is_uppercase() && before.is_lowercase() {
                title.push(' ');
            }
            title.extend(c.to_uppercase());
            before = c;
        }
        title
    };
    names.map(|name| (name.clone(), Value::String(title(name)))).collect()
}

fn columns(lines: &[String]) -> String {
    const GAP: usize = 3;
    let rows: Vec<Vec<&str>> =
        lines.iter().map(|line| line.trim_end_matches('\n').split('\t').collect()).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or_default() + GAP;
            line += &format!("{cell:width$}");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Text of several lines with nothing in it that a terminal would obey.
fn escape_lines(text: &str) -> String {
    let lines = text.split_inclusive(['\n', '\t']);
    lines
        .map(|line| match line.char_indices().next_back() {
            Some((at, end @ ('\n' | '\t'))) => escape(&line[..at]) + end.encode_utf8(&mut [0; 4]),
            _ => escape(line),
        })
        .collect()
}

/// The first of what was odd, a line each, and how many more there are.
pub fn warnings(kept: &[String], count: u64) -> String {
    let mut text: String =
        kept.iter().map(|warning| format!("warning: {}\n", escape(warning))).collect();
    let hidden = count.saturating_sub(kept.len() as u64);
    if hidden > 0 {
        text += &format!("warning: {hidden} more of these\n");
    }
    text
}

/// Bytes as people read them: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = bytes as f64;
    while whole >= 1024.0 && unit + 1 < UNITS.len() {
        whole /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{whole:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    #[test]
    fn sizes() {
        let shown = [0, 1023, 1024, 1536, 5 << 20, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "16777216.0 TiB"]);
    }

    #[test]
    fn what_a_report_is_about_stands_at_its_top() {
        let root = serde_json::json!({"digest": "r", "size": 1, "mediaType": "m"});
        let image = serde_json::json!({"digest": "i"});
        for (mut report, digest) in [
            (serde_json::json!({"root": root, "size": 7}), Some("r")),
            (serde_json::json!({"root": root, "image": image}), Some("i")),
            (serde_json::json!({"blob": root, "image": "name"}), Some("r")),
            (serde_json::json!({"digest": "own", "root": root}), Some("own")),
            (serde_json::json!({"root": "/srv"}), None),
            (serde_json::json!([{"root": root}]), None),
        ] {
            name_the_one(&mut report);
            assert_eq!(report.get("digest").and_then(Value::as_str), digest, "{report}");
            assert!(report.get("size").is_none_or(|size| size != 1 || report["blob"] == root));
        }
    }

    #[test]
    fn a_list_is_printed_element_by_element() {
        let rows = serde_json::json!([{"name": "a"}, {"name": ""}, {"name": "b"}]);
        let print = |template: &str| render(&Template::parse_typed(template).unwrap(), &rows);
        assert_eq!(print("{{.Name}}").unwrap(), "a\nb\n");
        assert_eq!(print("{{range .}}<{{.Name}}>{{end}}").unwrap(), "<a><><b>\n");
        assert_eq!(print(r"{{.Name}}\t.\n").unwrap(), "a\t.\n\t.\nb\t.\n");
        assert!(print("{{.Name.x}}").is_err());
    }

    #[test]
    fn a_table_has_a_head_and_columns() {
        let rows = serde_json::json!([
            {"name": "a", "mediaType": "x/y", "size": 1, "created": "now"},
            {"name": "longer", "mediaType": "z", "size": 20},
        ]);
        let print = |text: &str, rows: &Value| {
            let Format::Table(template) = text.parse().unwrap() else { panic!("no table") };
            table(&template, rows)
        };
        assert_eq!(
            print(r"table {{.Name}}\t{{.MediaType}}\t{{json .Size}}", &rows).unwrap(),
            "NAME     MEDIA TYPE   SIZE\na        x/y          1\nlonger   z            20\n"
        );
        assert_eq!(print("table {{.Name}}", &rows[0]).unwrap(), "NAME\na\n");
        assert!(print("table {{.Name.First}}", &rows).unwrap_err().hint_text().is_some());
    }

    #[test]
    fn a_terminal_obeys_nothing() {
        assert_eq!(escape_lines("a\tb\n\x1b[31m\n\u{9b}"), "a\tb\n\\u{1b}[31m\n\\u{9b}");
        assert_eq!(escape_lines("a\u{202e}b\r\n"), "a\\u{202e}b\\r\n");
    }
}
