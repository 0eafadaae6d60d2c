//! A disk that writes down what reaches it: one file of a FUSE file system, under a loop device.
//!
//! The loop device turns a flush of the block layer into an `fsync` of its file, and so the log
//! tells which writes a cut after a certain moment can no longer take away.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};

/// The name of the disk in its folder.
const NAME: &str = "disk";
const DISK: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(3600);
/// What a disk writes whole or not at all, in bytes.
pub const PAGE: usize = 4096;

/// What happened, in order.
#[derive(Debug)]
pub enum Event {
    /// A write, of a page at most.
    Write(u64, Box<[u8]>),
    /// Every write before is on the disk.
    Flush,
    /// A step of the history began.
    Started(usize),
    /// A step of the history was acknowledged.
    Acknowledged(usize),
}

/// A disk in use; unmounted when dropped.
pub struct Disk {
    folder: PathBuf,
    log: Arc<Mutex<Vec<Event>>>,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// A disk with the content of `image`, which it changes, in a folder of its own.
    pub fn new(image: &Path, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let log = Arc::default();
        let file = File::options().read(true).write(true).open(image).unwrap();
        let size = file.metadata().unwrap().len();
        let logged = Logged { file, size, log: Arc::clone(&log) };
        let session = fuser::spawn_mount(logged, folder, &Config::default()).unwrap();
        Self { folder: folder.to_owned(), log, session: Some(session) }
    }

    /// The file to put a loop device on.
    pub fn file(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Notes what the disk itself cannot know.
    pub fn note(&self, event: Event) {
        self.log.lock().unwrap().push(event);
    }

    /// A loop device lets go of its file only some time after it is unmounted.
    fn wait_for_loop_device(&self) {
        let file = self.file();
        let held = || {
            let devices = fs::read_dir("/sys/block").unwrap().flatten();
            let backing = |device: fs::DirEntry| {
                fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default()
            };
            devices.map(backing).any(|backing| Path::new(backing.trim_end()) == file)
        };
        for _ in 0..500 {
            if !held() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("a loop device holds {}", file.display());
    }

    /// Everything that happened. The file system on the disk is unmounted already, or what it
    /// still does counts as well.
    pub fn end(mut self) -> Vec<Event> {
        self.wait_for_loop_device();
        let session = self.session.take().unwrap();
        session.umount_and_join().unwrap();
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

struct Logged {
    file: File,
    size: u64,
    log: Arc<Mutex<Vec<Event>>>,
}

impl Logged {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let folder = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: if folder { 0 } else { self.size },
            blocks: self.size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if folder { FileType::Directory } else { FileType::RegularFile },
            perm: if folder { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: PAGE as u32,
        }
    }
}

impl Filesystem for Logged {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &self.attributes(DISK), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No cache of the kernel may hold a write back.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        match self.file.read_at(&mut buffer, offset) {
            Ok(count) => reply.data(&buffer[..count]),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut log = self.log.lock().unwrap();
        let mut at = offset;
        for page in data.chunks(PAGE) {
            log.push(Event::Write(at, page.into()));
            at += page.len() as u64;
        }
        match self.file.write_all_at(data, offset) {
            Ok(()) => reply.written(data.len() as u32),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.log.lock().unwrap().push(Event::Flush);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
