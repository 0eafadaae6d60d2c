//! What the roots of a place on this machine need, told from its files: what is missing or
//! damaged ends no walk, so that upkeep sees the whole.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use serde_json::Value;

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Error, Kind, Manifest, Result};
use conex_store::blobs::{BLOBS, Blobs};
use conex_store::commit::Folder;
use conex_store::{Collection, Entry};

/// All content below one root, the root included, each digest once.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// What is needed.
    pub content: HashMap<Digest, Descriptor>,
    /// Manifests that cannot be read, and a root that is not there, so that nobody knows what
    /// they need. An entry of an index may be elsewhere; then so is what it needs.
    pub unreadable: Vec<Descriptor>,
}

/// A blob's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it came here or was last changed, in seconds since 1970.
    pub changed: i64,
}

/// The content of every root. Two names of one root share their walk.
pub fn reach_all(collection: &dyn Collection) -> Result<Vec<(Entry, Arc<Reach>)>> {
    let Some(folder) = collection.folder() else { return Ok(Vec::new()) };
    let mut known: HashMap<Digest, Arc<Reach>> = HashMap::new();
    let mut all = Vec::new();
    for entry in collection.entries()? {
        let digest = &entry.root.digest;
        if !known.contains_key(digest) {
            known.insert(digest.clone(), Arc::new(reach(folder, &entry.root)?));
        }
        let reach = Arc::clone(&known[digest]);
        all.push((entry, reach));
    }
    Ok(all)
}

/// The content below one root. A `subject` is a weak link, and keeps nothing; what has this one as
/// its subject is found by [`add_referrers`].
pub fn reach(folder: &Folder, root: &Descriptor) -> Result<Reach> {
    let mut reach = Reach::default();
    // One digest may be listed both as a manifest and as something opaque.
    let mut seen = HashSet::new();
    let mut waiting = vec![(root.clone(), true)];
    while let Some((node, may_be_manifest)) = waiting.pop() {
        if !seen.insert((node.digest.clone(), may_be_manifest)) {
            continue;
        }
        if may_be_manifest {
            match children(folder, &node)? {
                Children::Known(children) => waiting.extend(children),
                Children::Absent if node.digest != root.digest => {}
                Children::Absent if !node.media_type.is_manifest() => {}
                Children::Absent | Children::Unknown => reach.unreadable.push(node.clone()),
            }
        }
        reach.content.insert(node.digest.clone(), node);
    }
    Ok(reach)
}

/// Adds the referrers of what is needed, and what they need: a referrer stays as long as its
/// subject does, also where no root lists it. Referrers of referrers count.
///
/// # Errors
/// Those of the operating system.
pub fn add_referrers(folder: &Folder, kept: &[Kept], needed: &mut HashSet<Digest>) -> Result<()> {
    let mut waiting = Vec::new();
    for blob in kept.iter().filter(|blob| !needed.contains(&blob.digest)) {
        if let Some((root, subject)) = subject_of(folder, blob)? {
            waiting.push((root, subject));
        }
    }
    loop {
        let (of_needed, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, subject)| needed.contains(subject));
        if of_needed.is_empty() {
            return Ok(());
        }
        for (root, _) in &of_needed {
            needed.extend(reach(folder, root)?.content.into_keys());
        }
        waiting = others;
    }
}

/// A manifest that has a subject, and this; nothing for any other blob.
fn subject_of(folder: &Folder, blob: &Kept) -> Result<Option<(Descriptor, Digest)>> {
    if blob.size > LIMIT as u64 {
        return Ok(None);
    }
    let Some(bytes) = folder.read(&conex_store::blobs::path(&blob.digest)?, LIMIT)? else {
        return Ok(None);
    };
    let Ok(manifest) = Manifest::parse(bytes.clone(), None) else { return Ok(None) };
    let Some(subject) = manifest.subject() else { return Ok(None) };
    let root = Descriptor::new(manifest.media_type(), blob.digest.clone(), blob.size);
    Ok(root.verify(&bytes).is_ok().then(|| (root, subject.digest.clone())))
}

/// What a document needs.
enum Children {
    /// This, and whether it may have children itself.
    Known(Vec<(Descriptor, bool)>),
    /// The document is not there.
    Absent,
    /// The document is damaged, or not one that conex can read.
    Unknown,
}

