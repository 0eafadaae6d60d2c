//! Documents of drafts move byte for byte between all places, and come out of a rewrite as
//! documents of today.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use conex_client::{Client, Options};
use conex_ops::copy::copy_to;
use conex_ops::json_file::Target;
use conex_ops::walk::walk;
use conex_ops::{Context, CopyOptions, choose, inspect};
use conex_server::{Config, Server};
use conex_spec::{Descriptor, Location, MediaType, Renewed, draft};
use conex_store::{Memory, SourceExt};

/// A root of today's shape, without a media type, that lists one document of each draft.
fn root(store: &Memory) -> Descriptor {
    let artifact = artifact(store);
    let entries = [proposal(store), early(store), artifact, leaf(store)];
    let entries = entries.map(|entry| serde_json::to_string(&entry).unwrap()).join(",\n  ");
    let json = format!("{{\n  \"manifests\": [{entries}],\n  \"schemaVersion\": 2\n}}\n");
    store.add(MediaType::INDEX, json)
}

fn image(
    store: &Memory,
    media_type: MediaType,
    types: [MediaType; 2],
    members: &str,
) -> Descriptor {
    let [config, layer] = types;
    let layer = store.add(layer, format!("layer of {media_type}"));
    let config_text = format!(
        r#"{{"architecture":"arm","os":"linux","variant":"v5","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.digest
    );
    let config = store.add(config, config_text);
    let [config, layer] = [config, layer].map(|blob| serde_json::to_string(&blob).unwrap());
    let json =
        format!(r#"{{ "schemaVersion": 2,{members}  "config": {config}, "layers": [ {layer} ] }}"#);
    store.add(media_type, json)
}

/// The first proposal: an index and an image with an `artifactType` beside each type.
fn proposal(store: &Memory) -> Descriptor {
    let members = format!(
        r#" "mediaType":"{}", "artifactType": "{}","#,
        MediaType::DRAFT_MANIFEST,
        draft::IMAGE_PARTS[1]
    );
    let types = [MediaType::DRAFT_CONFIG, MediaType::DRAFT_LAYER];
    let mut image = image(store, MediaType::DRAFT_MANIFEST, types, &members);
    image.artifact_type = Some(MediaType::new(draft::IMAGE_PARTS[1]));
    image.platform = Some("linux/arm/v5".parse().unwrap());
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{}","manifests":[{}]}}"#,
        MediaType::DRAFT_INDEX,
        draft::IMAGE_PARTS[0],
        serde_json::to_string(&image).unwrap()
    );
    store.add(MediaType::DRAFT_INDEX, json)
}

/// image-spec before 1.0: a manifest list and an image that does not say what it is.
fn early(store: &Memory) -> Descriptor {
    let types = [MediaType::EARLY_CONFIG, MediaType::EARLY_LAYER];
    let image = serde_json::to_string(&image(store, MediaType::MANIFEST, types, "")).unwrap();
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{image}]}}"#,
        MediaType::EARLY_LIST
    );
    store.add(MediaType::EARLY_LIST, json)
}

/// The artifact manifest of the release candidates.
fn artifact(store: &Memory) -> Descriptor {
    let blob = store.add(MediaType::new("text/plain"), "what the artifact packs");
    let json = format!(
        r#"{{"mediaType":"{}","artifactType":"application/vnd.example.note","blobs":[{}],"x":1.0}}"#,
        MediaType::DRAFT_ARTIFACT,
        serde_json::to_string(&blob).unwrap()
    );
    store.add(MediaType::DRAFT_ARTIFACT, json)
}

/// A descriptor as a document of its own: opaque to an index.
fn leaf(store: &Memory) -> Descriptor {
    let text = serde_json::to_string(&Descriptor::empty()).unwrap();
    store.add(MediaType::DESCRIPTOR, text)
}

async fn world(dir: &Path) -> (Context, String) {
    let config = Config::new(dir.join("registry"), ([127, 0, 0, 1], 0).into());
    let server = Server::bind(config).await.unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.run(std::future::pending::<()>()));
    let store = dir.join("store");
    (Context::new(Client::new(Options::default()), Some(store), Arc::new(())), address)
}

fn blobs(layout: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(layout.join("blobs/sha256")).unwrap().map(Result::unwrap);
    files
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_move_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (context, registry) = world(dir.path()).await;
    let memory = Memory::new();
    let root = root(&memory);
    let place = |text: String| text.parse::<Location>().unwrap();
    let [first, last] = ["first", "last"].map(|name| dir.path().join(name));
    let places = [
        place(format!("oci:{}:1", first.display())),
        place(format!("oci:{}/between:1", dir.path().display())),
        place(format!("{registry}/drafts:1")),
        place("store:registry.example/drafts:1".into()),
        place(format!("oci:{}:1", last.display())),
    ];
    let options = CopyOptions::default();
    copy_to(&context, &memory, &root, &places[0], &options).await.unwrap();
    for pair in places.windows(2) {
        let (source, found) = context.resolve(&pair[0]).await.unwrap();
        assert_eq!((&found.digest, found.size), (&root.digest, root.size), "{}", pair[0]);
        copy_to(&context, source.as_ref(), &found, &pair[1], &options).await.unwrap();
    }
    let graph = walk(&memory, &root).await.unwrap();
    assert_eq!((graph.manifests.len(), graph.blobs.len()), (6, 6));
    let copied = blobs(&last);
    assert_eq!(copied, blobs(&first));
    assert_eq!(copied.len(), 12);
    for node in &graph.manifests {
        let name = node.descriptor.digest.encoded();
        assert_eq!(copied[name], node.manifest.bytes().as_ref(), "{:?}", node.descriptor);
    }
    let options = inspect::Options::default();
    let target = Target::Location(places[4].clone());
    assert_eq!(inspect::raw(&context, &target, &options).await.unwrap().len() as u64, root.size);
    assert!(inspect::inspect(&context, &target, &options).await.is_ok());
    // By itself, each of them has to be known by what it is.
    for node in graph.manifests {
        let file = dir.path().join("document.json");
        std::fs::write(&file, node.manifest.bytes()).unwrap();
        let inspected = inspect::inspect(&context, &Target::File(file), &options).await;
        assert!(inspected.is_ok(), "{inspected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_rewritten_from_its_leaves_up() {
    let memory = Memory::new();
    let root = root(&memory);
    let mut renewed = Renewed::new();
    for node in walk(&memory, &root).await.unwrap().manifests {
        let rewritten = draft::rewrite(&node.manifest, &renewed).unwrap();
        if rewritten.needs_empty {
            memory.add(MediaType::EMPTY, "{}");
        }
        let new = rewritten.descriptor();
        memory.add(new.media_type.clone(), rewritten.document.bytes().clone());
        renewed.insert(node.descriptor.digest, new);
    }
    let root = renewed[&root.digest].clone();
    let graph = walk(&memory, &root).await.unwrap();
    assert_eq!((graph.manifests.len(), graph.blobs.len()), (6, 7));
    for node in &graph.manifests {
        assert_eq!(draft::traces(node.manifest.value()), [], "{:?}", node.descriptor);
        assert!([MediaType::INDEX, MediaType::MANIFEST].contains(&node.descriptor.media_type));
    }
    assert!(graph.blobs.iter().all(|blob| draft::Draft::of(&blob.media_type).is_none()));
    let image = choose::choose(&memory, &root, &"linux/arm/v7".parse().unwrap()).await.unwrap();
    let manifest = memory.manifest(&image).await.unwrap().into_value().into_image().unwrap();
    assert_eq!(manifest.layers[0].media_type, MediaType::LAYER);
}
