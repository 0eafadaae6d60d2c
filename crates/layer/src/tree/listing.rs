//! The entries of one layer, or the files of one folder, in their order and in little memory: some
//! 120 bytes and the name for each.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use conex_spec::{Algorithm, Error, Hasher, Kind as Fault, Result};
use conex_tar::{Code, Entry, Kind, Piece, Reader, Time, Warnings, Xattr, show};

use crate::name::Name;

/// The most entries of a listing. Unlike unpacked files they all lie in memory.
pub(super) const MAX_ENTRIES: usize = 8_000_000;
/// The most bytes of its names and link targets together.
pub(super) const MAX_NAMES: usize = 1 << 30;
/// The most bytes of its distinct sets of attributes together.
const MAX_XATTRS: usize = 256 << 20;
/// The most bytes of holes in sparse files of one layer that are hashed as zeros.
const MAX_HOLES: u64 = 64 << 30;
/// No attributes, no content hash.
const NONE: u32 = u32::MAX;

/// The SHA-256 of a file's content, holes included as zeros.
pub type ContentHash = [u8; 32];

/// Entries in the order of their layer; names are cleaned, nothing else is.
#[derive(Debug, Default)]
pub struct Listing {
    records: Vec<Record>,
    /// Names, each with the target of its link behind it.
    names: Vec<u8>,
    /// Each set once: most files that have attributes have the same ones.
    xattrs: Vec<Vec<Xattr>>,
    xattr_ids: HashMap<Vec<Xattr>, u32>,
    xattr_bytes: usize,
    hashes: Vec<ContentHash>,
    warnings: Warnings,
    /// Whether names that begin with `.wh.` are names like any other: those of a folder are.
    literal: bool,
}

/// An entry without its name.
#[derive(Debug)]
struct Record {
    name: u32,
    name_length: u32,
    target_length: u32,
    xattrs: u32,
    hash: u32,
    uid: u32,
    gid: u32,
    nanos: u32,
    secs: i64,
    /// Of a file, in bytes; of a device, its numbers.
    size: u64,
    offset: u64,
    mode: u16,
    kind: Tag,
    sparse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    File,
    Dir,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
    Fifo,
}

impl Listing {
    /// Reads the uncompressed tar of a layer to its end. With `hashes` the content of files is hashed
    /// on the way, else it is skipped.
    ///
    /// # Errors
    /// What the tar reader refuses, a name that leaves the root (rule U1), and `Limit` beyond eight
    /// million entries or 1 GiB of names.
    pub fn read(stream: impl BufRead, hashes: bool) -> Result<Self> {
        Self::read_within(stream, hashes, &mut |_| Ok(()))
    }

