//! What a copy carries and what it costs: platforms, tags, names, what belongs to an image, and the
//! requests that all of it takes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use conex_client::{Client, Options};
use conex_ops::copy::With;
use conex_ops::copy::request::{Report, Request, run};
use conex_ops::copy::tags::TagFilter;
use conex_ops::{Context, CopyOptions, copy};
use conex_server::{Config, Server};
use conex_spec::{
    Descriptor, Document, Error, ImageManifest, Kind, Location, MediaType, Name, Platform, Result,
    Tag,
};
use conex_store::{Memory, SourceExt};
use conex_testkit::images;
use conex_testkit::proxy::{Line, Proxy};
use futures_util::TryStreamExt;

/// A registry behind a wire that counts, and a folder for the other places.
struct World {
    wire: Proxy,
    seen: std::cell::Cell<usize>,
    dir: tempfile::TempDir,
    context: Context,
}

impl World {
    async fn new() -> Self {
        Self::at(Duration::ZERO).await
    }

    /// With a registry of which every answer is so late.
    async fn at(delay: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().join("registry"), ([127, 0, 0, 1], 0).into());
        let server = Server::bind(config).await.unwrap();
        let line = Line { delay, rate: 0 };
        let wire = Proxy::start_with(&server.local_addr().to_string(), line);
        tokio::spawn(server.run(std::future::pending::<()>()));
        let store = dir.path().join("store");
        let context = Context::new(Client::new(Options::default()), Some(store), Arc::new(()));
        Self { wire, seen: std::cell::Cell::new(0), dir, context }
    }

    /// `registry/…` is a repository of the registry; a path is in the folder.
    fn place(&self, text: &str) -> Location {
        let text = match text.strip_prefix("registry/") {
            Some(rest) => self.wire.image(rest),
            None => text.replace("DIR", self.dir.path().to_str().unwrap()),
        };
        text.parse().unwrap()
    }

    fn request(&self, from: &str, to: &str) -> Request {
        Request::new(self.place(from), self.place(to))
    }

    fn all_tags(&self, from: &str, to: &str) -> Request {
        Request { tags: Some(TagFilter::default()), ..self.request(from, to) }
    }

    async fn run(&self, request: &Request) -> Result<Report> {
        run(&self.context, request, &CopyOptions::default()).await
    }

    async fn alone(&self, request: &Request) -> Report {
        run(&self.context, request, &CopyOptions::default().alone()).await.unwrap()
    }

    /// Puts an image of memory into a place.
    async fn put(&self, memory: &Memory, root: &Descriptor, place: &str) {
        let place = self.place(place);
        let tag = match place.name() {
            Some(Name::Tag(tag)) => Some(tag),
            _ => None,
        };
        let sink = self.context.sink(&place).unwrap();
        let options = CopyOptions::default();
        copy(memory, root, sink.as_ref(), tag.as_ref(), &options, &self.context.observer)
            .await
            .unwrap();
        self.requests();
    }

    async fn digest(&self, place: &str) -> String {
        self.context.resolve(&self.place(place)).await.unwrap().1.digest.to_string()
    }

    /// The requests since the last call, without the first look at who is there.
    fn requests(&self) -> Vec<String> {
        let all = self.wire.requests();
        let new = all[self.seen.replace(all.len())..].iter();
        new.filter(|request| *request != "GET /v2/").cloned().collect()
    }
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

fn count(requests: &[String], part: &str) -> usize {
    requests.iter().filter(|request| request.contains(part)).count()
}

/// A manifest of some type about another one.
fn referrer(memory: &Memory, kind: &str, subject: &Descriptor) -> Descriptor {
    let empty = memory.add(MediaType::EMPTY, "{}");
    let mut manifest = ImageManifest::new(empty.clone(), vec![empty]);
    manifest.artifact_type = Some(MediaType::new(kind.to_owned()));
    manifest.subject = Some(subject.bare());
    let document = Document::new(manifest).unwrap();
    memory.add(MediaType::MANIFEST, document.bytes().clone())
}

