//! Packing a directory: what goes in comes out, and the same tree gives the same bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::{is_root, options, temp_dir};
use conex_layer::pack::{Options, Owners, Packed, pack};
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
    Options { settings: Settings { compression, level: None }, ..Options::default() }
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
