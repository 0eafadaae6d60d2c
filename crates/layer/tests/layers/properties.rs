//! Properties of the tar reader and writer on generated input, with the `tar` crate as oracle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::io::Read;

use common::forge;
use conex_tar::{Entry, Kind, Reader, Time, Warnings, Writer, Xattr};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn name() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        8 => "[a-z.]{1,12}".prop_map(String::into_bytes),
        1 => vec(1u8.., 1..40),
        1 => "[a-z]{80,160}".prop_map(String::into_bytes),
    ];
    vec(component, 1..6).prop_map(|parts| parts.join(&b'/'))
}

fn kind() -> impl Strategy<Value = Kind> {
    let number = 0u32..1 << 21;
    prop_oneof![
        4 => Just(Kind::File),
        1 => Just(Kind::Dir),
        1 => Just(Kind::Fifo),
        1 => name().prop_map(Kind::Symlink),
        1 => name().prop_map(Kind::HardLink),
        1 => (number.clone(), number.clone())
            .prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        1 => (number.clone(), number)
            .prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
    ]
}

fn xattrs() -> impl Strategy<Value = Vec<Xattr>> {
    let xattr = ("user\\.[a-z]{1,8}", vec(any::<u8>(), 0..60))
        .prop_map(|(name, value)| Xattr { name: name.into_bytes(), value });
    vec(xattr, 0..3).prop_map(|mut all| {
        all.sort();
        all.dedup_by(|a, b| a.name == b.name);
        all
    })
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0u32..70_000, 0..u32::MAX]
}

fn time() -> impl Strategy<Value = Time> {
    let secs = prop_oneof![0i64..1 << 33, -(1i64 << 40)..1 << 40];
    let nanos = prop_oneof![Just(0), 0u32..1_000_000_000];
    (secs, nanos).prop_map(|(secs, nanos)| Time { secs, nanos })
}

prop_compose! {
    fn entry()(
        path in name(),
        kind in kind(),
        mode in 0u32..0o10000,
        ids in (id(), id()),
        mtime in time(),
        xattrs in xattrs(),
        content in vec(any::<u8>(), 0..1500),
    ) -> (Entry, Vec<u8>) {
        let content = if kind == Kind::File { content } else { Vec::new() };
        let mut entry = Entry::new(path, kind);
        entry.mode = mode;
        (entry.uid, entry.gid) = ids;
        entry.mtime = mtime;
        entry.xattrs = xattrs;
        entry.size = content.len() as u64;
        (entry, content)
    }
}

fn write(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, &content[..]).unwrap();
    }
    let written = writer.written() as usize;
    let tar = writer.finish().unwrap();
    assert_eq!(tar.len(), written + 1024);
    tar
}

/// An entry and its bytes.
type Content = (Entry, Vec<u8>);

/// All entries with their content, or the first error.
fn read(tar: impl Read) -> conex_spec::Result<(Vec<Content>, Warnings)> {
    let mut reader = Reader::new(tar);
    let mut entries = Vec::new();
    while let Some(mut entry) = reader.next_entry()? {
        let mut content = Vec::new();
        // A hole of a petabyte is legal, but not for a test.
        (&mut reader)
            .take(1 << 20)
            .read_to_end(&mut content)
            .map_err(|err| conex_spec::Error::from_io(err, || "read".into()))?;
        entry.offset = 0;
        entry.body_offset = 0;
        entries.push((entry, content));
    }
    let warnings = reader.take_warnings();
    Ok((entries, warnings))
}

/// Gives short reads of varying length.
struct Short<'a>(&'a [u8], usize);

