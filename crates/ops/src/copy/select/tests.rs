use super::*;
use bytes::Bytes;
use conex_spec::{Annotations, Kind, Manifest, MediaType};
use conex_store::Memory;
use conex_testkit::images;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn platforms(texts: &[&str]) -> Vec<Platform> {
    texts.iter().map(|text| platform(text)).collect()
}

fn image(store: &Memory, text: &str, layers: u64) -> Descriptor {
    images::image(store, &platform(text), layers, 10)
}

/// As BuildKit puts it beside an image.
fn attestation(store: &Memory, about: &Descriptor) -> Descriptor {
    let config = store.add(MediaType::CONFIG, images::noise(about.size, 20));
    let layer = store.add(MediaType::new("application/vnd.in-toto+json"), about.digest.to_string());
    let manifest = conex_spec::ImageManifest::new(config, vec![layer]);
    let document = Document::new(manifest).unwrap();
    let mut entry = store.add(MediaType::MANIFEST, document.bytes().clone());
    entry.platform = Some(platform("unknown/unknown"));
    entry.annotations = Annotations::from_iter([
        ("vnd.docker.reference.type".into(), "attestation-manifest".into()),
        (ABOUT.into(), about.digest.to_string()),
    ]);
    entry
}

async fn chosen(store: &Memory, root: &Descriptor, asked: &[&str], sparse: bool) -> Selection {
    select(&Remembered::new(store), root, &platforms(asked), sparse).await.unwrap()
}

#[tokio::test]
async fn several_platforms_leave_an_index_with_these_and_their_attestations() {
    let store = Memory::new();
    let [amd64, arm64, s390x] = [("linux/amd64", 1), ("linux/arm64", 2), ("linux/s390x", 3)]
        .map(|(text, layers)| image(&store, text, layers));
    let about = [&amd64, &arm64, &s390x].map(|image| attestation(&store, image));
    let all = [vec![amd64.clone(), arm64, s390x.clone()], about.to_vec()].concat();
    let plain = images::index(&store, all);
    // What nobody knows, and how numbers are written, stays as it was.
    let text = String::from_utf8(store.read(&plain).await.unwrap().to_vec()).unwrap();
    let text = text.replacen('{', r#"{"x-new": {"b":1.50, "a":[]},"#, 1);
    let root = store.add(MediaType::INDEX, text);

    let from = Remembered::new(&store);
    let asked = platforms(&["linux/s390x", "linux/amd64"]);
    let selection = select(&from, &root, &asked, false).await.unwrap();
    assert!(selection.only.is_none());
    let bytes = from.read(&selection.root).await.unwrap();
    assert!(bytes.starts_with(br#"{"x-new":{"b":1.50,"a":[]},"#), "{bytes:?}");
    let index = Document::<ImageIndex>::parse(bytes).unwrap().into_value();
    assert_eq!(index.manifests, [amd64, s390x, about[0].clone(), about[2].clone()]);
}

#[tokio::test]
async fn one_platform_is_the_image_and_all_of_them_the_index_as_it_is() {
    let store = Memory::new();
    let root = images::two_platforms(&store);
    let image = &store.children(&root).await.unwrap()[1];
    assert_eq!(chosen(&store, &root, &["linux/arm64"], false).await.root, *image);
    assert_eq!(chosen(&store, &root, &[], false).await.root, root);
    assert_eq!(chosen(&store, &root, &["linux/arm64", "linux/amd64"], false).await.root, root);
    let twice = chosen(&store, &root, &["linux/arm64", "linux/arm64/v8"], false).await.root;
    let from = Remembered::new(&store);
    let none = select(&from, &root, &platforms(&["linux/amd64", "linux/s390x"]), false).await;
    assert_eq!(none.unwrap_err().kind(), Kind::NotFound);
    assert_ne!(twice.digest, root.digest);
}

#[tokio::test]
async fn a_sparse_index_keeps_its_bytes_and_names_what_comes_along() {
    let store = Memory::new();
    let [amd64, arm64] = [image(&store, "linux/amd64", 1), image(&store, "linux/arm64", 2)];
    let about = attestation(&store, &arm64);
    let root = images::index(&store, vec![amd64, arm64.clone(), about.clone()]);
    let selection = chosen(&store, &root, &["linux/arm64"], true).await;
    assert_eq!(selection.root, root);
    let expected = [root.digest, arm64.digest, about.digest];
    assert_eq!(selection.only.unwrap(), HashSet::from(expected));
}

#[tokio::test]
async fn nested_indexes_are_trimmed_too_and_empty_ones_go() {
    let store = Memory::new();
    let [v6, v7, amd64, s390x] =
        [("linux/arm/v6", 1), ("linux/arm/v7", 2), ("linux/amd64", 3), ("linux/s390x", 4)]
            .map(|(text, layers)| image(&store, text, layers));
    let mut arms = images::index(&store, vec![v6, v7.clone()]);
    arms.annotations.insert("a".into(), "b".into());
    let big = images::index(&store, vec![s390x]);
    let root = images::index(&store, vec![arms.clone(), big, amd64.clone()]);
    let from = Remembered::new(&store);
    let asked = platforms(&["linux/arm/v7", "linux/amd64"]);
    let root = select(&from, &root, &asked, false).await.unwrap().root;
    let children = from.children(&root).await.unwrap();
    assert_eq!((children.len(), &children[1]), (2, &amd64));
    assert_eq!(children[0].annotations, arms.annotations);
    assert_eq!(from.children(&children[0]).await.unwrap(), [v7]);
}

/// Two to the thirty paths, and a document that claims to be an index, end (rule J6).
#[tokio::test]
async fn hostile_indexes_end() {
    let store = Memory::new();
    let mut root = images::two_platforms(&store);
    for _ in 0..29 {
        root = images::index(&store, vec![root.clone(), root]);
    }
    let selection = chosen(&store, &root, &["linux/arm64", "linux/arm64/v8"], false).await;
    let from = Remembered::new(&store);
    assert_ne!(selection.root.digest, root.digest);
    assert!(matches!(from.manifest(&root).await.unwrap().value(), Manifest::Index(_)));
    let lie = store.add(MediaType::INDEX, Bytes::from_static(b"{}"));
    let asked = platforms(&["linux/amd64", "linux/arm64"]);
    assert!(select(&from, &lie, &asked, false).await.is_err());
}
