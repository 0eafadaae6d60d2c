//! Archives that are written anew, and what of them stays.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;

use conex_spec::{
    Compression, Descriptor, Digest, Document, ImageManifest, Kind, MediaType, Platform, Result,
    Tag,
};
use conex_store::archive::{ArchiveSink, Form, Input, Keep, OciArchive, Output};
use conex_store::{Event, Memory, Observer, Sink, Source, SourceExt};
use conex_tar::compression::{Encoder, Settings};
use conex_tar::{Entry, Kind as Sort, Writer};
use conex_testkit::images;

fn sink(file: &Path, all: bool) -> ArchiveSink {
    observed(file, all, Arc::new(()))
}

fn observed(file: &Path, all: bool, observer: Arc<dyn Observer>) -> ArchiveSink {
    let output = Output::create(file, false).unwrap();
    let keep = Keep { all, observer, spool: file.parent().unwrap().to_owned() };
    let location = "oci-archive:a.tar".parse().unwrap();
    ArchiveSink::new(Form::Oci, output, location).unwrap().keeping(keep)
}

fn open(file: &Path) -> OciArchive {
    let location = "oci-archive:a.tar".parse().unwrap();
    OciArchive::new(Input::Path(file.into()), location, file.parent().unwrap().into())
}

fn image(from: &Memory, seed: usize) -> Descriptor {
    images::image(from, &Platform::new("linux", "amd64"), 1, 5000 + seed)
}

/// Something said about an image.
fn about(from: &Memory, subject: &Descriptor) -> Descriptor {
    let empty = from.add(MediaType::EMPTY, "{}");
    let mut manifest = ImageManifest::new(empty.clone(), vec![empty]);
    manifest.subject = Some(subject.bare());
    let document = Document::new(manifest).unwrap();
    from.add(MediaType::MANIFEST, document.bytes().clone())
}

async fn put_all(to: &dyn Sink, from: &Memory, root: &Descriptor) {
    for child in from.children(root).await.unwrap() {
        Box::pin(put_all(to, from, &child)).await;
    }
    to.put(root, from.fetch(root).await.unwrap()).await.unwrap();
}

async fn write(
    to: ArchiveSink,
    from: &Memory,
    root: &Descriptor,
    name: Option<&str>,
) -> Result<()> {
    put_all(&to, from, root).await;
    let tag = name.map(|name| Tag::new(name).unwrap());
    to.tag(root, tag.as_ref()).await?;
    to.finish().await
}

/// All that a root of the archive needs.
async fn check(archive: &OciArchive, root: &Descriptor) {
    for child in archive.children(root).await.unwrap() {
        Box::pin(check(archive, &child)).await;
    }
    archive.fetch(root).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
}

