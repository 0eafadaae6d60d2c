//! `/v2/<name>/manifests/<tag-or-digest>`. distribution-spec, "Pulling manifests", "Pushing
//! Manifests", "Deleting tags", "Deleting Manifests".

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use conex_spec::{Algorithm, Descriptor, Digest, Error, Kind, MediaType, Tag};
use http::{Method, Response, StatusCode, header};
use serde_json::json;

use super::kept::immutable;
use crate::access::rules::Actions;
use crate::app::{App, Asked};
use crate::failure::{Code, Failure};
use crate::inspect::{Inspected, is_foreign};
use crate::paths::Repository;
use crate::reply::{Answer, Body, OCI_SUBJECT, OCI_TAG, With, empty, matches_etag};
use crate::routes::ManifestName;
use crate::storage::Storage;
use crate::storage::manifests::{Child, Putting, Stored, Tagged};

/// The most tags that one request may set; "SHOULD support pushing at least 10 tags per request".
const MAX_TAGS: usize = 100;
/// How often a push looks at its conditions again, where others change the tags meanwhile.
const TRIES: usize = 20;

impl App {
    pub(crate) async fn manifest(
        &self,
        asked: Asked<'_>,
        repository: Repository,
        name: ManifestName,
    ) -> Answer {
        if *asked.method == Method::HEAD
            && self.config.gc.removes_manifests()
            && let ManifestName::Digest(digest) = &name
            && digest.algorithm().is_ok()
            && asked.asker.may(&repository).has(Actions::PUSH)
        {
            self.storage.renew(&[repository.manifest(digest)?]).await?;
        }
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
        let Stored { digest, media_type, bytes, .. } = stored;
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
            ManifestName::NoTag(_) => return Err(missing(&repository)),
        };
        let tag = if let ManifestName::Tag(tag) = &name { Some(tag) } else { None };
        let since = match self.storage.cache.get(&repository, key) {
            // Bytes under a digest never change, but what leads to them may.
            Ok(stored) if self.storage.still(&repository, tag, &stored).await? => {
                return Ok(stored);
            }
            Ok(_) => self.storage.cache.now(),
            Err(since) => since,
        };
        let stored = match &name {
            ManifestName::Tag(tag) => self.storage.tagged(&repository, tag).await?,
            ManifestName::Digest(digest) => self.storage.manifest(&repository, digest).await?,
            ManifestName::NoTag(_) => None,
        };
        let stored = stored.ok_or_else(|| missing(&repository))?;
        self.storage.cache.put(since, &repository, key, stored.clone());
        Ok(stored)
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
        let (storage, sparse) = (&self.storage, self.config.sparse);
        let push = Push { storage, repository: &repository, tags: &tags, sparse };
        let (manifest, inspected) = push.inspect(&bytes, digest, content_type)?;
        let home = self.storage.home();
        let _charge =
            self.quotas.charge(home, &repository, &manifest.digest, manifest.size).await?;
        let kept = self.kept(&repository, &tags);
        let changing = self.storage.add(&repository).await;
        for _ in 0..TRIES {
            let bound = condition.is_some() || fresh || !overwrites || !kept.is_empty();
            let seen = match bound {
                true => Some(self.storage.tags_now(&repository, &tags).await?),
                false => None,
            };
            if let Some(seen) = &seen {
                push.check_condition(seen, condition.as_deref(), fresh)?;
                if !overwrites {
                    push.check_free(seen, &manifest.digest)?;
                }
                push.check_kept(seen, &manifest.digest, &kept)?;
            }
            let since = Instant::now();
            push.check_children(&inspected).await?;
            if push.store(&manifest, &bytes, &inspected, seen).await? {
                if self.storage.is_over(since) {
                    // Who collects may have looked before the manifest was there; now it is seen.
                    let there = push.check_children(&inspected).await;
                    there.map_err(|found| if found.is_own() { found } else { collected() })?;
                    self.storage.confirm(&manifest.digest, since).await?;
                }
                drop(changing);
                return Ok(push.answer(&manifest, &inspected));
            }
        }
        Err(Code::Denied.says("the tag is being changed by others").status(StatusCode::CONFLICT))
    }

    async fn delete_manifest(&self, repository: Repository, name: ManifestName) -> Answer {
        let changing = self.storage.change(&repository).await;
        self.check_deletable(&repository, &name).await?;
        let removed = match name {
            ManifestName::Tag(tag) => self.storage.remove_tag(&repository, &tag).await?,
            ManifestName::Digest(digest) => remove(&self.storage, &repository, &digest).await?,
            ManifestName::NoTag(_) => false,
        };
        drop(changing);
        self.quotas.freed(&repository);
        if removed { Ok(empty(StatusCode::ACCEPTED)) } else { Err(missing(&repository)) }
    }
}

