//! Podman, with storage of its own.

use std::process::Command;

use crate::fixture::{PRINTS, packed};
use crate::support::daemon::Registry;
use crate::support::program::{Conex, partner, run};
use crate::support::scratch::Scratch;

pub fn starts_what_conex_pushed() {
    let scratch = Scratch::new("podman");
    let registry = Registry::start(&scratch);
    Conex::new(&scratch).ok(&["push", &registry.image("debian:12"), "--from", packed()]);
    let image = registry.image("debian:12");
    run(podman(&scratch).args(["pull", "--quiet", "--tls-verify=false", &image]));
    // Not every machine lets a container have the limits that Podman gives by default.
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    let printed =
        run(podman(&scratch).args(["run", "--rm", "--network", "none"]).args(limits).arg(&image));
    assert_eq!(printed, PRINTS);
    run(podman(&scratch).args(["image", "rm", &image]));
}

pub fn podman(scratch: &Scratch) -> Command {
    let config = scratch.join("containers.conf");
    let engine = format!(
        "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\ntmp_dir = {:?}\n",
        scratch.join("tmp")
    );
    std::fs::write(&config, engine).unwrap();
    let mut command = partner("podman");
    command.env("CONTAINERS_CONF", config).env("HOME", scratch.path());
    command.args(["--root", &scratch.arg("root"), "--runroot", &scratch.arg("run")]);
    command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
    command
}
