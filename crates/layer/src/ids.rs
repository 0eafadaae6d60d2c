//! User and group numbers of an image as numbers of this machine, and how a tree that an ordinary
//! person owns remembers whose its files are.

use std::str::FromStr;

use conex_spec::{Error, Kind, Result};
use conex_tar::{Entry, Kind as EntryKind, Xattr, show};

/// As many ranges as Linux took in one map until 4.15.
const MOST: usize = 5;

/// Where owners are remembered that cannot be given: a message of rootlesscontaine.rs, which umoci
/// and PRoot read and write.
pub const OWNER: &[u8] = b"user.rootlesscontainers";

/// What stands there for a number that could be given.
const GIVEN: u32 = u32::MAX;

/// Which numbers of an image are which here: ranges as in `/proc/PID/uid_map`, user_namespaces(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    ranges: [Option<Range>; MOST],
}

/// Some numbers in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first number in the image.
    pub container: u32,
    /// What it is on this machine.
    pub host: u32,
    /// How many numbers there are.
    pub size: u32,
}

impl IdMap {
    /// A map without any range.
    pub const NONE: Self = Self { ranges: [None; MOST] };

    /// A map of these ranges; without any, every number stays what it is.
    ///
    /// # Errors
    /// `Usage` for more than five ranges, and for ranges that overlap.
    pub fn new(ranges: &[Range]) -> Result<Self> {
        let mut map = Self::default();
        if ranges.len() > MOST {
            return Err(Error::new(Kind::Usage, "map of user or group numbers is too long")
                .expected(format!("at most {MOST} ranges"))
                .found(ranges.len()));
        }
        for (i, range) in ranges.iter().enumerate() {
            if ranges[..i].iter().any(|other| range.meets(other)) {
                return Err(Error::new(Kind::Usage, "ranges of user or group numbers overlap")
                    .found(format!("{}:{}:{}", range.container, range.host, range.size)));
            }
            map.ranges[i] = Some(*range);
        }
        Ok(map)
    }

    /// Only root of the image, who is the caller.
    pub fn only_root(host: u32) -> Self {
        let mut map = Self::default();
        map.ranges[0] = Some(Range { container: 0, host, size: 1 });
        map
    }

    /// Whether every number stays what it is.
    pub fn is_empty(&self) -> bool {
        self.ranges[0].is_none()
    }

    /// The number on this machine; nothing where the map does not say.
    pub fn host(&self, id: u32) -> Option<u32> {
        if self.is_empty() {
            return Some(id);
        }
        self.ranges().find_map(|range| {
            let at = id.checked_sub(range.container).filter(|at| *at < range.size)?;
            Some(range.host + at)
        })
    }

    /// What a number of this machine is in the image; nothing where the map does not say.
    pub fn container(&self, id: u32) -> Option<u32> {
        if self.is_empty() {
            return Some(id);
        }
        self.ranges().find_map(|range| {
            let at = id.checked_sub(range.host).filter(|at| *at < range.size)?;
            Some(range.container + at)
        })
    }

    /// The ranges.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        self.ranges.iter().copied().flatten()
    }
}

impl Range {
    fn meets(&self, other: &Self) -> bool {
        let meet = |a: u32, b: u32| {
            u64::from(a) < u64::from(b) + u64::from(other.size)
                && u64::from(b) < u64::from(a) + u64::from(self.size)
        };
        meet(self.container, other.container) || meet(self.host, other.host)
    }
}

/// As umoci has it: `CONTAINER:HOST[:SIZE]`.
impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(Kind::Usage, "not a range of user or group numbers")
                .expected("CONTAINER:HOST[:SIZE], as in 0:100000:65536")
                .found(text.escape_debug())
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits).ok_or_else(wrong)
        };
        let (container, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (host, size) = rest.split_once(':').unwrap_or((rest, "1"));
        let range =
            Self { container: number(container)?, host: number(host)?, size: number(size)? };
        // The highest number means "no one" to the kernel.
        let ends = [range.container, range.host].map(|first| first.checked_add(range.size));
        if range.size == 0 || ends.iter().any(Option::is_none) {
            return Err(wrong());
        }
        Ok(range)
    }
}

/// Both maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Of users.
    pub users: IdMap,
    /// Of groups.
    pub groups: IdMap,
    /// Whether owners that cannot be given are remembered in an attribute.
    pub remember: bool,
}

