//! One image of Docker's list as a root with its content.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use conex_spec::document::LIMIT;
use conex_spec::layout::{INDEX_FILE, MARKER_FILE};
use conex_spec::{
    Algorithm, Compression, Descriptor, Digest, Document, Error, ImageConfig, ImageManifest, Kind,
    Location, Manifest, MediaType, Name, Result, Tag,
};
use conex_tar::compression::detect;

use super::Content;
use super::saved::Saved;
use crate::archive::choice::{canonical, nameless};
use crate::archive::input::Archive;
use crate::archive::members::Part;
use crate::archive::oci;
use crate::blobs;
use crate::memory::no_root;

/// Indexes nested deeper than this are no real ones.
const MAX_DEPTH: usize = 32;
/// An index that lists more is not searched further.
const MAX_NODES: usize = 100_000;
/// What is hashed at once, in bytes.
const CHUNK: usize = 256 << 10;

/// An image and what it is made of, besides the blobs that the archive has by their digests.
#[derive(Debug)]
pub(super) struct View {
    pub(super) root: Descriptor,
    pub(super) content: HashMap<Digest, Content>,
}

/// The entry that a name stands for: one of its names in any spelling, a digest of the image, its
/// config or its manifest, or `@N` for the N-th from 0, as skopeo counts.
pub(super) fn choose<'a>(
    archive: &Archive,
    saved: &'a [Saved],
    name: Option<&Name>,
    location: &Location,
) -> Result<&'a Saved> {
    let text = match name {
        None => return only(saved.iter()).ok_or_else(|| unknown(saved, name, location)),
        Some(name) => name.as_str(),
    };
    if let Some(at) = text.strip_prefix('@').and_then(|at| at.parse::<usize>().ok()) {
        return saved.get(at).ok_or_else(|| unknown(saved, name, location));
    }
    // `alpine:3` has the form of a digest too, of an algorithm that nobody knows.
    if let Ok(digest) = text.parse::<Digest>()
        && digest.algorithm().is_ok()
    {
        return by_digest(archive, saved, &digest)?.ok_or_else(|| unknown(saved, name, location));
    }
    let exact = saved.iter().filter(|image| image.repo_tags.iter().any(|known| known == text));
    let reference = canonical(text);
    let spelled = saved.iter().filter(|image| {
        reference.is_some() && image.repo_tags.iter().any(|known| canonical(known) == reference)
    });
    // What podman and buildah make on this machine they call `localhost/NAME`.
    let local = canonical(&format!("localhost/{text}"));
    let here = saved.iter().filter(|image| {
        local.is_some() && image.repo_tags.iter().any(|known| canonical(known) == local)
    });
    let found = only(exact).or_else(|| only(spelled)).or_else(|| only(here));
    found.ok_or_else(|| unknown(saved, name, location))
}

fn by_digest<'a>(
    archive: &Archive,
    saved: &'a [Saved],
    digest: &Digest,
) -> Result<Option<&'a Saved>> {
    // Most archives name the config by its digest; then no other image need be looked at.
    let (likely, others): (Vec<_>, Vec<_>) =
        saved.iter().partition(|image| image.config.contains(digest.encoded()));
    for image in likely.into_iter().chain(others) {
        let config = Digest::sha256(&config(archive, image)?);
        if config == *digest || view(archive, image)?.root.digest == *digest {
            return Ok(Some(image));
        }
    }
    Ok(None)
}

/// The one image among these, which may be listed several times.
fn only<'a>(mut images: impl Iterator<Item = &'a Saved>) -> Option<&'a Saved> {
    let first = images.next()?;
    images
        .all(|other| other.config == first.config && other.layers == first.layers)
        .then_some(first)
}

fn unknown(saved: &[Saved], name: Option<&Name>, location: &Location) -> Error {
    let err = no_root(name, &location.place(), saved.len(), &tags(saved));
    let last = saved.len() - 1;
    match saved.iter().any(|image| image.repo_tags.is_empty()) && last > 0 {
        true => err.hint(format!("images without a name are chosen by number, from @0 to @{last}")),
        false => err,
    }
}

