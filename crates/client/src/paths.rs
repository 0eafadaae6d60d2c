//! The URLs of the registry's API; no other module builds one. distribution-spec, "Endpoints".
//!
//! ```text
//! /v2/                                               GET
//! /v2/NAME/manifests/TAG-OR-DIGEST                   GET HEAD PUT DELETE
//! /v2/NAME/manifests/DIGEST?tag=TAG&tag=TAG          PUT
//! /v2/NAME/blobs/DIGEST                              GET HEAD DELETE
//! /v2/NAME/blobs/uploads/                            POST [?digest-algorithm=ALGORITHM]
//! /v2/NAME/blobs/uploads/?digest=DIGEST               POST
//! /v2/NAME/blobs/uploads/?mount=DIGEST&from=NAME     POST
//! LOCATION                                           GET PATCH DELETE   as the registry gave it
//! LOCATION?digest=DIGEST                             PUT
//! /v2/NAME/tags/list?n=COUNT[&last=TAG]              GET, then as `Link` says
//! /v2/_catalog?n=COUNT                               GET, then as `Link` says
//! /v2/NAME/referrers/DIGEST[?artifactType=TYPE]      GET, then as `Link` says
//! ```
//! The parts come from types whose grammars hold no `/../`, `?`, `#` or `%`, so nothing is escaped
//! in a path; what stands in a query is.

use conex_spec::{Algorithm, Digest, Error, MediaType, Name, Result, Tag};
use reqwest::Url;

use crate::origin::Origin;

/// Docker's registry is not where its name says.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// The host (and port) that serves the API of a registry.
pub(crate) fn api_host(registry: &str) -> &str {
    if registry == DOCKER.0 { DOCKER.1 } else { registry }
}

/// The registry that a URL belongs to, as people call it.
pub(crate) fn registry_at(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        _ if host == DOCKER.1 => DOCKER.0.into(),
        Some(port) => format!("{host}:{port}"),
        None => host.into(),
    }
}

/// The root of the API.
pub(crate) fn root(origin: &Origin) -> Result<Url> {
    parse(&format!("{origin}/v2/"))
}

/// A manifest by tag or digest. Fails for a tag that no registry takes.
pub(crate) fn manifest(origin: &Origin, repository: &str, name: &Name) -> Result<Url> {
    parse(&format!("{origin}/v2/{repository}/manifests/{}", name.check_registry()?))
}

/// A manifest by digest, to be pushed with these tags at once.
pub(crate) fn tagged_manifest(
    origin: &Origin,
    repository: &str,
    digest: &Digest,
    tags: &[Tag],
) -> Result<Url> {
    let mut url = manifest(origin, repository, &Name::Digest(digest.clone()))?;
    for tag in tags {
        url.query_pairs_mut().append_pair("tag", tag.as_str());
    }
    Ok(url)
}

/// A blob.
pub(crate) fn blob(origin: &Origin, repository: &str, digest: &Digest) -> Result<Url> {
    parse(&format!("{origin}/v2/{repository}/blobs/{digest}"))
}

/// Where an upload begins. "When pushing a blob with a digest algorithm other than `sha256`, the
/// post request SHOULD include the `digest-algorithm` parameter".
///
/// With `mount` the registry may also take over the blob from wherever it has it: "The registry MAY
/// treat the `from` parameter as optional, and it MAY cross-mount the blob if it can be found."
pub(crate) fn uploads(
    origin: &Origin,
    repository: &str,
    digest: &Digest,
    mount: bool,
) -> Result<Url> {
    let mut url = parse(&format!("{origin}/v2/{repository}/blobs/uploads/"))?;
    if mount {
        url.query_pairs_mut().append_pair("mount", digest.as_str());
    }
    if digest.algorithm()? != Algorithm::Sha256 {
        url.query_pairs_mut().append_pair("digest-algorithm", digest.algorithm_name());
    }
    Ok(url)
}

/// Where a blob is sent as a whole.
pub(crate) fn whole(origin: &Origin, repository: &str, digest: &Digest) -> Result<Url> {
    Ok(commit(uploads(origin, repository, digest, false)?, digest))
}

/// Where a blob of another repository is mounted.
pub(crate) fn mount(origin: &Origin, repository: &str, digest: &Digest, from: &str) -> Result<Url> {
    let mut url = parse(&format!("{origin}/v2/{repository}/blobs/uploads/"))?;
    url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    Ok(url)
}

/// Where an upload ends. The location "MAY contain critical query parameters", which stay
/// byte for byte.
pub(crate) fn commit(mut location: Url, digest: &Digest) -> Url {
    location.query_pairs_mut().append_pair("digest", digest.as_str());
    location
}

