//! The folder that an artifact's files are pulled to.
//!
//! ```text
//! DIR/.conex-pull/             mode 0700: what is on its way
//! DIR/.conex-pull/ALG-HEX      a blob, as far as it has come
//! DIR/.conex-pull/tree-N/      a folder that was packed, unpacked
//! DIR/TITLE                    a file or folder, which comes here whole, by one rename
//! ```
//!
//! # Security
//! Titles are text from outside. They are clean paths ([`super::titles`]), and each is resolved by the
//! kernel beneath the folder (rules U1, U2): a link that leads out of it is refused, whoever made
//! it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat, flock,
    mkdirat, openat, openat2, renameat, renameat_with, statat,
};
use rustix::io::Errno;

use conex_spec::{Descriptor, Digest, Error, Kind, Result};
use conex_store::plain_file;
use conex_store::verify::Verifier;

use super::losses;

/// Where blobs are until they are whole.
const STAGE: &str = ".conex-pull";
/// What copies of blobs are called there.
pub(super) const COPY: &str = "copy-";
/// While someone renames in the tree, the kernel may ask for another try.
const MAX_TRIES: usize = 1000;

/// What has a title before anything comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing.
    Nothing,
    /// A file that holds the blob.
    Same,
    /// Something else, in words.
    Other(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Landing {
    dir: OwnedFd,
    path: PathBuf,
    stage: PathBuf,
    /// Whether nothing was there before, and whether the stage was not.
    made: bool,
    new: bool,
    durable: bool,
}

impl Landing {
    /// Opens the folder, which is made where there is none, and its stage, for this process alone.
    ///
    /// # Errors
    /// `Usage` for a file in its place; `Conflict` where another pull into this folder is going on.
    pub(super) fn open(path: &Path, durable: bool) -> Result<(Self, File)> {
        let made = !path.exists();
        let in_the_way = path.ancestors().find(|above| above.symlink_metadata().is_ok());
        if let Some(file) = in_the_way.filter(|above| !above.is_dir()) {
            return Err(Error::new(Kind::Usage, format!("{} is no folder", file.display()))
                .expected("a folder, or nothing yet")
                .found(match fs::metadata(file) {
                    Ok(meta) => plain_file::special(&meta).unwrap_or("a file"),
                    Err(_) => "a link to nothing",
                }));
        }
        fs::create_dir_all(path).map_err(|err| Error::io("cannot make", path, err))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Error::io("cannot open", path, errno.into()))?;
        let stage = path.join(STAGE);
        let new = match mkdirat(&dir, STAGE, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(Error::io("cannot make", &stage, errno.into())),
        };
        let held = openat(&dir, STAGE, flags | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|errno| Error::io("cannot open", &stage, errno.into()))?;
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            let message = format!("another pull into {} is going on", path.display());
            return Err(Error::new(Kind::Conflict, message)
                .hint("wait for it, or pull into another folder"));
        }
        let landing = Self { dir, path: path.to_owned(), stage, made, new, durable };
        landing.tidy();
        Ok((landing, held.into()))
    }

    /// Removes what a pull that was killed was about to give a title to; blobs are gone on with.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.stage).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|sort| sort.is_dir());
            if is_folder {
                let _ = fs::remove_dir_all(entry.path());
            } else if entry.file_name().as_encoded_bytes().starts_with(COPY.as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Where a blob comes to be, or has come to an earlier time.
    pub(super) fn staged(&self, digest: &Digest) -> PathBuf {
        self.stage.join(format!("{}-{}", digest.algorithm_name(), digest.encoded()))
    }

    /// Whether nothing is left of an earlier pull.
    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    /// Writes a blob that is at hand.
    pub(super) fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let written = self.blob(digest)?.write_all(bytes);
        written.map_err(|err| Error::making("cannot write", &self.staged(digest), err))
    }

    /// Another place in the stage.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.stage.join(name)
    }

    /// The file of a blob, to be read and written.
    pub(super) fn blob(&self, digest: &Digest) -> Result<File> {
        let path = self.staged(digest);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(flags)
            .open(&path);
        file.map_err(|err| Error::io("cannot write", &path, err))
    }

    /// What has a title now, and whether it is a file that holds this blob. Fails where the way to it
    /// leads out of the folder or through a file.
    pub(super) fn look(&self, title: &str, blob: Option<&Descriptor>) -> Result<Seen> {
        let Some((parent, name, stat)) = self.there(title)? else { return Ok(Seen::Nothing) };
        let size = stat.st_size.unsigned_abs();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let blob = blob.filter(|blob| blob.size == size);
                if blob.is_some_and(|blob| holds(&parent, name, blob)) {
                    return Ok(Seen::Same);
                }
                Ok(Seen::Other(format!("another file of {size} bytes")))
            }
            sort => Ok(Seen::Other(noun(sort).to_owned())),
        }
    }

    /// Fails where something would be lost if what has a title was replaced: what a folder holds and the
    /// one in the stage that is to take its place does not, and what is neither file, link nor folder.
    pub(super) fn may_replace(&self, title: &str, staged: Option<&Path>) -> Result<()> {
        let Some((parent, name, stat)) = self.there(title)? else { return Ok(()) };
        let (lost, sort) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink => return Ok(()),
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = openat(&parent, name, flags, Mode::empty())
                    .map_err(|errno| self.cannot("look into", title, errno))?;
                let lost = losses::first(&folder, staged)
                    .map_err(|err| Error::io("cannot look into", &self.path.join(title), err))?;
                let Some((path, sort)) = lost else { return Ok(()) };
                (Path::new(title).join(path), sort)
            }
            sort => (title.into(), sort),
        };
        Err(Error::new(
            Kind::Conflict,
            format!("{} would be deleted", self.path.join(lost).display()),
        )
        .expected("nothing here that the artifact does not have")
        .found(noun(sort))
        .hint("move it away, or pull into another folder"))
    }

    /// Gives something of the stage its title; with `overwrite` in place of whatever has it.
    pub(super) fn place(&self, staged: &Path, title: &str, overwrite: bool) -> Result<()> {
        let Some((parent, name)) = self.parent(title, true)? else {
            return Err(self.cannot("make a folder for", title, Errno::NOENT));
        };
        let renamed = match renameat_with(CWD, staged, &parent, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if overwrite => self.replace(staged, &parent, name),
            // A file system that cannot tell: the check was made before.
            Err(Errno::INVAL | Errno::NOSYS) => renameat(CWD, staged, &parent, name),
            renamed => renamed,
        };
        match renamed {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(self.taken(title, "something".to_owned())),
            Err(errno) => Err(self.cannot("write", title, errno)),
        }
    }

    /// What was there goes to the stage, and away with it.
    fn replace(&self, staged: &Path, parent: &OwnedFd, name: &str) -> Result<(), Errno> {
        match renameat_with(CWD, staged, parent, name, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => renameat(CWD, staged, parent, name),
            exchanged => exchanged,
        }
    }

    /// Makes all that was written durable, and all titles that were given: once for any number of
    /// them.
    pub(super) fn sync(&self) -> Result<()> {
        if !self.durable {
            return Ok(());
        }
        rustix::fs::syncfs(&self.dir)
            .map_err(|errno| Error::io("cannot sync", &self.path, errno.into()))
    }

    /// Removes the stage; after a failure all of it but blobs that are worth to be gone on with, of at
    /// least so many bytes.
    pub(super) fn clear(&self, keep: Option<u64>) {
        let Ok(entries) = fs::read_dir(&self.stage) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => drop(fs::remove_dir_all(&path)),
                Ok(meta) if keep.is_some_and(|least| meta.len() >= least) => {}
                _ => drop(fs::remove_file(&path)),
            }
        }
        // Not while something is kept in it, and the folder itself not where it holds anything.
        let _ = fs::remove_dir(&self.stage);
        if self.made && keep.is_some() {
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// What has a title now, below its folder and under its name there; nothing where nothing has it.
    fn there<'a>(&self, title: &'a str) -> Result<Option<(OwnedFd, &'a str, Stat)>> {
        let Some((parent, name)) = self.parent(title, false)? else { return Ok(None) };
        match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.cannot("look at", title, errno)),
            Ok(stat) => Ok(Some((parent, name, stat))),
        }
    }

    /// The folder of a title, held open, and the last part; nothing where it is not there and not to
    /// be made.
    fn parent<'a>(&self, title: &'a str, make: bool) -> Result<Option<(OwnedFd, &'a str)>> {
        let (folder, name) = title.rsplit_once('/').unwrap_or((".", title));
        match beneath(self.dir.as_fd(), folder) {
            Ok(parent) => return Ok(Some((parent, name))),
            Err(Errno::NOENT) if make => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.refused(title, errno)),
        }
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        for end in ends {
            let (above, name) = folder[..end].rsplit_once('/').unwrap_or((".", &folder[..end]));
            let above =
                beneath(self.dir.as_fd(), above).map_err(|errno| self.refused(title, errno))?;
            match mkdirat(&above, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.cannot("make a folder for", title, errno)),
            }
        }
        let parent = beneath(self.dir.as_fd(), folder).map_err(|errno| self.refused(title, errno));
        parent.map(|parent| Some((parent, name)))
    }

    fn refused(&self, title: &str, errno: Errno) -> Error {
        match errno {
            Errno::XDEV | Errno::LOOP | Errno::NOTDIR => Error::new(
                Kind::Conflict,
                format!("cannot write {title:?} below {}", self.path.display()),
            )
            .expected("folders on the way to it")
            .found(if errno == Errno::NOTDIR { "a file" } else { "a link that leads out" }),
            errno => self.cannot("open the folder of", title, errno),
        }
    }

    fn cannot(&self, action: &str, title: &str, errno: Errno) -> Error {
        let err = std::io::Error::from(errno);
        Error::from_io(err, || format!("cannot {action} {title:?} in {}", self.path.display()))
    }

    /// The error for what is in the way.
    pub(super) fn taken(&self, title: &str, found: String) -> Error {
        let message = format!("{} is there already", self.path.join(title).display());
        Error::new(Kind::Conflict, message)
            .expected("nothing, or the same file")
            .found(found)
            .hint("`--overwrite` replaces files and links, or pull into another folder")
    }
}

