//! What a writer left that ended too early is gone on with.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use conex_spec::{Descriptor, Error, Kind, MediaType, Result};
use conex_store::blobs::Blobs;
use conex_store::commit::Folder;
use conex_store::{ByteStream, Layout, Reopen, Sink};
use futures_util::{StreamExt, stream};

const SIZE: usize = 3 << 20;

fn content() -> (Descriptor, Bytes) {
    let bytes: Vec<u8> = (0..SIZE).map(|i| (i / 7 % 251) as u8).collect();
    (Descriptor::of(MediaType::LAYER, &bytes), bytes.into())
}

/// Content whose stream breaks off at a byte, where one is named.
struct Content {
    bytes: Bytes,
    cut: Option<usize>,
    opened: Mutex<Vec<u64>>,
    anew: Mutex<usize>,
}

impl Content {
    fn new(bytes: &Bytes, cut: Option<usize>) -> Self {
        Self { bytes: bytes.clone(), cut, opened: Mutex::default(), anew: Mutex::default() }
    }

    fn opened(&self) -> Vec<u64> {
        self.opened.lock().unwrap().clone()
    }
}

#[async_trait]
impl Reopen for Content {
    async fn open(&self, from: u64) -> Result<ByteStream> {
        self.opened.lock().unwrap().push(from);
        let end = self.cut.unwrap_or(self.bytes.len());
        let rest = self.bytes.slice(usize::try_from(from).unwrap()..end);
        let cut = self.cut.map(|_| Err(Error::new(Kind::Network, "cut")));
        let chunks: Vec<_> = rest.chunks(100_000).map(Bytes::copy_from_slice).map(Ok).collect();
        Ok(stream::iter(chunks.into_iter().chain(cut)).boxed())
    }

    fn anew(&self, _: &Error) {
        *self.anew.lock().unwrap() += 1;
    }
}

