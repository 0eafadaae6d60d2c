//! Every place that can be read and every place that can be written, pair by pair: what comes out
//! is what went in, to the last byte.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use futures_util::TryStreamExt;

use conex_client::{Client, Options};
use conex_ops::copy::copy_to;
use conex_ops::walk::walk;
use conex_ops::{Context, CopyOptions, copy};
use conex_server::{Config, Server};
use conex_spec::{Descriptor, Location, MediaType, Name, Platform, Tag};
use conex_store::{Memory, Source, SourceExt};
use conex_testkit::images;

const PLACES: [&str; 5] = ["registry", "oci", "oci-archive", "docker-archive", "store"];

struct World {
    registry: String,
    dir: tempfile::TempDir,
    context: Context,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().join("registry"), ([127, 0, 0, 1], 0).into());
        let server = Server::bind(config).await.unwrap();
        let registry = server.local_addr().to_string();
        tokio::spawn(server.run(std::future::pending::<()>()));
        let client = Client::new(Options::default());
        let store = dir.path().join("store");
        let context = Context::new(client, Some(store), Arc::new(()));
        Self { registry, dir, context }
    }

    /// A place of one kind that nothing else uses.
    fn place(&self, kind: &str, name: &str) -> Location {
        let file = self.dir.path().join(name);
        let text = match kind {
            "registry" => format!("{}/{name}:1", self.registry),
            "store" => format!("store:registry.example/{name}:1"),
            "docker-archive" => {
                format!("docker-archive:{}.tar:registry.example/a:1", file.display())
            }
            "oci-archive" => format!("oci-archive:{}.oci.tar:1", file.display()),
            _ => format!("{kind}:{}:1", file.display()),
        };
        text.parse().unwrap()
    }

    async fn copy(&self, from: &Location, to: &Location) {
        let (source, root) = self.context.resolve(from).await.unwrap();
        let options = CopyOptions::default();
        let copied = copy_to(&self.context, source.as_ref(), &root, to, &options).await;
        copied.unwrap_or_else(|err| panic!("{from} → {to}: {err}"));
    }

    /// What is at a place is the root, whole.
    async fn assert_holds(&self, place: &Location, root: &Descriptor) {
        let (source, found) = self.context.resolve(place).await.unwrap();
        assert_eq!(found.digest, root.digest, "{place}");
        let graph = walk(source.as_ref(), &found).await.unwrap();
        for blob in &graph.blobs {
            let content = source.fetch(blob).await.unwrap();
            content.try_for_each(|_| async { Ok(()) }).await.unwrap();
        }
    }
}

/// Layers of every compression, one of them twice, and one of no bytes at all.
fn image(memory: &Memory) -> Descriptor {
    let layers = [
        memory.add(MediaType::LAYER, images::noise(1, 700_000)),
        memory.add(MediaType::LAYER, images::noise(2, 513)),
        memory.add(MediaType::LAYER, images::noise(1, 700_000)),
        memory.add(MediaType::LAYER, ""),
    ];
    images::image_of(memory, &Platform::new("linux", "amd64"), layers.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_keeps_every_digest() {
    let (world, memory) = (World::new().await, Memory::new());
    let root = image(&memory);
    let options = CopyOptions::default();
    for from in PLACES {
        let first = world.place(from, &format!("from-{from}"));
        copy_to(&world.context, &memory, &root, &first, &options).await.unwrap();
        world.assert_holds(&first, &root).await;
        for to in PLACES {
            let second = world.place(to, &format!("{from}-to-{to}"));
            world.copy(&first, &second).await;
            world.assert_holds(&second, &root).await;
        }
        let (source, found) = world.context.resolve(&first).await.unwrap();
        let back = Memory::new();
        let tag = Tag::new("1").unwrap();
        let copied =
            copy(source.as_ref(), &found, &back, Some(&tag), &options, &world.context.observer);
        copied.await.unwrap();
        assert_eq!(back.resolve(Some(&Name::Tag(tag))).await.unwrap().digest, root.digest);
    }
}
