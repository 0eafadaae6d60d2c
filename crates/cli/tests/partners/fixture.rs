//! What all cases share: the root file system of a real Debian with odd things in it, and the
//! image that conex packs of it. Made when the first case asks; debootstrap's work is kept from
//! run to run as an archive below `target`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use conex_spec::Digest;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use crate::support::program::{Conex, partner, run, run_partner};
use crate::support::scratch::{Scratch, kept};
use crate::support::tree::touch;

/// Of Debian; its name is what a container prints that runs it.
pub const SUITE: &str = "bookworm";
/// What makes tens of thousands of files of a minimal Debian.
const PACKAGES: &str = "libboost1.74-dev,python3";
/// Where a mirror is looked for.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
const MIRROR: &str = "http://deb.debian.org/debian";

/// A value that is made once and shared by all cases. Where it cannot be made, every case that
/// asks for it says why.
pub struct Shared<T>(OnceLock<Result<T, String>>);

impl<T> Shared<T> {
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub fn get(&self, make: impl FnOnce() -> T + std::panic::UnwindSafe) -> &T {
        let made = self.0.get_or_init(|| {
            std::panic::catch_unwind(make).map_err(|panic| message(panic.as_ref()))
        });
        made.as_ref().unwrap_or_else(|reason| panic!("a shared fixture cannot be made: {reason}"))
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A folder that lives until the end of the run.
pub fn shared_folder(name: &str) -> &'static Scratch {
    Box::leak(Box::new(Scratch::new(name)))
}

/// The tree: Debian, and odd things in `opt/odd`.
pub fn tree() -> &'static Path {
    static TREE: Shared<PathBuf> = Shared::new();
    TREE.get(|| {
        let tree = shared_folder("debian").folder("tree");
        unpack_debian(&tree);
        odd_things(&tree.join("opt/odd"));
        tree
    })
}

/// The layout with the tree as conex packs it, tagged `debian`: a location.
pub fn packed() -> &'static str {
    static LAYOUT: Shared<String> = Shared::new();
    LAYOUT.get(|| {
        let scratch = shared_folder("packed");
        let location = format!("oci:{}:debian", scratch.arg("layout"));
        let tree = tree().display().to_string();
        let script =
            "--cmd=. /etc/os-release; echo \"$VERSION_CODENAME $(id -u) $(pwd) $GREETING\"";
        Conex::new(scratch).ok(&[
            "pack",
            &tree,
            &location,
            "--entrypoint=/bin/sh",
            "--cmd=-c",
            script,
            "--env=GREETING=hello",
            "--workdir=/opt",
        ]);
        location
    })
}

/// A file with extended attributes, one of them of an empty value.
pub const ODD_FILE: &str = "opt/odd/with-xattrs";
pub const EMPTY_XATTR: &str = "user.empty";

/// What a container of [`packed`] prints.
pub const PRINTS: &str = "bookworm 0 /opt hello\n";

fn unpack_debian(tree: &Path) {
    let archive = archive();
    if !archive.exists() {
        let scratch = Scratch::new("debootstrap");
        let root = scratch.arg("root");
        let include = format!("--include={PACKAGES}");
        run_partner("debootstrap", &["--variant=minbase", &include, SUITE, &root, &mirror()]);
        // As images do: neither the packages nor their lists are kept.
        run_partner("chroot", &[&root, "sh", "-c", "apt-get clean; rm -rf /var/lib/apt/lists/*"]);
        let part = archive.with_extension("part");
        let create = [
            "--create",
            "--use-compress-program=zstd -1 -T0",
            "--pax-option=delete=atime,delete=ctime",
        ];
        run(tar(&create).arg("--file").arg(&part).args(["--directory", &root, "."]));
        fs::rename(part, &archive).unwrap();
    }
    let extract =
        ["--extract", "--use-compress-program=zstd -d", "--preserve-permissions", "--same-owner"];
    run(tar(&extract).arg("--file").arg(&archive).arg("--directory").arg(tree));
}

/// GNU tar, with times to the nanosecond and all extended attributes.
fn tar(args: &[&str]) -> Command {
    let mut command = partner("tar");
    command.args(args).args(["--format=pax", "--numeric-owner", "--xattrs", "--xattrs-include=*"]);
    command
}

