//! What `conex validate` finds in layouts that are broken in one way each.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use conex_client::{Client, Options as ClientOptions};
use conex_ops::Context;
use conex_ops::json_file::{DocumentKind, Target};
use conex_ops::validate::{Options, Report, validate};
use conex_spec::{Digest, Kind, Result};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout in a folder of the test's own.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::sha256(bytes);
        fs::write(self.path().join("blobs/sha256").join(digest.encoded()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn document(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// The config of two layers, after a change.
    fn config(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(b"one"), Digest::sha256(b"two")]},
            "history": [{"created_by": "a"}, {"empty_layer": true}, {"created_by": "b"}]});
        change(&mut config);
        self.document(CONFIG, &config)
    }

    /// A manifest of two layers, after a change.
    fn manifest(&self, config: Value, change: impl FnOnce(&mut Value)) -> Value {
        let layers = [self.blob(LAYER, b"one"), self.blob(LAYER, b"two")];
        let mut manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        change(&mut manifest);
        let mut entry = self.document(MANIFEST, &manifest);
        entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
        entry
    }

    fn image(&self) -> Value {
        self.manifest(self.config(|_| ()), |_| ())
    }

    fn index(&self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    fn blob_path(&self, descriptor: &Value) -> std::path::PathBuf {
        let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        self.path().join("blobs/sha256").join(digest.encoded())
    }

    async fn validate(&self) -> Report {
        self.named("").await.unwrap()
    }

    async fn named(&self, name: &str) -> Result<Report> {
        let target = format!("oci:{}{name}", self.path().display()).parse().unwrap();
        run(&target, None).await
    }

    /// The ids of the findings, each with its place after the digest or file.
    async fn found(&self) -> Vec<String> {
        ids(&self.validate().await)
    }
}

async fn run(target: &Target, named: Option<DocumentKind>) -> Result<Report> {
    let store = tempfile::tempdir().unwrap();
    let client = Client::new(ClientOptions::default());
    let context = Context::new(client, Some(store.path().to_owned()), Arc::new(()));
    validate(&context, target, Options { jobs: 2, named }).await
}

fn ids(report: &Report) -> Vec<String> {
    report
        .findings
        .iter()
        .map(|finding| format!("{}{}", finding.rule.id, finding.pointer))
        .collect()
}

#[tokio::test]
async fn a_sound_image_has_no_findings() {
    let made = Made::new();
    made.index(&[made.image()]);
    let report = made.validate().await;
    assert_eq!(ids(&report), [""; 0]);
    assert!(report.sound);
    // Marker, index, manifest, config and two layers.
    assert_eq!(report.checked, 6);
    assert!(report.root.is_some());
}

#[tokio::test]
async fn content_that_is_missing_or_damaged() {
    let made = Made::new();
    let image = made.image();
    let other = made.manifest(made.config(|config| config["author"] = json!("b")), |_| ());
    made.index(&[image.clone(), other.clone()]);
    let one = made.blob(LAYER, b"one");
    fs::write(made.blob_path(&one), b"eno").unwrap();
    fs::write(made.blob_path(&made.blob(LAYER, b"two")), b"two too").unwrap();
    fs::remove_file(made.blob_path(&other)).unwrap();
    let report = made.validate().await;
    assert_eq!(ids(&report), ["blob-missing", "blob-digest-mismatch", "blob-size-mismatch"]);
    // Marker, index, manifest, config, the layer that was read and is another, and the config
    // that nothing refers to any more.
    assert_eq!(report.checked, 6);
    let [missing, digest, size] = report.findings.as_slice() else { panic!("three") };
    assert_eq!(missing.subject.to_string(), other["digest"]);
    assert_eq!(missing.listed_in.as_deref(), Some("index.json#/manifests/1"));
    assert_eq!(digest.found.as_deref(), Some(Digest::sha256(b"eno").as_str()));
    assert_eq!(
        (size.expected.as_deref(), size.found.as_deref()),
        (Some("3 bytes"), Some("7 bytes"))
    );
    assert_eq!(size.listed_in, Some(format!("{}#/layers/1", image["digest"].as_str().unwrap())));
}

