//! Runtimes that start a bundle.

use crate::fixture::{PRINTS, packed};
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;

pub fn runc_starts_a_bundle() {
    starts("runc", |args| run_partner("runc", args));
}

/// In a mount namespace with cgroups of version 2 alone: older versions of crun refuse a machine
/// that has both. Limits are not what is tested.
pub fn crun_starts_a_bundle() {
    let script = "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";
    let start = ["--mount", "--", "sh", "-c", script, "--", "crun", "--cgroup-manager=disabled"];
    starts("crun", |args| run_partner("unshare", &[&start[..], args].concat()));
}

fn starts(runtime: &str, run: impl FnOnce(&[&str]) -> String) {
    let scratch = Scratch::new(runtime);
    let bundle = scratch.arg("bundle");
    Conex::new(&scratch).ok(&["unpack", "--bundle", packed(), &bundle]);
    let id = format!("conex-tests-{}-{runtime}", std::process::id());
    let args = ["--root", &scratch.arg("run"), "run", "--bundle", &bundle, &id];
    assert_eq!(run(&args), PRINTS);
}
