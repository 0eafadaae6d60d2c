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

/// As a person who is nobody, in a user namespace of that person.
pub fn runc_starts_a_bundle_without_root() {
    let scratch = Scratch::new("rootless");
    // A place where that person may work, and the image within reach.
    let home = scratch.folder("home");
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let tar = scratch.arg("image.tar");
    Conex::new(&scratch).ok(&["copy", packed(), &format!("oci-archive:{tar}")]);
    let conex = Conex::new(&scratch).with_store(home.join("store"));
    let bundle = home.join("bundle").display().to_string();
    let image = format!("oci-archive:{tar}");
    let command = conex.command(&["unpack", "--bundle", "--rootless", &image, &bundle]);
    let program = std::path::Path::new(command.get_program()).to_owned();
    // The build folder may be out of that person's reach.
    let copied = home.join("conex");
    std::fs::copy(program, &copied).unwrap();
    let copied = copied.display().to_string();
    let user = NOBODY.to_string();
    let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let home = home.display().to_string();
    let be_nobody = |args: &[&str]| {
        let start = [
            &uid[..],
            &gid,
            "--clear-groups",
            "env",
            &format!("HOME={home}"),
            &format!("XDG_RUNTIME_DIR={home}"),
        ];
        run_partner("setpriv", &[&start[..], args].concat())
    };
    be_nobody(&[&copied, "unpack", "--bundle", "--rootless", &image, &bundle]);
    let id = format!("conex-tests-{}-rootless", std::process::id());
    let state = format!("{home}/run");
    assert_eq!(be_nobody(&["runc", "--root", &state, "run", "--bundle", &bundle, &id]), PRINTS);
}

/// The number of a person who owns nothing.
const NOBODY: u32 = 65534;
