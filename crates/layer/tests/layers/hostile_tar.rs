//! Hostile layers, one row of the threat table each, rows 31 to 60: headers, PAX and GNU
//! extensions, sparse files, attributes, ends of archives and compressed streams.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests may stop at the first surprise"
)]

use crate::common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::verdict::Verdict::{Accept, Reject, Warn};
use common::verdict::{check, ok, table, text};
use common::{BLOCK, World, checksum, forge, has, options, put};
use conex_layer::unpack::{Options, Report};
use conex_spec::{Compression, Digest, Error, Kind};
use conex_tar::Code;

/// Rules T1, T2.
#[test]
fn pax_rows_31_to_39() {
    let inner = forge().file("hidden", "x").end();
    let inner_size = inner.len().to_string();
    let sized = |size: &str, in_header: u64, body: &[u8]| {
        forge().pax(&[("size", size.as_bytes())]).header("f", b'0', in_header, |_| {}).body(body)
    };
    let mut huge = forge().header("PaxHeaders/x", b'x', 8 << 30, |_| {});
    huge.0.extend(vec![b' '; 4096]);
    table(vec![
        (
            "31",
            sized("3", 600, b"abc").file("next", "n").end(),
            Warn(Code::SizesDiffer, |t| {
                assert_eq!(text(t.join("f")), "abc");
                assert_eq!(text(t.join("next")), "n");
            }),
        ),
        (
            "32",
            sized(&inner_size, 0, &inner).file("next", "n").end(),
            Accept(|t| {
                assert!(!t.join("hidden").exists());
                assert_eq!(text(t.join("next")), "n");
            }),
        ),
        (
            "33",
            sized("0", 512, b"").file("next", "n").end(),
            Warn(Code::SizesDiffer, |t| {
                assert_eq!(text(t.join("f")), "");
                assert_eq!(text(t.join("next")), "n");
            }),
        ),
        ("34", forge().pax_raw(b'x', b"99 path=a\n").file("f", "").end(), Reject("PAX")),
        (
            "35",
            forge().pax(&[("path", b"one"), ("path", b"two")]).file("f", "").end(),
            Warn(Code::RepeatedPaxKey, |t| {
                assert!(t.join("two").exists() && !t.join("one").exists());
            }),
        ),
        ("36", forge().pax(&[("path", b"a\0b")]).file("f", "").end(), Reject("NUL")),
        ("37", huge.end(), Reject("too long")),
        ("38", sized("-1", 0, b"").end(), Reject("bad number")),
        ("38 big", sized("9223372036854775808", 0, b"").end(), Reject("bad size")),
        ("38 bigger", sized("99999999999999999999999", 0, b"").end(), Reject("bad number")),
        ("39", forge().pax_raw(b'g', b"9 path=a\n").file("f", "").end(), Reject("global")),
        ("39 size", forge().pax_raw(b'g', b"9 size=0\n").file("f", "").end(), Reject("global")),
        ("39 comment", forge().pax_raw(b'g', b"13 comment=x\n").file("f", "").end(), Accept(ok)),
        ("orphan", forge().pax(&[("path", b"a")]).end(), Reject("without an entry")),
        (
            "twice",
            forge().pax(&[("path", b"a")]).pax(&[]).file("f", "").end(),
            Reject("two extended"),
        ),
    ]);
}

