//! From a tag or digest to a descriptor. distribution-spec, "Checking if content exists in the
//! registry" and "Pulling manifests".

use bytes::Bytes;
use conex_spec::document::LIMIT;
use conex_spec::media_type::Role;
use conex_spec::{Descriptor, Digest, Error, Kind, Manifest, MediaType, Name, Result, Tag};
use conex_store::source::Place;
use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};

use crate::answer::Answer;
use crate::auth::Scope;
use crate::exchange::Ask;
use crate::fault::fault;
use crate::paths;
use crate::repository::Repository;

/// What a manifest may be. Without this list some registries convert manifests or deny that they exist.
pub(crate) fn accept() -> HeaderValue {
    let list = MediaType::MANIFESTS.map(|media_type| media_type.to_string()).join(", ");
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static("*/*"))
}

impl Repository {
    /// The descriptor of what a name stands for.
    pub(crate) async fn resolve_name(&self, name: &Name) -> Result<Descriptor> {
        let answer = self.head_manifest(name, Scope::pull(self.name())).await?;
        let status = answer.status();
        if status == StatusCode::OK
            && let Some(descriptor) = from_head(&answer, name)?
        {
            return Ok(descriptor);
        }
        // HEAD may be incomplete or not supported; another refusal would only be repeated.
        let found = match status.as_u16() {
            200 | 400 | 404..=406 | 501 => self.resolve_by_get(name).await,
            _ => Err(fault(answer, self.cannot_resolve(name)).await),
        };
        match (found, name) {
            // Docker's registry of version 2 answers 500 for the digest of a blob.
            (Err(err), Name::Digest(digest))
                if err.kind() == Kind::NotFound || status == StatusCode::INTERNAL_SERVER_ERROR =>
            {
                self.resolve_blob(digest).await?.ok_or(err)
            }
            (found, _) => found,
        }
    }

    /// What a tag stands for where it is about to be pushed: one request, whatever the answer.
    pub(crate) async fn look_up(&self, tag: &Tag) -> Result<Option<Descriptor>> {
        let name = Name::Tag(tag.clone());
        let answer = self.head_manifest(&name, Scope::push(self.name())).await?;
        match answer.status().as_u16() {
            200 => match from_head(&answer, &name)? {
                Some(root) => Ok(Some(root)),
                // An incomplete answer still says that there is something.
                None => self.resolve_by_get(&name).await.map(Some),
            },
            404 | 405 | 501 => Ok(None),
            _ => Err(fault(answer, self.cannot_resolve(&name)).await),
        }
    }

    /// The digest that a name stands for: one HEAD request, where the answer tells it.
    ///
    /// # Errors
    /// `NotFound` where there is no such manifest.
    pub async fn digest_of(&self, name: &Name) -> Result<Digest> {
        if !self.reads().is_empty() {
            return Ok(self.resolve_anywhere(name).await?.digest);
        }
        let answer = self.head_manifest(name, Scope::pull(self.name())).await?;
        if answer.status() == StatusCode::OK {
            let told = answer.digest()?.filter(|digest| digest.algorithm().is_ok());
            match (name, told) {
                (Name::Digest(digest), Some(_)) => {
                    answer.check_digest(digest)?;
                    return Ok(digest.clone());
                }
                (Name::Tag(_), Some(told)) => return Ok(told),
                (_, None) => {}
            }
        }
        match answer.status().as_u16() {
            // Without the header, or without HEAD, the bytes tell.
            200 | 400 | 404..=406 | 501 => Ok(self.resolve_by_get(name).await?.digest),
            _ => Err(fault(answer, self.cannot_resolve(name)).await),
        }
    }

    fn cannot_resolve(&self, name: &Name) -> String {
        format!("cannot find {name} in {}", self.location())
    }

