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
/// How deep charts may lie packed in charts.
const MAX_NESTED: usize = 8;
/// How much of an archive is inflated to see whether it is a chart, in bytes.
const MAX_LOOK: u64 = 32 << 20;

/// What an archive holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What the chart says about itself.
    pub chart: Chart,
    /// How many files there are.
    pub files: usize,
    /// Values, templates and the like, by their paths in the chart, also of charts that lie packed in it:
    /// `charts/db.tgz/values.yaml`.
    pub(super) texts: BTreeMap<String, String>,
}

/// Reads a whole archive; `name` is what people call it.
///
/// # Errors
/// `Invalid` for what is no chart, `Limit` for what is too large for Helm.
pub fn read(archive: impl Read, name: &str) -> Result<Contents> {
    let mut room = Room { bytes: MAX_TOTAL, files: MAX_FILES };
    read_within(archive, name, &mut room, 0)
}

/// Whether an archive is to be a chart: `Chart.yaml` is in its one folder, in whatever order files lie there,
/// or at its top, as where someone packed only what is in the folder. Whether it is a good one
/// [`read`] tells. What is clearly something else is left at once: a second folder, a file that is too
/// large for Helm.
pub fn is_chart(archive: impl Read) -> bool {
    has_chart_file(archive).unwrap_or_default()
}

fn has_chart_file(archive: impl Read) -> Result<bool> {
    let mut reader = Reader::new(Decoder::new(Compression::Gzip, archive)?.take(MAX_LOOK));
    let mut top: Option<String> = None;
    while let Some(entry) = reader.next_entry()? {
        let path = String::from_utf8_lossy(&entry.path).replace('\\', "/");
        let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        match parts.as_slice() {
            [] => {}
            ["Chart.yaml"] => return Ok(true),
            [folder, ..] if top.get_or_insert_with(|| (*folder).to_owned()) != folder => break,
            [_, "Chart.yaml"] => return Ok(true),
            _ if entry.size > MAX_FILE => break,
            _ => {}
        }
    }
    Ok(false)
}

/// How much there may still be, in a chart and in those that lie packed in it together.
struct Room {
    bytes: u64,
    files: usize,
}

fn read_within(archive: impl Read, name: &str, room: &mut Room, depth: usize) -> Result<Contents> {
    let whole = || -> Result<Contents> {
        let mut files = Files { top: None, seen: BTreeMap::new(), room };
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
        files.finish(depth)
    };
    whole().map_err(|err| match err.kind() {
        // Bytes that are no gzip at all.
        Kind::Mismatch => Error::invalid(format!("{name} is no chart"))
            .expected("a folder, packed as a tar with gzip")
            .found(err.found_value().unwrap_or("something else")),
        _ => err.context(name),
    })
}

/// Whether a file is one that `Contents` keeps.
fn is_kept(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "values.yaml" | "Chart.yaml" | "requirements.yaml")
        || path.starts_with("templates/")
        || path.contains("/templates/")
        || is_packed(path)
}

/// Whether a file is a chart that lies packed in its parent. Names that begin so Helm passes over.
fn is_packed(path: &str) -> bool {
    let name = path.strip_prefix("charts/").filter(|name| !name.contains('/'));
    name.is_some_and(|name| name.ends_with(".tgz") && !name.starts_with(['_', '.']))
}

/// The files of the chart so far.
struct Files<'r> {
    /// The folder that all of them are in.
    top: Option<String>,
    seen: BTreeMap<String, Option<Vec<u8>>>,
    room: &'r mut Room,
}

