//! Where an archive is written to: a file that appears whole or not at all, or a stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;
use uuid::Uuid;

use conex_spec::{Error, Kind, Result};

use crate::commit::{Folder, Identity, Lock};

/// The destination of an archive.
///
/// A file is written without a name and gets it in [`Output::finish`], in place of whatever had
/// it, once it is on the disk: see [`crate::commit`]. Dropped before, it is gone.
#[derive(Debug)]
pub struct Output {
    target: Target,
    written: u64,
    /// Whether it is on the disk when it is finished.
    durable: bool,
}

enum Target {
    Beside(Box<Beside>),
    /// A pipe, a device or standard output.
    Open(File),
    Stream(Box<dyn Write + Send>),
}

/// A file in the folder of its destination.
#[derive(Debug)]
struct Beside {
    folder: Folder,
    file: File,
    /// The name of the destination in its folder.
    name: String,
    /// The hidden name that it has until it is whole.
    hidden: String,
    /// Whether it has the hidden name already: not every file system has nameless files.
    is_named: bool,
    published: bool,
    replaces: Replaces,
}

/// What of the destination's name the new file may take the place of.
#[derive(Debug)]
enum Replaces {
    Anything,
    /// Nothing had the name, and nothing may have it.
    Nothing,
    /// Only this one, which is held until then; without a lock where others need none either.
    Held(Identity, #[expect(dead_code, reason = "it is held, not used")] Lock),
}

/// What [`Output::hold`] came to.
#[derive(Debug)]
pub enum Hold {
    /// The file that is to be replaced; nothing where there is none.
    Ours(Option<File>),
    /// Someone else holds this one.
    Others(Identity),
}

impl Output {
    /// A file of this path, which is replaced when the new one is whole. A pipe or a device is
    /// written to as it is. Without `durable` it may be lost with the machine: nothing is synced.
    pub fn create(path: &Path, durable: bool) -> Result<Self> {
        let target = match fs::metadata(path) {
            Ok(meta) if meta.is_file() => {
                // A symbolic link stays one; what it points to is replaced.
                let real = fs::canonicalize(path);
                let real = real.map_err(|err| Error::io("cannot open", path, err))?;
                Beside::create(&real, durable)?
            }
            Ok(meta) if meta.is_dir() => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("cannot write an archive to {}", path.display()),
                )
                .expected("a file")
                .found("a folder")
                .hint("an OCI layout in a folder is written oci:DIR[:TAG]"));
            }
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(path);
                Target::Open(file.map_err(|err| Error::io("cannot open", path, err))?)
            }
            Err(_) => Beside::create(path, durable)?,
        };
        Ok(Self { target, written: 0, durable })
    }

    /// An open file, as standard output is one. What is written cannot be taken back.
    pub fn open_file(file: File, durable: bool) -> Self {
        Self { target: Target::Open(file), written: 0, durable }
    }

    /// Any other stream.
    pub fn stream(stream: Box<dyn Write + Send>) -> Self {
        Self { target: Target::Stream(stream), written: 0, durable: false }
    }

    /// How many bytes were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes back what was written after the first `length` bytes. Returns whether it could.
    pub fn rewind(&mut self, length: u64) -> bool {
        let Target::Beside(beside) = &mut self.target else { return length == self.written };
        let cut =
            beside.file.set_len(length).and_then(|()| beside.file.seek(SeekFrom::Start(length)));
        self.written = length;
        cut.is_ok()
    }

    /// The file that has the name now, for who would like to know; nothing where it cannot be read.
    pub fn old(&self) -> Option<File> {
        match &self.target {
            Target::Beside(beside) => beside.folder.file(&beside.name).ok().flatten(),
            Target::Open(_) | Target::Stream(_) => None,
        }
    }

    /// Keeps others who add something from the file that is to be replaced, until this one is finished, or
    /// tells that someone else does so. Only for who takes over what the old one holds: then
    /// [`Output::publish`] takes the place of no other.
    pub fn hold(&mut self) -> Result<Hold> {
        match &mut self.target {
            Target::Beside(beside) => beside.hold(),
            Target::Open(_) | Target::Stream(_) => Ok(Hold::Ours(None)),
        }
    }

    /// Makes the file durable under its name, in place of whatever has it. What is no regular file is
    /// flushed.
    pub fn finish(mut self) -> Result<()> {
        self.publish().map(drop)
    }

    /// The same for who has it in hold. False where the name is another's by now: then it is not published.
    pub fn publish(&mut self) -> Result<bool> {
        let cannot = |err| Error::from_io(err, || CANNOT_WRITE.into());
        match &mut self.target {
            Target::Beside(beside) => return beside.publish(),
            Target::Open(_) if !self.durable => {}
            Target::Open(file) => match file.sync_all() {
                // Only a file on a disk can be synced.
                Err(err) if Errno::from_io_error(&err) == Some(Errno::INVAL) => {}
                synced => synced.map_err(cannot)?,
            },
            Target::Stream(stream) => stream.flush().map_err(cannot)?,
        }
        Ok(true)
    }
}