/// Rule J8.
#[tokio::test]
async fn configs_that_do_not_fit_their_layers() {
    for (rule, change) in [
        (
            "config-diff-ids-count/rootfs/diff_ids",
            &(|c: &mut Value| {
                c["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
            }) as &dyn Fn(&mut Value),
        ),
        ("config-history-longer/history", &|c| c["history"][1] = json!({})),
        ("config-history-shorter/history", &|c| c["history"] = json!([{}])),
        ("layer-diff-id-mismatch", &|c| c["rootfs"]["diff_ids"][0] = json!(Digest::sha256(b"x"))),
        ("layer-diff-id-mismatch", &|c| {
            c["rootfs"]["diff_ids"].as_array_mut().unwrap().reverse();
        }),
    ] {
        let made = Made::new();
        made.index(&[made.manifest(made.config(change), |_| ())]);
        let mut found = made.found().await;
        found.dedup();
        assert_eq!(found, [rule]);
    }
}

#[tokio::test]
async fn layers_that_are_not_what_their_type_says() {
    for (media_type, bytes, rule) in [
        (
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &b"plain"[..],
            "layer-compression-mismatch",
        ),
        ("application/vnd.oci.image.layer.v1.tar", b"\x1f\x8b\x08", "layer-compression-mismatch"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", b"\x1f\x8b\x08\0", "layer-corrupt"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", b"\x28\xb5\x2f\xfd", "layer-corrupt"),
    ] {
        let made = Made::new();
        let layer = made.blob(media_type, bytes);
        made.index(&[made.manifest(made.config(|_| ()), |m| m["layers"][0] = layer)]);
        assert_eq!(made.found().await, [rule], "{media_type}");
    }
}

#[tokio::test]
async fn platforms_of_an_index_and_of_its_configs() {
    for (platform, expected) in [
        (json!({"architecture": "amd64", "os": "linux", "variant": "v2"}), &[][..]),
        (
            json!({"architecture": "arm64", "os": "linux"}),
            &["index-platform-mismatch/manifests/0/platform"],
        ),
        (
            json!({"architecture": "amd64", "os": "windows"}),
            &["index-platform-mismatch/manifests/0/platform"],
        ),
    ] {
        let made = Made::new();
        let mut image = made.image();
        image["platform"] = platform.clone();
        made.index(&[image.clone()]);
        assert_eq!(made.found().await, expected, "{platform}");
        // In an index below as well.
        let nested = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
        made.index(&[made.document(INDEX, &nested)]);
        assert_eq!(made.found().await, expected, "{platform}");
    }
    let made = Made::new();
    let config = made.config(|config| config["variant"] = json!("v3"));
    let mut image = made.manifest(config, |_| ());
    image["platform"]["variant"] = json!("v2");
    made.index(&[image]);
    assert_eq!(made.found().await, ["index-platform-detail/manifests/0/platform"]);
    assert!(made.validate().await.sound);
}

#[tokio::test]
async fn the_files_of_a_layout() {
    let made = Made::new();
    made.index(&[made.image()]);
    fs::write(made.path().join("blobs/sha256/README"), "x").unwrap();
    fs::write(made.path().join("blobs/loose"), "x").unwrap();
    fs::write(made.path().join("extra"), "tolerated").unwrap();
    fs::write(made.path().join("oci-layout"), "{}").unwrap();
    assert_eq!(
        made.found().await,
        ["layout-version-missing", "layout-blob-name", "layout-blob-name"]
    );
    fs::remove_file(made.path().join("oci-layout")).unwrap();
    fs::remove_file(made.path().join("index.json")).unwrap();
    fs::remove_dir_all(made.path().join("blobs/sha256")).unwrap();
    fs::remove_file(made.path().join("blobs/loose")).unwrap();
    assert_eq!(made.found().await, ["layout-marker-missing", "layout-index-missing"]);
    fs::remove_dir(made.path().join("blobs")).unwrap();
    assert_eq!(made.named("").await.unwrap_err().kind(), Kind::NotFound);
    fs::write(made.path().join("index.json"), "{").unwrap();
    assert_eq!(
        made.found().await,
        ["layout-marker-missing", "layout-blobs-missing", "json-syntax"]
    );
}

/// Rule D6.
#[tokio::test]
async fn links_are_not_followed() {
    let made = Made::new();
    made.index(&[made.image()]);
    let path = made.blob_path(&made.blob(LAYER, b"one"));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert_eq!(made.found().await, ["blob-unreadable"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(made.found().await, ["blob-unreadable"]);
}

#[tokio::test]
async fn one_root_of_several_is_told_without_the_others() {
    let made = Made::new();
    let named = |mut entry: Value, name: &str| {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entry
    };
    let mut bad = named(made.image(), "bad");
    bad["platform"] = json!({});
    bad["digest"] = json!(Digest::sha256(b"nowhere"));
    made.index(&[named(made.image(), "good"), bad]);
    assert_eq!(ids(&made.named(":good").await.unwrap()), [""; 0]);
    let found = ids(&made.named(":bad").await.unwrap());
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(ids(&made.validate().await), found);
    assert_eq!(made.named(":none").await.unwrap_err().kind(), Kind::NotFound);
    let digest = made.image()["digest"].as_str().unwrap().to_owned();
    assert!(made.named(&format!("@{digest}")).await.unwrap().sound);
    // A manifest that is no root can be named by its digest.
    made.index(&[]);
    assert!(made.named(&format!("@{digest}")).await.unwrap().sound);
    assert_eq!(made.found().await, [""; 0]);
}

/// A broken document leads on to its children, so that all faults come at once.
#[tokio::test]
async fn nothing_hides_what_is_below_it() {
    let made = Made::new();
    let config = made.config(|config| config["os"] = json!(7));
    let image = made.manifest(config, |manifest| {
        manifest["schemaVersion"] = json!("2");
        manifest["layers"][0]["digest"] = json!(Digest::sha256(b"gone"));
        manifest["layers"][1]["size"] = json!(4);
    });
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image, 7]});
    index["annotations"] = json!([]);
    made.index(&[made.document(INDEX, &index)]);
    assert_eq!(
        made.found().await,
        [
            "descriptor-not-object/manifests/1",
            "annotations-not-map/annotations",
            "manifest-schema-version-invalid/schemaVersion",
            "config-member-invalid/os",
            "index-platform-mismatch/manifests/0/platform",
            "blob-missing",
            "blob-size-mismatch",
        ]
    );
}

