//! Small files that a person names, read whole: a config, a chart, a bundle, annotations, a document.

use std::fs;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use conex_spec::{Error, Kind, Result};
use conex_store::plain_file;

/// How many names of a folder are looked at to find one that may be meant.
const MAX_NAMES: usize = 1000;

/// Reads a file of at most `limit` bytes; `what` says what it is to be, as in "a config". No more than
/// that is taken into memory, whatever the file is or becomes.
///
/// # Errors
/// `NotFound` with a hint for a file that is not there, `Usage` for a folder and what is special, `Limit`
/// for a longer one.
pub fn read(path: &Path, limit: u64, what: &str) -> Result<Bytes> {
    let file = plain_file::open_once(path).map_err(|err| advised(err, path))?;
    read_from(file, path, limit, what)
}

/// The same of what is open already, as standard input.
///
/// # Errors
/// `Limit` for more than that, and what the operating system says.
pub fn read_from(from: impl Read, path: &Path, limit: u64, what: &str) -> Result<Bytes> {
    let read = plain_file::read_up_to(from, limit);
    if let Some(bytes) = read.map_err(|err| Error::io("cannot read", path, err))? {
        return Ok(bytes.into());
    }
    let length = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|meta| meta.len());
    Err(Error::new(Kind::Limit, format!("{} is too large", path.display()))
        .expected(format!("{what} of at most {limit} bytes"))
        .found(length.map_or("more".to_owned(), |length| format!("{length} bytes"))))
}

/// As [`Error::io`], with a hint where a person's file is not there.
pub fn cannot(action: &str, path: &Path, err: std::io::Error) -> Error {
    advised(Error::io(action, path, err), path)
}

fn advised(err: Error, path: &Path) -> Error {
    match err.kind() {
        Kind::NotFound => match advice(path) {
            Some(advice) => err.hint(advice),
            None => err,
        },
        _ => err,
    }
}

/// What may be wrong with a path that leads to nothing.
fn advice(path: &Path) -> Option<String> {
    if let Ok(target) = fs::read_link(path) {
        return Some(format!("it is a link to {}, which is not there", target.display()));
    }
    if let Some((file, kind)) = path.to_str().and_then(|text| text.rsplit_once(':'))
        && Path::new(file).is_file()
    {
        return Some(format!(
            "there is {file}, and {kind:?} after the colon is no media type, as text/plain is one"
        ));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Some(format!("there is no folder {}", folder.display()));
    }
    let (name, stem) = (path.file_name()?.to_str()?, path.file_stem()?.to_str()?);
    let similar = |other: &str| {
        let stem_of_other = Path::new(other).file_stem().and_then(|stem| stem.to_str());
        other.eq_ignore_ascii_case(name)
            || stem_of_other.is_some_and(|other| other.eq_ignore_ascii_case(stem))
    };
    let names = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_NAMES);
    let mut names: Vec<_> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|it| similar(it))
        .collect();
    names.sort();
    match names.first() {
        Some(name) => Some(format!("there is {}", path.with_file_name(name).display())),
        None if path.is_relative() => Some("it is looked for where conex runs".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_read_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5, "a config").unwrap(), "12345");
        let err = read(&path, 4, "a config").unwrap_err();
        assert_eq!(err.kind(), Kind::Limit);
        assert_eq!(err.expected_value(), Some("a config of at most 4 bytes"));
        assert_eq!(err.found_value(), Some("5 bytes"));
        let err = read(dir.path(), 4, "a config").unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::Usage, Some("a folder")));
        let err = read_from(std::io::repeat(0), Path::new("-"), 9, "a document").unwrap_err();
        assert_eq!((err.kind(), err.found_value()), (Kind::Limit, Some("more")));
        assert_eq!(read_from(&b""[..], &path, 0, "nothing").unwrap(), "");
    }

    #[test]
    fn a_missing_file_comes_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Chart.yaml"), "").unwrap();
        for (name, advice) in [
            ("chart.yaml", Some(format!("there is {}/Chart.yaml", dir.path().display()))),
            ("Chart.yml", Some(format!("there is {}/Chart.yaml", dir.path().display()))),
            (
                "Chart.yaml:yaml",
                Some(format!(
                    "there is {}/Chart.yaml, and \"yaml\" after the colon is no media type, as \
                     text/plain is one",
                    dir.path().display()
                )),
            ),
            ("no/x", Some(format!("there is no folder {}/no", dir.path().display()))),
            ("other", None),
        ] {
            let err = read(&dir.path().join(name), 1, "a chart").unwrap_err();
            assert_eq!(err.kind(), Kind::NotFound);
            assert_eq!(err.hint_text(), advice.as_deref(), "{name}");
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        let err = read(&dir.path().join("link"), 1, "a chart").unwrap_err();
        assert_eq!(err.hint_text(), Some("it is a link to nowhere, which is not there"));
        let err = read(Path::new("no such file"), 1, "a chart").unwrap_err();
        assert_eq!(err.hint_text(), Some("it is looked for where conex runs"));
    }
}
