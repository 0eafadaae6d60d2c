//! `conex serve` on each of its homes, between the tools of others: what each pulls and pushes comes
//! back byte for byte.

use std::fs;

use conex_testkit::s3_server::{ACCESS_KEY, BUCKET, Program, S3Server, SECRET_KEY};

use crate::buildah::buildah;
use crate::docker::docker;
use crate::podman::podman;
use crate::skopeo::assert_served_as_it_is;
use crate::support::daemon::Registry;
use crate::support::program::{Conex, run, run_partner};
use crate::support::scratch::Scratch;

pub fn four_tools_on_a_folder() {
    let scratch = Scratch::new("on-folder");
    let registry = Registry::start(&scratch);
    push_and_pull_with_all(&registry, "tools/image", &scratch);
}

pub fn four_tools_on_a_bucket() {
    let scratch = Scratch::new("on-bucket");
    let server = S3Server::start(Program::Moto, &scratch.folder("moto")).unwrap();
    let mut command = Conex::new(&scratch).command(&[
        "serve",
        "--storage",
        &format!("s3://{BUCKET}/tools"),
        "--listen",
        "127.0.0.1:0",
    ]);
    command.env("AWS_ENDPOINT_URL_S3", server.endpoint()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let registry = Registry::of(&scratch, &mut command);
    push_and_pull_with_all(&registry, "tools/image", &scratch);
}

/// What they push there is read by conex and skopeo from the layout itself, too.
pub fn four_tools_on_a_layout() {
    let scratch = Scratch::new("on-layout");
    let layout = format!("oci:{}", scratch.arg("served"));
    let mut command = Conex::new(&scratch).command(&[
        "serve",
        &layout,
        "--repository",
        "tools/image",
        "--listen",
        "127.0.0.1:0",
    ]);
    let registry = Registry::of(&scratch, &mut command);
    push_and_pull_with_all(&registry, "tools/image", &scratch);
    for tag in ["source", "skopeo", "podman", "buildah", "docker"] {
        let root = format!("{layout}:{tag}");
        assert_eq!(Conex::new(&scratch).json(&["validate", &root])["errors"], 0, "{tag}");
        // Skopeo overlooks roots of Docker's media types, which the engine pushes.
        if tag == "docker" {
            continue;
        }
        let raw = run_partner("skopeo", &["inspect", "--raw", &root]);
        let served = format!("docker://{}", registry.image(&format!("tools/image:{tag}")));
        let there = run_partner("skopeo", &["inspect", "--raw", "--tls-verify=false", &served]);
        assert_eq!(raw, there, "{tag}");
    }
}

fn push_and_pull_with_all(registry: &Registry, name: &str, scratch: &Scratch) {
    let conex = Conex::new(scratch);
    let files = scratch.folder("files");
    fs::write(files.join("hello"), "hello\n".repeat(1000)).unwrap();
    fs::write(files.join("noise"), conex_testkit::images::noise(1, 3 << 20)).unwrap();
    let packed = format!("oci:{}:1", scratch.arg("packed"));
    conex.ok(&["pack", &files.display().to_string(), &packed]);
    let image = |tag: &str| registry.image(&format!("{name}:{tag}"));
    let source = image("source");
    conex.ok(&["copy", &packed, &source]);
    let check = |tag: &str| {
        let back = Scratch::new(tag);
        let digest = assert_served_as_it_is(&conex, &image(tag), &back);
        assert_eq!(conex.json(&["validate", &image(tag)])["errors"], 0, "{tag}");
        digest
    };
    let pushed = check("source");

    let plain = |verb: &str| format!("--{verb}-tls-verify=false");
    let docker_of = |tag: &str| format!("docker://{}", image(tag));
    let (from, to) = (docker_of("source"), docker_of("skopeo"));
    let copy = ["copy", "--preserve-digests", &plain("src"), &plain("dest"), &from, &to];
    run_partner("skopeo", &copy);
    assert_eq!(check("skopeo"), pushed);

    let (own, digest) = (Scratch::new("podman-home"), scratch.arg("podman-digest"));
    let podman = |args: &[&str]| run(podman(&own).args(args));
    podman(&["pull", "--quiet", "--tls-verify=false", &source]);
    podman(&[
        "push",
        "--quiet",
        "--tls-verify=false",
        "--digestfile",
        &digest,
        &source,
        &to_of(&image("podman")),
    ]);
    assert_eq!(check("podman"), fs::read_to_string(&digest).unwrap());
    podman(&["image", "rm", &source]);
    podman(&["pull", "--quiet", "--tls-verify=false", &image("podman")]);
    podman(&["image", "rm", &image("podman")]);

    let (own, digest) = (Scratch::new("buildah-home"), scratch.arg("buildah-digest"));
    let buildah = |args: &[&str]| run(buildah(&own).args(args)).trim().to_owned();
    buildah(&["pull", "--quiet", "--tls-verify=false", &source]);
    buildah(&[
        "push",
        "--quiet",
        "--tls-verify=false",
        "--digestfile",
        &digest,
        &source,
        &to_of(&image("buildah")),
    ]);
    assert_eq!(check("buildah"), fs::read_to_string(&digest).unwrap());
    buildah(&["rmi", &source]);
    buildah(&["pull", "--quiet", "--tls-verify=false", &image("buildah")]);

    docker(&["pull", "--quiet", &source]);
    docker(&["tag", &source, &image("docker")]);
    let told = docker(&["push", &image("docker")]);
    let digest = check("docker");
    assert!(told.contains(&digest), "{told}");
    docker(&["image", "rm", &source, &image("docker")]);
    docker(&["pull", "--quiet", &image("docker")]);
    docker(&["image", "rm", &image("docker")]);
}

fn to_of(image: &str) -> String {
    format!("docker://{image}")
}
