//! What `conex inspect` prints for people.

use std::collections::HashSet;
use std::fmt::Write as _;

use conex_ops::inspect::image::Image;
use conex_ops::inspect::index::{Entry, What};
use conex_ops::inspect::{Content, Layer, Report};
use conex_spec::annotations::TITLE;
use conex_spec::config::{Execution, Healthcheck, History};
use conex_spec::{Annotations, Descriptor, Digest};

use crate::output::{escape, size};

/// How much of a command is shown; JSON has all of it.
const COMMAND: usize = 80;

/// Lines of a name and a value, then tables.
struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(self.0, "{name:<12} {}", escape(value.as_ref()));
        }
    }

    /// A name before the first value only.
    fn lines<T: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        for (index, value) in values.into_iter().enumerate() {
            self.line(if index == 0 { name } else { "" }, value);
        }
    }

    fn annotations(&mut self, name: &str, annotations: &Annotations) {
        self.lines(name, annotations.iter().map(|(name, value)| format!("{name}={value}")));
    }

    /// Rows under a head, each column as wide as its widest cell. A column of numbers is a size.
    fn table(&mut self, head: &[&str], right: &[usize], rows: &[Row]) {
        let cells = || rows.iter().map(|row| &row.cells);
        let used: Vec<bool> =
            (0..head.len()).map(|column| cells().any(|cells| !cells[column].is_empty())).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let width = |cells: &Vec<String>| cells[column].chars().count();
                cells().map(width).chain([head[column].len()]).max().unwrap_or_default()
            })
            .collect();
        let line = |cells: &[&str]| {
            let mut text = String::new();
            for (column, cell) in cells.iter().enumerate().filter(|(column, _)| used[*column]) {
                let width = widths[column];
                let _ = if right.contains(&column) {
                    write!(text, "  {cell:>width$}")
                } else {
                    write!(text, "  {cell:<width$}")
                };
            }
            text.trim_end().to_owned() + "\n"
        };
        if used.contains(&true) {
            self.0 += &line(head);
        }
        for row in rows {
            self.0 += &line(&row.cells.iter().map(String::as_str).collect::<Vec<_>>());
            for note in &row.notes {
                let _ = writeln!(self.0, "      {note}");
            }
        }
    }
}

/// A row of a table, and what belongs to it and has no column.
struct Row {
    cells: Vec<String>,
    notes: Vec<String>,
}

impl Row {
    fn new<const N: usize>(cells: [&str; N], notes: Vec<String>) -> Self {
        Self {
            cells: cells.map(escape).into(),
            notes: notes.iter().map(|note| escape(note)).collect(),
        }
    }
}

pub fn text(report: &Report) -> String {
    let mut lines = Lines(String::new());
    lines.line("location", report.location.to_string());
    lines.line("kind", kind(report));
    lines.line("digest", report.digest.as_str());
    lines.line("media type", report.media_type.as_str());
    lines.lines("draft", report.drafts.iter().map(|draft| format!("as in {}", draft.name())));
    if let Some(subject) = &report.subject {
        lines.line("subject", described(subject));
    }
    match &report.content {
        Content::Index { manifests, size: total } => index(&mut lines, report, manifests, *total),
        Content::Image(content) | Content::Config(content) => image(&mut lines, report, content),
        Content::Artifact { config, layers, size: total, about, missing } => {
            // An artifact may have tens of thousands of files.
            let missing = &missing.iter().collect();
            if let Some(config) = config {
                lines.line("config", described(config) + beside(config, missing));
            }
            for (name, value) in about {
                lines.line(name, value);
            }
            lines.line("files", format!("{}, {}", layers.len(), size(*total)));
            lines.annotations("annotations", &report.annotations);
            files(&mut lines, layers, missing);
        }
        Content::Descriptor { descriptor } => {
            lines.line("of", described(descriptor));
            lines.lines("", notes(descriptor));
        }
        Content::Layout { version } => lines.line("version", version),
        Content::Blob { format, size: bytes } => {
            lines.line("content", format);
            lines.line("size", size(*bytes));
        }
    }
    lines.0
}

