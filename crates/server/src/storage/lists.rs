//! Lists, page by page, in the order of their bytes.

use std::ops::ControlFlow;

use conex_spec::{Descriptor, Digest, Result};

use super::Storage;
use crate::paths::{self, Repository};

/// The longest entry of a list of referrers, in bytes: it carries a manifest's annotations.
const MAX_ENTRY: usize = 16 << 20;

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Whether the list goes on.
    pub(crate) more: bool,
}

impl Storage {
    /// The tags after `last`, at most `count` of them.
    pub(crate) fn tags(
        &self,
        repository: &Repository,
        last: &str,
        count: usize,
    ) -> Result<Page<String>> {
        let mut items = self.folder().list(&repository.tags())?;
        let start = items.partition_point(|tag| tag.as_str() <= last);
        items.drain(..start);
        let more = items.len() > count;
        items.truncate(count);
        Ok(Page { items, more })
    }

    /// The entries of a subject's referrers after the one called `last`, of at most `bytes`
    /// together but at least one, and the name of the last one looked at. Those that `wanted`
    /// refuses are left out.
    pub(crate) fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        last: &str,
        bytes: usize,
        wanted: impl Fn(&Descriptor) -> bool,
    ) -> Result<(Page<Descriptor>, String)> {
        let folder = repository.referrers(subject);
        let mut page = Page { items: Vec::new(), more: false };
        let (mut left, mut at) = (bytes, last.to_owned());
        for name in self.folder().list(&folder)? {
            if name.as_str() <= last {
                continue;
            }
            let path = format!("{folder}/{name}");
            let Some(json) = self.folder().read(&path, MAX_ENTRY)? else { continue };
            // An entry is written whole; one that someone damaged is left out.
            let entry = serde_json::from_slice(&json).ok().filter(&wanted);
            if let Some(entry) = entry
                && self.manifest_type(repository, &Descriptor::bare(&entry).digest)?.is_some()
            {
                if json.len() > left && !page.items.is_empty() {
                    page.more = true;
                    break;
                }
                left = left.saturating_sub(json.len());
                page.items.push(entry);
            }
            at = name;
        }
        Ok((page, at))
    }

    /// The repositories after `last`, at most `count` of them.
    pub(crate) fn repositories(&self, last: &str, count: usize) -> Result<Page<String>> {
        let mut page = Page { items: Vec::new(), more: false };
        let mut walk = Walk { storage: self, last, count, page: &mut page };
        let _ = walk.folder("")?;
        Ok(page)
    }
}

/// Goes through the tree of repositories in the order of their whole names.
struct Walk<'a> {
    storage: &'a Storage,
    last: &'a str,
    count: usize,
    page: &'a mut Page<String>,
}