/// All names, in the order of their bytes.
pub(super) fn tags(saved: &[Saved]) -> Vec<Tag> {
    let names = saved.iter().flat_map(|image| &image.repo_tags);
    let mut tags: Vec<_> = names.filter_map(|name| Tag::new(name).ok()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// The image as the layout in the archive has it, or else with a manifest made for it.
pub(super) fn view(archive: &Archive, saved: &Saved) -> Result<View> {
    let bytes = config(archive, saved)?;
    let descriptor = Descriptor::of(MediaType::CONFIG, &bytes);
    if let Some((root, _)) = in_layout(archive, &descriptor.digest)? {
        return Ok(View { root, content: HashMap::new() });
    }
    let config =
        Document::<ImageConfig>::parse(bytes.clone()).map_err(|err| err.context(&saved.config))?;
    let diff_ids = config.diff_ids(saved.layers.len())?;
    let mut content = HashMap::from([(descriptor.digest.clone(), Content::Bytes(bytes))]);
    let mut layers = Vec::new();
    for (name, diff_id) in saved.layers.iter().zip(diff_ids) {
        let part = archive.members().find(name)?.ok_or_else(|| missing(name))?;
        let layer = layer(archive, part, diff_id).map_err(|err| err.context(name))?;
        content.insert(layer.digest.clone(), Content::Part(part));
        layers.push(layer);
    }
    let manifest = Document::new(ImageManifest::new(descriptor, layers))?;
    let root = manifest.descriptor(MediaType::MANIFEST);
    content.insert(root.digest.clone(), Content::Bytes(manifest.bytes().clone()));
    Ok(View { root, content })
}

fn config(archive: &Archive, saved: &Saved) -> Result<bytes::Bytes> {
    archive.small(&saved.config, LIMIT)?.ok_or_else(|| missing(&saved.config))
}

fn missing(name: &str) -> Error {
    let shown = conex_tar::show(name.as_bytes());
    Error::not_found(format!("manifest.json names {shown}, which is no member of the archive"))
}

/// An uncompressed layer is called by its diff ID, which is verified when it is read. One that
/// another tool compressed is hashed here.
fn layer(archive: &Archive, part: Part, diff_id: &Digest) -> Result<Descriptor> {
    let cannot = |err| Error::from_io(err, || "cannot read the layer".into());
    let mut head = Vec::with_capacity(4);
    archive.reader(part).take(4).read_to_end(&mut head).map_err(cannot)?;
    let compression = detect(&head);
    if compression == Compression::None {
        return Ok(Descriptor::new(MediaType::LAYER, diff_id.clone(), part.size));
    }
    let mut hasher = Algorithm::Sha256.hasher();
    let (mut reader, mut buffer) = (archive.reader(part), vec![0; CHUNK]);
    loop {
        match reader.read(&mut buffer).map_err(cannot)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(Descriptor::new(MediaType::layer(compression), hasher.finish(), part.size))
}

/// The root of the layout that holds the image with this config, and the image: the root is an
/// index where all of it is in the archive, since engines save an index with the images of other
/// platforms left out.
pub(super) fn in_layout(
    archive: &Archive,
    config: &Digest,
) -> Result<Option<(Descriptor, Descriptor)>> {
    if !(archive.members().has(MARKER_FILE) && archive.members().has(INDEX_FILE)) {
        return Ok(None);
    }
    for root in oci::roots(archive)? {
        let mut search = Search { archive, config, seen: HashSet::new(), missing: false };
        if let Some(image) = search.find(&root, 0)? {
            let root = if search.missing { &image } else { &root };
            return Ok(Some((nameless(root), image)));
        }
    }
    Ok(None)
}

struct Search<'a> {
    archive: &'a Archive,
    config: &'a Digest,
    seen: HashSet<Digest>,
    /// Whether anything below the root is not in the archive.
    missing: bool,
}

impl Search<'_> {
    /// Looks at everything below a root.
    fn find(&mut self, root: &Descriptor, depth: usize) -> Result<Option<Descriptor>> {
        if !self.seen.insert(root.digest.clone()) {
            return Ok(None);
        }
        if depth > MAX_DEPTH || self.seen.len() > MAX_NODES {
            return Err(Error::new(Kind::Limit, "index in the archive lists too much content"));
        }
        if !root.media_type.is_manifest() {
            let path = blobs::path(&root.digest)?;
            self.missing |= self.archive.members().find(&path)?.is_none();
            return Ok(None);
        }
        let Some(manifest) = oci::manifest(self.archive, root)? else {
            self.missing = true;
            return Ok(None);
        };
        let mut found = match manifest.value() {
            Manifest::Image(image) if image.config.digest == *self.config => Some(root.clone()),
            _ => None,
        };
        for child in manifest.children() {
            let below = self.find(child, depth + 1)?;
            found = found.or(below);
        }
        Ok(found)
    }
}