async fn tag(memory: &Memory, root: &Descriptor, tag: &str) {
    conex_store::Sink::tag(memory, root, Some(&Tag::new(tag).unwrap())).await.unwrap();
}

/// What is asked in one round trip does not wait for another: names, then the manifest with all
/// that may belong to it, then all mounts, then the manifest with its tags.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_ten_layers_takes_few_requests_within_a_registry() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 10, 3000);
    world.put(&memory, &root, "registry/team/a:1").await;
    let mut request = world.request("registry/team/a:1", "registry/team/b:1");
    request.names = vec!["1.0".into(), "latest".into()];
    let report = world.run(&request).await.unwrap();
    assert_eq!((report.summary.adopted.blobs, report.summary.moved.blobs), (11, 1));
    let requests = world.requests();
    assert_eq!(count(&requests, "POST"), 11, "{requests:#?}");
    assert_eq!(count(&requests, "from=team%2Fa"), 11);
    assert_eq!(count(&requests, "?tag=1&tag=1.0&tag=latest"), 1);
    // The name here and the three there, the manifest there; then the manifest here, its
    // referrers and the tags.
    let rest = ["HEAD ", "GET ", "PUT "].map(|method| count(&requests, method));
    assert_eq!((rest, requests.len()), ([5, 3, 1], 20), "{requests:#?}");
    assert_eq!(world.digest("registry/team/b:latest").await, root.digest.to_string());
}

