//! `registries.conf` and `certs.d` as skopeo reads them: the same files lead to the same content.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::daemon::DockerRegistry;
use crate::support::layout::{self, Handmade};
use crate::support::program::{Conex, Run, partner, run};
use crate::support::scratch::Scratch;

/// Certificates of authorities whose keys are gone, a server's and a client's.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/tests/tls").join(name)
}

/// A name without an address, read from a mirror that is gone and then from a registry that wants
/// TLS with a client certificate.
pub fn one_configuration_for_conex_and_skopeo() {
    let scratch = Scratch::new("registries");
    let registry =
        DockerRegistry::start_tls(&scratch, &certificate("good.pem"), &certificate("clients.pem"));
    let home = scratch.folder("home");
    let own = home.join(".config/containers");
    let certs = own.join("certs.d").join(&registry.address);
    std::fs::create_dir_all(&certs).unwrap();
    for (from, to) in
        [("ca.pem", "ca.crt"), ("client.cert", "client.cert"), ("client.key", "client.key")]
    {
        std::fs::copy(certificate(from), certs.join(to)).unwrap();
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[[registry]]\nprefix = \"registry.invalid/team\"\nlocation = \"{}/moved\"\n\n\
         [[registry.mirror]]\nlocation = \"{gone}/mirror\"\ninsecure = true\n\n\
         [[registry]]\nprefix = \"*.blocked.invalid\"\nblocked = true\n",
        registry.address
    );
    std::fs::write(own.join("registries.conf"), text).unwrap();
    let conex = Conex::new(&scratch);
    let conex =
        |args: &[&str]| Run::of(args, &conex.command(args).env("HOME", &home).output().unwrap());
    let skopeo = |args: &[&str]| run(partner("skopeo").args(args).env("HOME", &home));

    let made = Handmade::new(scratch.join("made"));
    let image = made.finish(&made.image(&[&[1; 100_000], &[2; 1024]]));
    conex(&["push", &registry.image("moved/app:1"), "--from", &image]).ok();
    let digest = layout::tagged(&made.dir, "latest");
    let ours = format!("oci:{}:1", scratch.arg("ours"));
    let copied = conex(&["copy", "registry.invalid/team/app:1", &ours]);
    assert!(copied.err.contains(&gone.to_string()), "the mirror is told of: {}", copied.err);
    copied.ok();
    let theirs = format!("oci:{}:1", scratch.arg("theirs"));
    skopeo(&["copy", "--preserve-digests", "docker://registry.invalid/team/app:1", &theirs]);
    assert_eq!(layout::tagged(&scratch.join("ours"), "1"), digest);
    assert_eq!(layout::tagged(&scratch.join("theirs"), "1"), digest);

    let refused = conex(&["inspect", "a.blocked.invalid/app:1"]);
    let error = refused.fails_with(5);
    assert!(error.contains("is blocked") && error.contains("registries.conf, line 9"), "{error}");
    let skopeo = partner("skopeo")
        .args(["inspect", "docker://a.blocked.invalid/app:1"])
        .env("HOME", &home)
        .output()
        .unwrap();
    assert!(!skopeo.status.success());
    // Without its folder, the certificate is neither trusted nor shown.
    std::fs::remove_dir_all(&certs).unwrap();
    let refused = conex(&["inspect", &registry.image("moved/app:1")]);
    let error = refused.fails_with(5);
    assert!(error.contains("cannot trust") && error.contains("hint: "), "{error}");
}
