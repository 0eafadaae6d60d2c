use super::*;
use crate::descriptor::Descriptor;
use crate::document::Document;
use crate::manifest::{ImageIndex, ImageManifest};
use crate::renewed::Renewed;

fn blob(media_type: MediaType, text: &str) -> Descriptor {
    Descriptor::of(media_type, text.as_bytes())
}

fn part(media_type: MediaType, part: usize, text: &str) -> Descriptor {
    Descriptor { artifact_type: Some(MediaType::new(IMAGE_PARTS[part])), ..blob(media_type, text) }
}

/// An image as the first proposal wrote it.
fn proposed_image() -> Document<Manifest> {
    let mut image = ImageManifest::new(
        part(MediaType::DRAFT_CONFIG, 2, "config"),
        vec![part(MediaType::DRAFT_LAYER_GZIP, 3, "layer")],
    );
    image.media_type = Some(MediaType::DRAFT_MANIFEST);
    image.artifact_type = Some(MediaType::new(IMAGE_PARTS[1]));
    image.extra.insert("x-unknown".into(), serde_json::json!({"b": 1, "a": null}));
    Document::new(image).unwrap().map(Manifest::Image)
}

fn proposed_index(entry: Descriptor) -> Document<Manifest> {
    let mut entry = entry;
    entry.artifact_type = Some(MediaType::new(IMAGE_PARTS[1]));
    entry.platform = Some("linux/arm/v5".parse().unwrap());
    let mut index = ImageIndex::new(vec![entry]);
    index.media_type = Some(MediaType::DRAFT_INDEX);
    index.artifact_type = Some(MediaType::new(IMAGE_PARTS[0]));
    Document::new(index).unwrap().map(Manifest::Index)
}

fn artifact(members: &str) -> Document<Manifest> {
    let json = format!(r#"{{"mediaType":"{}"{members}}}"#, MediaType::DRAFT_ARTIFACT);
    Manifest::parse(json, None).unwrap()
}

fn places(document: &Document<Manifest>) -> Vec<(String, Draft)> {
    traces(document.value()).into_iter().map(|trace| (trace.place, trace.draft)).collect()
}

#[test]
fn every_draft_type_becomes_a_type_of_today_with_the_same_role() {
    for (_, old, modern) in TYPES {
        assert_eq!(Draft::of(&modern), None, "{modern}");
        if old != MediaType::DRAFT_ARTIFACT {
            assert_eq!(old.role(), modern.role(), "{old}");
        }
    }
    assert_eq!(Draft::of(&MediaType::DOCKER_LAYER_GZIP), None);
}

#[test]
fn traces_name_the_place_the_draft_and_the_modern_form() {
    let proposal = |place: &str| (place.to_owned(), Draft::Proposal);
    let image = proposed_image();
    assert_eq!(
        places(&image),
        [
            proposal("/mediaType"),
            proposal("/artifactType"),
            proposal("/config/mediaType"),
            proposal("/config/artifactType"),
            proposal("/layers/0/mediaType"),
            proposal("/layers/0/artifactType"),
        ]
    );
    let lines: Vec<_> = traces(image.value()).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines[0],
        "/mediaType is application/vnd.oci.manifest.v1+json of the first proposal of artifacts in \
         registries, now application/vnd.oci.image.manifest.v1+json"
    );
    assert!(lines[1].ends_with("now left out"), "{}", lines[1]);
    let old = Manifest::parse(r#"{"schemaVersion":2,"manifests":[]}"#, None).unwrap();
    assert_eq!(places(&old), [("/mediaType".into(), Draft::Untyped)]);
    let json = serde_json::to_value(traces(old.value())).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "place": "/mediaType", "draft": "image-spec 1.0", "modern": MediaType::INDEX.as_str()
        }])
    );
}

#[test]
fn documents_of_today_and_of_docker_have_no_traces_and_keep_their_bytes() {
    let config = serde_json::to_string(&blob(MediaType::CONFIG, "")).unwrap();
    for media_type in [MediaType::MANIFEST, MediaType::DOCKER_MANIFEST] {
        let json = format!(
            "{{ \"schemaVersion\": 2, \"mediaType\":\"{media_type}\",\n\"config\":{config}, \"layers\":[]}}"
        );
        let document = Manifest::parse(json, None).unwrap();
        assert!(traces(document.value()).is_empty());
        let rewritten = rewrite(&document, &Renewed::new()).unwrap();
        assert_eq!(rewritten.document.bytes(), document.bytes());
        assert!(!rewritten.needs_empty);
    }
}

