//! "Content Management".

use crate::context::{Context, sha256};

/// "Deleting tags".
pub mod tags {
    use serde_json::json;

    use crate::context::{Context, MANIFEST};

    pub async fn are_gone_at_once(c: Context) {
        let (image, bytes) = c.push_image("one", b"layer").await;
        c.put("two", MANIFEST, &bytes).await.expect(201);
        c.send("DELETE", "manifests/one").await.expect(202);
        for method in ["GET", "HEAD", "DELETE"] {
            assert_eq!(c.status(method, "manifests/one").await, 404);
        }
        assert_eq!(c.json("tags/list").await["tags"], json!(["two"]));
        for name in ["two", image.digest.as_str()] {
            assert_eq!(c.status("GET", &format!("manifests/{name}")).await, 200);
        }
        c.send("DELETE", "manifests/two").await.expect(202);
        assert_eq!(c.status("GET", &format!("manifests/{}", image.digest)).await, 200);
    }
}

/// "Deleting Manifests".
pub mod manifests {
    use conex_spec::{Descriptor, MediaType};
    use serde_json::json;

    use crate::context::{Context, INDEX, MANIFEST, manifest, sha256};

    pub async fn are_gone_with_their_tags(c: Context) {
        let (image, bytes) = c.push_image("one", b"layer").await;
        c.put("two", MANIFEST, &bytes).await.expect(201);
        let (other, _) = c.push_image("other", b"other").await;
        let path = format!("manifests/{}", image.digest);
        c.send("DELETE", &path).await.expect(202);
        for name in ["one", "two", image.digest.as_str()] {
            for method in ["GET", "HEAD", "DELETE"] {
                assert_eq!(c.status(method, &format!("manifests/{name}")).await, 404, "{name}");
            }
        }
        assert_eq!(c.json("tags/list").await["tags"], json!(["other"]));
        assert_eq!(c.status("GET", &format!("manifests/{}", other.digest)).await, 200);
        // The same bytes are another push: the old tags stay away.
        c.put("three", MANIFEST, &bytes).await.expect(201);
        assert_eq!(c.status("GET", "manifests/one").await, 404);
        // A manifest that another one names goes too, if it is asked for.
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [image] });
        c.put("index", INDEX, index.to_string().as_bytes()).await.expect(201);
        c.send("DELETE", &path).await.expect(202);
        assert_eq!(c.status("GET", &path).await, 404);
        assert_eq!(c.status("GET", "manifests/index").await, 200);
        let index = sha256(index.to_string().as_bytes());
        c.send("DELETE", &format!("manifests/{index}")).await.expect(202);
        assert_eq!(c.json("tags/list").await["tags"], json!(["other"]));
    }

    pub async fn of_an_unknown_repository_are_404(c: Context) {
        for name in ["t", sha256(b"x").as_str()] {
            let path = format!("/v2/{}/none/manifests/{name}", c.name);
            assert_eq!(c.status("DELETE", &path).await, 404);
        }
    }

    pub async fn referrers_are_no_longer_listed(c: Context) {
        let config = c.push_blob_as(MediaType::CONFIG, b"{}").await;
        let subject = Descriptor::of(MediaType::MANIFEST, b"subject");
        let of = |n: u32| {
            let notes = json!({ "n": n.to_string() });
            manifest(&config, &[], json!({ "subject": subject, "annotations": notes }))
        };
        for n in 0..2 {
            c.put(&format!("t{n}"), MANIFEST, &of(n)).await.expect(201);
        }
        let list = format!("referrers/{}", subject.digest);
        assert_eq!(c.json(&list).await["manifests"].as_array().unwrap().len(), 2);
        c.send("DELETE", &format!("manifests/{}", sha256(&of(0)))).await.expect(202);
        let left = c.json(&list).await;
        assert_eq!(left["manifests"].as_array().unwrap().len(), 1);
        assert_eq!(left["manifests"][0]["digest"], sha256(&of(1)).as_str());
        // A tag alone keeps its manifest, and that one's entry.
        c.send("DELETE", "manifests/t1").await.expect(202);
        assert_eq!(c.json(&list).await["manifests"].as_array().unwrap().len(), 1);
    }
}

/// "Deleting Blobs".
pub mod blobs {
    use crate::context::{Context, answer, noise, sha256};

    pub async fn are_gone_at_once(c: Context) {
        for length in [0, 10, 300_000] {
            let blob = c.push_blob(&noise(length, 1)).await.digest;
            let path = format!("blobs/{blob}");
            c.send("DELETE", &path).await.expect(202);
            for method in ["GET", "HEAD", "DELETE"] {
                assert_eq!(c.status(method, &path).await, 404);
            }
            let again = format!("blobs/uploads/?digest={blob}");
            answer(c.request("POST", &again).body(noise(length, 1))).await.expect(201);
            assert_eq!(c.status("GET", &path).await, 200);
        }
        let got = c.send("DELETE", &format!("blobs/{}", sha256(b"none"))).await.expect(404);
        assert_eq!(got.code(), "BLOB_UNKNOWN");
    }
}

pub async fn disabled_is_405(c: Context) {
    let c = c.with(|config| config.deletes = false).await;
    let (image, _) = c.push_image("t", b"layer").await;
    let layer = sha256(b"layer");
    for path in
        ["manifests/t".to_owned(), format!("manifests/{}", image.digest), format!("blobs/{layer}")]
    {
        let refused = c.send("DELETE", &path).await.expect(405);
        assert_eq!(refused.code(), "UNSUPPORTED");
        assert!(!refused.header("allow").contains("DELETE"));
        assert_eq!(c.status("GET", &path).await, 200);
    }
    // Who cancels an upload deletes nothing.
    assert_eq!(c.status("DELETE", &c.open().await).await, 204);
}

pub async fn read_only_is_405(c: Context) {
    let c = c.with(|config| config.read_only = true).await;
    let digest = sha256(b"x");
    for (method, path) in [
        ("POST", "blobs/uploads/".to_owned()),
        ("PUT", "manifests/t".into()),
        ("DELETE", "manifests/t".into()),
        ("DELETE", format!("blobs/{digest}")),
    ] {
        assert_eq!(c.send(method, &path).await.expect(405).code(), "UNSUPPORTED");
    }
    assert_eq!(c.status("GET", &format!("blobs/{digest}")).await, 404);
}