struct Place {
    dir: tempfile::TempDir,
    layout: Layout,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path(), None).unwrap();
        layout.make().unwrap();
        Self { dir, layout }
    }

    fn partials(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join(".conex/partial"));
        entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    /// As a writer that ended too early leaves it.
    async fn cut_at(&self, blob: &Descriptor, bytes: &Bytes, at: usize) -> PathBuf {
        let cut = Content::new(bytes, Some(at));
        assert_eq!(self.layout.put_from(blob, &cut).await.unwrap_err().kind(), Kind::Network);
        assert!(!self.layout.has(blob).await.unwrap());
        self.partials().pop().unwrap()
    }

    async fn whole(&self, blob: &Descriptor, bytes: &Bytes) -> Content {
        let content = Content::new(bytes, None);
        self.layout.put_from(blob, &content).await.unwrap();
        assert!(self.layout.has(blob).await.unwrap());
        let path = conex_store::blobs::path(&blob.digest).unwrap();
        assert!(fs::read(self.dir.path().join(path)).unwrap() == *bytes);
        assert!(self.partials().is_empty());
        content
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_does_not_come_again() {
    let (blob, bytes) = content();
    for at in [1, 100_000, SIZE - 1, SIZE] {
        let place = Place::new();
        let partial = place.cut_at(&blob, &bytes, at).await;
        assert_eq!(fs::metadata(&partial).unwrap().len(), at as u64);
        let content = place.whole(&blob, &bytes).await;
        assert_eq!(content.opened(), [at as u64]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_again_and_again_goes_on_each_time() {
    let (blob, bytes) = content();
    let place = Place::new();
    for at in (0..SIZE).step_by(SIZE / 5).skip(1) {
        place.cut_at(&blob, &bytes, at).await;
    }
    let last = (0..SIZE).step_by(SIZE / 5).next_back().unwrap();
    assert_eq!(place.whole(&blob, &bytes).await.opened(), [last as u64]);
}

/// Nothing of it was synced: after a power cut there may be anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_thrown_away_once() {
    let (blob, bytes) = content();
    let damages: [fn(&Path); 3] = [
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[1000] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| fs::write(path, vec![0; SIZE]).unwrap(),
        |path| fs::write(path, vec![0; SIZE - 1]).unwrap(),
    ];
    for damage in damages {
        let place = Place::new();
        damage(&place.cut_at(&blob, &bytes, SIZE / 2).await);
        let content = place.whole(&blob, &bytes).await;
        assert_eq!(content.opened().len(), 2);
        assert_eq!((content.opened()[1], *content.anew.lock().unwrap()), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_could_write_is_not_gone_on_with() {
    let (blob, bytes) = content();
    let beside = tempfile::tempdir().unwrap();
    let canary = beside.path().join("canary");
    type Change<'a> = Box<dyn Fn(&Path) + 'a>;
    let changes: [Change<'_>; 5] = [
        Box::new(|path| fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap()),
        Box::new(|path| fs::hard_link(path, path.with_extension("other")).unwrap()),
        Box::new(|path| fs::write(path, vec![0; SIZE + 1]).unwrap()),
        Box::new(|path| {
            fs::remove_file(path).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
        }),
        Box::new(|path| {
            fs::write(&canary, "alive").unwrap();
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(&canary, path).unwrap();
        }),
    ];
    for (number, change) in changes.iter().enumerate() {
        let place = Place::new();
        let partial = place.cut_at(&blob, &bytes, SIZE / 2).await;
        change(&partial);
        let content = Content::new(&bytes, None);
        let put = place.layout.put_from(&blob, &content).await;
        if number >= 3 {
            // What is no file is told, neither opened nor followed nor removed.
            assert_eq!(put.unwrap_err().kind(), Kind::Invalid);
            assert!(number == 3 || fs::read(&canary).unwrap() == b"alive");
            continue;
        }
        put.unwrap();
        assert_eq!(content.opened(), [0], "{number}");
        assert!(place.layout.has(&blob).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_being_written_is_left_alone() {
    let (blob, bytes) = content();
    let place = Place::new();
    let partial = place.cut_at(&blob, &bytes, SIZE / 2).await;
    let folder = Folder::open(place.dir.path()).unwrap();
    let writer = Blobs(&folder).partial(&blob).unwrap().unwrap();
    assert!(Blobs(&folder).partial(&blob).unwrap().is_none());
    let content = Content::new(&bytes, None);
    place.layout.put_from(&blob, &content).await.unwrap();
    assert_eq!(content.opened(), [0]);
    assert!(place.layout.has(&blob).await.unwrap());
    // Not even the one that is swept, while somebody has it.
    assert_eq!(Blobs(&folder).sweep(i64::MAX), 0);
    drop(writer);
    assert_eq!(Blobs(&folder).sweep(i64::MIN), 1, "its blob has come another way");
    assert!(!partial.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_old_are_swept() {
    let (blob, bytes) = content();
    let place = Place::new();
    let partial = place.cut_at(&blob, &bytes, SIZE / 2).await;
    let folder = Folder::open(place.dir.path()).unwrap();
    assert_eq!(Blobs(&folder).sweep(i64::MIN), 0);
    assert!(partial.exists());
    assert_eq!(Blobs(&folder).sweep(i64::MAX), 1);
    assert!(!partial.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_to_its_end_is_gone_and_what_is_small_is_not_kept() {
    let (blob, bytes) = content();
    let place = Place::new();
    let mut wrong = bytes.to_vec();
    wrong[SIZE - 1] ^= 1;
    let content = Content::new(&wrong.into(), None);
    let err = place.layout.put_from(&blob, &content).await.unwrap_err();
    assert_eq!((err.kind(), content.opened()), (Kind::Mismatch, vec![0]));
    assert!(place.partials().is_empty());

    let small = bytes.slice(..1000);
    let blob = Descriptor::of(MediaType::LAYER, &small);
    let cut = Content::new(&small, Some(500));
    assert!(place.layout.put_from(&blob, &cut).await.is_err());
    assert!(place.partials().is_empty());
}
