//! One blob into a file, on from where an earlier pull came to.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use conex_spec::{Descriptor, Error, Kind, Result};
use conex_store::bridge::{blocking, feed};
use conex_store::verify::{Verifier, verified_rest};
use conex_store::{Event, Observer, Source};

/// How often a blob is begun anew after the source broke off or turned out to be wrong.
const ATTEMPTS: usize = 3;

/// Fills a file, whose path is told in errors, with a blob. What the file has already counts as its
/// beginning, and is read to be verified. Returns how many bytes were there.
pub(super) async fn fetch(
    from: &dyn Source,
    blob: &Descriptor,
    (file, path): (File, PathBuf),
    observer: &Arc<dyn Observer>,
) -> Result<u64> {
    let cannot = |err| cannot(&path, err);
    let mut first = None;
    for attempt in 1.. {
        let there = beginning(&file, &path, blob).await?;
        let start = *first.get_or_insert(there.0);
        observer.event(Event::Started(blob));
        if there.0 > 0 {
            observer.event(Event::Resumed(blob, there.0));
        }
        match rest(from, blob, (&file, &path), there, observer).await {
            Ok(()) => {
                observer.event(Event::Done(blob));
                return Ok(start);
            }
            Err(err) if attempt < ATTEMPTS && may_mend(from, blob, &err, start) => {
                if err.kind() == Kind::Mismatch {
                    file.set_len(0).map_err(cannot)?;
                    first = Some(0);
                }
                observer.event(Event::Retry(&err, std::time::Duration::ZERO));
            }
            Err(err) => return Err(err),
        }
    }
    Err(Error::new(Kind::Network, "given up"))
}

/// Whether another try may come to a better end: the network may, content of another place may, and
/// so may content of which another time has left a wrong beginning.
fn may_mend(from: &dyn Source, blob: &Descriptor, err: &Error, start: u64) -> bool {
    match err.kind() {
        Kind::Network => true,
        Kind::Mismatch => start > 0 || from.distrust(blob, err),
        _ => false,
    }
}

/// What a file has of a blob, hashed. More than the blob has is not of it.
async fn beginning(file: &File, path: &Path, blob: &Descriptor) -> Result<(u64, Verifier)> {
    let mut file = file.try_clone().map_err(|err| cannot(path, err))?;
    let (path, blob) = (path.to_owned(), blob.clone());
    blocking(move || {
        let cannot = |err| cannot(&path, err);
        let mut verifier = Verifier::new(&blob)?;
        let length = file.metadata().map_err(cannot)?.len();
        if length > blob.size {
            file.set_len(0).map_err(cannot)?;
            return Ok((0, verifier));
        }
        file.rewind().map_err(cannot)?;
        let (mut left, mut buffer) = (length, vec![0; length.clamp(1, 256 << 10) as usize]);
        while left > 0 {
            let count = file.read(&mut buffer).map_err(cannot)?;
            if count == 0 {
                break;
            }
            verifier.update(&buffer[..count])?;
            left -= count as u64;
        }
        Ok((length - left, verifier))
    })
    .await
}

async fn rest(
    from: &dyn Source,
    blob: &Descriptor,
    (file, path): (&File, &Path),
    (start, verifier): (u64, Verifier),
    observer: &Arc<dyn Observer>,
) -> Result<()> {
    let content = match blob.embedded()? {
        Some(bytes) => conex_store::bridge::bytes_stream(bytes, start..blob.size),
        None if start == blob.size => futures_util::stream::empty().boxed(),
        None => from.open(blob, start..blob.size).await?,
    };
    let (observer, told) = (observer.clone(), blob.bare());
    let content = content.inspect_ok(move |chunk| {
        observer.event(Event::Progress(&told, chunk.len() as u64));
    });
    let mut file = file.try_clone().map_err(|err| cannot(path, err))?;
    let path = path.to_owned();
    feed(content.boxed(), move |mut content| {
        let cannot = |err| cannot(&path, err);
        file.seek(SeekFrom::Start(start)).map_err(cannot)?;
        verified_rest(verifier, &mut content, |chunk| file.write_all(chunk).map_err(cannot))
    })
    .await
}

fn cannot(path: &Path, err: std::io::Error) -> Error {
    Error::making("cannot write", path, err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;
    use conex_store::Memory;
    use std::io::Write;

    async fn fetched(before: &[u8], content: &[u8]) -> (Result<u64>, Vec<u8>) {
        let store = Memory::new();
        let blob = store.add(MediaType::OCTETS, content.to_vec());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(before).unwrap();
        let observer: Arc<dyn Observer> = Arc::new(());
        let into = (file.try_clone().unwrap(), PathBuf::from("there"));
        let result = fetch(&store, &blob, into, &observer).await;
        let mut found = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut found).unwrap();
        (result, found)
    }

    #[tokio::test]
    async fn what_is_there_does_not_come_again_and_what_is_wrong_does() {
        for (before, resumed) in
            [(&b""[..], 0), (b"con", 3), (b"content", 7), (b"contentX", 0), (b"cox", 0)]
        {
            let (result, found) = fetched(before, b"content").await;
            assert_eq!((result.unwrap(), found.as_slice()), (resumed, &b"content"[..]));
        }
        assert_eq!(fetched(b"", b"").await.0.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_by_where_it_is() {
        let store = Memory::new();
        let blob = store.add(MediaType::OCTETS, "content");
        let path = PathBuf::from("/dev/full");
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let observer: Arc<dyn Observer> = Arc::new(());
        let err = fetch(&store, &blob, (file, path), &observer).await.unwrap_err();
        assert_eq!((err.kind(), err.message()), (Kind::NoSpace, "cannot write /dev/full"));
    }
}