/// Rules J1, J6 and J7.
#[tokio::test]
async fn hostile_graphs() {
    let made = Made::new();
    // 2^40 paths.
    let mut node = made.image();
    for _ in 0..31 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [node, node]});
        node = made.document(INDEX, &index);
    }
    made.index(&[node.clone(), node.clone()]);
    assert_eq!(made.found().await, [""; 0]);
    for _ in 0..4 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [node]});
        node = made.document(INDEX, &index);
    }
    made.index(&[node]);
    assert_eq!(made.found().await, ["graph-too-deep"]);
    // One document as two things.
    let made = Made::new();
    let mut image = made.image();
    image["mediaType"] = json!(INDEX);
    image.as_object_mut().unwrap().remove("platform");
    made.index(&[image]);
    let found = made.found().await;
    assert!(found.contains(&"media-type-mismatch/mediaType".to_owned()), "{found:?}");
    // A size that nobody allocates.
    let mut image = made.image();
    image["size"] = json!(1_u64 << 62);
    made.index(&[image]);
    assert_eq!(
        made.found().await,
        ["json-number-precision/manifests/0/size", "document-too-large"][1..]
    );
}

#[tokio::test]
async fn what_cannot_be_verified_is_a_warning() {
    let made = Made::new();
    let odd =
        json!({"mediaType": "a/b", "digest": "md5:d41d8cd98f00b204e9800998ecf8427e", "size": 0});
    made.index(&[odd]);
    let lost = made.validate().await;
    assert_eq!(ids(&lost), ["digest-unregistered/manifests/0/digest", "blob-missing"]);
    assert_eq!((lost.sound, lost.errors, lost.warnings), (false, 1, 1));
    fs::create_dir(made.path().join("blobs/md5")).unwrap();
    fs::write(made.path().join("blobs/md5/d41d8cd98f00b204e9800998ecf8427e"), "").unwrap();
    let report = made.validate().await;
    assert_eq!(ids(&report)[..2], ["digest-unregistered/manifests/0/digest", "blob-unverifiable"]);
    assert!(report.sound, "{:?}", ids(&report));
}

/// Whether such a layer has its diff ID nobody looked at, and that is told.
#[tokio::test]
async fn a_layer_that_cannot_be_decompressed_is_a_warning() {
    let made = Made::new();
    let image = made.manifest(made.config(|_| ()), |manifest| {
        manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+xz");
    });
    made.index(&[image]);
    let report = made.validate().await;
    assert!(ids(&report).contains(&"layer-opaque".to_owned()), "{:?}", ids(&report));
    assert!(report.sound, "{:?}", ids(&report));
}

#[tokio::test]
async fn embedded_content_stands_in_for_a_blob() {
    let made = Made::new();
    let digest = Digest::sha256(b"{}");
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 2, "data": "e30="});
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b",
        "config": empty, "layers": [empty]});
    let mut entry = made.document(MANIFEST, &artifact);
    entry["artifactType"] = json!("a/b");
    made.index(&[entry]);
    assert_eq!(made.found().await, [""; 0]);
}

