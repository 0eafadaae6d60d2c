//! Buildah, with storage of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Shared, shared_folder, tree};
use crate::skopeo::assert_served_as_it_is;
use crate::support::daemon::Registry;
use crate::support::program::{Conex, partner, run};
use crate::support::scratch::Scratch;
use crate::umoci;

/// What Buildah pushes to `conex serve` is there, to the byte, for everyone.
pub fn pushed_comes_back_byte_for_byte() {
    for format in FORMATS {
        let scratch = Scratch::new("buildah-push");
        let conex = Conex::new(&scratch);
        let image = built().image(format);
        let digest = assert_served_as_it_is(&conex, &image, &scratch);
        // Buildah says itself what it pushed.
        assert_eq!(fs::read_to_string(built().scratch.join(format)).unwrap(), digest);
        assert_eq!(conex.json(&["validate", &image])["errors"], 0);
    }
}

pub fn unpacked_as_umoci_does() {
    let built = built();
    let scratch = Scratch::new("buildah-unpack");
    let image = built.image("oci");
    let layout = scratch.join("oci");
    let conex = Conex::new(&scratch);
    conex.ok(&["copy", &image, &format!("oci:{}:1", layout.display())]);
    assert_eq!(conex.json(&["inspect", &image])["layers"].as_array().unwrap().len(), 3);
    conex.ok(&["unpack", &image, &scratch.arg("rootfs")]);
    let root = scratch.join("rootfs");
    assert!(!root.join("usr/share/doc").exists() && !root.join("opt/odd/first").exists());
    assert!(
        root.join("opt/odd/folder/new").exists() && !root.join("opt/odd/folder/third").exists()
    );
    umoci::assert_same_tree(&scratch, &layout, "1", &root);
}

/// An image of three layers that Buildah built of the tree, in a registry that conex serves;
/// its tags are the formats of its manifest.
struct Built {
    registry: Registry,
    /// Holds a file for each format: the digest of what Buildah pushed.
    scratch: &'static Scratch,
}

const FORMATS: [&str; 2] = ["oci", "v2s2"];

impl Built {
    fn image(&self, format: &str) -> String {
        self.registry.image(&format!("built/by-buildah:{format}"))
    }
}

fn built() -> &'static Built {
    static BUILT: Shared<Built> = Shared::new();
    BUILT.get(|| {
        let scratch = shared_folder("buildah-built");
        let registry = Registry::start(scratch);
        let build = Scratch::new("buildah");
        let buildah = |args: &[&str]| run(buildah(&build).args(args)).trim().to_owned();
        let first = buildah(&["from", "scratch"]);
        buildah(&["copy", "--quiet", &first, &tree().display().to_string(), "/"]);
        buildah(&[
            "config",
            "--cmd",
            "/bin/cat /etc/os-release",
            "--label",
            "made.by=buildah",
            &first,
        ]);
        buildah(&["commit", "--quiet", &first, "localhost/base"]);
        buildah(&["rm", &first]);
        change(&buildah, "localhost/base", "localhost/next", |root| {
            fs::remove_dir_all(root.join("usr/share/doc")).unwrap();
            fs::remove_file(root.join("opt/odd/first")).unwrap();
            // Removed and made again: the layer must hide what was in it.
            fs::remove_dir_all(root.join("opt/odd/folder")).unwrap();
            fs::create_dir(root.join("opt/odd/folder")).unwrap();
            fs::write(root.join("opt/odd/folder/new"), "new\n").unwrap();
        });
        change(&buildah, "localhost/next", "localhost/last", |root| {
            fs::write(root.join("opt/odd/first"), "back again\n").unwrap();
            fs::remove_file(root.join("opt/odd/first")).unwrap();
            fs::create_dir_all(root.join("opt/odd/dangling-folder/below")).unwrap();
            fs::remove_file(root.join("opt/odd/dangling")).unwrap();
            fs::hard_link(root.join("opt/odd/second"), root.join("opt/odd/fourth")).unwrap();
        });
        let built = Built { registry, scratch };
        for format in FORMATS {
            let to = format!("docker://{}", built.image(format));
            let push =
                ["push", "--quiet", "--tls-verify=false", "--format", format, "--digestfile"];
            buildah(&[&push[..], &[&scratch.arg(format), "localhost/last", &to]].concat());
        }
        built
    })
}

/// One more layer.
fn change(buildah: &dyn Fn(&[&str]) -> String, from: &str, to: &str, edit: impl FnOnce(&Path)) {
    let container = buildah(&["from", "--pull-never", from]);
    edit(Path::new(&buildah(&["mount", &container])));
    buildah(&["umount", &container]);
    buildah(&["commit", "--quiet", &container, to]);
    buildah(&["rm", &container]);
}

pub fn buildah(scratch: &Scratch) -> Command {
    let mut command = partner("buildah");
    command.args([
        "--root",
        &scratch.arg("root"),
        "--runroot",
        &scratch.arg("run"),
        "--storage-driver",
        "overlay",
    ]);
    command.env("HOME", scratch.path()).env("TMPDIR", scratch.folder("tmp"));
    command
}
