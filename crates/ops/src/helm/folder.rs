//! A chart's folder as an archive, in the order of `helm package`: `Chart.yaml` first, templates
//! before everything else.
//!
//! The same files give the same bytes. Unlike Helm this neither writes `Chart.yaml` anew nor unpacks
//! the archives in `charts`: every file stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use conex_spec::{Error, Kind, Result};
use conex_tar::compression::{Encoder, Settings};
use conex_tar::{Entry, Kind as Sort, Writer};

use super::chart::{Chart, lacks};
use super::ignore::Rules;
use super::yaml;
use crate::small_file;

/// How deep folders may be nested.
const DEPTH: usize = 64;
/// How much all files may hold together, in bytes; see `archive`.
const MAX_TOTAL: u64 = 100 << 20;

/// What comes first, in this order.
const FIRST: [&str; 4] = ["Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json"];

/// Packs a folder.
///
/// # Errors
/// `Invalid` for what is no chart or has links that lead out of it.
pub(super) fn pack(folder: &Path) -> Result<Vec<u8>> {
    let chart = chart_of(folder)?;
    let mut walk = Walk {
        root: folder.canonicalize().map_err(|err| Error::io("cannot read", folder, err))?,
        rules: rules(folder)?,
        found: BTreeMap::new(),
        total: 0,
    };
    walk.folder(folder, "", 0)?;
    let mut files: Vec<_> = walk.found.iter().collect();
    files.sort_by_key(|(path, _)| rank(path));
    let failed = |err| Error::from_io(err, || "cannot pack the chart".into());
    let encoder = Encoder::new(Settings::default(), Vec::new())?;
    let mut writer = Writer::new(encoder);
    for (path, place) in files {
        let bytes = small_file::read(place, MAX_TOTAL, "a file of a chart")?;
        let mut entry = Entry::new(format!("{}/{path}", chart.name), Sort::File);
        entry.size = bytes.len() as u64;
        writer.append(&entry, &bytes[..])?;
    }
    let mut encoder = writer.finish()?;
    encoder.flush().map_err(failed)?;
    encoder.finish().map_err(failed)
}

/// What the chart in a folder says about itself.
pub(super) fn chart_of(folder: &Path) -> Result<Chart> {
    let path = folder.join("Chart.yaml");
    let Some(text) = read_text(&path)? else {
        return Err(lacks("Chart.yaml", &folder.display().to_string()));
    };
    let called = |err: Error| err.context(folder.display());
    let mut chart = Chart::parse(&text).map_err(called)?;
    if let Some(text) = read_text(&folder.join("requirements.yaml"))? {
        chart.add_requirements(&text).map_err(called)?;
    }
    Ok(chart)
}

fn rules(folder: &Path) -> Result<Rules> {
    let text = read_text(&folder.join(".helmignore"))?.unwrap_or_default();
    Rules::parse(&text).map_err(|err| err.context(folder.display()))
}

/// A small text, where there is one.
fn read_text(path: &Path) -> Result<Option<String>> {
    let failed = |err| Error::io("cannot read", path, err);
    match fs::metadata(path) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(err)),
        Ok(meta) if !meta.is_file() => {
            return Err(Error::invalid(format!("{} is no text", path.display())).expected("a file"));
        }
        Ok(_) => {}
    }
    let bytes = small_file::read(path, yaml::LIMIT as u64, "a text of a chart")?;
    String::from_utf8(bytes.into())
        .map(Some)
        .map_err(|_| Error::invalid(format!("{} is not text", path.display())).expected("UTF-8"))
}

fn rank(path: &str) -> (usize, &str) {
    let first = FIRST.iter().position(|name| *name == path);
    let group = match first {
        Some(at) => at,
        None if path.starts_with("templates/") => FIRST.len(),
        None if path.starts_with("charts/") => FIRST.len() + 2,
        None => FIRST.len() + 1,
    };
    (group, path)
}

struct Walk {
    root: PathBuf,
    rules: Rules,
    /// Paths in the chart, and where the files are.
    found: BTreeMap<String, PathBuf>,
    total: u64,
}

