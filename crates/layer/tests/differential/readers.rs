//! What five readers make of a tar.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use conex_tar::{Kind, Reader};

/// What all readers tell of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Without slashes at its end.
    pub name: Vec<u8>,
    /// As in the tar: `0` to `6`.
    pub kind: u8,
    pub size: u64,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Whole seconds, rounded down.
    pub mtime: i64,
    pub link: Vec<u8>,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, kind, size, mode, uid, gid, mtime, link } = self;
        let short = |bytes: &[u8]| match bytes {
            long if long.len() > 40 => {
                format!("{} of {}", conex_tar::show(&long[long.len() - 20..]), long.len())
            }
            bytes => conex_tar::show(bytes),
        };
        let (kind, name, link) = (char::from(*kind), short(name), short(link));
        write!(f, "{kind} {mode:o} {uid}:{gid} {size} bytes {mtime} {name:?} -> {link:?}")
    }
}

/// The entries of a tar; nothing where it is refused.
pub type List = Option<Vec<Row>>;

/// Another reader.
pub struct Other {
    pub name: &'static str,
    /// What it makes of each tar; nothing at all where it is not there.
    pub read: fn(&[PathBuf]) -> Option<Vec<List>>,
    /// Whether it stops without a word where it should refuse.
    pub quits: bool,
    /// What of a row it tells, or tells right.
    pub sees: fn(&Row) -> Row,
    /// Whether it is known to read such a tar wrongly.
    pub excuse: fn(&[u8]) -> bool,
}

pub const READERS: [Other; 4] = [
    Other {
        name: "the crate tar",
        read: the_crate,
        quits: false,
        sees: |row| Row { mtime: 0, uid: 0, gid: 0, ..row.clone() },
        excuse: |tar| {
            has_odd_magic(tar)
                || has_odd_prefix(tar)
                || has_pax_sparse(tar)
                || has_padded_name(tar)
                || has_size_of_no_file(tar)
                || has_value_of_two_lines(tar)
                || has_old_folder(tar)
        },
    },
    Other {
        name: "Python's tarfile",
        read: python,
        quits: true,
        sees: Clone::clone,
        excuse: |tar| has_odd_magic(tar) || has_odd_prefix(tar) || has_global_values(tar),
    },
    Other {
        name: "GNU tar",
        read: gnu_tar,
        quits: false,
        // Its list does not tell blanks before a name from those of its columns.
        sees: |row| Row { name: row.name.trim_ascii_start().to_vec(), ..row.clone() },
        excuse: |tar| {
            has_odd_magic(tar)
                || has_odd_prefix(tar)
                || has_global_values(tar)
                || has_size_of_no_file(tar)
                || has_root_without_type(tar)
        },
    },
    Other {
        name: "bsdtar",
        read: bsdtar,
        quits: false,
        sees: as_in_cpio,
        excuse: |tar| {
            has_odd_magic(tar)
                || has_odd_prefix(tar)
                || has_odd_link(tar)
                || has_type_in_mode(tar)
                || has_slash_prefix(tar)
                || has_global_values(tar)
        },
    },
];

/// conex's own; nothing where it refuses.
pub fn ours(tar: &[u8]) -> Option<Vec<Row>> {
    let mut reader = Reader::new(tar);
    let mut rows = Vec::new();
    while let Some(entry) = reader.next_entry().ok()? {
        let (kind, link) = match entry.kind {
            Kind::File => (b'0', Vec::new()),
            Kind::HardLink(link) => (b'1', link),
            Kind::Symlink(link) => (b'2', link),
            Kind::CharDevice { .. } => (b'3', Vec::new()),
            Kind::BlockDevice { .. } => (b'4', Vec::new()),
            Kind::Dir => (b'5', Vec::new()),
            Kind::Fifo => (b'6', Vec::new()),
        };
        rows.push(Row {
            name: trimmed(&entry.path),
            kind,
            size: entry.size,
            mode: entry.mode,
            uid: entry.uid.into(),
            gid: entry.gid.into(),
            mtime: entry.mtime.secs,
            link,
        });
    }
    Some(rows)
}

fn trimmed(name: &[u8]) -> Vec<u8> {
    let end = name.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    name[..end].to_vec()
}

