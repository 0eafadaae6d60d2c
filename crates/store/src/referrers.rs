//! The referrers of a manifest, where no registry keeps a list of them.

use conex_spec::{Descriptor, Digest, Manifest, Result};

/// What cosign appends to the digest of an image to name what it says of it.
pub const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// Whether a tag is made of a digest: the list of its referrers, or one of cosign's.
pub fn is_digest_tag(tag: &str) -> bool {
    let stem = SUFFIXES.iter().find_map(|suffix| tag.strip_suffix(suffix)?.strip_suffix('.'));
    let stem = stem.unwrap_or(tag);
    let digest = stem.split_once('-').map(|(algorithm, hex)| format!("{algorithm}:{hex}"));
    digest.is_some_and(|text| text.parse::<Digest>().is_ok_and(|digest| digest.algorithm().is_ok()))
}

/// The roots that a person means who names none: what only belongs to others is left out, as long
/// as anything else is there.
pub(crate) fn without(
    roots: &[Descriptor],
    read: impl Fn(&Descriptor) -> Result<Option<Manifest>>,
) -> Result<Vec<Descriptor>> {
    let mut left = Vec::new();
    for root in roots.iter().filter(|root| !root.ref_name().is_some_and(is_digest_tag)) {
        let known = root.media_type.is_manifest().then(|| read(root)).transpose()?.flatten();
        if known.is_none_or(|manifest| manifest.subject().is_none()) {
            left.push(root.clone());
        }
    }
    Ok(if left.is_empty() { roots.to_vec() } else { left })
}

/// The referrers among the roots of a layout, and those that another tool listed under the
/// referrers tag (distribution-spec, "Referrers Tag Schema"); `read` gives the manifest of a root,
/// nothing where it is missing or damaged.
pub(crate) fn among(
    roots: &[Descriptor],
    subject: &Digest,
    read: impl Fn(&Descriptor) -> Result<Option<Manifest>>,
) -> Result<Vec<Descriptor>> {
    let tag = subject.referrers_tag();
    let mut found = Vec::new();
    for root in roots.iter().filter(|root| root.media_type.is_manifest()) {
        let Some(manifest) = read(root)? else { continue };
        if root.ref_name() == Some(tag.as_str()) {
            found.extend(manifest.children().into_iter().cloned());
        }
        found.extend(manifest.as_referrer(&root.digest, root.size, subject));
    }
    Ok(each_once(found))
}

/// One descriptor for each digest, in the order of the digests.
pub(crate) fn each_once(mut found: Vec<Descriptor>) -> Vec<Descriptor> {
    found.sort_by(|a, b| a.digest.cmp(&b.digest));
    found.dedup_by(|a, b| a.digest == b.digest);
    found
}
