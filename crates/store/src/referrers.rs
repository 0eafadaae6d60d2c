//! The referrers of a manifest, where no registry keeps a list of them.

use conex_spec::{Descriptor, Digest, Manifest, Result};

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
