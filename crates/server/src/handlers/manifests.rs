//! `/v2/<name>/manifests/<tag-or-digest>`. distribution-spec, "Pulling manifests", "Pushing
//! Manifests", "Deleting tags", "Deleting Manifests".

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use conex_spec::{Algorithm, Descriptor, Digest, Kind, MediaType, Tag};
use http::{Method, Response, StatusCode, header};
use serde_json::json;

use crate::access::rules::Actions;
use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::inspect::Inspected;
use crate::paths::Repository;
use crate::reply::{Answer, Body, OCI_SUBJECT, OCI_TAG, With, empty, matches_etag};
use crate::routes::ManifestName;
use crate::storage::manifests::Stored;
use crate::storage::{Storage, blocking};

/// The most tags that one request may set; "SHOULD support pushing at least 10 tags per request".
const MAX_TAGS: usize = 100;

impl App {
    pub(crate) async fn manifest(
        &self,
        asked: Asked<'_>,
        repository: Repository,
        name: ManifestName,
    ) -> Answer {
        match *asked.method {
            Method::GET | Method::HEAD => self.get_manifest(&asked, repository, name).await,
            Method::PUT => self.put_manifest(asked, repository, name).await,
            Method::DELETE => self.delete_manifest(repository, name).await,
            _ => Err(Failure::method("GET, HEAD, PUT, DELETE")),
        }
    }

    async fn get_manifest(
        &self,
        asked: &Asked<'_>,
        repository: Repository,
        name: ManifestName,
    ) -> Answer {
        let stored = self.find_manifest(repository, name).await?;
        let Stored { digest, media_type, bytes } = stored;
        let known = asked.header(&header::IF_NONE_MATCH);
        if known.is_some_and(|tags| matches_etag(tags, &digest)) {
            return Ok(empty(StatusCode::NOT_MODIFIED).with_digest(&digest));
        }
        Ok(Response::new(Body::from(bytes))
            .with(header::CONTENT_TYPE, media_type.as_str())
            .with_digest(&digest))
    }

    async fn find_manifest(
        &self,
        repository: Repository,
        name: ManifestName,
    ) -> Result<Stored, Failure> {
        let key = match &name {
            ManifestName::Tag(tag) => tag.as_str(),
            ManifestName::Digest(digest) => digest.as_str(),
            ManifestName::NoTag => return Err(missing(&repository)),
        };
        let since = match self.storage.cache.get(&repository, key) {
            Ok(stored) => return Ok(stored),
            Err(since) => since,
        };
        let (storage, key) = (Arc::clone(&self.storage), key.to_owned());
        blocking(move || {
            let digest = match name {
                ManifestName::Tag(tag) => storage.tag(&repository, &tag)?,
                ManifestName::Digest(digest) => Some(digest),
                ManifestName::NoTag => None,
            };
            let digest = digest.ok_or_else(|| missing(&repository))?;
            let stored = storage.manifest(&repository, &digest)?;
            let stored = stored.ok_or_else(|| missing(&repository))?;
            storage.cache.put(since, &repository, &key, stored.clone());
            Ok(stored)
        })
        .await
    }

    async fn put_manifest(
        &self,
        asked: Asked<'_>,
        repository: Repository,
        name: ManifestName,
    ) -> Answer {
        let (digest, tags) = names(name, &asked)?;
        let content_type = content_type(&asked)?;
        let condition = asked.header(&header::IF_MATCH).map(str::to_owned);
        let fresh = asked.header(&header::IF_NONE_MATCH).is_some_and(|tags| tags.trim() == "*");
        let limit = self.config.limits.manifest.min(conex_spec::document::LIMIT);
        let overwrites = asked.asker.may(&repository).has(Actions::OVERWRITE);
        let bytes = asked.body.whole(limit).await?;
        let storage = Arc::clone(&self.storage);
        blocking(move || {
            let push = Push { storage: &storage, repository: &repository, tags: &tags };
            let (manifest, inspected) = push.inspect(&bytes, digest, content_type)?;
            let changing = storage.change(&repository);
            push.check_condition(condition.as_deref(), fresh)?;
            if !overwrites {
                push.check_free(&manifest.digest)?;
            }
            push.check_children(&inspected.children)?;
            push.store(&manifest, &bytes, &inspected)?;
            drop(changing);
            Ok(push.answer(&manifest, &inspected))
        })
        .await
    }

