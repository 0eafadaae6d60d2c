//! Tests of the bytes that are written; what they mean is tested with the reader.

use super::*;
use crate::{Time, Xattr};

fn bytes(entry: &Entry, content: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.append(entry, content).unwrap();
    writer.finish().unwrap()
}

#[test]
fn plain_entries_need_no_pax() {
    let mut entry = Entry::new("etc/passwd", Kind::File);
    entry.size = 5;
    entry.mtime.secs = 1_700_000_000;
    let tar = bytes(&entry, b"root\n");
    assert_eq!(tar.len(), 4 * BLOCK);
    assert_eq!(&tar[257..265], b"ustar\x0000");
    assert_eq!(&tar[512..517], b"root\n");
}

#[test]
fn what_ustar_cannot_say_goes_to_pax() {
    for change in [
        |e: &mut Entry| e.mtime.nanos = 1,
        |e: &mut Entry| e.mtime = Time { secs: -1, nanos: 0 },
        |e: &mut Entry| e.uid = 0o10_000_000,
        |e: &mut Entry| e.gid = 0o10_000_000,
        |e: &mut Entry| e.path = "caf\u{e9}".into(),
        |e: &mut Entry| e.path = vec![b'x'; 101],
        |e: &mut Entry| e.kind = Kind::Symlink(vec![b'x'; 101]),
        |e: &mut Entry| {
            e.xattrs.push(Xattr { name: b"user.a".to_vec(), value: Vec::new() });
        },
    ] {
        let mut entry = Entry::new("a", Kind::File);
        change(&mut entry);
        let tar = bytes(&entry, b"");
        assert_eq!(tar[156], b'x');
        assert_eq!(tar.len(), 5 * BLOCK);
    }
}

#[test]
fn long_ascii_names_are_split() {
    let path = [&[b'd'; 100][..], b"/", &[b'n'; 100]].concat();
    let (prefix, name) = split_path(&path).unwrap();
    assert_eq!((prefix.len(), name.len()), (100, 100));
    let dir = [&[b'd'; 99][..], b"/x/"].concat();
    assert_eq!(split_path(&dir).unwrap().1, b"x/");
    assert!(split_path(&[b'd'; 101]).is_none());
    assert!(split_path(&[&[b'd'; 156][..], b"/n"].concat()).is_none());
    assert_eq!(split_path(&[&[b'd'; 155][..], b"/n"].concat()).unwrap().1, b"n");
}

#[test]
fn content_of_another_length_is_an_error() {
    let mut entry = Entry::new("a", Kind::File);
    entry.size = 3;
    for content in [&b"ab"[..], b"abcd"] {
        let err = Writer::new(Vec::new()).append(&entry, content).unwrap_err();
        assert!(err.to_string().contains("changed"), "{err}");
    }
}

#[test]
fn what_no_tar_can_say_is_an_error() {
    let mut entry = Entry::new("a", Kind::CharDevice { major: 1 << 30, minor: 0 });
    assert!(Writer::new(Vec::new()).append(&entry, &b""[..]).is_err());
    entry.kind = Kind::File;
    entry.xattrs.push(Xattr { name: b"user.a=b".to_vec(), value: Vec::new() });
    assert!(Writer::new(Vec::new()).append(&entry, &b""[..]).is_err());
}

#[test]
fn pieces_give_the_same_bytes_and_must_be_as_many_as_promised() {
    let mut entry = Entry::new("a", Kind::File);
    entry.size = 700;
    let content = [7; 700];
    let write = |lengths: &[usize]| {
        let mut writer = Writer::new(Vec::new());
        writer.append_pieces(&entry, |write| {
            lengths.iter().try_for_each(|&length| write(&content[..length]))
        })?;
        writer.finish()
    };
    assert_eq!(write(&[500, 0, 200]).unwrap(), bytes(&entry, &content));
    for wrong in [&[500, 199][..], &[500, 201], &[]] {
        assert!(write(wrong).unwrap_err().message().contains("changed"), "{wrong:?}");
    }
}