/// The same in time: the look at who is there, then at most four times all that waits for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_ten_layers_takes_five_round_trips_within_a_registry() {
    const TRIP: Duration = Duration::from_millis(400);
    let (world, memory) = (World::at(TRIP).await, Memory::new());
    let root = images::image(&memory, &amd64(), 10, 3000);
    world.put(&memory, &root, "registry/team/a:1").await;
    // Nothing is remembered of the registry.
    let context = Context::new(Client::new(Options::default()), None, Arc::new(()));
    let request = world.request("registry/team/a:1", "registry/team/b:1");
    let start = Instant::now();
    let report = run(&context, &request, &CopyOptions::default()).await.unwrap();
    let took = start.elapsed();
    assert_eq!((report.summary.adopted.blobs, report.summary.moved.blobs), (11, 1));
    assert!(took < TRIP * 6, "{:.1} round trips", took.as_secs_f64() / TRIP.as_secs_f64());
    // The digest of a tag takes one, beside that look.
    let (context, start) =
        (Context::new(Client::new(Options::default()), None, Arc::new(())), Instant::now());
    conex_ops::digest::digest(&context, &world.place("registry/team/a:1"), None).await.unwrap();
    assert!(start.elapsed() < TRIP * 3);
    world.requests();
    conex_ops::digest::digest(&context, &world.place("registry/team/a:1"), None).await.unwrap();
    assert_eq!(world.requests(), ["HEAD /v2/team/a/manifests/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unchanged_costs_one_request_a_side() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::two_platforms(&memory);
    world.put(&memory, &root, "registry/team/a:1").await;
    for to in ["registry/team/b:1", "oci:DIR/layout:1", "store:team/b:1"] {
        let request = world.request("registry/team/a:1", to);
        world.run(&request).await.unwrap();
        world.requests();
        let report = world.alone(&request).await;
        assert_eq!((report.summary.unchanged, report.summary.moved.blobs), (1, 0));
        let requests = world.requests();
        let sides = if to.starts_with("registry") { 2 } else { 1 };
        assert_eq!((requests.len(), count(&requests, "HEAD")), (sides, sides), "{requests:?}");
        world.run(&request).await.unwrap();
        let requests = world.requests();
        assert_eq!(requests.len(), sides + 2, "{requests:?}");
        assert_eq!(count(&requests, "/referrers/") + count(&requests, "/tags/list"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tags_share_their_content_and_cost_one_request_each_when_unchanged() {
    let (world, memory) = (World::new().await, Memory::new());
    let base = memory.add(MediaType::LAYER, images::noise(7, 100_000));
    for n in 0..100 {
        let own = memory.add(MediaType::LAYER, images::noise(100 + n, 100));
        let root = images::image_of(&memory, &amd64(), vec![base.clone(), own]);
        tag(&memory, &root, &format!("1.{n}")).await;
    }
    let tags: Vec<Tag> = conex_store::Source::tags(&memory).try_collect().await.unwrap();
    let repository = world.context.sink(&world.place("registry/team/a")).unwrap();
    let options = CopyOptions::default();
    for tag in &tags {
        let root = conex_store::Source::resolve(&memory, Some(&Name::Tag(tag.clone()))).await;
        let observer = &world.context.observer;
        let to = repository.as_ref();
        copy(&memory, &root.unwrap(), to, Some(tag), &options, observer).await.unwrap();
    }
    world.requests();
    let request = world.all_tags("registry/team/a", "oci:DIR/mirror");
    let report = world.run(&request).await.unwrap();
    let requests = world.requests();
    assert_eq!(report.copied.len(), 100);
    let shared = format!("GET /v2/team/a/blobs/{}", base.digest);
    assert_eq!(count(&requests, &shared), 1);
    for (to, sides) in [("oci:DIR/mirror", 1), ("registry/team/b", 2)] {
        let request = world.all_tags("registry/team/a", to);
        world.run(&request).await.unwrap();
        world.requests();
        let report = world.alone(&request).await;
        assert_eq!((report.summary.unchanged, report.summary.moved.blobs), (100, 0));
        let requests = world.requests();
        assert_eq!(requests.len(), 100 * sides + 1, "one list of tags, and one HEAD each");
        world.run(&request).await.unwrap();
        // Its referrers are asked for at the source; at the destination only where it has some.
        assert_eq!(world.requests().len(), 100 * sides + 1 + 100);
    }
}

/// Referrers of the index, of one of its images, of a referrer; and cosign's tags.
async fn with_company(memory: &Memory) -> (Descriptor, Vec<(Descriptor, Descriptor)>, String) {
    let root = images::two_platforms(memory);
    tag(memory, &root, "1").await;
    let child = memory.children(&root).await.unwrap()[0].bare();
    let sbom = referrer(memory, "application/vnd.example.sbom", &root);
    let scan = referrer(memory, "application/vnd.example.scan", &child);
    let signature = referrer(memory, "application/vnd.example.signature", &sbom);
    let cosign = images::image(memory, &amd64(), 1, 77);
    let name = format!("sha256-{}.sig", child.digest.encoded());
    tag(memory, &cosign, &name).await;
    let pairs = vec![(root.clone(), sbom.clone()), (child, scan), (sbom, signature)];
    (root, pairs, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_an_image_goes_with_it_from_place_to_place() {
    let (world, memory) = (World::new().await, Memory::new());
    let (root, pairs, name) = with_company(&memory).await;
    world.put(&memory, &root, "registry/team/a:1").await;
    let places = [
        "registry/team/a:1",
        "oci:DIR/layout:1",
        "oci-archive:DIR/image.tar:1",
        "store:team/app:1",
        "registry/team/b:1",
        "oci:DIR/again:1",
    ];
    for pair in places.windows(2) {
        let report = world.run(&world.request(pair[0], pair[1])).await.unwrap();
        assert_eq!(report.summary.referrers.blobs, 4, "{pair:?}");
        let (source, found) = world.context.resolve(&world.place(pair[1])).await.unwrap();
        assert_eq!(found.digest, root.digest);
        for (subject, referrer) in &pairs {
            let listed = source.referrers(&subject.digest).await.unwrap();
            assert!(listed.iter().any(|l| l.digest == referrer.digest), "{pair:?}: {listed:?}");
        }
        let tags: Vec<Tag> = source.tags().try_collect().await.unwrap();
        assert!(tags.iter().any(|tag| tag.as_str().ends_with(&name)), "{pair:?}: {tags:?}");
    }
    let alone = world.alone(&world.request(places[0], "oci:DIR/alone:1")).await;
    assert_eq!(alone.summary.referrers.blobs, 0);
    let roots = conex_store::Layout::open(&world.dir.path().join("alone"), None).unwrap();
    assert_eq!(roots.roots().unwrap().len(), 1);
}

/// A list may call a signature a referrer, which it is not; that takes nothing from the signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_listed_as_a_referrer_too_is_carried() {
    let (world, memory) = (World::new().await, Memory::new());
    let image = images::image(&memory, &amd64(), 1, 50);
    let cosign = images::image(&memory, &amd64(), 1, 77);
    let name = format!("sha256-{}.sig", image.digest.encoded());
    let list = images::index(&memory, vec![cosign.clone()]);
    let lists = image.digest.referrers_tag();
    for (root, tag) in [(&image, "1"), (&cosign, name.as_str()), (&list, lists.as_str())] {
        world.put(&memory, root, &format!("oci:DIR/layout:{tag}")).await;
    }
    world.run(&world.request("oci:DIR/layout:1", "registry/team/a:1")).await.unwrap();
    let there = world.digest(&format!("registry/team/a:{name}")).await;
    assert_eq!(there, cosign.digest.to_string());
}

/// A signature that comes after the image is carried by the next copy, though the image is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_is_carried_later() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::two_platforms(&memory);
    world.put(&memory, &root, "registry/team/a:1").await;
    for to in ["registry/team/b:1", "oci:DIR/layout:1"] {
        let request = world.request("registry/team/a:1", to);
        world.run(&request).await.unwrap();
        let late = referrer(&memory, &format!("application/vnd.example.late-{}", to.len()), &root);
        world.put(&memory, &late, "registry/team/a").await;
        let carried = world.run(&request).await.unwrap().summary;
        assert!(carried.referrers.blobs > 0, "{to}");
        assert_eq!(world.run(&request).await.unwrap().summary.unchanged, 1, "{to}");
        // What belongs to an entry of an unchanged index is looked for on request.
        let child = memory.children(&root).await.unwrap()[0].bare();
        let scan = referrer(&memory, &format!("application/vnd.example.scan-{}", to.len()), &child);
        world.put(&memory, &scan, "registry/team/a").await;
        let with: With = "referrers,signatures".parse().unwrap();
        let options = CopyOptions { with, ..CopyOptions::default() };
        let report = run(&world.context, &request, &options).await.unwrap();
        assert_eq!(report.summary.moved.blobs, 1, "{to}: the scan");
    }
}

/// Whoever names no root means the image, not what belongs to it; and gc keeps company.
#[tokio::test(flavor = "multi_thread")]
async fn company_is_not_in_the_way_and_is_not_collected() {
    let (world, memory) = (World::new().await, Memory::new());
    let (root, pairs, _) = with_company(&memory).await;
    for place in ["oci:DIR/layout", "oci-archive:DIR/image.tar"] {
        world.put(&memory, &root, &format!("{place}:1")).await;
        assert_eq!(world.digest(place).await, root.digest.to_string(), "{place}");
    }
    // The same referrer without an entry of its own, and one of something that is not there.
    let layout = conex_store::Layout::open(&world.dir.path().join("layout"), None).unwrap();
    let loose = referrer(&memory, "application/vnd.example.loose", &pairs[1].1);
    let lost = referrer(&memory, "application/vnd.example.lost", &amd64_image(&memory));
    for manifest in [&loose, &lost] {
        let content = memory.fetch(manifest).await.unwrap();
        conex_store::Sink::put(&layout, manifest, content).await.unwrap();
    }
    let options = conex_ops::gc::Options { before: i64::MAX, dry_run: false, patience: 100 };
    drop(layout);
    let layout = conex_store::Layout::open(&world.dir.path().join("layout"), None).unwrap();
    let report = conex_ops::gc::gc(Arc::new(layout), options).await.unwrap();
    assert_eq!(report.digests, [lost.digest]);
}

fn amd64_image(memory: &Memory) -> Descriptor {
    images::image(memory, &amd64(), 9, 9)
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_are_chosen_and_a_sparse_index_goes_where_it_is_taken() {
    let (world, memory) = (World::new().await, Memory::new());
    let images: Vec<_> = ["amd64", "arm64", "s390x"]
        .iter()
        .zip(1..)
        .map(|(cpu, layers)| images::image(&memory, &Platform::new("linux", cpu), layers, 900))
        .collect();
    let root = images::index(&memory, images.clone());
    world.put(&memory, &root, "oci:DIR/all:1").await;
    let platforms: Vec<Platform> = vec![amd64(), Platform::new("linux", "s390x")];
    let request =
        |to: &str| Request { platforms: platforms.clone(), ..world.request("oci:DIR/all:1", to) };
    world.run(&request("registry/team/some:1")).await.unwrap();
    let (source, some) = world.context.resolve(&world.place("registry/team/some:1")).await.unwrap();
    let children = source.children(&some).await.unwrap();
    assert_eq!(children, [images[0].clone(), images[2].clone()]);

    let sparse = |to: &str| Request { sparse: true, ..request(to) };
    for _ in 0..2 {
        let report = world.run(&sparse("oci:DIR/sparse:1")).await.unwrap();
        assert_eq!(report.copied[0].root.digest, root.digest);
    }
    let (source, found) = world.context.resolve(&world.place("oci:DIR/sparse:1")).await.unwrap();
    assert_eq!(found.digest, root.digest);
    assert!(source.manifest(&images[2]).await.is_ok());
    assert_eq!(source.manifest(&images[1]).await.unwrap_err().kind(), Kind::NotFound);
    if let Err(err) = world.run(&sparse("registry/team/sparse:1")).await {
        assert!(err.hint_text().unwrap().contains("sparse"), "{err}");
    }
    // The name of the source itself does not lose platforms without a word.
    let err = world.run(&request("oci:DIR/all:1")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Usage, "{err}");
    assert_eq!(world.digest("oci:DIR/all:1").await, root.digest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_taken_stay_on_request() {
    let (world, memory) = (World::new().await, Memory::new());
    let roots: Vec<_> = (1..4).map(|n| images::image(&memory, &amd64(), n, 50)).collect();
    for (root, name) in roots.iter().zip(["1", "2", "3"]) {
        world.put(&memory, root, &format!("oci:DIR/from:{name}")).await;
    }
    for to in ["registry/team/b", "oci:DIR/to"] {
        world.put(&memory, &roots[0], &format!("{to}:2")).await;
        let single = world.request("oci:DIR/from:2", &format!("{to}:2"));
        let err = world.run(&Request { no_clobber: true, ..single }).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Conflict, "{err}");
        let many = Request { no_clobber: true, ..world.all_tags("oci:DIR/from", to) };
        let report = world.run(&many).await.unwrap();
        assert_eq!((report.copied.len(), report.kept.len()), (2, 1));
        assert_eq!(report.check().as_ref().map_err(Error::kind), Err(Kind::Conflict));
        assert_eq!(world.digest(&format!("{to}:2")).await, roots[0].digest.to_string());
        assert_eq!(world.digest(&format!("{to}:3")).await, roots[2].digest.to_string());
        let again = world.run(&world.all_tags("oci:DIR/from", to)).await.unwrap();
        assert!(again.kept.is_empty());
        assert_eq!(world.digest(&format!("{to}:2")).await, roots[1].digest.to_string());
    }
}

/// Of several names of one image those that are free are given.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_free_are_given_beside_those_that_stay() {
    let (world, memory) = (World::new().await, Memory::new());
    let roots: Vec<_> = (1..3).map(|n| images::image(&memory, &amd64(), n, 50)).collect();
    world.put(&memory, &roots[0], "oci:DIR/from:1").await;
    for to in ["registry/team/b", "oci:DIR/to"] {
        world.put(&memory, &roots[1], &format!("{to}:taken")).await;
        let names = ["taken", "free"].map(str::to_owned).to_vec();
        let request = world.request("oci:DIR/from:1", to);
        let report = world.run(&Request { no_clobber: true, names, ..request }).await.unwrap();
        assert_eq!(report.copied[0].names, [Tag::new("free").unwrap()]);
        assert_eq!(report.kept[0].name.as_str(), "taken");
        assert_eq!(report.check().as_ref().map_err(Error::kind), Err(Kind::Conflict));
        assert_eq!(world.digest(&format!("{to}:free")).await, roots[0].digest.to_string());
        assert_eq!(world.digest(&format!("{to}:taken")).await, roots[1].digest.to_string());
    }
}

/// A registry that lost a blob below an image that it still has under its tag.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_comes_again_on_request() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 3, 50);
    world.put(&memory, &root, "oci:DIR/from:1").await;
    let request = world.request("oci:DIR/from:1", "registry/team/b:1");
    world.run(&request).await.unwrap();
    let Location::Registry(reference) = world.place("registry/team/b:1") else { panic!() };
    let lost = memory.children(&root).await.unwrap()[1].digest.clone();
    world.context.client.repository(&reference).delete_blob(&lost).await.unwrap();
    assert_eq!(world.run(&request).await.unwrap().summary.unchanged, 1);
    let full = CopyOptions { full: true, ..CopyOptions::default() };
    let summary = run(&world.context, &request, &full).await.unwrap().summary;
    assert_eq!((summary.moved.blobs, summary.moved.bytes), (1, 50));
    let again = run(&world.context, &request, &full).await.unwrap().summary;
    assert_eq!(again.moved.blobs, 0);
}

/// A byte of a blob flips, and the time of its file stays: what a worn disk does.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_worn_disk_damaged_is_replaced() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 3, 50);
    world.put(&memory, &root, "registry/team/a:1").await;
    let layer = memory.children(&root).await.unwrap()[1].digest.clone();
    for (to, folder) in [("oci:DIR/to:1", "to"), ("store:worn:1", "store")] {
        let request = world.request("registry/team/a:1", to);
        world.run(&request).await.unwrap();
        let blob = world.dir.path().join(folder).join("blobs/sha256").join(layer.encoded());
        let sound = std::fs::read(&blob).unwrap();
        let time = std::fs::metadata(&blob).unwrap().modified().unwrap();
        let mut worn = sound.clone();
        worn[10] ^= 1;
        std::fs::write(&blob, worn).unwrap();
        std::fs::File::options().write(true).open(&blob).unwrap().set_modified(time).unwrap();
        let quick = CopyOptions { rehash: false, ..CopyOptions::default() };
        let summary = run(&world.context, &request, &quick).await.unwrap().summary;
        assert_eq!(summary.unchanged, 1, "on request it is not looked for");
        let summary = world.run(&request).await.unwrap().summary;
        assert_eq!((summary.moved.blobs, summary.moved.bytes), (1, 50));
        assert_eq!(std::fs::read(&blob).unwrap(), sound);
    }
}

/// What is on the disk has a seal, which shows in the time of its file.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_makes_durable_what_it_stands_for() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 3, 50);
    world.put(&memory, &root, "registry/team/a:1").await;
    let careless = world.context.clone().without_sync();
    for (to, folder) in [("oci:DIR/to:1", "to"), ("store:careless:1", "store")] {
        let request = world.request("registry/team/a:1", to);
        run(&careless, &request, &CopyOptions::default()).await.unwrap();
        let blobs = world.dir.path().join(folder).join("blobs/sha256");
        let times = || -> Vec<_> {
            let blobs = std::fs::read_dir(&blobs).unwrap().map(|blob| blob.unwrap());
            let mut times: Vec<_> =
                blobs.map(|blob| (blob.path(), blob.metadata().unwrap().modified())).collect();
            times.sort_by(|a, b| a.0.cmp(&b.0));
            times.into_iter().map(|(_, time)| time.unwrap()).collect()
        };
        let before = times();
        conex_ops::tag::tag(&world.context, &world.place(to), &["other".to_owned()]).await.unwrap();
        let sealed = times();
        assert!(before.iter().zip(&sealed).all(|(before, after)| before != after), "{to}");
        conex_ops::tag::tag(&world.context, &world.place(to), &["third".to_owned()]).await.unwrap();
        assert_eq!(times(), sealed);
    }
}

/// What belongs to an image is asked for once, however many tags stand for it.
#[tokio::test(flavor = "multi_thread")]
async fn many_tags_of_one_image_cost_one_request_a_side_each() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 1, 50);
    for number in 0..100 {
        world.put(&memory, &root, &format!("registry/team/a:t{number}")).await;
    }
    let request = world.all_tags("registry/team/a", "registry/team/b");
    world.run(&request).await.unwrap();
    world.requests();
    let report = world.run(&request).await.unwrap();
    assert_eq!(report.summary.unchanged, 100);
    let requests = world.requests();
    assert_eq!(count(&requests, "HEAD"), 200);
    assert!(requests.len() <= 203, "{requests:?}");
}

/// A signature goes with the entry of an index that no tag stands for; one of an image that is not
/// copied stays, and that is told.
#[tokio::test(flavor = "multi_thread")]
async fn signatures_go_with_what_is_reached_and_no_further() {
    let (world, memory) = (World::new().await, Memory::new());
    let (root, _, name) = with_company(&memory).await;
    world.put(&memory, &root, "registry/team/a:1").await;
    let stranger = images::image(&memory, &amd64(), 1, 99);
    let other = format!("sha256-{}.sig", "0".repeat(64));
    world.put(&memory, &stranger, &format!("registry/team/a:{other}")).await;
    for to in ["registry/team/b", "oci:DIR/to"] {
        let report = world.run(&world.all_tags("registry/team/a", to)).await.unwrap();
        assert_eq!(report.left, std::slice::from_ref(&other));
        let (source, _) = world.context.resolve(&world.place(&format!("{to}:1"))).await.unwrap();
        let tags: Vec<Tag> = source.tags().try_collect().await.unwrap();
        let tags: Vec<_> =
            tags.iter().map(Tag::as_str).filter(|tag| tag.ends_with(".sig")).collect();
        assert_eq!(tags, [name.as_str()], "{to}");
    }
}

/// As much of a layer as an earlier process had fetched.
struct Cut(bytes::Bytes);

#[async_trait::async_trait]
impl conex_store::Reopen for Cut {
    async fn open(&self, _: u64) -> Result<conex_store::ByteStream> {
        let cut = Err(Error::new(Kind::Network, "cut"));
        Ok(Box::pin(futures_util::stream::iter([Ok(self.0.clone()), cut])))
    }
}

/// What an earlier process had fetched does not move again, and is told apart.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_on_with_counts_as_resumed() {
    const SIZE: u64 = 3_000_000;
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 1, SIZE as usize);
    let layer = memory.children(&root).await.unwrap()[1].clone();
    world.put(&memory, &root, "registry/team/a:1").await;
    let to = world.context.sink(&world.place("oci:DIR/to")).unwrap();
    let part = memory.read(&layer).await.unwrap().slice(..1_000_000);
    assert!(to.put_from(&layer, &Cut(part)).await.is_err());
    drop(to);
    let request = world.request("registry/team/a:1", "oci:DIR/to:1");
    let summary = world.run(&request).await.unwrap().summary;
    assert_eq!((summary.resumed.blobs, summary.resumed.bytes), (1, 1_000_000));
    let small = root.size + memory.children(&root).await.unwrap()[0].size;
    assert_eq!((summary.moved.blobs, summary.moved.bytes), (3, SIZE - 1_000_000 + small));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_same_and_makes_nothing() {
    let (world, memory) = (World::new().await, Memory::new());
    let (root, ..) = with_company(&memory).await;
    world.put(&memory, &root, "registry/team/a:1").await;
    let dry = CopyOptions { dry_run: true, ..CopyOptions::default() };
    for to in [
        "registry/team/b:1",
        "oci:DIR/dry:1",
        "oci-archive:DIR/dry.tar:1",
        "docker-archive:DIR/dry.docker.tar:x:1",
        "store:team/dry:1",
    ] {
        let mut request = world.request("registry/team/a:1", to);
        if to.starts_with("docker") {
            request.platforms = vec![amd64()];
        }
        world.requests();
        let before: Vec<_> = std::fs::read_dir(world.dir.path()).unwrap().collect();
        let told = run(&world.context, &request, &dry).await.unwrap();
        let requests = world.requests();
        assert_eq!(count(&requests, "PUT") + count(&requests, "POST"), 0, "{requests:?}");
        assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), before.len(), "{to}");
        assert!(told.dry_run);
        let done = world.run(&request).await.unwrap();
        assert_eq!(told.summary, done.summary, "{to}");
    }
}

