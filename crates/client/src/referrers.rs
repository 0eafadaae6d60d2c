//! The manifests whose subject a manifest is. distribution-spec, "Listing Referrers" and
//! "Unavailable Referrers API".

use conex_spec::{Descriptor, Digest, Document, Error, ImageIndex, Kind, MediaType, Result};
use conex_store::source::Place;
use http::header::{ACCEPT, HeaderName};

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::{escaped, fault};
use crate::link::Pages;
use crate::paths;
use crate::repository::Repository;
use crate::resolve::accept;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The longest page, in bytes.
pub(crate) const MAX_PAGE: usize = 4 << 20;
/// How many pages, and how many referrers of one manifest, are read.
pub(crate) const MAX_PAGES: usize = 1000;
const MAX_REFERRERS: usize = 100_000;

impl Repository {
    /// The referrers of a manifest, of one artifact type or of all. A registry that does not
    /// filter is no hindrance.
    ///
    /// # Errors
    /// `Limit` where there are more than 100,000.
    pub async fn referrers_of_type(
        &self,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>> {
        let what = || format!("referrers of {} in {}", subject.short(), self.location());
        let found = self.listed(subject, artifact_type).await.map_err(|err| err.context(what()))?;
        let fits = |entry: &Descriptor| {
            artifact_type.is_none_or(|wanted| entry.artifact_type.as_ref() == Some(wanted))
        };
        Ok(found.into_iter().filter(fits).collect())
    }

    async fn listed(
        &self,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>> {
        let origin = self.origin().await?;
        let mut next = Some(paths::referrers(origin, self.name(), subject, artifact_type)?);
        let mut pages = Pages::new(MAX_PAGES);
        let mut found: Vec<Descriptor> = Vec::new();
        while let Some(url) = next {
            let ask = Ask::get(url.clone(), Scope::pull(self.name())).header(ACCEPT, accept());
            let answer = self.registry().send(ask).await?;
            match answer.status().as_u16() {
                200 => {}
                // The API is optional; older registries do not all say so with 404.
                400 | 404..=406 | 501 if found.is_empty() => {
                    let list = self.referrers_tag(subject).await?;
                    return Ok(list
                        .map(|list| list.index.into_value().manifests)
                        .unwrap_or_default());
                }
                _ => return Err(fault(answer, "no list").await),
            }
            next = pages.next(origin, &url, &answer)?;
            self.note_filter(&answer, artifact_type);
            let bytes = answer.read(MAX_PAGE, "list of referrers").await?;
            found.extend(index(bytes)?.into_value().manifests);
            if found.len() > MAX_REFERRERS {
                return Err(Error::new(Kind::Limit, "too many referrers")
                    .expected(format!("at most {MAX_REFERRERS}")));
            }
        }
        Ok(found)
    }

    /// "If filtering is requested and applied, the response MUST include a header
    /// `OCI-Filters-Applied: artifactType`": a filter that nobody asked for hides something.
    fn note_filter(&self, answer: &Answer, artifact_type: Option<&MediaType>) {
        if let (Some(applied), None) = (answer.header(FILTERS), artifact_type) {
            let text =
                format!("{} filters referrers by {} unasked", self.location(), escaped(applied));
            self.registry().warn(&text);
        }
    }
}

pub(crate) fn index(bytes: bytes::Bytes) -> Result<Document<ImageIndex>> {
    let index = Document::<ImageIndex>::parse(bytes)?;
    match &index.media_type {
        Some(other) if !other.is_index() => Err(Error::invalid("a list of referrers is no index")
            .expected(MediaType::INDEX)
            .found(other)),
        _ => Ok(index),
    }
}