impl Files<'_> {
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
        let other = *self.top.get_or_insert_with(|| top.to_owned()) != *top;
        // Packed within the folder, it is called `.`: whatever comes before the first slash Helm passes over.
        if other || (top != "." && odd(top)) || path.split('/').any(odd) {
            return Err(fault("NAME/FILE, all in the chart's one folder"));
        }
        if entry.size > MAX_FILE {
            return Err(too_large(&show(&entry.path), MAX_FILE));
        }
        if self.room.bytes < entry.size || self.room.files == 0 {
            return Err(too_large("the chart", MAX_TOTAL));
        }
        self.room.bytes -= entry.size;
        self.room.files -= 1;
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

    fn finish(self, depth: usize) -> Result<Contents> {
        let files = self.seen.len();
        let text = |path: &str| -> Result<Option<&str>> {
            let bytes = self.seen.get(path).and_then(Option::as_deref);
            let text = bytes.map(str::from_utf8).transpose();
            text.map_err(|_| Error::invalid(format!("{path} is not text")).expected("UTF-8"))
        };
        let chart = text("Chart.yaml")?.ok_or_else(|| lacks("Chart.yaml", "the archive"))?;
        let mut chart = Chart::parse(chart)?;
        if let Some(requirements) = text("requirements.yaml")? {
            chart.add_requirements(requirements)?;
        }
        let mut texts = BTreeMap::new();
        for (path, bytes) in self.seen {
            match bytes {
                Some(packed) if is_packed(&path) => {
                    if depth == MAX_NESTED {
                        return Err(too_deep(&path));
                    }
                    let part = read_within(packed.as_slice(), &path, self.room, depth + 1)?;
                    let inside = part.texts.into_iter();
                    texts.extend(inside.map(|(name, text)| (format!("{path}/{name}"), text)));
                }
                // Whatever else is in `templates` may be no text.
                Some(bytes) => drop(String::from_utf8(bytes).map(|text| texts.insert(path, text))),
                None => {}
            }
        }
        Ok(Contents { chart, files, texts })
    }
}

fn too_large(what: &str, limit: u64) -> Error {
    Error::new(Kind::Limit, format!("{what} is too large for Helm"))
        .expected(format!("at most {limit} bytes"))
}

