//! Tars of every dialect, the same on every run.

use crate::common::{BLOCK, Forge, checksum, forge, pax_records, put};

/// Numbers that only depend on their seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn one_of<'a>(&mut self, all: &[&'a [u8]]) -> &'a [u8] {
        all[self.roll(all.len())]
    }
}

/// A tar as honest writers make it.
pub fn sound(dice: &mut Dice) -> Vec<u8> {
    let mut tar = forge();
    for number in 0..1 + dice.roll(6) {
        tar = match dice.roll(8) {
            0 => v7(tar, dice, number),
            1 | 2 => ustar(tar, dice, number),
            3 | 4 => pax(tar, dice, number),
            5 | 6 => gnu(tar, dice, number),
            _ => sparse(tar, dice, number),
        };
    }
    tar.end()
}

/// The same with some bytes of its headers changed, the checksum mended most of the time.
pub fn damaged(dice: &mut Dice) -> Vec<u8> {
    let mut tar = sound(dice);
    for _ in 0..1 + dice.roll(2) {
        let block = dice.roll(tar.len() / BLOCK) * BLOCK;
        // The fields that readers act on, more often than the rest.
        let places =
            [0, 99, 100, 107, 108, 116, 124, 125, 134, 135, 136, 147, 156, 157, 257, 262, 263, 345];
        let at = if dice.roll(3) > 0 { places[dice.roll(places.len())] } else { dice.roll(BLOCK) };
        let values = b"\0 /0123457x=gLKSZ.\n\x80\xff";
        tar[block + at] = values[dice.roll(values.len())];
        if dice.roll(5) > 0 {
            checksum(&mut tar[block..block + BLOCK]);
        }
    }
    if dice.roll(12) == 0 {
        tar.truncate(dice.roll(tar.len()));
    }
    tar
}

fn name(dice: &mut Dice, number: usize) -> Vec<u8> {
    let part =
        dice.one_of(&[b"a", b"folder", b"caf\xc3\xa9", b"x.y", b"with blank", b"long-long-name"]);
    let dir = dice.one_of(&[b"", b"./", b"d/", b"d/e/"]);
    [dir, part, number.to_string().as_bytes()].concat()
}

fn content(dice: &mut Dice) -> Vec<u8> {
    let length = [0, 1, 511, 512, 513, 1500][dice.roll(6)];
    vec![b'c'; length]
}

/// An entry with a type, and the fields that all dialects have.
fn entry(tar: Forge, dice: &mut Dice, name: &[u8], magic: &[u8], kinds: &[u8]) -> Forge {
    let kind = kinds[dice.roll(kinds.len())];
    let body = if matches!(kind, b'0' | b'\0' | b'7') { content(dice) } else { Vec::new() };
    let name = if kind == b'5' { [name, b"/"].concat() } else { name.to_vec() };
    let (mode, uid, gid) = (dice.roll(0o10000), dice.roll(70_000), dice.roll(3) * 1000);
    let time = [0, 1_000_000_000, 0o77777777777_i64][dice.roll(3)];
    let link = dice.one_of(&[b"target", b"../up", b"/abs/path"]);
    let device = (dice.roll(256), dice.roll(100_000));
    tar.header(name, kind, body.len() as u64, |block| {
        put(block, 100, format!("{mode:07o}\0").as_bytes());
        put(block, 108, format!("{uid:07o}\0{gid:07o}\0").as_bytes());
        put(block, 136, format!("{time:011o}\0").as_bytes());
        put(block, 257, magic);
        if matches!(kind, b'1' | b'2') {
            put(block, 157, link);
        }
        if matches!(kind, b'3' | b'4') {
            put(block, 329, format!("{:07o}\0{:07o}\0", device.0, device.1).as_bytes());
        }
    })
    .body(body)
}

fn v7(tar: Forge, dice: &mut Dice, number: usize) -> Forge {
    let name = name(dice, number);
    entry(tar, dice, &name, &[0; 8], b"\x00\x0012")
}

fn ustar(tar: Forge, dice: &mut Dice, number: usize) -> Forge {
    let name = name(dice, number);
    let mut tar = entry(tar, dice, &name, b"ustar\x0000", b"000123456");
    if dice.roll(3) == 0 {
        // A prefix goes into the header just made, which is the last one before the body.
        let start = tar.0.len() - BLOCK;
        if &tar.0[start + 257..start + 262] == b"ustar" && tar.0[start + 148] != 0 {
            put_prefix(&mut tar.0[start..]);
        }
    }
    tar
}

fn put_prefix(block: &mut [u8]) {
    put(block, 345, b"a/prefix");
    checksum(block);
}