fn kind(report: &Report) -> String {
    let dialect = if report.media_type.as_str().starts_with("application/vnd.docker.") {
        "Docker's "
    } else {
        ""
    };
    let kind = match &report.content {
        Content::Index { manifests, .. } => format!("index of {}", manifests.len()),
        Content::Image(_) => "image".into(),
        Content::Config(_) => "config of an image".into(),
        Content::Artifact { .. } => "artifact".into(),
        Content::Descriptor { .. } => "descriptor".into(),
        Content::Layout { .. } => "marker of a layout".into(),
        Content::Blob { .. } => "blob".into(),
    };
    match &report.artifact_type {
        Some(artifact_type) => format!("{dialect}{kind}, {artifact_type}"),
        None => format!("{dialect}{kind}"),
    }
}

/// A descriptor on one line.
fn described(blob: &Descriptor) -> String {
    format!("{}  {}  {}", blob.digest, size(blob.size), blob.media_type)
}

/// What a descriptor says beyond digest, size, media type and platform.
fn notes(blob: &Descriptor) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(blob.artifact_type.iter().map(|kind| format!("artifact type {kind}")));
    notes.extend(blob.urls.iter().map(|url| format!("url {url}")));
    notes.extend(blob.data.iter().map(|data| format!("data of {} characters", data.len())));
    let annotations = blob.annotations.iter().filter(|(name, _)| *name != TITLE);
    notes.extend(annotations.map(|(name, value)| format!("{name}={value}")));
    notes.extend(blob.extra.iter().map(|(name, value)| format!("{name}: {value}")));
    notes
}

/// What is said of content that is not there.
fn beside(blob: &Descriptor, missing: &HashSet<&Digest>) -> &'static str {
    if missing.contains(&blob.digest) { "  missing" } else { "" }
}

fn files(lines: &mut Lines, files: &[Descriptor], missing: &HashSet<&Digest>) {
    let rows: Vec<_> = files
        .iter()
        .map(|file| {
            let title = file.annotations.get(TITLE).map_or("", String::as_str);
            let fault = beside(file, missing).trim_start();
            let media_type = file.media_type.as_str();
            let cells = [title, &size(file.size), file.digest.as_str(), media_type, fault];
            Row::new(cells, notes(file))
        })
        .collect();
    lines.table(&["TITLE", "SIZE", "DIGEST", "MEDIA TYPE", "FAULT"], &[1], &rows);
}

fn index(lines: &mut Lines, report: &Report, entries: &[Entry], total: u64) {
    if total > 0 {
        lines.line("size", size(total));
    }
    lines.annotations("annotations", &report.annotations);
    let mut rows = Vec::new();
    entry_rows(entries, 0, &mut rows);
    let head = ["PLATFORM", "SIZE", "LAYERS", "CREATED", "DIGEST", "KIND"];
    lines.table(&head, &[1, 2], &rows);
}

fn entry_rows(entries: &[Entry], depth: usize, rows: &mut Vec<Row>) {
    for entry in entries {
        let (layers, created, kind) = match &entry.what {
            What::Image { image } => {
                let created = image.created.clone().unwrap_or_default();
                (image.layers.len().to_string(), created, "image")
            }
            What::Artifact { .. } => (String::new(), String::new(), "artifact"),
            What::Index { .. } => (String::new(), String::new(), "index"),
            What::Unknown => (String::new(), String::new(), entry.descriptor.media_type.as_str()),
        };
        let platform = entry.descriptor.platform.as_ref().map(ToString::to_string);
        let inside = match &entry.what {
            What::Image { image } if image.fault.is_none() => Some(image.platform.to_string()),
            _ => None,
        };
        let platform = format!("{:depth$}{}", "", platform.or(inside).unwrap_or_default());
        let content = entry.content_size().map(size).unwrap_or_default();
        let digest = entry.descriptor.digest.as_str();
        let mut notes = notes(&entry.descriptor);
        notes.extend(entry.fault.iter().map(|fault| format!("not shown: {fault}")));
        if let What::Image { image } = &entry.what {
            notes.extend(image.fault.iter().map(|fault| format!("no config: {fault}")));
            let faulty = image.layers.iter().filter_map(|layer| {
                let digest = &layer.descriptor.as_ref()?.digest;
                Some(format!("layer {digest}: {}", layer.fault.as_ref()?))
            });
            notes.extend(faulty);
        }
        rows.push(Row::new([&platform, &content, &layers, &created, digest, kind], notes));
        if let What::Index { manifests } = &entry.what {
            entry_rows(manifests, depth + 2, rows);
        }
    }
}

