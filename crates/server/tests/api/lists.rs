//! distribution-spec, "Content Discovery".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, code, header, manifest};
use conex_spec::{Descriptor, MediaType};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Follows the links of a list and returns all pages.
async fn pages(registry: &Registry, path: &str, member: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let answer = registry.send("GET", &path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let link = header(&answer, "link");
        next = link.strip_prefix('<').map(|link| {
            let (target, rest) = link.split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"");
            target.to_owned()
        });
        let page: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        pages.push(page[member].as_array().unwrap().clone());
    }
    pages
}

/// Rule R8: names that are prefixes of others are not dropped, whatever the size of a page.
#[tokio::test]
async fn tags_in_pages() {
    let registry = Registry::start().await;
    let body = registry.image("a/b", b"layer").await;
    let mut tags = ["0.1.2", "0.1.20", "0.1.3", "Z", "a", "_u", "a.b", "a-b", "latest"];
    for tag in tags {
        let path = format!("/v2/a/b/manifests/{tag}");
        assert_eq!(registry.put(&path, MANIFEST, body.clone()).await.status(), 201);
    }
    tags.sort_unstable();
    assert_eq!(registry.json("/v2/a/b/tags/list").await, json!({ "name": "a/b", "tags": tags }));
    for n in 1..=10 {
        let pages = pages(&registry, &format!("/v2/a/b/tags/list?n={n}"), "tags").await;
        assert_eq!(json!(pages.concat()), json!(tags), "n={n}");
        assert_eq!(pages.len(), tags.len().div_ceil(n));
    }
    let zero = registry.send("GET", "/v2/a/b/tags/list?n=0").await;
    assert_eq!((zero.status().as_u16(), header(&zero, "link").as_str()), (200, ""));
    for (query, expected) in [
        ("n=2&last=0.1.2", json!(["0.1.20", "0.1.3"])),
        ("last=a", json!(["a-b", "a.b", "latest"])),
        ("last=none&n=5", json!([])),
        ("last=b", json!(["latest"])),
        ("n=0", json!([])),
        ("n=99999999999999999999", json!(null)),
    ] {
        let answer = registry.send("GET", &format!("/v2/a/b/tags/list?{query}")).await;
        let found: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(found["tags"], expected, "{query}");
    }
    for query in ["n=-1", "n=x", "n=", "n=1&n=2"] {
        assert_eq!(
            registry.status("GET", &format!("/v2/a/b/tags/list?{query}")).await,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_repository_without_tags_has_an_empty_list() {
    let registry = Registry::start().await;
    registry.open("only/upload").await;
    assert_eq!(code(registry.send("GET", "/v2/only/upload/tags/list").await).await, "NAME_UNKNOWN");
    registry.push_blob("a", b"x").await;
    assert_eq!(registry.json("/v2/a/tags/list").await["tags"], json!([]));
}

#[tokio::test]
async fn the_catalog_in_pages() {
    let registry = Registry::start().await;
    assert_eq!(registry.json("/v2/_catalog").await, json!({ "repositories": [] }));
    let mut names = ["math", "math-voila", "math/x", "math/x/y", "math.b", "a", "z/z/z"];
    for name in names {
        registry.push_blob(name, b"x").await;
    }
    names.sort_unstable();
    for n in 1..=8 {
        let pages = pages(&registry, &format!("/v2/_catalog?n={n}"), "repositories").await;
        assert_eq!(json!(pages.concat()), json!(names), "n={n}");
    }
}

#[tokio::test]
async fn referrers_with_and_without_a_filter() {
    let registry = Registry::start().await;
    let image = registry.push_image("a", "t", b"layer").await;
    let config = registry.push_blob("a", b"{}").await;
    let subject = json!({ "mediaType": MANIFEST, "digest": image.digest, "size": image.size });
    let note = json!({ "annotations": { "k": "v" }, "subject": subject, "artifactType": "a/one" });
    let one = manifest(&config, &[], note);
    let two = manifest(&config, &[], json!({ "subject": subject }));
    let index = json!({ "schemaVersion": 2, "manifests": [], "subject": subject });
    let index = serde_json::to_vec(&index).unwrap();
    for (kind, body) in [
        (MediaType::MANIFEST, &one),
        (MediaType::MANIFEST, &two),
        (MediaType::INDEX, &index),
        (MediaType::MANIFEST, &one),
    ] {
        let path = format!("/v2/a/manifests/{}", common::sha256(body));
        let answer = registry.put(&path, kind.as_str(), body.clone()).await;
        assert_eq!(header(&answer, "oci-subject"), image.digest.as_str());
    }
    let path = format!("/v2/a/referrers/{}", image.digest);
    let answer = registry.send("GET", &path).await;
    assert_eq!(header(&answer, "content-type"), MediaType::INDEX.as_str());
    assert_eq!(header(&answer, "oci-filters-applied"), "");
    let list = registry.json(&path).await;
    assert_eq!(list["schemaVersion"], 2);
    let find = |body: &[u8]| {
        let digest = common::sha256(body);
        let entries = list["manifests"].as_array().unwrap();
        entries.iter().find(|entry| entry["digest"] == digest.as_str()).unwrap().clone()
    };
    assert_eq!(list["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(find(&one)["artifactType"], "a/one");
    assert_eq!(find(&one)["annotations"], json!({ "k": "v" }));
    assert_eq!(find(&one)["size"], one.len());
    // Without one, the type of the config; of an index, none.
    assert_eq!(find(&two)["artifactType"], config.media_type.as_str());
    assert_eq!(find(&index).get("artifactType"), None);

    for (kind, count) in
        [("a/one", 1), ("a%2Fone", 1), ("a/none", 0), (config.media_type.as_str(), 1)]
    {
        let answer = registry.send("GET", &format!("{path}?artifactType={kind}")).await;
        assert_eq!(header(&answer, "oci-filters-applied"), "artifactType");
        let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(list["manifests"].as_array().unwrap().len(), count, "{kind}");
    }
}

#[tokio::test]
async fn referrers_are_never_404() {
    let registry = Registry::start().await;
    let digest = common::sha256(b"nothing");
    for path in [
        format!("/v2/none/referrers/{digest}"),
        format!("/v2/none/referrers/x+y:{}", "z".repeat(300)),
    ] {
        assert_eq!(registry.json(&path).await["manifests"], json!([]));
    }
    for bad in ["latest", "sha256:x", "sha256:%2e%2e", "sha256:"] {
        let answer = registry.send("GET", &format!("/v2/none/referrers/{bad}")).await;
        assert_eq!(
            (answer.status().as_u16(), code(answer).await.as_str()),
            (400, "DIGEST_INVALID")
        );
    }
}

/// Rule R11: no answer is longer than a manifest may be.
#[tokio::test]
async fn many_referrers_come_in_pages() {
    let registry = Registry::start().await;
    let config = registry.push_blob("a", b"{}").await;
    let subject = Descriptor::of(MediaType::MANIFEST, b"subject");
    let long = "x".repeat(900_000);
    for i in 0..10 {
        let kind = if i % 2 == 0 { "a/even+x" } else { "a/odd" };
        let more = json!({ "subject": subject, "artifactType": kind, "annotations": { "i": i.to_string(), "long": long } });
        let answer = registry
            .put(&format!("/v2/a/manifests/{i}"), MANIFEST, manifest(&config, &[], more))
            .await;
        assert_eq!(answer.status(), 201);
    }
    let path = format!("/v2/a/referrers/{}", subject.digest);
    for (path, count, least) in
        [(path.clone(), 10, 3), (format!("{path}?artifactType=a/even%2Bx"), 5, 2)]
    {
        let pages = pages(&registry, &path, "manifests").await;
        assert!(pages.len() >= least, "{} pages", pages.len());
        let mut found: Vec<_> =
            pages.concat().iter().map(|entry| entry["digest"].to_string()).collect();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count);
    }
    let log = registry.log.0.lock().unwrap();
    assert!(log.iter().all(|access| access.sent <= 4 << 20));
}