fn noun(sort: FileType) -> &'static str {
    match sort {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        _ => "something special",
    }
}

/// Whether a file of the same length as a blob holds the same.
fn holds(parent: &OwnedFd, name: &str, blob: &Descriptor) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty()).map(File::from);
    let (Ok(mut file), Ok(mut verifier)) = (file, Verifier::new(blob)) else { return false };
    let mut buffer = vec![0; blob.size.clamp(1, 256 << 10) as usize];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return verifier.finish().is_ok(),
            Ok(count) if verifier.update(&buffer[..count]).is_ok() => {}
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
}

/// Opens a folder; no link on the way may lead out.
fn beneath(dir: std::os::fd::BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..MAX_TRIES {
        result = openat2(dir, path, flags, Mode::empty(), inside);
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;
    use std::os::unix::fs::symlink;

    fn landing(dir: &Path) -> (Landing, File) {
        Landing::open(dir, false).unwrap()
    }

    fn stage(landing: &Landing, text: &str) -> PathBuf {
        let path = landing.beside("x");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink("nowhere", at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, found) in [("file", "a file"), ("link", "a link"), ("socket", "a socket")] {
            let err = Landing::open(&at(name).join("below"), false).unwrap_err().to_string();
            assert!(err.contains(&format!("found {found}")), "{err}");
        }
    }

    #[test]
    fn files_get_their_titles_and_folders() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        let (landing, _lock) = landing(&dir);
        for title in ["one", "c/d/two", "c/three"] {
            assert_eq!(landing.look(title, None).unwrap(), Seen::Nothing);
            landing.place(&stage(&landing, title), title, false).unwrap();
            assert_eq!(fs::read_to_string(dir.join(title)).unwrap(), title);
        }
        let blob = Descriptor::of(MediaType::OCTETS, b"c/three");
        assert_eq!(landing.look("c/three", Some(&blob)).unwrap(), Seen::Same);
        for (title, blob) in [("c/three", None), ("c/d/two", Some(&blob)), ("c", Some(&blob))] {
            assert!(matches!(landing.look(title, blob).unwrap(), Seen::Other(_)), "{title}");
        }
        let staged = stage(&landing, "new");
        assert_eq!(landing.place(&staged, "c", false).unwrap_err().kind(), Kind::Conflict);
        landing.place(&staged, "c", true).unwrap();
        assert_eq!(fs::read_to_string(dir.join("c")).unwrap(), "new");
        landing.clear(None);
        assert!(!dir.join(STAGE).exists() && dir.join("one").exists());
    }

    #[test]
    fn no_link_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        let (out, dir) = (temp.path().join("out"), temp.path().join("dir"));
        fs::create_dir(&out).unwrap();
        let (landing, _lock) = landing(&dir);
        fs::create_dir(dir.join("real")).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        symlink(&out, dir.join("abs")).unwrap();
        symlink("../out", dir.join("rel")).unwrap();
        symlink("real", dir.join("inside")).unwrap();
        for title in ["abs/f", "rel/f", "abs/new/f", "real/../../out/f", "file/f"] {
            assert_eq!(landing.look(title, None).unwrap_err().kind(), Kind::Conflict, "{title}");
            assert!(landing.place(&stage(&landing, "x"), title, true).is_err(), "{title}");
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        landing.place(&stage(&landing, "x"), "inside/f", false).unwrap();
        assert!(dir.join("real/f").exists());
    }

    #[test]
    fn two_pulls_do_not_share_a_stage_and_what_broke_off_stays() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dir");
        let (first, lock) = landing(&dir);
        assert_eq!(Landing::open(&dir, false).unwrap_err().kind(), Kind::Conflict);
        let digest = Digest::sha256(b"x");
        first.blob(&digest).unwrap().set_len(100).unwrap();
        fs::write(first.beside("small"), "x").unwrap();
        fs::write(first.beside("copy-1"), [0; 100]).unwrap();
        fs::create_dir_all(first.beside("tree-2/x")).unwrap();
        first.tidy();
        assert!(first.beside("small").exists());
        assert!(!first.beside("copy-1").exists() && !first.beside("tree-2").exists());
        first.clear(Some(100));
        assert!(first.staged(&digest).exists() && !first.beside("small").exists());
        drop(lock);
        let (second, _lock) = landing(&dir);
        assert_eq!(second.blob(&digest).unwrap().metadata().unwrap().len(), 100);
        second.clear(Some(101));
        assert!(!dir.join(STAGE).exists() && dir.exists());
    }
}