fn the_crate(files: &[PathBuf]) -> Option<Vec<List>> {
    let list = |path: &PathBuf| {
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let mut rows = Vec::new();
        for entry in archive.entries().ok()? {
            let entry = entry.ok()?;
            let header = entry.header();
            if header.entry_type().is_pax_global_extensions() {
                // It gives these out as entries.
                continue;
            }
            let link = entry.link_name_bytes().map_or(Vec::new(), |name| name.into_owned());
            let kind = match header.entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => b'0',
                kind if kind.is_gnu_sparse() => b'0',
                kind => kind.as_byte(),
            };
            rows.push(Row {
                name: trimmed(&entry.path_bytes()),
                kind,
                size: if kind == b'0' { entry.size() } else { 0 },
                mode: header.mode().ok()? & 0o7777,
                link: if matches!(kind, b'1' | b'2') { link } else { Vec::new() },
                ..Row::default()
            });
        }
        Some(rows)
    };
    Some(files.iter().map(list).collect())
}

/// The crate takes a file that PAX says is sparse for the bytes that are stored of it.
fn has_pax_sparse(tar: &[u8]) -> bool {
    tar.windows(11).any(|part| part == b"GNU.sparse.")
}

/// A magic that no writer has ever used: whether there is a prefix, and whether extensions are meant, each
/// reader decides for itself.
fn has_odd_magic(tar: &[u8]) -> bool {
    let known: [&[u8]; 3] = [b"ustar\x0000", b"ustar  \0", &[0; 8]];
    headers(tar).any(|block| !known.contains(&&block[257..265]))
}

/// A prefix where the dialect has none: Python's reader takes it all the same, and conex, as Go does,
/// in the headers of GNU, where old writers of Go put one by mistake.
fn has_odd_prefix(tar: &[u8]) -> bool {
    headers(tar).any(|block| block[257..263] != *b"ustar\0" && block[345] != 0)
}

/// bsdtar takes anything for a hard link whose header has a name of a target.
fn has_odd_link(tar: &[u8]) -> bool {
    headers(tar).any(|block| !matches!(block[156], b'1' | b'2') && block[157] != 0)
}

/// bsdtar takes what a hard link is from the bits of the type in its mode, which nobody else looks at.
fn has_type_in_mode(tar: &[u8]) -> bool {
    headers(tar).any(|block| block[156] == b'1' && octal(&block[100..108]) > 0o7777)
}

/// bsdtar joins a prefix and a name with one slash, others with one more: the same place.
fn has_slash_prefix(tar: &[u8]) -> bool {
    headers(tar).any(|block| {
        let end = block[345..500].iter().position(|&b| b == 0).unwrap_or(155);
        end > 0 && block[345 + end - 1] == b'/'
    })
}

/// The crate takes one NUL from the end of a long name, and leaves the others there.
fn has_padded_name(tar: &[u8]) -> bool {
    extensions(tar, b"LK").any(|(_, body)| body.ends_with(b"\0\0"))
}

/// The crate and GNU tar skip what an entry claims as its size even where it is no file: the crate always, GNU
/// tar but for hard links. Go's reader, which all engines use, and conex take it for none; conex warns
/// of it, and refuses it where it is to be strict.
fn has_size_of_no_file(tar: &[u8]) -> bool {
    headers(tar).any(|block| matches!(block[156], b'1'..=b'6') && octal(&block[124..136]) > 0)
}

/// The crate ends the value of a PAX record at a newline, not where its length says.
fn has_value_of_two_lines(tar: &[u8]) -> bool {
    let broken = |line: &[u8]| {
        let digits = line.split(|&b| b == b' ').next().unwrap();
        std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok()) != Some(line.len() + 1)
    };
    let mut headers = extensions(tar, b"x");
    headers.any(|(_, body)| {
        body.strip_suffix(b"\n").unwrap_or(body).split(|&b| b == b'\n').any(broken)
    })
}

/// What a global header says of all entries, engines and conex pass over.
fn has_global_values(tar: &[u8]) -> bool {
    extensions(tar, b"g").any(|(_, body)| !body.windows(9).any(|part| part == b" comment="))
}

/// The crate takes an entry of the oldest type for a file although its name ends in a slash.
fn has_old_folder(tar: &[u8]) -> bool {
    headers(tar).any(|block| block[156] == 0 && name(block).ends_with(b"/"))
}

/// GNU tar keeps the slash of a name that is nothing else, and so takes it for a file.
fn has_root_without_type(tar: &[u8]) -> bool {
    headers(tar).any(|block| block[156] == 0 && name(block) == b"/")
}

fn name(block: &[u8]) -> &[u8] {
    &block[..block.iter().take(100).position(|&b| b == 0).unwrap_or(100)]
}

