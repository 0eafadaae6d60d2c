//! What an operator decides: quotas, tags that stay; and what a full disk decides.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a small file system has to be mounted")]

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Registry, code, header, noise, sha256};
use conex_server::{Config, Immutable, Quota};
use conex_spec::MediaType;

fn quota(prefix: &'static str, bytes: u64) -> impl Fn(&mut Config) {
    move |config| config.policies.quotas = vec![Quota::new(prefix, bytes).unwrap()]
}

async fn push(registry: &Registry, repository: &str, bytes: Vec<u8>) -> reqwest::Response {
    let digest = sha256(&bytes);
    let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    registry.request("POST", &path).body(bytes).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_each_content_once_and_what_is_deleted_no_more() {
    let registry = Registry::with(quota("team", 100_000)).await;
    let (one, two) = (noise(40_000, 1), noise(50_000, 2));
    for repository in ["team/a", "team/b", "team"] {
        assert_eq!(push(&registry, repository, one.clone()).await.status(), 201);
    }
    assert_eq!(push(&registry, "team/a", two.clone()).await.status(), 201);
    let refused = push(&registry, "team/a", noise(20_000, 3)).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(code(refused).await, "DENIED");
    // Others are free, and have no part in it.
    assert_eq!(push(&registry, "teams/a", noise(200_000, 4)).await.status(), 201);
    let mounted =
        format!("/v2/team/a/blobs/uploads/?mount={}&from=teams/a", sha256(&noise(200_000, 4)));
    assert_eq!(registry.status("POST", &mounted).await, 403);

    // It counts until its last link is gone, and a start counts again.
    let registry = registry.restart_with(quota("team", 100_000)).await;
    assert_eq!(push(&registry, "team/a", noise(20_000, 3)).await.status(), 403);
    for (repository, status) in [("team/a", 403), ("team/b", 403), ("team", 201)] {
        let path = format!("/v2/{repository}/blobs/{}", sha256(&one));
        assert_eq!(registry.status("DELETE", &path).await, 202);
        assert_eq!(push(&registry, "team/a", noise(20_000, 3)).await.status(), status);
    }
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beyond_a_quota_leaves_nothing() {
    let registry = Registry::with(quota("", 100_000)).await;
    let path = registry.open("a").await;
    let patch = |bytes: Vec<u8>| registry.request("PATCH", &path).body(bytes).send();
    assert_eq!(patch(noise(60_000, 1)).await.unwrap().status(), 202);
    assert_eq!(patch(noise(60_000, 2)).await.unwrap().status(), 403);
    assert_eq!(registry.status("GET", &path).await, 404);
    // Nobody said how long it would be.
    let body = reqwest::Body::from(noise(200_000, 3));
    let path = registry.open("a").await;
    let put = format!("{path}?digest={}", sha256(&noise(200_000, 3)));
    assert_eq!(registry.request("PUT", &put).body(body).send().await.unwrap().status(), 403);
    let layer = noise(99_000, 4);
    let manifest = registry.image("a", &layer).await;
    let big = [manifest.clone(), vec![b' '; 2000]].concat();
    let kind = MediaType::MANIFEST.as_str();
    assert_eq!(registry.put("/v2/a/manifests/big", kind, big).await.status(), 403);
    assert_eq!(registry.put("/v2/a/manifests/small", kind, manifest).await.status(), 201);
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_stay_within_a_quota() {
    let registry = Registry::with(quota("a", 100_000)).await;
    let pushes = (0..16).map(|seed| push(&registry, "a", noise(15_000, seed)));
    let answers = futures_util::future::join_all(pushes).await;
    let taken = answers.iter().filter(|answer| answer.status() == 201).count();
    assert_eq!(taken, 6);
    registry.stop().await;
}

fn versions_stay(config: &mut Config) {
    let globs = |text: &str| vec![text.parse().unwrap()];
    let rule = Immutable::new(globs("prod/*"), globs("v*")).unwrap();
    config.policies.immutable = vec![rule];
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_tag_is_neither_moved_nor_deleted() {
    let registry = Registry::with(versions_stay).await;
    let kind = MediaType::MANIFEST.as_str();
    let first = registry.push_image("prod/app", "v1", b"one").await;
    let other = registry.image("prod/app", b"two").await;
    let refused = registry.put("/v2/prod/app/manifests/v1", kind, other.clone()).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(code(refused).await, "DENIED");
    // Not beside other tags either, of which none is set then.
    let many = format!("/v2/prod/app/manifests/{}?tag=new&tag=v1", sha256(&other));
    assert_eq!(registry.put(&many, kind, other.clone()).await.status(), 403);
    assert_eq!(registry.status("HEAD", "/v2/prod/app/manifests/new").await, 404);
    for path in ["v1".to_owned(), first.digest.to_string()] {
        let path = format!("/v2/prod/app/manifests/{path}");
        assert_eq!(registry.status("DELETE", &path).await, 403, "{path}");
    }
    let answer = registry.send("HEAD", "/v2/prod/app/manifests/v1").await;
    assert_eq!(header(&answer, "docker-content-digest"), first.digest.as_str());
    // The same again, other tags and other repositories are as free as ever.
    registry.push_image("prod/app", "v1", b"one").await;
    for (repository, tag) in [("prod/app", "latest"), ("dev/app", "v1")] {
        registry.push_image(repository, tag, b"one").await;
        let moved = registry.push_image(repository, tag, b"two").await;
        let path = format!("/v2/{repository}/manifests/{}", moved.digest);
        assert_eq!(registry.status("DELETE", &path).await, 202, "{repository}:{tag}");
    }
    assert_eq!(registry.status("DELETE", "/v2/prod/app/manifests/v9").await, 404);
    registry.stop().await;
}

/// Else it would stand for what nobody can pull.
#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_tag_keeps_all_that_it_stands_for() {
    immutable_tags_keep_what_they_need(|_| ()).await;
    let dir = tempfile::tempdir().unwrap();
    let (path, repository) = (dir.path().join("layout"), "prod/app".to_owned());
    let layout = conex_server::Place::Layout { path, repository };
    immutable_tags_keep_what_they_need(|config| config.storage = layout).await;
}

/// On any place, which `place` sets.
pub(crate) async fn immutable_tags_keep_what_they_need(place: impl FnOnce(&mut Config)) {
    let registry = Registry::with(|config| {
        versions_stay(config);
        place(config);
    })
    .await;
    let blob = |bytes: &[u8]| format!("/v2/prod/app/blobs/{}", sha256(bytes));
    let manifest = |digest| format!("/v2/prod/app/manifests/{digest}");
    let child = registry.push_image("prod/app", "child", b"below").await;
    let own = registry.push_image("prod/app", "v1", b"layer").await;
    let config = registry.push_blob("prod/app", b"{}").await;
    let more = serde_json::json!({ "subject": own });
    let referrer = common::manifest(&config, &[], more);
    let kind = MediaType::MANIFEST.as_str();
    let path = manifest(sha256(&referrer));
    assert_eq!(registry.put(&path, kind, referrer.clone()).await.status(), 201);
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [child] });
    let index =
        registry.put("/v2/prod/app/manifests/v2", MediaType::INDEX.as_str(), index.to_string());
    assert_eq!(index.await.status(), 201);
    for path in [blob(b"layer"), blob(b"{}"), blob(b"below"), manifest(child.digest)] {
        let refused = registry.send("DELETE", &path).await;
        assert_eq!(refused.status(), 403, "{path}");
        assert_eq!(code(refused).await, "DENIED");
        assert_eq!(registry.status("HEAD", &path).await, 200, "{path}");
    }
    // What refers to it, other tags and what nobody needs are free.
    let loose = registry.push_blob("prod/app", b"loose").await;
    let other = registry.push_image("prod/app", "other", b"of another").await;
    for path in [
        path,
        format!("/v2/prod/app/blobs/{}", loose.digest),
        blob(b"of another"),
        manifest(other.digest),
        "/v2/prod/app/manifests/child".to_owned(),
    ] {
        assert_eq!(registry.status("DELETE", &path).await, 202, "{path}");
    }
    assert_eq!(registry.status("DELETE", &blob(b"none")).await, 404);
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_push_an_immutable_tag_one_wins() {
    let registry = Registry::with(versions_stay).await;
    let mut images = Vec::new();
    for number in 0..8 {
        images.push(registry.image("prod/app", &[number]).await);
    }
    let kind = MediaType::MANIFEST.as_str();
    let puts =
        images.iter().map(|image| registry.put("/v2/prod/app/manifests/v1", kind, image.clone()));
    let answers = futures_util::future::join_all(puts).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 201).count(), 1);
    registry.stop().await;
}

