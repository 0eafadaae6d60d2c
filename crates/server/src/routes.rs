//! Which endpoint a request's target names. distribution-spec, "Endpoints".
//!
//! Names of repositories hold slashes, so a path is read from its right end. It is
//! percent-decoded exactly once, before it is split; what is not an endpoint then, with a name that
//! fits its grammar, is refused. No later layer decodes or normalises anything again (rule R15).

use conex_spec::{Digest, Tag};
use http::StatusCode;
use uuid::Uuid;

use crate::failure::{Code, Failure};
use crate::paths::Repository;

/// The longest query, in bytes.
const MAX_QUERY: usize = 8 << 10;

/// An endpoint with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/token`, where our own tokens are given out
    Token,
    /// `/healthz`: whether the process answers at all
    Health,
    /// `/readyz`: whether it can do its work
    Ready,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/manifests/<tag-or-digest>`
    Manifest(Repository, ManifestName),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, Digest),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Repository),
    /// `<blob-push-location>`
    Upload(Repository, Uuid),
}

/// What names a manifest in a URL. A tag that no registry takes can still be asked for, in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManifestName {
    Tag(Tag),
    Digest(Digest),
    NoTag(String),
}

impl Route {
    /// The endpoint of a URL's path as it was sent.
    pub(crate) fn parse(raw: &str) -> Result<Self, Failure> {
        let path = decode(raw)?;
        match path.as_str() {
            "/token" => return Ok(Self::Token),
            "/healthz" => return Ok(Self::Health),
            "/readyz" => return Ok(Self::Ready),
            _ => {}
        }
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some("/_catalog") => return Ok(Self::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or_else(nowhere)?,
            None => return Err(nowhere()),
        };
        let (above, last) = rest.rsplit_once('/').ok_or_else(nowhere)?;
        if last == "uploads"
            && let Some(name) = above.strip_suffix("/blobs")
        {
            return Ok(Self::Uploads(repository(name)?));
        }
        let (name, kind) = above.rsplit_once('/').ok_or_else(nowhere)?;
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags(repository(name)?)),
            ("manifests", _) => Ok(Self::Manifest(repository(name)?, manifest_name(last)?)),
            ("referrers", _) => Ok(Self::Referrers(repository(name)?, digest(last)?)),
            ("blobs", _) => Ok(Self::Blob(repository(name)?, digest(last)?)),
            ("uploads", _) => {
                let name = name.strip_suffix("/blobs").ok_or_else(nowhere)?;
                upload(repository(name)?, last)
            }
            _ => Err(nowhere()),
        }
    }
}

impl Route {
    /// What the log calls it.
    pub(crate) fn endpoint(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Token => "token",
            Self::Health | Self::Ready => "health",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Referrers(..) => "referrers",
            Self::Blob(..) => "blob",
            Self::Uploads(_) | Self::Upload(..) => "upload",
        }
    }

    /// The repository that it is about.
    pub(crate) fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Base | Self::Token | Self::Health | Self::Ready | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Referrers(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _) => Some(name),
        }
    }
}

fn upload(name: Repository, id: &str) -> Result<Route, Failure> {
    if id.is_empty() {
        return Ok(Route::Uploads(name));
    }
    // Only the one spelling that we give out: the parser takes braces, URNs and upper case too.
    match Uuid::try_parse(id) {
        Ok(uuid) if uuid.to_string() == id => Ok(Route::Upload(name, uuid)),
        _ => Err(Code::BlobUploadUnknown.says("there is no such upload")),
    }
}

fn nowhere() -> Failure {
    Code::NameUnknown.says("there is no such endpoint").status(StatusCode::NOT_FOUND)
}

fn repository(name: &str) -> Result<Repository, Failure> {
    name.parse().map_err(|err| Failure::client(Code::NameInvalid, &err))
}

pub(crate) fn digest(text: &str) -> Result<Digest, Failure> {
    text.parse().map_err(|err| Failure::client(Code::DigestInvalid, &err))
}

/// No tag holds a colon and every digest does.
fn manifest_name(text: &str) -> Result<ManifestName, Failure> {
    if text.contains(':') {
        return digest(text).map(ManifestName::Digest);
    }
    Ok(Tag::registry(text).map_or_else(|_| ManifestName::NoTag(text.to_owned()), ManifestName::Tag))
}

/// RFC 3986, 2.1. A plus sign means itself: no value of this API holds a space, and media types
/// with a bare `+json` are sent by many.
fn decode(raw: &str) -> Result<String, Failure> {
    let bad = || Code::NameInvalid.says("the target is not properly percent-encoded");
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(bad()) };
        bytes.push(u8::try_from(high << 4 | low).map_err(|_| bad())?);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// Decoded query parameters, in their order.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: Option<&str>) -> Result<Self, Failure> {
        let raw = raw.unwrap_or_default();
        if raw.len() > MAX_QUERY {
            return Err(Code::Unsupported
                .says(format!("the query is longer than {MAX_QUERY} bytes"))
                .status(StatusCode::URI_TOO_LONG));
        }
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that may stand there once: of two, two layers might take different ones.
    pub(crate) fn one<'a>(&'a self, name: &str) -> Result<Option<&'a str>, Failure> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Code::Unsupported
                .says(format!("the parameter {name} is given twice"))
                .status(StatusCode::BAD_REQUEST)),
        }
    }

    /// `n`, which may be missing. distribution-spec, "Listing Tags".
    pub(crate) fn count(&self) -> Result<Option<usize>, Failure> {
        let Some(text) = self.one("n")? else { return Ok(None) };
        let count = crate::range::number(text).ok_or_else(|| {
            Code::Unsupported.says("n is no number").status(StatusCode::BAD_REQUEST)
        })?;
        Ok(Some(usize::try_from(count).unwrap_or(usize::MAX)))
    }
}

/// A value for a query of our own, percent-encoded.
pub(crate) fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
#[path = "routes/tests.rs"]
mod tests;
