use super::*;
use crate::artifact;
use crate::descriptor::Descriptor;
use crate::document::Document;
use crate::manifest::{ImageIndex, ImageManifest};

fn blob(media_type: MediaType) -> Descriptor {
    Descriptor::of(media_type, b"content")
}

fn document<T: crate::document::Format>(
    value: T,
    form: impl FnOnce(T) -> Manifest,
) -> Document<Manifest> {
    Document::new(value).unwrap().map(form)
}

fn image() -> ImageManifest {
    ImageManifest::new(
        blob(MediaType::CONFIG),
        vec![blob(MediaType::LAYER_GZIP), blob(MediaType::LAYER_ZSTD), blob(MediaType::LAYER)],
    )
}

#[test]
fn every_row_goes_both_ways() {
    for row in MATRIX {
        let (oci, docker) = (MediaType::new(row.oci), MediaType::new(row.docker));
        assert_eq!(oci.role(), docker.role(), "{oci}");
        assert_ne!(oci.role(), crate::media_type::Role::Other, "{oci}");
        assert_eq!(oci.is_distributable(), docker.is_distributable(), "{oci}");
        assert_eq!((to_oci(&docker), to_docker(&oci).unwrap()), (oci.clone(), docker.clone()));
        assert_eq!((to_oci(&oci), to_docker(&docker).unwrap()), (oci.clone(), docker.clone()));
        assert_eq!(row_of(&docker).unwrap().oci, row_of(&oci).unwrap().oci);
    }
}

#[test]
fn unknown_types_stay_in_oci_and_are_none_of_docker() {
    let helm = MediaType::new("application/vnd.cncf.helm.config.v1+json");
    assert_eq!(to_oci(&helm), helm);
    for none in [helm, MediaType::EMPTY, MediaType::DOCKER_SCHEMA1] {
        assert_eq!(to_docker(&none).unwrap_err().kind(), Kind::Unsupported);
    }
    assert_eq!(to_docker(&MediaType::DRAFT_LAYER_GZIP).unwrap(), MediaType::DOCKER_LAYER_GZIP);
    assert_eq!(to_oci(&MediaType::EARLY_LIST), MediaType::INDEX);
}

#[test]
fn an_image_goes_to_docker_and_back_without_a_loss() {
    let oci = document(image(), Manifest::Image);
    let docker = convert(&oci, Dialect::Docker, &Renewed::new()).unwrap();
    assert!(docker.lost.is_empty() && !docker.needs_empty);
    assert_eq!(docker.document.media_type(), MediaType::DOCKER_MANIFEST);
    let types: Vec<_> = docker.document.children().iter().map(|c| c.media_type.clone()).collect();
    assert_eq!(
        types,
        [
            MediaType::DOCKER_CONFIG,
            MediaType::DOCKER_LAYER_GZIP,
            MediaType::DOCKER_LAYER_ZSTD,
            MediaType::DOCKER_LAYER
        ]
    );
    assert!(is_of(&docker.document, Dialect::Docker) && !is_of(&docker.document, Dialect::Oci));
    let back = convert(&docker.document, Dialect::Oci, &Renewed::new()).unwrap();
    assert_eq!(back.document.bytes(), oci.bytes());
    let read = Manifest::parse(docker.document.bytes().clone(), Some(&MediaType::DOCKER_MANIFEST));
    assert!(read.is_ok());
}

/// Fills every place that the table names, and finds each of them listed as lost.
#[test]
fn what_docker_has_no_place_for_is_listed() {
    let full = |mut descriptor: Descriptor| {
        descriptor.annotations.insert("k".into(), "v".into());
        descriptor.urls.push("https://example.com/".into());
        descriptor.data = Some("Y29udGVudA==".into());
        descriptor.artifact_type = Some(MediaType::new("a/b"));
        descriptor
    };
    let mut image = image();
    image.annotations.insert("k".into(), "v".into());
    image.artifact_type = Some(MediaType::new("a/b"));
    image.subject = Some(blob(MediaType::MANIFEST));
    image.config = full(image.config);
    image.layers = image.layers.into_iter().map(full).collect();
    image.extra.insert("x".into(), 1.into());
    let mut index = ImageIndex::new(vec![full(blob(MediaType::MANIFEST))]);
    index.annotations.insert("k".into(), "v".into());
    index.artifact_type = Some(MediaType::new("a/b"));
    index.subject = Some(blob(MediaType::MANIFEST));
    for document in [document(image, Manifest::Image), document(index, Manifest::Index)] {
        let row = row_of(&document.media_type()).unwrap();
        let converted = convert(&document, Dialect::Docker, &Renewed::new()).unwrap();
        assert_eq!(converted.lost, row.only_oci);
        let text = std::str::from_utf8(converted.document.bytes()).unwrap();
        for gone in ["annotations", "subject", "artifactType", "data"] {
            assert!(!text.contains(&format!("\"{gone}\"")), "{gone} in {text}");
        }
        assert!(convert(&document, Dialect::Oci, &Renewed::new()).unwrap().lost.is_empty());
    }
}

#[test]
fn foreign_layers_keep_their_urls() {
    let mut layer = blob(MediaType::FOREIGN_LAYER_GZIP);
    layer.urls.push("https://example.com/layer".into());
    let image = ImageManifest::new(blob(MediaType::CONFIG), vec![layer.clone()]);
    let converted =
        convert(&document(image, Manifest::Image), Dialect::Docker, &Renewed::new()).unwrap();
    let found = converted.document.children()[1].clone();
    assert_eq!((found.urls, found.media_type), (layer.urls, MediaType::DOCKER_FOREIGN_LAYER_GZIP));
}

#[test]
fn an_index_follows_its_images() {
    let child = document(image(), Manifest::Image);
    let new_child = convert(&child, Dialect::Docker, &Renewed::new()).unwrap().document;
    let mut entry = child.as_descriptor();
    entry.platform = Some("linux/arm64".parse().unwrap());
    let index = document(ImageIndex::new(vec![entry.clone()]), Manifest::Index);
    let renewed = Renewed::from([(entry.digest.clone(), new_child.as_descriptor())]);
    let list = convert(&index, Dialect::Docker, &renewed).unwrap().document;
    let expected = Descriptor { platform: entry.platform, ..new_child.as_descriptor() };
    assert_eq!(list.children(), [&expected]);
    assert_eq!(list.media_type(), MediaType::DOCKER_LIST);
}

#[test]
fn docker_has_no_artifacts_and_no_nested_lists() {
    let odd_layer = ImageManifest::new(blob(MediaType::CONFIG), vec![blob(MediaType::new("a/b"))]);
    let artifact = artifact::manifest(MediaType::new("a/b"), artifact::Content::Nothing).unwrap();
    for document in [
        document(artifact, Manifest::Image),
        document(odd_layer, Manifest::Image),
        document(ImageIndex::new(vec![blob(MediaType::INDEX)]), Manifest::Index),
        document(ImageIndex::new(vec![blob(MediaType::new("a/b"))]), Manifest::Index),
    ] {
        let err = convert(&document, Dialect::Docker, &Renewed::new()).unwrap_err();
        assert_eq!(err.kind(), Kind::Unsupported, "{err}");
        assert!(convert(&document, Dialect::Oci, &Renewed::new()).is_ok());
    }
}
