//! File systems to lose power under.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::run;

/// A kind of file system, and how it is mounted.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    pub name: &'static str,
    make: &'static [&'static str],
    options: &'static str,
    /// The smallest disk that it takes, in MiB.
    size: u64,
}

pub const EXT4: FileSystem = FileSystem {
    name: "ext4",
    make: &["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
    options: "loop,data=ordered",
    size: 32,
};
/// As ext4 is mounted by people who want speed: content may come after the name that shows it.
pub const CARELESS_EXT4: FileSystem =
    FileSystem { name: "careless-ext4", options: "loop,data=writeback,noauto_da_alloc", ..EXT4 };
pub const XFS: FileSystem = FileSystem {
    name: "xfs",
    make: &["mkfs.xfs", "-q", "-f", "-K"],
    options: "loop,nouuid",
    size: 300,
};
pub const BTRFS: FileSystem = FileSystem {
    name: "btrfs",
    make: &["mkfs.btrfs", "-q", "-f", "-K"],
    options: "loop,nodiscard",
    size: 128,
};

impl FileSystem {
    /// A new file system in a sparse file.
    pub fn make(self, image: &Path) {
        let file = std::fs::File::create(image).unwrap();
        file.set_len(self.size << 20).unwrap();
        run(Command::new(self.make[0]).args(&self.make[1..]).arg(image));
    }

    pub fn mount(self, image: &Path, point: PathBuf) -> Mounted {
        std::fs::create_dir_all(&point).unwrap();
        run(Command::new("mount").args(["-o", self.options]).arg(image).arg(&point));
        Mounted(point)
    }
}

/// Unmounted when dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Something may still look at a new mount for a moment.
        for _ in 0..50 {
            if Command::new("umount").arg(&self.0).output().is_ok_and(|done| done.status.success())
            {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("cannot unmount {}", self.0.display());
    }
}
