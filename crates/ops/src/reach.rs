//! What the roots of a place on this machine need, told from its files: what is missing or
//! damaged ends no walk, so that upkeep sees the whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Digest, Manifest, Result};
use conex_store::blobs::{BLOBS, Blobs};
use conex_store::commit::Folder;
use conex_store::{Collection, Entry};

/// All content below one root, the root included, each digest once.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// What is needed.
    pub content: HashMap<Digest, Descriptor>,
    /// Manifests that are there but cannot be read, so that nobody knows what they need.
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

/// The content below one root. A `subject` is a weak link, and keeps nothing.
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
                Some(children) => waiting.extend(children),
                None => reach.unreadable.push(node.clone()),
            }
        }
        reach.content.insert(node.digest.clone(), node);
    }
    Ok(reach)
}

/// What a root or an entry of an index needs, and whether that may have children itself; nothing
/// where the document is damaged. One that is not there needs nothing that anybody knows.
fn children(folder: &Folder, node: &Descriptor) -> Result<Option<Vec<(Descriptor, bool)>>> {
    let known = node.media_type.is_manifest();
    if !known && node.size > LIMIT as u64 {
        return Ok(Some(Vec::new()));
    }
    let Ok(path) = conex_store::blobs::path(&node.digest) else { return Ok(Some(Vec::new())) };
    let bytes = match folder.read(&path, LIMIT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Some(Vec::new())),
        Err(_) => return Ok((!known).then(Vec::new)),
    };
    if node.verify(&bytes).is_err() {
        return Ok(None);
    }
    match Manifest::parse(bytes.clone(), Some(&node.media_type)) {
        Ok(manifest) => {
            let index = matches!(*manifest, Manifest::Index(_));
            let children = manifest.children().into_iter();
            Ok(Some(children.map(|child| (child.clone(), index)).collect()))
        }
        // A document of a sort that is not known here still keeps what it names.
        Err(_) => Ok(Some(serde_json::from_slice(&bytes).map(mentioned).unwrap_or_default())),
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
pub fn kept(folder: &Folder) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    for algorithm in folder.list(BLOBS)? {
        let Ok(names) = folder.list(&format!("{BLOBS}/{algorithm}")) else { continue };
        for name in names {
            let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
            if let Ok(Some((size, changed))) = Blobs(folder).look(&digest) {
                all.push(Kept { digest, size, changed });
            }
        }
    }
    Ok(all)
}
