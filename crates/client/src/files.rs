//! Small files that a person named or that lie in usual places, whoever wrote them.

use std::path::Path;

use conex_spec::{Error, Kind, Result};
use conex_store::plain_file;

/// The bytes of a file; nothing where there is none.
///
/// # Errors
/// `Limit` where there are more than `limit`; no more are read, however long the file says it is.
pub(crate) fn bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match plain_file::open_once(path) {
        Ok(file) => file,
        Err(err) if err.kind() == Kind::NotFound => return Ok(None),
        // Whoever runs the command did not name it on the command line.
        Err(err) => {
            let kind = if err.kind() == Kind::Usage { Kind::Io } else { err.kind() };
            return Err(err.with_kind(kind));
        }
    };
    let bytes = plain_file::read_up_to(file, limit);
    match bytes.map_err(|err| Error::io("cannot read", path, err))? {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(Error::new(Kind::Limit, format!("{} is too long", path.display()))
            .expected(format!("at most {limit} bytes"))),
    }
}

/// The fault of a folder in the place of a file.
pub(crate) fn is_folder(path: &Path) -> Error {
    Error::new(Kind::Io, format!("cannot read {}", path.display()))
        .expected("a file")
        .found("a folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("small");
        assert!(bounded(&path, 3).unwrap().is_none());
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(bounded(&path, 3).unwrap().unwrap(), b"abc");
        let err = bounded(&path, 2).unwrap_err();
        assert_eq!((err.kind(), err.expected_value()), (Kind::Limit, Some("at most 2 bytes")));
        assert_eq!(bounded(Path::new("/dev/null"), 0).unwrap().unwrap(), b"");
        let device = bounded(Path::new("/dev/zero"), 9).unwrap_err();
        assert_eq!((device.kind(), device.found_value()), (Kind::Io, Some("a device")));
        assert_eq!(bounded(dir.path(), 9).unwrap_err().kind(), Kind::Io, "a folder");
    }
}
