//! The client and the server together are a store like any other; and what moves over the wire
//! between them is counted.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::{Arc, Mutex};

use conex_client::{Client, Options};
use conex_ops::pull::pull;
use conex_ops::{Context, CopyOptions, copy};
use conex_server::{Access, Config, Log, Server};
use conex_spec::{Algorithm, Descriptor, Location, MediaType, Platform, Reference, Tag};
use conex_store::bridge::bytes_stream;
use conex_store::{Memory, Sink, SourceExt};
use conex_testkit::{conformance, images};
use futures_util::StreamExt;

/// Every request: method, last part of the path, status, bytes sent.
#[derive(Default)]
struct Requests(Mutex<Vec<(String, String, u16, u64)>>);

impl Log for Requests {
    fn access(&self, access: &Access) {
        let last = access.target.rsplit('/').next().unwrap_or_default().to_owned();
        let entry = (access.method.to_string(), last, access.status, access.sent);
        self.0.lock().unwrap().push(entry);
    }
}

struct Registry {
    address: String,
    requests: Arc<Requests>,
    dir: tempfile::TempDir,
}

async fn registry() -> Registry {
    let dir = tempfile::tempdir().unwrap();
    let requests = Arc::new(Requests::default());
    let mut config = Config::new(dir.path().join("registry"), ([127, 0, 0, 1], 0).into());
    config.log = requests.clone();
    let server = Server::bind(config).await.unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.run(std::future::pending::<()>()));
    Registry { address, requests, dir }
}

impl Registry {
    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    fn context(&self) -> Context {
        let store = self.dir.path().join("store");
        Context::new(Client::new(Options::default()), Some(store), Arc::new(()))
    }

    /// The bodies that were sent since the last call, by what was asked for.
    fn sent(&self) -> Vec<(String, u64)> {
        let requests = std::mem::take(&mut *self.requests.0.lock().unwrap());
        let bodies =
            requests.into_iter().filter(|(method, _, _, sent)| method == "GET" && *sent > 0);
        bodies.map(|(_, last, _, sent)| (last, sent)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_a_store() {
    let registry = registry().await;
    let repository = Client::new(Options::default()).repository(&registry.reference("team/app"));
    conformance::run(Arc::new(repository)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pull_moves_the_layer_that_changed_and_nothing_else() {
    let registry = registry().await;
    let context = registry.context();
    let reference = registry.reference("demo/app:1");
    let repository = context.client.repository(&reference);
    let (from, tag) = (Memory::new(), Tag::new("1").unwrap());
    let amd64 = Platform::new("linux", "amd64");
    let options = CopyOptions::default();
    let layers = |seeds: [u64; 3]| {
        let add = |seed| from.add(MediaType::LAYER, images::noise(seed, 70_000));
        images::image_of(&from, &amd64, seeds.map(add).to_vec())
    };
    let mut pulled = Vec::new();
    for image in [layers([1, 2, 3]), layers([1, 4, 3])] {
        let root = images::index(&from, vec![image.clone()]);
        copy(&from, &root, &repository, Some(&tag), &options, &context.observer).await.unwrap();
        registry.sent();
        let report = pull(&context, &reference, Some(&amd64), &options).await.unwrap();
        assert_eq!(report.image.digest, image.digest);
        pulled.push((registry.sent(), report.summary));
    }
    let (sent, summary) = &pulled[1];
    let new = from.manifest(&layers([1, 4, 3])).await.unwrap();
    let layer = &new.children()[2];
    let of = |digest: &str| {
        sent.iter().filter(|(last, _)| last == digest).map(|(_, sent)| *sent).sum::<u64>()
    };
    assert_eq!(of(layer.digest.as_str()), 70_000);
    assert_eq!(of(new.children()[0].digest.as_str()), new.children()[0].size);
    // The index, the manifest, the config and the layer.
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert_eq!((summary.moved.blobs, summary.present.blobs), (3, 2));
    assert_eq!(summary.present.bytes, 140_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_one_registry_are_mounted() {
    let registry = registry().await;
    let context = registry.context();
    let from = Memory::new();
    let root = images::two_platforms(&from);
    let [a, b] = ["team/a:1", "team/b:1"].map(|name| registry.reference(name));
    let options = CopyOptions::default();
    let to_a = context.client.repository(&a);
    copy(&from, &root, &to_a, Some(&Tag::latest()), &options, &context.observer).await.unwrap();
    let to_b = context.client.repository(&b);
    let summary = copy(&to_a, &root, &to_b, None, &options, &context.observer).await.unwrap();
    assert_eq!((summary.adopted.blobs, summary.moved.blobs), (5, 3));
    let location = Location::Registry(b.with_digest(root.digest.clone()));
    let (source, found) = context.resolve(&location).await.unwrap();
    assert_eq!(found.digest, root.digest);
    assert!(source.referrers(&root.digest).await.unwrap().is_empty());
}

/// Other digest algorithms are announced with `digest-algorithm`, whole and in chunks.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_of_every_algorithm() {
    let registry = registry().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Blake3] {
        for (chunk_size, size) in [(None, 1000), (None, 5 << 20), (Some(2 << 20), 5 << 20)] {
            // What the registry has already would be mounted.
            let bytes = images::noise((size + chunk_size.map_or(0, |_| 1)) as u64, size);
            let digest = algorithm.digest(&bytes);
            let blob = Descriptor::new(MediaType::LAYER, digest, size as u64);
            let name = format!("{}{size}", chunk_size.map_or("whole", |_| "chunks"));
            let client = Client::new(Options { chunk_size, ..Options::default() });
            let repository = client.repository(&registry.reference(&name));
            registry.requests.0.lock().unwrap().clear();
            let content = bytes_stream(bytes.clone(), 0..blob.size);
            repository.put(&blob, content).await.unwrap();
            let requests = registry.requests.0.lock().unwrap().clone();
            let patches = requests.iter().filter(|(method, ..)| method == "PATCH").count();
            assert_eq!(patches, chunk_size.map_or(0, |_| 3), "{requests:?}");
            let query = &requests.iter().find(|(method, ..)| method == "POST").unwrap().1;
            let announced = query.contains(&format!("digest-algorithm={algorithm}"));
            assert_eq!(announced, algorithm != Algorithm::Sha256, "{query}");
            assert!(repository.has(&blob).await.unwrap());
            let mut found = Vec::new();
            let mut content = repository.fetch(&blob).await.unwrap();
            while let Some(chunk) = content.next().await {
                found.extend_from_slice(&chunk.unwrap());
            }
            assert!(bytes == found, "{algorithm} {size}");
        }
    }
}
