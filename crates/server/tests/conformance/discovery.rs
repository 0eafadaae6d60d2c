//! "Content Discovery".

/// "Listing Tags".
pub mod tags {
    use serde_json::json;

    use crate::context::{Context, MANIFEST};

    async fn with_tags(c: &Context, tags: &[&str]) {
        let (_, bytes) = c.push_image(tags[0], b"layer").await;
        for tag in &tags[1..] {
            c.put(tag, MANIFEST, &bytes).await.expect(201);
        }
    }

    const TAGS: &[&str] =
        &["v2", "0.1.2", "0.1.20", "0.1", "A", "a", "b-1", "b", "B", "_x", "latest", "10", "9"];

    fn sorted() -> Vec<&'static str> {
        let mut tags = TAGS.to_vec();
        tags.sort_unstable();
        tags
    }

    pub async fn form_and_order(c: Context) {
        with_tags(&c, TAGS).await;
        let got = c.get("tags/list").await.expect(200);
        assert!(got.header("content-type").starts_with("application/json"));
        assert_eq!(got.json(), json!({ "name": c.name, "tags": sorted() }));
        assert!(!got.has("link"));
    }

    pub async fn an_empty_list(c: Context) {
        let (image, _) = c.push_image("t", b"layer").await;
        assert_eq!(c.status("DELETE", "manifests/t").await, 202);
        assert_eq!(c.json("tags/list").await["tags"], json!([]));
        assert_eq!(c.status("GET", &format!("manifests/{}", image.digest)).await, 200);
    }

    /// Whatever the size of a page: all tags, each once, and no page shorter than it must be.
    pub async fn exact_pages(c: Context) {
        with_tags(&c, TAGS).await;
        for n in [1, 2, 5, 12, 13, 14, 1000] {
            let pages = c.pages(&format!("tags/list?n={n}"), "tags").await;
            assert_eq!(json!(pages.concat()), json!(sorted()), "n={n}");
            assert_eq!(pages.len(), TAGS.len().div_ceil(n), "n={n}");
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == n));
        }
        let more = c.get("tags/list?n=2").await.expect(200);
        assert!(more.next().unwrap().contains("n=2"));
        assert!(!c.get("tags/list?n=13").await.has("link"));
    }

    pub async fn none_of_them(c: Context) {
        with_tags(&c, TAGS).await;
        for path in ["tags/list?n=0", "tags/list?n=0&last=a"] {
            let got = c.get(path).await.expect(200);
            assert_eq!(got.json()["tags"], json!([]));
            assert!(!got.has("link"));
        }
    }

    pub async fn after_a_tag(c: Context) {
        with_tags(&c, TAGS).await;
        let sorted = sorted();
        for (at, last) in sorted.iter().enumerate() {
            let rest = c.json(&format!("tags/list?last={last}")).await;
            assert_eq!(rest["tags"], json!(sorted[at + 1..]), "last={last}");
            let two = c.json(&format!("tags/list?n=2&last={last}")).await;
            let end = sorted.len().min(at + 3);
            assert_eq!(two["tags"], json!(sorted[at + 1..end]), "last={last}");
        }
        // One that is not there, or no longer, has its place too.
        assert_eq!(c.json("tags/list?n=1&last=0.1.3").await["tags"], json!(["10"]));
        assert_eq!(c.json("tags/list?last=zzz").await["tags"], json!([]));
    }

    pub async fn what_is_no_number_is_400(c: Context) {
        with_tags(&c, &["a"]).await;
        for n in ["-1", "x", "1.5", "", "+1", "0x1", "1&n=2"] {
            assert_eq!(c.status("GET", &format!("tags/list?n={n}")).await, 400, "{n}");
        }
        let huge = c.json("tags/list?n=18446744073709551615").await;
        assert_eq!(huge["tags"], json!(["a"]));
    }

    pub async fn an_unknown_repository_is_404(c: Context) {
        let got = c.get(&format!("/v2/{}/none/tags/list", c.name)).await.expect(404);
        assert_eq!(got.code(), "NAME_UNKNOWN");
    }
}

