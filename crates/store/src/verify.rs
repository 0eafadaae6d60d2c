//! Content is verified while it is read, here and nowhere else; the stream itself ends in the error.
//!
//! "Before consuming content targeted by a descriptor from untrusted sources, the byte content
//! SHOULD be verified against the digest string" (image-spec, descriptor.md, "Verification").

use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use conex_spec::{Descriptor, Error, Hasher, Kind, Result};

use crate::source::ByteStream;

/// Content of so many bytes is worth a thread that hashes it.
const LARGE: u64 = 4 << 20;
/// How many chunks may wait to be hashed.
const QUEUE: usize = 2;

/// Length and digest of content as it goes by.
#[derive(Debug)]
pub struct Verifier {
    expected: Descriptor,
    hasher: Hasher,
    seen: u64,
}

impl Verifier {
    /// A verifier for the content of `expected`; fails for a digest that cannot be verified.
    pub fn new(expected: &Descriptor) -> Result<Self> {
        let hasher = expected.digest.algorithm()?.hasher();
        Ok(Self { expected: expected.bare(), hasher, seen: 0 })
    }

    /// Takes the next bytes; fails as soon as there are more than the descriptor says.
    pub fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.seen += chunk.len() as u64;
        if self.seen > self.expected.size {
            return Err(self.expected.wrong_size(self.seen));
        }
        self.hasher.update(chunk);
        Ok(())
    }

    /// The verdict at the end: size first, then digest.
    pub fn finish(self) -> Result<()> {
        if self.seen != self.expected.size {
            return Err(self.expected.wrong_size(self.seen));
        }
        let digest = &self.expected.digest;
        let found = self.hasher.finish();
        digest.check(&found, || format!("content of {} has another digest", digest.short()))
    }
}

/// Hands every chunk to `write` and verifies it: that of large content on another thread, so that
/// neither waits for the other. What was written is worth nothing unless this succeeds.
pub fn verified_write(
    expected: &Descriptor,
    content: &mut dyn Iterator<Item = Result<Bytes>>,
    write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    verified_rest(Verifier::new(expected)?, content, write)
}

/// The same for content whose first bytes the verifier has seen.
pub fn verified_rest(
    verifier: Verifier,
    content: &mut dyn Iterator<Item = Result<Bytes>>,
    write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    if verifier.expected.size.saturating_sub(verifier.seen) < LARGE {
        return verify_between(verifier, content, write);
    }
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    thread::scope(|scope| {
        let hashing = scope.spawn(move || verify_all(verifier, &receiver));
        let written = write_all(content, &sender, write);
        drop(sender);
        let died = |_| Err(Error::new(Kind::Io, "the thread that hashes failed"));
        written.and(hashing.join().unwrap_or_else(died))
    })
}

fn verify_between(
    mut verifier: Verifier,
    content: &mut dyn Iterator<Item = Result<Bytes>>,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    for chunk in content {
        let chunk = chunk?;
        verifier.update(&chunk)?;
        write(&chunk)?;
    }
    verifier.finish()
}

fn verify_all(mut verifier: Verifier, chunks: &mpsc::Receiver<Bytes>) -> Result<()> {
    chunks.iter().try_for_each(|chunk| verifier.update(&chunk))?;
    verifier.finish()
}

/// Ends early where nobody verifies any more, who then knows why.
fn write_all(
    content: &mut dyn Iterator<Item = Result<Bytes>>,
    verifier: &mpsc::SyncSender<Bytes>,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    for chunk in content {
        let chunk = chunk?;
        if verifier.send(chunk.clone()).is_err() {
            break;
        }
        write(&chunk)?;
    }
    Ok(())
}

/// The same stream, ending in an error unless it was what `expected` says.
pub fn verified(content: ByteStream, expected: &Descriptor) -> Result<ByteStream> {
    let verifier = Verifier::new(expected)?;
    let stream = stream::unfold(Some((content, verifier)), |state| async {
        let (content, verifier) = state?;
        step(content, verifier).await
    });
    Ok(stream.fuse().boxed())
}

type State = Option<(ByteStream, Verifier)>;