/// A file system of few bytes in a folder; nothing where this process may not mount any.
struct Small(PathBuf);

impl Small {
    fn mount(folder: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let options = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder);
        let done = mount.output().is_ok_and(|output| output.status.success());
        done.then(|| Self(folder.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// "A full disk answers 507": RFC 4918, 11.5.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_keeps_what_was_there_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("small");
    let Some(_small) = Small::mount(&root, 4 << 20) else { return };
    let registry = Registry::with(|config| {
        config.storage = conex_server::Place::Folder(root.join("registry"));
    })
    .await;
    let there = registry.push_image("a", "there", &noise(1 << 20, 1)).await;
    let refused = push(&registry, "a", noise(8 << 20, 2)).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (507, "30".into()));
    assert_eq!(code(refused).await, "DENIED");
    let path = registry.open("a").await;
    let statuses = [
        registry.request("PATCH", &path).body(noise(1 << 20, 3)).send().await.unwrap().status(),
        registry.request("PATCH", &path).body(noise(8 << 20, 4)).send().await.unwrap().status(),
    ];
    assert_eq!(statuses.map(|status| status.as_u16()), [202, 507]);
    // What was acknowledged is still there, and no more than that; it goes on once there is room.
    let there_yet = registry.send("GET", &path).await;
    assert_eq!(there_yet.status(), 204);
    assert_eq!(header(&there_yet, "range"), "0-1048575");
    let whole = [noise(1 << 20, 3), noise(1 << 10, 6)].concat();
    let put = format!("{path}?digest={}", sha256(&whole));
    let put = registry.request("PUT", &put).body(noise(1 << 10, 6)).send().await.unwrap();
    assert_eq!(put.status(), 201);
    // The space of the others is free again.
    assert_eq!(push(&registry, "a", noise(1 << 20, 5)).await.status(), 201);

    // Someone else takes the rest: also what is small has no room, until there is some.
    let manifest = registry.image("a", b"small").await;
    let filler = root.join("filler");
    let _ = std::fs::write(&filler, vec![1; 4 << 20]);
    let kind = MediaType::MANIFEST.as_str();
    let put = async || registry.put("/v2/a/manifests/late", kind, manifest.clone()).await.status();
    assert_eq!(put().await, 507);
    assert_eq!(registry.status("HEAD", "/v2/a/manifests/late").await, 404);
    let answer = registry.send("GET", "/v2/a/manifests/there").await;
    assert_eq!(header(&answer, "docker-content-digest"), there.digest.as_str());
    assert_eq!(sha256(&answer.bytes().await.unwrap()), there.digest);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(put().await, 201);
    registry.stop().await;
}