impl Walk<'_> {
    /// The repositories below `prefix`, which is empty or ends in a slash.
    fn folder(&mut self, prefix: &str) -> Result<ControlFlow<()>> {
        let folder = format!("{}/{prefix}", paths::REPOSITORIES);
        let names = self.storage.folder().list(folder.trim_end_matches('/'))?;
        let names = names.into_iter().filter(|name| !name.starts_with(['_', '.']));
        // `a-b` comes between `a` and `a/b`, so a folder stands in the order twice: as itself and,
        // with a slash, for all below it.
        let mut steps: Vec<String> = names
            .flat_map(|name| [format!("{prefix}{name}"), format!("{prefix}{name}/")])
            .collect();
        steps.sort_unstable();
        for step in steps {
            let flow = if step.ends_with('/') { self.below(&step)? } else { self.visit(step)? };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn below(&mut self, prefix: &str) -> Result<ControlFlow<()>> {
        // All below it was on an earlier page.
        if prefix < self.last && !self.last.starts_with(prefix) {
            return Ok(ControlFlow::Continue(()));
        }
        self.folder(prefix)
    }

    fn visit(&mut self, name: String) -> Result<ControlFlow<()>> {
        if name.as_str() <= self.last {
            return Ok(ControlFlow::Continue(()));
        }
        let Ok(repository) = name.parse::<Repository>() else {
            return Ok(ControlFlow::Continue(()));
        };
        if !self.storage.has_repository(&repository)? {
            return Ok(ControlFlow::Continue(()));
        }
        if self.page.items.len() == self.count {
            self.page.more = true;
            return Ok(ControlFlow::Break(()));
        }
        self.page.items.push(name);
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::{MediaType, Tag};

    /// Rule R8: pages of every size give the whole list once, in one order.
    fn walk(page: impl Fn(&str, usize) -> Page<String>, expected: &[String]) {
        for count in 1..=expected.len() + 1 {
            let (mut found, mut last) = (Vec::new(), String::new());
            loop {
                let page = page(&last, count);
                assert!(page.items.len() == count || !page.more);
                found.extend(page.items);
                if !page.more {
                    break;
                }
                last.clone_from(found.last().unwrap());
            }
            assert_eq!(found, expected, "{count} at a time");
        }
    }

    #[test]
    fn repositories_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), 0).unwrap();
        let mut names: Vec<String> = [
            "math",
            "math-voila",
            "math.x",
            "math/a",
            "math/a/b",
            "math0",
            "a",
            "a/b/c/d",
            "a-b",
            "z/z",
            "a_b",
        ]
        .map(Into::into)
        .into();
        for name in &names {
            let repository = name.parse::<Repository>().unwrap();
            storage.link_blob(&repository, &Digest::sha256(b"")).unwrap();
        }
        let upload = "only/upload".parse::<Repository>().unwrap().upload(uuid::Uuid::nil());
        storage.folder().touch(&upload).unwrap();
        names.sort();
        walk(|last, count| storage.repositories(last, count).unwrap(), &names);
        let none = Page { items: Vec::new(), more: true };
        assert_eq!(storage.repositories("", 0).unwrap(), none);
    }

    #[test]
    fn tags_come_in_the_order_of_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), 0).unwrap();
        let repository: Repository = "a".parse().unwrap();
        let mut tags: Vec<String> =
            ["0.1.2", "0.1.20", "0.1.3", "B", "a", "_x", "a.b", "a-b"].map(Into::into).into();
        for tag in &tags {
            let tag = Tag::registry(tag).unwrap();
            storage.put_tag(&repository, &tag, &Digest::sha256(b"")).unwrap();
        }
        tags.sort();
        walk(|last, count| storage.tags(&repository, last, count).unwrap(), &tags);
    }

    #[test]
    fn referrers_come_in_pages_of_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), 0).unwrap();
        let (repository, subject) = ("a".parse::<Repository>().unwrap(), Digest::sha256(b"s"));
        for i in 0..20_u8 {
            let mut entry = Descriptor::of(MediaType::MANIFEST, &[i]);
            entry.artifact_type = Some(MediaType::new(if i % 2 == 0 { "a/even" } else { "a/odd" }));
            storage.put_manifest(&repository, &entry, &[i], Some((&subject, &entry))).unwrap();
        }
        let gone = Descriptor::of(MediaType::MANIFEST, &[0]).digest;
        storage.folder().remove(&repository.manifest(&gone).unwrap()).unwrap();
        let even = |entry: &Descriptor| entry.artifact_type == Some(MediaType::new("a/even"));
        for bytes in [1, 500, 1 << 20] {
            let (mut found, mut last) = (Vec::new(), String::new());
            loop {
                let (page, at) =
                    storage.referrers(&repository, &subject, &last, bytes, even).unwrap();
                assert!(!page.items.is_empty());
                found.extend(page.items.into_iter().map(|entry| entry.digest));
                last = at;
                if !page.more {
                    break;
                }
            }
            assert_eq!(found.len(), 9, "{bytes} a page");
            found.dedup();
            assert!(found.len() == 9 && found.is_sorted());
        }
    }
}
