use std::sync::Mutex;

use super::*;
use conex_spec::{MediaType, Name, Platform};
use conex_store::{Event, Layout, Memory, SourceExt};
use conex_testkit::images;

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Done(blob) => format!("done {}", blob.media_type),
            Event::Present(blob) => format!("present {}", blob.media_type),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

fn nobody() -> Arc<dyn Observer> {
    Arc::new(())
}

async fn run(from: &dyn Source, root: &Descriptor, to: &dyn Sink) -> Result<Summary> {
    let tag = Tag::new("v1").unwrap();
    copy(from, root, to, Some(&tag), &CopyOptions::default(), &nobody()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_moves_only_what_is_new() {
    let (from, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let to = Layout::create(dir.path(), None).unwrap();
    let amd64 = Platform::new("linux", "amd64");
    let first = images::image(&from, &amd64, 3, 5000);
    let summary = run(&from, &first, &to).await.unwrap();
    assert_eq!(summary.moved.blobs, 5);
    let second = images::image(&from, &amd64, 4, 5000);
    let summary = run(&from, &second, &to).await.unwrap();
    assert_eq!((summary.moved.blobs, summary.present.blobs), (3, 3));
    assert_eq!(summary.present.bytes, 15_000);
    let again = run(&from, &second, &to).await.unwrap();
    assert_eq!((again.moved.blobs, again.present.blobs), (0, 6));
    let found = to.resolve(Some(&Name::Tag(Tag::new("v1").unwrap()))).await.unwrap();
    assert_eq!(found.digest, second.digest);
}

/// As a registry tells it: without a platform.
#[tokio::test(flavor = "multi_thread")]
async fn a_layout_lists_the_platform_that_the_config_tells() {
    let (from, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let to = Layout::create(dir.path(), None).unwrap();
    let arm = "linux/arm64/v8".parse::<Platform>().unwrap();
    let image = Descriptor { platform: None, ..images::image(&from, &arm, 1, 10) };
    run(&from, &image, &to).await.unwrap();
    assert_eq!(to.roots().unwrap()[0].platform, Some(arm));

    let silent = Platform::default();
    let silent = Descriptor { platform: None, ..images::image(&from, &silent, 2, 10) };
    run(&from, &silent, &to).await.unwrap();
    assert_eq!(to.roots().unwrap()[0].platform, None);
    let index = images::two_platforms(&from);
    run(&from, &index, &to).await.unwrap();
    assert_eq!(to.roots().unwrap()[0].platform, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_come_last() {
    let (from, to) = (Memory::new(), Memory::new());
    let root = images::two_platforms(&from);
    let log = Arc::new(Log::default());
    let observer: Arc<dyn Observer> = log.clone();
    copy(&from, &root, &to, None, &CopyOptions { jobs: 16, ..CopyOptions::default() }, &observer)
        .await
        .unwrap();
    let lines = log.0.lock().unwrap().clone();
    let first_manifest = lines.iter().position(|line| line.contains("manifest")).unwrap();
    assert_eq!(first_manifest, 5, "{lines:?}");
    assert_eq!(lines[7], format!("done {}", MediaType::INDEX));
    assert_eq!(to.resolve(None).await.unwrap().digest, root.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_at_the_destination_is_mended() {
    let (from, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let to = Layout::create(dir.path(), None).unwrap();
    let root = images::two_platforms(&from);
    run(&from, &root, &to).await.unwrap();
    let manifest = from.manifest(&from.children(&root).await.unwrap()[0]).await.unwrap();
    let layer = manifest.children()[1].clone();
    let file = dir.path().join(conex_store::blobs::path(&layer.digest).unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let summary = run(&from, &root, &to).await.unwrap();
    assert_eq!(summary.moved.blobs, 1);
    assert!(to.read(&layer).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_child_leaves_no_parent_and_no_tag() {
    let (from, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let to = Layout::create(dir.path(), None).unwrap();
    let lost = Descriptor::new(MediaType::LAYER, images::nowhere(), 5);
    let root = images::image_of(&from, &Platform::new("linux", "amd64"), vec![lost]);
    let err = run(&from, &root, &to).await.unwrap_err();
    assert_eq!(err.kind(), Kind::NotFound);
    assert!(!to.has(&root).await.unwrap());
    assert!(to.roots().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_may_not_be_distributed_are_left_out_when_missing() {
    let (from, to) = (Memory::new(), Memory::new());
    let foreign = Descriptor::new(MediaType::FOREIGN_LAYER_GZIP, images::nowhere(), 5);
    let root = images::image_of(&from, &Platform::new("windows", "amd64"), vec![foreign]);
    let summary = run(&from, &root, &to).await.unwrap();
    assert_eq!(summary.left_out, Count { blobs: 1, bytes: 5 });
    assert!(to.has(&root).await.unwrap());
}

/// A source whose lists of referrers are somebody else's invention.
#[derive(Debug)]
struct Lying {
    memory: Memory,
    listed: Vec<Descriptor>,
}

impl conex_store::source::Place for Lying {
    fn location(&self) -> &Location {
        self.memory.location()
    }
}

#[async_trait::async_trait]
impl Source for Lying {
    async fn resolve(&self, name: Option<&Name>) -> Result<Descriptor> {
        self.memory.resolve(name).await
    }

    async fn open(
        &self,
        blob: &Descriptor,
        range: std::ops::Range<u64>,
    ) -> Result<conex_store::ByteStream> {
        self.memory.open(blob, range).await
    }

    async fn referrers(&self, _subject: &conex_spec::Digest) -> Result<Vec<Descriptor>> {
        Ok(self.listed.clone())
    }

    fn tags(&self) -> futures_util::stream::BoxStream<'_, Result<Tag>> {
        self.memory.tags()
    }
}

/// Every manifest is listed as a referrer of every other, itself included, and one is gone
/// (rule R11, and row 73 of hostile documents: a cycle through subjects).
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_referrers_are_not_believed() {
    let (from, to) = (Memory::new(), Memory::new());
    let root = images::two_platforms(&from);
    let children = from.children(&root).await.unwrap();
    let stranger = images::image(&from, &Platform::new("linux", "s390x"), 7, 70);
    let empty = from.add(MediaType::EMPTY, "{}");
    let mut manifest = conex_spec::ImageManifest::new(empty.clone(), vec![empty]);
    manifest.subject = Some(root.bare());
    let document = conex_spec::Document::new(manifest).unwrap();
    let honest = from.add(MediaType::MANIFEST, document.bytes().clone());
    let gone = Descriptor::new(MediaType::MANIFEST, images::nowhere(), 5);
    let mut listed = vec![root.clone(), stranger.clone(), honest.clone(), gone];
    listed.extend(children);
    let from = Lying { memory: from, listed };
    let summary = run(&from, &root, &to).await.unwrap();
    assert_eq!(summary.referrers.blobs, 1);
    assert!(to.has(&honest).await.unwrap() && !to.has(&stranger).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_referrers_ends_in_one_clear_error() {
    let from = Memory::new();
    let root = images::two_platforms(&from);
    let one = |n: u32| {
        let digest = conex_spec::Digest::sha256(&n.to_be_bytes());
        Descriptor::new(MediaType::MANIFEST, digest, 100)
    };
    let from = Lying { memory: from, listed: (0..10_001).map(one).collect() };
    let to = Memory::new();
    let err = run(&from, &root, &to).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Limit);
    assert!(err.hint_text().unwrap().contains("--with none"), "{err}");
    let options = CopyOptions::default().alone();
    assert!(copy(&from, &root, &to, None, &options, &nobody()).await.is_ok());
}

/// What a stream took is there for good; the content is at fault all the same, not this machine.
#[tokio::test(flavor = "multi_thread")]
async fn unsound_content_on_its_way_into_a_stream_is_unsound() {
    use conex_store::archive::{ArchiveSink, Form, Output};
    use std::io::Read;
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let from = Layout::create(dir.path(), None).unwrap();
    let root = images::two_platforms(&memory);
    run(&memory, &root, &from).await.unwrap();
    let manifest = from.manifest(&from.children(&root).await.unwrap()[0]).await.unwrap();
    let file = dir.path().join(conex_store::blobs::path(&manifest.children()[1].digest).unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    let writer = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
    let location: Location = "oci-archive:-".parse().unwrap();
    let to = ArchiveSink::new(Form::Oci, Output::open_file(writer, true), location).unwrap();
    assert_eq!(run(&from, &root, &to).await.unwrap_err().kind(), Kind::Mismatch);
}