fn image(lines: &mut Lines, report: &Report, image: &Image) {
    if let Some(fault) = &image.fault {
        lines.line("no config", fault);
    } else {
        lines.line("platform", image.platform.to_string());
    }
    lines.line("created", image.created.as_deref().unwrap_or_default());
    lines.line("author", image.author.as_deref().unwrap_or_default());
    let unpacked = image.unpacked_size.map(|bytes| format!(", {} unpacked", size(bytes)));
    if image.config.descriptor.is_some() {
        let (count, bytes) = (image.layers.len(), size(image.size));
        let layers = if count == 1 { "layer" } else { "layers" };
        lines.line("size", format!("{bytes} in {count} {layers}{}", unpacked.unwrap_or_default()));
    }
    if let Some(execution) = &image.config.execution {
        self::execution(lines, execution);
    }
    lines.lines("other", image.other.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.annotations("annotations", &report.annotations);
    if let Some(config) = &image.config.descriptor {
        lines.line("config", described(config));
    }
    let rows = layer_rows(image);
    let head = ["LAYER", "SIZE", "UNPACKED", "TYPE", "FAULT", "MADE BY"];
    lines.table(&head, &[1, 2], &rows);
}

fn execution(lines: &mut Lines, execution: &Execution) {
    let words = |words: &[String]| {
        words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
    };
    lines.line("user", &execution.user);
    lines.line("folder", &execution.working_dir);
    lines.line("entrypoint", words(&execution.entrypoint));
    lines.line("command", words(&execution.cmd));
    lines.lines("environment", &execution.env);
    lines.line("ports", join(execution.exposed_ports.keys()));
    lines.line("volumes", join(execution.volumes.keys()));
    lines.line("stop signal", execution.stop_signal.as_deref().unwrap_or_default());
    let seconds = execution.stop_timeout.map(|seconds| format!("{seconds} s"));
    lines.line("stop timeout", seconds.unwrap_or_default());
    lines.line("health check", execution.healthcheck.as_ref().map(healthcheck).unwrap_or_default());
    lines.line("shell", words(&execution.shell));
    lines.lines("on build", &execution.on_build);
    lines.annotations("labels", &execution.labels);
    let number = |name: &str, value: Option<i64>| value.map(|value| format!("{name}: {value}"));
    let reserved = [
        execution.args_escaped.map(|escaped| format!("ArgsEscaped: {escaped}")),
        number("Memory", execution.memory),
        number("MemorySwap", execution.memory_swap),
        number("CpuShares", execution.cpu_shares),
    ];
    let extra = execution.extra.iter().map(|(name, value)| format!("{name}: {value}"));
    lines.lines("settings", reserved.into_iter().flatten().chain(extra));
}

/// The test, and what it is bound to.
fn healthcheck(check: &Healthcheck) -> String {
    let time = |name: &str, nanoseconds: Option<i64>| {
        Some(format!("{name} {} s", nanoseconds? as f64 / 1e9))
    };
    let test = check.test.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ");
    let bounds = [
        time("every", check.interval),
        time("at most", check.timeout),
        time("after", check.start_period),
        time("first every", check.start_interval),
        check.retries.map(|retries| format!("{retries} retries")),
    ];
    let extra = check.extra.iter().map(|(name, value)| format!("{name}: {value}"));
    [test]
        .into_iter()
        .chain(bounds.into_iter().flatten())
        .chain(extra)
        .collect::<Vec<_>>()
        .join(", ")
}

fn join<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// One row for each entry of the history; one that made a layer has the layer beside it.
fn layer_rows(image: &Image) -> Vec<Row> {
    let mut layers = image.layers.iter();
    let mut rows: Vec<_> = image
        .history
        .iter()
        .map(|entry| {
            let layer = if entry.empty_layer { None } else { layers.next() };
            row(layer, Some(entry))
        })
        .collect();
    rows.extend(layers.map(|layer| row(Some(layer), None)));
    rows
}

fn row(layer: Option<&Layer>, entry: Option<&History>) -> Row {
    let descriptor = layer.and_then(|layer| layer.descriptor.as_ref());
    let diff_id = layer.and_then(|layer| layer.diff_id.as_ref());
    let digest = descriptor.map(|descriptor| &descriptor.digest).or(diff_id);
    let unpacked = layer.and_then(|layer| layer.unpacked_size);
    let compression = descriptor.map(|descriptor| match descriptor.media_type.compression() {
        Some(compression) => compression.to_string(),
        None => descriptor.media_type.to_string(),
    });
    let mut notes = descriptor.map(notes).unwrap_or_default();
    if let Some(descriptor) = descriptor
        && !descriptor.media_type.is_distributable()
    {
        notes.push("not to be given on".into());
    }
    let created_by = entry.and_then(|entry| entry.created_by.as_deref()).unwrap_or_default();
    let comment = entry.and_then(|entry| entry.comment.as_deref());
    // BuildKit says the same of each.
    if let Some(comment) = comment.filter(|comment| !comment.starts_with("buildkit.")) {
        notes.push(comment.to_owned());
    }
    let missing = if layer.is_none() { "-" } else { "" };
    let digest = digest.map_or(missing, |digest| digest.as_str());
    let cells = [
        digest,
        &descriptor.map(|descriptor| size(descriptor.size)).unwrap_or_default(),
        &unpacked.map(size).unwrap_or_default(),
        &compression.unwrap_or_default(),
        layer.and_then(|layer| layer.fault.as_deref()).unwrap_or_default(),
        &shortened(created_by),
    ];
    Row::new(cells, notes)
}

/// A command without what builders put around it, on one line.
fn shortened(command: &str) -> String {
    let command = command.trim();
    let command = command.strip_suffix("# buildkit").unwrap_or(command);
    let (run, command) = match command.strip_prefix("RUN ") {
        Some(command) => (true, command),
        None => (false, command),
    };
    let plain = command.strip_prefix("/bin/sh -c ");
    let told = plain.and_then(|plain| plain.trim_start().strip_prefix("#(nop)"));
    let start = if run || (plain.is_some() && told.is_none()) { "RUN " } else { "" };
    let words = told.or(plain).unwrap_or(command).split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = format!("{start}{words}");
    match whole.char_indices().nth(COMMAND) {
        Some((at, _)) => format!("{}…", &whole[..at]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_short() {
        for (command, expected) in [
            ("/bin/sh -c #(nop)  CMD [\"bash\"]", "CMD [\"bash\"]"),
            ("/bin/sh -c apt-get update  &&\tx", "RUN apt-get update && x"),
            ("RUN /bin/sh -c make # buildkit", "RUN make"),
            ("COPY a b # buildkit", "COPY a b"),
            ("", ""),
        ] {
            assert_eq!(shortened(command), expected);
        }
        assert_eq!(shortened(&"é".repeat(100)).chars().count(), COMMAND + 1);
    }

    #[test]
    fn tables_are_as_wide_as_they_must_be() {
        let mut lines = Lines(String::new());
        let row = |a: &str, b: &str| Row::new([a, "", b], vec![]);
        lines.table(&["A", "NONE", "SIZE"], &[2], &[row("x\x1b", "1 B"), row("", "10 KiB")]);
        assert_eq!(lines.0, "  A          SIZE\n  x\\u{1b}     1 B\n           10 KiB\n");
    }
}
