//! What is taken out of a repository. distribution-spec, "Content Management".

use conex_spec::{Descriptor, Digest, Error, Kind, Name, Result, Tag};
use conex_store::SourceExt;
use conex_store::source::Place;
use http::Method;
use http::header::ACCEPT;
use reqwest::Url;

use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::paths;
use crate::referrers_tag;
use crate::repository::Repository;
use crate::resolve::accept;

impl Repository {
    /// Takes a tag away, and nothing else. distribution-spec, "Deleting tags".
    ///
    /// # Errors
    /// `Unsupported` where the registry deletes no tags.
    pub async fn untag(&self, tag: &Tag) -> Result<()> {
        let what = format!("cannot remove the tag {tag} in {}", self.location());
        let hint = "the registry may only delete whole manifests, with every tag: `conex delete`";
        self.delete_name(&Name::Tag(tag.clone()), &what, hint).await
    }

    /// Deletes a manifest, and with it all its tags. Where the registry keeps no list of referrers,
    /// the one under the tag of its subject is kept true. distribution-spec, "Deleting Manifests".
    ///
    /// # Errors
    /// `Unsupported` where the registry deletes no manifests.
    pub async fn delete_manifest(&self, root: &Descriptor) -> Result<()> {
        // A manifest that cannot be read can still be deleted.
        let manifest = self.manifest(root).await.ok();
        let subject = manifest.and_then(|manifest| manifest.subject().cloned());
        // Asked before anything is gone: who cannot tell leaves all as it was.
        let unlist = match &subject {
            Some(subject) => !self.keeps_referrers(&subject.digest).await?,
            None => false,
        };
        let name = Name::Digest(root.digest.clone());
        let what = format!("cannot delete {name} in {}", self.location());
        self.delete_name(&name, &what, "its administrator can allow it, or remove it there")
            .await?;
        if let Some(subject) = subject.filter(|_| unlist) {
            self.unlist_referrer(&root.digest, &subject.digest).await?;
        }
        Ok(())
    }

    /// Takes away the list of referrers of a manifest that is gone, where that is a tag. "clients
    /// MAY also delete the referrers tag when it returns a valid image index".
    pub async fn forget_referrers(&self, subject: &Digest) -> Result<()> {
        if self.keeps_referrers(subject).await? {
            return Ok(());
        }
        let Some(list) = self.referrers_tag(subject).await? else { return Ok(()) };
        let tag = referrers_tag::name_of(subject)?;
        let what = format!("cannot remove the list of referrers {tag} in {}", self.location());
        let hint = "its administrator can remove it there";
        match self.delete_name(&tag, &what, hint).await {
            // Older registries delete by digest only; another empty list of the same digest that
            // goes with it says as much as none.
            Err(err) if err.kind() == Kind::Unsupported => {
                let digest = Name::Digest(Digest::sha256(list.index.bytes()));
                self.delete_name(&digest, &what, hint).await
            }
            deleted => deleted,
        }
    }

    /// Deletes a blob, whatever needs it.
    ///
    /// # Errors
    /// `Unsupported` where the registry deletes no blobs.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<()> {
        let url = paths::blob(self.origin().await?, self.name(), digest)?;
        let what = format!("cannot delete {digest} in {}", self.location());
        self.delete_at(url, &what, "most registries collect blobs that nothing needs by themselves")
            .await
    }

    async fn delete_name(&self, name: &Name, what: &str, hint: &'static str) -> Result<()> {
        let url = paths::manifest(self.origin().await?, self.name(), name)?;
        self.delete_at(url, what, hint).await
    }

    /// "If […] deletion is disabled, the registry MUST respond with either a `400 Bad Request` or a
    /// `405 Method Not Allowed`."
    async fn delete_at(&self, url: Url, what: &str, hint: &'static str) -> Result<()> {
        let ask = Ask::new(Method::DELETE, url, Scope::delete(self.name()));
        let answer = self.registry().send(ask).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let err: Error = fault(answer, what).await;
        Err(match status.as_u16() {
            400 | 405 | 501 => err.with_kind(Kind::Unsupported).hint(hint),
            _ => err,
        })
    }

    /// Whether the registry keeps lists of referrers itself.
    async fn keeps_referrers(&self, subject: &Digest) -> Result<bool> {
        let url = paths::referrers(self.origin().await?, self.name(), subject, None)?;
        let ask = Ask::get(url, Scope::pull(self.name())).header(ACCEPT, accept());
        let answer = self.registry().send(ask).await?;
        match answer.status().as_u16() {
            200 => Ok(true),
            // The API is optional; older registries do not all say so with 404.
            400 | 404..=406 | 501 => Ok(false),
            _ => {
                let what = format!("cannot tell whether {} lists referrers", self.location());
                Err(fault(answer, what).await)
            }
        }
    }
}
