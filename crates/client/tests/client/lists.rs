//! Names, tags and referrers: rows 113 to 116 and 120, rules C5, C10 and D2.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::sync::Arc;

use common::fake::{Fake, Reply, Request, Step, bare, reply};
use common::{Notes, noise, quick, repository};
use conex_client::Repository;
use conex_spec::{
    Descriptor, Digest, Document, Error, ImageIndex, ImageManifest, Kind, MediaType, Name, Result,
    Tag,
};
use conex_store::{Source, SourceExt};
use futures_util::{StreamExt, TryStreamExt};

async fn client(
    handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Repository, Fake, Arc<Notes>) {
    let fake = Fake::start(handler).await;
    let (options, notes) = quick();
    (repository(options, &fake.reference("a")), fake, notes)
}

async fn tags(source: &dyn Source) -> Result<Vec<String>> {
    source.tags().map_ok(|tag| tag.to_string()).try_collect().await
}

fn index(types: &[&str]) -> (Descriptor, String) {
    let entry = |artifact_type: &&str| {
        let mut entry = Descriptor::of(MediaType::MANIFEST, artifact_type.as_bytes());
        entry.artifact_type = Some(MediaType::new(*artifact_type));
        entry
    };
    let index = Document::new(ImageIndex::new(types.iter().map(entry).collect())).unwrap();
    (index.descriptor(MediaType::INDEX), String::from_utf8(index.bytes().to_vec()).unwrap())
}

