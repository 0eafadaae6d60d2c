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
    assert_eq!(manifests[0].fault.as_deref(), Some(MISSING));
    assert!(manifests[1].fault.is_none());
    let What::Image { image } = &manifests[2].what else { panic!("no image") };
    assert_eq!(image.fault.as_deref(), Some(MISSING));
}

#[tokio::test]
async fn what_is_missing_is_told_beside_what_is_there() {
    let store = Memory::new();
    let there = store.add(MediaType::LAYER, "there");
    let gone = Descriptor::new(MediaType::LAYER, images::nowhere(), 7);
    let embedded =
        Descriptor { data: Some("eA==".into()), ..Descriptor::of(MediaType::LAYER, b"x") };
    let platform = Platform::new("linux", "amd64");
    let layers = vec![there.clone(), gone.clone(), embedded];
    let root = images::image_of(&store, &platform, layers.clone());
    let manifest = store.manifest(&root).await.unwrap().into_value();
    let options = Options::default();
    let Content::Image(image) = content(&store, manifest, &options).await.unwrap() else {
        panic!("no image")
    };
    let faults: Vec<_> = image.layers.iter().map(|layer| layer.fault.as_deref()).collect();
    assert_eq!(faults, [None, Some(MISSING), None]);
    let (tree, _) = tree::tree_of(&store, root).await.unwrap();
    let faults: Vec<_> = tree.children.iter().map(|node| node.fault.as_deref()).collect();
    assert_eq!(faults, [None, None, Some(MISSING), None]);
    let config = Descriptor::new(MediaType::CONFIG, images::nowhere(), 7);
    let lone = Document::new(ImageManifest::new(config, layers)).unwrap();
    let root = store.add(MediaType::MANIFEST, lone.bytes().clone());
    let (tree, _) = tree::tree_of(&store, root).await.unwrap();
    let faults: Vec<_> = tree.children.iter().map(|node| node.fault.as_deref()).collect();
    assert_eq!(faults, [Some(MISSING), None, Some(MISSING), None]);
    let mut files = ImageManifest::new(Descriptor::empty(), vec![there, gone.clone()]);
    files.artifact_type = Some(MediaType::new("application/files"));
    store.add(MediaType::EMPTY, "{}");
    let files = Manifest::Image(files);
    let Content::Artifact { missing, .. } = content(&store, files, &options).await.unwrap() else {
        panic!("no artifact")
    };
    assert_eq!(missing, [gone.digest]);
}

/// A source that answers slowly, as registries do, and knows how many were asked at a time.
#[derive(Debug)]
struct Slow {
    store: Memory,
    waiting: std::sync::Mutex<Vec<tokio::sync::oneshot::Sender<()>>>,
}

impl conex_store::Place for Slow {
    fn location(&self) -> &Location {
        self.store.location()
    }
}

#[async_trait::async_trait]
impl Source for Slow {
    async fn resolve(&self, name: Option<&conex_spec::Name>) -> Result<Descriptor> {
        self.store.resolve(name).await
    }

    async fn open(
        &self,
        blob: &Descriptor,
        range: std::ops::Range<u64>,
    ) -> Result<conex_store::ByteStream> {
        // Whether a blob is there is not asked of a registry.
        if range.end > 0 {
            let (answer, asked) = tokio::sync::oneshot::channel();
            self.waiting.lock().unwrap().push(answer);
            asked.await.unwrap();
        }
        self.store.open(blob, range).await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.store.referrers(subject).await
    }

    fn tags(&self) -> futures_util::stream::BoxStream<'_, Result<conex_spec::Tag>> {
        self.store.tags()
    }
}

#[tokio::test]
async fn thirty_platforms_take_four_rounds_of_requests() {
    let store = Memory::new();
    let entries = (0..30).map(|number| {
        images::image(&store, &Platform::new("linux", &format!("cpu{number}")), 1, 10)
    });
    let root = images::index(&store, entries.collect());
    let manifest = store.manifest(&root).await.unwrap().into_value();
    let slow = Slow { store, waiting: std::sync::Mutex::default() };
    let options = Options::default();
    let mut looking = Box::pin(content(&slow, manifest, &options));
    let mut rounds = 0;
    let shown = loop {
        // Everything goes as far as it can; then all that was asked is answered at once.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match looking.as_mut().poll(&mut context) {
            std::task::Poll::Ready(shown) => break shown.unwrap(),
            std::task::Poll::Pending => {
                let waiting = std::mem::take(&mut *slow.waiting.lock().unwrap());
                rounds += u32::from(!waiting.is_empty());
                waiting.into_iter().for_each(|answer| answer.send(()).unwrap());
            }
        }
    };
    assert!(matches!(shown, Content::Index { manifests, .. } if manifests.len() == 30));
    assert_eq!(rounds, 4);
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
