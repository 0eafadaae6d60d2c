//! skopeo, which copies images between all kinds of places.

use std::path::Path;

use crate::fixture::packed;
use crate::support::daemon::Registry;
use crate::support::layout::{self, Handmade};
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;

pub fn pulls_what_conex_pushed() {
    let scratch = Scratch::new("skopeo");
    let registry = Registry::start(&scratch);
    Conex::new(&scratch).ok(&["push", &registry.image("debian:12"), "--from", packed()]);
    let to = format!("oci:{}:12", scratch.arg("copied"));
    run_partner("skopeo", &["copy", "--src-tls-verify=false", &registry.docker("debian:12"), &to]);
    let layout = Path::new(packed().split(':').nth(1).unwrap());
    let digest = layout::tagged(layout, "debian");
    assert_eq!(layout::tagged(&scratch.join("copied"), "12"), digest);
    Conex::new(&scratch).ok(&["validate", &to]);
    assert_same_content(layout, &scratch.join("copied"), &digest);
    let listed =
        run_partner("skopeo", &["list-tags", "--tls-verify=false", &registry.docker("debian")]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&listed).unwrap()["Tags"],
        serde_json::json!(["12"])
    );
}

/// All platforms, with one that this machine does not have, through both of the tools.
pub fn copies_an_index() {
    let scratch = Scratch::new("index");
    let registry = Registry::start(&scratch);
    let made = Handmade::new(scratch.join("made"));
    let platforms = [("amd64", 1), ("arm64", 2), ("s390x", 3)].map(|(architecture, byte)| {
        let mut image = made.image(&[&[byte; 1024], &[0; 1024]]);
        image["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
        image
    });
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": platforms});
    let from = made.finish(&made.document(media_type, &index));
    let conex = Conex::new(&scratch);
    conex.ok(&["copy", &from, &registry.image("many:1")]);
    // Without it skopeo compresses layers on their way.
    let copy = [
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ];
    run_partner(
        "skopeo",
        &[&copy[..], &[&registry.docker("many:1"), &registry.docker("again:1")]].concat(),
    );
    conex.ok(&["copy", &registry.image("again:1"), &format!("oci:{}:1", scratch.arg("back"))]);
    let digest = layout::tagged(&made.dir, "latest");
    assert_eq!(layout::tagged(&scratch.join("back"), "1"), digest);
    for platform in platforms {
        assert_same_content(&made.dir, &scratch.join("back"), &layout::text(&platform["digest"]));
    }
}

/// The manifest, the config and the layers of an image are the same bytes in two layouts.
pub fn assert_same_content(expected: &Path, found: &Path, manifest: &str) {
    for (digest, size) in layout::content(expected, manifest) {
        let [left, right] =
            [expected, found].map(|layout| std::fs::read(layout::blob(layout, &digest)).unwrap());
        assert_eq!(left.len() as u64, size, "{digest}");
        assert!(
            left == right,
            "{digest} is not the same in {} and {}",
            expected.display(),
            found.display()
        );
    }
}

/// What conex copies out of a registry is what skopeo gets of it, to the byte; returns the
/// manifest's digest.
pub fn assert_served_as_it_is(conex: &Conex, image: &str, scratch: &Scratch) -> String {
    let back = scratch.join("back");
    conex.ok(&["copy", image, &format!("oci:{}:1", back.display())]);
    let image = format!("docker://{image}");
    let raw = run_partner("skopeo", &["inspect", "--raw", "--tls-verify=false", &image]);
    let digest = conex_spec::Digest::sha256(raw.as_bytes()).to_string();
    assert_eq!(layout::tagged(&back, "1"), digest);
    assert_eq!(std::fs::read_to_string(layout::blob(&back, &digest)).unwrap(), raw);
    // A folder of files with nothing converted.
    let plain = scratch.join("plain");
    let to = format!("dir:{}", plain.display());
    run_partner("skopeo", &["copy", "--src-tls-verify=false", &image, &to]);
    for (digest, size) in &layout::content(&back, &digest)[1..] {
        let theirs = std::fs::read(plain.join(digest.split(':').nth(1).unwrap())).unwrap();
        assert_eq!(theirs.len() as u64, *size);
        assert!(theirs == std::fs::read(layout::blob(&back, digest)).unwrap(), "{digest}");
    }
    digest
}

/// What is no image goes through its layouts unchanged, and so does the image that it is about.
pub fn copies_artifacts_back() {
    let scratch = Scratch::new("skopeo-artifact");
    let registry = Registry::start(&scratch);
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("made"));
    let image = made.finish(&made.image(&[&[1; 1024]]));
    conex.ok(&["copy", &image, &registry.image("app:1")]);
    let file = scratch.join("notes.txt");
    std::fs::write(&file, "notes").unwrap();
    let file = file.to_str().unwrap();
    let to = registry.image("app:1");
    let attached = conex.json(&["artifact", "attach", "--to", &to, file, "--flat"]);
    let digest = attached["root"]["digest"].as_str().unwrap();
    for (from, name) in [(":1".to_owned(), "1"), (format!("@{digest}"), "notes")] {
        let between = format!("oci:{}:{name}", scratch.arg("between"));
        let copy = ["copy", "--preserve-digests"];
        let source = registry.docker(&format!("app{from}"));
        run_partner(
            "skopeo",
            &[&copy[..], &["--src-tls-verify=false", &source, &between]].concat(),
        );
        let back = registry.docker(&format!("back:{name}"));
        run_partner("skopeo", &[&copy[..], &["--dest-tls-verify=false", &between, &back]].concat());
    }
    let tree = conex.json(&["discover", &registry.image("back:1")]);
    assert_eq!(tree["referrers"][0]["descriptor"]["digest"], digest, "{tree}");
    let out = scratch.join("out");
    conex.ok(&["artifact", "pull", &registry.image("back:notes"), out.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(out.join("notes.txt")).unwrap(), "notes");
}
