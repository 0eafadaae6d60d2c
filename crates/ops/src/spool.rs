//! Layers from far away, kept while a command may need them once more: names come first, content later.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use conex_spec::{Descriptor, Digest};
use conex_store::Stage;

/// Files without names in one folder; they are gone with this value. A blob takes as much room as it has
/// bytes, and where there is none it is not kept.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    kept: Arc<Mutex<HashMap<Digest, Arc<File>>>>,
}

impl Spool {
    /// Keeps nothing yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), kept: Arc::default() }
    }

    /// A blob that came whole, and was what its digest says.
    pub(crate) fn get(&self, blob: &Descriptor) -> Option<Arc<File>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&blob.digest).cloned()
    }

    /// Keeps what is read of a blob. `reader` must end in an error where it is not what its digest says.
    pub(crate) fn keep(
        &self,
        blob: &Descriptor,
        reader: impl Read + Send + 'static,
    ) -> Box<dyn Read + Send> {
        let made = Stage::new(&self.folder, None, None).and_then(|stage| stage.file());
        match made {
            Ok(file) => Box::new(Keeping {
                reader,
                file: Some(file),
                digest: blob.digest.clone(),
                spool: self.clone(),
            }),
            // Then it is read again.
            Err(_) => Box::new(reader),
        }
    }
}

/// Writes what it reads.
struct Keeping<R> {
    reader: R,
    file: Option<File>,
    digest: Digest,
    spool: Spool,
}

impl<R: Read> Read for Keeping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count > 0 {
            if self.file.as_mut().is_some_and(|file| file.write_all(&buffer[..count]).is_err()) {
                self.file = None;
            }
        } else if !buffer.is_empty()
            && let Some(file) = self.file.take()
        {
            let mut kept = self.spool.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(self.digest.clone(), Arc::new(file));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;
    use conex_spec::MediaType;

    fn kept(reader: impl Read + Send + 'static) -> (Option<Vec<u8>>, io::Result<usize>) {
        let temp = tempfile::tempdir().unwrap();
        let spool = Spool::new(temp.path());
        let blob = Descriptor::of(MediaType::CONFIG, b"content");
        let read = spool.keep(&blob, reader).read_to_end(&mut Vec::new());
        let kept = spool.get(&blob).map(|file| {
            let (mut file, mut bytes) = (file.try_clone().unwrap(), Vec::new());
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
        (kept, read)
    }

    #[test]
    fn what_came_whole_is_kept() {
        let (bytes, read) = kept(&b"content"[..]);
        assert_eq!((bytes.unwrap(), read.unwrap()), (b"content".to_vec(), 7));
    }

    #[test]
    fn what_broke_off_is_not_kept() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let (bytes, read) = kept((&b"cont"[..]).chain(Broken));
        assert!(bytes.is_none() && read.is_err());
    }
}