/// Docker's list of repositories.
pub mod catalog {
    use serde_json::json;

    use crate::context::{Context, answer, sha256};

    pub async fn exact_pages(c: Context) {
        let c = c.with(|_| {}).await;
        let mut names = vec!["math", "math-voila", "math/a", "math0", "a/b/c", "a/b", "z"];
        for name in &names {
            let path = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(b"x"));
            answer(c.request("POST", &path).body("x")).await.expect(201);
        }
        names.sort_unstable();
        for n in [1, 2, 3, 7, 8] {
            let pages = c.pages(&format!("/v2/_catalog?n={n}"), "repositories").await;
            assert_eq!(json!(pages.concat()), json!(names), "n={n}");
        }
        assert_eq!(c.json("/v2/_catalog").await["repositories"], json!(names));
    }
}

/// "Listing Referrers", "Enabling the Referrers API".
pub mod referrers {
    use conex_spec::{Descriptor, MediaType};
    use serde_json::{Value, json};

    use crate::context::{Context, INDEX, MANIFEST, manifest, sha256};

    fn subject() -> Descriptor {
        Descriptor::of(MediaType::MANIFEST, b"the subject")
    }

    async fn put(c: &Context, kind: &str, bytes: &[u8]) -> String {
        c.put(sha256(bytes).as_str(), kind, bytes).await.expect(201);
        sha256(bytes).to_string()
    }

    /// An entry of a list, by its digest.
    fn entry(list: &Value, digest: &str) -> Value {
        let entries = list["manifests"].as_array().unwrap();
        let found: Vec<_> = entries.iter().filter(|entry| entry["digest"] == digest).collect();
        assert_eq!(found.len(), 1, "{list}");
        found[0].clone()
    }

    pub async fn none_is_an_empty_index(c: Context) {
        c.push_image("t", b"layer").await;
        let unknown = format!("x+y:{}", "z".repeat(300));
        for digest in [subject().digest.as_str(), unknown.as_str()] {
            let got = c.get(&format!("referrers/{digest}")).await.expect(200);
            assert_eq!(got.header("content-type"), INDEX);
            let list = got.json();
            assert_eq!((&list["schemaVersion"], &list["mediaType"]), (&json!(2), &json!(INDEX)));
            assert_eq!(list["manifests"], json!([]));
        }
    }

    pub async fn an_unknown_repository_is_no_404(c: Context) {
        let path = format!("/v2/{}/none/referrers/{}", c.name, subject().digest);
        assert_eq!(c.json(&path).await["manifests"], json!([]));
    }

    pub async fn a_bad_digest_is_400(c: Context) {
        for bad in ["latest", "sha256:x", "sha256:", "sha256:%2e%2e", ":"] {
            let got = c.get(&format!("referrers/{bad}")).await.expect(400);
            assert_eq!(got.code(), "DIGEST_INVALID", "{bad}");
        }
    }

    pub async fn types_and_annotations(c: Context) {
        let config = c.push_blob_as(MediaType::new("application/x.config"), b"{}").await;
        let subject = subject();
        let one =
            json!({ "subject": subject, "artifactType": "a/one", "annotations": { "k": "v" } });
        let one = put(&c, MANIFEST, &manifest(&config, &[], one)).await;
        let bytes = manifest(&config, &[], json!({ "subject": subject }));
        let (two, size) = (put(&c, MANIFEST, &bytes).await, bytes.len());
        let index = |more: Value| {
            let mut index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": subject });
            for (name, member) in more.as_object().unwrap() {
                index[name] = member.clone();
            }
            index.to_string().into_bytes()
        };
        let three = put(&c, INDEX, &index(json!({}))).await;
        let four = index(json!({ "artifactType": "a/four", "annotations": { "l": "w" } }));
        let four = put(&c, INDEX, &four).await;
        let list = c.json(&format!("referrers/{}", subject.digest)).await;
        assert_eq!(list["manifests"].as_array().unwrap().len(), 4);
        assert_eq!(entry(&list, &one)["artifactType"], "a/one");
        assert_eq!(entry(&list, &one)["annotations"], json!({ "k": "v" }));
        assert_eq!(entry(&list, &two)["artifactType"], "application/x.config");
        assert_eq!(entry(&list, &two)["mediaType"], MANIFEST);
        assert_eq!(entry(&list, &two)["size"], size);
        assert_eq!(entry(&list, &three).get("artifactType"), None);
        assert_eq!(entry(&list, &three)["mediaType"], INDEX);
        assert_eq!(entry(&list, &four)["artifactType"], "a/four");
        assert_eq!(entry(&list, &four)["annotations"], json!({ "l": "w" }));
    }

