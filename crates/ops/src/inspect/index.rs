//! An index: every entry with what it is, read in parallel.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde::Serialize;

use conex_spec::{Descriptor, Digest, Error, Kind, Manifest, Result};
use conex_store::{Source, SourceExt};

use super::image::{self, Image};
use super::{is_of_content, told};

/// How many entries are read at a time: a large index, of some thirty platforms, takes two rounds
/// of requests for the manifests and two for the configs.
const PARALLEL: usize = 16;
/// How much of all documents together is read, in bytes; what comes after is only listed.
const MAX_DOCUMENTS: u64 = 16 << 20;
/// What a document counts at least, in bytes: a thousand of them are enough for one view.
const LEAST: u64 = 16 << 10;
/// Indexes nested deeper than this are only listed.
const MAX_DEPTH: usize = 8;

/// An entry of an index.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The entry.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// Why it cannot be shown, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What an entry is.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum What {
    /// A container image.
    Image {
        /// The image.
        image: Box<Image>,
    },
    /// Something else, with what it packs.
    Artifact {
        /// What it packs, the config included.
        blobs: Vec<Descriptor>,
    },
    /// An index in the index.
    Index {
        /// Its entries.
        manifests: Vec<Entry>,
    },
    /// Not read.
    Unknown,
}

impl Entry {
    /// An entry that is not read.
    pub(super) fn listed(descriptor: Descriptor) -> Self {
        Self { descriptor, what: What::Unknown, fault: None }
    }

    /// The size in bytes of its config and layers, where they are known.
    pub fn content_size(&self) -> Option<u64> {
        match &self.what {
            What::Unknown => None,
            _ => Some(size(std::slice::from_ref(self))),
        }
    }
}

/// The size in bytes of the configs and layers of entries, each digest counted once.
pub fn size(entries: &[Entry]) -> u64 {
    let mut seen = HashSet::new();
    sum(entries, &mut seen)
}

fn sum<'e>(entries: &'e [Entry], seen: &mut HashSet<&'e Digest>) -> u64 {
    let mut total: u64 = 0;
    for entry in entries {
        let blobs: Vec<&Descriptor> = match &entry.what {
            What::Image { image } => {
                let layers = image.layers.iter().flat_map(|layer| &layer.descriptor);
                layers.chain(&image.config.descriptor).collect()
            }
            What::Artifact { blobs } => blobs.iter().collect(),
            What::Index { manifests } => {
                total = total.saturating_add(sum(manifests, seen));
                continue;
            }
            What::Unknown => continue,
        };
        for blob in blobs {
            if seen.insert(&blob.digest) {
                total = total.saturating_add(blob.size);
            }
        }
    }
    total
}

/// Reads the entries of an index, nested ones included.
pub(super) async fn entries(source: &dyn Source, listed: Vec<Descriptor>) -> Result<Vec<Entry>> {
    let reader = Reader { source, room: AtomicU64::new(MAX_DOCUMENTS) };
    reader.entries(listed, 0).await
}

struct Reader<'s> {
    source: &'s dyn Source,
    /// How many more bytes of documents are read.
    room: AtomicU64,
}

impl Reader<'_> {
    fn entries(&self, listed: Vec<Descriptor>, depth: usize) -> BoxFuture<'_, Result<Vec<Entry>>> {
        Box::pin(async move {
            let reads = listed.into_iter().map(|descriptor| self.entry(descriptor, depth));
            let mut reads = stream::iter(reads).buffered(PARALLEL);
            let mut entries = Vec::new();
            while let Some(entry) = reads.next().await {
                entries.push(entry?);
            }
            Ok(entries)
        })
    }

    async fn entry(&self, descriptor: Descriptor, depth: usize) -> Result<Entry> {
        let (what, fault) = match self.what(&descriptor, depth).await {
            Ok(what) => (what, None),
            Err(err) if is_of_content(&err) => (What::Unknown, Some(told(&err))),
            Err(err) => return Err(err),
        };
        Ok(Entry { descriptor, what, fault })
    }

    async fn what(&self, entry: &Descriptor, depth: usize) -> Result<What> {
        if !entry.media_type.is_manifest() {
            return Ok(What::Unknown);
        }
        self.charge(entry)?;
        match self.source.manifest(entry).await?.into_value() {
            Manifest::Index(_) if depth >= MAX_DEPTH => {
                Err(Error::new(Kind::Limit, "index is nested too deep to be shown"))
            }
            Manifest::Index(index) => {
                let manifests = self.entries(index.manifests, depth + 1).await?;
                Ok(What::Index { manifests })
            }
            Manifest::Image(manifest) if manifest.is_image() => {
                self.charge(&manifest.config)?;
                let image = Box::new(image::read(self.source, manifest).await?);
                Ok(What::Image { image })
            }
            manifest => {
                Ok(What::Artifact { blobs: manifest.children().into_iter().cloned().collect() })
            }
        }
    }

    /// Takes a document's size from the room that is left.
    fn charge(&self, document: &Descriptor) -> Result<()> {
        let take = |room: u64| room.checked_sub(document.size.max(LEAST));
        let taken = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|_| {
            Error::new(Kind::Limit, "index lists too much to be shown in one view").expected(
                format!("at most {MAX_DOCUMENTS} bytes of manifests and configs, or a thousand"),
            )
        })
    }
}