/// The first page of the tags, or of those after `last`.
pub(crate) fn tags(
    origin: &Origin,
    repository: &str,
    page: usize,
    last: Option<&Tag>,
) -> Result<Url> {
    let mut url = parse(&format!("{origin}/v2/{repository}/tags/list?n={page}"))?;
    if let Some(last) = last {
        url.query_pairs_mut().append_pair("last", last.as_str());
    }
    Ok(url)
}

/// The first page of the repositories.
pub(crate) fn catalog(origin: &Origin, page: usize) -> Result<Url> {
    parse(&format!("{origin}/v2/_catalog?n={page}"))
}

/// The first page of the referrers, of one artifact type or of all.
pub(crate) fn referrers(
    origin: &Origin,
    repository: &str,
    subject: &Digest,
    artifact_type: Option<&MediaType>,
) -> Result<Url> {
    let mut url = parse(&format!("{origin}/v2/{repository}/referrers/{subject}"))?;
    if let Some(artifact_type) = artifact_type {
        url.query_pairs_mut().append_pair("artifactType", artifact_type.as_str());
    }
    Ok(url)
}

/// A token server's URL with its questions. Docker's "Token Authentication Specification".
pub(crate) fn token(mut realm: Url, service: Option<&str>, scopes: &[String]) -> Url {
    {
        let mut query = realm.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
    }
    // `?` alone is left by an empty query.
    if realm.query() == Some("") {
        realm.set_query(None);
    }
    realm
}

/// The form of a token refresh, in the encoding that forms have.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse("http://form.invalid/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

fn parse(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|err| Error::invalid(format!("not a URL: {text:?}")).source(err))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::new("https", "registry.example:5000").unwrap()
    }

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn urls() {
        let digest: Digest = HEX.parse().unwrap();
        let origin = origin();
        let base = "https://registry.example:5000/v2/";
        let name = Name::Digest(digest.clone());
        let tag = Tag::registry("v1").unwrap();
        for (url, expected) in [
            (root(&origin), String::new()),
            (manifest(&origin, "a/b", &name), format!("a/b/manifests/{HEX}")),
            (blob(&origin, "a/b", &digest), format!("a/b/blobs/{HEX}")),
            (uploads(&origin, "a/b", &digest, false), "a/b/blobs/uploads/".into()),
            (tags(&origin, "a", 5, None), "a/tags/list?n=5".into()),
            (tags(&origin, "a", 5, Some(&tag)), "a/tags/list?n=5&last=v1".into()),
            (catalog(&origin, 5), "_catalog?n=5".into()),
            (referrers(&origin, "a", &digest, None), format!("a/referrers/{HEX}")),
        ] {
            assert_eq!(url.unwrap().as_str(), format!("{base}{expected}"));
        }
        let typed = referrers(&origin, "a", &digest, Some(&MediaType::new("a/b+c&d"))).unwrap();
        assert_eq!(typed.query(), Some("artifactType=a%2Fb%2Bc%26d"));
        let long = Algorithm::Sha512.digest(b"");
        let url = uploads(&origin, "a", &long, false).unwrap();
        assert_eq!(url.query(), Some("digest-algorithm=sha512"));
    }

    #[test]
    fn a_tag_that_no_registry_takes_is_no_url() {
        let tag = Name::Tag("a/../b".parse().unwrap());
        assert!(manifest(&origin(), "a", &tag).is_err());
    }

    #[test]
    fn the_query_of_an_upload_stays_as_it_was() {
        let digest: Digest = HEX.parse().unwrap();
        let location = "https://r.example/u/1?_state=a%2Fb%3d+c&x=%e2%82%ac&&y";
        let url = commit(location.parse().unwrap(), &digest);
        let expected = format!("{location}&digest={}", HEX.replace(':', "%3A"));
        assert_eq!(url.as_str(), expected);
        let url = commit("https://r.example/u/1".parse().unwrap(), &digest);
        assert!(url.as_str().starts_with("https://r.example/u/1?digest=sha256%3A"));
    }

    #[test]
    fn token_questions_are_escaped() {
        let realm: Url = "https://auth.example/token".parse().unwrap();
        assert_eq!(token(realm.clone(), None, &[]), realm);
        let url = token(realm, Some("a&b"), &["repository:x/y:pull".into(), "z".into()]);
        assert_eq!(url.query(), Some("service=a%26b&scope=repository%3Ax%2Fy%3Apull&scope=z"));
        assert_eq!(form(&[("a", "b c"), ("d", "&")]), "a=b+c&d=%26");
    }
}
