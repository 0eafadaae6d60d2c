//! Runtimes that start a bundle.

use crate::fixture::{PRINTS, packed};
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;

pub fn runc_starts_a_bundle() {
    starts("runc", &[]);
}

pub fn crun_starts_a_bundle() {
    // Older versions refuse a machine with cgroups of both versions.
    starts("crun", &["--cgroup-manager=disabled"]);
}

fn starts(runtime: &str, options: &[&str]) {
    let scratch = Scratch::new(runtime);
    let bundle = scratch.arg("bundle");
    Conex::new(&scratch).ok(&["unpack", "--bundle", packed(), &bundle]);
    let id = format!("conex-tests-{}-{runtime}", std::process::id());
    let run = ["--root", &scratch.arg("run"), "run", "--bundle", &bundle, &id];
    let printed = run_partner(runtime, &[options, &run].concat());
    assert_eq!(printed, PRINTS);
}