/// What a root or an entry of an index needs.
fn children(folder: &Folder, node: &Descriptor) -> Result<Children> {
    let known = node.media_type.is_manifest();
    let nothing = Children::Known(Vec::new());
    if !known && node.size > LIMIT as u64 {
        return Ok(nothing);
    }
    let Ok(path) = conex_store::blobs::path(&node.digest) else {
        // Nobody can tell whether it is what it should be, and so what it needs.
        return Ok(if known { Children::Unknown } else { nothing });
    };
    let bytes = match folder.read(&path, LIMIT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Children::Absent),
        Err(err) if is_failure(&err) => return Err(err),
        Err(_) => return Ok(if known { Children::Unknown } else { nothing }),
    };
    if node.verify(&bytes).is_err() {
        return Ok(Children::Unknown);
    }
    match Manifest::parse(bytes.clone(), Some(&node.media_type)) {
        Ok(manifest) => {
            let index = matches!(*manifest, Manifest::Index(_));
            let children = manifest.children().into_iter();
            Ok(Children::Known(children.map(|child| (child.clone(), index)).collect()))
        }
        Err(_) if known => Ok(Children::Unknown),
        // A document of a sort that is not known here still keeps what it names.
        Err(_) => {
            Ok(Children::Known(serde_json::from_slice(&bytes).map(mentioned).unwrap_or_default()))
        }
    }
}

/// Every descriptor in a document of an unknown sort.
fn mentioned(document: Value) -> Vec<(Descriptor, bool)> {
    let mut found = Vec::new();
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        if let Ok(descriptor) = serde_json::from_value::<Descriptor>(value.clone()) {
            found.push((descriptor, true));
            continue;
        }
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                let members = members.into_iter().filter(|(name, _)| name != "subject");
                waiting.extend(members.map(|(_, value)| value));
            }
            _ => {}
        }
    }
    found
}

/// The files of all blobs. What else lies among them is of others, and is left alone.
///
/// # Errors
/// Those of the operating system: what cannot be looked at is neither missing nor superfluous.
pub fn kept(folder: &Folder) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    for algorithm in there(folder.list(BLOBS))?.unwrap_or_default() {
        let names = there(folder.list(&format!("{BLOBS}/{algorithm}")))?;
        for name in names.unwrap_or_default() {
            let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
            if digest.algorithm().is_err() {
                continue;
            }
            if let Some((size, changed)) = there(Blobs(folder).look(&digest))?.flatten() {
                all.push(Kept { digest, size, changed });
            }
        }
    }
    Ok(all)
}

/// Nothing in place of what is no folder or no regular file.
pub(crate) fn there<T>(looked: Result<T>) -> Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(err) if is_failure(&err) => Err(err),
        Err(_) => Ok(None),
    }
}

