//! `index.json` of a layout, read and changed without building its values: a layout may have tens
//! of thousands of names, and one of them is asked for. What is not changed keeps its bytes.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use conex_spec::descriptor::REF_NAME;
use conex_spec::document::{Format, LIMIT};
use conex_spec::{Descriptor, Error, ImageIndex, Kind, Manifest, Name, Result, Tag, strict_json};

/// The bytes of an index and where its entries lie in them.
#[derive(Debug)]
pub(super) struct Index<'a> {
    bytes: &'a [u8],
    /// The array of entries, brackets included.
    array: Range<usize>,
    entries: Vec<Item<'a>>,
}

/// An entry.
#[derive(Debug)]
pub(super) struct Item<'a> {
    text: &'a str,
    digest: Cow<'a, str>,
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    manifests: &'a RawValue,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(borrow, default)]
    annotations: Option<Annotations<'a>>,
}

#[derive(Deserialize)]
struct Annotations<'a> {
    #[serde(borrow, default, rename = "org.opencontainers.image.ref.name")]
    name: Option<Cow<'a, str>>,
}

impl<'a> Index<'a> {
    /// Checks the whole as strictly as any document, but for the values inside the entries.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        strict_json::check(bytes, LIMIT, ImageIndex::SHAPE, ImageIndex::NAME)?;
        let frame: Frame<'_> = serde_json::from_slice(bytes).map_err(broken)?;
        let array = frame.manifests.get();
        let start = array.as_ptr().addr() - bytes.as_ptr().addr();
        let array_range = start..start + array.len();
        let items: Vec<&RawValue> = serde_json::from_str(array).map_err(broken)?;
        let entries = items.into_iter().map(Item::parse).collect::<Result<_>>()?;
        let index = Self { bytes, array: array_range, entries };
        // What stands around the entries is checked as that of an index without any.
        Manifest::parse(index.with_entries("[]"), None)?;
        Ok(index)
    }

    /// All entries.
    pub(super) fn entries(&self) -> &[Item<'a>] {
        &self.entries
    }

    /// The entry of a name. Where several have one name, the first counts.
    pub(super) fn find(&self, name: Option<&Name>) -> Option<&Item<'a>> {
        let all_same = || self.entries.windows(2).all(|pair| pair[0].digest == pair[1].digest);
        match name {
            Some(Name::Tag(tag)) => self.entries.iter().find(|entry| entry.has_name(tag)),
            Some(Name::Digest(digest)) => {
                self.entries.iter().find(|entry| entry.digest == digest.as_str())
            }
            None => self.entries.first().filter(|_| all_same()),
        }
    }

    /// The bytes with a root under a name, in place of the entry that has the name now.
    pub(super) fn with_root(&self, root: &Descriptor, tag: Option<&Tag>) -> Result<Vec<u8>> {
        let new = listing(root.clone(), tag)?;
        let same = |entry: &Item<'_>| entry.digest == root.digest.as_str();
        // A root that was listed without a name gets this one; one that has a name needs no
        // entry without.
        let at = self.entries.iter().position(|entry| match tag {
            Some(tag) => entry.has_name(tag) || (entry.name.is_none() && same(entry)),
            None => same(entry),
        });
        let mut texts = Vec::with_capacity(self.entries.len() + 1);
        for (number, entry) in self.entries.iter().enumerate() {
            match tag {
                Some(_) if at == Some(number) => texts.push(new.as_str()),
                Some(tag) if entry.has_name(tag) => {}
                _ => texts.push(entry.text),
            }
        }
        if at.is_none() {
            texts.push(&new);
        }
        self.changed(&texts)
    }

    /// The bytes with these roots. Entries that stay, in their order, keep their bytes.
    pub(super) fn with_roots(&self, roots: &[Descriptor]) -> Result<Vec<u8>> {
        let old = self.entries.iter().map(|entry| Ok((entry.descriptor()?, entry.text)));
        let old = old.collect::<Result<Vec<_>>>()?;
        let (mut texts, mut rest) = (Vec::with_capacity(roots.len()), old.as_slice());
        for root in roots {
            match rest.iter().position(|(known, _)| known == root) {
                Some(at) => {
                    texts.push(Cow::Borrowed(rest[at].1));
                    rest = &rest[at + 1..];
                }
                None => texts.push(Cow::Owned(serde_json::to_string(root).map_err(unlisted)?)),
            }
        }
        self.changed(&texts.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    /// The bytes without the entries of a name, or of a digest, and the names of those, or their
    /// digests where they have none; nothing where there is no such entry.
    pub(super) fn without(&self, name: &Name) -> Result<Option<(Vec<u8>, Vec<String>)>> {
        let goes = |entry: &Item<'_>| match name {
            Name::Tag(tag) => entry.has_name(tag),
            Name::Digest(digest) => entry.digest == digest.as_str(),
        };
        let (gone, kept): (Vec<_>, Vec<_>) = self.entries.iter().partition(|entry| goes(entry));
        if gone.is_empty() {
            return Ok(None);
        }
        let kept: Vec<_> = kept.iter().map(|entry| entry.text).collect();
        let names = gone.iter().map(|entry| entry.name.as_ref().unwrap_or(&entry.digest));
        Ok(Some((self.changed(&kept)?, names.map(ToString::to_string).collect())))
    }

    /// The bytes without a tag; the last entry of a root stays, without its name. Nothing where
    /// there is no such tag.
    pub(super) fn unnamed(&self, tag: &Tag) -> Result<Option<Vec<u8>>> {
        let Some(at) = self.entries.iter().position(|entry| entry.has_name(tag)) else {
            return Ok(None);
        };
        let digest = &self.entries[at].digest;
        let others = || self.entries.iter().filter(|entry| !entry.has_name(tag));
        let nameless = listing(self.entries[at].descriptor()?, None)?;
        let mut texts: Vec<_> = others().map(|entry| entry.text).collect();
        if !others().any(|entry| entry.digest == *digest) {
            texts.push(&nameless);
        }
        self.changed(&texts).map(Some)
    }

    fn changed(&self, entries: &[&str]) -> Result<Vec<u8>> {
        let unchanged = entries.len() == self.entries.len()
            && entries.iter().zip(&self.entries).all(|(new, old)| *new == old.text);
        if unchanged {
            return Ok(self.bytes.to_vec());
        }
        let bytes = self.with_entries(&format!("[{}]", entries.join(",")));
        if bytes.len() > LIMIT {
            return Err(Error::new(Kind::Limit, "layout has no room for another name")
                .expected(format!("an index of at most {LIMIT} bytes")));
        }
        Ok(bytes)
    }

    fn with_entries(&self, array: &str) -> Vec<u8> {
        let (before, after) = (&self.bytes[..self.array.start], &self.bytes[self.array.end..]);
        [before, array.as_bytes(), after].concat()
    }
}

