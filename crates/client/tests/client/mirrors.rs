//! Names that a `registries.conf` sends elsewhere: mirrors, other locations, blocked registries.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::sync::Arc;

use bytes::Bytes;
use common::fake::{Fake, Reply, Request, Step, bare, head, reply};
use common::{Notes, all, blob, noise, quick, stream};
use conex_client::{Client, Credentials, Options, RegistryFiles, Repository, Secret};
use conex_spec::{Descriptor, Error, Kind, MediaType, Name, Tag};
use conex_store::source::Place;
use conex_store::{Sink, Source, SourceExt};
use futures_util::TryStreamExt;

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const INDEX: &str = "Content-Type: application/vnd.oci.image.index.v1+json";

fn root() -> Descriptor {
    Descriptor::of(MediaType::INDEX, MANIFEST.as_bytes())
}

fn tag() -> Name {
    Name::Tag(Tag::new("v1").unwrap())
}

/// A registry with one manifest under `v1`, and blobs.
fn serving(blobs: Vec<Bytes>) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| {
        let target = request.target.as_str();
        if target == "/v2/" {
            return Vec::new();
        }
        if target.ends_with("/manifests/v1") || target.ends_with(root().digest.as_str()) {
            let digest = format!("Docker-Content-Digest: {}", root().digest);
            let length = format!("Content-Length: {}", MANIFEST.len());
            return match request.method.as_str() {
                "HEAD" => bare(200, &[INDEX, &digest, &length]),
                _ => reply(200, &[INDEX, &digest], MANIFEST),
            };
        }
        match blobs.iter().find(|bytes| target.ends_with(blob(bytes).digest.as_str())) {
            Some(bytes) if request.method == "HEAD" => {
                bare(200, &[&format!("Content-Length: {}", bytes.len())])
            }
            Some(bytes) => match request.range() {
                Some((first, last)) => {
                    let range = format!("Content-Range: bytes {first}-{last}/{}", bytes.len());
                    reply(206, &[&range], &bytes[first..=last])
                }
                None => reply(200, &[], bytes),
            },
            None if request.method == "HEAD" => bare(404, &[]),
            None => reply(404, &[], ""),
        }
    }
}

fn missing(request: &Request) -> Reply {
    if request.target == "/v2/" { Vec::new() } else { reply(404, &[], "") }
}

/// An address where nobody listens.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

struct World {
    client: Client,
    notes: Arc<Notes>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(text: &str) -> Self {
        Self::with(text, |_| {})
    }

    fn with(text: &str, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("registries.conf");
        std::fs::write(&main, text).unwrap();
        let (mut options, notes) = quick();
        options.registries = RegistryFiles { main: Some(main), ..RegistryFiles::default() };
        change(&mut options);
        Self { client: Client::new(options), notes, _dir: dir }
    }

    fn repository(&self, name: &str) -> Repository {
        self.client.repository(&name.parse().unwrap())
    }
}

/// `registry.example/app` is at `primary`, and first at `mirrors`, each with what it says besides.
fn conf(primary: &str, mirrors: &[(&str, &str)]) -> String {
    let mut text = format!("[[registry]]\nprefix='registry.example/app'\nlocation='{primary}/a'\n");
    for (mirror, more) in mirrors {
        text += &format!("[[registry.mirror]]\nlocation='{mirror}/m'\n{more}\n");
    }
    text
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order_and_the_rest_where_the_name_says() {
    let (one, two) = (noise(300_000), noise(2000));
    let (dead, empty) = (nobody(), Fake::start(missing).await);
    let mirror = Fake::start(serving(vec![one.clone()])).await;
    let primary = Fake::start(serving(vec![one.clone(), two.clone()])).await;
    let mirrors = [(&*dead, ""), (&*empty.address, ""), (&*mirror.address, "")];
    let world = World::new(&conf(&primary.address, &mirrors));
    let source = world.repository("registry.example/app");
    assert_eq!(source.location().to_string(), "registry.example/app");
    assert_eq!(source.resolve(Some(&tag())).await.unwrap(), root());
    assert_eq!(source.read(&root()).await.unwrap(), MANIFEST);
    for bytes in [&one, &two] {
        assert_eq!(all(source.fetch(&blob(bytes)).await.unwrap()).await.unwrap(), *bytes);
    }
    let lines = primary.lines();
    assert_eq!(lines, [format!("GET /v2/a/blobs/{}", blob(&two).digest)]);
    assert_eq!(empty.lines().len(), 5, "it is asked each time: {:?}", empty.lines());
    let told = world.notes.warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&dead) && told[0].contains("passed over"), "{told:?}");
    assert!(told[0].contains("registries.conf, line 4"), "{told:?}");
}

