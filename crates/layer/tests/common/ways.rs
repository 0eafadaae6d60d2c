//! The ways of unpacking, besides the plain one as the person who runs the tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use conex_layer::Ids;
use conex_layer::flatten::Marks;
use conex_layer::unpack::Options;
use conex_spec::{Digest, Result};

use super::tree::{Layer, flatten, folders, layer, limits, snapshot, xattrs};
use super::{is_root, unpack_from_top, unpack_to};

/// By name below the root, what is there.
type Seen = BTreeMap<Vec<u8>, String>;

/// One way.
pub struct Way {
    pub name: &'static str,
    pub go: fn(&Path, &[Layer], Options) -> Result<()>,
    /// What came of it; told how many layers there were.
    pub look: fn(&Path, usize) -> Seen,
    /// The same of what the plain way gave.
    pub expect: fn(&Path) -> Seen,
}

pub const ALL: [Way; 4] = [
    Way {
        name: "from the top",
        go: |target, layers, options| {
            if let Ok(Some(_)) = unpack_from_top(target, layers, options) {
                return Ok(());
            }
            unpack_to(target, layers, options).map(drop)
        },
        look: |target, _| everything(target),
        expect: everything,
    },
    Way {
        name: "rootless",
        go: |target, layers, options| {
            let options = Options { privileged: Some(false), ids: Ids::rootless(), ..options };
            unpack_to(target, layers, options).map(drop)
        },
        look: |target, _| {
            open_up(target);
            contents(target)
        },
        expect: contents,
    },
    Way {
        name: "flattened",
        go: |target, layers, options| {
            let tar = flatten(layers, limits(options))?;
            // The tar has each file once, and the limit was for what the layers have.
            unpack_to(target, &[layer(tar)], Options { max_bytes: None, ..options }).map(drop)
        },
        look: |target, _| everything(target),
        expect: everything,
    },
    Way {
        name: "layers",
        go: |target, layers, options| {
            // The tars of single layers are made by us, and their size is nobody's limit.
            flatten(layers, limits(options))?;
            let marks = if is_root() { Marks::Trusted } else { Marks::User };
            folders(target, layers, marks, Options { max_bytes: None, ..options }).map(drop)
        },
        look: stacked,
        expect: contents,
    },
];

fn everything(root: &Path) -> Seen {
    snapshot(root).into_iter().map(|(name, line)| (name.into_bytes(), line)).collect()
}

/// Names, types and contents: what does not depend on who unpacks. Devices and the files that
/// stand for them count as the same.
fn contents(root: &Path) -> Seen {
    let mut seen = Seen::new();
    walk(root, &mut |path, name| {
        seen.insert(name.to_vec(), content(path));
    });
    seen
}

fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &[u8])) {
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        visit(&path, path.strip_prefix(root).unwrap().as_os_str().as_bytes());
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

fn content(path: &Path) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    if kind.is_dir() {
        "folder".into()
    } else if kind.is_symlink() {
        format!("link to {:?}", fs::read_link(path).unwrap())
    } else if kind.is_fifo() {
        "pipe".into()
    } else if kind.is_file() && meta.len() > 0 {
        fs::read(path)
            .map_or_else(|_| "unreadable".into(), |bytes| Digest::sha256(&bytes).to_string())
    } else {
        "empty".into()
    }
}

/// The folders of layers upon each other, as overlayfs says: Linux,
/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
fn stacked(target: &Path, layers: usize) -> Seen {
    let mut seen = Seen::from([(Vec::new(), "folder".into())]);
    for number in 1..=layers {
        let mut top = Seen::new();
        walk(&target.join(number.to_string()), &mut |path, name| {
            let meta = fs::symlink_metadata(path).unwrap();
            let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
            let mark =
                |name: &str| ["trusted.overlay.opaque", "user.overlay.opaque"].contains(&name);
            let opaque = xattrs(path).iter().any(|(name, value)| mark(name) && value == b"y");
            let goes_on = meta.is_dir() && seen.get(name).is_some_and(|below| below == "folder");
            if !goes_on || opaque {
                let below = [name, b"/"].concat();
                seen.retain(|other, _| other != name && !other.starts_with(&below));
            }
            if !whiteout {
                top.insert(name.to_vec(), content(path));
            }
        });
        seen.extend(top);
    }
    seen
}

/// Folders that even their owner may not look into.
fn open_up(root: &Path) {
    if is_root() {
        return;
    }
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        for entry in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
        }
    }
}

/// Runs the tests of one file of this program once more, as a person who is nobody. Where the tests are not run by root
/// they are run without privilege in the first place.
#[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "a test runs its own program")]
pub fn again_as_nobody(file: &str) {
    use std::process::Command;
    let there = Command::new("setpriv").arg("--version").output().is_ok();
    if !is_root() || !there {
        eprintln!("skipped: needs root and setpriv");
        return;
    }
    let place = super::temp_dir();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The build folder may be out of that person's reach.
    let program = place.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    // Folders that are closed to their owner cannot be compared by that person.
    command.args([file, "--skip", "as_nobody", "--skip", "without_privilege"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test result: ok") && !text.contains("running 0 tests"), "{text}");
}

/// Removes what a way has made.
pub fn remove(target: &Path) {
    open_up(target);
    fs::remove_dir_all(target).unwrap();
}