#[tokio::test]
async fn files_are_one_document_each() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    fs::write(&file, r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    let target = Target::File(file.clone());
    assert_eq!(ids(&run(&target, None).await.unwrap()), ["index-media-type-missing"]);
    let named = run(&target, Some(DocumentKind::Layout)).await.unwrap();
    assert_eq!(ids(&named), ["layout-version-missing"]);
    // What is no document at all is a finding too, so that every format tells it.
    for (content, rules) in [
        ("[", &["json-syntax"][..]),
        ("", &["json-syntax"]),
        ("{\"layers\":[}", &["json-syntax"]),
        ("\u{feff}{}", &["json-byte-order-mark"]),
        ("[1]", &["document-not-object"]),
        ("{\"a\":1,\"a\":2}", &["json-duplicate-name/a"]),
        ("{\"name\":\"x\",\"version\":1}", &["document-unknown"]),
    ] {
        fs::write(&file, content).unwrap();
        let report = run(&target, None).await.unwrap();
        assert_eq!(ids(&report), rules, "{content}");
        assert!(!report.sound);
    }
    assert_eq!(
        run(&target, None).await.unwrap().findings[0].found.as_deref(),
        Some("name, version")
    );
    fs::write(&file, "[").unwrap();
    assert_eq!(ids(&run(&target, Some(DocumentKind::Config)).await.unwrap()), ["json-syntax"]);
}

/// What nothing refers to is to have its digest as well, where all of a layout is looked at.
#[tokio::test]
async fn blobs_that_nothing_refers_to() {
    let made = Made::new();
    let mut image = made.image();
    image["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    made.index(&[image]);
    made.blob(LAYER, b"nobody's");
    assert_eq!(made.found().await, [""; 0]);
    let junk = made.path().join("blobs/sha256").join("0".repeat(64));
    for length in [4, 9 << 20] {
        fs::write(&junk, "junk".repeat(length / 4)).unwrap();
        assert_eq!(made.found().await, ["blob-digest-mismatch"], "{length}");
    }
    let named = format!("oci:{}:1", made.path().display()).parse().unwrap();
    assert!(run(&named, None).await.unwrap().sound, "it is no part of the image");
}

/// A location's descriptors say what content is; nobody else is asked.
#[tokio::test]
async fn the_sort_of_a_document_is_named_for_files_only() {
    let made = Made::new();
    made.index(&[made.image()]);
    let target = format!("oci:{}", made.path().display()).parse().unwrap();
    let err = run(&target, Some(DocumentKind::Config)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Usage);
}

/// An archive is a layout in a tar, and judged as one.
#[tokio::test]
async fn the_files_of_a_layout_in_a_tar() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("x.tar");
    let made = Made::new();
    let image = made.image();
    let pack = |name: &str| {
        let file = fs::File::create(&archive).unwrap();
        let mut options = conex_layer::pack::Options::default();
        options.settings.compression = conex_spec::Compression::None;
        conex_layer::pack::pack(made.path(), &file, &options).unwrap();
        format!("oci-archive:{}{name}", archive.display()).parse().unwrap()
    };
    let mut named = image.clone();
    named["annotations"] = json!({"io.containerd.image.name": "docker.io/library/app:1",
        "org.opencontainers.image.ref.name": "1"});
    made.index(&[named]);
    let sound = run(&pack(""), None).await.unwrap();
    assert_eq!((ids(&sound), sound.checked), (vec![], 6));
    assert_eq!(run(&pack(":app:1"), None).await.unwrap().checked, 6);
    assert_eq!(run(&pack(":2"), None).await.unwrap_err().kind(), Kind::NotFound);
    fs::write(made.path().join("oci-layout"), "{}").unwrap();
    fs::write(made.path().join("blobs/sha256/README"), "x").unwrap();
    let mut index = fs::read_to_string(made.path().join("index.json")).unwrap();
    index = index.replace("\"manifests\":", "\"manifests\":[],\"manifests\":");
    fs::write(made.path().join("index.json"), index).unwrap();
    let expected = made.found().await;
    assert_eq!(expected[..2], ["layout-version-missing", "layout-blob-name"]);
    assert!(expected.contains(&"json-duplicate-name/manifests".to_owned()), "{expected:?}");
    assert_eq!(ids(&run(&pack(""), None).await.unwrap()), expected);
    fs::remove_file(made.path().join("oci-layout")).unwrap();
    assert_eq!(ids(&run(&pack(""), None).await.unwrap())[0], "layout-marker-missing");
    fs::remove_file(made.path().join("index.json")).unwrap();
    assert_eq!(run(&pack(""), None).await.unwrap_err().kind(), Kind::NotFound);
}
