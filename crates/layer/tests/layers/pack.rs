//! Packing a directory: what goes in comes out, and the same tree gives the same bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::tree::{Layer, layer, snapshot};
use common::{is_root, options, temp_dir};
use conex_layer::pack::{Filter, IdRange, Options, Owners, Packed, Patterns, pack, pack_over};
use conex_layer::unpack::{LayerInput, Unpacker};
use conex_spec::{Compression, Digest};
use conex_tar::{
    Code, Entry, Kind, Reader, Time,
    compression::{Decoder, Settings},
};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

/// One of everything.
fn sample(dir: &Path) {
    fs::create_dir_all(dir.join("etc/deep/er")).unwrap();
    fs::write(dir.join("etc/passwd"), "root").unwrap();
    fs::write(dir.join("etc/large"), vec![7; 300_000]).unwrap();
    fs::write(dir.join("caf\u{e9}\n"), "").unwrap();
    fs::write(dir.join("a".repeat(200)), "long").unwrap();
    fs::hard_link(dir.join("etc/passwd"), dir.join("zlink")).unwrap();
    symlink("/nowhere/../etc", dir.join("dangling")).unwrap();
    mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::set_permissions(dir.join("etc/passwd"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(dir.join("etc"), fs::Permissions::from_mode(0o1777)).unwrap();
    for (name, value) in [("user.b", &b"2"[..]), ("user.a", b"")] {
        let _ = rustix::fs::setxattr(dir.join("etc/large"), name, value, XattrFlags::empty());
        let _ = rustix::fs::setxattr(dir.join("etc"), name, value, XattrFlags::empty());
    }
    if is_root() {
        mknodat(CWD, dir.join("null"), FileType::CharacterDevice, Mode::RUSR, 0x103).unwrap();
        std::os::unix::fs::lchown(dir.join("dangling"), Some(5), Some(3_000_000)).unwrap();
    }
    for (name, secs) in [("etc/passwd", 1_000_000_000), ("dangling", -5), ("etc", 77), ("", 99)] {
        let time = Timespec { tv_sec: secs, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(CWD, dir.join(name), &times, nofollow).unwrap();
    }
}

fn pack_with(dir: &Path, options: &Options) -> (Packed, Vec<u8>) {
    let mut layer = Vec::new();
    let packed = pack(dir, &mut layer, options).unwrap();
    assert_eq!(packed.size, layer.len() as u64);
    assert_eq!(packed.digest, Digest::sha256(&layer));
    (packed, layer)
}

fn compressed(compression: Compression) -> Options {
    Options { settings: Settings { compression, ..Settings::default() }, ..Options::default() }
}

fn entries(layer: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::new(layer);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push(entry);
    }
    assert_eq!(reader.warnings().count(), 0);
    entries
}

#[test]
fn packed_unpacked_and_packed_again_is_the_same() {
    let temp = temp_dir();
    let first = temp.path().join("first");
    fs::create_dir(&first).unwrap();
    sample(&first);
    for compression in ALL {
        let (packed, layer) = pack_with(&first, &compressed(compression));
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut Decoder::new(compression, &layer[..]).unwrap(), &mut tar)
            .unwrap();
        assert_eq!(packed.diff_id, Digest::sha256(&tar));
        assert_eq!(packed.uncompressed, tar.len() as u64);

        let target = temp.path().join(format!("{compression}"));
        let mut unpacker = Unpacker::new(&target, options()).unwrap();
        let input = LayerInput {
            compression,
            diff_id: packed.diff_id.clone(),
            reader: Box::new(std::io::Cursor::new(layer)),
            name: "packed".into(),
        };
        assert_eq!(unpacker.apply(input).unwrap().entries, packed.entries);
        unpacker.publish().unwrap();
        let (again, _) = pack_with(&target, &compressed(compression));
        if is_root() {
            assert_eq!(again.digest, packed.digest, "{compression}");
        }
        assert_eq!(again.entries, packed.entries);
    }
}

#[test]
fn entries_are_sorted_and_plain() {
    let temp = temp_dir();
    sample(temp.path());
    let (packed, layer) = pack_with(temp.path(), &compressed(Compression::None));
    let entries = entries(&layer);
    assert_eq!(entries.len() as u64, packed.entries);
    let find = |path: &str| {
        let found = entries.iter().find(|entry| entry.path == path.as_bytes());
        found.unwrap_or_else(|| panic!("{path}"))
    };
    assert_eq!(entries[0].path, b"./");
    assert_eq!(entries[0].mtime, Time { secs: 99, nanos: 123_456_789 });
    assert_eq!(find("etc/").mode, 0o1777);
    assert_eq!(find("etc/passwd").mode, 0o4711);
    assert_eq!(find("zlink").kind, Kind::HardLink(b"etc/passwd".to_vec()));
    assert_eq!(find("dangling").mtime.secs, -5);
    assert_eq!(find("pipe").kind, Kind::Fifo);
    if is_root() {
        assert_eq!(find("null").kind, Kind::CharDevice { major: 1, minor: 3 });
        assert_eq!((find("dangling").uid, find("dangling").gid), (5, 3_000_000));
    }
    let top: Vec<_> =
        entries[1..].iter().map(|entry| entry.path.split(|&b| b == b'/').next().unwrap()).collect();
    assert!(top.is_sorted(), "{top:?}");
}

#[test]
fn times_and_owners_can_be_given() {
    let temp = temp_dir();
    sample(temp.path());
    let latest = Time { secs: 500, nanos: 0 };
    let options = Options {
        owners: Owners::Set { uid: 10, gid: 20 },
        latest: Some(latest),
        ..compressed(Compression::None)
    };
    for entry in entries(&pack_with(temp.path(), &options).1) {
        assert_eq!((entry.uid, entry.gid), (10, 20));
        assert!(entry.mtime <= latest);
    }
}

#[test]
fn whiteouts_are_packed_only_when_asked_for() {
    let temp = temp_dir();
    fs::write(temp.path().join(".wh.x"), "").unwrap();
    let err = pack(temp.path(), Vec::new(), &Options::default()).unwrap_err();
    assert!(err.to_string().contains(".wh."), "{err}");
    let options = Options { whiteouts: true, ..Options::default() };
    assert_eq!(pack(temp.path(), Vec::new(), &options).unwrap().entries, 2);
}

#[test]
fn sockets_are_left_out() {
    let temp = temp_dir();
    let _socket = UnixListener::bind(temp.path().join("s")).unwrap();
    let (packed, _) = pack_with(temp.path(), &Options::default());
    assert_eq!(packed.entries, 1);
    assert!(packed.warnings.has(Code::SocketSkipped));
}

#[test]
fn links_are_never_followed() {
    let temp = temp_dir();
    let outside = temp.path().join("outside");
    let tree = temp.path().join("tree");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&tree).unwrap();
    fs::write(outside.join("secret"), "").unwrap();
    symlink(&outside, tree.join("link")).unwrap();
    assert_eq!(pack_with(&tree, &Options::default()).0.entries, 2);
    assert!(fs::metadata(tree.join("link/secret")).unwrap().size() == 0);
}

