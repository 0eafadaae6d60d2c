//! Tests of the reader on well-formed archives; hostile ones are in `tests/hostile.rs`.

use super::*;
use crate::{Piece, Time, Writer, Xattr};

/// Gives one byte at a time, and an interruption before each.
struct Dribble<'a>(&'a [u8], bool);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = buf.len().min(1);
        self.0.read(&mut buf[..n])
    }
}

fn sample() -> (Vec<Entry>, Vec<u8>) {
    let mut dir = Entry::new("d/", Kind::Dir);
    dir.mtime = Time { secs: -5, nanos: 7 };
    let mut file = Entry::new("d/caf\u{e9}\n", Kind::File);
    file.size = 700;
    file.uid = 3_000_000;
    file.xattrs = vec![
        Xattr { name: b"user.a".to_vec(), value: b"1\n=\0".to_vec() },
        Xattr { name: b"user.b".to_vec(), value: Vec::new() },
    ];
    let entries = vec![
        dir,
        file,
        Entry::new("l", Kind::Symlink(vec![b'/'; 300])),
        Entry::new("h", Kind::HardLink(b"d/caf\xc3\xa9\n".to_vec())),
        Entry::new("c", Kind::CharDevice { major: 5, minor: 1 }),
        Entry::new("b", Kind::BlockDevice { major: 8, minor: 2 }),
        Entry::new("f", Kind::Fifo),
        Entry::new([b"x".repeat(99), b"y".repeat(99)].join(&b'/'), Kind::File),
    ];
    let mut writer = Writer::new(Vec::new());
    for entry in &entries {
        let content = vec![b'z'; entry.size as usize];
        writer.append(entry, &content[..]).unwrap();
    }
    (entries, writer.finish().unwrap())
}

fn read_all(inner: impl Read) -> (Vec<Entry>, Warnings) {
    let mut reader = Reader::new(inner);
    let mut entries = Vec::new();
    while let Some(mut entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, entry.size);
        entry.offset = 0;
        entry.body_offset = 0;
        entries.push(entry);
    }
    assert!(reader.next_entry().unwrap().is_none());
    (entries, reader.take_warnings())
}

#[test]
fn what_is_written_is_read() {
    let (entries, tar) = sample();
    let (found, warnings) = read_all(&tar[..]);
    assert_eq!(found, entries);
    assert_eq!(warnings.count(), 0, "{:?}", warnings.kept());
    assert_eq!(read_all(Dribble(&tar, false)).0, entries);
}

#[test]
fn bodies_may_be_skipped_whole_or_in_part() {
    let (entries, tar) = sample();
    let mut reader = Reader::new(&tar[..]);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        assert!(entry.body_offset > entry.offset);
        let _ = reader.read(&mut [0; 10]).unwrap();
        names.push(entry.path);
    }
    let expected: Vec<_> = entries.into_iter().map(|entry| entry.path).collect();
    assert_eq!(names, expected);
    assert_eq!(reader.position(), tar.len() as u64);
}

#[test]
fn every_cut_is_an_error_or_a_missing_marker() {
    let (_, tar) = sample();
    for cut in 0..tar.len() {
        let mut reader = Reader::new(&tar[..cut]);
        let mut result = Ok(());
        loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(err) => {
                    result = Err(err);
                    break;
                }
            }
        }
        assert!(result.is_err() || reader.warnings().has(Code::NoEndMarker), "{cut}");
    }
}

#[test]
fn pieces_are_lent_from_the_buffer() {
    let (_, tar) = sample();
    let mut reader = Reader::from_buffered(&tar[..]);
    reader.next_entry().unwrap();
    assert_eq!(reader.next_piece().unwrap(), None);
    reader.next_entry().unwrap();
    assert!(matches!(reader.next_piece().unwrap(), Some(Piece::Data(data)) if data.len() == 700));
    assert_eq!(reader.next_piece().unwrap(), None);
    assert!(reader.next_entry().unwrap().is_some());
}

#[test]
fn content_is_passed_over_by_seeking_and_must_be_there() {
    let (entries, tar) = sample();
    let mut reader = Reader::new(io::Cursor::new(&tar));
    let mut found = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        assert_eq!(entry.path, entries[found].path);
        reader.seek_past_content().unwrap();
        assert_eq!(reader.next_piece().unwrap(), None);
        found += 1;
    }
    assert_eq!((found, reader.position()), (entries.len(), tar.len() as u64));
    let mut large = Entry::new("large", Kind::File);
    large.size = 1 << 20;
    let mut writer = Writer::new(Vec::new());
    writer.append(&large, io::repeat(1).take(1 << 20)).unwrap();
    let tar = writer.finish().unwrap();
    for cut in [513, 1 << 19, (1 << 20) + 511] {
        let mut reader = Reader::new(io::Cursor::new(&tar[..cut]));
        reader.next_entry().unwrap();
        let err = reader.seek_past_content().unwrap_err();
        assert!(err.message().contains("ends too early"), "{cut}: {err}");
    }
}
