//! One entry of a tar as a plain value, the same for reading and for writing.

/// A file, directory, link or device of a layer, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as it stands in the tar: bytes, uncleaned; see [`crate::Name`].
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, set-id and sticky bits: twelve bits, no file type.
    pub mode: u32,
    /// The owner. User and group names are ignored, as image-spec, layer.md,
    /// "File Attributes" asks.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was last modified.
    pub mtime: Time,
    /// Extended attributes in the order of the tar, names unique.
    pub xattrs: Vec<Xattr>,
    /// The length of the content in bytes, holes included; 0 for anything but a file.
    pub size: u64,
    /// Where the entry's first header begins in the tar, in bytes. Ignored when writing.
    pub offset: u64,
    /// Where its body begins in the tar, in bytes. Ignored when writing.
    pub body_offset: u64,
    /// Whether the content is stored with holes. Ignored when writing.
    pub sparse: bool,
}

impl Entry {
    /// An entry owned by root, of mode 0644 (directories 0755, links 0777), from 1970.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Self {
        let mode = match kind {
            Kind::Dir => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
            size: 0,
            offset: 0,
            body_offset: 0,
            sparse: false,
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link with its target, any bytes but NUL.
    Symlink(Vec<u8>),
    /// Another name of an earlier entry, or of a file of a lower layer, which is given.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// What people call it.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "directory",
            Self::Symlink(_) => "symbolic link",
            Self::HardLink(_) => "hard link",
            Self::CharDevice { .. } => "character device",
            Self::BlockDevice { .. } => "block device",
            Self::Fifo => "named pipe",
        }
    }
}

/// A moment: seconds since 1970 in UTC, negative before, and the nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xattr {
    /// With its namespace: `security.capability`.
    pub name: Vec<u8>,
    /// Any bytes; an empty value is a value.
    pub value: Vec<u8>,
}
