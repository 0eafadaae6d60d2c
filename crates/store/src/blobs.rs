//! Blobs as files: `blobs/ALGORITHM/ENCODED`, as a layout, the local store and the server keep them.
//!
//! What was verified when it was written carries a seal; see [`crate::seal`].

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use conex_spec::document::LIMIT;
use conex_spec::{
    Algorithm, Descriptor, Digest, Document, Error, Kind, Manifest, MediaType, Result,
};

use crate::commit::{Begun, Folder, Staged};
use crate::seal::{is_sealed, unseal};
use crate::verify::{Verifier, verified_rest};

/// The folder of all blobs.
pub const BLOBS: &str = "blobs";
/// Content of so many bytes is worth a thread that has it synced.
const LARGE: u64 = 16 << 20;
/// Content of so many bytes is worth going on with.
const WORTH: u64 = 1 << 20;
/// What is hashed at once, in bytes.
const CHUNK: usize = 256 << 10;

/// The blobs of one folder.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a>(pub &'a Folder);

impl Blobs<'_> {
    /// The blob as an open file, of the right size; nothing if there is none.
    pub fn file(self, blob: &Descriptor) -> Result<Option<File>> {
        let Some(file) = self.0.file(&path(&blob.digest)?)? else { return Ok(None) };
        let found = length(&file, &blob.digest)?;
        if found == blob.size {
            return Ok(Some(file));
        }
        Err(blob.wrong_size(found).context(self.0.path().display()))
    }

    /// The length of a blob in bytes, and when its file came here or was last changed, in seconds
    /// since 1970; nothing if there is none.
    pub fn look(self, digest: &Digest) -> Result<Option<(u64, i64)>> {
        let Some(file) = self.0.file(&path(digest)?)? else { return Ok(None) };
        let meta = file.metadata();
        let meta = meta.map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?;
        // A link or a rename counts, which leave the time of modification as it was.
        Ok(Some((meta.len(), meta.ctime())))
    }

    /// Hashes a blob whatever its seal says. A damaged one loses its seal, so that nobody takes
    /// it for present; nothing if there is none.
    pub fn check(self, digest: &Digest) -> Result<Option<bool>> {
        let Some(file) = self.0.file(&path(digest)?)? else { return Ok(None) };
        let size = length(&file, digest)?;
        let sound = hash(&file, &Descriptor::new(MediaType::EMPTY, digest.clone(), size))?;
        if !sound {
            // That of another's file counts for nothing anyway.
            let _ = unseal(&file, digest);
        }
        Ok(Some(sound))
    }

    /// Hashes a blob that carries a seal, which it loses if it is damaged. What has none is hashed
    /// anyway before it counts.
    pub fn look_again(self, digest: &Digest) -> Result<()> {
        match self.0.file(&path(digest)?)? {
            Some(file) if is_sealed(self.0.key(), &file, digest)? => self.check(digest).map(drop),
            _ => Ok(()),
        }
    }

    /// Removes a blob. That need not be durable: what comes back is collected again.
    pub fn remove(self, digest: &Digest) -> Result<bool> {
        self.0.unlink(&path(digest)?)
    }

    /// Whether the blob is there with the content that its digest names.
    pub fn intact(self, blob: &Descriptor) -> Result<bool> {
        let Some(file) = self.0.file(&path(&blob.digest)?)? else { return Ok(false) };
        if length(&file, &blob.digest)? != blob.size {
            return Ok(false);
        }
        if is_sealed(self.0.key(), &file, &blob.digest)? {
            return Ok(true);
        }
        let before = modified(&file, &blob.digest)?;
        if !hash(&file, blob)? {
            return Ok(false);
        }
        // Whoever wrote it may not have made it durable.
        self.0.sync(&file, &path(&blob.digest)?)?;
        // A file that changed meanwhile, or whose owner is another, is hashed again next time.
        if modified(&file, &blob.digest)? == before {
            let _ = self.0.seal(&file, &blob.digest);
        }
        Ok(true)
    }

    /// The manifest of a root; nothing where it is missing or damaged.
    pub fn manifest(self, root: &Descriptor) -> Result<Option<Manifest>> {
        let Ok(path) = path(&root.digest) else { return Ok(None) };
        let Some(bytes) = self.0.read(&path, LIMIT)? else { return Ok(None) };
        let sound =
            root.verify(&bytes).and_then(|()| Manifest::parse(bytes, Some(&root.media_type)));
        Ok(sound.ok().map(Document::into_value))
    }

    /// The descriptor of a document of which only the digest is known; nothing if there is none.
    /// What is no manifest is of no known type.
    pub fn describe(self, digest: &Digest) -> Result<Option<Descriptor>> {
        let Some((size, _)) = self.look(digest)? else { return Ok(None) };
        let read = || Ok(self.0.read(&path(digest)?, LIMIT)?.map(Bytes::from));
        described(digest, size, read).map(Some)
    }

    /// Writes a blob: verified, sealed and durable, or not there at all. A damaged blob of the
    /// same digest is replaced.
    pub fn put(
        self,
        blob: &Descriptor,
        content: &mut dyn Iterator<Item = Result<Bytes>>,
    ) -> Result<()> {
        let mut staged = self.0.stage()?;
        write(&mut staged, Verifier::new(blob)?, blob.size, content)?;
        self.0.seal(staged.file(), &blob.digest)?;
        staged.publish(&path(&blob.digest)?)
    }

    /// What is there of a blob whose writer ended too early, hashed; nothing where there is
    /// nothing, or where somebody is writing it.
    pub fn partial(self, blob: &Descriptor) -> Result<Option<Partial>> {
        if blob.size < WORTH {
            return Ok(None);
        }
        let Some(begun) = self.0.begun(&partial_name(&blob.digest)?)? else { return Ok(None) };
        let fault = |err| Error::from_io(err, || format!("cannot read {}", blob.digest));
        let mut verifier = Verifier::new(blob)?;
        let length = length(begun.file(), &blob.digest)?;
        if length > blob.size {
            return Ok(None);
        }
        let mut file = begun.file();
        let mut buffer = vec![0; CHUNK];
        let mut left = length;
        while left > 0 {
            let most = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
            file.read_exact(&mut buffer[..most]).map_err(fault)?;
            verifier.update(&buffer[..most])?;
            left -= most as u64;
        }
        Ok(Some(Partial { begun, length, verifier }))
    }

    /// [`Blobs::put`] for content whose first bytes are there. Of a large blob what is not whole
    /// stays for the next time; what cannot become the blob is gone.
    ///
    /// # Errors
    /// Those of the content and of the disk. Wrong content is none, but an [`Ending`].
    pub fn put_rest(
        self,
        blob: &Descriptor,
        partial: Option<Partial>,
        content: &mut dyn Iterator<Item = Result<Bytes>>,
    ) -> Result<Ending> {
        let Some(partial) = partial.map_or_else(|| self.begin(blob), |found| Ok(Some(found)))?
        else {
            return self.put(blob, content).map(|()| Ending::Published);
        };
        let Partial { begun, length: start, verifier } = partial;
        let mut staged = self.0.go_on(begun);
        let written = write(&mut staged, verifier, blob.size - start, content);
        let Err(err) = written else {
            self.0.seal(staged.file(), &blob.digest)?;
            return staged.publish(&path(&blob.digest)?).map(|()| Ending::Published);
        };
        let there = length(staged.file(), &blob.digest)?;
        match err.kind() {
            // The space is needed by others, and a disk that failed once is not tried again.
            Kind::NoSpace | Kind::Io => Err(err),
            Kind::Mismatch if there >= blob.size => Ok(Ending::Wrong(err)),
            _ if there == 0 => Err(err),
            _ => {
                staged.leave();
                Err(err)
            }
        }
    }

    /// An empty beginning, where the blob is worth one and nobody else has it.
    fn begin(self, blob: &Descriptor) -> Result<Option<Partial>> {
        if blob.size < WORTH {
            return Ok(None);
        }
        let verifier = Verifier::new(blob)?;
        let begun = self.0.begin(&partial_name(&blob.digest)?)?;
        Ok(begun.map(|begun| Partial { begun, length: 0, verifier }))
    }

    /// Removes what was begun and nobody goes on with: where the blob has come another way, or the
    /// last byte came before a time in seconds since 1970. Returns how many files that were.
    pub fn sweep(self, before: i64) -> usize {
        self.0.sweep_begun(|name, changed| {
            let digest = name.replacen('-', ":", 1).parse::<Digest>().ok();
            let path = digest.and_then(|digest| path(&digest).ok());
            changed < before || path.is_none_or(|path| self.0.has(&path).unwrap_or(false))
        })
    }

    /// Writes a blob whose bytes are all at hand.
    pub fn put_bytes(self, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
        blob.verify(bytes)?;
        let mut staged = self.0.stage()?;
        staged.write(bytes)?;
        self.0.seal(staged.file(), &blob.digest)?;
        staged.publish(&path(&blob.digest)?)
    }

    /// Makes the names of all blobs durable: before a reference to blobs that were there already,
    /// since whoever put them there may not have come so far.
    pub fn sync(self) -> Result<()> {
        let folders = Algorithm::ALL.iter().map(|algorithm| format!("{BLOBS}/{algorithm}"));
        folders
            .chain([BLOBS.to_owned(), String::new()])
            .try_for_each(|name| self.0.sync_folder(&name))
    }

    /// Takes over a file of the same file system without moving its bytes. Returns whether it did.
    ///
    /// Best is a reflink: in constant time where the file is sealed, else as fast as its copy is
    /// hashed. Else a hard link, but only to a sealed file: who changes it through either name
    /// breaks the seal of both, so that neither is taken for sound again.
    pub fn adopt(self, blob: &Descriptor, file: &File) -> Result<bool> {
        let is_sound = || -> Result<bool> {
            Ok(length(file, &blob.digest)? == blob.size
                && is_sealed(self.0.key(), file, &blob.digest)?)
        };
        let sound = is_sound()?;
        if let Some(staged) = self.0.reflink(file)? {
            // Whoever changed the original meanwhile broke its seal.
            let known = sound && is_sound()?;
            if !known && !hash(staged.file(), blob)? {
                return Ok(false);
            }
            self.0.seal(staged.file(), &blob.digest)?;
            return staged.publish(&path(&blob.digest)?).map(|()| true);
        }
        Ok(sound && self.link(blob, file)?)
    }

    fn link(self, blob: &Descriptor, file: &File) -> Result<bool> {
        let is_new = links(file, &blob.digest)? == 0;
        let linked = self.0.link(file, &path(&blob.digest)?)?;
        if linked && is_new && !self.0.is_durable() {
            // A stage seals its files before they are durable.
            unseal(file, &blob.digest)?;
        }
        Ok(linked)
    }
}