#[test]
fn gnu_rows_40_and_41() {
    let long = [b"d/".repeat(100), b"x".to_vec()].concat();
    let both = forge().pax(&[("path", b"p")]).gnu_long(b'L', b"other").file("f", "").end();
    let sparse: &[(&str, &[u8])] =
        &[("GNU.sparse.size", b"1"), ("GNU.sparse.map", b"0,1"), ("GNU.sparse.name", b"f")];
    let named = forge().gnu_long(b'L', b"other").pax(sparse).file("f", "x").end();
    let sized = forge().pax(&[("GNU.sparse.size", b"10")]).file("f", "abcd").end();
    let star = forge().header("f", b'S', 0, |_| {}).end();
    // A size that ends the name before its NUL, which GNU tar does not look at.
    let cut = |flag, size: u64| {
        forge().header("././@LongLink", flag, size, |_| {}).body(b"a/b\0").symlink("s", "x").end()
    };
    table(vec![
        ("sparse", named, Reject("two names")),
        ("sparse size", sized, Reject("map of a sparse file")),
        ("sparse ustar", star, Reject("not GNU's")),
        ("40", forge().gnu_long(b'L', b"../../x").file("f", "").end(), Reject("leaves the root")),
        ("41", forge().gnu_long(b'L', b"name").end(), Reject("without an entry")),
        ("41 cut", forge().gnu_long(b'L', b"name").0, Reject("without an entry")),
        (
            "twice",
            forge().gnu_long(b'L', b"a").gnu_long(b'L', b"b").file("f", "").end(),
            Reject("two"),
        ),
        ("both", both, Reject("two names")),
        ("NUL", forge().gnu_long(b'L', b"one\0two").file("f", "").end(), Reject("NUL")),
        ("NULs after it", forge().gnu_long(b'L', b"one\0\0").file("f", "").end(), Accept(ok)),
        ("cut", cut(b'L', 2), Reject("goes on behind its end")),
        ("cut link", cut(b'K', 1), Reject("goes on behind its end")),
        ("without NUL", cut(b'K', 3), Accept(ok)),
        ("empty", forge().gnu_long(b'L', b"").file("f", "").end(), Reject("empty")),
        (
            "long",
            forge().gnu_long(b'L', &long).file("f", "x").end(),
            Accept(|t| {
                assert_eq!(text(t.join("d/".repeat(100)).join("x")), "x");
            }),
        ),
        (
            "long link",
            forge().gnu_long(b'K', &[b'k'; 300]).symlink("s", "short").end(),
            Accept(|t| {
                assert_eq!(fs::read_link(t.join("s")).unwrap().as_os_str().len(), 300);
            }),
        ),
    ]);
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1 << 16];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Rules U10, U11.
#[test]
fn attributes_rows_42_to_44() {
    // Version 2, cap_net_raw permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let world = World::new();
    let tar = forge()
        .pax(&[
            ("uid", b"1000"),
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.empty", b""),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"x"),
            ("SCHILY.xattr.security.ima", b"x"),
        ])
        .file("ping", "program")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .dir("d")
        .end();
    let report = world.unpack(&[tar]).unwrap();
    assert!(has(&report, Code::XattrDropped));
    assert_eq!(report.capable, 1);
    let ping = world.path("ping");
    if !has(&report, Code::XattrRefused) {
        assert_eq!(xattr(&ping, "security.capability").unwrap(), capability);
        assert_eq!(xattr(&ping, "user.empty").unwrap(), b"");
        assert_eq!(fs::metadata(&ping).unwrap().uid(), 1000);
    }
    for name in ["trusted.overlay.redirect", "user.overlay.opaque", "security.ima"] {
        assert_eq!(xattr(&ping, name), None);
    }
    assert_eq!(xattr(&world.path("d"), "trusted.overlay.opaque"), None);

    let large = vec![b'x'; (64 << 10) + 1];
    let tar = forge().pax(&[("SCHILY.xattr.user.large", &large)]).file("f", "").end();
    check("44", tar, &Reject("attribute is too long (expected at most 65536 bytes"));
}

/// A directory entry replaces all attributes of the lower layer's directory.
#[test]
fn attributes_of_a_lower_directory_are_replaced() {
    let world = World::new();
    let below = forge().pax(&[("SCHILY.xattr.user.old", b"1")]).mode("d", b'5', 0o700).end();
    let above = forge().pax(&[("SCHILY.xattr.user.new", b"2")]).mode("d", b'5', 0o750).end();
    let report = world.unpack(&[below, above]).unwrap();
    assert_eq!(fs::metadata(world.path("d")).unwrap().mode() & 0o777, 0o750);
    assert_eq!(xattr(&world.path("d"), "user.old"), None);
    if !has(&report, Code::XattrRefused) {
        assert_eq!(xattr(&world.path("d"), "user.new").unwrap(), b"2");
    }
}

/// Rule T10.
#[test]
fn headers_rows_45_48_and_49() {
    let mut bad = forge().file("f", "").end();
    bad[0] ^= 1;
    let number = |at: usize, bytes: &'static [u8]| {
        forge().header("f", b'0', 0, |block| put(block, at, bytes)).end()
    };
    table(vec![
        ("45", bad, Reject("checksum")),
        ("48", number(124, &[0xff; 12]), Reject("size")),
        ("48 uid", number(108, &[0xff; 8]), Reject("uid")),
        ("a mode with more than a type", number(100, b"7000755\0"), Reject("mode")),
        ("digits after a NUL", number(100, b"\x00000755\0"), Reject("mode")),
        ("48 octal", number(124, b"0000000009\0\0"), Reject("size")),
        ("49", forge().header("f", b'Z', 0, |_| {}).end(), Reject("unknown type")),
        ("49 M", forge().header("f", b'M', 0, |_| {}).end(), Reject("unknown type")),
        ("49 V", forge().header("f", b'V', 0, |_| {}).end(), Reject("unknown type")),
        ("no target", forge().symlink("s", "").end(), Reject("without a target")),
        (
            "a directory with a size has no body",
            forge().header("d", b'5', 512, |_| {}).file("f", "x").end(),
            Warn(Code::SizeIgnored, |t| assert_eq!(text(t.join("f")), "x")),
        ),
        (
            "v7",
            forge().header("old/", b'\0', 0, |block| put(block, 257, &[0; 8])).end(),
            Accept(|t| assert!(t.join("old").is_dir())),
        ),
    ]);
}