#[test]
fn what_is_not_there_is_an_error() {
    let err = pack(Path::new("/no/such/directory"), Vec::new(), &Options::default()).unwrap_err();
    assert_eq!(err.kind(), conex_spec::Kind::NotFound);
}

fn names(layer: &[u8]) -> Vec<String> {
    let show = |entry: &Entry| String::from_utf8_lossy(&entry.path).into_owned();
    entries(layer).iter().map(show).collect()
}

#[test]
fn patterns_choose_what_is_packed() {
    let temp = temp_dir();
    for dir in ["src/deep", "docs", "empty"] {
        fs::create_dir_all(temp.path().join(dir)).unwrap();
    }
    for file in ["a.txt", "b.md", "src/main.rs", "src/deep/x.txt", "docs/keep.md", "docs/drop.md"] {
        fs::write(temp.path().join(file), file).unwrap();
    }
    let packed = |include: &[&str], exclude: &str| {
        let mut filter =
            Filter { exclude: Patterns::dockerignore(exclude).unwrap(), ..Filter::default() };
        include.iter().for_each(|pattern| filter.include.add(pattern).unwrap());
        let options = Options { filter, ..compressed(Compression::None) };
        names(&pack_with(temp.path(), &options).1).join(" ")
    };
    assert_eq!(packed(&[], "docs\nempty\n**/*.txt\n"), "./ b.md src/ src/deep/ src/main.rs");
    assert_eq!(packed(&[], "*\n!docs/keep.md\n"), "./ docs/ docs/keep.md");
    assert_eq!(packed(&["src/deep"], ""), "./ src/ src/deep/ src/deep/x.txt");
    assert_eq!(packed(&["**/*.txt"], "a.*"), "./ src/ src/deep/ src/deep/x.txt");
}

