//! Lists of names, page by page: the tags of a repository, the repositories of a registry.
//! distribution-spec, "Listing Tags"; Docker's "Listing Repositories" has the same form.

use std::collections::VecDeque;
use std::sync::Arc;

use conex_spec::{Error, Result};
use futures_util::{Stream, stream};
use http::StatusCode;
use reqwest::Url;
use serde::Deserialize;

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::link::Pages;
use crate::origin::Origin;
use crate::registry::Registry;

/// How many names a page should have.
pub(crate) const PAGE: usize = 1000;
/// The longest page, in bytes.
const MAX_PAGE: usize = 8 << 20;
/// How many pages are read.
const MAX_PAGES: usize = 100_000;

/// Both lists in one: a registry sends one of the two members, or null for none.
#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

/// A list to be read.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) registry: Arc<Registry>,
    pub(crate) scope: Scope,
    /// What is listed, as in "cannot list the tags of x".
    pub(crate) what: String,
    /// The name after which the list was to begin.
    pub(crate) after: Option<String>,
    /// What another answer than a list means.
    pub(crate) refused: fn(StatusCode, Error) -> Error,
}

enum State<F> {
    Start(F),
    At(Url),
    End,
}

impl List {
    /// All names. Only one page is held at a time, and asked for when it is wanted.
    pub(crate) fn names(
        self,
        first: impl FnOnce(&Origin) -> Result<Url> + Send + 'static,
    ) -> impl Stream<Item = Result<String>> + Send {
        let state = (self, State::Start(first), VecDeque::new(), Pages::new(MAX_PAGES));
        stream::try_unfold(state, |(list, mut state, mut ready, mut pages)| async move {
            loop {
                if let Some(name) = ready.pop_front() {
                    return Ok(Some((name, (list, state, ready, pages))));
                }
                let url = match state {
                    State::Start(first) => first(list.registry.origin().await?)?,
                    State::At(url) => url,
                    State::End => return Ok(None),
                };
                let (names, next) = list.page(url, &mut pages).await?;
                ready = names;
                state = next.map_or(State::End, State::At);
            }
        })
    }

    async fn page(&self, url: Url, pages: &mut Pages) -> Result<(VecDeque<String>, Option<Url>)> {
        let answer = self.registry.send(Ask::get(url.clone(), self.scope.clone())).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused(answer).await);
        }
        let next = pages
            .next(self.registry.origin().await?, &url, &answer)
            .map_err(|err| err.context(&self.what))?;
        let bytes = answer.read(MAX_PAGE, "list of names").await?;
        let body: Body = serde_json::from_slice(&bytes).map_err(|err| {
            Error::invalid(format!("{} are no sound list", self.what)).source(err)
        })?;
        let mut names = VecDeque::from(body.tags.or(body.repositories).unwrap_or_default());
        // distribution-spec, "Listing Tags": `last` "will not be included in the results". A
        // registry that knows no such parameter, as docker-registry 2.8, sends all.
        let known = names.iter().position(|name| self.after.as_ref() == Some(name));
        names.drain(..known.map_or(0, |at| at + 1));
        Ok((names, next))
    }

    async fn refused(&self, answer: Answer) -> Error {
        let status = answer.status();
        let err = fault(answer, format!("cannot list the {}", self.what)).await;
        (self.refused)(status, err)
    }
}