/// Rule T3.
#[test]
fn sparse_rows_50_and_51() {
    // Ten bytes: "ab" at 2 and "cd" at 6.
    let expected: fn(&Path) = |t| assert_eq!(fs::read(t.join("f")).unwrap(), b"\0\0ab\0\0cd\0\0");
    let old = forge().header("f", b'S', 4, |block| {
        put(block, 257, b"ustar  \0");
        for (at, number) in [(386, 2), (398, 2), (410, 6), (422, 2), (483, 10)] {
            put(block, at, format!("{number:011o}\0").as_bytes());
        }
    });
    let v00: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"10"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"2"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"6"),
        ("GNU.sparse.numbytes", b"2"),
    ];
    let v01: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"10"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", b"2,2,6,2"),
        ("GNU.sparse.name", b"f"),
    ];
    let v10: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"f"),
        ("GNU.sparse.realsize", b"10"),
    ];
    let map = [&b"2\n2\n2\n6\n2\n"[..], &[0; BLOCK - 10], b"abcd"].concat();
    let many = [&b"1000000\n"[..], &[0; BLOCK]].concat();
    let lie: &[(&str, &[u8])] = &[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"2,2,6,3")];
    table(vec![
        ("50 S", old.body("abcd").file("n", "").end(), Warn(Code::Sparse, expected)),
        (
            "50 0.0",
            forge().pax(v00).file("f", "abcd").file("n", "").end(),
            Warn(Code::Sparse, expected),
        ),
        (
            "50 0.1",
            forge().pax(v01).file("g", "abcd").file("n", "").end(),
            Warn(Code::Sparse, expected),
        ),
        (
            "50 1.0",
            forge().pax(v10).file("g", map).file("n", "").end(),
            Warn(Code::Sparse, expected),
        ),
        ("51", forge().pax(v10).file("g", many).end(), Reject("too many regions")),
        ("lie", forge().pax(lie).file("g", "abcd").end(), Reject("map of a sparse file")),
    ]);
}

/// Rule T3: a hole counts as the bytes that it stands for.
#[test]
fn holes_count_towards_the_limit() {
    let hole: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"1000000000000000000"),
        ("GNU.sparse.map", b"0,0"),
        ("GNU.sparse.numblocks", b"1"),
    ];
    let tar = forge().pax(hole).file("f", "").end();
    check("hole", tar, &Reject("no room for the image"));
}

/// Rule T8.
#[test]
fn odd_names_rows_52_and_53() {
    use std::os::unix::ffi::OsStrExt;
    for name in [&b"caf\xe9"[..], b"new\nline\x1b[31m", b"\xff\xfe", b" ", b"-rf", b"\\..\\x"] {
        let world = World::new();
        world.unpack(&[forge().file(name, "x").end()]).unwrap();
        assert_eq!(text(world.target().join(std::ffi::OsStr::from_bytes(name))), "x");
    }
    // In an error they are escaped; `judge` checks that.
    check("53", forge().link("e\x1b[2J\n", "no\x07").end(), &Reject("\\u{1b}[2J\\n"));
}

#[test]
fn deep_names() {
    let deep = "d/".repeat(2000);
    let world = World::new();
    let tar = forge()
        .pax(&[("path", deep.as_bytes())])
        .dir("x")
        .pax(&[("path", format!("{deep}file").as_bytes())])
        .file("x", "bottom")
        .file("d/d/top", "x")
        .pax(&[("path", "d/".repeat(1500).as_bytes())])
        .mode("x", b'5', 0o700)
        .end();
    world.unpack(&[tar.clone(), forge().file(".wh.d", "").end()]).unwrap();
    assert!(!world.path("d").exists());
    let world = World::new();
    world.unpack(&[tar]).unwrap();
    assert!(world.path("d/d/top").exists());
    let too_deep = "d/".repeat(100_000);
    let tar = forge().pax(&[("path", too_deep.as_bytes())]).dir("x").end();
    check("too deep", tar, &Reject("nested too deeply"));
    check("too long", forge().pax(&[("path", &[b'x'; 300])]).dir("x").end(), &Reject("too long"));
}

