//! The folders that the demonstration packs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use conex_spec::{Error, Result};

use super::program::{Cpu, program};

/// Folders and files in each, in the first layer.
const FOLDERS: usize = 40;
const FILES: usize = 50;

/// The first layer, the same on every platform: many files, links of both kinds, and what a
/// user of the image needs to have a name.
pub fn base(dir: &Path) -> Result<()> {
    for folder in 0..FOLDERS {
        let folder = dir.join(format!("usr/share/demo/part{folder:02}"));
        make_folder(&folder)?;
        for file in 0..FILES {
            let text = format!("This is file {file} of {}.\n", folder.display()).repeat(20);
            write(&folder.join(format!("file{file:02}.txt")), text.as_bytes(), 0o644)?;
        }
    }
    write(
        &dir.join("etc/passwd"),
        b"root:x:0:0:root:/root:/bin/sh\ndemo:x:1000:1000::/:/bin/hello\n",
        0o644,
    )?;
    write(&dir.join("etc/group"), b"root:x:0:\ndemo:x:1000:\n", 0o644)?;
    write(&dir.join("etc/motd"), b"This text is replaced by a later layer.\n", 0o644)?;
    write(&dir.join("opt/old/gone"), b"This folder is deleted by a later layer.\n", 0o600)?;
    make_folder(&dir.join("usr/bin"))?;
    link(&dir.join("bin"), || symlink("usr/bin", dir.join("bin")))?;
    let first = dir.join("usr/share/demo/part00/file00.txt");
    link(&first, || fs::hard_link(&first, dir.join("usr/share/demo/hardlink.txt")))
}

/// The layer with the program, one for each platform.
pub fn app(dir: &Path, cpu: Cpu, version: u32) -> Result<()> {
    let text = format!(
        "Hello! This is version {version} for linux/{}, packed, pushed, pulled, verified and\nunpacked by conex, and started by your runtime.\n",
        cpu.name()
    );
    write(&dir.join("usr/bin/hello"), &program(cpu, &text), 0o755)
}

/// The last layer: it replaces one file and deletes a folder.
pub fn changes(dir: &Path) -> Result<()> {
    write(&dir.join("etc/motd"), b"Welcome to the image of the demonstration.\n", 0o644)?;
    write(&dir.join("opt/.wh.old"), b"", 0o644)
}

fn write(file: &Path, content: &[u8], mode: u32) -> Result<()> {
    if let Some(folder) = file.parent() {
        make_folder(folder)?;
    }
    fs::write(file, content)
        .and_then(|()| fs::set_permissions(file, Permissions::from_mode(mode)))
        .map_err(|err| Error::making("cannot write", file, err))
}

fn make_folder(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|err| Error::making("cannot make folder", dir, err))
}

fn link(path: &Path, make: impl FnOnce() -> std::io::Result<()>) -> Result<()> {
    make().map_err(|err| Error::io("cannot link", path, err))
}
