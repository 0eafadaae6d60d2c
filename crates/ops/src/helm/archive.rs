//! The archive of a chart: a gzip-compressed tar of one folder with `Chart.yaml` in it.
//!
//! # Security
//! An archive may be hostile. What it holds is bounded as Helm bounds it; nothing is written to a
//! disk. What Helm and others would read differently is an error: two files of one name, names that
//! lead elsewhere, links.

use std::collections::BTreeMap;
use std::io::Read;

use conex_spec::{Compression, Error, Kind, Result};
use conex_tar::compression::Decoder;
use conex_tar::{Entry, Kind as Sort, Reader, show};

use super::chart::{Chart, lacks};

/// How much the files of a chart may hold, in bytes (Helm, pkg/chart/loader/archive).
const MAX_TOTAL: u64 = 100 << 20;
/// How much one of them may, in bytes.
const MAX_FILE: u64 = 5 << 20;
/// How many files there may be.
const MAX_FILES: usize = 50_000;

/// What an archive holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What the chart says about itself.
    pub chart: Chart,
    /// How many files there are.
    pub files: usize,
    /// Values and templates, by their paths in the chart.
    pub(super) texts: BTreeMap<String, String>,
}

/// Reads a whole archive; `name` is what people call it.
///
/// # Errors
/// `Invalid` for what is no chart, `Limit` for what is too large for Helm.
pub fn read(archive: impl Read, name: &str) -> Result<Contents> {
    let whole = || -> Result<Contents> {
        let mut files = Files::default();
        let mut reader = Reader::new(Decoder::new(Compression::Gzip, archive)?);
        while let Some(entry) = reader.next_entry()? {
            if reader.position() > 2 * MAX_TOTAL {
                return Err(too_large("the archive", MAX_TOTAL));
            }
            if let Some(path) = files.path(&entry)? {
                let mut bytes = Vec::new();
                let content = (&mut reader).take(MAX_FILE);
                let done = { content }.read_to_end(&mut bytes);
                done.map_err(|err| Error::from_io(err, || format!("cannot read {path}")))?;
                files.add(path, bytes)?;
            }
        }
        files.finish()
    };
    whole().map_err(|err| match err.kind() {
        // Bytes that are no gzip at all.
        Kind::Mismatch => err.with_kind(Kind::Invalid).context(format_args!("{name} is no chart")),
        _ => err.context(name),
    })
}

/// Whether a file is one that `Contents` keeps.
fn is_kept(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "values.yaml" | "Chart.yaml" | "requirements.yaml")
        || path.starts_with("templates/")
        || path.contains("/templates/")
}

/// The files of the chart so far.
#[derive(Default)]
struct Files {
    seen: BTreeMap<String, Option<Vec<u8>>>,
    total: u64,
}

impl Files {
    /// The path in the chart of a file, nothing for a folder.
    fn path(&mut self, entry: &Entry) -> Result<Option<String>> {
        let fault = |expected: &str| {
            Error::invalid(format!("entry {} has no place in a chart", show(&entry.path)))
                .expected(expected)
        };
        match &entry.kind {
            Sort::Dir => return Ok(None),
            Sort::File => {}
            other => return Err(fault("files and folders").found(other.noun())),
        }
        let text = str::from_utf8(&entry.path).map_err(|_| fault("a name in UTF-8"))?;
        // Windows' own archives.
        let text = text.replace('\\', "/");
        let (top, path) = text.split_once('/').unwrap_or(("", &text));
        let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains([':', '\0']);
        if odd(top) || path.split('/').any(odd) {
            return Err(fault("NAME/FILE, all in the chart's one folder"));
        }
        if entry.size > MAX_FILE {
            return Err(too_large(&show(&entry.path), MAX_FILE));
        }
        self.total = self.total.saturating_add(entry.size);
        if self.total > MAX_TOTAL || self.seen.len() >= MAX_FILES {
            return Err(too_large("the chart", MAX_TOTAL));
        }
        if self.seen.contains_key(path) {
            return Err(fault("each file once").found("it twice"));
        }
        Ok(Some(path.to_owned()))
    }

    fn add(&mut self, path: String, bytes: Vec<u8>) -> Result<()> {
        let kept = is_kept(&path).then_some(bytes);
        self.seen.insert(path, kept);
        Ok(())
    }

    fn finish(mut self) -> Result<Contents> {
        let files = self.seen.len();
        let mut text = |path: &str| -> Result<Option<String>> {
            let bytes = self.seen.remove(path).flatten();
            let text = bytes.map(String::from_utf8).transpose();
            text.map_err(|_| Error::invalid(format!("{path} is not text")).expected("UTF-8"))
        };
        let chart = text("Chart.yaml")?.ok_or_else(|| lacks("Chart.yaml", "the archive"))?;
        let mut chart = Chart::parse(&chart)?;
        if let Some(requirements) = text("requirements.yaml")? {
            chart.add_requirements(&requirements)?;
        }
        let texts = self.seen.into_iter().filter_map(|(path, bytes)| {
            // Whatever else is in `templates`.
            Some((path, String::from_utf8(bytes?).ok()?))
        });
        Ok(Contents { chart, files, texts: texts.collect() })
    }
}