const CANNOT_WRITE: &str = "cannot write the archive";

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.target {
            Target::Beside(beside) => beside.file.write(bytes),
            Target::Open(file) => file.write(bytes),
            Target::Stream(stream) => stream.write(bytes),
        };
        match written {
            Ok(count) => {
                self.written += count as u64;
                Ok(count)
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Err(err),
            Err(err) => Err(Error::from_io(err, || CANNOT_WRITE.into()).into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Beside {
    fn create(path: &Path, durable: bool) -> Result<Target> {
        let cannot_name = || {
            Error::new(Kind::Usage, format!("cannot write an archive to {}", path.display()))
                .expected("a path that ends in the name of a file")
        };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(cannot_name)?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let folder = Folder::open(dir)?;
        let folder = if durable { folder } else { folder.without_sync() };
        let hidden = format!(".{}.conex", Uuid::new_v4());
        let nameless = nameless_file(dir)?;
        let is_named = nameless.is_none();
        let file = match nameless {
            Some(file) => file,
            None => folder.create_file(&hidden)?,
        };
        let name = name.to_owned();
        Ok(Target::Beside(Box::new(Self {
            folder,
            file,
            name,
            hidden,
            is_named,
            published: false,
            replaces: Replaces::Anything,
        })))
    }

    fn hold(&mut self) -> Result<Hold> {
        self.replaces = Replaces::Anything;
        let found = match self.folder.try_lock_file(&self.name) {
            // A link to nothing holds nothing that could be lost.
            Err(err) if err.kind() == Kind::Invalid => return Ok(Hold::Ours(None)),
            found => found?,
        };
        let Some((file, lock)) = found else {
            self.replaces = Replaces::Nothing;
            return Ok(Hold::Ours(None));
        };
        let seen = Identity::of(&file).map_err(|err| self.fault(err))?;
        let Some(lock) = lock else { return Ok(Hold::Others(seen)) };
        self.replaces = Replaces::Held(seen, lock);
        Ok(Hold::Ours(Some(file)))
    }

    fn publish(&mut self) -> Result<bool> {
        if !self.is_named {
            // Content first: a name is not to be there before what it names.
            self.folder.flush(&self.file).map_err(|err| self.fault(err.into()))?;
            let open = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let hidden = self.folder.path().join(&self.hidden);
            linkat(CWD, open.as_str(), CWD, &hidden, AtFlags::SYMLINK_FOLLOW)
                .map_err(|err| self.fault(err.into()))?;
            self.is_named = true;
        }
        let (folder, name) = (&self.folder, self.name.as_str());
        self.published = match &self.replaces {
            Replaces::Nothing => folder.publish_new(&self.file, &self.hidden, name)?,
            // Who replaces a file whole, or is no conex, asks nobody.
            Replaces::Held(seen, _) if folder.identity(name)?.as_ref() != Some(seen) => false,
            Replaces::Held(..) | Replaces::Anything => {
                folder.publish(&self.file, &self.hidden, name).map(|()| true)?
            }
        };
        Ok(self.published)
    }

    fn fault(&self, err: io::Error) -> Error {
        Error::making("cannot publish", &self.folder.path().join(&self.name), err)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.is_named && !self.published {
            // What cannot be removed has a name that says whose it is.
            let _ = self.folder.remove(&self.hidden);
        }
    }
}

/// A file that is gone with this process unless it is given a name; nothing where the file system
/// has none of that kind.
fn nameless_file(dir: &Path) -> Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(dir, flags, Mode::from_raw_mode(0o644)) {
        Ok(fd) => Ok(Some(fd.into())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(err) => Err(Error::making("cannot make a file in", dir, err.into())),
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Beside(beside) => beside.fmt(f),
            Self::Open(file) => file.fmt(f),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mut output = Output::create(&path, true).unwrap();
        output.write_all(b"first and more").unwrap();
        assert!(output.rewind(5));
        assert_eq!(names(dir.path()), [""; 0]);
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let mut second = Output::create(&path, true).unwrap();
        second.write_all(b"second").unwrap();
        drop(second);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["a.tar"]);
    }

    #[test]
    fn without_nameless_files_a_hidden_one_serves() {
        let dir = tempfile::tempdir().unwrap();
        let make = || {
            let Target::Beside(mut beside) = Beside::create(&dir.path().join("a"), true).unwrap()
            else {
                panic!()
            };
            beside.file = beside.folder.create_file(&beside.hidden).unwrap();
            beside.is_named = true;
            beside
        };
        make().publish().unwrap();
        drop(make());
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn links_stay_and_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink("real", &link).unwrap();
        let mut output = Output::create(&link, true).unwrap();
        output.write_all(b"new").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(link.is_symlink());
        let dangling = dir.path().join("dangling");
        symlink("nothing", &dangling).unwrap();
        let mut output = Output::create(&dangling, true).unwrap();
        output.write_all(b"new").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&dangling).unwrap(), "new");
        assert_eq!(Output::create(dir.path(), true).unwrap_err().kind(), Kind::Usage);
        assert_eq!(
            Output::create(&dir.path().join("no/a"), true).unwrap_err().kind(),
            Kind::NotFound
        );
    }

    #[test]
    fn what_a_stream_took_cannot_be_taken_back() {
        let mut output = Output::stream(Box::new(Vec::new()));
        output.write_all(b"abc").unwrap();
        assert!(output.rewind(3));
        assert!(!output.rewind(2));
        let mut null = Output::create(Path::new("/dev/null"), true).unwrap();
        null.write_all(b"abc").unwrap();
        null.finish().unwrap();
        let mut full = Output::create(Path::new("/dev/full"), true).unwrap();
        let err = full.write_all(b"abc").unwrap_err();
        assert_eq!(Error::from_io(err, String::new).kind(), Kind::NoSpace);
    }
}
