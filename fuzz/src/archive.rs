//! An archive of images, of either kind: its members, its roots and what they lead to.

use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use conex_spec::Location;
use conex_store::archive::{DockerArchive, Input, OciArchive};
use conex_store::{Source, SourceExt};
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::runtime::{Builder, Runtime};

pub fn index(data: &[u8]) {
    runtime().block_on(async {
        let (oci, docker) = (input(data), input(data));
        walk(&OciArchive::new(oci, Location::Memory, spool())).await;
        walk(&DockerArchive::new(docker, Location::Memory, spool())).await;
    });
}

async fn walk(source: &dyn Source) {
    let Ok(root) = source.resolve(None).await else { return };
    for child in source.children(&root).await.unwrap_or_default() {
        let _ = source.read(&child).await;
    }
}

fn input(data: &[u8]) -> Input {
    let fd = memfd_create("archive", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = std::fs::File::from(fd);
    file.write_all(data).expect("memory");
    Input::File(file)
}

fn spool() -> PathBuf {
    std::env::temp_dir()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().build().expect("a runtime"))
}
