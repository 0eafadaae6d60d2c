//! The case that artifacts were thought of for: a person runs WordPress. `wordpress` and `mysql` are
//! indexes of several platforms; of the manifest for this one only layers that are missing are
//! pulled. A Helm chart and a CNAB bundle refer to both images, and go to another registry with all
//! that they name. `docs/wordpress.md` tells it for people.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::Shared;
use crate::support::daemon::{DockerRegistry, Registry};
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

/// `docs/wordpress.md`, to the letter: its `sh` blocks are run, and the lines below them looked for.
pub fn the_page_says_what_happens() {
    let (scratch, other) = (Scratch::new("wordpress-page"), Scratch::new("wordpress-far"));
    let conex = Conex::new(&scratch);
    let (near, far) = (Registry::start(&scratch), DockerRegistry::start(&other, None));
    let here = |text: String| {
        text.replace("127.0.0.1:5000", &near.address).replace("127.0.0.1:5001", &far.address)
    };
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    copy_with(&docs.join("wordpress"), &scratch.join("docs/wordpress"), &here);
    symlink(images(), scratch.join("images")).unwrap();

    let page = here(fs::read_to_string(docs.join("wordpress.md")).unwrap());
    let mut printed = String::new();
    for (sort, block) in blocks(&page) {
        match sort {
            "sh" => printed = in_shell(&conex, &scratch, block),
            "text" => block.lines().for_each(|line| {
                let holds = |printed: &str| has_parts(printed, line);
                assert!(printed.lines().any(holds), "no {line:?} in\n{printed}");
            }),
            _ => {}
        }
    }
    // The chart came as it went, and so did the bundle.
    let bundle = |folder: &str| fs::read(scratch.join(folder).join("bundle.json")).unwrap();
    assert_eq!(bundle("pulled"), bundle("docs/wordpress"));
}

/// A folder with every text changed.
fn copy_with(from: &Path, to: &Path, change: &impl Fn(String) -> String) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_with(&path, &to, change);
        } else {
            fs::write(&to, change(fs::read_to_string(&path).unwrap())).unwrap();
            fs::set_permissions(&to, fs::metadata(&path).unwrap().permissions()).unwrap();
        }
    }
}

/// The fenced blocks of a page, each with the word beside its fence.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = page.split("```").collect();
    parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

fn in_shell(conex: &Conex, scratch: &Scratch, block: &str) -> String {
    let like = conex.command(&[]);
    let folder = Path::new(env!("CARGO_BIN_EXE_conex")).parent().unwrap().display();
    let mut shell = Command::new("bash");
    for (key, value) in like.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    run(shell.args(["-euo", "pipefail", "-c", block]).env("PATH", path).current_dir(scratch.path()))
}

/// Whether a line has all parts of another, which are apart by `…`, in their order.
fn has_parts(printed: &str, line: &str) -> bool {
    let mut rest = printed;
    line.split('…').all(|part| match rest.find(part.trim_end()) {
        Some(at) => {
            rest = &rest[at + part.trim_end().len()..];
            true
        }
        None => false,
    })
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
