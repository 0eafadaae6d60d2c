//! Archives of both forms, as conex and others write them, and as nobody should.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use conex_spec::{
    Compression, Descriptor, Digest, Error, Kind, Location, MediaType, Name, Platform, Result, Tag,
};
use conex_store::archive::{ArchiveSink, DockerArchive, Form, Input, OciArchive, Output};
use conex_store::{Memory, Sink, Source, SourceExt};
use conex_tar::compression::{Encoder, Settings};
use conex_tar::{Entry, Kind as Sort, Writer};
use conex_testkit::images::{self, chunks, noise};

/// A tar in the making.
struct Tar(Writer<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Writer::new(Vec::new()))
    }

    fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        let mut entry = Entry::new(name, Sort::File);
        entry.size = bytes.len() as u64;
        self.0.append(&entry, bytes).unwrap();
        self
    }

    fn json(self, name: &str, value: &Value) -> Self {
        self.file(name, value.to_string().as_bytes())
    }

    fn link(mut self, name: &str, target: &str) -> Self {
        self.0.append(&Entry::new(name, Sort::Symlink(target.into())), &b""[..]).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }

    /// As a file in a new folder.
    fn save(self) -> (tempfile::TempDir, PathBuf) {
        save(&self.bytes())
    }
}

fn save(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.tar");
    std::fs::write(&file, bytes).unwrap();
    (dir, file)
}

fn docker(file: &Path) -> DockerArchive {
    let location = "docker-archive:a.tar".parse().unwrap();
    DockerArchive::new(Input::Path(file.into()), location, file.parent().unwrap().join("spool"))
}

fn oci(file: &Path) -> OciArchive {
    let location = "oci-archive:a.tar".parse().unwrap();
    OciArchive::new(Input::Path(file.into()), location, file.parent().unwrap().join("spool"))
}

fn tag(text: &str) -> Name {
    Name::Tag(Tag::new(text).unwrap())
}

fn config(layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::sha256(layer).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

/// What a Docker engine before version 25 saves: a folder for each layer, the second of them a
/// link to the first, as engines and skopeo write a layer that is there already.
fn old_engine() -> Tar {
    let layer = noise(1, 3000);
    Tar::new()
        .json("c.json", &config(&[&layer, &layer]))
        .file("one/VERSION", b"1.0")
        .file("one/layer.tar", &layer)
        .link("two/layer.tar", "../one/layer.tar")
        .json("d.json", &config(&[&layer]))
        .json(
            "manifest.json",
            &json!([
                {"Config": "c.json", "RepoTags": ["app:1", "team/app:2"],
                 "Layers": ["one/layer.tar", "two/layer.tar"]},
                {"Config": "d.json", "RepoTags": null, "Layers": ["one/layer.tar"]},
            ]),
        )
        .json("repositories", &json!({"app": {"1": "two"}}))
}

#[tokio::test]
async fn archives_of_old_engines_are_images_with_their_diff_ids() {
    let (_dir, file) = old_engine().save();
    let archive = docker(&file);
    let root = archive.resolve(Some(&tag("app:1"))).await.unwrap();
    for name in ["docker.io/library/app:1", "docker.io/team/app:2", "team/app:2", "@0"] {
        assert_eq!(archive.resolve(Some(&tag(name))).await.unwrap(), root, "{name}");
    }
    let children = archive.children(&root).await.unwrap();
    let layer = noise(1, 3000);
    assert_eq!(children[1], Descriptor::of(MediaType::LAYER, &layer));
    assert_eq!(archive.read(&children[2]).await.unwrap(), layer);
    let by_config = Name::Digest(children[0].digest.clone());
    assert_eq!(archive.resolve(Some(&by_config)).await.unwrap(), root);
    assert_eq!(archive.resolve(Some(&Name::Digest(root.digest.clone()))).await.unwrap(), root);
    let second = archive.resolve(Some(&tag("@1"))).await.unwrap();
    assert_eq!(archive.children(&second).await.unwrap().len(), 2);
    // Images of this machine are asked for by their own name alone.
    let list = json!([{"Config": "c.json", "RepoTags": ["localhost/own:latest"], "Layers": []}]);
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}});
    let (_own, own) = Tar::new().json("c.json", &config).json("manifest.json", &list).save();
    assert!(docker(&own).resolve(Some(&tag("own"))).await.is_ok());
    assert!(docker(&own).resolve(Some(&tag("other"))).await.is_err());
    // A name that is wrong or missing lists what there is.
    for name in [None, Some(tag("app:3")), Some(tag("@2"))] {
        let err = archive.resolve(name.as_ref()).await.unwrap_err();
        assert_eq!(err.kind(), Kind::NotFound);
        assert_eq!(err.found_value(), Some("app:1, team/app:2"), "{err}");
        assert!(err.hint_text().unwrap().contains("@0 to @1"), "{err}");
    }
    let tags: Vec<Tag> = archive.tags().try_collect().await.unwrap();
    assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["app:1", "team/app:2"]);
}