#[tokio::test]
async fn pushes_go_where_the_name_says() {
    let bytes = noise(1000);
    let take = |request: &Request| match request.method.as_str() {
        "POST" => reply(202, &["Location: /up"], ""),
        "PUT" => reply(201, &[], ""),
        _ => missing(request),
    };
    let (named, moved, mirror) =
        (Fake::start(take).await, Fake::start(missing).await, Fake::start(missing).await);
    let text = format!(
        "[[registry]]\nprefix='{}'\nlocation='{}'\n[[registry.mirror]]\nlocation='{}'\n",
        named.address, moved.address, mirror.address
    );
    let world = World::new(&text);
    let sink = world.repository(&named.reference("a"));
    assert!(!sink.has(&blob(&bytes)).await.unwrap());
    sink.put(&blob(&bytes), stream(&bytes, 100)).await.unwrap();
    assert_eq!(named.seen().len(), 3);
    assert!(moved.seen().is_empty() && mirror.seen().is_empty());
    assert!(sink.resolve(None).await.is_err());
    assert_eq!(named.seen().len(), 3);
    assert!(!moved.seen().is_empty() && !mirror.seen().is_empty());
}

#[tokio::test]
async fn who_may_be_asked_for_a_tag() {
    for (more, tags, content) in [
        ("pull-from-mirror='digest-only'", 0, 1),
        ("pull-from-mirror='tag-only'", 1, 1),
        ("pull-from-mirror='all'", 1, 1),
    ] {
        let mirror = Fake::start(serving(Vec::new())).await;
        let primary = Fake::start(serving(Vec::new())).await;
        let world = World::new(&conf(&primary.address, &[(&mirror.address, more)]));
        let source = world.repository("registry.example/app");
        source.resolve(Some(&tag())).await.unwrap();
        assert_eq!(mirror.seen().len(), tags, "{more}");
        assert_eq!(primary.seen().len(), 1 - tags, "{more}");
        source.read(&root()).await.unwrap();
        assert_eq!(mirror.seen().len(), tags + content, "{more}");
    }
    // Who comes by digest does not ask a mirror that is for tags.
    let mirror = Fake::start(serving(Vec::new())).await;
    let primary = Fake::start(serving(Vec::new())).await;
    let tags = [(&*mirror.address, "pull-from-mirror='tag-only'")];
    let world = World::new(&conf(&primary.address, &tags));
    let source = world.repository("registry.example/app");
    source.resolve(Some(&Name::Digest(root().digest))).await.unwrap();
    source.read(&root()).await.unwrap();
    assert!(mirror.seen().is_empty());
}