impl Walk {
    fn folder(&mut self, folder: &Path, inside: &str, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(Error::new(Kind::Limit, format!("{} is too deep", folder.display()))
                .expected(format!("at most {DEPTH} folders in each other")));
        }
        let failed = |err| Error::io("cannot read", folder, err);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let place = entry.map_err(failed)?.path();
            let name = place.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
                Error::invalid(format!("{} cannot be in a chart", place.display()))
                    .expected("a name in UTF-8")
            })?;
            let path = if inside.is_empty() { name.into() } else { format!("{inside}/{name}") };
            self.entry(&place, path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, place: &Path, path: String, depth: usize) -> Result<()> {
        let meta =
            fs::symlink_metadata(place).map_err(|err| Error::io("cannot read", place, err))?;
        let meta = match meta.is_symlink() {
            true => match self.rules.leave_out(&path, false) {
                true => return Ok(()),
                false => self.target(place)?,
            },
            false => meta,
        };
        if self.rules.leave_out(&path, meta.is_dir()) {
            return Ok(());
        }
        if meta.is_dir() {
            return self.folder(place, &path, depth + 1);
        }
        if !meta.is_file() {
            return Err(Error::invalid(format!("{} cannot be in a chart", place.display()))
                .expected("files and folders")
                .hint("leave it out with a line in `.helmignore`"));
        }
        self.total = self.total.saturating_add(meta.len());
        if self.total > MAX_TOTAL {
            return Err(Error::new(Kind::Limit, "the chart is too large for Helm")
                .expected(format!("at most {MAX_TOTAL} bytes"))
                .hint("leave files out with `.helmignore`"));
        }
        self.found.insert(path, place.to_owned());
        Ok(())
    }

    /// What a link leads to, as Helm packs it; but only within the chart.
    fn target(&self, place: &Path) -> Result<fs::Metadata> {
        let real = place.canonicalize().map_err(|err| Error::io("cannot read", place, err))?;
        if !real.starts_with(&self.root) {
            return Err(Error::invalid(format!("{} leads out of the chart", place.display()))
                .expected("a link to a file of the chart")
                .found(real.display())
                .hint("copy the file into the chart, or leave it out with `.helmignore`"));
        }
        fs::metadata(&real).map_err(|err| Error::io("cannot read", place, err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::archive;
    use conex_spec::Compression;
    use conex_tar::Reader;
    use conex_tar::compression::Decoder;
    use std::os::unix::fs::symlink;

    fn names(archive: &[u8]) -> Vec<String> {
        let mut reader = Reader::new(Decoder::new(Compression::Gzip, archive).unwrap());
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(String::from_utf8(entry.path).unwrap());
        }
        names
    }

    fn chart(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let whole = [("Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n")];
        for (path, text) in whole.iter().chain(files) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn files_stand_in_helms_order_below_the_charts_name() {
        let files = [
            ("values.yaml", ""),
            ("templates/b.yaml", ""),
            ("templates/a.yaml", ""),
            ("templates/.hidden", ""),
            ("charts/db/Chart.yaml", "name: db\nversion: 1.0.0"),
            ("README.md", ""),
            ("Chart.lock", ""),
            (".helmignore", "*.bak\n.git/\n"),
            (".git/config", ""),
            ("old.bak", ""),
        ];
        let (first, second) = (chart(&files), chart(&files));
        let packed = pack(first.path()).unwrap();
        assert_eq!(
            names(&packed),
            [
                "app/Chart.yaml",
                "app/Chart.lock",
                "app/values.yaml",
                "app/templates/a.yaml",
                "app/templates/b.yaml",
                "app/.helmignore",
                "app/README.md",
                "app/charts/db/Chart.yaml",
            ]
        );
        assert_eq!(packed, pack(second.path()).unwrap());
        assert_eq!(archive::read(packed.as_slice(), "app").unwrap().files, 8);
    }

    #[test]
    fn links_are_followed_within_the_chart_only() {
        let dir = chart(&[("files/a", "A")]);
        symlink("files", dir.path().join("same")).unwrap();
        symlink("files/a", dir.path().join("b")).unwrap();
        let packed = names(&pack(dir.path()).unwrap());
        assert_eq!(packed, ["app/Chart.yaml", "app/b", "app/files/a", "app/same/a"]);
        symlink("..", dir.path().join("up")).unwrap();
        assert!(pack(dir.path()).unwrap_err().message().contains("leads out"));
        fs::remove_file(dir.path().join("up")).unwrap();
        symlink(".", dir.path().join("loop")).unwrap();
        let err = pack(dir.path()).unwrap_err();
        assert!(matches!(err.kind(), Kind::Limit | Kind::Io), "{err}");
        fs::write(dir.path().join(".helmignore"), "loop\n").unwrap();
        pack(dir.path()).unwrap();
    }

    #[test]
    fn what_is_no_chart_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let err = pack(dir.path()).unwrap_err();
        assert!(err.message().ends_with("is no chart: Chart.yaml is missing"), "{err}");
        fs::write(dir.path().join("Chart.yaml"), "version: 1.0.0\n").unwrap();
        let err = pack(dir.path()).unwrap_err();
        assert!(err.message().contains("Chart.yaml, line 1: `name` is missing"), "{err}");
        fs::write(dir.path().join("Chart.yaml"), "name: a\nversion: 1.0.0\n").unwrap();
        fs::write(dir.path().join(".helmignore"), "a/**\n").unwrap();
        let err = pack(dir.path()).unwrap_err();
        assert!(err.message().contains(".helmignore, line 1"), "{err}");
    }
}
