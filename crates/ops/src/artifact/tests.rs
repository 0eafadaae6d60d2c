//! Artifacts from files to a place and what lies there.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use conex_client::{Client, Options};
use conex_spec::annotations::TITLE;
use conex_spec::{Descriptor, ImageManifest, Kind, Location, MediaType, Result, Tag};
use conex_store::{Source, SourceExt};

use super::push::{Folders, Input, Recipe, push};
use super::*;
use crate::{Context, CopyOptions};

/// A person with some files, and a layout to put them into.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) context: Context,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        let client = Client::new(Options::default());
        Self { context: Context::new(client, Some(store), Arc::new(())), dir }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn file(&self, name: &str, content: &str) -> Input {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        Input { path, media_type: None }
    }

    pub(super) fn layout(&self, name: &str) -> Location {
        format!("oci:{}:{name}", self.path("layout").display()).parse().unwrap()
    }

    pub(super) async fn push(&self, recipe: &Recipe, to: &Location) -> Result<Stored> {
        push(&self.context, recipe, to, &[], &CopyOptions::default()).await
    }

    pub(super) async fn manifest(&self, at: &Location) -> (Arc<dyn Source>, ImageManifest) {
        let (source, root) = self.context.resolve(at).await.unwrap();
        let manifest = source.manifest(&root).await.unwrap();
        (source, manifest.into_value().into_image().unwrap())
    }
}

/// Titles are the names alone: the folder of a test is absolute.
pub(super) fn of(files: Vec<Input>) -> Recipe {
    Recipe { files, flat: true, ..Recipe::default() }
}

#[tokio::test]
async fn files_are_layers_with_types_and_titles() {
    let world = World::new();
    let mut recipe = of(vec![world.file("a.json", "{}"), world.file("b", "b")]);
    recipe.files[1].media_type = Some(MediaType::new("text/x-b"));
    recipe.annotations.insert("k".into(), "v".into());
    let at = world.layout("1");
    let tags = [Tag::new("1").unwrap(), Tag::new("latest").unwrap()];
    let stored = push(&world.context, &recipe, &at, &tags, &CopyOptions::default()).await.unwrap();
    assert_eq!(stored.tags, tags);
    assert_eq!((stored.summary.moved.blobs, stored.summary.present.blobs), (3, 0));
    let (source, manifest) = world.manifest(&at).await;
    assert_eq!(manifest.artifact_type, Some(MediaType::UNKNOWN_ARTIFACT));
    assert_eq!(manifest.config, Descriptor::empty().bare());
    assert_eq!(manifest.annotations["k"], "v");
    let told: Vec<_> = manifest
        .layers
        .iter()
        .map(|layer| (layer.media_type.as_str(), layer.annotations[TITLE].as_str(), layer.size))
        .collect();
    assert_eq!(told, [("application/json", "a.json", 2), ("text/x-b", "b", 1)]);
    assert_eq!(source.read(&manifest.layers[1]).await.unwrap(), "b");
    assert_eq!(source.read(&manifest.config).await.unwrap(), "{}");
    let again = push(&world.context, &recipe, &at, &tags, &CopyOptions::default()).await.unwrap();
    assert_eq!(again.root, stored.root);
    assert_eq!(again.summary.present.blobs, 2);
}

