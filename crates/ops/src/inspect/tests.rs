//! Inspecting content in memory.

use conex_spec::config::{Execution, History};
use conex_spec::{Document, ImageConfig, ImageManifest};
use conex_testkit::images;

use super::index::What;
use super::*;

async fn look(store: &Memory, root: &Descriptor) -> Content {
    let manifest = store.manifest(root).await.unwrap().into_value();
    content(store, manifest, &Options { unpacked: true, ..Options::default() }).await.unwrap()
}

fn entry(created_by: &str, empty_layer: bool) -> History {
    History { created_by: Some(created_by.into()), empty_layer, ..History::default() }
}

#[tokio::test]
async fn layers_stand_beside_the_history_that_made_them() {
    let store = Memory::new();
    let layers = [1, 2, 3].map(|seed| store.add(MediaType::LAYER, images::noise(seed, 10)));
    let mut config = ImageConfig {
        architecture: "arm64".into(),
        os: "linux".into(),
        variant: Some("v8".into()),
        config: Some(Execution { env: vec!["A=1".into()], ..Execution::default() }),
        history: vec![entry("ADD", false), entry("ENV", true), entry("RUN", false)],
        ..ImageConfig::default()
    };
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
    let config = store.add(MediaType::CONFIG, Document::new(config).unwrap().bytes().clone());
    let manifest = Document::new(ImageManifest::new(config.clone(), layers.to_vec())).unwrap();
    let root = store.add(MediaType::MANIFEST, manifest.bytes().clone());
    let Content::Image(image) = look(&store, &root).await else { panic!("no image") };
    let made: Vec<_> = image.layers.iter().map(|layer| layer.created_by.as_deref()).collect();
    assert_eq!(made, [Some("ADD"), Some("RUN"), None]);
    assert_eq!(image.platform.to_string(), "linux/arm64/v8");
    assert_eq!((image.size, image.unpacked_size), (30, Some(30)));
    assert_eq!((image.id, image.env), (Some(config.digest), vec!["A=1".to_owned()]));
}

#[tokio::test]
async fn an_index_shows_every_platform_and_counts_shared_layers_once() {
    let store = Memory::new();
    let root = images::two_platforms(&store);
    let Content::Index { manifests, size } = look(&store, &root).await else { panic!("no index") };
    let configs: u64 = manifests
        .iter()
        .map(|entry| match &entry.what {
            What::Image { image } => image.config.descriptor.as_ref().unwrap().size,
            _ => panic!("no image"),
        })
        .sum();
    assert_eq!(size, 3 * 5000 + configs);
    assert!(manifests[0].content_size().unwrap() > 2 * 5000);
}

#[tokio::test]
async fn what_is_not_there_is_told_and_the_rest_is_shown() {
    let store = Memory::new();
    let image = images::image(&store, &Platform::new("linux", "amd64"), 1, 10);
    let missing = Descriptor::new(MediaType::MANIFEST, images::nowhere(), 7);
    let lone = ImageManifest::new(Descriptor::new(MediaType::CONFIG, images::nowhere(), 7), vec![]);
    let lone = store.add(MediaType::MANIFEST, Document::new(lone).unwrap().bytes().clone());
    let root = images::index(&store, vec![missing, image, lone]);
    let Content::Index { manifests, .. } = look(&store, &root).await else { panic!("no index") };
    assert!(manifests[0].fault.as_deref().unwrap().contains("not in"));
    assert!(manifests[1].fault.is_none());
    let What::Image { image } = &manifests[2].what else { panic!("no image") };
    assert!(image.fault.as_deref().unwrap().contains("not in"));
}

#[tokio::test]
async fn an_index_that_lists_too_much_is_only_listed() {
    let store = Memory::new();
    let huge = Descriptor::new(MediaType::MANIFEST, images::nowhere(), 1 << 40);
    let image = images::image(&store, &Platform::new("linux", "amd64"), 1, 10);
    let root = images::index(&store, vec![huge, image]);
    let Content::Index { manifests, .. } = look(&store, &root).await else { panic!("no index") };
    assert!(manifests[0].fault.as_deref().unwrap().contains("too much"));
    assert!(matches!(manifests[1].what, What::Image { .. }));
    let mut deep = manifests[1].descriptor.clone();
    for _ in 0..40 {
        deep = images::index(&store, vec![deep.clone(), deep]);
    }
    // 2^40 paths: nested indexes are opened to a depth.
    assert!(matches!(look(&store, &deep).await, Content::Index { .. }));
}

#[tokio::test]
async fn blobs_and_documents_say_what_they_are() {
    let store = Memory::new();
    let opaque = MediaType::new("application/octet-stream");
    let config =
        r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = store.add(opaque.clone(), config);
    let of = |blob: Descriptor| {
        let store = &store;
        async move { single::blob(store, &blob, None).await.unwrap() }
    };
    assert!(matches!(of(config).await, Content::Config(_)));
    let text = store.add(opaque.clone(), "hello");
    assert!(matches!(of(text).await, Content::Blob { format, .. } if format == "text"));
    let json = store.add(opaque, "{\"a\":1}");
    assert!(matches!(of(json).await, Content::Blob { format, .. } if format == "JSON"));
    let marker = Bytes::from_static(br#"{"imageLayoutVersion":"1.0.0"}"#);
    let layout = single::document(DocumentKind::Layout, marker).unwrap();
    assert!(matches!(layout, Content::Layout { version } if version == "1.0.0"));
}

#[tokio::test]
async fn a_tree_shows_each_digest_once_and_who_refers_to_it() {
    let store = Memory::new();
    let root = images::two_platforms(&store);
    let mut signature = ImageManifest::new(Descriptor::empty(), vec![]);
    signature.artifact_type = Some(MediaType::new("application/signature"));
    signature.subject = Some(root.bare());
    let signature = Document::new(signature).unwrap();
    store.add(MediaType::EMPTY, "{}");
    store.add(MediaType::MANIFEST, signature.bytes().clone());
    let (tree, cut) = tree::tree_of(&store, root).await.unwrap();
    assert!(!cut);
    let roles: Vec<_> = tree.children.iter().map(|node| node.role).collect();
    assert_eq!(roles, ["image", "image"]);
    let repeated = |node: &tree::Node| node.children.iter().filter(|node| node.repeated).count();
    assert_eq!(tree.children.iter().map(repeated).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(tree.referrers.len(), 1);
    assert_eq!(tree.referrers[0].role, "artifact");
    assert_eq!(tree.referrers[0].children.len(), 1);
}

#[tokio::test]
async fn a_tree_of_many_paths_is_small_and_of_many_levels_is_cut() {
    let store = Memory::new();
    let mut root = images::two_platforms(&store);
    for _ in 0..29 {
        root = images::index(&store, vec![root.clone(), root]);
    }
    let (_, cut) = tree::tree_of(&store, root.clone()).await.unwrap();
    assert!(!cut);
    for _ in 0..10 {
        root = images::index(&store, vec![root]);
    }
    assert!(tree::tree_of(&store, root).await.unwrap().1);
}
