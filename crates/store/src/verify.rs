//! Content is verified while it is read, here and nowhere else; the stream itself ends in the error.
//!
//! "Before consuming content targeted by a descriptor from untrusted sources, the byte content
//! SHOULD be verified against the digest string" (image-spec, descriptor.md, "Verification").

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use conex_spec::{Descriptor, Hasher, Result};

use crate::source::ByteStream;

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
    use conex_spec::{Error, Kind, MediaType};

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
