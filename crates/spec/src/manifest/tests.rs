use super::*;
use crate::error::Kind;

const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn descriptor(media_type: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{HEX}","size":2}}"#)
}

fn image(members: &str) -> String {
    let config = descriptor(MediaType::CONFIG.as_str());
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{members}}}"#)
}

fn index(members: &str) -> String {
    let entry = descriptor(MediaType::MANIFEST.as_str());
    format!(r#"{{"schemaVersion":2,"manifests":[{entry}]{members}}}"#)
}

fn parse(json: &str, media_type: Option<MediaType>) -> Result<Document<Manifest>> {
    Manifest::parse(json.to_owned(), media_type.as_ref())
}

#[test]
fn documents_without_a_media_type_are_known_by_their_shape() {
    assert_eq!(parse(&image(""), None).unwrap().media_type(), MediaType::MANIFEST);
    assert_eq!(parse(&index(""), None).unwrap().media_type(), MediaType::INDEX);
    let bytes = index("");
    assert_eq!(parse(&bytes, Some(MediaType::INDEX)).unwrap().bytes(), bytes.as_bytes());
}

#[test]
fn docker_documents_keep_their_type() {
    let list = index(r#","mediaType":"application/vnd.docker.distribution.manifest.list.v2+json""#);
    assert_eq!(parse(&list, None).unwrap().media_type(), MediaType::DOCKER_LIST);
    let manifest = image(r#","mediaType":"application/vnd.docker.distribution.manifest.v2+json""#);
    let parsed = parse(&manifest, Some(MediaType::DOCKER_MANIFEST)).unwrap();
    assert_eq!(parsed.as_descriptor().media_type, MediaType::DOCKER_MANIFEST);
}

#[test]
fn outside_document_and_shape_must_agree() {
    let own = |media_type: MediaType| format!(r#","mediaType":"{media_type}""#);
    for (json, outside) in [
        (image(r#","manifests":[]"#), None),
        (image(r#","manifests":null"#), None),
        (index(r#","layers":[]"#), None),
        (index(r#","config":{}"#), None),
        (index(r#","fsLayers":[]"#), None),
        (image(&own(MediaType::INDEX)), None),
        (index(&own(MediaType::MANIFEST)), None),
        (image(&own(MediaType::MANIFEST)), Some(MediaType::DOCKER_MANIFEST)),
        (image(""), Some(MediaType::INDEX)),
        (index(""), Some(MediaType::MANIFEST)),
        (image(""), Some(MediaType::CONFIG)),
        (image(""), Some(MediaType::DOCKER_SCHEMA1_SIGNED)),
        (image(&own(MediaType::new("application/json"))), None),
        ("{}".into(), None),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), None),
        ("[]".into(), None),
    ] {
        let err = parse(&json, outside.clone()).expect_err(&json);
        assert!(
            matches!(err.kind(), Kind::Invalid | Kind::Unsupported),
            "{json} {outside:?} {err}"
        );
    }
}

#[test]
fn members_must_be_there_and_of_their_kind() {
    for json in [
        image("").replace("2,", "\"2\","),
        image("").replace("2,", "2.0,"),
        image("").replace("2,", "3,"),
        image("").replace("[]", "null"),
        image("").replace(r#","layers":[]"#, ""),
        r#"{"schemaVersion":2,"config":null,"layers":[]}"#.into(),
        index("").replace("[", "{").replace("]", "}"),
        image(r#","annotations":{"a":1}"#),
    ] {
        assert!(parse(&json, None).is_err(), "{json}");
    }
}

#[test]
fn a_hundred_thousand_annotations_are_no_error() {
    let annotations: Vec<_> = (0..100_000).map(|n| format!("\"{n}\":\"\"")).collect();
    let json = index(&format!(",\"annotations\":{{{}}}", annotations.join(",")));
    assert_eq!(parse(&json, None).unwrap().annotations().len(), 100_000);
}

#[test]
fn unknown_members_and_types_are_no_error() {
    let json = index(r#","x":{"Layers":[]},"artifactType":"what/ever""#)
        .replace(MediaType::MANIFEST.as_str(), "application/xml");
    assert_eq!(parse(&json, None).unwrap().children().len(), 1);
}

#[test]
fn embedded_data_that_is_something_else_is_refused() {
    let with =
        |data: &str| image("").replace("\"size\":2", &format!("\"size\":2,\"data\":\"{data}\""));
    assert!(parse(&with("e30="), None).is_ok());
    assert!(parse(&with("W10="), None).is_err());
}

#[test]
fn an_edit_keeps_order_and_unknown_members() {
    let json = format!(
        r#"{{"x-first":1,"layers":[],"schemaVersion":2,"config":{},"annotations":{{"b":"1","a":"2"}}}}"#,
        descriptor("application/vnd.oci.image.config.v1+json")
            .replace("\"size\":2", "\"size\":2,\"x\":{}"),
    );
    let document = Document::<ImageManifest>::parse(json.clone()).unwrap();
    let same = document.edit(|_| ()).unwrap();
    assert_eq!(same.bytes(), json.as_bytes());
    let edited = document
        .edit(|manifest| {
            manifest.annotations.insert("c".into(), "3".into());
        })
        .unwrap();
    assert_eq!(edited.bytes(), json.replace(r#""a":"2""#, r#""a":"2","c":"3""#).as_bytes());
}

#[test]
fn referrers_take_the_type_of_the_config() {
    let manifest = parse(&image(""), None).unwrap();
    assert_eq!(manifest.referrer_type(), Some(&MediaType::CONFIG));
    assert_eq!(parse(&index(""), None).unwrap().referrer_type(), None);
}

/// An artifact manifest, as image-spec 1.1.0-rc1 wrote it.
fn artifact(members: &str) -> String {
    format!(r#"{{"mediaType":"{}"{members}}}"#, MediaType::DRAFT_ARTIFACT)
}

#[test]
fn the_draft_of_the_artifact_manifest_is_read() {
    let blob = descriptor("text/plain");
    let json = artifact(&format!(
        r#","artifactType":"a/b","blobs":[{blob}],"subject":{},"annotations":{{"k":"v"}},"x":1"#,
        descriptor(MediaType::MANIFEST.as_str())
    ));
    let manifest = parse(&json, Some(MediaType::DRAFT_ARTIFACT)).unwrap();
    assert_eq!(manifest.bytes(), json.as_bytes());
    assert_eq!(manifest.media_type(), MediaType::DRAFT_ARTIFACT);
    assert_eq!(manifest.children().len(), 1);
    assert_eq!(manifest.annotations()["k"], "v");
    assert_eq!(manifest.referrer_type(), Some(&MediaType::new("a/b")));
    assert_eq!(manifest.subject().unwrap().media_type, MediaType::MANIFEST);
    assert!(parse(&artifact(""), None).unwrap().children().is_empty());
    assert!(parse(r#"{"blobs":[]}"#, Some(MediaType::DRAFT_ARTIFACT)).is_ok());
    assert!(manifest.into_value().into_image().is_err());
}

#[test]
fn an_artifact_manifest_is_nothing_else() {
    for (json, outside) in [
        (r#"{"blobs":[]}"#.to_owned(), None),
        (artifact(r#","layers":[]"#), None),
        (artifact(r#","manifests":[]"#), None),
        (artifact(r#","fsLayers":[]"#), None),
        (artifact(""), Some(MediaType::MANIFEST)),
        (artifact(r#","blobs":[{}]"#), None),
        (artifact(r#","Blobs":[]"#), None),
        (image(""), Some(MediaType::DRAFT_ARTIFACT)),
        (index(""), Some(MediaType::DRAFT_ARTIFACT)),
    ] {
        assert!(parse(&json, outside.clone()).is_err(), "{json} as {outside:?}");
    }
}

#[test]
fn documents_of_the_first_proposal_are_read() {
    let own =
        |media_type: MediaType| format!(r#","mediaType":"{media_type}","artifactType":"x/y""#);
    for (json, media_type) in [
        (index(&own(MediaType::DRAFT_INDEX)), MediaType::DRAFT_INDEX),
        (index(&own(MediaType::EARLY_LIST)), MediaType::EARLY_LIST),
        (image(&own(MediaType::DRAFT_MANIFEST)), MediaType::DRAFT_MANIFEST),
    ] {
        let found = parse(&json, Some(media_type.clone())).unwrap();
        assert_eq!((found.media_type(), found.bytes()), (media_type, &Bytes::from(json)));
    }
    assert!(parse(&image(&own(MediaType::DRAFT_INDEX)), None).is_err());
    assert!(parse(&index(&own(MediaType::DRAFT_MANIFEST)), None).is_err());
}

#[test]
fn a_schema_version_may_be_any_value_and_is_no_reason_to_build_it() {
    let huge = format!("[{}0]", r#"{"a":[1.5,true,null,"x",-1]},"#.repeat(1000));
    for version in [huge.as_str(), "null", "-1", r#""1""#, "{}"] {
        let json = index("").replace("2,", &format!("{version},"));
        assert_eq!(parse(&json, None).unwrap_err().kind(), Kind::Invalid, "{version:.20}");
    }
    let first = index("").replace("2,", "1,");
    assert_eq!(parse(&first, None).unwrap_err().kind(), Kind::Unsupported);
}