#[test]
fn an_index_of_the_proposal_is_rewritten_from_its_images_up() {
    let image = proposed_image();
    let index = proposed_index(image.as_descriptor());
    assert_eq!(index.children()[0].media_type, MediaType::DRAFT_MANIFEST);

    let new_image = rewrite(&image, &Renewed::new()).unwrap();
    let expected =
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"#;
    assert!(new_image.document.bytes().starts_with(expected.as_bytes()), "{new_image:?}");
    assert!(new_image.document.bytes().ends_with(br#""x-unknown":{"b":1,"a":null}}"#));

    let old_digest = image.digest();
    let renewed = Renewed::from([(old_digest, new_image.descriptor())]);
    let new_index = rewrite(&index, &renewed).unwrap();
    let entry = new_index.document.children()[0].clone();
    assert_eq!(entry.digest, new_image.document.digest());
    assert_eq!((entry.artifact_type, entry.media_type), (None, MediaType::MANIFEST));
    assert_eq!(entry.platform.unwrap().to_string(), "linux/arm/v5");
    for document in [&new_image.document, &new_index.document] {
        assert!(traces(document.value()).is_empty(), "{document:?}");
        let own = document.media_type();
        let read = Manifest::parse(document.bytes().clone(), Some(&own)).unwrap();
        assert_eq!(read.value(), document.value());
        let again = rewrite(document, &Renewed::new()).unwrap();
        assert_eq!(again.document.bytes(), document.bytes());
    }
}

#[test]
fn an_artifact_manifest_becomes_an_image_manifest() {
    let file = serde_json::to_string(&blob(MediaType::new("text/plain"), "file")).unwrap();
    let subject = blob(MediaType::DRAFT_MANIFEST, "subject");
    let renewed_subject = blob(MediaType::MANIFEST, "new subject");
    let document = artifact(&format!(
        r#","artifactType":"a/b","blobs":[{file}],"subject":{},"annotations":{{"k":"v"}},"x":[1]"#,
        serde_json::to_string(&subject).unwrap()
    ));
    let renewed = Renewed::from([(subject.digest, renewed_subject.clone())]);
    let rewritten = rewrite(&document, &renewed).unwrap();
    assert!(rewritten.needs_empty);
    assert_eq!(rewritten.descriptor().artifact_type, Some(MediaType::new("a/b")));
    let image = rewritten.document.into_value().into_image().unwrap();
    assert_eq!(image.artifact_type(), &MediaType::new("a/b"));
    assert_eq!(image.config, Descriptor::empty().bare());
    assert_eq!(image.layers, [blob(MediaType::new("text/plain"), "file")]);
    assert_eq!(image.subject, Some(renewed_subject));
    assert_eq!(
        (image.annotations["k"].as_str(), &image.extra["x"]),
        ("v", &serde_json::json!([1]))
    );
}

#[test]
fn an_artifact_manifest_may_lack_nearly_everything() {
    let rewritten = rewrite(&artifact(""), &Renewed::new()).unwrap();
    let image = rewritten.document.into_value().into_image().unwrap();
    assert_eq!(image.artifact_type, Some(MediaType::UNKNOWN_ARTIFACT));
    assert_eq!(image.layers, [Descriptor::empty().bare()]);
    assert!(rewrite(&artifact(r#","artifactType":"no type""#), &Renewed::new()).is_err());
}

#[test]
fn documents_without_a_media_type_get_theirs() {
    let json = r#"{"schemaVersion":2,"manifests":[],"x":1.0}"#;
    let document = Manifest::parse(json, None).unwrap();
    let rewritten = rewrite(&document, &Renewed::new()).unwrap().document;
    let expected = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[],"x":1.0}}"#,
        MediaType::INDEX
    );
    assert_eq!(rewritten.bytes(), expected.as_bytes());
}