async fn names(file: &Path) -> Vec<String> {
    let tags: Vec<Tag> = open(file).tags().try_collect().await.unwrap();
    tags.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_loses_what_another_writes_at_once() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    // The first of them finds no file.
    let writers = (0..12).map(|seed| {
        let (file, memory) = (&file, &memory);
        async move {
            let root = image(memory, seed);
            write(sink(file, false), memory, &root, Some(&format!("n{seed:02}"))).await.unwrap();
            root
        }
    });
    let roots = futures_util::future::join_all(writers).await;
    assert_eq!(names(&file).await.len(), roots.len());
    for root in &roots {
        check(&open(&file), root).await;
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A member before all others.
fn put_before(file: &Path, name: &str, content: &[u8]) {
    let (mut tar, mut entry) = (Vec::new(), Entry::new(name, Sort::File));
    entry.size = content.len() as u64;
    Writer::new(&mut tar).append(&entry, content).unwrap();
    tar.extend(fs::read(file).unwrap());
    fs::write(file, tar).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_in_the_way_only_where_it_is_needed() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let [one, two] = [1, 2].map(|seed| image(&memory, seed));
    write(sink(&file, false), &memory, &one, Some("a")).await.unwrap();
    let digest = format!("md5:{}", "a".repeat(32)).parse::<Digest>().unwrap();
    let member = format!("blobs/md5/{}", digest.encoded());
    put_before(&file, &member, b"x");
    write(sink(&file, false), &memory, &two, Some("b")).await.unwrap();
    assert_eq!(names(&file).await, ["a", "b"]);
    check(&open(&file), &one).await;
    let layer = Descriptor::new(MediaType::OCTETS, digest, 1);
    let manifest = ImageManifest::new(memory.add(MediaType::EMPTY, "{}"), vec![layer]);
    let document = Document::new(manifest).unwrap();
    let odd = memory.add(MediaType::MANIFEST, document.bytes().clone());
    let sparse = sink(&file, true);
    sparse.put(&odd, memory.fetch(&odd).await.unwrap()).await.unwrap();
    sparse.tag(&odd, Some(&Tag::new("odd").unwrap())).await.unwrap();
    sparse.finish().await.unwrap();
    put_before(&file, &member, b"x");
    let err = write(sink(&file, false), &memory, &two, Some("c")).await.unwrap_err();
    assert!(err.message().contains("holds already"), "{err}");
    assert!(err.hint_text().unwrap().contains("new archive"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_disk_is_none_of_the_archive() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let [one, two] = [1, 2].map(|seed| image(&memory, seed));
    write(sink(&file, false), &memory, &one, Some("a")).await.unwrap();
    pack(&file);
    let keep = Keep { all: false, observer: Arc::new(()), spool: "/proc/none".into() };
    let err = write(sink(&file, false).keeping(keep), &memory, &two, Some("b")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Io, "{err}");
    // Half of a tar is none.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let err = write(sink(&file, false), &memory, &two, Some("b")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Usage, "{err}");
}

/// Compresses it.
fn pack(file: &Path) {
    let settings = Settings { compression: Compression::Gzip, ..Settings::default() };
    let mut packed = Encoder::new(settings, Vec::new()).unwrap();
    packed.write_all(&fs::read(file).unwrap()).unwrap();
    fs::write(file, packed.finish().unwrap()).unwrap();
}

/// What was told, and a lock that is let go when it was.
#[derive(Default)]
struct Told {
    warnings: Mutex<Vec<String>>,
    lock: Mutex<Option<File>>,
}

impl Observer for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.warnings.lock().unwrap().push(text.to_owned());
            self.lock.lock().unwrap().take();
        }
    }
}

/// As a shell has it that runs `flock a.tar conex …`.
fn lock(file: &Path) -> File {
    let lock = File::open(file).unwrap();
    lock.lock_shared().unwrap();
    lock
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_another_is_waited_for_aloud_and_not_for_ever() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let [one, two] = [1, 2].map(|seed| image(&memory, seed));
    write(sink(&file, false), &memory, &one, Some("a")).await.unwrap();
    let (before, held) = (fs::read(&file).unwrap(), lock(&file));
    let told = Arc::new(Told::default());
    let to = observed(&file, false, told.clone());
    let err = write(to, &memory, &two, Some("b")).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Conflict);
    assert!(err.message().contains("a.tar") && err.hint_text().is_some(), "{err}");
    let warnings = told.warnings.lock().unwrap().clone();
    assert_eq!(warnings, ["waits for who holds a lock on oci-archive:a.tar"]);
    assert_eq!(fs::read(&file).unwrap(), before);
    // Once it is let go, the wait is over.
    let told = Arc::new(Told { lock: Mutex::new(Some(held)), ..Told::default() });
    write(observed(&file, false, told.clone()), &memory, &two, Some("b")).await.unwrap();
    assert_eq!(told.warnings.lock().unwrap().len(), 1);
    assert_eq!(names(&file).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replaces_a_file_whole_asks_for_no_lock_and_is_not_lost() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let [one, two, three] = [1, 2, 3].map(|seed| image(&memory, seed));
    write(sink(&file, false), &memory, &one, Some("a")).await.unwrap();
    let _held = lock(&file);
    write(sink(&file, false), &memory, &two, None).await.unwrap();
    assert_eq!(open(&file).resolve(None).await.unwrap().digest, two.digest);
    // As an export and a manifest of a tree.
    let _held = lock(&file);
    let mut output = Output::create(&file, true).unwrap();
    output.write_all(b"plain").unwrap();
    output.finish().unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"plain");
    // Who has the old file in hand sees that another came.
    fs::write(&file, "").unwrap();
    let mut adding = Output::create(&file, false).unwrap();
    adding.hold().unwrap();
    write(sink(&file, false), &memory, &three, None).await.unwrap();
    assert!(!adding.publish().unwrap());
    assert_eq!(open(&file).resolve(None).await.unwrap().digest, three.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_the_name_goes_and_what_belongs_to_it() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let [one, two, three] = [1, 2, 3].map(|seed| image(&memory, seed));
    let [of_one, of_two] = [&one, &two].map(|subject| about(&memory, subject));
    let deeper = about(&memory, &of_one);
    write(sink(&file, false), &memory, &one, Some("a")).await.unwrap();
    write(sink(&file, false), &memory, &two, Some("b")).await.unwrap();
    for root in [&of_one, &of_two, &deeper] {
        write(sink(&file, true), &memory, root, None).await.unwrap();
    }
    let referrers = async |root: &Descriptor| {
        open(&file).referrers(&root.digest).await.unwrap().into_iter().map(|it| it.digest).collect()
    };
    let digests = |roots: &[&Descriptor]| -> Vec<Digest> {
        roots.iter().map(|root| root.digest.clone()).collect()
    };
    let found: Vec<_> = referrers(&of_one).await;
    assert_eq!(found, digests(&[&deeper]));
    write(sink(&file, false), &memory, &three, Some("a")).await.unwrap();
    assert_eq!(names(&file).await, ["a", "b"]);
    for gone in [&one, &of_one, &deeper] {
        assert!(open(&file).fetch(gone).await.is_err());
    }
    for there in [&two, &of_two, &three] {
        check(&open(&file), there).await;
    }
    // A second name keeps an image, and what belongs to it.
    write(sink(&file, false), &memory, &two, Some("c")).await.unwrap();
    write(sink(&file, false), &memory, &three, Some("b")).await.unwrap();
    let found: Vec<_> = referrers(&two).await;
    assert_eq!(found, digests(&[&of_two]));
    write(sink(&file, false), &memory, &one, None).await.unwrap();
    assert_eq!(names(&file).await, [""; 0]);
    assert_eq!(open(&file).resolve(None).await.unwrap().digest, one.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_archives_stay_too_or_are_left_alone() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let (one, two) = (image(&memory, 1), image(&memory, 2));
    // An empty file is none.
    fs::write(&file, "").unwrap();
    write(sink(&file, false), &memory, &one, Some("a")).await.unwrap();
    let plain = fs::read(&file).unwrap();
    pack(&file);
    write(sink(&file, false), &memory, &two, Some("b")).await.unwrap();
    check(&open(&file), &one).await;
    assert_eq!(names(&file).await, ["a", "b"]);
    // Of a sparse one what is there.
    let sparse = sink(&dir.path().join("sparse"), true);
    sparse.put(&one, memory.fetch(&one).await.unwrap()).await.unwrap();
    sparse.tag(&one, Some(&Tag::new("a").unwrap())).await.unwrap();
    sparse.finish().await.unwrap();
    let file = dir.path().join("sparse");
    write(sink(&file, false), &memory, &two, Some("b")).await.unwrap();
    open(&file).read(&one).await.unwrap();
    // What is damaged or something else is not taken over, nor written over.
    let mut damaged = plain.clone();
    let layer = memory.children(&one).await.unwrap().pop().unwrap();
    let bytes = memory.read(&layer).await.unwrap();
    let at = damaged.windows(64).position(|part| part == &bytes[..64]).unwrap();
    damaged[at] ^= 1;
    for (content, kind) in [(damaged, Kind::Mismatch), (b"mine".to_vec(), Kind::Usage)] {
        fs::write(&file, &content).unwrap();
        let err = write(sink(&file, false), &memory, &two, Some("b")).await.unwrap_err();
        assert_eq!(err.kind(), kind, "{err}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}
