//! What immutable tags keep: themselves, and all that they stand for.

use std::collections::HashSet;

use conex_spec::{Digest, Tag};
use serde_json::json;

use crate::app::App;
use crate::failure::{Code, Failure};
use crate::inspect::Under;
use crate::paths::Repository;
use crate::routes::ManifestName;

impl App {
    /// Those of some tags that stay as they are.
    pub(super) fn kept<'a>(&self, repository: &Repository, tags: &'a [Tag]) -> HashSet<&'a Tag> {
        let keeps = |tag: &&Tag| self.config.policies.keeps(repository.as_str(), tag.as_str());
        tags.iter().filter(keeps).collect()
    }

    /// Refuses where an immutable tag is to go, or a manifest that one needs.
    pub(super) async fn check_deletable(
        &self,
        repository: &Repository,
        name: &ManifestName,
    ) -> Result<(), Failure> {
        match name {
            ManifestName::Tag(tag) if self.config.policies.keeps_any(repository.as_str()) => {
                let tags = std::slice::from_ref(tag);
                let there = self.storage.tags_now(repository, tags).await?.pop().flatten();
                let kept = there.is_some() && !self.kept(repository, tags).is_empty();
                if kept { Err(immutable(tag)) } else { Ok(()) }
            }
            ManifestName::Digest(digest) => {
                self.check_unneeded(repository, digest, Under::Manifests).await
            }
            ManifestName::Tag(_) | ManifestName::NoTag(_) => Ok(()),
        }
    }

    /// Refuses where an immutable tag needs content that is to go. Where nothing is to go, nobody
    /// looks through all of them.
    pub(super) async fn check_unneeded(
        &self,
        repository: &Repository,
        digest: &Digest,
        under: Under,
    ) -> Result<(), Failure> {
        let (policies, name) = (&self.config.policies, repository.as_str());
        if !policies.keeps_any(name) || !self.storage.has(repository, digest, under).await? {
            return Ok(());
        }
        let keeps = |tag: &str| policies.keeps(name, tag);
        match self.storage.needed_by(repository, digest, keeps).await? {
            Some(tag) => Err(immutable(&tag)),
            None => Ok(()),
        }
    }
}

pub(super) fn immutable(tag: &Tag) -> Failure {
    let detail = json!({ "tag": tag.as_str() });
    Code::Denied.says(format!("the tag {tag} is immutable here")).detail(detail)
}