/// A mirror that answers with other content is found out (rule C11).
#[tokio::test]
async fn a_mirror_that_lies() {
    let (small, large) = (noise(5000), noise(5 << 20));
    let lie = move |request: &Request| {
        let target = request.target.as_str();
        match () {
            () if target == "/v2/" => Vec::new(),
            () if target.contains("/manifests/") => {
                reply(200, &[INDEX], MANIFEST.replace("[]", "[ ]"))
            }
            () if target.ends_with(blob(&noise(5000)).digest.as_str()) => {
                reply(200, &[], vec![7; 5000])
            }
            () => reply(200, &[], vec![7; 5 << 20]),
        }
    };
    let mirror = Fake::start(lie).await;
    let primary = Fake::start(serving(vec![small.clone(), large.clone()])).await;
    let world = World::new(&conf(&primary.address, &[(&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    assert_eq!(all(source.fetch(&blob(&small)).await.unwrap()).await.unwrap(), small);
    assert_eq!(source.read(&root()).await.unwrap(), MANIFEST);
    let told = world.notes.warnings();
    assert!(told.len() == 1 && told[0].contains(&mirror.address), "{told:?}");
    // What is too large to be held is out before it shows: who reads it says so, and reads it again.
    let world =
        World::new(&conf(&primary.address, &[(&mirror.address, ""), (&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    for _mirror in 0..2 {
        let err = all(source.fetch(&blob(&large)).await.unwrap()).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Mismatch, "{err}");
        assert!(source.distrust(&blob(&large), &err));
    }
    assert_eq!(all(source.fetch(&blob(&large)).await.unwrap()).await.unwrap(), large);
    assert!(!source.distrust(&blob(&large), &Error::new(Kind::Mismatch, "the last place")));
    let told = world.notes.warnings();
    assert!(told.len() == 2 && told[0].contains("passed over"), "{told:?}");
    assert_eq!(told[0].matches("found").count(), 1, "{told:?}");
}

/// A large document is no exception.
#[tokio::test]
async fn a_mirror_that_lies_about_a_document() {
    let large = noise(5 << 20);
    let mirror = Fake::start(|request| match () {
        () if request.target == "/v2/" => Vec::new(),
        () => reply(200, &[], vec![7; 5 << 20]),
    })
    .await;
    let primary = Fake::start(serving(vec![large.clone()])).await;
    let world = World::new(&conf(&primary.address, &[(&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    assert_eq!(source.read(&blob(&large)).await.unwrap(), large);
}

/// Where a mirror breaks off for good, the rest comes from where the name says.
#[tokio::test]
async fn a_mirror_that_breaks_off() {
    let bytes = noise(5 << 20);
    let served = bytes.clone();
    let mirror = Fake::start(move |request| match request.count {
        _ if request.target == "/v2/" => Vec::new(),
        0 => {
            let length = format!("Content-Length: {}", served.len());
            vec![
                Step::Send(head(200, &[&length])),
                Step::Send(served[..3_000_000].to_vec()),
                Step::Reset,
            ]
        }
        _ => vec![Step::Reset],
    })
    .await;
    let primary = Fake::start(serving(vec![bytes.clone()])).await;
    let world = World::new(&conf(&primary.address, &[(&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    assert_eq!(all(source.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    let (first, last) = primary.seen()[0].range().unwrap();
    assert!(first > 0 && first <= 3_000_000 && last == bytes.len() - 1);
    assert_eq!(world.notes.warnings().len(), 1);
}

#[tokio::test]
async fn lists_come_from_where_the_name_says() {
    let list = |request: &Request| match () {
        () if request.target.contains("/tags/list") => reply(200, &[], r#"{"tags":["a"]}"#),
        () => missing(request),
    };
    let (mirror, primary) = (Fake::start(missing).await, Fake::start(list).await);
    let world = World::new(&conf(&primary.address, &[(&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    let tags: Vec<Tag> = source.tags().try_collect().await.unwrap();
    assert_eq!(tags.len(), 1);
    assert!(source.referrers(&root().digest).await.unwrap().is_empty());
    assert!(mirror.seen().is_empty());
    // Where that place cannot be reached, a mirror's referrers are better than none.
    let mirror = Fake::start(|request| match () {
        () if request.target == "/v2/" => Vec::new(),
        () => reply(200, &[INDEX], MANIFEST),
    })
    .await;
    let world = World::new(&conf(&nobody(), &[(&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    assert!(source.referrers(&root().digest).await.unwrap().is_empty());
    assert!(world.notes.warnings()[0].contains("of a mirror"), "{:?}", world.notes.all());
}

/// A prefix with a tag moves that image alone: the list of tags is the repository's.
#[tokio::test]
async fn one_image_elsewhere_moves_no_list() {
    let list = |request: &Request| match () {
        () if request.target.contains("/tags/list") => reply(200, &[], r#"{"tags":["a"]}"#),
        () => serving(Vec::new())(request),
    };
    let (here, there) = (Fake::start(list).await, Fake::start(serving(Vec::new())).await);
    let text = format!(
        "[[registry]]\nprefix='{}'\nlocation='{}'\n",
        here.reference("app:latest"),
        there.reference("app:v1")
    );
    let world = World::new(&text);
    let whole = world.repository(&here.reference("app"));
    let tags: Vec<Tag> = whole.tags().try_collect().await.unwrap();
    assert_eq!((tags.len(), there.seen().len()), (1, 0));
    let latest = world.repository(&here.reference("app:latest"));
    assert_eq!(latest.resolve(None).await.unwrap(), root());
    assert_eq!(there.lines(), ["HEAD /v2/app/manifests/v1"]);
}

/// Questions for a single thing go to the mirrors as reading it does.
#[tokio::test]
async fn digests_and_blobs_are_looked_for_at_mirrors_too() {
    let bytes = noise(2000);
    let mirror = Fake::start(serving(vec![bytes.clone()])).await;
    let primary = Fake::start(missing).await;
    let world = World::new(&conf(&primary.address, &[(&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    assert_eq!(source.digest_of(&tag()).await.unwrap(), root().digest);
    assert_eq!(source.digest_of(&Name::Digest(root().digest)).await.unwrap(), root().digest);
    assert_eq!(source.find_blob(&blob(&bytes).digest).await.unwrap().size, 2000);
    assert!(primary.seen().is_empty(), "{:?}", primary.lines());
    let err = source.find_blob(&blob(b"other").digest).await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
    assert_eq!((mirror.seen().len(), primary.seen().len()), (4, 1));
}

#[tokio::test]
async fn tags_of_a_mirror_where_the_named_place_is_gone() {
    let mirror = Fake::start(|request| match () {
        () if request.target == "/v2/" => Vec::new(),
        () => reply(200, &[], r#"{"tags":["a","b"]}"#),
    })
    .await;
    let world = World::new(&conf(&nobody(), &[(&nobody(), ""), (&mirror.address, "")]));
    let source = world.repository("registry.example/app");
    let tags: Vec<Tag> = source.tags().try_collect().await.unwrap();
    assert_eq!(tags, ["a", "b"].map(|tag| Tag::new(tag).unwrap()));
    let told = world.notes.warnings();
    assert!(told.iter().any(|text| text.contains("tags is that of a mirror")), "{told:?}");
}

#[tokio::test]
async fn what_is_blocked_is_not_asked() {
    let fake = Fake::start(missing).await;
    let text = format!("\n[[registry]]\nlocation='{}/bad'\nblocked=true\n", fake.address);
    let world = World::new(&text);
    let (bad, good) = (world.repository(&fake.reference("bad/x")), fake.reference("good"));
    let bytes = noise(10);
    let faults = [
        bad.resolve(None).await.unwrap_err(),
        bad.read(&root()).await.unwrap_err(),
        bad.has(&root()).await.unwrap_err(),
        bad.put(&blob(&bytes), stream(&bytes, 10)).await.unwrap_err(),
        bad.referrers(&root().digest).await.unwrap_err(),
        bad.tags().try_collect::<Vec<_>>().await.unwrap_err(),
    ];
    for err in faults {
        assert_eq!(err.kind(), Kind::Denied);
        let told = format!("{err} {}", err.found_value().unwrap());
        assert!(told.contains("bad/x is blocked"), "{told}");
        assert!(told.contains("registries.conf, line 2"), "{told}");
        assert!(err.hint_text().is_some());
    }
    assert!(fake.seen().is_empty());
    assert_eq!(world.repository(&good).resolve(None).await.unwrap_err().kind(), Kind::NotFound);
}

/// One image is read elsewhere, under another tag; its neighbours are where they say.
#[tokio::test]
async fn a_tag_can_be_another_one_elsewhere() {
    let bytes = noise(1000);
    let (here, there) =
        (Fake::start(missing).await, Fake::start(serving(vec![bytes.clone()])).await);
    let prefix = here.reference("app:latest");
    let text = format!("[[registry]]\nprefix='{prefix}'\nlocation='{}/a:v1'\n", there.address);
    let world = World::new(&text);
    let source = world.repository(&here.reference("app:latest"));
    assert_eq!(source.resolve(Some(&Name::Tag(Tag::latest()))).await.unwrap(), root());
    assert_eq!(all(source.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(there.count("/v2/a/manifests/v1"), 1, "{:?}", there.lines());
    assert!(here.seen().is_empty());
    let other = world.repository(&here.reference("app:v1"));
    assert_eq!(other.resolve(Some(&tag())).await.unwrap_err().kind(), Kind::NotFound);
    assert!(!here.seen().is_empty());
}

#[tokio::test]
async fn a_broken_file_is_the_fault_of_every_request() {
    let fake = Fake::start(missing).await;
    let world = World::new("a = 1\n[[registry]\n");
    for _ in 0..2 {
        let err = world.repository(&fake.reference("a")).resolve(None).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Invalid);
        assert!(err.message().contains("registries.conf, line 2: "), "{err}");
    }
    assert!(fake.seen().is_empty());
}

/// What all places fail at is the fault of the last, and says that others were tried.
#[tokio::test]
async fn who_was_tried_is_told() {
    let (mirror, primary) = (nobody(), nobody());
    let world = World::new(&conf(&primary, &[(&mirror, "")]));
    let err = world.repository("registry.example/app").resolve(None).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Network);
    assert!(err.message().contains(&primary), "{err}");
    assert!(err.message().contains("registries.conf, line 1"), "{err}");
    assert_eq!(
        err.found_value(),
        Some("the mirrors that were asked before it did not serve it either")
    );
    assert!(err.hint_text().unwrap().contains("check the port"), "{err:?}");
    assert!(world.notes.warnings()[0].contains(&mirror));
}

/// Rules C1 and C13: a mirror sees no login of the registry that it stands for, nor the reverse.
#[tokio::test]
async fn each_place_has_its_own_login() {
    let asks = |request: &Request| match () {
        () if request.target == "/v2/" => Vec::new(),
        () if request.header("authorization").is_none() => {
            reply(401, &["WWW-Authenticate: Basic realm=x"], "")
        }
        () => missing(request),
    };
    let (mirror, primary) = (Fake::start(asks).await, Fake::start(asks).await);
    let text = conf(&primary.address, &[(&mirror.address, "")]);
    let world = World::with(&text, |options| {
        let mut credentials = Credentials::anonymous();
        for (host, password) in [
            ("registry.example", "canary-name"),
            (&mirror.address, "canary-mirror"),
            (&primary.address, "canary-primary"),
        ] {
            credentials = credentials.with_password(host, "u", Secret::new(password), "the test");
        }
        options.credentials = credentials;
    });
    assert!(world.repository("registry.example/app").resolve(None).await.is_err());
    for (fake, own, others) in [
        (&mirror, "canary-mirror", ["canary-name", "canary-primary"]),
        (&primary, "canary-primary", ["canary-name", "canary-mirror"]),
    ] {
        assert!(fake.count(&basic(own)) > 0, "{own}");
        assert!(others.iter().all(|other| fake.count(&basic(other)) == 0));
    }
}

fn basic(password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("u:{password}"))
}
