use std::fs;
use std::path::Path;
use std::sync::Arc;

use conex_client::{Client, Options};
use conex_spec::{Descriptor, Kind, Location, Manifest, MediaType};
use conex_store::SourceExt;
use conex_store::Stage;
use serde_json::{Value, json};

use super::bundle::{Bundle, is_bundle};
use super::push::{Recipe, push};
use super::{index, pull};
use crate::artifact::pull::find;
use crate::copy::{CopyOptions, copy_to};
use crate::open::Context;

fn bundle() -> Value {
    json!({
        "schemaVersion": "v1.0.0", "name": "wordpress", "version": "1.2.3",
        "description": "A blog", "keywords": ["blog", "a<b"],
        "maintainers": [{"name": "Ann"}],
        "invocationImages": [{"imageType": "oci", "image": "registry.example/installer:1"}],
        "images": {
            "mysql": {"image": "registry.example/mysql:9", "description": ""},
            "app": {"image": "registry.example/app:1"},
        },
        "custom": {"x": 1},
    })
}

fn fault(change: impl FnOnce(&mut Value)) -> conex_spec::Error {
    let mut value = bundle();
    change(&mut value);
    Bundle::parse(value.to_string().as_bytes(), "x/bundle.json").unwrap_err()
}

#[test]
fn faults_of_a_bundle_name_the_field() {
    assert!(Bundle::parse(bundle().to_string().as_bytes(), "x").is_ok());
    for (change, field) in [
        (json!(["name", ""]), "`name`"),
        (json!(["version", "latest"]), "`version`"),
        (json!(["schemaVersion", ""]), "`schemaVersion`"),
        (json!(["invocationImages", []]), "`invocationImages`"),
        (json!(["invocationImages", [{"image": "UPPER:1"}]]), "`invocationImages[0].image`"),
        (
            json!(["invocationImages", [{"imageType": "vm", "image": "foo.qcow"}]]),
            "`invocationImages[0].imageType`",
        ),
        (json!(["images", {"a": {"imageType": "OCI", "image": "x:1"}}]), "`images.a.imageType`"),
        (json!(["images", {"a": {"image": "oci:./x"}}]), "`images.a.image`"),
        (
            json!(["images", {"a": {"image": "x:1", "contentDigest": "sha256:1"}}]),
            "`images.a.contentDigest`",
        ),
    ] {
        let err = fault(|value| value[change[0].as_str().unwrap()] = change[1].clone());
        assert_eq!(err.kind(), Kind::Invalid);
        assert!(err.message().starts_with("x/bundle.json: "), "{err}");
        assert!(err.message().contains(field), "{err}");
    }
    let err = fault(|value| value["images"] = json!([]));
    assert!(err.to_string().contains("images"), "{err}");
    assert!(Bundle::parse(b"{", "x").is_err() && Bundle::parse(b"[]", "x").is_err());
}

#[test]
fn a_bundle_is_known_by_its_members() {
    let dir = tempfile::tempdir().unwrap();
    let without = |members: &[&str]| {
        let mut value = bundle();
        members.iter().for_each(|member| drop(value.as_object_mut().unwrap().remove(*member)));
        value.to_string()
    };
    let sigstore =
        json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}).to_string();
    let image = json!({"schemaVersion": 2, "config": {}, "layers": []}).to_string();
    for (text, named, other) in [
        (bundle().to_string(), true, true),
        (without(&["name", "version"]), true, true),
        (without(&["schemaVersion"]), true, false),
        (without(&["invocationImages"]), true, false),
        (without(&["schemaVersion", "invocationImages"]), false, false),
        (bundle().to_string()[1..].to_owned(), true, false),
        (String::new(), true, false),
        (sigstore, false, false),
        (image, false, false),
        ("[]".into(), false, false),
        ("7".into(), false, false),
    ] {
        for (name, known) in [("bundle.json", named), ("other.json", other)] {
            let path = dir.path().join(name);
            fs::write(&path, &text).unwrap();
            assert_eq!(is_bundle(&path), known, "{name} {text}");
        }
    }
    assert!(!is_bundle(dir.path()) && !is_bundle(Path::new("/dev/null")));
}

fn context(dir: &Path) -> Context {
    Context::new(Client::new(Options::default()), Some(dir.join("store")), Arc::new(()))
}

/// Artifacts that stand for images, in a layout, under these tags.
async fn images(context: &Context, dir: &Path, tags: &[&str]) -> (Location, Vec<Descriptor>) {
    let place: Location = format!("oci:{}", dir.join("images").display()).parse().unwrap();
    let mut roots = Vec::new();
    for tag in tags {
        let stage = Stage::new(dir, None, None).unwrap();
        let layer = stage.add(MediaType::LAYER, tag.as_bytes().to_vec());
        let config = stage.add(MediaType::new("application/vnd.example.v1+json"), &b"[]"[..]);
        let made = conex_spec::ImageManifest::new(config, vec![layer]);
        let root = stage.add_document(MediaType::MANIFEST, made).unwrap();
        let name = conex_spec::Name::Tag(conex_spec::Tag::new(tag).unwrap());
        let to = place.with_name(name).unwrap();
        copy_to(context, &stage, &root, &to, &CopyOptions::default()).await.unwrap();
        roots.push(root);
    }
    (place, roots)
}