/// The same archive in every way in which bytes can come.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_a_stream_and_compression_give_the_same_image() {
    let bytes = old_engine().bytes();
    let mut roots = Vec::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut encoder =
            Encoder::new(Settings { compression, ..Settings::default() }, Vec::new()).unwrap();
        encoder.write_all(&bytes).unwrap();
        let bytes = encoder.finish().unwrap();
        let (dir, file) = save(&bytes);
        let location: Location = "docker-archive:-".parse().unwrap();
        let spool = dir.path().join("spool");
        let stream = Input::Stream(Box::new(std::io::Cursor::new(bytes)));
        for archive in [docker(&file), DockerArchive::new(stream, location, spool.clone())] {
            let root = archive.resolve(Some(&tag("app:1"))).await.unwrap();
            let layer = &archive.children(&root).await.unwrap()[2];
            assert_eq!(archive.read(layer).await.unwrap(), noise(1, 3000));
            roots.push(root);
        }
        // What is spooled has no name.
        assert!(std::fs::read_dir(&spool).unwrap().next().is_none());
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Docker's engine since version 25: an OCI layout with `manifest.json`, and in the layout an index
/// whose other platforms were not saved.
#[tokio::test]
async fn the_digests_of_a_layout_in_the_archive_are_kept() {
    let memory = Memory::new();
    let image = images::image(&memory, &Platform::new("linux", "amd64"), 2, 500);
    let absent = Descriptor::new(MediaType::MANIFEST, images::nowhere(), 500);
    let whole = images::index(&memory, vec![image.clone()]);
    let partial = images::index(&memory, vec![image.clone(), absent]);
    let children = memory.children(&image).await.unwrap();
    for (listed, expected) in [(&image, &image), (&whole, &whole), (&partial, &image)] {
        let path = |blob: &Descriptor| format!("blobs/sha256/{}", blob.digest.encoded());
        let mut tar = Tar::new().json("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
        for blob in children.iter().chain([&image, &whole, &partial]) {
            tar = tar.file(&path(blob), &memory.read(blob).await.unwrap());
        }
        let list = json!([{"Config": path(&children[0]), "RepoTags": ["app:1"],
            "Layers": children[1..].iter().map(path).collect::<Vec<_>>()}]);
        let index = json!({"schemaVersion": 2, "manifests": [listed]});
        let (_dir, file) = tar.json("manifest.json", &list).json("index.json", &index).save();
        let archive = docker(&file);
        let root = archive.resolve(Some(&tag("app:1"))).await.unwrap();
        assert_eq!(root.digest, expected.digest);
        for blob in &children {
            assert_eq!(archive.read(blob).await.unwrap(), memory.read(blob).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_compressed_layer_is_called_by_its_own_digest() {
    let plain = noise(1, 5000);
    let settings = Settings { compression: Compression::Gzip, ..Settings::default() };
    let mut encoder = Encoder::new(settings, Vec::new()).unwrap();
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    let list = json!([{"Config": "c", "RepoTags": [], "Layers": ["l"]}]);
    let tar = Tar::new().file("l", &packed).json("c", &config(&[&plain]));
    let (_dir, file) = tar.json("manifest.json", &list).save();
    let archive = docker(&file);
    let root = archive.resolve(None).await.unwrap();
    let layer = archive.children(&root).await.unwrap()[1].clone();
    assert_eq!(layer, Descriptor::of(MediaType::LAYER_GZIP, &packed));
    assert_eq!(archive.read(&layer).await.unwrap(), packed);
}

/// Each ends in one error that says what is wrong.
#[tokio::test]
async fn hostile_lists_are_refused() {
    let layer = noise(1, 700);
    let with = |entry: Value, tar: Tar| tar.json("manifest.json", &json!([entry]));
    let base = || Tar::new().json("c", &config(&[&layer])).file("l", &layer);
    let entry = |config: &str, layer: &str| json!({"Config": config, "Layers": [layer]});
    let cases = [
        (with(entry("../../etc/passwd", "l"), base()), "../../etc/passwd, which is no member"),
        (with(entry("c", "/etc/passwd"), base()), "/etc/passwd, which is no member"),
        (with(entry("c", "x"), base().link("x", "y").link("y", "x")), "in a circle"),
        (with(entry("c", "x"), base().link("x", "../../../etc/passwd")), "leads out of it"),
        (with(entry("c", "x"), base().link("x", "/etc/passwd")), "etc/passwd, which is no member"),
        (with(entry("c", "l"), base().file("l", b"other")), "there twice"),
        (with(entry("c", "l"), base().file("../l", b"other")), "leads out of it"),
        (with(json!({"Config": "c", "Layers": ["l", "l"]}), base()), "2 diff IDs"),
        (with(json!({"Config": "l", "Layers": ["l"]}), base()), "UTF-8"),
        (with(json!({"Config": "c", "config": "l", "Layers": []}), base()), "only in case"),
        (base().file("manifest.json", b"[]"), "lists no image"),
        (base().file("manifest.json", &[b'['; 9 << 20]), "too large"),
        (base().file("manifest.json", &[b'['; 1 << 20]), "64 levels"),
        (base().file("repositories", b"{}"), "1.10"),
        (base().file("oci-layout", b"{}"), "oci-archive:"),
        (Tar::new(), "empty"),
    ];
    for (tar, part) in cases {
        let (_dir, file) = tar.save();
        let err = docker(&file).resolve(None).await.unwrap_err();
        let told = format!("{err} {}", err.hint_text().unwrap_or_default());
        assert!(told.contains(part), "{part} not in {told}");
        assert!(told.starts_with("docker-archive:a.tar: "), "{told}");
    }
}

#[tokio::test]
async fn damaged_archives_are_refused_at_every_cut() {
    let bytes = old_engine().bytes();
    // What comes after the content of `manifest.json` may be missing.
    let content = bytes.len() - 2560;
    for cut in (0..content).step_by(97) {
        let (_dir, file) = save(&bytes[..cut]);
        assert!(docker(&file).resolve(Some(&tag("app:1"))).await.is_err(), "{cut}");
        let (_dir, file) = save(&bytes[..cut]);
        assert!(oci(&file).resolve(None).await.is_err(), "{cut}");
    }
    // Whoever asks again is told the same.
    let (_dir, file) = save(&bytes[..700]);
    let archive = docker(&file);
    let [first, again] = [archive.resolve(None).await, archive.resolve(None).await];
    let (first, again) = (first.unwrap_err(), again.unwrap_err());
    assert_eq!((first.kind(), first.to_string()), (again.kind(), again.to_string()));
    for (junk, part) in [
        (&b""[..], "empty"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04zip", "zip"),
        (b"{\"schemaVersion\": 2}", "tar ends too early"),
        (b"\x1f\x8bgarbage", "gzip"),
        (&[0x55; 2048], "checksum"),
    ] {
        let (_dir, file) = save(junk);
        let err = docker(&file).resolve(None).await.unwrap_err();
        assert!(err.to_string().contains(part), "{part}: {err}");
    }
    let dir = tempfile::tempdir().unwrap();
    let err = docker(dir.path()).resolve(None).await.unwrap_err();
    assert!(err.hint_text().unwrap().contains("oci:DIR"), "{err}");
}

/// A layer that is not what the config says is found when it is read, as anywhere.
#[tokio::test]
async fn a_wrong_layer_ends_in_an_error() {
    let list = json!([{"Config": "c", "Layers": ["l"]}]);
    let tar = Tar::new().json("c", &config(&[b"right"])).file("l", b"wrong");
    let (_dir, file) = tar.json("manifest.json", &list).save();
    let archive = docker(&file);
    let root = archive.resolve(None).await.unwrap();
    let layer = archive.children(&root).await.unwrap()[1].clone();
    assert_eq!(archive.read(&layer).await.unwrap_err().kind(), Kind::Mismatch);
}

#[tokio::test]
async fn one_among_thousands_of_images_is_found_at_once() {
    let layer = noise(1, 100);
    let mut tar = Tar::new().file("l", &layer).json("c", &config(&[&layer]));
    let images: Vec<_> = (0..5000)
        .map(|n| json!({"Config": "c", "RepoTags": [format!("app:{n}")], "Layers": ["l"]}))
        .collect();
    for n in 0..5000 {
        tar = tar.file(&format!("{n}/VERSION"), b"1.0");
    }
    let (_dir, file) = tar.json("manifest.json", &json!(images)).save();
    let start = std::time::Instant::now();
    assert!(docker(&file).resolve(Some(&tag("app:4999"))).await.is_ok());
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[tokio::test]
async fn layouts_in_archives_are_checked() {
    let marker = json!({"imageLayoutVersion": "1.0.0"});
    let layout = |marker: &Value, index: &[u8]| {
        Tar::new().json("./oci-layout", marker).file("./index.json", index)
    };
    let root = Descriptor::new(MediaType::MANIFEST, images::nowhere(), 1 << 62);
    let index = json!({"schemaVersion": 2, "manifests": [root]}).to_string();
    for (tar, part) in [
        (layout(&json!({"imageLayoutVersion": "2.0.0"}), b"{}"), "version"),
        (layout(&marker, b"{}"), "index.json"),
        (layout(&marker, &[b' '; 9 << 20]), "too large"),
        (Tar::new().json("oci-layout", &marker), "members"),
        (Tar::new().file("manifest.json", b"[]"), "docker-archive:"),
    ] {
        let (_dir, file) = tar.save();
        let err = oci(&file).resolve(None).await.unwrap_err();
        let told = format!("{err} {}", err.hint_text().unwrap_or_default());
        assert!(told.contains(part), "{part} not in {told}");
    }
    let (_dir, file) = layout(&marker, index.as_bytes()).save();
    let archive = oci(&file);
    let found = archive.resolve(None).await.unwrap();
    assert_eq!(archive.read(&found).await.unwrap_err().kind(), Kind::Limit);
    assert_eq!(archive.open(&found, 0..1).await.err().unwrap().kind(), Kind::NotFound);
}

fn sink(form: Form, file: &Path) -> ArchiveSink {
    let location = match form {
        Form::Oci => "oci-archive:a.tar",
        Form::Docker => "docker-archive:a.tar",
    };
    ArchiveSink::new(form, Output::create(file, true).unwrap(), location.parse().unwrap()).unwrap()
}

async fn put_all(to: &dyn Sink, from: &Memory, root: &Descriptor) -> Result<()> {
    for child in from.children(root).await? {
        Box::pin(put_all(to, from, &child)).await?;
    }
    to.put(root, from.fetch(root).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_one_blob_leaves_the_others() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let root = images::image(&memory, &Platform::new("linux", "amd64"), 2, 5000);
    let file = dir.path().join("a.tar");
    let bad = noise(9, 70_000);
    let blob = Descriptor::of(MediaType::LAYER, &bad);
    let mut bytes = Vec::new();
    for broken in [false, true] {
        for form in [Form::Oci, Form::Docker] {
            let to = sink(form, &file);
            if broken {
                let wrong: Bytes = [&bad[1..], b"x"].concat().into();
                let err = to.put(&blob, chunks(&wrong, 1000)).await.unwrap_err();
                assert_eq!(err.kind(), Kind::Mismatch);
                let cut = [Ok(bad.slice(..999)), Err(Error::new(Kind::Network, "gone"))];
                let cut = futures_util::stream::iter(cut).boxed();
                assert_eq!(to.put(&blob, cut).await.unwrap_err().kind(), Kind::Network);
                assert!(!to.has(&blob).await.unwrap());
            }
            put_all(&to, &memory, &root).await.unwrap();
            put_all(&to, &memory, &root).await.unwrap();
            to.tag(&root, Some(&Tag::new("app:1").unwrap())).await.unwrap();
            to.finish().await.unwrap();
            assert!(to.put(&blob, chunks(&bad, 1000)).await.is_err(), "it is finished");
            bytes.push(std::fs::read(&file).unwrap());
        }
    }
    // Nothing is left of what went wrong, but for the folders that it was to go to.
    assert_eq!(bytes[0], bytes[2]);
    assert_eq!(bytes[1], bytes[3]);
    let unknown = Descriptor::new(MediaType::LAYER, "md5:d41d8cd98f00b204".parse().unwrap(), 0);
    assert!(sink(Form::Oci, &file).put(&unknown, chunks(&Bytes::new(), 1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_are_written_one_after_the_other() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let to = sink(Form::Oci, &file);
    let root = images::two_platforms(&memory);
    let tags: Vec<_> = (0..16).map(|n| Tag::new(&format!("w{n:02}")).unwrap()).collect();
    let writers = tags.iter().map(|tag| async {
        put_all(&to, &memory, &root).await.unwrap();
        to.tag(&root, Some(tag)).await.unwrap();
    });
    futures_util::future::join_all(writers).await;
    to.finish().await.unwrap();
    let archive = oci(&file);
    let listed: Vec<Tag> = archive.tags().try_collect().await.unwrap();
    assert_eq!(listed, tags);
    assert_eq!(archive.resolve(None).await.unwrap().digest, root.digest);
    let amd64 = &memory.children(&root).await.unwrap()[0];
    let by_digest = archive.resolve(Some(&Name::Digest(amd64.digest.clone()))).await.unwrap();
    assert_eq!(by_digest.digest, amd64.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_takes_single_images_only() {
    let (memory, dir) = (Memory::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.tar");
    let empty = memory.add(MediaType::EMPTY, "{}");
    let artifact = conex_spec::ImageManifest::new(empty.clone(), vec![empty]);
    let artifact = conex_spec::Document::new(artifact).unwrap();
    let artifact = memory.add(MediaType::MANIFEST, artifact.bytes().clone());
    for (root, part) in [(images::two_platforms(&memory), "2 images"), (artifact, "an artifact")] {
        let to = sink(Form::Docker, &file);
        put_all(&to, &memory, &root).await.unwrap();
        let err = to.tag(&root, None).await.unwrap_err();
        assert!(err.found_value().unwrap().contains(part), "{err}");
        drop(to);
        assert!(!file.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_off_takes_nothing_more() {
    let output = Output::stream(Box::new(std::io::sink()));
    let to = ArchiveSink::new(Form::Oci, output, "oci-archive:-".parse().unwrap()).unwrap();
    let bytes = noise(1, 5000);
    let blob = Descriptor::of(MediaType::LAYER, &bytes);
    let cut = [Ok(bytes.slice(..999)), Err(Error::new(Kind::Network, "gone"))];
    let err = to.put(&blob, futures_util::stream::iter(cut).boxed()).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Io, "no retry can help");
    assert!(to.put(&blob, chunks(&bytes, 1000)).await.is_err());
    assert!(to.finish().await.is_err());
}
