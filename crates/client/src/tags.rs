//! The tags of a repository. distribution-spec, "Listing Tags".

use conex_spec::{Result, Tag};
use conex_store::source::Place;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::auth::Scope;
use crate::fault::escaped;
use crate::names::{List, PAGE};
use crate::paths;
use crate::repository::Repository;

impl Repository {
    /// The tags after `last`, or all, in the order in which the registry lists them. `page` is how
    /// many the registry should send at a time, at most 1000; more pages are asked for as they are
    /// wanted. "Clients depending on the number of tags returned matching `n` may prematurely stop
    /// pagination on registries using the `Link` header": the header alone decides.
    pub fn tags_after(
        &self,
        last: Option<&Tag>,
        page: Option<usize>,
    ) -> BoxStream<'static, Result<Tag>> {
        if let Err(err) = self.check() {
            return stream::once(async { Err(err) }).boxed();
        }
        let (page, last) = (page.unwrap_or(PAGE).clamp(1, PAGE), last.cloned());
        let what = format!("tags of {}", self.location());
        self.tags_anywhere(move |place| place.listed_tags(what.clone(), page, last.clone()))
    }

    fn listed_tags(
        &self,
        what: String,
        page: usize,
        last: Option<Tag>,
    ) -> BoxStream<'static, Result<Tag>> {
        let (registry, name) = (self.registry().clone(), self.name().clone());
        let list = List {
            registry: registry.clone(),
            scope: Scope::pull(&name),
            what: what.clone(),
            after: last.as_ref().map(Tag::to_string),
            refused: |_, err| err,
        };
        let tags = list.names(move |origin| paths::tags(origin, &name, page, last.as_ref()));
        tags.try_filter_map(move |text| {
            let tag = Tag::registry(&text).ok();
            if tag.is_none() {
                registry.warn(&format!("{what}: \"{}\" is no tag", escaped(&text)));
            }
            std::future::ready(Ok(tag))
        })
        .boxed()
    }
}
