//! The case that artifacts were thought of for: a person runs WordPress. `wordpress` and `mysql` are
//! indexes of several platforms; of the manifest for this one only layers that are missing are
//! pulled. A Helm chart and a CNAB bundle refer to both images, and go to another registry with all
//! that they name. `docs/wordpress.md` tells it for people.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::Shared;
use crate::support::daemon::Registry;
use crate::support::program::{Conex, run};
use crate::support::scratch::{Scratch, kept};

/// The layout with both, as `scripts/wordpress-images` makes it of Debian's packages: once.
fn images() -> &'static Path {
    static LAYOUT: Shared<PathBuf> = Shared::new();
    LAYOUT.get(|| {
        let layout = kept().join("wordpress-images");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/wordpress-images");
        run(Command::new(script).args(["--conex", env!("CARGO_BIN_EXE_conex")]).arg(&layout));
        layout
    })
}

/// "It compares them with its local cache and pulls only the layers it does not have."
pub fn only_missing_layers_are_pulled() {
    let scratch = Scratch::new("wordpress");
    let conex = Conex::new(&scratch);
    let mut registry = Registry::start(&scratch);
    let layout = images().display();
    for name in ["wordpress", "mysql"] {
        conex.ok(&["copy", &format!("oci:{layout}:{name}"), &registry.image(&format!("{name}:1"))]);
        let shown = conex.json(&["inspect", &registry.image(&format!("{name}:1"))]);
        let platforms: Vec<_> =
            shown["manifests"].as_array().unwrap().iter().map(platform).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"], "{name}");
    }

    let arm = ["--platform", "linux/arm64"];
    let [base, wordpress] = pulled(&conex, &mut registry, "wordpress:1", &[]).try_into().unwrap();
    let [mysql] = pulled(&conex, &mut registry, "mysql:1", &[]).try_into().unwrap();
    assert!(![&base, &wordpress].contains(&&mysql));
    // Another platform has layers of its own; again nothing.
    let others = pulled(&conex, &mut registry, "wordpress:1", &arm);
    assert!(others.len() == 2 && !others.contains(&base) && !others.contains(&wordpress));
    assert_eq!(pulled(&conex, &mut registry, "wordpress:1", &[]), [""; 0]);

    let version = format!(
        "store:{}:/usr/share/wordpress/wp-includes/version.php",
        registry.image("wordpress:1")
    );
    assert!(conex.ok(&["cat", &version]).contains("$wp_version = '6."));
}

/// Pulls into the local store; the digests of the layers that the registry was asked for.
fn pulled(conex: &Conex, registry: &mut Registry, image: &str, options: &[&str]) -> Vec<String> {
    let image = registry.image(image);
    registry.requests();
    conex.ok(&[&["pull", &image], options].concat());
    let blobs = registry
        .requests()
        .into_iter()
        .filter(|asked| asked.target.contains("/blobs/") && asked.sent > 1 << 20);
    let mut digests: Vec<_> =
        blobs.map(|asked| asked.target.rsplit('/').next().unwrap().to_owned()).collect();
    digests.sort();
    digests.dedup();
    digests
}

fn platform(manifest: &serde_json::Value) -> String {
    let [os, cpu] = ["os", "architecture"].map(|key| manifest["platform"][key].as_str().unwrap());
    format!("{os}/{cpu}")
}
