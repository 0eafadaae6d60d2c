//! Which of the roots in an archive is meant.

use conex_spec::descriptor::REF_NAME;
use conex_spec::{Descriptor, Error, Location, Name, Reference, Result, Tag};

use crate::memory::no_root;

/// The annotation with the whole reference of an image, as containerd and the Docker engine
/// write it into an index.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// The root that a name stands for. A name is what the index calls the root, or a reference in
/// any of its spellings where the index holds references. No name stands for the only root.
///
/// # Errors
/// `NotFound` where no root, or more than one, has the name; the message lists what there is.
pub fn find(roots: &[Descriptor], name: Option<&Name>, location: &Location) -> Result<Descriptor> {
    let tag = match name {
        None => return only(roots.iter(), || nothing(roots, name, location)),
        Some(Name::Digest(digest)) => {
            let same = roots.iter().filter(|root| root.digest == *digest);
            return only(same, || nothing(roots, name, location));
        }
        Some(Name::Tag(tag)) => tag,
    };
    let exact = roots.iter().filter(|root| names(root).any(|known| known == tag.as_str()));
    if exact.clone().next().is_some() {
        return only(exact, || {
            nothing(roots, name, location).hint("more than one is called that; give the whole name")
        });
    }
    let reference = canonical(tag.as_str());
    let same = roots.iter().filter(|root| {
        reference.is_some() && names(root).any(|known| canonical(known) == reference)
    });
    only(same, || nothing(roots, name, location))
}

/// What the roots are called, in the order of the bytes: by the whole reference where it is known.
pub fn tags(roots: &[Descriptor]) -> Vec<Tag> {
    let mut tags: Vec<_> = roots.iter().filter_map(shown).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// The reference in its one canonical spelling with a tag; nothing for what is no reference.
pub fn canonical(text: &str) -> Option<String> {
    let reference: Reference = text.parse().ok()?;
    match reference.name_or_latest() {
        Name::Tag(tag) => Some(reference.without_name().with_tag(tag).ok()?.to_string()),
        Name::Digest(_) => None,
    }
}

/// "the `org.opencontainers.image.ref.name` annotation SHOULD only be considered valid when on
/// descriptors on `index.json`" (image-layout.md, "index.json file"), so it goes no further.
pub(super) fn nameless(root: &Descriptor) -> Descriptor {
    let mut root = root.clone();
    root.annotations.shift_remove(REF_NAME);
    root.annotations.shift_remove(IMAGE_NAME);
    root
}

/// What an index calls a root.
pub(super) fn names(root: &Descriptor) -> impl Iterator<Item = &str> {
    [REF_NAME, IMAGE_NAME]
        .into_iter()
        .filter_map(|key| root.annotations.get(key))
        .map(String::as_str)
}

fn shown(root: &Descriptor) -> Option<Tag> {
    let name = root.annotations.get(IMAGE_NAME).or_else(|| root.annotations.get(REF_NAME));
    Tag::new(name?).ok()
}

/// The one root among these, which may be listed several times.
fn only<'a>(
    mut roots: impl Iterator<Item = &'a Descriptor>,
    fault: impl Fn() -> Error,
) -> Result<Descriptor> {
    let first = roots.next().ok_or_else(&fault)?;
    match roots.all(|other| other.digest == first.digest) {
        true => Ok(nameless(first)),
        false => Err(fault()),
    }
}

fn nothing(roots: &[Descriptor], name: Option<&Name>, location: &Location) -> Error {
    let tags = tags(roots);
    let err = no_root(name, &location.place(), roots.len(), &tags);
    match tags.is_empty() {
        // Roots without names can still be told apart.
        true => {
            let digests = roots.iter().take(10).map(|root| root.digest.to_string());
            let listed = digests.collect::<Vec<_>>().join(", ");
            if listed.is_empty() { err } else { err.found(listed) }
        }
        false => err,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::MediaType;

    fn root(seed: &str, names: &[(&str, &str)]) -> Descriptor {
        let mut root = Descriptor::of(MediaType::MANIFEST, seed.as_bytes());
        root.annotations = names.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        root
    }

    fn choose(roots: &[Descriptor], name: Option<&str>) -> Result<Descriptor> {
        let name = name.map(|name| match name.strip_prefix("sha256:") {
            Some(_) => Name::Digest(name.parse().unwrap()),
            None => Name::Tag(Tag::new(name).unwrap()),
        });
        find(roots, name.as_ref(), &"oci-archive:f".parse().unwrap())
    }

    #[test]
    fn by_tag_by_digest_and_by_any_spelling_of_a_reference() {
        let roots = [
            root("a", &[(REF_NAME, "1"), (IMAGE_NAME, "docker.io/library/alpine:1")]),
            root("b", &[(REF_NAME, "2"), (IMAGE_NAME, "docker.io/library/busybox:2")]),
            root("c", &[(REF_NAME, "registry.example:5000/a/b:c")]),
        ];
        let [a, b, c] = ["a", "b", "c"].map(|seed| root(seed, &[]));
        for (name, found) in [
            ("1", &a),
            ("alpine:1", &a),
            ("docker.io/library/alpine:1", &a),
            ("2", &b),
            ("registry.example:5000/a/b:c", &c),
            (b.digest.as_str(), &b),
        ] {
            assert_eq!(choose(&roots, Some(name)).unwrap(), *found, "{name}");
        }
        for name in [None, Some("3"), Some("alpine"), Some("alpine:2")] {
            let err = choose(&roots, name).unwrap_err();
            let listed = err.found_value().unwrap();
            assert!(
                listed.contains("docker.io/library/alpine:1, docker.io/library/busybox:2"),
                "{err}"
            );
        }
    }

    #[test]
    fn one_name_for_two_roots_is_refused_and_one_root_under_two_names_is_not() {
        let [a, b] = ["a", "b"].map(|seed| root(seed, &[(REF_NAME, "1")]));
        assert!(choose(&[a.clone(), b], Some("1")).unwrap_err().hint_text().is_some());
        let again = root("a", &[(REF_NAME, "2")]);
        assert_eq!(choose(&[a.clone(), again], None).unwrap().digest, a.digest);
        let err = choose(&[root("x", &[]), root("y", &[])], None).unwrap_err();
        assert!(err.found_value().unwrap().contains("sha256:"), "{err}");
    }
}
