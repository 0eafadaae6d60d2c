//! A forge for tars that no honest tool would write, and a small world to unpack them in.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod random;
pub mod tree;
pub mod verdict;
pub mod ways;

use std::fs;
use std::io::{BufReader, Cursor};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_layer::Root;
use conex_layer::tree::{Aspect, Change, Difference, Listing, Tree, compare, hash_file};
use conex_layer::unpack::{LayerInput, Options, Report, Unpacker};
use conex_spec::{Compression, Digest, Kind, Result};
use conex_tar::Code;
use conex_tar::compression::Decoder;
use tempfile::TempDir;

pub const BLOCK: usize = 512;

/// A tar in the making, block by block.
#[derive(Clone, Default)]
pub struct Forge(pub Vec<u8>);

/// Begins an empty tar.
pub fn forge() -> Forge {
    Forge::default()
}

impl Forge {
    /// A header with a right checksum, after `change` had its way with it; no body.
    pub fn header(
        mut self,
        name: impl AsRef<[u8]>,
        flag: u8,
        size: u64,
        change: impl FnOnce(&mut [u8; BLOCK]),
    ) -> Self {
        let mut block = [0u8; BLOCK];
        let name = name.as_ref();
        put(&mut block, 0, &name[..name.len().min(100)]);
        put(&mut block, 100, b"0000755\0");
        put(&mut block, 108, b"0000000\0");
        put(&mut block, 116, b"0000000\0");
        put(&mut block, 124, format!("{size:011o}\0").as_bytes());
        put(&mut block, 136, b"00000001750\0");
        block[156] = flag;
        put(&mut block, 257, b"ustar\x0000");
        change(&mut block);
        checksum(&mut block);
        self.0.extend_from_slice(&block);
        self
    }

    /// Content, padded to whole blocks.
    pub fn body(mut self, content: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(content.as_ref());
        let padded = self.0.len().next_multiple_of(BLOCK);
        self.0.resize(padded, 0);
        self
    }

    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let size = content.as_ref().len() as u64;
        self.header(name, b'0', size, |_| {}).body(content)
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.header(name, b'5', 0, |_| {})
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(name, b'2', 0, |block| put(block, 157, target.as_ref()))
    }

    pub fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.header(name, b'1', 0, |block| put(block, 157, target.as_ref()))
    }

    pub fn mode(self, name: impl AsRef<[u8]>, flag: u8, mode: u32) -> Self {
        self.header(name, flag, 0, |block| put(block, 100, format!("{mode:07o}\0").as_bytes()))
    }

    /// A local PAX header.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.pax_raw(b'x', &pax_records(records))
    }

    pub fn pax_raw(self, flag: u8, bytes: &[u8]) -> Self {
        self.header("PaxHeaders/x", flag, bytes.len() as u64, |_| {}).body(bytes)
    }

    /// A GNU long name (`L`) or long link (`K`).
    pub fn gnu_long(self, flag: u8, name: &[u8]) -> Self {
        let name = [name, b"\0"].concat();
        let gnu = |block: &mut [u8; BLOCK]| put(block, 257, b"ustar  \0");
        self.header("././@LongLink", flag, name.len() as u64, gnu).body(name)
    }

    /// Ends the archive properly.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

pub fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

pub fn checksum(block: &mut [u8]) {
    put(block, 148, b"        ");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}

pub fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..).find(|n| rest + n.to_string().len() == *n).unwrap();
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

