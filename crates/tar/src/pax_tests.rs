//! Tests of the PAX records.

use super::*;

fn record(key: &str, value: &str) -> Vec<u8> {
    let mut header = Vec::new();
    push_record(&mut header, key.as_bytes(), value.as_bytes());
    header
}

fn one(key: &str, value: &str) -> Result<Pax> {
    parse(&record(key, value), &mut Warnings::default())
}

#[test]
fn records_count_their_own_length() {
    assert_eq!(record("path", "a"), b"9 path=a\n");
    assert_eq!(record("k", "v"), b"6 k=v\n");
    for n in [80, 88, 89, 90, 91, 92, 988, 989, 990, 991, 9985] {
        let value = "x".repeat(n);
        let pax = one("path", &value).unwrap();
        assert_eq!(pax.path.unwrap(), value.as_bytes());
    }
}

/// Rule T2.
#[test]
fn malformed_records_are_refused() {
    for bad in [
        &b"99 path=a\n"[..],
        b"9 path=a\n\n",
        b"11 path=a\n",
        b" path=a\n",
        b"-1 path=a\n",
        b"+10 path=a\n",
        b"0 \n",
        b"3 \n",
        b"99999999999999999999999 path=a\n",
        b"18446744073709551615 path=a\n",
        b"7 path\n\n",
        b"5 =a\n",
        b"10 path=aX",
        b"10 pa\0h=a\n",
        b"10 path=\0\n",
        b"path=a\n",
        b"\0\0\0",
    ] {
        assert!(parse(bad, &mut Warnings::default()).is_err(), "{}", show(bad));
    }
    for (key, value) in [
        ("size", "-1"),
        ("size", "9223372036854775808"),
        ("size", "99999999999999999999"),
        ("size", "1e3"),
        ("size", " 1"),
        ("uid", "4294967295"),
        ("gid", "-5"),
        ("mtime", "x"),
        ("mtime", "1.2.3"),
        ("mtime", "1.-2"),
        ("mtime", "--1"),
        ("SCHILY.xattr.", "x"),
        ("LIBARCHIVE.xattr.user.%zz", "QQ"),
        ("LIBARCHIVE.xattr.user.a", "Q"),
        ("LIBARCHIVE.xattr.user.a", "!!"),
    ] {
        assert!(one(key, value).is_err(), "{key}={value}");
    }
}

#[test]
fn times_keep_their_nanoseconds() {
    for (text, secs, nanos) in [
        ("1350244992.023960108", 1_350_244_992, 23_960_108),
        ("0", 0, 0),
        ("1.5", 1, 500_000_000),
        ("-1.5", -2, 500_000_000),
        ("-3", -3, 0),
        ("-0.25", -1, 750_000_000),
    ] {
        let time = Time { secs, nanos };
        assert_eq!(one("mtime", text).unwrap().mtime, Some(time), "{text}");
        assert_eq!(format_time(time), text);
    }
    let cut = one("mtime", "1.1234567899").unwrap().mtime.unwrap();
    assert_eq!(cut.nanos, 123_456_789);
}

#[test]
fn attributes_of_both_spellings() {
    let pax = one("SCHILY.xattr.user.a=b", "").unwrap();
    assert_eq!(pax.xattrs[0].name, b"user.a");
    assert_eq!(pax.xattrs[0].value, b"b=");
    let pax = one("SCHILY.xattr.user.empty", "").unwrap();
    assert!(pax.xattrs[0].value.is_empty());
    let pax = one("LIBARCHIVE.xattr.user.%41%3D", "aGVsbG8=").unwrap();
    assert_eq!(pax.xattrs[0].name, b"user.A=");
    assert_eq!(pax.xattrs[0].value, b"hello");
    for (text, plain) in [("", ""), ("YQ", "a"), ("YWI", "ab"), ("YWJj", "abc"), ("YQ==", "a")] {
        assert_eq!(base64_decode(text.as_bytes()).unwrap(), plain.as_bytes());
    }
}

#[test]
fn a_repeated_key_warns_and_the_last_counts() {
    let mut header = record("path", "first");
    header.extend(record("path", "second"));
    let mut warnings = Warnings::default();
    let pax = parse(&header, &mut warnings).unwrap();
    assert_eq!(pax.path.unwrap(), b"second");
    assert!(warnings.has(Code::RepeatedPaxKey));
}

/// What Linux would not store, nobody need carry.
#[test]
fn attributes_are_as_long_as_linux_takes_them() {
    let name = |length: usize| format!("SCHILY.xattr.{}", "n".repeat(length));
    assert_eq!(one(&name(255), &"v".repeat(64 << 10)).unwrap().xattrs.len(), 1);
    assert_eq!(one(&name(256), "v").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(one(&name(9), &"v".repeat((64 << 10) + 1)).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn access_control_lists_of_star_are_told() {
    let mut warnings = Warnings::default();
    let pax = parse(&record("SCHILY.acl.access", "user::rw-,user:33:r--"), &mut warnings).unwrap();
    assert!(pax.xattrs.is_empty() && warnings.has(Code::AclDropped));
}

#[test]
fn an_empty_value_leaves_the_header_alone() {
    assert_eq!(one("path", "").unwrap(), Pax::default());
}

/// Rule T11.
#[test]
fn global_headers() {
    check_global(&record("comment", "0123abcd")).unwrap();
    check_global(&record("mtime", "1")).unwrap();
    for key in ["path", "linkpath", "size", "GNU.sparse.name"] {
        assert!(check_global(&record(key, "1")).is_err(), "{key}");
    }
}

/// Quadratic work is bounded.
#[test]
fn a_flood_of_attributes_is_refused() {
    let mut header = Vec::new();
    for i in 0..MAX_XATTRS {
        push_record(&mut header, format!("SCHILY.xattr.user.{i}").as_bytes(), b"");
    }
    let pax = parse(&header, &mut Warnings::default()).unwrap();
    assert_eq!(pax.xattrs.len(), MAX_XATTRS);
    push_record(&mut header, b"SCHILY.xattr.user.more", b"");
    let err = parse(&header, &mut Warnings::default()).unwrap_err();
    assert_eq!(err.kind(), Kind::Limit);
}