impl<'a> Item<'a> {
    fn parse(raw: &'a RawValue) -> Result<Self> {
        let text = raw.get();
        let entry: Entry<'_> = serde_json::from_str(text).map_err(broken)?;
        let name = entry.annotations.and_then(|annotations| annotations.name);
        Ok(Self { text, digest: entry.digest, name })
    }

    /// The name, where it is one that can be typed.
    pub(super) fn tag(&self) -> Option<Tag> {
        self.name.as_ref().and_then(|name| Tag::new(name).ok())
    }

    /// The whole entry.
    pub(super) fn descriptor(&self) -> Result<Descriptor> {
        serde_json::from_str(self.text).map_err(broken)
    }

    fn has_name(&self, tag: &Tag) -> bool {
        self.name.as_deref() == Some(tag.as_str())
    }
}

fn broken(err: serde_json::Error) -> Error {
    Error::invalid("image index breaks its schema").source(err)
}

fn unlisted(err: serde_json::Error) -> Error {
    Error::invalid("root cannot be listed").source(err)
}

/// The entry of a root under a name, or without one.
fn listing(mut root: Descriptor, tag: Option<&Tag>) -> Result<String> {
    root.annotations.shift_remove(REF_NAME);
    if let Some(tag) = tag {
        root.annotations.insert(REF_NAME.into(), tag.to_string());
    }
    serde_json::to_string(&root).map_err(unlisted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::{Digest, MediaType};

    const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn root(content: &str) -> Descriptor {
        Descriptor::of(MediaType::MANIFEST, content.as_bytes())
    }

    fn tag(text: &str) -> Tag {
        Tag::new(text).unwrap()
    }

    fn entry(content: &str, rest: &str) -> String {
        let digest = Digest::sha256(content.as_bytes());
        format!(r#"{{"mediaType":"{TYPE}","digest":"{digest}","size":{}{rest}}}"#, content.len())
    }

    fn named(content: &str, name: &str) -> String {
        entry(content, &format!(r#","annotations":{{"{REF_NAME}":"{name}"}}"#))
    }

    fn index(entries: &[String]) -> String {
        let entries = entries.join(" ,\n");
        format!(r#" {{ "x":"[{{", "manifests" : [ {entries} ], "schemaVersion": 2}} "#)
    }

    #[test]
    fn one_entry_is_found_and_the_first_counts() {
        let text = index(&[named("a", "1"), named("b", "1"), entry("c", ""), named("b", "x:y/z")]);
        let index = Index::parse(text.as_bytes()).unwrap();
        let digest =
            |name: &Name| index.find(Some(name)).map(|item| item.descriptor().unwrap().digest);
        assert_eq!(digest(&Name::Tag(tag("1"))), Some(root("a").digest));
        assert_eq!(digest(&Name::Tag(tag("x:y/z"))), Some(root("b").digest));
        assert_eq!(digest(&Name::Tag(tag("2"))), None);
        assert_eq!(digest(&Name::Digest(root("c").digest)), Some(root("c").digest));
        assert!(index.find(None).is_none());
    }

    #[test]
    fn a_change_leaves_all_else_as_it_was() {
        let (a, b) = (named("a", "1"), entry("b", r#", "x-tool":[1, 2]"#));
        let text = index(&[a.clone(), b.clone()]);
        let parsed = Index::parse(text.as_bytes()).unwrap();
        let with = |root: &Descriptor, name: Option<&Tag>| {
            String::from_utf8(parsed.with_root(root, name).unwrap()).unwrap()
        };
        let expected = |entries: &[&str]| {
            format!(
                r#" {{ "x":"[{{", "manifests" : [{}], "schemaVersion": 2}} "#,
                entries.join(",")
            )
        };
        let c = named("c", "1");
        assert_eq!(with(&root("c"), Some(&tag("1"))), expected(&[&c, &b]));
        assert_eq!(with(&root("c"), Some(&tag("2"))), expected(&[&a, &b, &named("c", "2")]));
        assert_eq!(with(&root("b"), Some(&tag("2"))), expected(&[&a, &named("b", "2")]));
        // What is listed already stays as it is, byte for byte.
        assert_eq!(with(&root("a"), None), text);
        assert_eq!(with(&root("a"), Some(&tag("1"))), text);
        let (without, names) = parsed.without(&Name::Tag(tag("1"))).unwrap().unwrap();
        assert_eq!(String::from_utf8(without).unwrap(), expected(&[&b]));
        assert_eq!(names, ["1"]);
        assert!(parsed.without(&Name::Tag(tag("3"))).unwrap().is_none());
    }

    #[test]
    fn a_digest_goes_with_all_of_its_names() {
        let text = index(&[named("a", "1"), named("b", "2"), entry("a", ""), named("a", "3")]);
        let parsed = Index::parse(text.as_bytes()).unwrap();
        let digest = root("a").digest;
        let (bytes, names) = parsed.without(&Name::Digest(digest.clone())).unwrap().unwrap();
        assert_eq!(names, ["1", digest.as_str(), "3"]);
        assert_eq!(Index::parse(&bytes).unwrap().entries().len(), 1);
    }

    #[test]
    fn several_entries_of_one_name_become_one() {
        let text = index(&[named("a", "1"), named("b", "2"), named("c", "1")]);
        let bytes = Index::parse(text.as_bytes()).unwrap().with_root(&root("d"), Some(&tag("1")));
        let bytes = bytes.unwrap();
        let names: Vec<_> = Index::parse(&bytes)
            .unwrap()
            .entries()
            .iter()
            .map(Item::tag)
            .map(Option::unwrap)
            .collect();
        assert_eq!(names, [tag("1"), tag("2")]);
    }

    #[test]
    fn a_root_outlives_its_last_tag() {
        let mut root = Descriptor::of(MediaType::MANIFEST, b"x");
        let empty = index(&[]);
        let names = ["a", "b"].map(|text| Tag::new(text).unwrap());
        root.annotations.insert("k".into(), "v".into());
        let one =
            Index::parse(empty.as_bytes()).unwrap().with_root(&root, Some(&names[0])).unwrap();
        let both = Index::parse(&one).unwrap().with_root(&root, Some(&names[1])).unwrap();
        // One of two names goes with its entry, the last one leaves its entry behind.
        let left = Index::parse(&both).unwrap().unnamed(&names[1]).unwrap().unwrap();
        assert_eq!(left, one);
        let left = Index::parse(&left).unwrap().unnamed(&names[0]).unwrap().unwrap();
        let left = Index::parse(&left).unwrap();
        assert_eq!(left.entries().len(), 1);
        assert_eq!(left.entries()[0].descriptor().unwrap(), root);
        assert_eq!(left.unnamed(&names[0]).unwrap(), None);
    }

    /// Rules J1 to J4.
    #[test]
    fn what_has_two_readings_is_refused() {
        let sound = named("a", "1");
        for bad in [
            index(&[sound.replace("annotations", "Annotations")]),
            index(&[sound.replace("\"digest\"", "\"digest\":\"x\",\"digest\"")]),
            index(std::slice::from_ref(&sound)).replace("manifests", "Manifests"),
            index(std::slice::from_ref(&sound)).replace("\"x\"", "\"layers\":[],\"config\""),
            index(std::slice::from_ref(&sound)).replace(": 2", ": 1"),
            index(std::slice::from_ref(&sound)).replace(": 2", ""),
            r#"{"schemaVersion":2,"manifests":null}"#.into(),
            r#"{"schemaVersion":2,"manifests":[7]}"#.into(),
            r#"{"schemaVersion":2}"#.into(),
        ] {
            assert!(Index::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
