//! The files of an image, read from its layers and never written anywhere.

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use conex_layer::tree::{Listing, NodeId, Tree};
use conex_spec::date::to_rfc3339;
use conex_spec::{Descriptor, Error, Kind as Fault, Location, Platform, Result};
use conex_store::{Source, bridge};
use conex_tar::compression::Decoder;
use conex_tar::{Entry, Kind, Xattr};

use crate::layers::{compression, reader};
use crate::open::Context;
use crate::spool::Spool;
use crate::unpack::{Image, load};

/// An image whose files can be read, layer by layer.
pub struct Files {
    /// The image's documents.
    pub image: Image,
    source: Arc<dyn Source>,
    context: Context,
    spool: Option<Spool>,
}

impl Files {
    /// Reads the documents of the image that a location names and that suits `platform`.
    pub async fn open(context: &Context, location: &Location, platform: &Platform) -> Result<Self> {
        let (source, image) = load(context, location, platform).await?;
        Ok(Self { image, source, context: context.clone(), spool: None })
    }

    /// The same, whose layers may be read more than once: what comes from far away comes once.
    #[must_use]
    pub(crate) fn keeping(mut self, spool: Spool) -> Self {
        self.spool = Some(spool);
        self
    }

    /// Its layers, base first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.image.manifest.layers
    }

    /// A layer by its number, which is 1 for the base.
    pub fn layer(&self, number: usize) -> Result<&Descriptor> {
        let layer = number.checked_sub(1).and_then(|at| self.layers().get(at));
        layer.ok_or_else(|| {
            Error::new(Fault::NotFound, "image has no such layer")
                .expected(format!("1, the base, to {}", self.layers().len()))
                .found(number)
        })
    }

    /// Gives the uncompressed tar of a layer to blocking work, which must read it to its end: what
    /// comes is verified by then, and not before.
    pub async fn read<T: Send + 'static>(
        &self,
        layer: &Descriptor,
        work: impl FnOnce(&mut dyn BufRead) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Dropped with this call, which tells the thread below.
        let waiting = Arc::new(());
        let compression = compression(layer)?;
        let key = self.context.key();
        let (source, spool) = (self.source.as_ref(), self.spool.as_ref());
        let reader = reader(source, layer, key.as_ref(), spool, &waiting).await?;
        let name = layer.digest.short().to_owned();
        let result = bridge::blocking(move || {
            let decoder = Decoder::new(compression, reader)?;
            work(&mut BufReader::with_capacity(256 << 10, decoder))
        });
        result.await.map_err(|err| err.context(name))
    }

    /// The entries of a layer; with `hashes` the content of its files is hashed.
    pub async fn listing(&self, layer: &Descriptor, hashes: bool) -> Result<Arc<Listing>> {
        self.read(layer, move |tar| Listing::read(tar, hashes)).await.map(Arc::new)
    }

    /// All layers, one upon the other.
    pub async fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::default();
        for layer in self.layers() {
            let listing = self.listing(layer, false).await?;
            tree.apply(listing).map_err(|err| err.context(layer.digest.short()))?;
        }
        Ok(tree)
    }
}

/// A file as reports tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Where it is, without a slash at the beginning; empty for the root. Bytes that are not UTF-8
    /// are written `\xNN`.
    pub path: String,
    /// `file`, `directory`, `symbolic link`…
    pub kind: &'static str,
    /// Four octal digits.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Bytes of content, of a file.
    pub size: u64,
    /// When it was last changed, as RFC 3339 has it.
    pub modified: String,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The numbers of a device: `MAJOR:MINOR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// How many names it has, where there are several.
    #[serde(skip_serializing_if = "is_one")]
    pub links: u32,
    /// Extended attributes by name; values that are no UTF-8 have `\xNN`.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "xattrs")]
    pub xattrs: Vec<Xattr>,
    /// The number of the layer that it is from, 1 for the base; none for what no layer has an entry
    /// for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
}

impl Row {
    /// A name in a tree.
    pub fn of(tree: &Tree, node: NodeId) -> Self {
        let mut row = Self::entry(&tree.entry(node));
        row.links = if tree.is_dir(node) { 1 } else { tree.links(node) };
        row.layer = tree.layer(node).map(|layer| layer + 1);
        row
    }

    /// An entry of a tar.
    pub fn entry(entry: &Entry) -> Self {
        let (mut target, mut device) = (None, None);
        match &entry.kind {
            Kind::Symlink(to) | Kind::HardLink(to) => target = Some(text(to)),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                device = Some(format!("{major}:{minor}"));
            }
            Kind::File | Kind::Dir | Kind::Fifo => {}
        }
        Self {
            path: text(&entry.path),
            kind: entry.kind.noun(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            modified: to_rfc3339(entry.mtime.secs, entry.mtime.nanos),
            target,
            device,
            links: 1,
            xattrs: entry.xattrs.clone(),
            layer: None,
        }
    }
}

/// Bytes as a JSON string can hold them: those that are not UTF-8 as `\xNN`.
pub fn text(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    text
}

fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

fn xattrs<S: Serializer>(xattrs: &[Xattr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(xattrs.iter().map(|xattr| (text(&xattr.name), text(&xattr.value))))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_one(links: &u32) -> bool {
    *links == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn rows_are_json() {
        let mut entry = Entry::new(b"a\xffb".to_vec(), Kind::Symlink(b"x".to_vec()));
        entry.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() }];
        let json = serde_json::to_value(Row::entry(&entry)).unwrap();
        assert_eq!(json["path"], "a\\xffb");
        assert_eq!(json["mode"], "0777");
        assert_eq!(json["target"], "x");
        assert_eq!(json["modified"], "1970-01-01T00:00:00Z");
        assert_eq!(json["xattrs"]["user.a"], "1");
        assert!(json.get("links").is_none() && json.get("device").is_none());
    }
}
