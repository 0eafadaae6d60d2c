//! Small files that a person named or that lie in usual places, whoever wrote them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use conex_spec::{Error, Kind, Result};

/// The bytes of a file; nothing where there is none.
///
/// # Errors
/// `Limit` where there are more than `limit`; no more are read, however long the file says it is.
pub(crate) fn bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let fault = |err| Error::io("cannot read", path, err);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(fault(err)),
    };
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(is_folder(path));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(Kind::Limit, format!("{} is too long", path.display()))
            .expected(format!("at most {limit} bytes")));
    }
    Ok(Some(bytes))
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
        assert_eq!(bounded(Path::new("/dev/zero"), 9).unwrap_err().kind(), Kind::Limit);
        assert_eq!(bounded(dir.path(), 9).unwrap_err().kind(), Kind::Io, "a folder");
    }
}