fn too_deep(path: &str) -> Error {
    Error::new(Kind::Limit, format!("{path} lies too deep in other charts"))
        .expected(format!("at most {MAX_NESTED} charts around it"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use conex_tar::Writer;
    use conex_tar::compression::{Encoder, Settings};
    use std::io::Write as _;

    pub(in crate::helm) fn tgz(files: &[(&str, &str)]) -> Vec<u8> {
        tgz_of(&files.iter().map(|(path, text)| (*path, text.as_bytes())).collect::<Vec<_>>())
    }

    pub(in crate::helm) fn tgz_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let entries = files.iter().map(|(path, bytes)| {
            let size = bytes.len() as u64;
            (Entry { size, ..Entry::new(*path, Sort::File) }, bytes.to_vec())
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

    #[test]
    fn a_chart_is_known_by_its_content() {
        for (names, known) in [
            (&["app/Chart.yaml"][..], true),
            (&["app/readme", "app/templates/x.yaml", "app/Chart.yaml"], true),
            (&["./app/values.yaml", "./app/Chart.yaml"], true),
            (&["app\\values.yaml", "app\\Chart.yaml"], true),
            (&["./Chart.yaml", "./values.yaml"], true),
            (&["app/sub/Chart.yaml"], false),
            (&["other/x", "app/Chart.yaml"], false),
            (&["app/chart.yaml"], false),
            (&[], false),
        ] {
            let files: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
            assert_eq!(is_chart(tgz(&files).as_slice()), known, "{names:?}");
        }
        let folders = ["./", "./app/", "app/templates"];
        let folders = folders.map(|name| (Entry::new(name, Sort::Dir), Vec::new()));
        let file = (Entry { size: 1, ..Entry::new("app/Chart.yaml", Sort::File) }, b"x".to_vec());
        assert!(is_chart(packed(folders.into_iter().chain([file]).collect()).as_slice()));
        assert!(!is_chart(&b"Chart.yaml"[..]) && !is_chart(&b""[..]));
        assert!(!is_chart(&tgz(&[("app/x", ""), ("app/Chart.yaml", "")])[..30]));
    }

    /// What is no chart costs little, however large it is.
    #[test]
    fn a_look_ends_early() {
        let large = "x".repeat(MAX_FILE as usize + 1);
        assert!(!is_chart(tgz(&[("app/x", &large), ("app/Chart.yaml", CHART)]).as_slice()));
        let five = "x".repeat(MAX_FILE as usize);
        let names: Vec<_> = (0..7).map(|at| format!("app/{at}")).collect();
        let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), five.as_str())).collect();
        files.push(("app/Chart.yaml", CHART));
        assert!(!is_chart(tgz(&files).as_slice()));
    }

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
        assert_eq!(
            kept,
            ["Chart.yaml", "charts/db/values.yaml", "templates/x.yaml", "values.yaml"]
        );
        for files in [
            &[("app\\Chart.yaml", CHART)][..],
            &[("./Chart.yaml", CHART), ("./templates/x.yaml", "kind: X\n")],
        ] {
            let contents = read(tgz(files).as_slice(), "app.tgz").unwrap();
            assert_eq!((contents.chart.name.as_str(), contents.files), ("app", files.len()));
        }
    }

    #[test]
    fn what_is_no_chart_is_an_error_that_says_why() {
        for (files, part) in [
            (vec![("app/values.yaml", "")], "Chart.yaml is missing"),
            (vec![("Chart.yaml", CHART)], "entry Chart.yaml has no place"),
            (vec![("./app/Chart.yaml", CHART)], "Chart.yaml is missing"),
            (vec![("././Chart.yaml", CHART)], "has no place"),
            (vec![("../Chart.yaml", CHART)], "has no place"),
            (vec![("./Chart.yaml", CHART), ("app/x", "")], "entry app/x has no place"),
            (vec![("/app/Chart.yaml", CHART)], "has no place"),
            (vec![("app/../Chart.yaml", CHART)], "has no place"),
            (vec![("app/c:/Chart.yaml", CHART)], "has no place"),
            (vec![("app/Chart.yaml", CHART), ("app/Chart.yaml", CHART)], "has no place"),
            (vec![("app/Chart.yaml", CHART), ("b/Chart.yaml", CHART)], "has no place"),
            (vec![("app/Chart.yaml", CHART), ("b/x", "")], "entry b/x has no place"),
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

    /// What lies packed in a chart counts with it, however often it is packed.
    #[test]
    fn charts_in_charts_have_bounds_together() {
        let large = "x".repeat(MAX_FILE as usize);
        let five: Vec<_> = (0..5).map(|at| format!("p/{at}")).collect();
        let mut part = vec![("p/Chart.yaml", CHART.as_bytes())];
        part.extend(five.iter().map(|name| (name.as_str(), large.as_bytes())));
        let part = tgz_of(&part);
        let names: Vec<_> = (0..5).map(|at| format!("app/charts/{at}.tgz")).collect();
        let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), part.as_slice())).collect();
        files.push(("app/Chart.yaml", CHART.as_bytes()));
        let err = read(tgz_of(&files).as_slice(), "app.tgz").unwrap_err();
        assert_eq!(err.kind(), Kind::Limit, "{err}");
        let mut deep = tgz(&[("p/Chart.yaml", CHART)]);
        for _ in 0..=MAX_NESTED {
            deep = tgz_of(&[("p/Chart.yaml", CHART.as_bytes()), ("p/charts/p.tgz", &deep)]);
        }
        let err = read(deep.as_slice(), "app.tgz").unwrap_err();
        assert!(err.message().contains("lies too deep"), "{err}");
        let bad = [("app/Chart.yaml", CHART), ("app/charts/a.tgz", "a")];
        assert!(fault(&bad).message().starts_with("app.tgz: charts/a.tgz is no chart"));
        let passed = [("app/Chart.yaml", CHART), ("app/charts/_a.tgz", "a")];
        assert!(read(tgz(&passed).as_slice(), "app.tgz").is_ok());
    }
}