/// Headers of these types with what follows them.
fn extensions<'a>(
    tar: &'a [u8],
    kinds: &'static [u8],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let blocks = tar.chunks_exact(512).enumerate();
    blocks.filter(|(_, block)| block[154..156] == *b"\0 " && kinds.contains(&block[156])).map(
        |(at, block)| {
            let start = (at + 1) * 512;
            let end = start.saturating_add(octal(&block[124..136])).min(tar.len());
            (block, &tar[start.min(end)..end])
        },
    )
}

/// A number of a header, blank or not; 0 for what is none.
fn octal(field: &[u8]) -> usize {
    let text = std::str::from_utf8(field).unwrap_or_default();
    usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0)
}

fn headers(tar: &[u8]) -> impl Iterator<Item = &[u8]> {
    // The checksum ends so in the headers of the forge, and only there.
    tar.chunks_exact(512).filter(|block| block[154..156] == *b"\0 ")
}

const PYTHON: &str = r#"
import sys, tarfile, math
raw = lambda text: text.encode("utf-8", "surrogateescape").hex() or "-"
kinds = {b"0": 0, b"\0": 0, b"7": 0, b"S": 0}
for path in sys.stdin.read().split("\n"):
    rows = []
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for m in tar:
                kind = kinds.get(m.type, m.type.decode("latin-1"))
                link = raw(m.linkname) if m.type in (b"1", b"2") else "-"
                size = m.size if kind == 0 else 0
                rows.append(f"{raw(m.name)} {kind} {size} {m.mode & 0o7777} {m.uid} {m.gid} {math.floor(m.mtime)} {link}")
        print(";".join(rows))
    except Exception as fault:
        print("refused")
"#;

fn python(files: &[PathBuf]) -> Option<Vec<List>> {
    let mut child = Command::new("python3")
        .args(["-I", "-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    child.stdin.take().unwrap().write_all(names.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |text: &str| {
        let fields: Vec<_> = text.split(' ').collect();
        let bytes = |text: &str| -> Vec<u8> {
            if text == "-" {
                return Vec::new();
            }
            text.as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        Row {
            name: trimmed(&bytes(fields[0])),
            kind: fields[1].as_bytes()[0],
            size: fields[2].parse().unwrap(),
            mode: fields[3].parse().unwrap(),
            uid: fields[4].parse().unwrap_or(u64::MAX),
            gid: fields[5].parse().unwrap_or(u64::MAX),
            mtime: fields[6].parse().unwrap(),
            link: bytes(fields[7]),
        }
    };
    let list = |line: &str| match line {
        "refused" => None,
        line => Some(line.split(';').filter(|text| !text.is_empty()).map(row).collect()),
    };
    Some(text.lines().map(list).collect())
}

fn gnu_tar(files: &[PathBuf]) -> Option<Vec<List>> {
    let list = |path: &Path| {
        let output = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--full-time", "--utc"])
            .args(["--quoting-style=escape", "--absolute-names", "--file"])
            .arg(path)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        output.status.success().then(|| {
            output
                .stdout
                .split(|&b| b == b'\n')
                .filter(|line| !line.is_empty())
                .map(gnu_row)
                .collect()
        })
    };
    Command::new("tar").arg("--version").output().ok()?;
    Some(files.iter().map(|path| list(path)).collect())
}

/// `-rw-r--r-- 0/0  768 2024-01-01 00:00:00 ./name -> target`
fn gnu_row(line: &[u8]) -> Row {
    let mut at = 0;
    let mut field = || {
        at += line[at..].iter().take_while(|&&b| b == b' ').count();
        let start = at;
        at += line[at..].iter().take_while(|&&b| b != b' ').count();
        String::from_utf8(line[start..at].to_vec()).unwrap()
    };
    let (mode, owner, size, day, time) = (field(), field(), field(), field(), field());
    // The column of times is as wide as the widest that was seen.
    at += line[at..].iter().take_while(|&&b| b == b' ').count();
    let rest = &line[at..];
    let kind = match mode.as_bytes()[0] {
        b'-' | b'C' => b'0',
        b'h' => b'1',
        b'l' => b'2',
        b'c' => b'3',
        b'b' => b'4',
        b'd' => b'5',
        b'p' => b'6',
        other => other,
    };
    let between: &[u8] = match kind {
        b'1' => b" link to ",
        b'2' => b" -> ",
        _ => b"\n",
    };
    let cut = rest.windows(between.len()).position(|part| part == between);
    let (name, link) =
        cut.map_or((rest, &b""[..]), |cut| (&rest[..cut], &rest[cut + between.len()..]));
    let (uid, gid) = owner.split_once('/').unwrap();
    Row {
        name: trimmed(&unescape(name)),
        kind,
        size: if kind == b'0' { size.parse().unwrap() } else { 0 },
        mode: mode_of(mode.as_bytes()),
        uid: uid.parse().unwrap(),
        gid: gid.parse().unwrap(),
        mtime: seconds(&day, &time),
        link: unescape(link),
    }
}

fn mode_of(text: &[u8]) -> u32 {
    let mut mode = 0;
    for (i, &letter) in text[1..10].iter().enumerate() {
        let set = !matches!(letter, b'-' | b'S' | b'T');
        mode |= u32::from(set) << (8 - i);
        if matches!(letter, b's' | b'S' | b't' | b'T') {
            mode |= 0o4000 >> (i / 3);
        }
    }
    mode
}

/// Escapes as in C.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let octal = rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        if octal == 3 {
            let digits = std::str::from_utf8(&rest[..3]).unwrap();
            bytes.push(u8::from_str_radix(digits, 8).unwrap());
            rest = &rest[3..];
            continue;
        }
        let plain = match rest[0] {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            other => other,
        };
        bytes.push(plain);
        rest = &rest[1..];
    }
    bytes
}

