//! What `conex validate` finds in archives of `docker save` that are broken in one way each.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::sync::Arc;

use conex_client::{Client, Options as ClientOptions};
use conex_ops::Context;
use conex_ops::validate::{Options, Report, validate};
use conex_spec::{Digest, Kind, Result};
use conex_tar::{Entry, Kind as Sort, Writer};
use serde_json::{Value, json};

/// The members of an archive as an engine before Docker 25 writes it: two images, which share
/// their base.
struct Made {
    members: Vec<(String, Sort, Vec<u8>)>,
    list: Value,
}

impl Made {
    fn new() -> Self {
        let mut made = Self { members: Vec::new(), list: json!([]) };
        for layer in ["one", "two"] {
            made.file(&format!("{layer}/layer.tar"), layer.as_bytes());
        }
        made.file("one/VERSION", b"1.0");
        made.file("notes/for people.txt", b"harmless");
        let both = made.config(&["one", "two"]);
        let base = made.config(&["one"]);
        made.list = json!([
            {"Config": both, "RepoTags": ["app:1", "team/app:2"], "Layers": ["one/layer.tar", "two/layer.tar"]},
            {"Config": base, "RepoTags": null, "Layers": ["one/layer.tar"], "Parent": ""},
        ]);
        made.file("repositories", br#"{"app":{"1":"two"},"team/app":{"2":"two"}}"#);
        made
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        self.members.push((name.into(), Sort::File, bytes.into()));
    }

    fn config(&mut self, layers: &[&str]) -> String {
        let ids: Vec<_> = layers.iter().map(|layer| Digest::sha256(layer.as_bytes())).collect();
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let bytes = config.to_string().into_bytes();
        let name = format!("{}.json", Digest::sha256(&bytes).encoded());
        self.file(&name, &bytes);
        name
    }

    fn member(&mut self, name: &str) -> &mut (String, Sort, Vec<u8>) {
        self.members.iter_mut().find(|member| member.0 == name).unwrap()
    }

    fn remove(&mut self, name: &str) {
        self.members.retain(|member| member.0 != name);
    }

    async fn validate(mut self, name: &str) -> Result<Report> {
        if !self.list.is_null() {
            let list = self.list.to_string();
            self.file("manifest.json", list.as_bytes());
        }
        let mut tar = Writer::new(Vec::new());
        for (name, kind, bytes) in &self.members {
            let mut entry = Entry::new(name.as_str(), kind.clone());
            entry.size = bytes.len() as u64;
            tar.append(&entry, bytes.as_slice()).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar");
        std::fs::write(&file, tar.finish().unwrap()).unwrap();
        run(&format!("docker-archive:{}{name}", file.display())).await
    }
}

async fn run(target: &str) -> Result<Report> {
    let client = Client::new(ClientOptions::default());
    let context = Context::new(client, None, Arc::new(()));
    validate(&context, &target.parse()?, Options { jobs: 2, named: None }).await
}

/// `RULE SUBJECT#POINTER` of each finding.
fn found(report: &Report) -> Vec<String> {
    let shown = report.findings.iter().map(|finding| {
        let subject = finding.subject.to_string();
        let short = match subject.split_once('.') {
            Some((stem, "json")) if stem.len() == 64 => "CONFIG".to_owned(),
            _ => subject,
        };
        format!("{} {short}#{}", finding.rule.id, finding.pointer)
    });
    shown.collect()
}

async fn after(change: impl FnOnce(&mut Made)) -> Vec<String> {
    let mut made = Made::new();
    change(&mut made);
    found(&made.validate("").await.unwrap())
}

#[tokio::test]
async fn a_sound_archive_has_no_findings_whatever_else_is_in_it() {
    let report = Made::new().validate("").await.unwrap();
    assert_eq!(found(&report), [""; 0]);
    // Both lists, two configs, and each layer once.
    assert_eq!((report.checked, report.sound), (6, true));
    let one = Made::new().validate(":app:1").await.unwrap();
    assert_eq!((one.checked, one.sound), (4, true));
}

#[tokio::test]
async fn the_list_itself() {
    let none = after(|made| made.list = Value::Null).await;
    assert_eq!(none, ["archive-manifest-missing manifest.json#"]);
    let twice = after(|made| made.file("manifest.json", b"[]")).await;
    assert_eq!(twice, ["archive-member-unreadable manifest.json#"]);
    for (text, rule) in [
        ("[", "json-syntax manifest.json#"),
        ("{}", "archive-manifest-invalid manifest.json#"),
        ("[]", "archive-manifest-empty manifest.json#"),
    ] {
        let broken = |made: &mut Made| {
            made.list = Value::Null;
            made.file("manifest.json", text.as_bytes());
            made.remove("repositories");
        };
        assert_eq!(after(broken).await, [rule], "{text}");
    }
    let doubled = |made: &mut Made| {
        let list = made.list.to_string().replacen("[{", r#"[{"Layers":[],"#, 1);
        made.list = Value::Null;
        made.file("manifest.json", list.as_bytes());
    };
    assert!(after(doubled).await.contains(&"json-duplicate-name manifest.json#/0/Layers".into()));
}

#[tokio::test]
async fn what_the_list_names() {
    let outside = after(|made| made.list[0]["Config"] = json!("../../etc/passwd")).await;
    assert_eq!(outside, ["archive-name-outside manifest.json#/0/Config"]);
    let absent = after(|made| made.list[0]["Config"] = json!("c.json")).await;
    assert_eq!(absent, ["archive-config-missing c.json#"]);
    let lost = after(|made| made.remove("one/layer.tar")).await;
    assert_eq!(lost, ["archive-layer-missing one/layer.tar#"; 2]);
    let twice = after(|made| made.file("two/layer.tar", b"two")).await;
    assert_eq!(twice, ["archive-member-unreadable two/layer.tar#"]);
    let led_out = after(|made| {
        *made.member("two/layer.tar") =
            ("two/layer.tar".into(), Sort::Symlink("../../etc/passwd".into()), Vec::new());
    });
    assert_eq!(led_out.await, ["archive-member-unreadable two/layer.tar#"]);
    let link = after(|made| {
        *made.member("two/layer.tar") =
            ("two/layer.tar".into(), Sort::Symlink("../one/layer.tar".into()), Vec::new());
    });
    assert_eq!(link.await, ["layer-diff-id-mismatch two/layer.tar#"]);
    let names = after(|made| made.list[1]["RepoTags"] = json!(["app:1", "App"])).await;
    assert_eq!(
        names,
        [
            "archive-repotag-invalid manifest.json#/1/RepoTags/1",
            "archive-repotag-twice manifest.json#/1/RepoTags/0",
        ]
    );
}

#[tokio::test]
async fn content_that_is_not_what_it_was() {
    let changed = after(|made| made.member("two/layer.tar").2 = b"TWO".to_vec()).await;
    assert_eq!(changed, ["layer-diff-id-mismatch two/layer.tar#"]);
    let renamed = after(|made| {
        let (name, bytes) = (made.list[1]["Config"].clone(), made.list[0]["Config"].clone());
        let bytes = made.member(bytes.as_str().unwrap()).2.clone();
        made.member(name.as_str().unwrap()).2 = bytes;
    });
    assert_eq!(
        renamed.await,
        ["archive-config-name CONFIG#", "config-diff-ids-count CONFIG#/rootfs/diff_ids"]
    );
    let fewer = after(|made| made.list[0]["Layers"] = json!(["one/layer.tar"])).await;
    assert_eq!(fewer, ["config-diff-ids-count CONFIG#/rootfs/diff_ids"]);
    let no_config = after(|made| {
        let name = made.list[1]["Config"].as_str().unwrap().to_owned();
        made.member(&name).2 = b"7".to_vec();
    });
    let no_config = no_config.await;
    assert_eq!(no_config, ["archive-config-name CONFIG#", "document-not-object CONFIG#"]);
}

#[tokio::test]
async fn the_older_list_is_compared() {
    let differs = after(|made| {
        made.member("repositories").2 = br#"{"app":{"1":"x"},"b":{"3":"x"}}"#.to_vec();
    });
    let mut report = Made::new();
    report.member("repositories").2 = br#"{"app":{"1":"x"}}"#.to_vec();
    assert_eq!(differs.await, ["archive-repositories-differ repositories#"; 2]);
    let report = report.validate("").await.unwrap();
    assert!(report.sound && report.warnings == 1);
    assert_eq!(report.findings[0].expected.as_deref(), Some("docker.io/team/app:2"));
    let gone = after(|made| made.remove("repositories")).await;
    assert_eq!(gone, [""; 0]);
}

#[tokio::test]
async fn one_image_is_told_without_the_others() {
    let mut made = Made::new();
    made.list[1]["Config"] = json!("c.json");
    made.list[1]["RepoTags"] = json!(["b:1", 7]);
    let report = made.validate(":app:1").await.unwrap();
    assert!(!report.sound, "a list that no reader takes is told whatever image is meant");
    let mut made = Made::new();
    made.list[1]["Config"] = json!("c.json");
    assert_eq!(found(&made.validate(":app:1").await.unwrap()), [""; 0]);
    assert_eq!(Made::new().validate(":b:1").await.unwrap_err().kind(), Kind::NotFound);
}

/// An archive that is a layout too, as Docker 25 writes it and conex does.
#[tokio::test]
async fn the_layout_in_the_archive() {
    let made = || {
        let mut made = Made { members: Vec::new(), list: Value::Null };
        made.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut blob = |media_type: &str, bytes: &[u8]| {
            let digest = Digest::sha256(bytes);
            made.file(&format!("blobs/sha256/{}", digest.encoded()), bytes);
            json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest, "size": bytes.len()})
        };
        let layers = [blob("layer.v1.tar", b"one"), blob("layer.v1.tar", b"two")];
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers",
            "diff_ids": layers.each_ref().map(|layer| &layer["digest"])}});
        let config = blob("config.v1+json", config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers});
        let mut entry = blob("manifest.v1+json", manifest.to_string().as_bytes());
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry]});
        made.file("index.json", index.to_string().as_bytes());
        let path = |blob: &Value| {
            json!(blob["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/"))
        };
        made.list = json!([{"Config": path(&config), "RepoTags": ["app:1"],
            "Layers": layers.each_ref().map(path)}]);
        (made, path(&layers[0]), path(&entry))
    };
    assert_eq!(found(&made().0.validate("").await.unwrap()), [""; 0]);
    let (mut swapped, _, _) = made();
    swapped.list[0]["Layers"].as_array_mut().unwrap().reverse();
    let swapped = swapped.validate("").await.unwrap();
    assert_eq!(found(&swapped), ["archive-layout-differs manifest.json#/0/Layers"]);
    for which in [1, 2] {
        let (mut damaged, layer, manifest) = made();
        let name = if which == 1 { layer } else { manifest };
        let bytes = &mut damaged.member(name.as_str().unwrap()).2;
        bytes[0] ^= 1;
        let ids = found(&damaged.validate("").await.unwrap());
        assert!(ids.iter().any(|id| id.starts_with("blob-digest-mismatch sha256:")), "{ids:?}");
    }
    let (mut lost, layer, _) = made();
    lost.remove(layer.as_str().unwrap());
    let ids = found(&lost.validate("").await.unwrap());
    assert!(ids.len() == 1 && ids[0].starts_with("blob-missing"), "{ids:?}");
}