fn too_large(what: &str, limit: u64) -> Error {
    Error::new(Kind::Limit, format!("{what} is too large for Helm"))
        .expected(format!("at most {limit} bytes"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use conex_tar::Writer;
    use conex_tar::compression::{Encoder, Settings};
    use std::io::Write as _;

    pub(in crate::helm) fn tgz(files: &[(&str, &str)]) -> Vec<u8> {
        let entries = files.iter().map(|(path, text)| {
            let size = text.len() as u64;
            (Entry { size, ..Entry::new(*path, Sort::File) }, text.as_bytes().to_vec())
        });
        packed(entries.collect())
    }

    fn packed(entries: Vec<(Entry, Vec<u8>)>) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in entries {
            writer.append(&entry, content.as_slice()).unwrap();
        }
        let tar = writer.finish().unwrap();
        let mut encoder = Encoder::new(Settings::default(), Vec::new()).unwrap();
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    }

    const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\n";

    fn fault(files: &[(&str, &str)]) -> Error {
        read(tgz(files).as_slice(), "app.tgz").unwrap_err()
    }

    #[test]
    fn a_chart_is_read_whatever_its_folder_is_called() {
        let archive = tgz(&[
            ("app/Chart.yaml", CHART),
            ("app/values.yaml", "a: 1\n"),
            ("app/templates/x.yaml", "kind: X\n"),
            ("app/charts/db/values.yaml", "b: 1\n"),
            ("app/README.md", "read me"),
        ]);
        let contents = read(archive.as_slice(), "app.tgz").unwrap();
        assert_eq!((contents.chart.name.as_str(), contents.files), ("app", 5));
        let kept: Vec<_> = contents.texts.keys().map(String::as_str).collect();
        assert_eq!(kept, ["charts/db/values.yaml", "templates/x.yaml", "values.yaml"]);
        let windows = tgz(&[("app\\Chart.yaml", CHART)]);
        assert!(read(windows.as_slice(), "app.tgz").is_ok());
    }

    #[test]
    fn what_is_no_chart_is_an_error_that_says_why() {
        for (files, part) in [
            (vec![("app/values.yaml", "")], "Chart.yaml is missing"),
            (vec![("Chart.yaml", CHART)], "entry Chart.yaml has no place"),
            (vec![("./app/Chart.yaml", CHART)], "has no place"),
            (vec![("/app/Chart.yaml", CHART)], "has no place"),
            (vec![("app/../Chart.yaml", CHART)], "has no place"),
            (vec![("app/c:/Chart.yaml", CHART)], "has no place"),
            (vec![("app/Chart.yaml", CHART), ("app/Chart.yaml", CHART)], "has no place"),
            (vec![("app/Chart.yaml", CHART), ("b/Chart.yaml", CHART)], "has no place"),
            (vec![("app/Chart.yaml", "version: 1.0.0")], "`name` is missing"),
            (vec![("app/Chart.yaml", "a: [")], ": not YAML"),
            (vec![], "Chart.yaml is missing"),
        ] {
            let err = fault(&files);
            assert_eq!(err.kind(), Kind::Invalid, "{err}");
            assert!(err.message().starts_with("app.tgz: "), "{err}");
            assert!(err.message().contains(part), "{err}");
        }
        let link = Entry::new("app/x", Sort::Symlink(b"/etc/passwd".to_vec()));
        let err = read(packed(vec![(link, vec![])]).as_slice(), "x.tgz").unwrap_err();
        assert_eq!(err.found_value(), Some("symbolic link"));
        let err = read(&b"PK\x03\x04"[..], "x.zip").unwrap_err();
        assert_eq!(err.kind(), Kind::Invalid);
        assert!(err.message().starts_with("x.zip is no chart"), "{err}");
        let err = read(&tgz(&[("app/Chart.yaml", CHART)])[..40], "cut.tgz").unwrap_err();
        assert_eq!(err.kind(), Kind::Invalid);
    }

    #[test]
    fn what_helm_would_not_read_is_too_large() {
        let large = "x".repeat(MAX_FILE as usize + 1);
        assert_eq!(fault(&[("app/big", &large)]).kind(), Kind::Limit);
        let five = "x".repeat(MAX_FILE as usize);
        let names: Vec<_> = (0..21).map(|at| format!("app/{at}")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), five.as_str())).collect();
        assert_eq!(fault(&files).kind(), Kind::Limit);
    }
}