#[tokio::test]
async fn a_config_of_its_own_says_what_it_is() {
    let world = World::new();
    let mut recipe = of(vec![world.file("a.txt", "a")]);
    recipe.config = Some(world.file("meta.json", r#"{"a":1}"#));
    recipe.config.as_mut().unwrap().media_type = Some(MediaType::new("application/x-meta"));
    let stored = world.push(&recipe, &world.layout("1")).await.unwrap();
    assert_eq!(stored.root.artifact_type, Some(MediaType::new("application/x-meta")));
    let (source, manifest) = world.manifest(&world.layout("1")).await;
    assert_eq!(manifest.artifact_type, None);
    assert_eq!(source.read(&manifest.config).await.unwrap(), r#"{"a":1}"#);
}

#[tokio::test]
async fn an_artifact_without_files_has_one_empty_layer() {
    let world = World::new();
    let mut recipe = of(vec![]);
    recipe.artifact_type = Some(MediaType::new("application/vnd.example.mark"));
    for to in [world.layout("1"), "store:mark:1".parse().unwrap()] {
        let stored = world.push(&recipe, &to).await.unwrap();
        assert_eq!(stored.summary.moved.blobs, 2);
        let (source, manifest) = world.manifest(&to).await;
        assert_eq!(manifest.layers, [Descriptor::empty().bare()]);
        assert_eq!(source.read(&manifest.layers[0]).await.unwrap(), "{}");
    }
}

#[tokio::test]
async fn a_folder_is_one_layer_or_many() {
    let world = World::new();
    world.file("site/index.html", "<p>");
    world.file("site/css/a.css", "p{}");
    let input = Input { path: world.path("site"), media_type: None };
    let mut recipe = of(vec![input]);
    world.push(&recipe, &world.layout("tar")).await.unwrap();
    let (source, manifest) = world.manifest(&world.layout("tar")).await;
    let [layer] = manifest.layers.as_slice() else { panic!("{manifest:?}") };
    assert_eq!(layer.media_type, MediaType::LAYER_GZIP);
    assert_eq!(
        (layer.annotations[TITLE].as_str(), layer.annotations[draft::UNPACK].as_str()),
        ("site", "true")
    );
    assert_eq!(
        names(&source.read(layer).await.unwrap()),
        ["site/", "site/css/", "site/css/a.css", "site/index.html"]
    );
    recipe.folders = Some(Folders::Files);
    world.push(&recipe, &world.layout("files")).await.unwrap();
    let (_, manifest) = world.manifest(&world.layout("files")).await;
    let titles: Vec<_> = manifest.layers.iter().map(|layer| &layer.annotations[TITLE]).collect();
    assert_eq!(titles, ["css/a.css", "index.html"]);
    std::os::unix::fs::symlink("index.html", world.path("site/link")).unwrap();
    let err = world.push(&recipe, &world.layout("files")).await.unwrap_err();
    assert!(err.message().contains("site/link"), "{err}");
}

fn names(tar: &[u8]) -> Vec<String> {
    let gzip = conex_spec::Compression::Gzip;
    let decoder = conex_tar::compression::Decoder::new(gzip, tar).unwrap();
    let mut reader = conex_tar::Reader::new(decoder);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

#[tokio::test]
async fn known_kinds_describe_themselves() {
    let world = World::new();
    let module = world.file("m.wasm", "\0asm\x01\0\0\0");
    world.push(&of(vec![module]), &world.layout("wasm")).await.unwrap();
    let (source, manifest) = world.manifest(&world.layout("wasm")).await;
    assert_eq!((manifest.artifact_type, &manifest.config.media_type), (None, &kinds::WASM_CONFIG));
    let config: serde_json::Value =
        serde_json::from_slice(&source.read(&manifest.config).await.unwrap()).unwrap();
    assert_eq!(config["layerDigests"][0], manifest.layers[0].digest.as_str());
    assert_eq!((&config["architecture"], &config["os"]), (&"wasm".into(), &"wasip1".into()));
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    world.file("model/a.safetensors", "\x02\0\0\0\0\0\0\0{}");
    world.file("model/README.md", "read");
    let model = Input { path: world.path("model"), media_type: None };
    world.push(&of(vec![model]), &world.layout("model")).await.unwrap();
    let (source, manifest) = world.manifest(&world.layout("model")).await;
    assert_eq!(manifest.artifact_type, Some(kinds::MODEL));
    let config: serde_json::Value =
        serde_json::from_slice(&source.read(&manifest.config).await.unwrap()).unwrap();
    assert_eq!(config["modelfs"]["diffIds"][1], manifest.layers[1].digest.as_str());
    let alone = of(vec![world.file("b.gguf", "GGUF")]);
    let stored = world.push(&alone, &world.layout("alone")).await.unwrap();
    assert_eq!(stored.root.artifact_type, Some(kinds::MODEL));
    assert_eq!(stored.layers[0].media_type.as_str(), "application/vnd.cncf.model.weight.v1.raw");
    let mut sbom = of(vec![world.file("a", r#"{"spdxVersion":"SPDX-2.3"}"#)]);
    let stored = world.push(&sbom, &world.layout("sbom")).await.unwrap();
    assert_eq!(stored.root.artifact_type, Some(kinds::SPDX_JSON));
    sbom.kind = Some(kinds::Kind::Wasm);
    assert_eq!(world.push(&sbom, &world.layout("no")).await.unwrap_err().kind(), Kind::Invalid);
    (sbom.kind, sbom.plain) = (None, true);
    let stored = world.push(&sbom, &world.layout("plain")).await.unwrap();
    assert_eq!(stored.root.artifact_type, Some(MediaType::UNKNOWN_ARTIFACT));
    (sbom.kind, sbom.plain) = (Some(kinds::Kind::Spdx), false);
    sbom.config = Some(world.file("meta.json", "{}"));
    let stored = world.push(&sbom, &world.layout("configured")).await.unwrap();
    assert_eq!(stored.root.artifact_type, Some(kinds::SPDX_JSON));
    for kind in [kinds::Kind::Wasm, kinds::Kind::Model, kinds::Kind::Spdx] {
        let none = Recipe { kind: Some(kind), artifact_type: Some(kinds::MODEL), ..of(vec![]) };
        assert_eq!(world.push(&none, &world.layout("no")).await.unwrap_err().kind(), Kind::Usage);
    }
}

/// What is said of a file is looked for in it, and a file of weights alone may be a model.
#[tokio::test]
async fn what_is_said_of_a_file_holds() {
    let world = World::new();
    world.file("empty/readme", "");
    let folder = Input { path: world.path("empty"), media_type: None };
    let weights = world.file("a.gguf", "GGUF");
    let text = world.file("a.txt", "text");
    let typed = Input { media_type: Some(kinds::SPDX_JSON), ..text.clone() };
    for (input, kind, good) in [
        (folder, kinds::Kind::Model, false),
        (weights, kinds::Kind::Model, true),
        (text.clone(), kinds::Kind::Model, false),
        (text, kinds::Kind::Spdx, false),
        (typed, kinds::Kind::Spdx, false),
    ] {
        let recipe = Recipe { kind: Some(kind), ..of(vec![input]) };
        let stored = world.push(&recipe, &world.layout("1")).await;
        match good {
            true => assert_eq!(stored.unwrap().root.artifact_type, Some(kinds::MODEL)),
            false => assert_eq!(stored.unwrap_err().kind(), Kind::Invalid),
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_made() {
    let world = World::new();
    let good = world.file("good.txt", "good");
    let to = world.layout("1");
    let missing = Input { path: world.path("missing"), media_type: None };
    let mut typed = good.clone();
    typed.media_type = Some(MediaType::new("no type"));
    let mut sheet = of(vec![good.clone()]);
    sheet.sheet = Some(
        annotate::Sheet::parse(format!(r#"{{"good.txt":{{"{TITLE}":"../x"}}}}"#).as_bytes(), "x")
            .unwrap(),
    );
    let mut nothing = of(vec![]);
    nothing.artifact_type = Some(MediaType::new("none"));
    let mut image = of(vec![]);
    image.config = Some(Input { path: good.path.clone(), media_type: Some(MediaType::CONFIG) });
    let deep = Recipe { flat: false, ..of(vec![good.clone()]) };
    for (recipe, named) in [
        (of(vec![good.clone(), missing]), "missing"),
        (of(vec![typed]), "good.txt: media type"),
        (of(vec![good.clone(), good.clone()]), "good.txt: org.opencontainers.image.title"),
        (sheet, "good.txt: org.opencontainers.image.title"),
        (nothing, "artifactType"),
        (image, "config"),
        (deep, "good.txt"),
    ] {
        let err = world.push(&recipe, &to).await.unwrap_err();
        assert!(err.to_string().contains(named), "{named}: {err}");
        assert!(matches!(err.kind(), Kind::Usage | Kind::NotFound), "{named}: {err:?}");
    }
    assert!(!world.path("layout").exists());
    let err = world.push(&of(vec![good]), &"docker-archive:x.tar".parse().unwrap()).await;
    assert_eq!(err.unwrap_err().kind(), Kind::Usage);
}

#[tokio::test]
async fn a_file_that_changes_is_told_by_name() {
    for length in [10, 1 << 20] {
        let world = World::new();
        let input = world.file("a.txt", &"a".repeat(length));
        let draft = of(vec![input.clone()]).draft().await.unwrap();
        let to = world.layout("1");
        let prepared = draft.prepare(&world.context, &to).await.unwrap();
        fs::write(&input.path, "b".repeat(length)).unwrap();
        let sink = world.context.sink(&to).unwrap();
        let sent = prepared.send(&world.context, sink.as_ref(), &CopyOptions::default()).await;
        let err = sent.unwrap_err();
        assert!(err.message().contains("a.txt changed while it was read"), "{err}");
        assert_eq!(err.kind(), Kind::Invalid);
    }
}

#[test]
fn a_type_stands_after_the_last_colon() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("odd:a");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("b"), "").unwrap();
    let there = odd.join("b").display().to_string();
    for (text, path, media_type) in [
        ("a.txt", "a.txt", None),
        ("a.txt:text/x", "a.txt", Some("text/x")),
        ("a:b:text/x", "a:b", Some("text/x")),
        ("a:b", "a:b", None),
        (":text/x", ":text/x", None),
        (there.as_str(), there.as_str(), None),
    ] {
        let input = Input::parse(text);
        assert_eq!(input.path, Path::new(path));
        assert_eq!(input.media_type.as_ref().map(MediaType::as_str), media_type, "{text}");
    }
}

/// A folder as someone packed it who means no good.
fn tar_of(names: &[&str]) -> Vec<u8> {
    let mut writer = conex_tar::Writer::new(Vec::new());
    for name in names {
        let sort = if name.ends_with('/') { conex_tar::Kind::Dir } else { conex_tar::Kind::File };
        writer.append(&conex_tar::Entry::new(*name, sort), std::io::empty()).unwrap();
    }
    writer.finish().unwrap()
}

#[tokio::test]
async fn a_packed_folder_stays_in_its_title() {
    let world = World::new();
    for (at, (names, good)) in [
        (&["site/", "site/a", "site/b/", "site/b/c"][..], true),
        (&["site/a"], true),
        (&["site/", "other"], false),
        (&["../x"], false),
        (&["site"], false),
        (&[], false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut draft = Draft::new(MediaType::new("a/b"));
        let mut part = Part::bytes(MediaType::LAYER, tar_of(names)).titled("site");
        part.annotations.insert(draft::UNPACK.into(), "true".into());
        draft.layers.push(part);
        let place = world.layout(&format!("t{at}"));
        draft.store(&world.context, &place, &[], &CopyOptions::default()).await.unwrap();
        let out = world.path(&format!("out{at}"));
        let (context, wanted) = (world.context.clone().without_sync(), pull::Wanted::default());
        let pulled = pull::pull(&context, &place, &out, &wanted, &CopyOptions::default()).await;
        assert_eq!(pulled.is_ok(), good, "{names:?}: {pulled:?}");
        assert_eq!(out.join("site/a").exists(), good, "{names:?}");
        // A failure leaves nothing, not even the folder.
        assert_eq!(out.exists(), good, "{names:?}");
    }
}

#[tokio::test]
async fn layers_without_a_title_are_told_or_named_by_digest() {
    let world = World::new();
    let mut draft = Draft::new(MediaType::new("a/b"));
    draft.layers.push(Part::bytes(MediaType::OCTETS, "x"));
    for title in ["a", "b"] {
        draft.layers.push(Part::bytes(MediaType::OCTETS, "same").titled(title));
    }
    let place = world.layout("1");
    draft.store(&world.context, &place, &[], &CopyOptions::default()).await.unwrap();
    for (untitled, count) in [(false, 2), (true, 3)] {
        let out = world.path(&format!("out-{untitled}"));
        let wanted = pull::Wanted { untitled, ..pull::Wanted::default() };
        let (context, options) = (world.context.clone().without_sync(), CopyOptions::default());
        let pulled = pull::pull(&context, &place, &out, &wanted, &options).await.unwrap();
        assert_eq!((pulled.files.len(), pulled.skipped.len()), (count, 3 - count));
        assert_eq!(fs::read_dir(&out).unwrap().count(), count);
        assert_eq!(fs::read(out.join("b")).unwrap(), b"same");
    }
    // A type that only such a layer has fits, and what it lacks is told.
    let mut draft = Draft::new(MediaType::new("a/b"));
    draft.layers.push(Part::bytes(MediaType::new("x/y"), "x"));
    let place = world.layout("2");
    draft.store(&world.context, &place, &[], &CopyOptions::default()).await.unwrap();
    let wanted = pull::Wanted { types: vec!["x/*".parse().unwrap()], ..pull::Wanted::default() };
    let (out, options) = (world.path("none"), CopyOptions::default());
    let err = pull::pull(&world.context, &place, &out, &wanted, &options).await.unwrap_err();
    assert_eq!(err.expected_value(), Some("type x/*, with a title"));
    assert!(err.hint_text().unwrap().contains("`--untitled`"), "{err}");
}