    /// The same, of which `admit` may refuse any entry.
    pub(crate) fn read_within(
        stream: impl BufRead,
        hashes: bool,
        admit: &mut dyn FnMut(&Entry) -> Result<()>,
    ) -> Result<Self> {
        let mut reader = Reader::from_buffered(stream);
        let mut listing = Self::default();
        let mut holes = MAX_HOLES;
        while let Some(entry) = reader.next_entry()? {
            admit(&entry)?;
            crate::xattr::check(&entry)?;
            let name = Name::parse(&entry.path)?;
            let hash = match entry.kind {
                Kind::File if hashes => Some(hash(&mut reader, &mut holes)?),
                _ => None,
            };
            listing.push(&entry, name.as_bytes(), hash)?;
        }
        listing.warnings = reader.take_warnings();
        listing.xattr_ids = HashMap::new();
        Ok(listing)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What was odd in the tar.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// The entry at this place, with its cleaned name; nothing beyond the last.
    pub fn entry(&self, at: usize) -> Option<Entry> {
        let record = self.records.get(at)?;
        let mut entry = Entry::new(self.name(at), self.kind(record));
        entry.mode = u32::from(record.mode);
        (entry.uid, entry.gid) = (record.uid, record.gid);
        entry.mtime = Time { secs: record.secs, nanos: record.nanos };
        entry.xattrs = self.xattrs.get(record.xattrs as usize).cloned().unwrap_or_default();
        entry.size = if record.kind == Tag::File { record.size } else { 0 };
        entry.offset = record.offset;
        entry.sparse = record.sparse;
        Some(entry)
    }

    /// The hash of a file's content, where it was asked for.
    pub fn hash(&self, at: usize) -> Option<&ContentHash> {
        self.hashes.get(self.records.get(at)?.hash as usize)
    }

    /// The cleaned name of an entry; empty for the root.
    pub fn name(&self, at: usize) -> &[u8] {
        let record = self.records.get(at);
        let range = record.map(|record| {
            let start = record.name as usize;
            start..start + record.name_length as usize
        });
        range.and_then(|range| self.names.get(range)).unwrap_or_default()
    }

    pub(crate) fn is_literal(&self) -> bool {
        self.literal
    }

    pub(super) fn warn(&mut self, code: Code, path: &[u8], detail: &str) {
        self.warnings.add(code, path, detail);
    }

    /// An empty one for the files of a folder.
    pub(super) fn literal() -> Self {
        Self { literal: true, ..Self::default() }
    }

    /// Where a symbolic or hard link leads; nothing for anything else.
    pub(super) fn target(&self, at: usize) -> Option<&[u8]> {
        let record = self.records.get(at)?;
        matches!(record.kind, Tag::Symlink | Tag::HardLink).then(|| self.target_of(record))
    }

    pub(super) fn is_dir(&self, at: usize) -> bool {
        self.has_kind(at, Tag::Dir)
    }

    pub(super) fn is_file(&self, at: usize) -> bool {
        self.has_kind(at, Tag::File)
    }

    pub(super) fn is_symlink(&self, at: usize) -> bool {
        self.has_kind(at, Tag::Symlink)
    }

    pub(super) fn is_hard_link(&self, at: usize) -> bool {
        self.has_kind(at, Tag::HardLink)
    }

    /// As a whiteout has to be.
    pub(super) fn is_empty_file(&self, at: usize) -> bool {
        self.records.get(at).is_some_and(|record| record.kind == Tag::File && record.size == 0)
    }

    /// Whether overlayfs would take it for a deleted file: a device 0:0.
    pub(super) fn is_overlay_whiteout(&self, at: usize) -> bool {
        self.records
            .get(at)
            .is_some_and(|record| record.kind == Tag::CharDevice && record.size == 0)
    }

    pub(super) fn xattrs(&self, at: usize) -> &[Xattr] {
        let set = self.records.get(at).and_then(|record| self.xattrs.get(record.xattrs as usize));
        set.map(Vec::as_slice).unwrap_or_default()
    }

    fn has_kind(&self, at: usize, kind: Tag) -> bool {
        self.records.get(at).is_some_and(|record| record.kind == kind)
    }

    /// Adds an entry under a cleaned name.
    pub(super) fn push(
        &mut self,
        entry: &Entry,
        name: &[u8],
        hash: Option<ContentHash>,
    ) -> Result<()> {
        let (kind, target, size) = flat(entry);
        let full = self.names.len() + name.len() + target.len() > MAX_NAMES;
        let crowded = self.records.len() >= MAX_ENTRIES || self.xattr_bytes > MAX_XATTRS;
        if full || crowded {
            return Err(Error::new(Fault::Limit, "layer has too many entries to be listed")
                .expected(format!("at most {MAX_ENTRIES}, and 1 GiB of names"))
                .found(format!("one more, {}", show(name))));
        }
        let record = Record {
            name: self.names.len() as u32,
            name_length: name.len() as u32,
            target_length: target.len() as u32,
            xattrs: self.xattr_id(&entry.xattrs),
            hash: hash.map_or(NONE, |_| self.hashes.len() as u32),
            uid: entry.uid,
            gid: entry.gid,
            nanos: entry.mtime.nanos,
            secs: entry.mtime.secs,
            size,
            offset: entry.offset,
            mode: entry.mode as u16 & 0o7777,
            kind,
            sparse: entry.sparse,
        };
        self.names.extend_from_slice(name);
        self.names.extend_from_slice(target);
        self.hashes.extend(hash);
        self.records.push(record);
        Ok(())
    }

    fn xattr_id(&mut self, xattrs: &[Xattr]) -> u32 {
        if xattrs.is_empty() {
            return NONE;
        }
        let mut sorted = xattrs.to_vec();
        sorted.sort();
        let (all, fresh) = (&mut self.xattrs, self.xattr_ids.len() as u32);
        let bytes = &mut self.xattr_bytes;
        *self.xattr_ids.entry(sorted).or_insert_with_key(|sorted| {
            *bytes += sorted.iter().map(|x| x.name.len() + x.value.len()).sum::<usize>();
            all.push(sorted.clone());
            fresh
        })
    }

    fn target_of(&self, record: &Record) -> &[u8] {
        let start = (record.name + record.name_length) as usize;
        self.names.get(start..start + record.target_length as usize).unwrap_or_default()
    }

    fn kind(&self, record: &Record) -> Kind {
        let (major, minor) = ((record.size >> 32) as u32, record.size as u32);
        match record.kind {
            Tag::File => Kind::File,
            Tag::Dir => Kind::Dir,
            Tag::Symlink => Kind::Symlink(self.target_of(record).to_vec()),
            Tag::HardLink => Kind::HardLink(self.target_of(record).to_vec()),
            Tag::CharDevice => Kind::CharDevice { major, minor },
            Tag::BlockDevice => Kind::BlockDevice { major, minor },
            Tag::Fifo => Kind::Fifo,
        }
    }
}

/// The kind, the target of a link, and the size or the numbers of a device.
fn flat(entry: &Entry) -> (Tag, &[u8], u64) {
    let device = |major: u32, minor: u32| u64::from(major) << 32 | u64::from(minor);
    match &entry.kind {
        Kind::File => (Tag::File, b"", entry.size),
        Kind::Dir => (Tag::Dir, b"", 0),
        Kind::Symlink(target) => (Tag::Symlink, target, 0),
        Kind::HardLink(target) => (Tag::HardLink, target, 0),
        Kind::CharDevice { major, minor } => (Tag::CharDevice, b"", device(*major, *minor)),
        Kind::BlockDevice { major, minor } => (Tag::BlockDevice, b"", device(*major, *minor)),
        Kind::Fifo => (Tag::Fifo, b"", 0),
    }
}

/// Hands over the content of some files of a layer, known by the offsets of their entries, in the
/// order of the tar. The whole layer is read.
///
/// # Errors
/// What the tar reader refuses, and what `take` returns.
pub fn contents(
    stream: impl BufRead,
    wanted: &BTreeSet<u64>,
    take: &mut dyn FnMut(&Entry, Piece<'_>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::from_buffered(stream);
    while let Some(entry) = reader.next_entry()? {
        if wanted.contains(&entry.offset) {
            while let Some(piece) = reader.next_piece()? {
                take(&entry, piece)?;
            }
        }
    }
    Ok(())
}

/// Hashes the content of some files of a layer, known by the offsets of their entries. The whole layer
/// is read.
pub fn hashes(stream: impl BufRead, wanted: &BTreeSet<u64>) -> Result<HashMap<u64, ContentHash>> {
    let (mut reader, mut found) = (Reader::from_buffered(stream), HashMap::new());
    let mut holes = MAX_HOLES;
    while let Some(entry) = reader.next_entry()? {
        if wanted.contains(&entry.offset) {
            found.insert(entry.offset, hash(&mut reader, &mut holes)?);
        }
    }
    Ok(found)
}

/// Hashes the content of the entry last returned.
fn hash<R: BufRead>(reader: &mut Reader<R>, holes: &mut u64) -> Result<ContentHash> {
    let mut hasher = Algorithm::Sha256.hasher();
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Data(data) => hasher.update(data),
            Piece::Hole(length) => {
                *holes = holes.checked_sub(length).ok_or_else(|| {
                    Error::new(Fault::Limit, "holes in sparse files are too long to be hashed")
                        .expected(format!("at most {MAX_HOLES} bytes in one layer"))
                })?;
                hash_zeros(&mut hasher, length);
            }
        }
    }
    Ok(finish(hasher))
}

fn hash_zeros(hasher: &mut Hasher, mut length: u64) {
    let zeros = [0; 64 << 10];
    while length > 0 {
        let n = length.min(zeros.len() as u64);
        hasher.update(&zeros[..n as usize]);
        length -= n;
    }
}

/// The 32 bytes of a SHA-256.
pub(super) fn finish(hasher: Hasher) -> ContentHash {
    let digest = hasher.finish();
    let mut hash = ContentHash::default();
    for (byte, pair) in hash.iter_mut().zip(digest.encoded().as_bytes().chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16).unwrap_or_default() as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    hash
}
