//! Documents whose children got other bytes.
//!
//! A rewrite goes from the leaves to the root: each document is given what became of its children
//! and gives what became of itself. [`draft::rewrite`](crate::draft::rewrite) and
//! [`compatibility::convert`](crate::compatibility::convert) both work so, and neither reads
//! anything but the one document.

use std::collections::HashMap;

use crate::descriptor::Descriptor;
use crate::digest::Digest;

/// What became of content, by the digest that it had. What is not in here kept its bytes.
pub type Renewed = HashMap<Digest, Descriptor>;

/// Points an entry to what became of its content. Annotations, platform and unknown members say
/// something of the content and stay; `urls` and `data` held the old bytes and go.
pub(crate) fn renew(entry: &mut Descriptor, renewed: &Renewed) {
    let Some(new) = renewed.get(&entry.digest) else {
        return;
    };
    entry.media_type.clone_from(&new.media_type);
    entry.digest.clone_from(&new.digest);
    entry.size = new.size;
    entry.data.clone_from(&new.data);
    entry.urls.clear();
    if new.artifact_type.is_some() {
        entry.artifact_type.clone_from(&new.artifact_type);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::MediaType;

    #[test]
    fn what_the_entry_says_stays_and_what_held_the_bytes_goes() {
        let old = Descriptor::of(MediaType::DRAFT_MANIFEST, b"old");
        let new = Descriptor::of(MediaType::MANIFEST, b"newer");
        let renewed = Renewed::from([(old.digest.clone(), new.clone())]);
        let mut entry = old;
        entry.urls.push("https://example.com".into());
        entry.data = Some("b2xk".into());
        entry.annotations.insert("k".into(), "v".into());
        entry.extra.insert("x".into(), 1.into());
        renew(&mut entry, &renewed);
        let mut expected = new;
        expected.annotations.clone_from(&entry.annotations);
        expected.extra.clone_from(&entry.extra);
        assert_eq!(entry, expected);
        let mut other = Descriptor::of(MediaType::LAYER, b"other");
        renew(&mut other, &renewed);
        assert_eq!(other, Descriptor::of(MediaType::LAYER, b"other"));
    }
}
