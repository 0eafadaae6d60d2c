//! What must not be taken for a manifest.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use common::{Registry, code, header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Cases 61 to 84: (what, body, Content-Type, status, code), with a config `C` and a layer `L`
/// that are in the repository.
const BODIES: &[(&str, &str, &str, u16, &str)] = &[
    ("sound", r#"{"schemaVersion":2,"config":C,"layers":[L]}"#, MANIFEST, 201, ""),
    (
        "sound, with its type",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":C,"layers":[L]}"#,
        MANIFEST,
        201,
        "",
    ),
    (
        "parameters are ignored",
        r#"{"schemaVersion":2,"config":C,"layers":[L]}"#,
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        201,
        "",
    ),
    (
        "61 layers and manifests",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"manifests":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "61 the other way",
        r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#,
        INDEX,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "61 of an unknown type",
        r#"{"layers":[],"manifests":[]}"#,
        "application/json",
        400,
        "MANIFEST_INVALID",
    ),
    (
        "62 another type",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":C,"layers":[L]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "62 an image called an index",
        r#"{"schemaVersion":2,"config":C,"layers":[L]}"#,
        INDEX,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "62 an index called an image",
        r#"{"schemaVersion":2,"manifests":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "62 hidden behind an unknown type",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":C,"layers":[L]}"#,
        "application/json",
        400,
        "MANIFEST_INVALID",
    ),
    (
        "62 a layer's type",
        r#"{"schemaVersion":2,"config":C,"layers":[L]}"#,
        "application/vnd.oci.image.layer.v1.tar",
        400,
        "MANIFEST_INVALID",
    ),
    (
        "63 a name twice",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "63 deep inside",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"annotations":{"a":"1","a":"2"}}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "64 case",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"LAYERS":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "64 case in annotations is free",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"annotations":{"Layers":"x","layers":"y"}}"#,
        MANIFEST,
        201,
        "",
    ),
    (
        "65 a lone surrogate",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"annotations":{"a":"\ud800"}}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "66 a byte order mark",
        "\u{feff}{\"schemaVersion\":2,\"config\":C,\"layers\":[L]}",
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "67 more behind it",
        r#"{"schemaVersion":2,"config":C,"layers":[L]}{}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "69 a negative size",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":-1},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "69 a size of 2^63",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":9223372036854775808},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "69 a size as text",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":"2"},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "70 unknown members",
        r#"{"schemaVersion":2,"config":C,"layers":[L],"x":{"y":[1]}}"#,
        MANIFEST,
        201,
        "",
    ),
    ("70 an unknown type", r#"{"anything":true}"#, "application/vnd.example+json", 201, ""),
    (
        "70 the artifact manifest of a draft",
        r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b","blobs":[]}"#,
        "application/vnd.oci.artifact.manifest.v1+json",
        201,
        "",
    ),
    (
        "77 a digest that is a path",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:../../../etc/passwd","size":2},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "77 a short digest",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:abc","size":2},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "78 an algorithm we cannot check",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"md5:99914b932bd37a50b983c5e7c90ae93b","size":2},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_BLOB_UNKNOWN",
    ),
    (
        "79 a missing layer",
        r#"{"schemaVersion":2,"config":C,"layers":[{"mediaType":"a/b","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2}]}"#,
        MANIFEST,
        400,
        "MANIFEST_BLOB_UNKNOWN",
    ),
    (
        "79 a missing entry",
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2}]}"#,
        INDEX,
        400,
        "MANIFEST_BLOB_UNKNOWN",
    ),
    (
        "75 a foreign layer",
        r#"{"schemaVersion":2,"config":C,"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2,"urls":["http://169.254.169.254/"]}]}"#,
        MANIFEST,
        201,
        "",
    ),
    (
        "80 another size",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":3},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "82 schema 1",
        r#"{"schemaVersion":1,"name":"a","tag":"t","fsLayers":[],"history":[],"signatures":[]}"#,
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        400,
        "MANIFEST_INVALID",
    ),
    (
        "82 schema 1, nameless",
        r#"{"schemaVersion":1,"config":C,"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "82 version as text",
        r#"{"schemaVersion":"2","config":C,"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "83 null layers",
        r#"{"schemaVersion":2,"config":C,"layers":null}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    (
        "83 null config",
        r#"{"schemaVersion":2,"config":null,"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    ("84 no layers", r#"{"schemaVersion":2,"config":C,"layers":[]}"#, MANIFEST, 201, ""),
    ("no entries", r#"{"schemaVersion":2,"manifests":[]}"#, INDEX, 201, ""),
    (
        "J7 data of another digest",
        r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"W10="},"layers":[]}"#,
        MANIFEST,
        400,
        "MANIFEST_INVALID",
    ),
    ("nothing", "", MANIFEST, 400, "MANIFEST_INVALID"),
    ("no JSON", "<html>", MANIFEST, 400, "MANIFEST_INVALID"),
    ("no object", "[]", MANIFEST, 400, "MANIFEST_INVALID"),
    ("an empty object", "{}", MANIFEST, 400, "MANIFEST_INVALID"),
    ("a Content-Type that is none", "{}", "nonsense", 400, "MANIFEST_INVALID"),
];

#[tokio::test]
async fn hostile_manifests() {
    let registry = Registry::start().await;
    let config = serde_json::to_string(&registry.push_blob("a", b"{}").await).unwrap();
    let layer = serde_json::to_string(&registry.push_blob("a", b"layer").await).unwrap();
    for (what, body, content_type, status, expected) in BODIES {
        let body = body.replace('C', &config).replace('L', &layer);
        // The two letters also stand in names.
        let body = body
            .replace(&format!("{config}ONFIG"), "CONFIG")
            .replace(&format!("{layer}AYERS"), "LAYERS")
            .replace(&format!("{layer}ayers"), "Layers");
        let answer = registry.put("/v2/a/manifests/t", content_type, body).await;
        assert_eq!(answer.status(), *status, "{what}: {}", answer.text().await.unwrap());
        if *status != 201 {
            assert_eq!(code(answer).await, *expected, "{what}");
        }
        let digest =
            header(&registry.send("HEAD", "/v2/a/manifests/t").await, "docker-content-digest");
        assert!(!digest.is_empty(), "{what}: the tag stands for what was there before");
    }
    for raw in [&b"{\"schemaVersion\":2,\"a\":\"\xff\"}"[..], "[".repeat(100_000).as_bytes()] {
        for content_type in [MANIFEST, "application/json"] {
            let answer = registry.put("/v2/a/manifests/t", content_type, raw).await;
            assert_eq!(code(answer).await, "MANIFEST_INVALID");
        }
    }
    assert!(registry.log.0.lock().unwrap().iter().all(|access| access.status < 500));
}
