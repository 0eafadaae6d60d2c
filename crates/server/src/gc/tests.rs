use super::*;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conex_spec::{Descriptor, Digest, MediaType, Tag};
use serde_json::{Value, json};

use crate::inspect::Inspected;
use crate::storage::folder::FolderHome;
use crate::storage::home::Hashing;
use crate::storage::manifests::Putting;

struct Rig {
    storage: Storage,
    uploads: Uploads,
    gc: Gc,
    policies: Policies,
    repository: Repository,
    dir: tempfile::TempDir,
}

/// A registry where all that is not needed goes at once.
async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let home = FolderHome::open(dir.path().join("root")).await.unwrap();
    let storage = Storage::new(Arc::new(home), 1 << 20).with_grace(Duration::ZERO);
    let gc = Gc { grace: Duration::ZERO, uploads: Duration::ZERO, ..Gc::default() };
    let (uploads, policies) = (Uploads::default(), Policies::default());
    Rig { storage, uploads, gc, policies, repository: "a/b".parse().unwrap(), dir }
}

impl Rig {
    async fn collect(&self) -> Report {
        rest().await;
        Collection::run(&self.storage, &self.uploads, (&self.gc, &self.policies), false)
            .await
            .unwrap()
    }

    async fn plan(&self) -> Report {
        rest().await;
        Collection::run(&self.storage, &self.uploads, (&self.gc, &self.policies), true)
            .await
            .unwrap()
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    async fn blob(&self, bytes: &str) -> Descriptor {
        let blob = Descriptor::of(MediaType::LAYER, bytes.as_bytes());
        self.storage.home().put(&blob.digest, Bytes::from(bytes.to_owned())).await.unwrap();
        assert!(self.storage.link_blob(&self.repository, &blob.digest).await.unwrap());
        blob
    }

    async fn put(&self, json: Value, tags: &[&str]) -> Descriptor {
        let bytes = Bytes::from(serde_json::to_vec(&json).unwrap());
        let inspected = Inspected::parse(&bytes, None).unwrap();
        let manifest = Descriptor::of(inspected.media_type.clone(), &bytes);
        let entry = inspected.as_referrer(&manifest);
        let referrer = inspected.subject.as_ref().map(|subject| (&subject.digest, &entry));
        let tags: Vec<Tag> = tags.iter().map(|tag| Tag::registry(tag).unwrap()).collect();
        let putting = Putting { manifest: &manifest, bytes, referrer, tags: &tags, seen: None };
        assert!(self.storage.put_manifest(&self.repository, &putting).await.unwrap());
        manifest
    }

    /// An image of one layer, and all of its content.
    async fn image(&self, layer: &str, tags: &[&str], subject: Option<&Descriptor>) -> Descriptor {
        let (config, layer) = (self.blob("{}").await, self.blob(layer).await);
        let mut json = json!({
            "schemaVersion": 2, "mediaType": MediaType::MANIFEST,
            "config": config, "layers": [layer],
        });
        if let Some(subject) = subject {
            json["subject"] = json!(subject);
        }
        self.put(json, tags).await
    }

    async fn index(&self, children: &[&Descriptor], tags: &[&str]) -> Descriptor {
        let json = json!({
            "schemaVersion": 2, "mediaType": MediaType::INDEX, "manifests": children,
        });
        self.put(json, tags).await
    }

    async fn has(&self, blob: &str) -> bool {
        let digest = Digest::sha256(blob.as_bytes());
        self.storage.blob(&self.repository, &digest, false).await.unwrap().is_some()
    }

    async fn has_manifest(&self, manifest: &Descriptor) -> bool {
        self.storage.manifest(&self.repository, &manifest.digest).await.unwrap().is_some()
    }
}

/// Time stamps of files are coarse.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(15)).await;
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn what_no_manifest_needs_goes() {
    let rig = rig().await;
    let image = rig.image("layer", &["t"], None).await;
    rig.blob("loose").await;
    let plan = rig.plan().await;
    assert!(plan.dry_run && rig.has("loose").await);
    let mut report = rig.collect().await;
    report.dry_run = true;
    assert_eq!(report, plan);
    assert_eq!((report.blobs, report.removed), (1, Count { blobs: 1, bytes: 5 }));
    assert_eq!(report.digests, [Digest::sha256(b"loose")]);
    assert_eq!(report.needed.blobs, 3);
    assert!(!rig.has("loose").await && rig.has("layer").await && rig.has_manifest(&image).await);
    // Content of another repository stays where it is needed, and only there.
    assert_eq!(rig.collect().await.removed, Count::default());
    assert!(rig.storage.remove_manifest(&rig.repository, &image.digest, None).await.unwrap());
    assert_eq!(rig.collect().await.removed.blobs, 3);
    assert_eq!(count(&rig.root().join("blobs/sha256")), 0);
    rig.image("layer", &["t"], None).await;
    assert!(rig.has("layer").await);
}

#[tokio::test]
async fn what_is_young_or_was_asked_for_stays() {
    let mut rig = rig().await;
    rig.blob("old").await;
    rig.blob("asked").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.gc.grace = Duration::from_millis(500);
    rig.storage = rig.storage.with_grace(rig.gc.grace);
    rig.blob("young").await;
    rig.storage.renew_blob(&rig.repository, &Digest::sha256(b"asked")).await.unwrap();
    let report = rig.collect().await;
    assert_eq!((report.removed.blobs, report.blobs), (1, 1));
    assert!(!rig.has("old").await && rig.has("young").await && rig.has("asked").await);
}

#[tokio::test]
async fn content_is_shared_by_repositories() {
    let mut rig = rig().await;
    rig.image("layer", &["t"], None).await;
    rig.repository = "other".parse().unwrap();
    rig.blob("layer").await;
    let report = rig.collect().await;
    assert_eq!((report.repositories, report.blobs, report.removed.blobs), (2, 1, 0));
    assert!(!rig.has("layer").await);
    rig.repository = "a/b".parse().unwrap();
    assert!(rig.has("layer").await);
}

#[tokio::test]
async fn untagged_manifests_stay_unless_they_are_to_go() {
    let mut rig = rig().await;
    let tagged = rig.image("tagged", &["t"], None).await;
    let note = rig.image("note", &[], Some(&tagged)).await;
    let note_of_note = rig.image("deep", &[], Some(&note)).await;
    let child = rig.image("child", &[], None).await;
    let index = rig.index(&[&child], &["i"]).await;
    let alone = rig.image("alone", &[], None).await;
    let of_alone = rig.image("of alone", &[], Some(&alone)).await;
    let nested = rig.index(&[&alone], &[]).await;
    assert_eq!(rig.collect().await.removed.blobs, 0);
    rig.gc.untagged = true;
    let plan = rig.plan().await;
    assert_eq!((plan.manifests, plan.removed.blobs), (3, 5));
    let report = rig.collect().await;
    assert_eq!(report, Report { dry_run: false, ..plan });
    for manifest in [&tagged, &note, &note_of_note, &child, &index] {
        assert!(rig.has_manifest(manifest).await);
    }
    for manifest in [&alone, &of_alone, &nested] {
        assert!(!rig.has_manifest(manifest).await);
    }
    assert!(rig.has("deep").await && rig.has("child").await && !rig.has("of alone").await);
    // When what it is about goes, so does a referrer.
    assert!(rig.storage.remove_tag(&rig.repository, &Tag::registry("t").unwrap()).await.unwrap());
    assert_eq!(rig.collect().await.manifests, 3);
    assert_eq!(count(&rig.root().join("repositories/a/b/_manifests/sha256")), 2);
}

/// Rule J6: many ways to the same manifest are gone once.
#[tokio::test]
async fn deep_indexes_take_no_time() {
    let mut rig = rig().await;
    rig.gc.untagged = true;
    let mut below = rig.image("layer", &[], None).await;
    for _ in 0..40 {
        below = rig.index(&[&below, &below], &[]).await;
    }
    rig.index(&[&below], &["t"]).await;
    assert_eq!(rig.collect().await.manifests, 0);
    assert!(rig.has("layer").await);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_keeps_everything() {
    let mut rig = rig().await;
    rig.gc.untagged = true;
    let image = rig.image("layer", &["t"], None).await;
    rig.blob("loose").await;
    let path = conex_store::blobs::path(&image.digest).unwrap();
    std::fs::write(rig.root().join(path), "{}").unwrap();
    let report = rig.collect().await;
    assert_eq!((report.blobs, report.removed.blobs), (0, 0));
    assert_eq!(report.unreadable[0].digest, image.digest);
    assert!(rig.has("loose").await && rig.has("layer").await);
    // Once it is deleted, the rest can go.
    rig.storage.remove_manifest(&rig.repository, &image.digest, None).await.unwrap();
    let report = rig.collect().await;
    assert_eq!((report.blobs, report.removed.blobs, report.unreadable.len()), (3, 4, 0));
}

/// Law L3 for documents of kinds that we do not know: what they name may be their children.
#[tokio::test]
async fn what_an_unknown_document_names_stays() {
    let rig = rig().await;
    let blob = rig.blob("attached").await;
    rig.blob("loose").await;
    rig.put(json!({ "mediaType": "a/b", "things": [{ "x": { "digest": blob.digest } }] }), &[])
        .await;
    assert_eq!(rig.collect().await.blobs, 1);
    assert!(rig.has("attached").await && !rig.has("loose").await);
}

fn rule(tags: &[&str], keep_newest: Option<usize>, younger_than: Option<u64>) -> Retention {
    let glob = |text: &&str| text.parse().unwrap();
    Retention {
        repositories: vec![glob(&"a/*")],
        tags: tags.iter().map(glob).collect(),
        keep_newest,
        younger_than: younger_than.map(Duration::from_millis),
        untagged: Some(true),
    }
}

#[tokio::test]
async fn retention_keeps_the_newest() {
    let mut rig = rig().await;
    for tag in ["v1", "ci-1", "ci-2", "ci-3", "v2"] {
        rig.image(tag, &[tag], None).await;
        rest().await;
    }
    // Put again, the oldest is the newest.
    rig.image("ci-1", &["ci-1"], None).await;
    rig.gc.retention = vec![rule(&["v*"], None, None), rule(&[], Some(2), None)];
    let plan = rig.plan().await;
    let report = rig.collect().await;
    assert_eq!(report, Report { dry_run: false, ..plan });
    let removed = &report.removed_tags[0];
    assert_eq!(
        (removed.tag.as_str(), removed.rule, removed.why.as_str()),
        ("ci-2", 2, "2 are newer")
    );
    assert_eq!((report.tags, report.manifests, report.removed.blobs), (1, 1, 2));
    let tags = rig.storage.home().list(&rig.repository.tags(), "", 9).await.unwrap().items;
    assert_eq!(tags, ["ci-1", "ci-3", "v1", "v2"]);
    rig.gc.retention = vec![rule(&["ci-*"], None, Some(1))];
    rest().await;
    let report = rig.collect().await;
    assert_eq!((report.tags, report.manifests), (2, 2));
    assert!(report.removed_tags[0].why.ends_with(" old"));
    // Other repositories are not named.
    rig.repository = "b".parse().unwrap();
    rig.image("x", &["ci-1"], None).await;
    rig.image("y", &[], None).await;
    let report = rig.collect().await;
    assert_eq!((report.tags, report.manifests), (0, 0));
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_end() {
    let rig = rig().await;
    let home = rig.storage.home();
    let algorithm = conex_spec::Algorithm::Sha256;
    // In a repository that has nothing else, too.
    let upload = rig.uploads.start(home, &rig.repository, algorithm, false).await.unwrap();
    let id = upload.id;
    let mut session = home.resume(&rig.repository, id).await.unwrap().unwrap();
    session.write(vec!["x".into()], &mut Some(Hashing::new(algorithm))).await.unwrap();
    // A request has it.
    assert_eq!(rig.collect().await.uploads, 0);
    drop(upload);
    assert_eq!(rig.plan().await.uploads, 1);
    assert_eq!(rig.collect().await.uploads, 1);
    assert!(home.uploaded(&rig.repository, id).await.unwrap().is_none());
    assert_eq!(rig.collect().await.uploads, 0);
}

/// Scenario B11.
#[tokio::test]
async fn a_clock_that_leaps_ahead_ages_nothing() {
    let rig = rig().await;
    let hour = 3600 * 1_000_000_000;
    let now = rig.storage.home().now().await.unwrap();
    let grace = Duration::from_secs(60);
    let before = rig.storage.before(now, grace);
    assert_eq!(before, now - 60 * 1_000_000_000);
    let leapt = rig.storage.before(now + 10_000 * hour, grace);
    assert!(leapt <= before + hour / 3600, "{leapt} {before}");
    assert_eq!(rig.storage.before(now - hour, grace), before - hour);
}

/// A collection would come too late: nobody can pull the image any more.
#[tokio::test]
async fn a_blob_that_its_repository_lost_is_missing_at_once() {
    let mut rig = rig().await;
    rig.image("layer", &["t"], None).await;
    let (first, other) = (rig.repository.clone(), "other".parse().unwrap());
    rig.repository = other;
    rig.image("layer", &["t"], None).await;
    let found = scrub::scrub(&rig.storage, true).await.unwrap();
    assert_eq!(found.faults, []);
    let layer = Descriptor::of(MediaType::LAYER, b"layer");
    assert!(rig.storage.unlink_blob(&rig.repository, &layer.digest).await.unwrap());
    let found = scrub::scrub(&rig.storage, false).await.unwrap();
    assert_eq!(found.faults.len(), 1);
    let fault = &found.faults[0];
    assert_eq!((&fault.digest, fault.problem), (&layer.digest, conex_store::Problem::Missing));
    assert_eq!((&fault.repositories, found.set_aside), (&vec!["other".to_owned()], 0));
    assert_eq!(fault.wanted.as_ref(), Some(&layer));
    let content = futures_util::stream::iter([Ok(Bytes::from("layer"))]);
    let mut content: conex_store::ByteStream = Box::pin(content);
    scrub::mend(&rig.storage, fault, &mut content).await.unwrap();
    assert_eq!(scrub::scrub(&rig.storage, true).await.unwrap().faults, []);
    assert!(rig.has("layer").await);
    rig.repository = first;
    assert!(rig.has("layer").await);
}
