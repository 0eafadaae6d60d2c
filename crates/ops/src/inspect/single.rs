//! Documents without a manifest around them, and blobs: what bytes show themselves to be.

use std::io::Read;

use bytes::Bytes;
use futures_util::StreamExt;

use conex_spec::document::LIMIT;
use conex_spec::layout::LayoutMarker;
use conex_spec::{Compression, Descriptor, Document, ImageConfig, MediaType, Result};
use conex_store::{Source, SourceExt};
use conex_tar::compression::{Decoder, detect};

use super::{Content, another_kind, image};
use crate::json_file::{DocumentKind, recognise};

/// How many bytes of a blob are enough to know it.
const HEAD: usize = 64 << 10;

/// The media type of a document that says none.
pub(super) fn media_type_of(kind: DocumentKind) -> MediaType {
    match kind {
        DocumentKind::Descriptor => MediaType::DESCRIPTOR,
        DocumentKind::Index => MediaType::INDEX,
        DocumentKind::Manifest => MediaType::MANIFEST,
        DocumentKind::Config => MediaType::CONFIG,
        DocumentKind::Layout => MediaType::LAYOUT_HEADER,
    }
}

/// A document that is no manifest.
pub(super) fn document(kind: DocumentKind, bytes: Bytes) -> Result<Content> {
    Ok(match kind {
        DocumentKind::Config => {
            Content::Config(image::of_config(Document::<ImageConfig>::parse(bytes)?.into_value()))
        }
        DocumentKind::Layout => {
            let marker = Document::<LayoutMarker>::parse(bytes)?.into_value();
            Content::Layout { version: marker.image_layout_version }
        }
        DocumentKind::Descriptor => {
            let descriptor = Document::<Descriptor>::parse(bytes)?.into_value();
            descriptor.embedded()?;
            Content::Descriptor { descriptor }
        }
        // As a blob it can only be a root that was named by the digest of its bytes.
        DocumentKind::Index | DocumentKind::Manifest => {
            Content::Blob { format: format!("JSON, {kind}"), size: bytes.len() as u64 }
        }
    })
}

/// A blob: a document where it is one, else what its first bytes show.
pub(super) async fn blob(
    source: &dyn Source,
    blob: &Descriptor,
    named: Option<DocumentKind>,
) -> Result<Content> {
    let size = blob.size;
    let head = head(source, blob).await?;
    let is_json = head.trim_ascii_start().first() == Some(&b'{') && size <= LIMIT as u64;
    if named.is_some() || is_json {
        let bytes = source.read(blob).await?;
        if let (Some(named), Ok(found)) = (named, recognise(&bytes))
            && named != found
        {
            return Err(another_kind(&blob.digest, named, found));
        }
        if let Some(kind) = named.or_else(|| recognise(&bytes).ok()) {
            return document(kind, bytes);
        }
        return Ok(Content::Blob { format: "JSON".into(), size });
    }
    Ok(Content::Blob { format: format_of(&head), size })
}

/// The first bytes; the rest is not read, so they are not verified: good for a look only.
async fn head(source: &dyn Source, blob: &Descriptor) -> Result<Vec<u8>> {
    let mut content = source.fetch(blob).await?;
    let mut head = Vec::new();
    while head.len() < HEAD
        && let Some(chunk) = content.next().await
    {
        let chunk = chunk?;
        head.extend_from_slice(&chunk[..chunk.len().min(HEAD - head.len())]);
    }
    Ok(head)
}

/// `tar, gzip` and the like.
fn format_of(head: &[u8]) -> String {
    let compression = detect(head);
    let mut start = Vec::new();
    // The head ends somewhere in the middle; what came out before that is enough.
    if let Ok(decoder) = Decoder::new(compression, head) {
        let _ = decoder.take(512).read_to_end(&mut start);
    }
    let is_tar = start.get(257..262) == Some(b"ustar".as_slice());
    match (is_tar, compression) {
        (true, Compression::None) => "tar".into(),
        (true, compression) => format!("tar, {compression}"),
        (false, Compression::None) if head.is_empty() => "nothing".into(),
        (false, Compression::None) if is_text(head) => "text".into(),
        (false, Compression::None) => "bytes of no known format".into(),
        (false, compression) => compression.to_string(),
    }
}

fn is_text(head: &[u8]) -> bool {
    // The last character may be cut.
    let whole = &head[..head.len().min(HEAD - 4)];
    let valid = match std::str::from_utf8(whole) {
        Ok(_) => whole.len(),
        Err(err) => err.valid_up_to(),
    };
    whole.len() - valid < 4 && !whole.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_show_what_they_are() {
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(format_of(&tar), "tar");
        assert_eq!(format_of(b""), "nothing");
        assert_eq!(format_of("gr\u{fc}n".as_bytes()), "text");
        assert_eq!(format_of(b"\x7fELF\0\0"), "bytes of no known format");
        assert_eq!(format_of(b"\x1f\x8b\x08\0cut"), "gzip");
    }
}