#[tokio::test]
async fn a_bundle_goes_in_with_its_images_and_comes_out_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path());
    let names =
        ["registry.example/installer:1", "registry.example/app:1", "registry.example/mysql:9"];
    let (place, roots) = images(&context, dir.path(), &names).await;
    let mut value = bundle();
    value["images"]["mysql"]["contentDigest"] = json!(roots[2].digest.to_string());
    let text = serde_json::to_string_pretty(&value).unwrap();
    let path = dir.path().join("bundle.json");
    fs::write(&path, &text).unwrap();
    let recipe = Recipe { path: path.clone(), images_from: Some(place) };
    let to: Location = format!("oci:{}", dir.path().join("out").display()).parse().unwrap();
    let report = push(&context, &recipe, &to, &CopyOptions::default()).await.unwrap();
    assert_eq!(report.location.to_string(), format!("{to}:1.2.3"));

    let (source, root) = context.resolve(&report.location).await.unwrap();
    let Manifest::Index(made) = source.manifest(&root).await.unwrap().into_value() else {
        panic!("no index");
    };
    assert!(index::is_bundle(&made));
    let kinds: Vec<_> =
        made.manifests.iter().map(|it| it.annotations[index::ENTRY].as_str()).collect();
    assert_eq!(kinds, ["config", "invocation", "component", "component"]);
    let digests: Vec<_> = made.manifests[1..].iter().map(|it| &it.digest).collect();
    assert_eq!(digests, roots.iter().map(|it| &it.digest).collect::<Vec<_>>());
    assert_eq!(made.annotations[index::KEYWORDS], r#"["blog","a\u003cb"]"#);
    assert_eq!(made.annotations[index::RUNTIME_VERSION], "v1.0.0");
    for entry in &made.manifests {
        assert!(!source.children(entry).await.unwrap().is_empty());
    }

    let folder = dir.path().join("pulled");
    let found = find(&context, &report.location, None).await.unwrap();
    let pulled = pull::pull(&context, found, &folder, false).await.unwrap();
    assert_eq!(fs::read_to_string(folder.join("bundle.json")).unwrap(), text);
    assert_eq!(pulled.relocation_map, report.relocation_map);
    let at = &pulled.relocation_map["registry.example/app:1"];
    assert!(at.ends_with(&format!("@{}", roots[1].digest)), "{at}");
    let map: Value =
        serde_json::from_slice(&fs::read(folder.join("relocation-mapping.json")).unwrap()).unwrap();
    assert_eq!(map, serde_json::to_value(&pulled.relocation_map).unwrap());
}

#[tokio::test]
async fn a_wrong_digest_is_one_error_and_nothing_is_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path());
    let (place, roots) = images(&context, dir.path(), &["registry.example/installer:1"]).await;
    let mut value = bundle();
    value["images"] = json!({});
    value["invocationImages"][0]["size"] = json!(roots[0].size + 1);
    let path = dir.path().join("bundle.json");
    let to: Location = format!("oci:{}", dir.path().join("out").display()).parse().unwrap();
    fs::write(&path, value.to_string()).unwrap();
    let recipe = Recipe { path: path.clone(), images_from: Some(place) };
    let err = push(&context, &recipe, &to, &CopyOptions::default()).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Mismatch);
    assert!(err.message().contains("invocationImages[0].size"), "{err}");
    let other = Descriptor::of(MediaType::MANIFEST, b"other").digest;
    value["invocationImages"][0]["contentDigest"] = json!(other.to_string());
    fs::write(&path, value.to_string()).unwrap();
    let err = push(&context, &recipe, &to, &CopyOptions::default()).await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
    let start = format!("{}: invocationImages[0]: ", path.display());
    assert!(err.message().starts_with(&start), "{err}");
    assert!(!dir.path().join("out").exists());
}

/// What stands in a relocation map leads to the images, in the local store too.
#[tokio::test]
async fn the_images_of_a_bundle_are_where_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path());
    let (place, _) = images(&context, dir.path(), &["registry.example/installer:1"]).await;
    let mut value = bundle();
    value["images"] = json!({});
    let path = dir.path().join("bundle.json");
    fs::write(&path, value.to_string()).unwrap();
    let recipe = Recipe { path, images_from: Some(place) };
    for to in [format!("oci:{}", dir.path().join("out").display()), "store:blog".to_owned()] {
        let to: Location = to.parse().unwrap();
        let report = push(&context, &recipe, &to, &CopyOptions::default()).await.unwrap();
        for at in report.relocation_map.values() {
            context.resolve(&at.parse().unwrap()).await.unwrap();
        }
    }
}
