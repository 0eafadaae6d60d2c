//! The tags of a repository, page by page. distribution-spec, "Listing Tags".

use std::collections::VecDeque;

use conex_spec::{Result, Tag};
use conex_store::source::Place;
use futures_util::{Stream, stream};
use http::StatusCode;
use reqwest::Url;
use serde::Deserialize;

use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::{escaped, fault};
use crate::link::Pages;
use crate::paths;
use crate::repository::Repository;

/// How many tags a page should have.
const PAGE: u32 = 1000;
/// The longest page, in bytes.
const MAX_PAGE: usize = 8 << 20;
/// How many pages are read.
const MAX_PAGES: usize = 100_000;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

enum State {
    Start,
    At(Url),
    End,
}

impl Repository {
    /// All tags. Only one page is held at a time.
    pub(crate) fn tag_pages(&self) -> impl Stream<Item = Result<Tag>> + Send + use<> {
        let state = (self.clone(), State::Start, VecDeque::new(), Pages::new(MAX_PAGES));
        stream::try_unfold(state, |(repository, mut state, mut ready, mut pages)| async move {
            loop {
                if let Some(tag) = ready.pop_front() {
                    return Ok(Some((tag, (repository, state, ready, pages))));
                }
                let url = match state {
                    State::Start => {
                        paths::tags(repository.origin().await?, repository.name(), PAGE)?
                    }
                    State::At(url) => url,
                    State::End => return Ok(None),
                };
                let (tags, next) = repository.tag_page(url, &mut pages).await?;
                ready = tags;
                state = next.map_or(State::End, State::At);
            }
        })
    }

    async fn tag_page(&self, url: Url, pages: &mut Pages) -> Result<(VecDeque<Tag>, Option<Url>)> {
        let what = || format!("tags of {}", self.location());
        let answer = self.registry().send(Ask::get(url.clone(), Scope::pull(self.name()))).await?;
        if answer.status() != StatusCode::OK {
            return Err(fault(answer, format!("cannot list the {}", what())).await);
        }
        let next =
            pages.next(self.origin().await?, &url, &answer).map_err(|err| err.context(what()))?;
        let bytes = answer.read(MAX_PAGE, "list of tags").await?;
        let body: Body = serde_json::from_slice(&bytes).map_err(|err| {
            conex_spec::Error::invalid(format!("{} are no sound list", what())).source(err)
        })?;
        let mut tags = VecDeque::new();
        for text in body.tags.unwrap_or_default() {
            match Tag::registry(&text) {
                Ok(tag) => tags.push_back(tag),
                Err(_) => {
                    self.registry().warn(&format!("{}: \"{}\" is no tag", what(), escaped(&text)));
                }
            }
        }
        Ok((tags, next))
    }
}