/// The manifest is there already, so this is no refusal: the client may not think that nothing happened.
fn collected() -> Failure {
    Code::Unknown
        .says("a blob was collected while its manifest was put; push both again")
        .status(StatusCode::SERVICE_UNAVAILABLE)
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
        ManifestName::NoTag(text) => tag(&text).map(|tag| (None, vec![tag])),
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
async fn remove(
    storage: &Storage,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, Failure> {
    let Some(stored) = storage.manifest(repository, digest).await? else {
        // Also a damaged one can be removed; then its entry with its subject leads nowhere.
        let there = storage.manifest_type(repository, digest).await?.is_some();
        return Ok(there && storage.remove_manifest(repository, digest, None).await?);
    };
    let inspected = Inspected::parse(&stored.bytes, Some(stored.media_type));
    let subject = inspected.ok().and_then(|inspected| inspected.subject);
    let subject = subject.map(|subject| subject.digest);
    Ok(storage.remove_manifest(repository, digest, subject.as_ref()).await?)
}

/// A manifest being pushed.
struct Push<'a> {
    storage: &'a Storage,
    repository: &'a Repository,
    tags: &'a [Tag],
    /// Whether children may be missing.
    sparse: bool,
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
        inspected.check_types().map_err(|(field, err)| {
            let err = err.context(format_args!("`{field}`"));
            Failure::client(Code::ManifestInvalid, &err).detail(json!({ "field": field }))
        })?;
        let size = bytes.len() as u64;
        Ok((Descriptor::new(inspected.media_type.clone(), digest, size), inspected))
    }

    /// Lets clients replace a tag only if it is what they think. RFC 9110, 13.1.1 and 13.1.2.
    fn check_condition(
        &self,
        seen: &[Option<Tagged>],
        condition: Option<&str>,
        fresh: bool,
    ) -> Result<(), Failure> {
        if condition.is_none() && !fresh {
            return Ok(());
        }
        for (tag, found) in self.tags.iter().zip(seen) {
            let found = found.as_ref().map(|found| &found.digest);
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
    fn check_free(&self, seen: &[Option<Tagged>], digest: &Digest) -> Result<(), Failure> {
        for (tag, found) in self.tags.iter().zip(seen) {
            if found.as_ref().is_some_and(|found| found.digest != *digest) {
                return Err(Code::Denied
                    .says(format!("the tag {tag} is taken, and overwriting is not allowed here")));
            }
        }
        Ok(())
    }

    /// What is immutable may be pushed again as it is.
    fn check_kept(
        &self,
        seen: &[Option<Tagged>],
        digest: &Digest,
        kept: &HashSet<&Tag>,
    ) -> Result<(), Failure> {
        for (tag, found) in self.tags.iter().zip(seen) {
            if kept.contains(tag) && found.as_ref().is_some_and(|found| found.digest != *digest) {
                return Err(immutable(tag));
            }
        }
        Ok(())
    }

    /// All that the manifest cannot be without is in the repository, with the size and the type that
    /// it states.
    async fn check_children(&self, manifest: &Inspected) -> Result<(), Failure> {
        let key = |child: &Descriptor| (child.digest.clone(), manifest.under(child));
        let all = manifest.children.iter().enumerate();
        let needed: Vec<_> = all.filter(|(_, child)| !is_foreign(child)).collect();
        let keys = needed.iter().map(|(_, child)| key(child)).collect::<BTreeSet<_>>();
        let keys: Vec<_> = keys.into_iter().collect();
        let found = self.storage.children(self.repository, &keys).await?;
        let found: HashMap<_, _> = keys.iter().zip(found).collect();
        let (mut told, mut missing): (HashSet<_>, Option<Failure>) = (HashSet::new(), None);
        for (at, child) in needed {
            let key = key(child);
            match found.get(&key).and_then(Option::as_ref) {
                Some(there) => check_child(child, there, || manifest.member(at))?,
                None if !self.sparse && told.insert(key) => {
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

    /// Returns whether it did: not where a tag is no longer what was seen.
    async fn store(
        &self,
        manifest: &Descriptor,
        bytes: &Bytes,
        inspected: &Inspected,
        seen: Option<Vec<Option<Tagged>>>,
    ) -> Result<bool, Failure> {
        let entry = inspected.as_referrer(manifest);
        let referrer = inspected.subject.as_ref().map(|subject| (&subject.digest, &entry));
        let (bytes, tags) = (bytes.clone(), self.tags);
        let putting = Putting { manifest, bytes, referrer, tags, seen };
        Ok(self.storage.put_manifest(self.repository, &putting).await?)
    }

    fn answer(&self, manifest: &Descriptor, inspected: &Inspected) -> Response<Body> {
        let digest = &manifest.digest;
        let mut answer = empty(StatusCode::CREATED)
            .with(header::LOCATION, format!("/v2/{}/manifests/{digest}", self.repository))
            .with_digest(digest);
        if !self.tags.is_empty() {
            // "OCI-Tag: 1.2.3, 1.2, 1" ("Pushing Manifests"; RFC 9110, 5.3): one line for all, since
            // many clients take no more than 100 of them.
            let tags: Vec<_> = self.tags.iter().map(Tag::as_str).collect();
            answer = answer.with(OCI_TAG, tags.join(", "));
        }
        match &inspected.subject {
            Some(subject) => answer.with(OCI_SUBJECT, subject.digest.as_str()),
            None => answer,
        }
    }
}

/// A child is what its parent says it is; `member` is where it says so.
fn check_child(
    child: &Descriptor,
    there: &Child,
    member: impl Fn() -> String,
) -> Result<(), Failure> {
    if there.size != child.size {
        return Err(Failure::client(Code::ManifestInvalid, &child.wrong_size(there.size)));
    }
    match &there.media_type {
        Some(stored) if *stored != child.media_type => {
            let short = child.digest.short();
            let err = Error::invalid(format!("the manifest {short} is of another media type"))
                .expected(stored)
                .found(&child.media_type);
            let detail = json!({ "field": member() + ".mediaType", "digest": child.digest });
            Err(Failure::client(Code::ManifestInvalid, &err).detail(detail))
        }
        _ => Ok(()),
    }
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