async fn step(mut content: ByteStream, mut verifier: Verifier) -> Option<(Result<Bytes>, State)> {
    match content.next().await {
        Some(Ok(chunk)) => match verifier.update(&chunk) {
            Ok(()) => Some((Ok(chunk), Some((content, verifier)))),
            Err(err) => Some((Err(err), None)),
        },
        Some(Err(err)) => Some((Err(err), None)),
        None => verifier.finish().err().map(|err| (Err(err), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;

    async fn run(expected: &[u8], chunks: &[&'static [u8]]) -> Result<Vec<u8>> {
        let descriptor = Descriptor::of(MediaType::LAYER, expected);
        let chunks: Vec<Result<Bytes>> = chunks.iter().map(|c| Ok(Bytes::from_static(c))).collect();
        let mut content = verified(stream::iter(chunks).boxed(), &descriptor)?;
        let mut all = Vec::new();
        while let Some(chunk) = content.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    #[test]
    fn what_is_written_is_verified_however_large_it_is() {
        for size in [3, LARGE as usize - 1, LARGE as usize, LARGE as usize + 70_001] {
            let content: Vec<u8> = (0..size).map(|i| (i / 3) as u8).collect();
            let descriptor = Descriptor::of(MediaType::LAYER, &content);
            let write = |content: &[u8], end: Result<Bytes>| {
                let mut written = Vec::new();
                let chunks = content.chunks(1 << 16).map(|c| Ok(Bytes::copy_from_slice(c)));
                let done = verified_write(&descriptor, &mut chunks.chain([end]), |chunk| {
                    written.extend_from_slice(chunk);
                    Ok(())
                });
                done.map(|()| written)
            };
            assert!(write(&content, Ok(Bytes::new())).unwrap() == content);

            let mut flipped = content.clone();
            flipped[size - 1] ^= 1;
            for damaged in [&flipped, &content[1..], &[content.as_slice(), b"more"].concat()] {
                let err = write(damaged, Ok(Bytes::new())).unwrap_err();
                assert_eq!(err.kind(), Kind::Mismatch, "{err}");
            }
            let err = write(&content, Err(Error::new(Kind::Network, "cut"))).unwrap_err();
            assert_eq!(err.kind(), Kind::Network, "{err}");
        }
    }

    #[test]
    fn content_without_end_is_written_no_further_than_its_size_and_the_queue() {
        let descriptor = Descriptor::of(MediaType::LAYER, &vec![0; LARGE as usize]);
        let chunk = Bytes::from(vec![0; 1 << 16]);
        let mut written = 0;
        let mut endless = std::iter::repeat_with(|| Ok(chunk.clone()));
        let err = verified_write(&descriptor, &mut endless, |chunk| {
            written += chunk.len();
            Ok(())
        });
        assert_eq!(err.unwrap_err().kind(), Kind::Mismatch);
        assert!(written <= LARGE as usize + (QUEUE + 2) * chunk.len(), "{written}");
    }

    #[test]
    fn a_write_that_fails_ends_it() {
        let content = vec![0; LARGE as usize];
        let descriptor = Descriptor::of(MediaType::LAYER, &content);
        let mut chunks = content.chunks(1 << 16).map(|c| Ok(Bytes::copy_from_slice(c)));
        let full =
            verified_write(&descriptor, &mut chunks, |_| Err(Error::new(Kind::NoSpace, "full")));
        assert_eq!(full.unwrap_err().kind(), Kind::NoSpace);
    }

    #[tokio::test]
    async fn the_stream_itself_ends_in_the_error() {
        assert_eq!(run(b"abcd", &[b"ab", b"", b"cd"]).await.unwrap(), b"abcd");
        for chunks in [&[&b"ab"[..]][..], &[b"abcd", b"e"], &[b"abcx"], &[]] {
            let err = run(b"abcd", chunks).await.unwrap_err();
            assert_eq!(err.kind(), Kind::Mismatch, "{err}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_verified_is_not_read() {
        let mut descriptor = Descriptor::of(MediaType::LAYER, b"");
        descriptor.digest = "md5:d41d8cd98f00b204e9800998ecf8427e".parse().unwrap();
        let refused = verified(stream::empty().boxed(), &descriptor);
        assert_eq!(refused.err().map(|err: Error| err.kind()), Some(Kind::Unsupported));
    }
}