impl Read for Short<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 * 7 % 1009 + 1;
        let n = buf.len().min(self.1);
        self.0.read(&mut buf[..n])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(entries in vec(entry(), 0..8)) {
        let tar = write(&entries);
        let (found, warnings) = read(Short(&tar, 3)).unwrap();
        prop_assert_eq!(&found, &entries);
        prop_assert_eq!(warnings.count(), 0);
        prop_assert_eq!(write(&found), tar);
    }

    /// The oracle reads what we write, and sees the same. It takes records apart at newlines
    /// instead of by their length, so it gets none.
    #[test]
    fn the_tar_crate_agrees(mut entries in vec(entry(), 0..8)) {
        entries.iter_mut().for_each(|(entry, _)| without_newlines(entry));
        let tar = write(&entries);
        let mut archive = tar::Archive::new(&tar[..]);
        let mut count = 0;
        for (theirs, (entry, content)) in archive.entries().unwrap().zip(&entries) {
            let mut theirs = theirs.unwrap();
            count += 1;
            prop_assert_eq!(&theirs.path_bytes()[..], &entry.path[..]);
            prop_assert_eq!(theirs.header().mode().unwrap(), entry.mode);
            if let Kind::Symlink(target) | Kind::HardLink(target) = &entry.kind {
                prop_assert_eq!(&theirs.link_name_bytes().unwrap()[..], &target[..]);
            }
            prop_assert_eq!(theirs.header().entry_type(), kind_of(&entry.kind));
            let mut body = Vec::new();
            theirs.read_to_end(&mut body).unwrap();
            prop_assert_eq!(&body, content);
        }
        prop_assert_eq!(count, entries.len());
    }

    /// We read what the oracle writes, which uses GNU's long names and numbers.
    #[test]
    fn what_the_tar_crate_writes_is_read(
        paths in vec("[a-z]{1,60}(/[a-z]{1,60}){0,4}", 0..6),
        size in 0usize..1200,
        mtime in 0u64..1 << 40,
        uid in any::<u32>().prop_map(|id| u64::from(id / 2)),
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for path in &paths {
            let mut header = tar::Header::new_gnu();
            header.set_size(size as u64);
            header.set_mtime(mtime);
            header.set_uid(uid);
            header.set_mode(0o640);
            builder.append_data(&mut header, path, &vec![7; size][..]).unwrap();
        }
        let (found, warnings) = read(&builder.into_inner().unwrap()[..]).unwrap();
        prop_assert_eq!(warnings.count(), 0);
        prop_assert_eq!(found.len(), paths.len());
        for ((entry, content), path) in found.iter().zip(&paths) {
            prop_assert_eq!(&entry.path[..], path.as_bytes());
            prop_assert_eq!(u64::from(entry.uid), uid);
            prop_assert_eq!(entry.mtime.secs as u64, mtime);
            prop_assert_eq!(content.len(), size);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..4000)) {
        let _ = read(&bytes[..]);
    }

    /// Damage at any place, with the checksum mended half of the time so that the damage is
    /// looked at.
    #[test]
    fn damaged_tars_never_panic(
        entries in vec(entry(), 1..5),
        damage in vec((any::<prop::sample::Index>(), select(&b"\0 019-=\n/.xgLKS1\xff\x80"[..])), 1..12),
        mend in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut tar = write(&entries);
        for (place, byte) in damage {
            let place = place.index(tar.len());
            tar[place] = byte;
            if mend {
                let start = place / 512 * 512;
                common::checksum(&mut tar[start..start + 512]);
            }
        }
        let _ = read(&tar[..]);
        let _ = read(&tar[..cut.index(tar.len())]);
    }

    /// Sparse headers with arbitrary numbers.
    #[test]
    fn sparse_maps_never_panic(
        map in "[0-9,]{0,40}",
        size in 0u64..3000,
        real in any::<u64>(),
        stored in 0usize..1600,
    ) {
        let real = (real >> (size % 64)).to_string();
        let records: &[(&str, &[u8])] = &[
            ("GNU.sparse.size", real.as_bytes()),
            ("GNU.sparse.map", map.as_bytes()),
        ];
        let tar = forge().pax(records).file("f", vec![1; stored]).end();
        if let Ok((entries, _)) = read(&tar[..]) {
            prop_assert_eq!(entries[0].0.size.min(1 << 20), entries[0].1.len() as u64);
        }
        let v1: &[(&str, &[u8])] = &[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", real.as_bytes()),
        ];
        let body = [map.replace(',', "\n").as_bytes(), &vec![0; stored]].concat();
        let _ = read(&forge().pax(v1).file("f", body).end()[..]);
    }
}

fn without_newlines(entry: &mut Entry) {
    let replace =
        |bytes: &mut Vec<u8>| bytes.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b'n');
    replace(&mut entry.path);
    entry.xattrs.iter_mut().for_each(|xattr| replace(&mut xattr.value));
    if let Kind::Symlink(target) | Kind::HardLink(target) = &mut entry.kind {
        replace(target);
    }
}

fn kind_of(kind: &Kind) -> tar::EntryType {
    match kind {
        Kind::File => tar::EntryType::Regular,
        Kind::Dir => tar::EntryType::Directory,
        Kind::Symlink(_) => tar::EntryType::Symlink,
        Kind::HardLink(_) => tar::EntryType::Link,
        Kind::CharDevice { .. } => tar::EntryType::Char,
        Kind::BlockDevice { .. } => tar::EntryType::Block,
        Kind::Fifo => tar::EntryType::Fifo,
    }
}