    async fn delete_manifest(&self, repository: Repository, name: ManifestName) -> Answer {
        let storage = Arc::clone(&self.storage);
        blocking(move || {
            let changing = storage.change(&repository);
            let removed = match name {
                ManifestName::Tag(tag) => storage.remove_tag(&repository, &tag)?,
                ManifestName::Digest(digest) => remove(&storage, &repository, &digest)?,
                ManifestName::NoTag => false,
            };
            drop(changing);
            if removed { Ok(empty(StatusCode::ACCEPTED)) } else { Err(missing(&repository)) }
        })
        .await
    }
}

/// The digest that the client states, and the tags that it sets.
fn names(name: ManifestName, asked: &Asked<'_>) -> Result<(Option<Digest>, Vec<Tag>), Failure> {
    let tag = |text: &str| {
        Tag::registry(text).map_err(|err| Failure::client(Code::ManifestInvalid, &err))
    };
    let mut tags = asked.query.all("tag").map(tag).collect::<Result<Vec<_>, _>>()?;
    if tags.len() > MAX_TAGS {
        return Err(Code::ManifestInvalid
            .says(format!("more than {MAX_TAGS} tags at once"))
            .status(StatusCode::URI_TOO_LONG));
    }
    match name {
        ManifestName::Digest(digest) => match digest.algorithm() {
            Ok(_) => Ok((Some(digest), tags)),
            Err(err) => Err(Failure::client(Code::DigestInvalid, &err)),
        },
        ManifestName::Tag(tag) => {
            tags.push(tag);
            Ok((None, tags))
        }
        ManifestName::NoTag => Err(Code::ManifestInvalid.says("not a registry's tag")),
    }
}

fn content_type(asked: &Asked<'_>) -> Result<Option<MediaType>, Failure> {
    let header = asked.header(&header::CONTENT_TYPE);
    Ok(header.map(MediaType::from_content_type))
}

fn missing(repository: &Repository) -> Failure {
    Code::ManifestUnknown.says(format!("{repository} has no such manifest"))
}

/// Its subject stands in the manifest itself.
fn remove(storage: &Storage, repository: &Repository, digest: &Digest) -> Result<bool, Failure> {
    let Some(stored) = storage.manifest(repository, digest)? else {
        // Also a damaged one can be removed; then its entry with its subject leads nowhere.
        let there = storage.manifest_type(repository, digest)?.is_some();
        return Ok(there && storage.remove_manifest(repository, digest, None)?);
    };
    let inspected = Inspected::parse(&stored.bytes, Some(stored.media_type));
    let subject = inspected.ok().and_then(|inspected| inspected.subject);
    let subject = subject.map(|subject| subject.digest);
    Ok(storage.remove_manifest(repository, digest, subject.as_ref())?)
}

/// A manifest being pushed.
struct Push<'a> {
    storage: &'a Storage,
    repository: &'a Repository,
    tags: &'a [Tag],
}