/// Whether the machine failed, so that nobody knows what is there: no permission, a bad disk. A
/// file in the place of a folder is known for what it is.
pub(crate) fn is_failure(err: &Error) -> bool {
    let cause = std::error::Error::source(err).and_then(|err| err.downcast_ref::<io::Error>());
    matches!(err.kind(), Kind::Io | Kind::NoSpace)
        && cause.is_none_or(|err| err.kind() != io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    use conex_spec::{Document, ImageIndex, MediaType};
    use conex_store::{Layout, Sink};
    use conex_testkit::images;

    /// A layout with one image, and where the blobs are.
    async fn layout(dir: &std::path::Path) -> (Layout, Descriptor, Vec<Descriptor>) {
        let memory = conex_store::Memory::new();
        let image = images::image(&memory, &conex_spec::Platform::new("linux", "amd64"), 2, 100);
        let layout = Layout::create(dir, None).unwrap();
        let graph = crate::walk::walk(&memory, &image).await.unwrap();
        let mut blobs = graph.blobs.clone();
        blobs.push(image.clone());
        for blob in &blobs {
            let content = conex_store::Source::open(&memory, blob, 0..blob.size).await.unwrap();
            layout.put(blob, content).await.unwrap();
        }
        layout.tag(&image, None).await.unwrap();
        (Layout::open(dir, None).unwrap(), image, graph.blobs)
    }

    /// A socket cannot be opened by anybody, root included.
    fn make_unreadable(dir: &std::path::Path, blob: &Descriptor) -> std::path::PathBuf {
        let file = dir.join(conex_store::blobs::path(&blob.digest).unwrap());
        std::fs::remove_file(&file).unwrap();
        UnixListener::bind(&file).unwrap();
        file
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_neither_missing_nor_garbage() {
        for which in [0, 2] {
            let dir = tempfile::tempdir().unwrap();
            let (layout, image, blobs) = layout(dir.path()).await;
            let blob = if which == 0 { &image } else { &blobs[1] };
            let file = make_unreadable(dir.path(), blob);
            let place: Arc<dyn Collection> = Arc::new(layout);
            let gc = crate::gc::Options { before: i64::MAX, dry_run: false, patience: 1 };
            let errors = [
                kept(place.folder().unwrap()).map(drop),
                crate::fsck::fsck(Arc::clone(&place)).await.map(drop),
                crate::du::du(Arc::clone(&place)).await.map(drop),
                crate::gc::gc(Arc::clone(&place), gc).await.map(drop),
            ];
            for err in errors.map(Result::unwrap_err) {
                assert_eq!(err.kind(), Kind::Io, "{err}");
                assert!(err.to_string().contains(file.to_str().unwrap()), "{err}");
            }
            std::fs::remove_file(&file).unwrap();
            assert_eq!(kept(place.folder().unwrap()).unwrap().len(), 3);
        }
    }

    #[tokio::test]
    async fn what_a_damaged_manifest_needs_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, image, _) = layout(dir.path()).await;
        std::fs::write(dir.path().join(conex_store::blobs::path(&image.digest).unwrap()), "{")
            .unwrap();
        let report = crate::du::du(Arc::new(layout)).await.unwrap();
        assert_eq!((report.unneeded, report.total.blobs), (None, 4));
        assert_eq!(report.images[0].damaged, [image.digest]);
    }

    /// Neither a root that is lost nor one that cannot be read gives up what it needs.
    #[tokio::test]
    async fn what_a_lost_or_unknown_root_needs_is_not_collected() {
        let gc = crate::gc::Options { before: i64::MAX, dry_run: false, patience: 1 };
        let dir = tempfile::tempdir().unwrap();
        let (layout, image, _) = layout(dir.path()).await;
        let file = dir.path().join(conex_store::blobs::path(&image.digest).unwrap());
        let manifest = std::fs::read_to_string(&file).unwrap();
        let place: Arc<dyn Collection> = Arc::new(layout);
        std::fs::remove_file(&file).unwrap();
        let err = crate::gc::gc(Arc::clone(&place), gc).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Mismatch, "{err}");
        assert_eq!(err.found_value(), Some("none"));
        assert_eq!(crate::du::du(Arc::clone(&place)).await.unwrap().unneeded, None);
        std::fs::write(&file, &manifest).unwrap();
        for (right, wrong) in [
            (r#""layers":["#, r#""layers":[],"layers":["#),
            (r#""size":100"#, r#""size":-1"#),
            ("sha256:", "SHA256:"),
        ] {
            let bytes = manifest.replacen(right, wrong, 1);
            assert_ne!(bytes, manifest);
            let mut unknown = Descriptor::of(image.media_type.clone(), bytes.as_bytes());
            unknown.annotations = image.annotations.clone();
            let index = std::fs::read_to_string(dir.path().join("index.json")).unwrap();
            let listed = index.replace(image.digest.as_str(), unknown.digest.as_str());
            let size = |of: &Descriptor| format!("\"size\":{}", of.size);
            let listed = listed.replace(&size(&image), &size(&unknown));
            std::fs::write(dir.path().join("index.json"), listed).unwrap();
            let path = conex_store::blobs::path(&unknown.digest).unwrap();
            std::fs::write(dir.path().join(path), bytes).unwrap();
            let err = crate::gc::gc(Arc::clone(&place), gc).await.unwrap_err();
            assert_eq!(err.kind(), Kind::Mismatch, "{err}");
            assert_eq!(err.found_value(), Some("one that cannot be read"));
            std::fs::write(dir.path().join("index.json"), index).unwrap();
        }
        // Neither an old manifest, whose layers stand elsewhere in it, nor one under a digest that
        // cannot be verified.
        let schema1 = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        let old = Descriptor::of(MediaType::DOCKER_SCHEMA1_SIGNED, schema1.as_bytes());
        let digest = "sha384:".to_owned() + &"0".repeat(96);
        let opaque = Descriptor { digest: digest.parse().unwrap(), ..image.clone() };
        for unknown in [old, opaque] {
            let file = dir.path().join("blobs").join(unknown.digest.as_str().replace(':', "/"));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, schema1).unwrap();
            let before = std::fs::read_to_string(dir.path().join("index.json")).unwrap();
            let index = Document::new(ImageIndex::new(vec![unknown])).unwrap();
            std::fs::write(dir.path().join("index.json"), index.bytes()).unwrap();
            let err = crate::gc::gc(Arc::clone(&place), gc).await.unwrap_err();
            assert_eq!(err.kind(), Kind::Mismatch, "{err}");
            // It is there, and nobody says that it is not.
            let faults = crate::fsck::fsck(Arc::clone(&place)).await.unwrap().faults;
            assert!(faults.is_empty(), "{faults:?}");
            std::fs::remove_file(file).unwrap();
            std::fs::write(dir.path().join("index.json"), before).unwrap();
        }
        // Nothing of the image went in all of this.
        assert_eq!(crate::gc::gc(place, gc).await.unwrap().needed.blobs, 4);
    }

    #[tokio::test]
    async fn what_others_put_among_the_blobs_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, ..) = layout(dir.path()).await;
        let blobs = dir.path().join("blobs");
        std::fs::write(blobs.join("notes"), "").unwrap();
        std::fs::create_dir_all(blobs.join("md5")).unwrap();
        std::fs::write(blobs.join("md5/00112233445566778899aabbccddeeff"), "").unwrap();
        std::os::unix::fs::symlink("sha256", blobs.join("sha512")).unwrap();
        std::fs::create_dir(blobs.join("sha256").join("a".repeat(64))).unwrap();
        assert_eq!(kept(layout.folder().unwrap()).unwrap().len(), 4);
    }
}