/// A wrong tag for the destination is told before anything moves there.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_one_place_need_not_fit_another() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 1, 50);
    world.put(&memory, &root, "oci:DIR/from:registry.example/app:1").await;
    world.put(&memory, &root, "oci:DIR/from:plain").await;
    let err = world.run(&world.all_tags("oci:DIR/from", "registry/team/b")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Usage);
    let mut plain = world.all_tags("oci:DIR/from", "registry/team/b");
    plain.tags.as_mut().unwrap().exclude.push("*/*".parse().unwrap());
    assert_eq!(world.run(&plain).await.unwrap().copied.len(), 1);
    let stored = world.all_tags("registry/team/b", "store:team/b");
    world.run(&stored).await.unwrap();
    let back = world.run(&world.all_tags("store:team/b", "oci:DIR/back")).await.unwrap();
    assert_eq!(back.copied[0].names[0].as_str(), "plain");
    let mut none = world.all_tags("store:team/b", "oci:DIR/none");
    none.tags.as_mut().unwrap().globs.push("2.*".parse().unwrap());
    assert_eq!(world.run(&none).await.unwrap_err().kind(), Kind::NotFound);
    for (from, to) in [("oci:DIR/from:1", "oci:DIR/x"), ("oci:DIR/from", "docker-archive:DIR/x")] {
        assert_eq!(world.run(&world.all_tags(from, to)).await.unwrap_err().kind(), Kind::Usage);
    }
}

/// Of a copy that fails nothing stays but what the next one goes on with.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_copy_leaves_no_empty_layout() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = images::image(&memory, &amd64(), 3, 5000);
    world.put(&memory, &root, "oci:DIR/from:1").await;
    let blobs = world.dir.path().join("from/blobs/sha256");
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != root.digest.encoded() {
            kept.push((path.clone(), std::fs::read(&path).unwrap()));
            std::fs::remove_file(path).unwrap();
        }
    }
    let request = world.request("oci:DIR/from:1", "oci:DIR/over/new:1");
    assert_eq!(world.run(&request).await.unwrap_err().kind(), Kind::NotFound);
    assert!(!world.dir.path().join("over").exists());
    let new = world.dir.path().join("over/new");
    std::fs::create_dir_all(&new).unwrap();
    world.run(&request).await.unwrap_err();
    assert_eq!(std::fs::read_dir(&new).unwrap().count(), 0, "the folder was there before");
    for (path, bytes) in kept {
        std::fs::write(path, bytes).unwrap();
    }
    world.run(&request).await.unwrap();
    assert_eq!(world.digest("oci:DIR/over/new:1").await, root.digest.to_string());
}