impl Ids {
    /// For a person without privilege: the image's root is that person, and all other owners are
    /// remembered.
    pub fn rootless() -> Self {
        Self::noted_by(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    /// The same of another person.
    pub fn noted_by(uid: u32, gid: u32) -> Self {
        Self { users: IdMap::only_root(uid), groups: IdMap::only_root(gid), remember: true }
    }

    /// Gives an entry the owner that it has on this machine. Where the maps do not know one, it is
    /// an error for who could give it, and else nobody.
    pub(crate) fn apply(&self, entry: &mut Entry, privileged: bool) -> Result<()> {
        if self.remember {
            self.note_owner(entry);
        }
        let owner = self.users.host(entry.uid).zip(self.groups.host(entry.gid));
        (entry.uid, entry.gid) = match owner {
            Some(owner) => owner,
            None if !privileged => (u32::MAX, u32::MAX),
            None => {
                return Err(Error::new(
                    Kind::Usage,
                    "owner is not in the maps of user and group numbers",
                )
                .found(format!("{}:{}", entry.uid, entry.gid))
                .hint("map more numbers"));
            }
        };
        Ok(())
    }

    /// Only files and directories can have such an attribute. A layer's own is a forgery.
    fn note_owner(&self, entry: &mut Entry) {
        entry.xattrs.retain(|xattr| xattr.name != OWNER);
        let can = matches!(entry.kind, EntryKind::File | EntryKind::Dir);
        let lost = |map: &IdMap, id: u32| if map.host(id).is_some() { GIVEN } else { id };
        let (uid, gid) = (lost(&self.users, entry.uid), lost(&self.groups, entry.gid));
        if can && (uid, gid) != (GIVEN, GIVEN) {
            let value = message(uid, gid);
            entry.xattrs.push(Xattr { name: OWNER.to_vec(), value });
        }
    }

    /// Whose a file is in the image: what a note says, which is taken out of the attributes, and else
    /// what the maps make of its owner on this machine.
    ///
    /// # Errors
    /// `Invalid` for a note that makes no sense, `Usage` for an owner that is in no range.
    pub(crate) fn restore(
        &self,
        (uid, gid): (u32, u32),
        xattrs: &mut Vec<Xattr>,
        path: &[u8],
    ) -> Result<(u32, u32)> {
        let note = if self.remember { take_note(xattrs, path)? } else { (None, None) };
        let find = |noted: Option<u32>, map: &IdMap, id: u32, what: &str| {
            noted.or_else(|| map.container(id)).ok_or_else(|| {
                let message = format!("the {what} of {} is not in the map", show(path));
                Error::new(Kind::Usage, message)
                    .expected(format!("one of {map}"))
                    .found(id)
                    .hint("chown it to one that the map has, or say whose all are: --owner")
            })
        };
        Ok((find(note.0, &self.users, uid, "user")?, find(note.1, &self.groups, gid, "group")?))
    }

    /// Who the image's root is here, for directories that no entry describes.
    pub(crate) fn root(&self) -> (u32, u32) {
        let nobody = u32::MAX;
        (self.users.host(0).unwrap_or(nobody), self.groups.host(0).unwrap_or(nobody))
    }
}

/// `message Resource { uint32 uid = 1; uint32 gid = 2; }`, in the encoding of protocol buffers 3,
/// where a zero is left out.
fn message(uid: u32, gid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, mut number) in [(0x08, uid), (0x10, gid)] {
        if number == 0 {
            continue;
        }
        bytes.push(tag);
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }
    bytes
}

/// Takes the note out of a file's attributes, if there is one: the user and the group, where they could
/// not be given.
///
/// # Errors
/// `Invalid` for a note that makes no sense.
pub(crate) fn take_note(
    xattrs: &mut Vec<Xattr>,
    path: &[u8],
) -> Result<(Option<u32>, Option<u32>)> {
    let Some(at) = xattrs.iter().position(|xattr| xattr.name == OWNER) else {
        return Ok((None, None));
    };
    let note = xattrs.remove(at);
    let (uid, gid) = parse(&note.value).ok_or_else(|| {
        let what = format!("owner noted at {} makes no sense", show(path));
        Error::invalid(what).expected("a message Resource").found(show(&note.value))
    })?;
    let lost = |id: u32| Some(id).filter(|id| *id != GIVEN);
    Ok((lost(uid), lost(gid)))
}

/// The user and group of such a message; fields of later versions say nothing.
fn parse(bytes: &[u8]) -> Option<(u32, u32)> {
    let (mut owner, mut rest) = ((0, 0), bytes);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        // All that it has are numbers: wire type 0.
        let number = (tag & 7 == 0).then(|| varint(&mut rest)).flatten()?;
        match tag >> 3 {
            1 => owner.0 = u32::try_from(number).ok()?,
            2 => owner.1 = u32::try_from(number).ok()?,
            _ => {}
        }
    }
    Some(owner)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// As they are typed.
impl std::fmt::Display for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, range) in self.ranges().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}:{}:{}", range.container, range.host, range.size)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_typed_as_for_umoci() {
        assert_eq!(range("0:1000"), Range { container: 0, host: 1000, size: 1 });
        assert_eq!(range("1:100000:65535"), Range { container: 1, host: 100_000, size: 65535 });
        for bad in
            ["", "0", "0:", ":1", "0:1:0", "0:1:2:3", "-1:0", "0:4294967295:2", "a:b", "+1:2"]
        {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_mapped() {
        let map = IdMap::new(&[range("0:1000"), range("1:100000:65535")]).unwrap();
        let found = [0, 1, 65535, 65536, u32::MAX].map(|id| map.host(id));
        assert_eq!(found, [Some(1000), Some(100_000), Some(165_534), None, None]);
        assert_eq!(IdMap::default().host(7), Some(7));
        assert!(IdMap::new(&[range("0:0:10"), range("9:100")]).is_err());
        assert!(IdMap::new(&[range("0:0:10"), range("20:9")]).is_err());
        assert!(IdMap::new(&[range("0:0"); 6]).is_err());
    }

    #[test]
    fn owners_are_remembered_where_they_can_be() {
        let ids =
            Ids { users: IdMap::only_root(1000), groups: IdMap::only_root(100), remember: true };
        let forged = Xattr { name: OWNER.to_vec(), value: b"x".to_vec() };
        let mut entry = Entry { uid: 33, gid: 300, ..Entry::new("f", EntryKind::File) };
        entry.xattrs.push(forged.clone());
        ids.apply(&mut entry, false).unwrap();
        assert_eq!((entry.uid, entry.gid), (u32::MAX, u32::MAX));
        assert_eq!(entry.xattrs[0].value, [0x08, 33, 0x10, 0xac, 0x02]);
        let mut half = Entry { gid: 42, ..Entry::new("f", EntryKind::File) };
        ids.apply(&mut half, false).unwrap();
        assert_eq!(half.xattrs[0].value, b"\x08\xff\xff\xff\xff\x0f\x10\x2a");
        let mut root = Entry { xattrs: vec![forged], ..Entry::new("d", EntryKind::Dir) };
        ids.apply(&mut root, false).unwrap();
        assert_eq!((root.uid, root.gid, root.xattrs.len()), (1000, 100, 0));
        let mut link = Entry { uid: 5, ..Entry::new("l", EntryKind::Symlink(b"x".to_vec())) };
        assert!(ids.apply(&mut link, true).is_err());
        assert!(link.xattrs.is_empty());
    }

    #[test]
    fn owners_come_back() {
        let ids =
            Ids { users: IdMap::only_root(1000), groups: IdMap::only_root(100), remember: true };
        let restored = |ids: &Ids, owner, value: &[u8]| {
            let mut xattrs = vec![Xattr { name: OWNER.to_vec(), value: value.to_vec() }];
            (ids.restore(owner, &mut xattrs, b"f").ok(), xattrs.len())
        };
        let own = (1000, 100);
        for (uid, gid) in [(33, 300), (GIVEN, 42), (7, GIVEN), (0, 5), (1 << 31, 1)] {
            let expected = |noted: u32| if noted == GIVEN { 0 } else { noted };
            let expected = (expected(uid), expected(gid));
            assert_eq!(restored(&ids, own, &message(uid, gid)), (Some(expected), 0));
        }
        // A later field is passed over, nonsense is refused.
        assert_eq!(restored(&ids, own, b"\x08\x01\x18\x07\x10\x02"), (Some((1, 2)), 0));
        for bad in [&b"\x08"[..], b"x", b"\x0a\x01a", b"\x08\xff\xff\xff\xff\x7f", &[0xff; 12]] {
            assert_eq!(restored(&ids, own, bad), (None, 0), "{bad:?}");
        }
        assert_eq!(ids.restore(own, &mut Vec::new(), b"f").unwrap(), (0, 0));
        let err = ids.restore((1001, 100), &mut Vec::new(), b"f").unwrap_err().to_string();
        assert!(err.contains("the user of f") && err.contains("0:1000:1"), "{err}");
        // Who unpacked as root noted nothing: such an attribute is the image's own.
        assert_eq!(restored(&Ids::default(), (5, 6), b"x"), (Some((5, 6)), 1));
    }
}
