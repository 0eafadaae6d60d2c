//! What is taken away, and what stays.

use std::fs;

use serde_json::{Value, json};

use crate::names::{layout, names, push};
use crate::support::daemon::{DockerRegistry, Registry};
use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

pub fn a_tag_goes_alone() {
    let scratch = Scratch::new("untag");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = layout(&scratch, &conex);
    let repository = registry.image("app");
    push(&conex, &place, &repository);
    conex.ok(&["copy", &format!("{place}:1.0"), "store:r.example/app:1.0"]);
    for place in [place.as_str(), &repository, "store:r.example/app"] {
        let image = format!("{place}:1.0");
        let digest = conex.ok(&["digest", &image]).trim().to_owned();
        conex.ok(&["untag", &image]);
        conex.run(&["digest", &image]).fails_with(3);
        assert_eq!(conex.ok(&["digest", &format!("{place}@{digest}")]).trim(), digest);
        conex.run(&["untag", &image]).fails_with(3);
        conex.run(&["untag", place]).fails_with(2);
    }
    // What lost its name is still a root, so it is not collected.
    let digest = conex.json(&["images", &place]);
    let listed = digest
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["name"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(listed.count(), 1, "{digest}");
    conex.run(&["untag", "oci-archive:a.tar:1"]).fails_with(1);
    // A mistyped one changes nothing.
    let (good, bad) = (format!("{repository}:1.9"), format!("{repository}:typo"));
    conex.run(&["untag", &good, &bad]).fails_with(3);
    conex.ok(&["digest", &good]);
}

/// An index of two images, one of which another tag leads to, and a signature.
struct World {
    index: String,
    shared: String,
    own: String,
    signature: String,
}

fn world(scratch: &Scratch, conex: &Conex, repository: &str) -> World {
    let place = layout(scratch, conex);
    let digest = |image: &str| conex.ok(&["digest", image]).trim().to_owned();
    conex.ok(&["copy", &format!("{place}:1.0"), &format!("{repository}:shared")]);
    let made = Handmade::new(scratch.join("index"));
    let entries: Vec<Value> = ["1.0", "1.9"]
        .iter()
        .map(|name| {
            let digest = digest(&format!("{place}:{name}"));
            let file = crate::support::layout::blob(&scratch.join("layout"), &digest);
            let bytes = fs::read(file).unwrap();
            let manifest: Value = serde_json::from_slice(&bytes).unwrap();
            for child in [&manifest["config"], &manifest["layers"][0]] {
                let digest = child["digest"].as_str().unwrap();
                let from = crate::support::layout::blob(&scratch.join("layout"), digest);
                made.blob("", &fs::read(from).unwrap());
            }
            made.blob("application/vnd.oci.image.manifest.v1+json", &bytes)
        })
        .collect();
    let kind = "application/vnd.oci.image.index.v1+json";
    let index =
        made.document(kind, &json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}));
    let root = made.finish(&index);
    for tag in ["1", "latest"] {
        conex.ok(&["copy", &root, &format!("{repository}:{tag}")]);
    }
    let empty = made.blob("application/vnd.oci.empty.v1+json", b"{}");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let signature = json!({"schemaVersion": 2, "mediaType": kind, "artifactType": "application/x-signature",
        "config": empty, "layers": [empty], "subject": index});
    let file = scratch.join("signature.json");
    fs::write(&file, signature.to_string()).unwrap();
    fs::write(scratch.join("empty"), "{}").unwrap();
    conex.ok(&["blob", "put", repository, &scratch.arg("empty")]);
    let digest = conex_spec::Digest::sha256(signature.to_string().as_bytes()).to_string();
    conex.ok(&[
        "manifest",
        "put",
        &format!("{repository}@{digest}"),
        &scratch.arg("signature.json"),
    ]);
    let text = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    World {
        index: text(&index),
        shared: text(&entries[0]),
        own: text(&entries[1]),
        signature: digest,
    }
}

fn is_there(conex: &Conex, repository: &str, digest: &str) -> bool {
    conex.run(&["digest", &format!("{repository}@{digest}")]).code == Some(0)
}