#[test]
fn owners_are_mapped_and_none_is_forgotten() {
    if !is_root() {
        return;
    }
    let temp = temp_dir();
    fs::write(temp.path().join("file"), "").unwrap();
    std::os::unix::fs::chown(temp.path().join("file"), Some(100_007), Some(100_008)).unwrap();
    let range = |from, to, count| IdRange { from, to, count };
    let ids = vec![range(0, 5, 1), range(100_000, 0, 65_536)];
    let owners = Owners::Map { uids: ids.clone(), gids: ids };
    let options = Options { owners, ..compressed(Compression::None) };
    let all = entries(&pack_with(temp.path(), &options).1);
    assert_eq!((all[0].uid, all[0].gid), (5, 5));
    assert_eq!((all[1].uid, all[1].gid), (7, 8));
    let owners = Owners::Map { uids: vec![range(0, 0, 1)], gids: vec![range(0, 0, 1)] };
    let options = Options { owners, ..compressed(Compression::None) };
    assert!(pack(temp.path(), Vec::new(), &options).is_err());
}

#[test]
fn the_upper_directory_of_an_overlay_is_understood() {
    if !is_root() {
        return;
    }
    let temp = temp_dir();
    let dir = |name: &str| temp.path().join(name);
    fs::create_dir_all(dir("opaque/sub")).unwrap();
    fs::write(dir("opaque/new"), "x").unwrap();
    mknodat(CWD, dir("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(dir(path), name, value, XattrFlags::empty())
    };
    // Where the file system takes no such attribute there is nothing to test.
    if set("opaque", "trusted.overlay.opaque", b"y").is_err() {
        return;
    }
    let options = Options { overlay: true, ..compressed(Compression::None) };
    let all = names(&pack_with(temp.path(), &options).1);
    assert_eq!(
        all,
        ["./", ".wh.gone", "opaque/", "opaque/.wh..wh..opq", "opaque/new", "opaque/sub/"]
    );
    set("opaque/sub", "trusted.overlay.redirect", b"/else").unwrap();
    let err = pack(temp.path(), Vec::new(), &options).unwrap_err();
    assert_eq!(err.kind(), conex_spec::Kind::Unsupported, "{err}");
}

/// Nothing of the caller, the machine or the moment is in a layer.
#[test]
fn order_on_the_disk_and_umask_leave_no_trace() {
    let temp = temp_dir();
    let time = Timespec { tv_sec: 1000, tv_nsec: 5 };
    let times = Timestamps { last_access: time, last_modification: time };
    let mut digests = Vec::new();
    for (at, order) in [(0, 1), (1, -1)] {
        let dir = temp.path().join(at.to_string());
        fs::create_dir(&dir).unwrap();
        let mut numbers: Vec<i32> = (0..300).collect();
        numbers.sort_by_key(|n| n * order);
        for n in numbers {
            let file = dir.join(format!("file-{n}"));
            fs::write(&file, n.to_string()).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
            rustix::fs::utimensat(CWD, &file, &times, rustix::fs::AtFlags::empty()).unwrap();
        }
        rustix::fs::utimensat(CWD, &dir, &times, rustix::fs::AtFlags::empty()).unwrap();
        digests.push(pack_with(&dir, &compressed(Compression::Gzip)).0.digest);
    }
    assert_eq!(digests[0], digests[1]);
}

/// Folders packed as one layer are what their layers come to.
#[test]
fn several_folders_become_one_layer() {
    let temp = temp_dir();
    let dir = |name: &str| temp.path().join(name);
    for name in ["a/both", "a/gone/deep", "a/shut", "b/both", "b/shut", "c/both", "a/now", "c/old"]
    {
        fs::create_dir_all(dir(name)).unwrap();
    }
    for (name, text) in [
        ("a/both/a", "a"),
        ("a/both/over", "old"),
        ("a/gone/deep/x", ""),
        ("a/shut/x", ""),
        ("a/old", "file"),
        ("b/.wh.gone", ""),
        ("b/both/over", "new"),
        ("b/shut/.wh..wh..opq", ""),
        ("b/shut/y", ""),
        ("b/now", "file"),
        ("c/both/c", "c"),
    ] {
        fs::write(dir(name), text).unwrap();
    }
    fs::hard_link(dir("a/both/a"), dir("a/twin")).unwrap();
    let options = Options { whiteouts: true, ..compressed(Compression::None) };
    let mut one = Vec::new();
    let folders = [dir("a"), dir("b"), dir("c")];
    pack_over(&folders, &mut one, &options).unwrap();
    let expected =
        "./ .wh.gone both/ both/a both/c both/over now old/ shut/ shut/.wh..wh..opq shut/y twin";
    assert_eq!(names(&one).join(" "), expected);
    let layers: Vec<_> = folders.iter().map(|dir| layer(pack_with(dir, &options).1)).collect();
    let unpacked = |name: &str, layers: &[Layer]| {
        common::unpack_to(&dir(name), layers, common::options()).unwrap();
        snapshot(&dir(name))
    };
    assert_eq!(unpacked("stacked", &layers), unpacked("merged", &[layer(one)]));
}
