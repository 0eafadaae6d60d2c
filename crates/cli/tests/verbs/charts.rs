//! Charts of Helm and bundles of CNAB, through a registry and out again.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::Registry;
use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

/// A chart's folder; its name is that of the folder.
fn chart(scratch: &Scratch, version: &str) -> String {
    let folder = scratch.folder("wordpress");
    let text = format!(
        "apiVersion: v2\nname: wordpress\nversion: {version}\nappVersion: '6.4'\ndescription: A blog\n"
    );
    fs::write(folder.join("Chart.yaml"), text).unwrap();
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("templates/x.yaml"), "kind: X\n").unwrap();
    scratch.arg("wordpress")
}

pub fn charts_are_pushed_listed_resolved_and_pulled() {
    let scratch = Scratch::new("charts");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = registry.image("charts/wordpress");
    for version in ["1.2.0", "1.10.0+b.1", "2.0.0-rc.1"] {
        let pushed = conex.json(&["artifact", "push", &chart(&scratch, version), &place]);
        let tag = version.replace('+', "_");
        assert_eq!(pushed["location"], format!("{place}:{tag}"));
        assert_eq!(pushed["chart"]["version"], version);
    }
    let list = |args: &[&str]| {
        let rows = conex.json(&[&["charts", &place], args].concat());
        let rows = rows.as_array().unwrap().clone();
        rows.iter().map(|row| row["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["2.0.0-rc.1", "1.10.0+b.1", "1.2.0"]);
    assert_eq!(list(&["--version", "^1.2"]), ["1.10.0+b.1", "1.2.0"]);
    assert_eq!(list(&["--releases", "--limit", "1"]), ["1.10.0+b.1"]);
    let shown = conex.ok(&["charts", &place]);
    assert!(shown.contains("1.10.0+b.1  6.4") && shown.contains("A blog"), "{shown}");

    let out = scratch.arg("out");
    conex.ok(&["artifact", "pull", "--version", "^1", &place, &out]);
    let archive = scratch.join("out").join("wordpress-1.10.0+b.1.tgz");
    // What came out goes in again, and has the same layer.
    let again = conex.json(&[
        "artifact",
        "push",
        archive.to_str().unwrap(),
        &registry.image("x/wordpress"),
    ]);
    let inside = conex.json(&["inspect", &format!("{place}:1.10.0_b.1")]);
    assert!(
        inside.to_string().contains(again["layers"][0]["digest"].as_str().unwrap()),
        "{inside}"
    );
}

pub fn what_is_wrong_with_a_chart_is_told_and_nothing_is_pushed() {
    let scratch = Scratch::new("bad-charts");
    let conex = Conex::new(&scratch);
    let to = format!("oci:{}", scratch.arg("layout"));
    let folder = chart(&scratch, "1.0.0");
    let fails = |place: &str, code: i32| {
        conex.run(&["artifact", "push", &folder, place]).fails_with(code).to_owned()
    };
    let text = fails(&format!("{to}:2.0.0"), 2);
    assert!(text.contains("is not the tag of the chart's version"), "{text}");
    assert!(text.contains("hint: without a tag it becomes"), "{text}");
    let file = scratch.join("wordpress").join("Chart.yaml");
    for (yaml, part) in [
        ("apiVersion: v2\nversion: 1.0.0\n", "Chart.yaml, line 1: `name` is missing"),
        ("name: a\nversion: [\n", ": not YAML"),
        ("name: a\nversion: one\n", "Chart.yaml, line 2: `version` is not"),
    ] {
        fs::write(&file, yaml).unwrap();
        let text = fails(&to, 4);
        assert!(text.contains(part), "{text}");
    }
    assert!(!scratch.join("layout").exists());
}

pub fn a_bundle_comes_with_its_images() {
    let scratch = Scratch::new("bundles");
    let conex = Conex::new(&scratch);
    let other = Scratch::new("bundles-far");
    let (near, far) = (Registry::start(&scratch), Registry::start(&other));
    let mut digests = Vec::new();
    for name in ["installer", "mysql"] {
        let made = Handmade::new(scratch.join(name));
        let image = made.finish(&made.image(&[name.as_bytes()]));
        conex.ok(&["copy", &image, &near.image(&format!("app/{name}:1"))]);
        let digest = conex.ok(&["digest", &near.image(&format!("app/{name}:1"))]);
        digests.push(digest.trim().rsplit('@').next().unwrap().to_owned());
    }
    let mut bundle = json!({
        "schemaVersion": "v1.0.0", "name": "wordpress", "version": "0.1.0", "description": "A blog",
        "invocationImages": [{"imageType": "oci", "image": near.image("app/installer:1")}],
        "images": {"db": {"image": near.image("app/mysql:1"), "contentDigest": digests[1]}},
    });
    let path = scratch.join("bundle.json");
    fs::write(&path, bundle.to_string()).unwrap();
    let to = far.image("bundles/wordpress");
    let push = ["artifact", "push", path.to_str().unwrap(), &to];
    let pushed = conex.json(&push);
    let moved = format!("{to}@{}", digests[1]);
    assert_eq!(pushed["relocationMap"][near.image("app/mysql:1")], moved);
    conex.ok(&["inspect", &moved]);

    let out = scratch.join("out");
    conex.ok(&["artifact", "pull", &format!("{to}:0.1.0"), out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(out.join("bundle.json")).unwrap(), bundle.to_string());
    let map: Value =
        serde_json::from_slice(&fs::read(out.join("relocation-mapping.json")).unwrap()).unwrap();
    assert_eq!(map, pushed["relocationMap"]);

    bundle["images"]["db"]["contentDigest"] = json!(digests[0]);
    bundle["version"] = json!("0.2.0");
    fs::write(&path, bundle.to_string()).unwrap();
    let run = conex.run(&["artifact", "push", path.to_str().unwrap(), &to]);
    let text = run.fails_with(4);
    assert!(text.contains("images.db.contentDigest is not that of"), "{text}");
    let tags = conex.ok(&["tags", "--quiet", &to]);
    assert_eq!(tags, "0.1.0\n");
}