impl Push<'_> {
    /// "The Docker-Content-Digest header returns the digest of the uploaded blob, and MUST be equal
    /// to the client provided digest": so another one is refused, in the algorithm that was asked
    /// for (rules D3 and D4).
    fn inspect(
        &self,
        bytes: &Bytes,
        stated: Option<Digest>,
        content_type: Option<MediaType>,
    ) -> Result<(Descriptor, Inspected), Failure> {
        let algorithm = match &stated {
            Some(digest) => digest.algorithm()?,
            None => Algorithm::Sha256,
        };
        let digest = algorithm.digest(bytes);
        if let Some(stated) = stated {
            let checked = stated.check(&digest, || "the manifest has another digest".into());
            checked.map_err(|err| Failure::client(Code::DigestInvalid, &err))?;
        }
        let inspected = Inspected::parse(bytes, content_type)
            .map_err(|err| Failure::client(Code::ManifestInvalid, &err))?;
        let size = bytes.len() as u64;
        Ok((Descriptor::new(inspected.media_type.clone(), digest, size), inspected))
    }

    /// Lets clients replace a tag only if it is what they think. RFC 9110, 13.1.1 and 13.1.2.
    fn check_condition(&self, condition: Option<&str>, fresh: bool) -> Result<(), Failure> {
        if condition.is_none() && !fresh {
            return Ok(());
        }
        for tag in self.tags {
            let found = self.storage.tag(self.repository, tag)?;
            let holds = match (&found, condition) {
                (Some(digest), Some(tags)) => matches_etag(tags, digest),
                (None, Some(_)) => false,
                (_, None) => true,
            };
            if !holds || (fresh && found.is_some()) {
                return Err(Code::Denied
                    .says(format!("the tag {tag} is not what the request expects"))
                    .status(StatusCode::PRECONDITION_FAILED)
                    .detail(json!({ "digest": found })));
            }
        }
        Ok(())
    }

    /// Every tag of the request counts, also those in its query (rule R4).
    fn check_free(&self, digest: &Digest) -> Result<(), Failure> {
        for tag in self.tags {
            if self.storage.tag(self.repository, tag)?.is_some_and(|found| found != *digest) {
                return Err(Code::Denied
                    .says(format!("the tag {tag} is taken, and overwriting is not allowed here")));
            }
        }
        Ok(())
    }

    /// All that the manifest cannot be without is in the repository, with the size it states.
    fn check_children(&self, children: &[Descriptor]) -> Result<(), Failure> {
        let mut sizes: HashMap<(&Digest, bool), Option<u64>> = HashMap::new();
        let mut missing: Option<Failure> = None;
        for child in children.iter().filter(|child| !is_foreign(child)) {
            let is_manifest = child.media_type.is_manifest();
            let key = (&child.digest, is_manifest);
            let first = !sizes.contains_key(&key);
            if first {
                let size = self.storage.child_size(self.repository, &child.digest, is_manifest)?;
                sizes.insert(key, size);
            }
            match sizes.get(&key).copied().flatten() {
                Some(size) if size == child.size => {}
                Some(size) => {
                    let err = child.wrong_size(size);
                    return Err(Failure::client(Code::ManifestInvalid, &err));
                }
                None if first => {
                    let fault = unknown(self.repository, child);
                    missing = Some(match missing {
                        Some(others) => others.and(fault),
                        None => fault,
                    });
                }
                None => {}
            }
        }
        missing.map_or(Ok(()), Err)
    }

    fn store(
        &self,
        manifest: &Descriptor,
        bytes: &[u8],
        inspected: &Inspected,
    ) -> Result<(), Failure> {
        let entry = inspected.as_referrer(manifest);
        let referrer = inspected.subject.as_ref().map(|subject| (&subject.digest, &entry));
        self.storage.put_manifest(self.repository, manifest, bytes, referrer)?;
        for tag in self.tags {
            self.storage.put_tag(self.repository, tag, &manifest.digest)?;
        }
        Ok(())
    }

    fn answer(&self, manifest: &Descriptor, inspected: &Inspected) -> Response<Body> {
        let digest = &manifest.digest;
        let mut answer = empty(StatusCode::CREATED)
            .with(header::LOCATION, format!("/v2/{}/manifests/{digest}", self.repository))
            .with_digest(digest);
        for tag in self.tags {
            answer = answer.with(OCI_TAG, tag.as_str());
        }
        match &inspected.subject {
            Some(subject) => answer.with(OCI_SUBJECT, subject.digest.as_str()),
            None => answer,
        }
    }
}

/// Layers that their makers forbid to distribute lie elsewhere. image-spec, layer.md,
/// "Non-Distributable Layers".
fn is_foreign(child: &Descriptor) -> bool {
    let kind = &child.media_type;
    !child.urls.is_empty()
        || [
            MediaType::FOREIGN_LAYER,
            MediaType::FOREIGN_LAYER_GZIP,
            MediaType::FOREIGN_LAYER_ZSTD,
            MediaType::DOCKER_FOREIGN_LAYER_GZIP,
        ]
        .contains(kind)
}

fn unknown(repository: &Repository, child: &Descriptor) -> Failure {
    let kind = child.digest.algorithm().err().map(|err| err.kind());
    let why = if kind == Some(Kind::Unsupported) {
        "has an algorithm that cannot be verified"
    } else {
        "is not there"
    };
    Code::ManifestBlobUnknown
        .says(format!("{} in {repository} {why}; push it first", child.digest.short()))
        .detail(json!({ "digest": child.digest, "mediaType": child.media_type }))
}