/// Rules T5, T6.
#[test]
fn ends_rows_54_to_57() {
    let whole = forge().file("f", "x").end();
    let no_end = forge().file("f", "x").0;
    let half_end = [&no_end[..], &[0; BLOCK]].concat();
    let no_padding = no_end[..BLOCK + 1].to_vec();
    let cut = forge().file("f", vec![b'x'; 5000]).0[..3000].to_vec();
    let cut_header = forge().file("f", "x").0[..300].to_vec();
    let junk = [&whole[..], b"junk"].concat();
    let padded = [&whole[..], &[0; 9000]].concat();
    let second = [&whole[..], &forge().file("hidden", "x").end()].concat();
    let later = [&junk[..], &[0; BLOCK - 4], &forge().file("hidden", "x").end()].concat();
    let between = [&no_end[..], &[0; BLOCK], &forge().file("g", "x").end()].concat();
    table(vec![
        ("54", no_end, Warn(Code::NoEndMarker, ok)),
        ("54 half", half_end, Warn(Code::NoEndMarker, ok)),
        ("54 padding", no_padding, Warn(Code::NoEndMarker, ok)),
        ("54 empty", Vec::new(), Warn(Code::NoEndMarker, ok)),
        ("55", cut, Reject("ends too early")),
        ("55 header", cut_header, Reject("ends too early")),
        ("56", junk, Warn(Code::TrailingData, ok)),
        ("padding", padded, Accept(ok)),
        ("57", second, Reject("second tar archive")),
        ("57 later", later, Reject("second tar archive")),
        ("57 between", between, Reject("block of zeros")),
    ]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(
    compression: Compression,
    bytes: Vec<u8>,
    plain: &[u8],
    options: Options,
) -> Result<Report, Error> {
    World::new().unpack_as(&[(compression, bytes, Digest::sha256(plain))], options)
}

/// Rules T5, T7.
#[test]
fn streams_rows_58_to_60() {
    let tar = forge().file("f", "x").end();
    let (first, rest) = tar.split_at(700);
    let two = [gzip(first), gzip(rest)].concat();
    compressed(Compression::Gzip, two.clone(), &tar, options()).unwrap();
    let garbage = [&two[..], b"garbage"].concat();
    let err = compressed(Compression::Gzip, garbage, &tar, options()).unwrap_err();
    assert_eq!(err.kind(), Kind::Invalid, "{err}");
    let err = compressed(Compression::Zstd, two, &tar, options()).unwrap_err();
    assert_eq!(err.kind(), Kind::Mismatch);

    // A bomb: 64 MiB of zeros in 64 KiB, where 1 MiB is allowed.
    let bomb = forge().file("f", vec![0; 64 << 20]).end();
    let limited = Options { max_bytes: Some(1 << 20), ..options() };
    for packed in [
        (Compression::Gzip, gzip(&bomb)),
        (Compression::Zstd, zstd::encode_all(&bomb[..], 1).unwrap()),
    ] {
        let err = compressed(packed.0, packed.1, &bomb, limited).unwrap_err();
        assert_eq!(err.kind(), Kind::Limit, "{err}");
    }
    // Also after the end of the archive.
    let tail = [&tar[..], &vec![0; 64 << 20]].concat();
    let err = compressed(Compression::Gzip, gzip(&tail), &tail, limited).unwrap_err();
    assert_eq!(err.kind(), Kind::Limit, "{err}");

    let mut many = forge();
    for i in 0..1000 {
        many = many.file(format!("f{i}"), "");
    }
    let few = Options { max_entries: 999, ..options() };
    let many = many.end();
    let err = compressed(Compression::Gzip, gzip(&many), &many, few).unwrap_err();
    assert!(err.to_string().contains("too many entries"), "{err}");
}

/// Rules T7, J8: nothing is published before the diff ID is known to be right.
#[test]
fn a_wrong_diff_id_publishes_nothing() {
    let tar = forge().file("f", "x").end();
    let wrong = Digest::sha256(b"something else");
    let err =
        World::new().unpack_as(&[(Compression::None, tar.clone(), wrong)], options()).unwrap_err();
    assert_eq!(err.kind(), Kind::Mismatch);
    assert_eq!(err.found_value(), Some(Digest::sha256(&tar).as_str()));
    assert!(err.to_string().contains("layer 0"), "{err}");
}

/// A checksum is not enough: blocks that are damaged anywhere are refused or read as they are,
/// and never crash. The property tests do this at random; this is the smallest case.
#[test]
fn a_header_in_a_body_is_content() {
    let inner = forge().file("../../evil", "x").0;
    let mut block = inner[..BLOCK].to_vec();
    checksum(&mut block);
    check("body", forge().file("f", block).end(), &Accept(|t| assert!(t.join("f").exists())));
}

/// All of this once more, by someone without privilege.
#[test]
fn all_rows_as_nobody() {
    common::ways::again_as_nobody("hostile_tar::");
}