/// The first bytes of a blob, which this process alone writes.
#[derive(Debug)]
pub struct Partial {
    begun: Begun,
    length: u64,
    verifier: Verifier,
}

impl Partial {
    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// How the writing of a blob ended.
#[derive(Debug)]
pub enum Ending {
    /// It is there.
    Published,
    /// All bytes came, and they are not those of the blob.
    Wrong(Error),
}

fn write(
    staged: &mut Staged<'_>,
    verifier: Verifier,
    left: u64,
    content: &mut dyn Iterator<Item = Result<Bytes>>,
) -> Result<()> {
    if left < LARGE {
        verified_rest(verifier, content, |chunk| staged.write(chunk))
    } else {
        staged.write_behind(|write| verified_rest(verifier, content, write))
    }
}

/// What a blob in the making is called; an algorithm has no `-` in its name.
fn partial_name(digest: &Digest) -> Result<String> {
    Ok(format!("{}-{}", digest.algorithm()?, digest.encoded()))
}

/// The descriptor of a manifest or a blob of which only digest and size are known.
pub(crate) fn described(
    digest: &Digest,
    size: u64,
    read: impl FnOnce() -> Result<Option<Bytes>>,
) -> Result<Descriptor> {
    // What is longer than any manifest is a blob, and is not read for its type.
    let bytes = if size > LIMIT as u64 { None } else { read()? };
    let manifest = bytes.and_then(|bytes| Manifest::parse(bytes, None).ok());
    let media_type = manifest.map_or(MediaType::OCTETS, |manifest| manifest.media_type());
    Ok(Descriptor::new(media_type, digest.clone(), size))
}

/// Where a blob lies. image-spec, image-layout.md, "Blobs".
pub fn path(digest: &Digest) -> Result<String> {
    // Only a registered algorithm has an encoded part that is known to be safe in a path.
    let algorithm = digest.algorithm()?;
    Ok(format!("{BLOBS}/{algorithm}/{}", digest.encoded()))
}

/// When a file was changed: seconds since 1970 and nanoseconds.
fn modified(file: &File, digest: &Digest) -> Result<(i64, i64)> {
    let meta = file.metadata();
    let meta = meta.map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?;
    Ok((meta.mtime(), meta.mtime_nsec()))
}

fn hash(file: &File, blob: &Descriptor) -> Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut hasher = blob.digest.algorithm()?.hasher();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let count = file
            .read_at(&mut buffer, at)
            .map_err(|err| Error::from_io(err, || format!("cannot read {}", blob.digest)))?;
        if count == 0 {
            return Ok(at == blob.size && hasher.finish() == blob.digest);
        }
        hasher.update(&buffer[..count]);
        at += count as u64;
    }
}

/// How many names a file has.
fn links(file: &File, digest: &Digest) -> Result<u64> {
    let meta = file.metadata();
    Ok(meta.map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?.nlink())
}

fn length(file: &File, digest: &Digest) -> Result<u64> {
    let meta = file.metadata();
    let meta = meta.map_err(|err| Error::from_io(err, || format!("cannot read {digest}")))?;
    Ok(meta.len())
}