const INDEX: &str = "Content-Type: application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn tags_come_page_by_page() {
    let (source, fake, notes) = client(|request| match request.target.as_str() {
        "/v2/a/tags/list?n=1000" => reply(
            200,
            &["Link: </v2/a/tags/list?last=b&n=2>; rel=\"next\""],
            r#"{"tags":["a","b"]}"#,
        ),
        "/v2/a/tags/list?last=b&n=2" => {
            reply(200, &["Link: <list?last=c>; rel=next"], r#"{"tags":["c","../x","d\u001b"]}"#)
        }
        "/v2/a/tags/list?last=c" => reply(200, &[], r#"{"name":"a","tags":null}"#),
        _ => Reply::new(),
    })
    .await;
    assert_eq!(tags(&source).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(fake.seen().len(), 3);
    assert_eq!(notes.warnings().len(), 2, "{:?}", notes.all());
    assert!(!notes.warnings().concat().contains('\u{1b}'));
}

/// Rule C5.
#[tokio::test]
async fn row_113_pages_that_lead_away_or_in_a_circle() {
    let elsewhere = Fake::start_at("127.0.0.2", |_| reply(200, &[], r#"{"tags":["x"]}"#)).await;
    let away = format!("Link: <{}>; rel=next", elsewhere.url("/v2/a/tags/list"));
    let own = "Link: </v2/a/tags/list?n=1000>; rel=next".to_owned();
    let file = "Link: <file:///etc/passwd>; rel=next".to_owned();
    for (link, kind) in [(away, Kind::Denied), (own, Kind::Invalid), (file, Kind::Denied)] {
        let (source, fake, _) = client(move |_| reply(200, &[&link], r#"{"tags":["a"]}"#)).await;
        assert_eq!(tags(&source).await.unwrap_err().kind(), kind);
        assert_eq!(fake.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty());
    // Two pages that lead to each other.
    let (source, fake, _) = client(|request| {
        let other = if request.target.contains("x=1") { 2 } else { 1 };
        reply(200, &[&format!("Link: </v2/a/tags/list?x={other}>; rel=next")], r#"{"tags":["a"]}"#)
    })
    .await;
    assert_eq!(tags(&source).await.unwrap_err().kind(), Kind::Invalid);
    assert!(fake.seen().len() <= 3);
}

/// Row 114: tags are streamed; only what is taken is asked for.
#[tokio::test]
async fn row_114_many_tags_are_not_gathered() {
    let (source, fake, _) = client(|request| {
        let page = request.count;
        let tags: Vec<String> = (0..1000).map(|i| format!("\"t{page}-{i}\"")).collect();
        let link = format!("Link: </v2/a/tags/list?page={}>; rel=next", page + 1);
        reply(200, &[&link], format!("{{\"tags\":[{}]}}", tags.join(",")))
    })
    .await;
    let first: Vec<_> = source.tags().take(2500).collect().await;
    assert!(first.iter().all(Result::is_ok));
    assert_eq!(fake.seen().len(), 3);
}

/// Rule C10: a page without an end is not read to its end.
#[tokio::test]
async fn endless_pages_are_refused() {
    let endless = |_: &Request| {
        let mut steps = bare(200, &["Transfer-Encoding: chunked"]);
        steps.extend(
            (0..50)
                .map(|_| Step::Send([&b"100000\r\n"[..], &vec![b' '; 1 << 20], b"\r\n"].concat())),
        );
        steps
    };
    let (source, ..) = client(endless).await;
    assert_eq!(tags(&source).await.unwrap_err().kind(), Kind::Limit);
    assert_eq!(source.referrers(&Digest::sha256(b"")).await.unwrap_err().kind(), Kind::Limit);
    assert_eq!(source.resolve(None).await.unwrap_err().kind(), Kind::Limit);
}

#[tokio::test]
async fn referrers_come_page_by_page_and_are_filtered() {
    let (_, first) = index(&["a/x", "a/y"]);
    let (_, second) = index(&["a/z"]);
    let (source, fake, notes) = client(move |request| {
        if request.target.contains("page=2") {
            return reply(200, &[INDEX], &second);
        }
        let link =
            format!("Link: <{}&page=2>; rel=next", request.target.replace("Type=", "Type=x&y="));
        let link = if request.target.contains('?') { link } else { link.replace("&page", "?page") };
        reply(200, &[INDEX, &link], &first)
    })
    .await;
    let subject = Digest::sha256(b"");
    assert_eq!(source.referrers(&subject).await.unwrap().len(), 3);
    let wanted = MediaType::new("a/z");
    let found = source.referrers_of_type(&subject, Some(&wanted)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].artifact_type, Some(wanted));
    assert!(fake.lines()[2].ends_with("?artifactType=a%2Fz"), "{:?}", fake.lines());
    let told = |note: &String| !note.starts_with("Answered ");
    assert!(!notes.all().iter().any(told), "{:?}", notes.all());
}

#[tokio::test]
async fn row_115_a_list_that_is_no_index_is_refused() {
    let manifest = Document::new(ImageManifest::new(Descriptor::empty(), vec![])).unwrap();
    for body in [&b"<html>"[..], b"[]", b"{}", manifest.bytes()] {
        let body = body.to_vec();
        let (source, ..) = client(move |_| reply(200, &[INDEX], &body)).await;
        assert_eq!(source.referrers(&Digest::sha256(b"")).await.unwrap_err().kind(), Kind::Invalid);
    }
}

#[tokio::test]
async fn row_116_without_the_api_the_tag_is_read() {
    let subject = Digest::sha256(b"");
    let tag = format!("/v2/a/manifests/{}", subject.referrers_tag());
    for status in [404, 400, 405, 501] {
        let (_, list) = index(&["a/x"]);
        let tag = tag.clone();
        let (source, ..) = client(move |request| match () {
            () if request.target == tag => reply(200, &[INDEX], &list),
            () if request.target.contains("referrers/") => reply(status, &[], ""),
            () => Reply::new(),
        })
        .await;
        assert_eq!(source.referrers(&subject).await.unwrap().len(), 1, "{status}");
    }
    let (source, ..) = client(|_| reply(404, &[], "")).await;
    assert!(source.referrers(&subject).await.unwrap().is_empty());
    let (source, ..) = client(|_| reply(403, &[], "")).await;
    assert_eq!(source.referrers(&subject).await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn row_120_warnings_are_told_once_and_escaped() {
    let (root, list) = index(&[]);
    let (source, _, notes) = client(move |_| {
        let long = format!("Warning: 299 - \"{}\"", "x".repeat(20_000));
        reply(
            200,
            &[INDEX, "Warning: 299 - \"old\u{202e}\"", "Warning: 299 - \"two\"", &long],
            &list,
        )
    })
    .await;
    for _ in 0..3 {
        source.read(&root).await.unwrap();
    }
    let told = notes.warnings();
    assert!(told.len() >= 2 && told.len() <= 3, "{told:?}");
    assert!(told.concat().len() <= 4096 && !told.concat().contains('\u{202e}'));
}

fn tag(text: &str) -> Name {
    Name::Tag(Tag::new(text).unwrap())
}

#[tokio::test]
async fn names_are_resolved_by_head_where_it_tells_all() {
    let (root, list) = index(&["a/x"]);
    let digest = format!("Docker-Content-Digest: {}", root.digest);
    let length = format!("Content-Length: {}", root.size);
    // What HEAD answers, and whether GET must be asked.
    for (status, headers, asks) in [
        (200, vec![INDEX.to_owned(), digest.clone(), length.clone()], 1),
        (200, vec![format!("{INDEX}; charset=utf-8"), digest.clone(), length.clone()], 1),
        (200, vec![INDEX.to_owned(), length.clone()], 2),
        (200, vec![digest.clone(), length.clone()], 2),
        (405, vec![], 2),
        (404, vec![], 2),
    ] {
        let list = list.clone();
        let (source, fake, _) = client(move |request| {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            match request.method.as_str() {
                "HEAD" => bare(status, &headers),
                _ => reply(200, &[INDEX], &list),
            }
        })
        .await;
        assert_eq!(source.resolve(Some(&tag("v1"))).await.unwrap(), root);
        assert_eq!(fake.seen().len(), asks, "{:?}", fake.lines());
        assert!(fake.seen()[0].header("accept").unwrap().contains("vnd.oci.image.index.v1+json"));
        assert_eq!(source.resolve(Some(&Name::Digest(root.digest.clone()))).await.unwrap(), root);
    }
}

/// Rules D2 and D4: the digest that was asked for decides.
#[tokio::test]
async fn a_digest_is_not_answered_with_another() {
    let (root, list) = index(&["a/x"]);
    let (other, other_list) = index(&["a/y"]);
    let length = format!("Content-Length: {}", other.size);
    let digest = format!("Docker-Content-Digest: {}", other.digest);
    let name = Name::Digest(root.digest.clone());
    let served = other_list.clone();
    let (source, ..) = client(move |request| match request.method.as_str() {
        "HEAD" => bare(200, &[INDEX, &length, &digest]),
        _ => reply(200, &[INDEX, &digest], &served),
    })
    .await;
    assert_eq!(source.resolve(Some(&name)).await.unwrap_err().kind(), Kind::Mismatch);
    // Without the header the bytes tell.
    let (source, ..) = client(move |request| match request.method.as_str() {
        "HEAD" => bare(405, &[]),
        _ => reply(200, &[INDEX], &other_list),
    })
    .await;
    assert_eq!(source.resolve(Some(&name)).await.unwrap_err().kind(), Kind::Mismatch);
    // A header of another algorithm says nothing; a wrong one beside the right bytes is a fault.
    let long = conex_spec::Algorithm::Sha512.digest(list.as_bytes());
    let (told, served) = (format!("Docker-Content-Digest: {}", root.digest), list.clone());
    let (source, ..) = client(move |request| match request.method.as_str() {
        "HEAD" => bare(405, &[]),
        _ => reply(200, &[INDEX, &told], &served),
    })
    .await;
    let found = source.resolve(Some(&Name::Digest(long.clone()))).await.unwrap();
    assert_eq!(found.digest, long);
    let lie = format!("Docker-Content-Digest: {}", other.digest);
    let (source, ..) = client(move |request| match request.method.as_str() {
        "HEAD" => bare(405, &[]),
        _ => reply(200, &[INDEX, &lie], &list),
    })
    .await;
    for name in [name, tag("v1")] {
        assert_eq!(source.resolve(Some(&name)).await.unwrap_err().kind(), Kind::Mismatch);
    }
}

/// image-spec, media-types.md, "Media Type Conflicts".
#[tokio::test]
async fn media_types_that_conflict() {
    let (root, list) = index(&["a/x"]);
    for (told, expected) in [
        ("application/json", Ok(())),
        ("text/plain; charset=utf-8", Ok(())),
        ("application/vnd.oci.image.manifest.v1+json", Err(Kind::Invalid)),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", Err(Kind::Unsupported)),
        ("text/html", Err(Kind::Unsupported)),
    ] {
        let list = list.clone();
        let (source, _, notes) = client(move |request| {
            let told = format!("Content-Type: {told}");
            match request.method.as_str() {
                "HEAD" => bare(405, &[]),
                _ => reply(200, &[&told], &list),
            }
        })
        .await;
        // Nothing is expected but that it is a manifest.
        let found = source.resolve(Some(&tag("v1"))).await;
        assert_eq!(found.map(drop).map_err(|err: Error| err.kind()), expected, "{told}");
        // The descriptor expects an index of this digest; that wins, with a warning.
        source.manifest(&root).await.unwrap();
        assert_eq!(notes.warnings().len(), 1, "{told}: {:?}", notes.all());
    }
}

#[tokio::test]
async fn the_digest_of_a_blob_is_resolved_too() {
    let bytes = noise(1234);
    let (source, ..) = client(move |request| match request.target.contains("/blobs/") {
        true => bare(200, &["Content-Length: 1234"]),
        false => reply(404, &[], ""),
    })
    .await;
    let digest = Digest::sha256(&bytes);
    let found = source.resolve(Some(&Name::Digest(digest.clone()))).await.unwrap();
    assert_eq!((found.digest, found.size), (digest, 1234));
}

#[tokio::test]
async fn nobody_there_is_told_soon() {
    let (options, notes) = quick();
    let repository = repository(options, "127.0.0.1:1/a");
    let started = std::time::Instant::now();
    let err = repository.resolve(None).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Network, "{err}");
    assert!(err.to_string().contains("127.0.0.1:1"), "{err}");
    assert_eq!(notes.retries(), 3);
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

async fn repositories(fake: &Fake) -> Result<Vec<String>> {
    let client = conex_client::Client::new(quick().0);
    client.repositories(&fake.address, None)?.try_collect().await
}

#[tokio::test]
async fn repositories_come_page_by_page() {
    let fake = Fake::start(|request| match request.target.as_str() {
        "/v2/_catalog?n=1000" => reply(
            200,
            &["Link: </v2/_catalog?last=b&n=2>; rel=\"next\""],
            r#"{"repositories":["a","team/b"]}"#,
        ),
        "/v2/_catalog?last=b&n=2" => reply(200, &[], r#"{"repositories":["c","../x"]}"#),
        _ => Reply::new(),
    })
    .await;
    assert_eq!(repositories(&fake).await.unwrap(), ["a", "team/b", "c"]);
}

#[tokio::test]
async fn a_registry_without_a_catalog_says_so() {
    for (status, kind) in [
        (404, Kind::Unsupported),
        (405, Kind::Unsupported),
        (403, Kind::Denied),
        (500, Kind::Network),
    ] {
        let fake = Fake::start(move |request| match request.target.as_str() {
            "/v2/" => Reply::new(),
            _ => reply(status, &[], ""),
        })
        .await;
        let err = repositories(&fake).await.unwrap_err();
        assert_eq!(err.kind(), kind, "{err}");
        assert_eq!(err.hint_text().is_some(), status != 500, "{err}");
    }
}

#[tokio::test]
async fn tags_begin_where_they_are_asked_for() {
    let (source, fake, _) = client(|_| reply(200, &[], r#"{"tags":["c"]}"#)).await;
    let last = Tag::registry("b").unwrap();
    let tags: Vec<_> = source.tags_after(Some(&last), Some(5)).try_collect().await.unwrap();
    assert_eq!(tags, [Tag::registry("c").unwrap()]);
    assert_eq!(fake.lines(), ["GET /v2/a/tags/list?n=5&last=b"]);
    // A registry that does not know the parameter sends all, in an order of its own.
    let (source, _fake, _) = client(|_| reply(200, &[], r#"{"tags":["x","b","a","c"]}"#)).await;
    let tags: Vec<_> = source.tags_after(Some(&last), None).try_collect().await.unwrap();
    assert_eq!(tags, ["a", "c"].map(|tag| Tag::registry(tag).unwrap()));
}

#[tokio::test]
async fn a_digest_costs_one_head() {
    let (root, list) = index(&["a/x"]);
    let told = format!("Docker-Content-Digest: {}", root.digest);
    // Not even the media type is needed.
    let (source, fake, _) = client(move |_| bare(200, &[&told])).await;
    assert_eq!(source.digest_of(&tag("v1")).await.unwrap(), root.digest);
    assert_eq!(source.digest_of(&Name::Digest(root.digest.clone())).await.unwrap(), root.digest);
    assert_eq!(fake.lines().len(), 2);
    for status in [200, 405, 404] {
        let list = list.clone();
        let (source, fake, _) = client(move |request| match request.method.as_str() {
            "HEAD" => bare(status, &[INDEX]),
            _ => reply(200, &[INDEX], &list),
        })
        .await;
        assert_eq!(source.digest_of(&tag("v1")).await.unwrap(), root.digest);
        assert_eq!(fake.lines(), ["HEAD /v2/a/manifests/v1", "GET /v2/a/manifests/v1"]);
    }
    let (source, ..) = client(|_| reply(404, &[], "")).await;
    assert_eq!(source.digest_of(&tag("v1")).await.unwrap_err().kind(), Kind::NotFound);
}

/// distribution-spec, "Deleting tags": "MUST respond with either a `400 Bad Request` or a `405`".
#[tokio::test]
async fn deletions_that_are_not_allowed_say_so() {
    for status in [400, 405] {
        let body =
            r#"{"errors":[{"code":"UNSUPPORTED","message":"the operation is unsupported"}]}"#;
        let (source, ..) = client(move |_| reply(status, &[], body)).await;
        let err = source.untag(&Tag::registry("v1").unwrap()).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unsupported, "{err}");
        assert!(err.hint_text().unwrap().contains("conex delete"), "{err}");
        let (root, _) = index(&[]);
        let err = source.delete_manifest(&root).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unsupported, "{err}");
        let err = source.delete_blob(&root.digest).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unsupported, "{err}");
    }
}

#[tokio::test]
async fn a_blob_is_found_by_one_head() {
    let (source, fake, _) = client(|request| match request.target.ends_with('0') {
        true => bare(404, &[]),
        false => bare(200, &["Content-Length: 1234"]),
    })
    .await;
    let digest = Digest::sha256(b"x");
    assert_eq!(source.find_blob(&digest).await.unwrap().size, 1234);
    assert_eq!(fake.lines(), [format!("HEAD /v2/a/blobs/{digest}")]);
    let nothing = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    assert_eq!(source.find_blob(&nothing).await.unwrap_err().kind(), Kind::NotFound);
}