/// Of `2024-01-01` and `00:00:00`, in the calendar that goes on for ever both ways.
fn seconds(day: &str, time: &str) -> i64 {
    let number = |text: &str| text.parse::<i64>().unwrap();
    let (rest, date) = day.rsplit_once('-').unwrap();
    let (year, month) = rest.rsplit_once('-').unwrap();
    let (year, month, date) = (number(year), number(month), number(date));
    let years = if month > 2 { year } else { year - 1 };
    let (era, months) = (years.div_euclid(400), (month + 9) % 12);
    let in_era = years.rem_euclid(400);
    let days = in_era * 365 + in_era / 4 - in_era / 100 + (153 * months + 2) / 5 + date - 1;
    let whole = time.split('.').next().unwrap();
    let parts: Vec<_> = whole.split(':').map(number).collect();
    (era * 146_097 + days - 719_468) * 86_400 + parts[0] * 3600 + parts[1] * 60 + parts[2]
}

/// bsdtar lists no seconds, but writes what it reads as an archive of cpio.
fn bsdtar(files: &[PathBuf]) -> Option<Vec<List>> {
    let list = |path: &Path| {
        let from = [&b"@"[..], path.to_str().unwrap().as_bytes()].concat();
        let output = Command::new("bsdtar")
            .args(["-c", "-f", "-", "--format=newc"])
            .arg(String::from_utf8(from).unwrap())
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        output.status.success().then(|| cpio_rows(&output.stdout))
    };
    Command::new("bsdtar").arg("--version").output().ok()?;
    Some(files.iter().map(|path| list(path)).collect())
}

/// The "new" format of cpio(5): a magic of six bytes, thirteen numbers of eight digits, the name.
fn cpio_rows(archive: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut at = 0;
    loop {
        let number = |field: usize| {
            let start = at + 6 + 8 * field;
            let digits = std::str::from_utf8(&archive[start..start + 8]).unwrap();
            u64::from_str_radix(digits, 16).unwrap()
        };
        let (mode, uid, gid, mtime) = (number(1) as u32, number(2), number(3), number(5));
        let (size, length) = (number(6), number(11) as usize);
        let name = &archive[at + 110..at + 110 + length - 1];
        let start = (at + 110 + length).next_multiple_of(4);
        if name == b"TRAILER!!!" {
            return rows;
        }
        let content = &archive[start..start + size as usize];
        let kind = match mode >> 12 {
            // A hard link has no type of its own.
            0o10 | 0 => b'0',
            0o12 => b'2',
            0o2 => b'3',
            0o6 => b'4',
            0o4 => b'5',
            0o1 => b'6',
            _ => b'?',
        };
        rows.push(as_in_cpio(&Row {
            name: trimmed(name),
            kind,
            size: if kind == b'0' { size } else { 0 },
            mode: mode & 0o7777,
            uid,
            gid,
            mtime: mtime as i64,
            link: if kind == b'2' { content.to_vec() } else { Vec::new() },
        }));
        at = (start + size as usize).next_multiple_of(4);
    }
}

/// cpio has numbers of 32 bits, and takes hard links for files of their own.
fn as_in_cpio(row: &Row) -> Row {
    let hard = row.kind == b'1';
    Row {
        kind: if hard { b'0' } else { row.kind },
        link: if hard { Vec::new() } else { row.link.clone() },
        mtime: u32::try_from(row.mtime).unwrap_or(u32::MAX).into(),
        ..row.clone()
    }
}