fn pax(tar: Forge, dice: &mut Dice, number: usize) -> Forge {
    let mut tar = tar;
    if dice.roll(4) == 0 {
        tar = tar.pax_raw(b'g', &pax_records(&[("comment", b"of a git")]));
    }
    let long = [&b"p/".repeat(80)[..], &name(dice, number)].concat();
    let mut records: Vec<(&str, &[u8])> = Vec::new();
    if dice.roll(2) == 0 {
        records.push(("path", &long));
    }
    if dice.roll(2) == 0 {
        records.push(("mtime", dice.one_of(&[b"1234567890.123456789", b"1", b"5000000000.5"])));
    }
    if dice.roll(3) == 0 {
        records.extend([("uid", &b"4000000"[..]), ("gid", b"3000000000")]);
    }
    if dice.roll(3) == 0 {
        records.push(("SCHILY.xattr.user.x", b"value"));
    }
    if dice.roll(4) == 0 {
        let records = [&records[..], &[("linkpath", &long[..])]].concat();
        let name = name(dice, number);
        return entry(tar.pax(&records), dice, &name, b"ustar\x0000", b"12");
    }
    if dice.roll(4) == 0 {
        // The size is in the record alone.
        records.push(("size", b"600"));
        return tar.pax(&records).header("f", b'0', 600, |_| {}).body([b's'; 600]);
    }
    let name = name(dice, number);
    entry(tar.pax(&records), dice, &name, b"ustar\x0000", b"00356")
}

fn gnu(tar: Forge, dice: &mut Dice, number: usize) -> Forge {
    let long = [&b"g/".repeat(90)[..], &name(dice, number)].concat();
    let mut tar = tar;
    if dice.roll(2) == 0 {
        tar = tar.gnu_long(b'L', &long);
    }
    if dice.roll(3) == 0 {
        let name = name(dice, number);
        return entry(tar.gnu_long(b'K', &long), dice, &name, b"ustar  \0", b"12");
    }
    if dice.roll(3) == 0 {
        // Numbers in base 256: an owner above 2^21, a size, a time before 1970.
        let body = content(dice);
        let before = dice.roll(2) == 0;
        let wide = |number: i64| {
            let mut field = [if number < 0 { 0xff } else { 0 }; 12];
            field[4..].copy_from_slice(&number.to_be_bytes());
            field[0] |= 0x80;
            field
        };
        return tar
            .header(name(dice, number), b'0', body.len() as u64, |block| {
                put(block, 257, b"ustar  \0");
                put(block, 108, &[0x80, 0, 0, 0, 0, 0x4c, 0x4b, 0x40]);
                put(block, 124, &wide(body.len() as i64));
                put(block, 136, &wide(if before { -86_400 } else { 1 << 34 }));
            })
            .body(&body);
    }
    let name = name(dice, number);
    entry(tar, dice, &name, b"ustar  \0", b"0123456")
}

/// Ten bytes with two holes, in each of the four forms.
fn sparse(tar: Forge, dice: &mut Dice, number: usize) -> Forge {
    let name = name(dice, number);
    let gnu: &[(&str, &[u8])] = match dice.roll(4) {
        0 => {
            return tar
                .header(name, b'S', 4, |block| {
                    put(block, 257, b"ustar  \0");
                    for (at, number) in
                        [(386, 2), (398, 2), (410, 6), (422, 2), (434, 10), (446, 0), (483, 10)]
                    {
                        put(block, at, format!("{number:011o}\0").as_bytes());
                    }
                })
                .body("abcd");
        }
        1 => &[
            ("GNU.sparse.size", b"10"),
            ("GNU.sparse.numblocks", b"3"),
            ("GNU.sparse.offset", b"2"),
            ("GNU.sparse.numbytes", b"2"),
            ("GNU.sparse.offset", b"6"),
            ("GNU.sparse.numbytes", b"2"),
            ("GNU.sparse.offset", b"10"),
            ("GNU.sparse.numbytes", b"0"),
        ],
        2 => &[
            ("GNU.sparse.size", b"10"),
            ("GNU.sparse.numblocks", b"3"),
            ("GNU.sparse.map", b"2,2,6,2,10,0"),
        ],
        _ => {
            let map = [&b"3\n2\n2\n6\n2\n10\n0\n"[..], &[0; BLOCK - 15], b"abcd"].concat();
            let records: &[(&str, &[u8])] = &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", &name),
                ("GNU.sparse.realsize", b"10"),
            ];
            return tar.pax(records).file("GNUSparseFile.1/f", map);
        }
    };
    let records = [gnu, &[("GNU.sparse.name", &name[..])]].concat();
    tar.pax(&records).file("GNUSparseFile.0/f", "abcd")
}
