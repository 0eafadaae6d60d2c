//! The `Link` header, which leads to the next page. RFC 8288.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use conex_spec::{Error, Kind, Result};
use http::HeaderMap;
use http::header::LINK;
use reqwest::Url;

use crate::answer::Answer;
use crate::origin::{self, Origin, shown};

/// Follows the pages of a list, which stay at the registry and end some time (rule C5).
#[derive(Debug)]
pub(crate) struct Pages {
    most: usize,
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Pages {
    /// Of a list of at most so many pages.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, hasher: RandomState::new(), seen: HashSet::new() }
    }

    /// The page after the one at `url`; nothing after the last.
    pub(crate) fn next(
        &mut self,
        registry: &Origin,
        url: &Url,
        answer: &Answer,
    ) -> Result<Option<Url>> {
        let Some(link) = next(answer.headers()) else { return Ok(None) };
        self.seen.insert(self.hasher.hash_one(url.as_str()));
        let next = origin::page(registry, url, &link)?;
        if self.seen.contains(&self.hasher.hash_one(next.as_str())) {
            return Err(Error::invalid("the pages of a list run in a circle").found(shown(&next)));
        }
        if self.seen.len() >= self.most {
            return Err(Error::new(Kind::Limit, "a list has too many pages")
                .expected(format!("at most {}", self.most)));
        }
        Ok(Some(next))
    }
}

/// The target of the first link with the relation `next`.
fn next(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(split)
        .find_map(|(target, parameters)| is_next(parameters).then(|| target.to_owned()))
}

/// The links of one header as target and parameters.
fn split(mut value: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    while let Some((_, rest)) = value.split_once('<') {
        let Some((target, rest)) = rest.split_once('>') else { break };
        let (parameters, rest) = rest.split_at(end_of(rest, ','));
        links.push((target, parameters));
        value = rest;
    }
    links
}

/// Where the next separator stands that is not in quotes.
fn end_of(text: &str, separator: char) -> usize {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    });
    end.unwrap_or(text.len())
}

fn is_next(mut parameters: &str) -> bool {
    while let Some(rest) = parameters.trim_start().strip_prefix(';') {
        let (parameter, rest) = rest.split_at(end_of(rest, ';'));
        if is_next_relation(parameter) {
            return true;
        }
        parameters = rest;
    }
    false
}

/// A relation may be one of several, quoted or not, in any case.
fn is_next_relation(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_is_found() {
        for (header, expected) in [
            ("</v2/a/tags/list?last=x&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=x&n=2")),
            ("</n>; rel=next", Some("/n")),
            ("</n>;REL=\"last NEXT\"", Some("/n")),
            ("</p>; rel=prev, </n>; rel=\"next\"", Some("/n")),
            ("</p>; title=\"a, <b>; rel=next\"; rel=prev, </n>; rel=next", Some("/n")),
            ("</p>; rel=prev", None),
            ("</p", None),
            ("/p; rel=next", None),
            ("", None),
            ("<><><,>,;;;=", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, header.parse().unwrap());
            assert_eq!(next(&headers).as_deref(), expected, "{header}");
        }
    }
}