    pub async fn filtered(c: Context) {
        let config = c.push_blob_as(MediaType::new("application/x+json"), b"{}").await;
        let subject = subject();
        for kind in ["a/one", "a/two", "a/two+x"] {
            for n in 0..2 {
                let more = json!({ "subject": subject, "artifactType": kind, "annotations": { "n": n.to_string() } });
                put(&c, MANIFEST, &manifest(&config, &[], more)).await;
            }
        }
        put(&c, MANIFEST, &manifest(&config, &[], json!({ "subject": subject }))).await;
        let path = format!("referrers/{}", subject.digest);
        let all = c.get(&path).await.expect(200);
        assert!(!all.has("oci-filters-applied"));
        assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 7);
        for (kind, count) in [
            ("a/one", 2),
            ("a%2Fone", 2),
            ("a/two", 2),
            ("a/two%2Bx", 2),
            ("a/two+x", 2),
            ("application/x%2Bjson", 1),
            ("a/none", 0),
        ] {
            let got = c.get(&format!("{path}?artifactType={kind}")).await.expect(200);
            assert_eq!(got.header("oci-filters-applied"), "artifactType");
            assert_eq!(got.header("content-type"), INDEX);
            assert_eq!(got.json()["manifests"].as_array().unwrap().len(), count, "{kind}");
        }
    }

    /// Each page is an index that clients take as a manifest, and all of them together have each
    /// referrer once.
    pub async fn in_pages(c: Context) {
        let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
        let (subject, long) = (subject(), "x".repeat(1_500_000));
        let mut pushed = Vec::new();
        for n in 0..4 {
            let kind = if n % 2 == 0 { "a/even+x" } else { "a/odd" };
            let notes = json!({ "n": n.to_string(), "long": long });
            let more = json!({ "subject": subject, "artifactType": kind, "annotations": notes });
            pushed.push(put(&c, MANIFEST, &manifest(&config, &[], more)).await);
        }
        pushed.sort_unstable();
        let path = format!("referrers/{}", subject.digest);
        let pages = c.pages(&path, "manifests").await;
        assert!(pages.len() > 1);
        let found = |pages: Vec<Vec<Value>>| {
            let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
            let mut found: Vec<_> = pages.concat().iter().map(digest).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(pages), pushed);
        let even = c.pages(&format!("{path}?artifactType=a/even%2Bx"), "manifests").await;
        assert_eq!(found(even).len(), 2);
        assert!(c.get(&path).await.body.len() <= 4 << 20);
    }

    /// What clients of older registries push: the referrer, and an index under a tag made of the
    /// subject's digest. The referrer is listed all the same, and the tag is a tag as any other.
    pub async fn the_referrers_tag_stays_a_tag(c: Context) {
        let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
        let subject = subject();
        let note = manifest(&config, &[], json!({ "subject": subject, "artifactType": "a/b" }));
        let digest = put(&c, MANIFEST, &note).await;
        let mut listed = serde_json::to_value(Descriptor::of(MediaType::MANIFEST, &note)).unwrap();
        listed["artifactType"] = json!("a/b");
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] });
        let tag = subject.digest.as_str().replace(':', "-");
        c.put(&tag, INDEX, index.to_string().as_bytes()).await.expect(201);
        let list = c.json(&format!("referrers/{}", subject.digest)).await;
        assert_eq!(entry(&list, &digest)["artifactType"], "a/b");
        assert_eq!(c.json("tags/list").await["tags"], json!([tag]));
        assert_eq!(c.json(&format!("manifests/{tag}")).await, index);
    }
}
