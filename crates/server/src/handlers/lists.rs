//! What there is: the base, the catalog, tags and referrers. distribution-spec, "Content Discovery".

use std::sync::Arc;

use conex_spec::{Digest, MediaType};
use http::{Response, header};
use serde_json::json;

use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::paths::{Repository, flat};
use crate::reply::{Answer, Body, OCI_FILTERS, With, json};
use crate::routes::encode;
use crate::storage::entries::Entry;

/// The most tags in one answer.
const MAX_TAGS: usize = 10_000;
/// The most repositories in one answer.
const MAX_REPOSITORIES: usize = 1000;
/// What one answer holds of referrers, in bytes: some 2,500, for which nobody waits long.
const MAX_REFERRERS: usize = 512 << 10;
/// What an index is beside its entries, generously.
const INDEX: usize = 1 << 10;

const JSON: &str = "application/json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

impl App {
    pub(crate) fn base(&self, asked: &Asked<'_>) -> Answer {
        asked.only_reads()?;
        Ok(json(&json!({}), JSON))
    }

    /// An extension of Docker's registry: all repositories.
    pub(crate) async fn catalog(&self, asked: &Asked<'_>) -> Answer {
        asked.only_reads()?;
        let count = asked.query.count()?.unwrap_or(MAX_REPOSITORIES).min(MAX_REPOSITORIES);
        let mut last = asked.query.one("last")?.unwrap_or_default().to_owned();
        let (mut seen, mut more) = (Vec::new(), true);
        // Names that the asker may not see are not in the answer (rule R8).
        while more && seen.len() < count {
            let page = self.storage.home().repositories(&last, count - seen.len()).await?;
            last = page.items.last().cloned().unwrap_or_default();
            more = page.more;
            seen.extend(page.items.into_iter().filter(|name| asked.asker.sees(name)));
        }
        let answer = json(&json!({ "repositories": seen }), JSON);
        Ok(match seen.last().filter(|_| more) {
            Some(last) => answer.with_next(&format!("/v2/_catalog?n={count}&last={last}")),
            None => answer,
        })
    }

    pub(crate) async fn tags(&self, asked: &Asked<'_>, repository: Repository) -> Answer {
        asked.only_reads()?;
        let count = asked.query.count()?.unwrap_or(MAX_TAGS).min(MAX_TAGS);
        let last = asked.query.one("last")?.unwrap_or_default().to_owned();
        if !self.storage.home().has_repository(&repository).await? {
            return Err(Code::NameUnknown.says(format!("there is no repository {repository}")));
        }
        let page = self.storage.home().list(&repository.tags(), &last, count).await?;
        let answer = json(&json!({ "name": repository.as_str(), "tags": page.items }), JSON);
        // "When n is zero, this endpoint MUST return an empty list, and MUST NOT include a Link
        // header": then there is no last one.
        Ok(match page.items.last().filter(|_| page.more) {
            Some(last) => {
                answer.with_next(&format!("/v2/{repository}/tags/list?n={count}&last={last}"))
            }
            None => answer,
        })
    }

    /// Never 404: "If the registry supports the referrers API, the registry MUST NOT return a
    /// 404 Not Found to a referrers API requests."
    pub(crate) async fn referrers(
        &self,
        asked: &Asked<'_>,
        repository: Repository,
        subject: Digest,
    ) -> Answer {
        asked.only_reads()?;
        let filter = asked.query.one("artifactType")?.filter(|kind| !kind.is_empty());
        let filter = filter.map(MediaType::new);
        let last = match asked.query.one("last")? {
            Some(last) => flat(&crate::routes::digest(last)?)
                .map_err(|err| Failure::client(Code::DigestInvalid, &err))?,
            None => String::new(),
        };
        let wanted = |entry: &Entry| filter.is_none() || entry.artifact_type == filter;
        let room = MAX_REFERRERS - INDEX;
        let (page, at) = self.storage.referrers(&repository, &subject, &last, room, wanted).await?;
        let mut answer =
            Response::new(Body::from(index(&page.items))).with(header::CONTENT_TYPE, INDEX_TYPE);
        if page.more {
            answer = answer.with_next(&next(&repository, &subject, filter.as_ref(), &at));
        }
        Ok(match filter {
            Some(_) => answer.with(OCI_FILTERS, "artifactType"),
            None => answer,
        })
    }
}

/// An image index of entries as they are written.
fn index(entries: &[Arc<Entry>]) -> String {
    let room: usize = entries.iter().map(|entry| entry.len() + 1).sum();
    let mut text = String::with_capacity(INDEX + room);
    text += &format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX_TYPE}\",\"manifests\":[");
    for (at, entry) in entries.iter().enumerate() {
        text += if at == 0 { "" } else { "," };
        text += entry.text();
    }
    text + "]}"
}

fn next(repository: &Repository, subject: &Digest, filter: Option<&MediaType>, at: &str) -> String {
    let filter = filter.map(|kind| format!("&artifactType={}", encode(kind.as_str())));
    let last = at.replacen('-', ":", 1);
    format!("/v2/{repository}/referrers/{subject}?last={last}{}", filter.unwrap_or_default())
}
