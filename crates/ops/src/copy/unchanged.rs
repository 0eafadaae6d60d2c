//! What a copy need not look into: roots that the destination has already under all their names,
//! with what belongs to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, future, stream};
use tokio::sync::OnceCell;

use conex_spec::{Descriptor, Digest, Location, MediaType, Result, Tag};
use conex_store::{Sink, Source};

use super::belongings::in_words_of;
use super::engine::{Engine, Task, WIDTH};
use crate::walk::Walk;

/// What is at the destination of an unchanged root.
pub(super) type Content = Arc<Vec<Descriptor>>;

/// What was found out of roots: hundreds of tags may stand for the same one, which is then looked
/// into once.
#[derive(Debug, Default)]
pub(super) struct Same(Mutex<HashMap<Digest, Known>>);

type Known = Arc<OnceCell<Option<Content>>>;

impl Same {
    fn of(&self, root: &Digest) -> Known {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(root.clone()).or_default())
    }
}

impl Engine<'_> {
    /// What was seen to be there, where all names stand for the root already; nothing where they
    /// do not, or where something below it or beside it may be missing.
    pub(super) async fn unchanged(&self, task: &Task) -> Result<Option<Content>> {
        if task.names.is_empty() || self.options.full || self.options.with.insist {
            return Ok(None);
        }
        let Some(there) = self.to.as_source() else { return Ok(None) };
        let standing = match &task.standing {
            Some(standing) => standing.clone(),
            None => standing(self.to, &task.names).await?,
        };
        if standing.iter().any(|digest| digest.as_ref() != Some(&task.root.digest)) {
            return Ok(None);
        }
        let known = self.same.of(&task.root.digest);
        known.get_or_try_init(|| self.same_content(there, task)).await.cloned()
    }

    async fn same_content(&self, there: &dyn Source, task: &Task) -> Result<Option<Content>> {
        if !self.same_company(there, &task.root.digest).await? {
            return Ok(None);
        }
        let content = match self.to.location() {
            // It took the name only when all content was there, and keeps it as long.
            Location::Registry(_) => Some(vec![task.root.bare()]),
            _ => self.whole(there, task).await?,
        };
        Ok(content.map(Arc::new))
    }

    /// The content of a root at the destination, if nothing of it is missing or damaged.
    async fn whole(&self, there: &dyn Source, task: &Task) -> Result<Option<Vec<Descriptor>>> {
        let mut below = Walk::new(there, None);
        below.add(&task.root, task.only.as_deref())?;
        let Ok(graph) = below.run().await else { return Ok(None) };
        let content: Vec<_> = graph.content().cloned().collect();
        let looks = content.iter().map(|blob| self.has(blob));
        let looks = stream::iter(looks).buffer_unordered(self.options.jobs);
        let whole = looks.try_all(future::ready).await?;
        Ok(whole.then_some(content))
    }

    /// Whether the destination has what belongs to a root itself at the source.
    async fn same_company(&self, there: &dyn Source, root: &Digest) -> Result<bool> {
        let Some(belongings) = &self.belongings else { return Ok(true) };
        let bare = Descriptor::new(MediaType::MANIFEST, root.clone(), 0);
        let attached = belongings.of(&bare).await?;
        if attached.iter().any(|attached| attached.name.is_none()) {
            // Where they cannot be listed they are put, and that tells why.
            let Ok(listed) = there.referrers(root).await else { return Ok(false) };
            let has = |digest: &Digest| listed.iter().any(|known| known.digest == *digest);
            let mut unnamed = attached.iter().filter(|attached| attached.name.is_none());
            if !unnamed.all(|attached| has(&attached.root.digest)) {
                return Ok(false);
            }
        }
        for (attached, name) in attached.iter().filter_map(|a| Some((a, a.name.as_ref()?))) {
            let tag = in_words_of(self.to.location(), name)?;
            let found = self.to.tagged(&tag).await?;
            if found.is_none_or(|found| found.digest != attached.root.digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What names stand for at a destination.
pub(super) async fn standing(to: &dyn Sink, names: &[Tag]) -> Result<Vec<Option<Digest>>> {
    let looks = names.iter().map(|name| to.tagged(name));
    let found: Vec<_> = stream::iter(looks).buffered(WIDTH).try_collect().await?;
    Ok(found.into_iter().map(|root| root.map(|root| root.digest)).collect())
}