/// In memory where that is possible.
pub fn temp_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A folder with a canary beside the place where images are unpacked.
pub struct World {
    temp: TempDir,
    canary: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let temp = temp_dir();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(outside.join("secret"), "canary").unwrap();
        fs::create_dir(outside.join("dir")).unwrap();
        let mut world = Self { temp, canary: Vec::new() };
        world.canary = world.look_outside();
        world
    }

    /// The canary's folder as an absolute path, for hostile links.
    pub fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    pub fn outside_bytes(&self) -> Vec<u8> {
        self.outside().to_str().unwrap().as_bytes().to_vec()
    }

    pub fn target(&self) -> PathBuf {
        self.temp.path().join("rootfs")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.target().join(name)
    }

    /// Unpacks the layers, checks that nothing outside changed, and that a failure leaves
    /// nothing behind.
    pub fn unpack(&self, layers: &[Vec<u8>]) -> Result<Report> {
        let layers: Vec<_> = layers
            .iter()
            .map(|tar| (Compression::None, tar.clone(), Digest::sha256(tar)))
            .collect();
        self.unpack_as(&layers, options())
    }

    pub fn unpack_as(
        &self,
        layers: &[(Compression, Vec<u8>, Digest)],
        options: Options,
    ) -> Result<Report> {
        let result = unpack_to(&self.target(), layers, options);
        self.check_outside();
        let expected = if result.is_ok() { vec!["rootfs"] } else { vec![] };
        assert_eq!(self.names(), expected, "{:?}", result.as_ref().err());
        self.go_other_ways(layers, options, &result);
        result
    }

    /// What is beside the canary.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.temp.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "outside").collect()
    }

    /// The same layers without privilege, as one tar, and each in a folder of its own: refused where
    /// they are refused, and else the same tree; the canary untouched and nothing left behind.
    fn go_other_ways(&self, layers: &[tree::Layer], options: Options, unpacked: &Result<Report>) {
        // Whoever writes no tree has all the room that there is, and would fill it.
        if unpacked.as_ref().is_err_and(|err| err.kind() == Kind::NoSpace) {
            return;
        }
        if let Ok(report) = unpacked
            && options.privileged.unwrap_or_else(is_root)
            && options.devices == Options::default().devices
        {
            self.check_tree(layers, !report.warnings.has(Code::XattrRefused));
        }
        for way in ways::ALL {
            let target = self.temp.path().join("other");
            let result = (way.go)(&target, layers, options);
            self.check_outside();
            match (unpacked, result) {
                (Ok(_), Ok(())) => {
                    assert_eq!(
                        (way.look)(&target, layers.len()),
                        (way.expect)(&self.target()),
                        "{}",
                        way.name
                    );
                    ways::remove(&target);
                }
                // Some limits are those of one disk, or of one way.
                (Err(err), Ok(())) if is_about_disks(err) => ways::remove(&target),
                (Err(_), Err(_)) => {}
                (unpacked, other) => {
                    panic!("{}: {:?}, but {:?}", way.name, unpacked.as_ref().err(), other.err());
                }
            }
            self.check_outside();
            let expected = if unpacked.is_ok() { vec!["rootfs"] } else { vec![] };
            assert_eq!(self.names(), expected, "{}", way.name);
        }
    }

    /// The tree in memory must be the one on the disk, which may not have taken all attributes.
    fn check_tree(&self, layers: &[(Compression, Vec<u8>, Digest)], xattrs: bool) {
        let (mut tree, mut disk) = (Tree::default(), Tree::default());
        for (compression, bytes, _) in layers {
            let tar = Decoder::new(*compression, &bytes[..]).unwrap();
            let listing = Listing::read(BufReader::new(tar), true).unwrap();
            tree.apply(Arc::new(listing)).unwrap();
        }
        disk.apply(Arc::new(Listing::of_folder(&self.target()).unwrap())).unwrap();
        let root = Root::open(&self.target()).unwrap();
        let changes = compare(&tree, &disk, &mut |a, b| {
            Ok(tree.hash(a) == Some(&hash_file(&root, &disk.path(b)).unwrap()))
        });
        let matters = |change: &&Change| {
            xattrs || change.difference != Difference::Changed(vec![Aspect::Xattrs])
        };
        let show = |change: &Change| {
            let path = change.old.map(|node| tree.path(node));
            (change.clone(), path, change.new.map(|node| disk.path(node)))
        };
        let changes: Vec<_> = changes.unwrap().iter().filter(matters).map(show).collect();
        assert_eq!(changes, [], "the tree in memory is another one");
    }

    pub fn check_outside(&self) {
        assert_eq!(self.look_outside(), self.canary, "the world outside has changed");
    }

    /// Everything about the canary that a layer could have changed.
    fn look_outside(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for path in ["outside", "outside/secret", "outside/dir"] {
            let path = self.temp.path().join(path);
            let meta = fs::symlink_metadata(&path).unwrap();
            let time = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
            seen.push(format!("{:?} {:o} {} {}", time, meta.mode(), meta.uid(), meta.nlink()));
        }
        let mut names: Vec<_> =
            fs::read_dir(self.outside()).unwrap().map(|e| format!("{:?}", e.unwrap())).collect();
        names.sort();
        seen.extend(names);
        seen.push(fs::read_to_string(self.outside().join("secret")).unwrap());
        seen
    }
}

/// What only a file system can refuse.
fn is_about_disks(err: &conex_spec::Error) -> bool {
    let text = err.to_string();
    text.contains("set attribute") || text.contains("name too long") || text.contains("File name")
}

/// Quick: nothing is synced.
pub fn options() -> Options {
    Options { sync: false, ..Options::default() }
}

/// From the newest layer to the oldest one, so that nothing is written that is hidden; nothing where that
/// does not tell what the layers mean.
pub fn unpack_from_top(
    target: &Path,
    layers: &[tree::Layer],
    options: Options,
) -> Result<Option<Report>> {
    let mut unpacker = Unpacker::new(target, options)?;
    for (number, layer) in layers.iter().enumerate().rev() {
        if !unpacker.apply_below(tree::input(number, layer))? {
            return Ok(None);
        }
    }
    unpacker.publish().map(Some)
}

pub fn unpack_to(
    target: &Path,
    layers: &[(Compression, Vec<u8>, Digest)],
    options: Options,
) -> Result<Report> {
    let mut unpacker = Unpacker::new(target, options)?;
    for (i, (compression, bytes, diff_id)) in layers.iter().enumerate() {
        unpacker.apply(LayerInput {
            compression: *compression,
            diff_id: diff_id.clone(),
            reader: Box::new(Cursor::new(bytes.clone())),
            name: format!("layer {i}"),
        })?;
    }
    unpacker.publish()
}

/// What every hostile layer is put on top of.
pub fn lower() -> Vec<u8> {
    forge()
        .dir("etc/")
        .file("etc/keep", "keep")
        .dir("a/")
        .file("a/lower", "lower")
        .file("foo", "foo of the lower layer")
        .end()
}

/// Warnings but the one that is always there without privilege.
pub fn odd(report: &Report) -> Vec<String> {
    let kept = report.warnings.kept().iter();
    kept.filter(|warning| warning.code != Code::OwnersKept).map(ToString::to_string).collect()
}

pub fn has(report: &Report, code: Code) -> bool {
    report.warnings.has(code)
}
