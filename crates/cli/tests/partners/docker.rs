//! The Docker engine, with a data folder and a socket of its own, and no bridge.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::{PRINTS, Shared, packed, shared_folder, tree};
use crate::skopeo::assert_served_as_it_is;
use crate::support::daemon::{Daemon, Registry};
use crate::support::program::{Conex, find, partner, run, run_partner};
use crate::support::scratch::Scratch;
use crate::umoci;

pub fn starts_what_conex_pushed() {
    let scratch = Scratch::new("docker-run");
    let registry = Registry::start(&scratch);
    Conex::new(&scratch).ok(&["push", &registry.image("debian:12"), "--from", packed()]);
    let image = registry.image("debian:12");
    docker(&["pull", "--quiet", &image]);
    assert_eq!(docker(&["run", "--rm", "--network", "none", &image]), PRINTS);
    docker(&["image", "rm", &image]);
}

pub fn pushed_comes_back_byte_for_byte() {
    let built = built();
    let scratch = Scratch::new("docker-push");
    let image = built.registry.image("built/by-docker:1");
    let digest = assert_served_as_it_is(&Conex::new(&scratch), &image, &scratch);
    // The engine says itself what it pushed.
    assert!(built.pushed.contains(&digest), "{}", built.pushed);
    assert_eq!(Conex::new(&scratch).json(&["validate", &image])["errors"], 0);
}

/// conex unpacks the image from the registry, with Docker's media types; umoci wants OCI's, and
/// the same layers.
pub fn unpacked_as_umoci_does() {
    let built = built();
    let scratch = Scratch::new("docker-unpack");
    let image = built.registry.image("built/by-docker:1");
    let layout = scratch.join("oci");
    let to = format!("oci:{}:1", layout.display());
    run_partner("skopeo", &["copy", "--src-tls-verify=false", &format!("docker://{image}"), &to]);
    Conex::new(&scratch).ok(&["unpack", &image, &scratch.arg("rootfs")]);
    let odd = scratch.join("rootfs/opt/odd");
    assert!(!odd.join("folder").exists() && odd.join("made-by-docker").exists());
    umoci::assert_same_tree(&scratch, &layout, "1", &scratch.join("rootfs"));
}

/// An image that the engine built of the tree, in a registry that conex serves.
struct Built {
    registry: Registry,
    pushed: String,
}

const DOCKERFILE: &str = "\
FROM conex/debian:base
RUN rm -rf /opt/odd/folder /usr/share/doc && touch /opt/odd/made-by-docker
RUN mkdir /usr/share/doc && echo new > /usr/share/doc/new && ln /usr/share/doc/new /usr/share/doc/linked \
 && ln -s /nowhere /opt/odd/replaced && chmod 7777 /opt/odd/set-user-id && chown 5:6 /opt/odd/first
RUN rm /opt/odd/replaced && mkdir -p /opt/odd/replaced/by/a/folder && mv /opt/odd/second /opt/odd/replaced/by
CMD [\"/bin/cat\", \"/usr/share/doc/new\"]
";

fn built() -> &'static Built {
    static BUILT: Shared<Built> = Shared::new();
    BUILT.get(|| {
        let scratch = shared_folder("docker-build");
        let registry = Registry::start(scratch);
        import(tree(), "conex/debian:base");
        let context = scratch.folder("context");
        fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
        let image = registry.image("built/by-docker:1");
        docker(&["build", "--network", "none", "--tag", &image, &context.display().to_string()]);
        let pushed = docker(&["push", &image]);
        docker(&["image", "rm", &image, "conex/debian:base"]);
        Built { registry, pushed }
    })
}

fn import(tree: &Path, name: &str) {
    let archive = Scratch::new("import");
    let file = archive.join("tree.tar");
    let create = ["--create", "--numeric-owner", "--format=pax", "--xattrs", "--xattrs-include=*"];
    run(partner("tar").args(create).arg("--file").arg(&file).arg("--directory").arg(tree).arg("."));
    run(command(&["import", "-", name]).stdin(Stdio::from(File::open(file).unwrap())));
}

pub fn docker(args: &[&str]) -> String {
    run(&mut command(args))
}

fn command(args: &[&str]) -> Command {
    let engine = engine();
    let mut command = partner("docker");
    command
        .env("DOCKER_HOST", format!("unix://{}", engine.arg("socket")))
        .env("DOCKER_CONFIG", engine.path());
    command.env("DOCKER_BUILDKIT", "0").args(args);
    command
}

/// One engine for all cases; it is stopped when the run ends.
pub fn engine() -> &'static Scratch {
    static ENGINE: Shared<(&Scratch, Daemon)> = Shared::new();
    let (scratch, _) = ENGINE.get(|| {
        let scratch = shared_folder("docker");
        let mut command = Command::new(find("dockerd").unwrap());
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.args(["--data-root", &scratch.arg("data"), "--exec-root", &scratch.arg("exec")]);
        command.args([
            "--pidfile",
            &scratch.arg("docker.pid"),
            "--host",
            &format!("unix://{}", scratch.arg("socket")),
        ]);
        let mut daemon = Daemon::start(scratch, &mut command);
        daemon.after("API listen on");
        (scratch, daemon)
    });
    scratch
}
