//! A file or a stream as an archive whose members can be read in any order.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use conex_spec::{Compression, Error, Kind, Result};
use conex_tar::compression::{Decoder, detect};
use conex_tar::{Piece, Reader};

use super::members::{Members, Part};
use crate::bridge::{blocking, file_stream};
use crate::commit::Folder;
use crate::source::ByteStream;

/// What is read from a tar at once, in bytes.
const BUFFER: usize = 128 << 10;
/// How archives begin that are compressed in ways that conex does not read.
const FOREIGN: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"PK\x03\x04", "zip")];

/// Where an archive comes from.
pub enum Input {
    /// A file by its path. A pipe or a device will do.
    Path(PathBuf),
    /// An open file, or standard input.
    File(File),
    /// Bytes as they come.
    Stream(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({})", path.display()),
            Self::File(file) => file.fmt(f),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// An archive whose members are known.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    members: Members,
}

/// An archive that is read when it is first asked for.
#[derive(Debug)]
pub struct Lazy {
    input: Mutex<Option<Input>>,
    spool: PathBuf,
    /// A stream can be read once only, so a fault stays as well.
    archive: OnceCell<Result<Arc<Archive>>>,
}

impl Lazy {
    /// Where the archive comes from, and the folder for the nameless file of one that cannot be
    /// read in place; the folder is made where it is needed.
    pub fn new(input: Input, spool: PathBuf) -> Self {
        Self { input: Mutex::new(Some(input)), spool, archive: OnceCell::new() }
    }

    /// The archive.
    pub async fn get(&self) -> Result<Arc<Archive>> {
        let archive = self.archive.get_or_init(|| async {
            let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
            let broken_off = || Error::new(Kind::Io, "reading the archive was broken off");
            let (input, spool) = (input.ok_or_else(broken_off)?, self.spool.clone());
            blocking(move || Archive::read(input, &spool).map(Arc::new)).await
        });
        archive.await.as_ref().map(Arc::clone).map_err(Error::again)
    }
}

impl Archive {
    /// Finds out what is in an archive. What cannot be read in place goes to a nameless file in
    /// the folder `spool`.
    pub fn read(input: Input, spool: &Path) -> Result<Self> {
        match input {
            Input::Path(path) => {
                let file = File::open(&path).map_err(|err| Error::io("cannot open", &path, err))?;
                Self::read(Input::File(file), spool)
            }
            Input::File(file) => match in_place(&file)? {
                true => Self::indexed(file),
                false => Self::spooled(file, spool),
            },
            Input::Stream(stream) => Self::spooled(stream, spool),
        }
    }

    /// The members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// A small member in memory; nothing where there is none.
    pub fn small(&self, name: &str, limit: usize) -> Result<Option<Bytes>> {
        let Some(part) = self.members.find(name)? else { return Ok(None) };
        if part.size > limit as u64 {
            return Err(Error::new(Kind::Limit, format!("{name} in the archive is too large"))
                .expected(format!("at most {limit} bytes"))
                .found(format!("{} bytes", part.size)));
        }
        let mut bytes = vec![0; part.size as usize];
        self.file.read_exact_at(&mut bytes, part.offset).map_err(cannot_read)?;
        Ok(Some(bytes.into()))
    }

    /// Some bytes of a member as a stream.
    pub fn stream(&self, part: Part, range: Range<u64>) -> ByteStream {
        let at = |offset: u64| part.offset.saturating_add(offset.min(part.size));
        file_stream(self.file.clone(), at(range.start)..at(range.end), CANNOT_READ.into())
    }

    /// A member as a blocking reader.
    pub fn reader(&self, part: Part) -> PartReader {
        PartReader { file: self.file.clone(), part }
    }

    fn indexed(file: File) -> Result<Self> {
        let mut members = Members::default();
        let mut tar = Reader::new(&file);
        while let Some(entry) = tar.next_entry()? {
            members.add(&entry, Part { offset: entry.body_offset, size: entry.size })?;
            tar.seek_past_content()?;
        }
        Self::with_members(file, members)
    }

    fn spooled(mut stream: impl Read, spool: &Path) -> Result<Self> {
        let mut head = Vec::with_capacity(8);
        stream.by_ref().take(6).read_to_end(&mut head).map_err(cannot_read)?;
        let compression = compression(&head)?;
        let plain = Decoder::new(compression, Cursor::new(head).chain(stream))?;
        let mut tar = Reader::from_buffered(BufReader::with_capacity(BUFFER, plain));
        let mut file = Folder::create(spool)?.temporary_file()?;
        let mut members = Members::default();
        let mut offset = 0;
        while let Some(entry) = tar.next_entry()? {
            members.add(&entry, Part { offset, size: entry.size })?;
            offset += copy_content(&mut tar, &mut file)?;
        }
        Self::with_members(file, members)
    }

    fn with_members(file: File, members: Members) -> Result<Self> {
        if members.is_empty() {
            return Err(Error::invalid("archive is empty").expected("a tar with an image in it"));
        }
        Ok(Self { file: Arc::new(file), members })
    }
}

/// Whether the members of a file can be read where they lie.
pub(super) fn in_place(file: &File) -> Result<bool> {
    let meta = file.metadata().map_err(cannot_read)?;
    if !meta.is_file() {
        if meta.is_dir() {
            return Err(Error::invalid("archive is a folder")
                .expected("a file")
                .hint("an OCI layout in a folder is written oci:DIR[:TAG]"));
        }
        return Ok(false);
    }
    // Standard input may be a file that someone has read a part of already.
    let mut at = file;
    if at.stream_position().map_err(cannot_read)? != 0 {
        return Ok(false);
    }
    let mut head = Vec::with_capacity(8);
    at.take(6).read_to_end(&mut head).map_err(cannot_read)?;
    at.seek(SeekFrom::Start(0)).map_err(cannot_read)?;
    Ok(compression(&head)? == Compression::None)
}

fn compression(head: &[u8]) -> Result<Compression> {
    if head.is_empty() {
        return Err(Error::invalid("archive is empty").expected("a tar with an image in it"));
    }
    match FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, name)) => Err(Error::new(Kind::Unsupported, "archive cannot be read")
            .expected("a tar, plain or compressed with gzip or zstd")
            .found(name)
            .hint("decompress it first")),
        None => Ok(detect(head)),
    }
}

/// Moves the content of the current entry; returns how many bytes it takes. The holes of sparse
/// files are not moved, since nothing reads such files.
fn copy_content<R: BufRead>(tar: &mut Reader<R>, file: &mut File) -> Result<u64> {
    let mut length = 0;
    while let Some(piece) = tar.next_piece()? {
        if let Piece::Data(bytes) = piece {
            let spooled = file.write_all(bytes);
            spooled.map_err(|err| Error::from_io(err, || "cannot spool the archive".into()))?;
            length += bytes.len() as u64;
        }
    }
    Ok(length)
}

const CANNOT_READ: &str = "cannot read the archive";

fn cannot_read(err: io::Error) -> Error {
    Error::from_io(err, || CANNOT_READ.into())
}

/// See [`Archive::reader`].
#[derive(Clone, Debug)]
pub struct PartReader {
    file: Arc<File>,
    part: Part,
}

impl PartReader {
    /// Where what is left of it lies.
    pub fn part(&self) -> Part {
        self.part
    }
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.part.size).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..length], self.part.offset)?;
        if count == 0 && length > 0 {
            return Err(Error::invalid("archive became shorter while it was read").into());
        }
        self.part.offset += count as u64;
        self.part.size -= count as u64;
        Ok(count)
    }
}
