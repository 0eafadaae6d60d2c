use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn parse(path: &str) -> Option<Route> {
    Route::parse(path).ok()
}

#[test]
fn endpoints() {
    let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    for (path, route) in [
        ("/v2/".to_owned(), Route::Base),
        ("/v2".into(), Route::Base),
        ("/v2/_catalog".into(), Route::Catalog),
        ("/v2/a/tags/list".into(), Route::Tags(name("a"))),
        ("/v2/a/b/tags/list".into(), Route::Tags(name("a/b"))),
        ("/v2/tags/list/tags/list".into(), Route::Tags(name("tags/list"))),
        ("/v2/a/blobs/uploads/".into(), Route::Uploads(name("a"))),
        ("/v2/a/blobs/uploads".into(), Route::Uploads(name("a"))),
        (format!("/v2/a/blobs/uploads/{uuid}"), Route::Upload(name("a"), uuid.parse().unwrap())),
        (format!("/v2/a/blobs/{digest}"), Route::Blob(name("a"), digest.clone())),
        (format!("/v2/a/blobs/sha256%3A{HEX}"), Route::Blob(name("a"), digest.clone())),
        (format!("/v2/a%2Fb/blobs/{digest}"), Route::Blob(name("a/b"), digest.clone())),
        (
            format!("/v2/a/blobs/uploads/blobs/{digest}"),
            Route::Blob(name("a/blobs/uploads"), digest.clone()),
        ),
        (format!("/v2/a/referrers/{digest}"), Route::Referrers(name("a"), digest.clone())),
        (
            format!("/v2/a/manifests/{digest}"),
            Route::Manifest(name("a"), ManifestName::Digest(digest)),
        ),
        (
            "/v2/a/manifests/list".into(),
            Route::Manifest(name("a"), ManifestName::Tag("list".parse().unwrap())),
        ),
        (
            "/v2/a/manifests/.no".into(),
            Route::Manifest(name("a"), ManifestName::NoTag(".no".into())),
        ),
    ] {
        assert_eq!(parse(&path), Some(route), "{path}");
    }
}

#[test]
fn everything_else_is_refused() {
    for path in [
        "",
        "/",
        "v2/",
        "/v1/",
        "//v2/",
        "/v2//",
        "/V2/",
        "/v2/a",
        "/v2/a/",
        "/v2/tags/list",
        "/v2/blobs/uploads/",
        "/v2/a/tags",
        "/v2/a/tags/list/",
        "/v2/a/tags/other",
        "/v2/_catalog/",
        "/v2/../a/tags/list",
        "/v2/a/../b/tags/list",
        "/v2/./a/tags/list",
        "/v2/a//tags/list",
        "/v2/%2e%2e/tags/list",
        "/v2/a%2f..%2fb/tags/list",
        "/v2/a%252fb/tags/list",
        "/v2/a%5cb/tags/list",
        "/v2/a\\b/tags/list",
        "/v2/a%00/tags/list",
        "/v2/a%0a/tags/list",
        "/v2/A/tags/list",
        "/v2/_uploads/tags/list",
        "/v2/a%/tags/list",
        "/v2/a%2/tags/list",
        "/v2/a%zz/tags/list",
        "/v2/a%ff/tags/list",
        "/v2/a%+1/tags/list",
        "/v2/\u{430}/tags/list",
        "/v2/a/blobs/x",
        "/v2/a/blobs/sha256:",
        "/v2/a/blobs/sha256:../../x",
        "/v2/a/blobs/uploads/x",
        "/v2/a/blobs/uploads/67E55044-10b1-426f-9247-bb680e5fe0c8",
        "/v2/a/blobs/uploads/67e5504410b1426f9247bb680e5fe0c8",
        "/v2/a/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8",
        "/v2/a/referrers/latest",
        "/v2/a/manifests/sha256:abc",
        "/v2/a/manifests/SHA256:abc:d",
        "*",
        "/v2/;a/tags/list",
    ] {
        assert_eq!(parse(path), None, "{path}");
    }
}

#[test]
fn queries() {
    let query = Query::parse(Some("n=5&tag=a&tag=b&x&artifactType=a/b+json&e=%2B%20")).unwrap();
    assert_eq!(query.count().unwrap(), Some(5));
    assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(query.one("artifactType").unwrap(), Some("a/b+json"));
    assert_eq!(query.one("e").unwrap(), Some("+ "));
    assert_eq!(query.one("x").unwrap(), Some(""));
    assert!(query.one("tag").is_err() && query.one("missing").unwrap().is_none());
    for bad in ["n=-1", "n=a", "n=", "n=+1", "n=1&n=2"] {
        assert!(Query::parse(Some(bad)).unwrap().count().is_err(), "{bad}");
    }
    assert!(Query::parse(Some("a=%zz")).is_err());
    assert!(Query::parse(Some(&"a".repeat(9000))).is_err());
    assert!(Query::parse(None).unwrap().count().unwrap().is_none());
}

#[test]
fn what_is_encoded_decodes_to_itself() {
    for text in ["a/b+json; x=\"y\"&z", "sha256:00", "%2F", "\u{e9}\n"] {
        assert_eq!(decode(&encode(text)).unwrap(), text);
    }
}