/// The name says what is in it.
fn archive() -> PathBuf {
    let key = Digest::sha256(format!("3 {SUITE} {PACKAGES} {}", std::env::consts::ARCH).as_bytes());
    kept().join(format!("debootstrap-{}.tar.zst", &key.encoded()[..16]))
}

/// The mirror that this machine's own packages come from.
fn mirror() -> String {
    let files = SOURCES.iter().filter_map(|file| fs::read_to_string(file).ok());
    let found = files.flat_map(|text| {
        let uris =
            text.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
        let words =
            uris.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        words
            .filter(|word| {
                word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian")
            })
            .collect::<Vec<_>>()
    });
    found.into_iter().next().unwrap_or_else(|| MIRROR.into())
}

/// What real images hold seldom, and tools get wrong.
fn odd_things(dir: &Path) {
    fs::create_dir_all(dir.join("folder")).unwrap();
    let file = |name: &[u8], content: &[u8], mode: u32| {
        let path = dir.join(OsStr::from_bytes(name));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let first = file(b"first", b"linked three times\n", 0o640);
    fs::hard_link(&first, dir.join("second")).unwrap();
    fs::hard_link(&first, dir.join("folder/third")).unwrap();
    file(b"set-user-id", b"#!/bin/sh\n", 0o4755);
    file(b"set-group-id", b"#!/bin/sh\n", 0o2755);
    file(b"nobody-may", b"", 0o000);
    file(b"not utf-8 \xff\xfe", b"x", 0o644);
    file(b"new\nline and \"quotes\" \\ $(x) \x1b[31m", b"x", 0o644);
    file(&[b'n'; 255], b"the longest name", 0o644);
    symlink("missing", dir.join("dangling")).unwrap();
    symlink("/etc/../opt/odd/first", dir.join("absolute")).unwrap();
    symlink("x".repeat(3000), dir.join("long-target")).unwrap();
    let deep = (0..20).fold(dir.join("deep"), |path, _| path.join("a-folder-with-a-long-name"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("leaf"), "far down").unwrap();
    fs::set_permissions(dir.join("folder"), fs::Permissions::from_mode(0o1777)).unwrap();
    std::os::unix::fs::lchown(dir.join("set-group-id"), Some(1234), Some(2_000_000_000)).unwrap();
    special_files(dir);
    attributes(dir, &file(b"with-xattrs", b"x", 0o644));
    times(dir);
}

fn special_files(dir: &Path) {
    let make = |name: &str, kind, device| {
        mknodat(CWD, dir.join(name), kind, Mode::from(0o620), device).unwrap();
    };
    make("null", FileType::CharacterDevice, makedev(1, 3));
    make("loop", FileType::BlockDevice, makedev(7, 300));
    make("fifo", FileType::Fifo, 0);
}

fn attributes(dir: &Path, file: &Path) {
    let capable = dir.join("capable");
    fs::write(&capable, "x").unwrap();
    run(partner("setcap").arg("cap_net_bind_service=ep").arg(&capable));
    let set =
        |path: &Path, name: &str, value: &[u8]| lsetxattr(path, name, value, XattrFlags::empty());
    // Memory file systems know `user` attributes since Linux 6.6.
    if set(file, "user.text", b"value").is_ok() {
        set(file, EMPTY_XATTR, b"").unwrap();
        set(file, "user.binary", &[0, 255, b'=', b'\n', 0]).unwrap();
        set(&dir.join("folder"), "user.on-a-folder", b"x").unwrap();
    }
}

fn times(dir: &Path) {
    touch(&dir.join("first"), 1_000_000_000, 123_456_789);
    touch(&dir.join("dangling"), 1_234_567_890, 1);
    touch(&dir.join("null"), 7, 999_999_999);
    touch(&dir.join("set-user-id"), 0, 0);
    // After 2038 and after what 33 bits hold.
    touch(&dir.join("capable"), 5_000_000_000, 5);
    touch(&dir.join("folder"), 1_500_000_000, 42);
}