    async fn resolve_by_get(&self, name: &Name) -> Result<Descriptor> {
        let url = paths::manifest(self.origin().await?, self.name(), name)?;
        let ask = Ask::get(url, Scope::pull(self.name())).header(ACCEPT, accept());
        let answer = self.registry().send(ask).await?;
        if answer.status() != StatusCode::OK {
            return Err(fault(answer, self.cannot_resolve(name)).await);
        }
        let (media_type, told) = (answer.media_type(), answer.digest()?);
        let bytes = answer.read(LIMIT, "manifest").await?;
        let digest = match name {
            // The digest that was asked for decides, whatever the header says (rule D2).
            Name::Digest(digest) => digest.clone(),
            Name::Tag(_) => told.clone().unwrap_or_else(|| Digest::sha256(&bytes)),
        };
        let found = digest.algorithm()?.digest(&bytes);
        digest.check(&found, || {
            format!("manifest {name} in {} has another digest", self.location())
        })?;
        if let Some(told) = told.filter(|told| told.algorithm_name() == digest.algorithm_name()) {
            digest.check(&told, || format!("{} answers with other content", self.location()))?;
        }
        let media_type = media_type_of(&bytes, media_type)
            .map_err(|err| err.context(format_args!("{name} in {}", self.location())))?;
        self.keep(&digest, &bytes);
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// A digest may also be that of a blob.
    async fn resolve_blob(&self, digest: &Digest) -> Result<Option<Descriptor>> {
        let answer = self.head_blob(digest, Scope::pull(self.name())).await?;
        answer.check_digest(digest)?;
        let length = answer.length().filter(|_| answer.status() == StatusCode::OK);
        let media_type = MediaType::OCTETS;
        Ok(length.map(|size| Descriptor::new(media_type, digest.clone(), size)))
    }

    /// A blob of which only the digest is known, where just this place has it.
    pub(crate) async fn look_for_blob(&self, digest: &Digest) -> Result<Descriptor> {
        let answer = self.head_blob(digest, Scope::pull(self.name())).await?;
        let what = || format!("cannot find blob {digest} in {}", self.location());
        if answer.status() != StatusCode::OK {
            return Err(fault(answer, what()).await);
        }
        answer.check_digest(digest)?;
        let size = answer.length().ok_or_else(|| {
            Error::new(Kind::Unsupported, what()).expected("a Content-Length").found("none")
        })?;
        Ok(Descriptor::new(MediaType::OCTETS, digest.clone(), size))
    }

    pub(crate) async fn head_manifest(&self, name: &Name, scope: Scope) -> Result<Answer> {
        let url = paths::manifest(self.origin().await?, self.name(), name)?;
        let ask = Ask::new(Method::HEAD, url, scope).header(ACCEPT, accept());
        self.registry().send(ask).await
    }

    pub(crate) async fn head_blob(&self, digest: &Digest, scope: Scope) -> Result<Answer> {
        let url = paths::blob(self.origin().await?, self.name(), digest)?;
        self.registry().send(Ask::new(Method::HEAD, url, scope)).await
    }
}

/// What HEAD tells, if it tells all; its digest is checked against the one that was asked for.
fn from_head(answer: &Answer, name: &Name) -> Result<Option<Descriptor>> {
    let digest = match name {
        Name::Digest(digest) => {
            answer.check_digest(digest)?;
            Some(digest.clone())
        }
        Name::Tag(_) => answer.digest()?.filter(|digest| digest.algorithm().is_ok()),
    };
    let media_type = answer.media_type().filter(MediaType::is_manifest);
    Ok(match (media_type, digest, answer.length()) {
        (Some(media_type), Some(digest), Some(size)) if size > 0 => {
            Some(Descriptor::new(media_type, digest, size))
        }
        _ => None,
    })
}

/// The media type of a manifest for which nothing was expected: what the registry says, if the
/// document agrees; where the registry says nothing special, what the document says.
/// image-spec, media-types.md, "Media Type Conflicts".
fn media_type_of(bytes: &Bytes, told: Option<MediaType>) -> Result<MediaType> {
    const VAGUE: [&str; 4] = ["", "application/json", "application/octet-stream", "text/plain"];
    let told = told.filter(|told| !VAGUE.contains(&told.as_str()));
    if let Some(told) = &told
        && !told.is_manifest()
        && told.role() != Role::Schema1
    {
        return Err(Error::new(Kind::Unsupported, "not a media type of a manifest")
            .expected(MediaType::MANIFESTS.map(|known| known.to_string()).join(", "))
            .found(told));
    }
    let manifest = Manifest::parse(bytes.clone(), told.as_ref())?;
    Ok(told.unwrap_or_else(|| manifest.media_type()))
}
