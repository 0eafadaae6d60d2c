//! Manifests and tags to the registry. distribution-spec, "Pushing Manifests".

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use conex_spec::document::LIMIT;
use conex_spec::{Descriptor, Error, Kind, Manifest, MediaType, Name, Result, Tag};
use conex_store::source::Place;
use conex_store::{ByteStream, SourceExt, verify};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::paths;
use crate::repository::Repository;
use crate::retry::jitter;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// How many tags go with one manifest: a registry "SHOULD support pushing at least 10 tags per
/// request".
const MAX_TAGS: usize = 10;
/// How long blobs are waited for that a registry misses, the first time and the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(400);

impl Repository {
    /// Puts a manifest under its digest.
    pub(crate) async fn put_manifest(&self, blob: &Descriptor, content: ByteStream) -> Result<()> {
        let bytes = read_whole(blob, content).await?;
        self.put_bytes(blob, &bytes, &[]).await.map(drop)
    }

    /// Puts a manifest under its digest and these tags: in as few requests as the registry knows
    /// to take them in, then one by one. distribution-spec, "Pushing Manifests".
    pub(crate) async fn put_tagged(
        &self,
        root: &Descriptor,
        bytes: &Bytes,
        tags: &[Tag],
    ) -> Result<()> {
        root.verify(bytes)?;
        tags.iter().try_for_each(|tag| tag.check_registry().map(drop))?;
        let mut left = tags;
        loop {
            let (batch, rest) = left.split_at(left.len().min(MAX_TAGS));
            let taken = self.put_bytes(root, bytes, batch).await?;
            let several = !taken.is_empty() && !rest.is_empty();
            left = if several { rest } else { &[] };
            let alone = batch.iter().chain(if several { &[] } else { rest });
            let alone = alone.filter(|tag| !taken.contains(tag.as_str()));
            let puts = alone.map(|tag| self.put_tag(root, tag));
            stream::iter(puts.map(Ok)).try_for_each_concurrent(MAX_TAGS, |put| put).await?;
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    /// Puts a manifest under its digest, with tags if the registry can; returns those that it took.
    async fn put_bytes(
        &self,
        blob: &Descriptor,
        bytes: &Bytes,
        tags: &[Tag],
    ) -> Result<HashSet<String>> {
        let manifest = Manifest::parse(bytes.clone(), Some(&blob.media_type))
            .map_err(|err| err.context(format_args!("manifest {}", blob.digest)))?;
        let mut pause = FIRST_PAUSE;
        let answer = loop {
            match self.put_once(blob, bytes, tags).await {
                // docker-registry misses a blob while another client puts it there anew.
                Err(err)
                    if err.kind() == Kind::NotFound
                        && !blob.media_type.is_index()
                        && pause <= LAST_PAUSE =>
                {
                    self.registry().is_shared.store(true, Ordering::Relaxed);
                    self.registry().pause(&err, jitter(pause)).await;
                    pause *= 2;
                }
                put => break put?,
            }
        };
        answer.check_digest(&blob.digest)?;
        let listed = answer.headers().contains_key(SUBJECT);
        let taken = taken_tags(&answer);
        drop(answer);
        self.keep(&blob.digest, bytes);
        // "When pushing a manifest with the `subject` field and the `OCI-Subject` header was not
        // set, the client MUST" keep the list itself ("Pushing Manifests with Subject").
        if let (Some(subject), false) = (manifest.subject(), listed)
            && let Some(entry) = manifest.as_referrer(&blob.digest, blob.size, &subject.digest)
        {
            let entry = Descriptor { media_type: blob.media_type.clone(), ..entry };
            self.list_referrer(entry, &subject.digest).await?;
        }
        Ok(taken)
    }

    async fn put_once(&self, blob: &Descriptor, bytes: &Bytes, tags: &[Tag]) -> Result<Answer> {
        let url = paths::tagged_manifest(self.origin().await?, self.name(), &blob.digest, tags)?;
        let mut answer = self.put_to(url, &blob.media_type, bytes).await?;
        let name = Name::Digest(blob.digest.clone());
        // "Clients MAY see other status codes […] depending on the registry implementation."
        if !tags.is_empty() && matches!(answer.status().as_u16(), 400 | 404 | 405 | 414 | 431) {
            let url = paths::manifest(self.origin().await?, self.name(), &name)?;
            answer = self.put_to(url, &blob.media_type, bytes).await?;
        }
        self.created(answer, &name).await
    }

    /// Puts a manifest that is there already under a tag.
    pub(crate) async fn put_tag(&self, root: &Descriptor, tag: &Tag) -> Result<()> {
        tag.check_registry()?;
        if !root.media_type.is_manifest() {
            return Err(Error::new(Kind::Usage, format!("a registry cannot tag {}", root.digest))
                .expected("a manifest or an index")
                .found(&root.media_type));
        }
        let bytes = match self.kept(&root.digest) {
            Some(bytes) => bytes,
            None => self.read(root).await?,
        };
        let answer = self.put_at(&Name::Tag(tag.clone()), &root.media_type, &bytes).await?;
        answer.check_digest(&root.digest)
    }

    async fn put_at(&self, name: &Name, media_type: &MediaType, bytes: &Bytes) -> Result<Answer> {
        self.put_if(name, media_type, bytes, None).await
    }

    /// Puts a manifest, with a header that says when it may be put.
    pub(crate) async fn put_if(
        &self,
        name: &Name,
        media_type: &MediaType,
        bytes: &Bytes,
        condition: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Answer> {
        let url = paths::manifest(self.origin().await?, self.name(), name)?;
        let mut ask = self.put_request(url, media_type, bytes)?;
        if let Some((name, value)) = condition {
            ask = ask.header(name, value);
        }
        let answer = self.registry().send(ask).await?;
        self.created(answer, name).await
    }

    async fn put_to(&self, url: Url, media_type: &MediaType, bytes: &Bytes) -> Result<Answer> {
        self.registry().send(self.put_request(url, media_type, bytes)?).await
    }

    fn put_request(&self, url: Url, media_type: &MediaType, bytes: &Bytes) -> Result<Ask> {
        let content_type = HeaderValue::try_from(media_type.as_str())
            .map_err(|err| Error::invalid("a media type that no header can hold").source(err))?;
        Ok(Ask::new(Method::PUT, url, Scope::push(self.name()))
            .header(CONTENT_TYPE, content_type)
            .pieces(vec![bytes.clone()])
            .wait(self.registry().options().timeouts.commit))
    }

    async fn created(&self, answer: Answer, name: &Name) -> Result<Answer> {
        match answer.status() {
            StatusCode::CREATED => Ok(answer),
            _ => {
                Err(fault(answer, format!("cannot put manifest {name} into {}", self.location()))
                    .await)
            }
        }
    }
}

/// The tags that the registry says it took: "MUST include an `OCI-Tag` response header […] for each
/// accepted tag", several in one line or in lines of their own.
fn taken_tags(answer: &Answer) -> HashSet<String> {
    let lines = answer.headers().get_all(TAG).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().to_owned()).collect()
}

/// A manifest in memory, verified.
async fn read_whole(blob: &Descriptor, content: ByteStream) -> Result<Bytes> {
    if blob.size > LIMIT as u64 {
        return Err(Error::new(Kind::Limit, format!("manifest {} is too large", blob.digest))
            .expected(format!("at most {LIMIT} bytes"))
            .found(format!("{} bytes", blob.size)));
    }
    let mut content = verify::verified(content, blob)?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = content.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}
