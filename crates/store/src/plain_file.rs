//! Files that a person names: opened so that nothing waits, and read no further than they may be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_setfl, fstatfs, major, minor};

use conex_spec::{Error, Kind, Result};

/// The file system of pipes without a name, as `<(COMMAND)` of a shell is one.
const PIPE_FS: u32 = 0x5049_5045;
/// The number of `/dev/null`.
const NULL: (u32, u32) = (1, 3);

/// Opens a regular file. A pipe that nobody writes to is not waited for.
///
/// # Errors
/// `Usage` for a folder and everything special, with the word for it; what the system says.
pub fn open(path: &Path) -> Result<File> {
    let file = open_any(path)?;
    match sort(&file, path)? {
        None => Ok(file),
        Some(found) => Err(no_file(path, found)),
    }
}

/// Opens what is to be read once from its beginning to its end: a regular file, what a shell gives for
/// `<(COMMAND)`, or `/dev/null`.
///
/// # Errors
/// Those of [`open`].
pub fn open_once(path: &Path) -> Result<File> {
    let file = open_any(path)?;
    let Some(found) = sort(&file, path)? else { return Ok(file) };
    if !has_end(&file) {
        return Err(no_file(path, found));
    }
    fcntl_setfl(&file, OFlags::empty())
        .map_err(|err| Error::io("cannot read", path, err.into()))?;
    Ok(file)
}

/// All that there is to read, however long a file says it is; nothing where it is more than `limit` bytes.
///
/// # Errors
/// What the system says.
pub fn read_up_to(from: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// What people call something that is no regular file; nothing for one that is.
pub fn special(meta: &fs::Metadata) -> Option<&'static str> {
    let sort = meta.file_type();
    match () {
        () if sort.is_file() => None,
        () if sort.is_dir() => Some("a folder"),
        () if sort.is_fifo() => Some("a pipe"),
        () if sort.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

fn open_any(path: &Path) -> Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.map_err(|err| match fs::metadata(path).ok().as_ref().and_then(special) {
        // A socket cannot be opened, nor can a device that is not there.
        Some(found) => no_file(path, found),
        None => Error::io("cannot open", path, err),
    })
}

fn sort(file: &File, path: &Path) -> Result<Option<&'static str>> {
    let meta = file.metadata().map_err(|err| Error::io("cannot read", path, err))?;
    Ok(special(&meta))
}

/// Whether something special comes to an end without anyone's doing: its writer runs already, or it is
/// empty.
fn has_end(file: &File) -> bool {
    let is_pipe = fstatfs(file).is_ok_and(|stat| stat.f_type as u32 == PIPE_FS);
    let is_null = file.metadata().is_ok_and(|meta| {
        meta.file_type().is_char_device() && (major(meta.rdev()), minor(meta.rdev())) == NULL
    });
    is_pipe || is_null
}

fn no_file(path: &Path, found: &str) -> Error {
    Error::new(Kind::Usage, format!("{} is no file", path.display()))
        .expected("a file")
        .found(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nothing_special_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "content").unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        for open in [open, open_once] {
            let bytes = read_up_to(open(&at("file")).unwrap(), 7).unwrap();
            assert_eq!(bytes.as_deref(), Some(&b"content"[..]));
            for (path, found) in [
                (at("pipe"), "a pipe"),
                (at("socket"), "a socket"),
                (at(""), "a folder"),
                ("/dev/zero".into(), "a device"),
            ] {
                let err = open(&path).unwrap_err();
                assert_eq!((err.kind(), err.found_value()), (Kind::Usage, Some(found)));
            }
            assert_eq!(open(&at("missing")).unwrap_err().kind(), Kind::NotFound);
        }
    }

    #[test]
    fn what_a_shell_gives_for_a_command_is_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let opened = open_once(Path::new(&path)).unwrap();
        assert_eq!(open(Path::new(&path)).unwrap_err().found_value(), Some("a pipe"));
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            io::Write::write_all(&mut writer, b"late").unwrap();
        });
        assert_eq!(read_up_to(opened, 9).unwrap().unwrap(), b"late");
        late.join().unwrap();
        assert_eq!(
            read_up_to(open_once(Path::new("/dev/null")).unwrap(), 0).unwrap().unwrap(),
            b""
        );
    }

    #[test]
    fn no_more_is_read_than_may_be() {
        assert_eq!(read_up_to(&b"abc"[..], 3).unwrap().unwrap(), b"abc");
        assert!(read_up_to(&b"abc"[..], 2).unwrap().is_none());
        assert!(read_up_to(io::repeat(0), 9).unwrap().is_none());
    }
}