fn goes_with_all(scratch: &Scratch, repository: &str) {
    let conex = Conex::new(scratch);
    let world = world(scratch, &conex, repository);
    let there = |digest: &str| is_there(&conex, repository, digest);
    // What cosign says of the index and of an image in it that goes with it.
    let place = layout(scratch, &conex);
    let cosign =
        [(&world.index, "sig", "edge"), (&world.own, "att", "1.10")].map(|(of, end, from)| {
            let tag = format!("{}.{end}", of.replace(':', "-"));
            conex.ok(&["copy", &format!("{place}:{from}"), &format!("{repository}:{tag}")]);
            tag
        });
    let plan = &conex.json(&["delete", "--dry-run", &format!("{repository}:1")])[0];
    let bound: Vec<_> = plan["signatures"].as_array().unwrap().iter().map(|s| &s["tag"]).collect();
    assert!(cosign.iter().all(|tag| bound.contains(&&json!(tag))), "{bound:?}");
    let shown = conex.ok(&["delete", "--dry-run", &format!("{repository}:1")]);
    assert!(shown.contains(&format!("stays behind {}", cosign[0])), "{shown}");
    assert_eq!(plan["root"]["digest"], world.index.as_str());
    let tags: Vec<_> = plan["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(tags, ["1", "latest"]);
    let digests = |of: &str| -> Vec<String> {
        let all = plan[of].as_array().unwrap().iter();
        all.map(|node| node["digest"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(digests("children"), std::slice::from_ref(&world.own));
    assert_eq!(digests("referrers"), std::slice::from_ref(&world.signature));
    assert_eq!((&plan["deleted"], &plan["withReferrers"]), (&json!(false), &json!(false)));
    assert_eq!(plan["listedIn"], json!([]));
    let shared = &conex.json(&["delete", "--dry-run", &format!("{repository}:shared")])[0];
    assert_eq!(shared["listedIn"], json!(["1", "latest"]));
    assert!(there(&world.index));
    conex.ok(&["delete", "--yes", "--referrers", &format!("{repository}:1")]);
    assert!(!there(&world.index) && !there(&world.own) && !there(&world.signature));
    assert!(there(&world.shared));
    assert_eq!(names(&conex, &[repository]), ["shared"]);
}

pub fn a_manifest_goes_with_all_that_is_named() {
    let scratch = Scratch::new("delete");
    let registry = Registry::start(&scratch);
    goes_with_all(&scratch, &registry.image("app"));
}

pub fn nothing_goes_unasked() {
    let scratch = Scratch::new("unasked");
    let conex = Conex::new(&scratch);
    let place = layout(&scratch, &conex);
    let image = format!("{place}:1.0");
    assert!(conex.run(&["delete", &image]).fails_with(2).contains("--yes"));
    conex.run(&["delete", "--yes", "--dry-run", &image]).fails_with(2);
    conex.run(&["delete", "--yes", "oci-archive:a.tar:1"]).fails_with(1);
    conex.ok(&["tag", &image, "twin"]);
    let shown = conex.ok(&["delete", "--dry-run", &image]);
    assert!(shown.contains("its tag      twin"), "{shown}");
    assert!(names(&conex, &[&place]).contains(&"1.0".to_owned()));
    conex.ok(&["delete", "--yes", &image]);
    assert_eq!(names(&conex, &[&place]), ["1.10", "1.9", "edge"]);
    conex.ok(&["copy", &format!("{place}:1.9"), "store:r.example/app:1"]);
    conex.ok(&["tag", "store:r.example/app:1", "r.example/twin:2"]);
    conex.ok(&["delete", "--yes", "store:r.example/app:1"]);
    assert!(names(&conex, &["store:"]).is_empty());
}

/// It deletes nothing unless it is told to.
pub fn docker_registry_says_what_it_does_not_allow() {
    let scratch = Scratch::new("docker-delete");
    let conex = Conex::new(&scratch);
    let docker = DockerRegistry::start(&scratch, None);
    let place = layout(&scratch, &conex);
    let image = docker.image("app:1");
    conex.ok(&["copy", &format!("{place}:1.0"), &image]);
    let run = conex.run(&["untag", &image]);
    assert!(run.fails_with(1).contains("conex delete"), "{}", run.err);
    conex.run(&["delete", "--yes", &image]).fails_with(1);
    conex.ok(&["digest", &image]);
}
