//! Lists of names, and what one name stands for.

use serde_json::{Value, json};

use crate::support::daemon::{DockerRegistry, Registry};
use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

/// A layout with images of several sizes and dates.
pub fn layout(scratch: &Scratch, conex: &Conex) -> String {
    let place = format!("oci:{}", scratch.arg("layout"));
    for (name, size, year) in
        [("1.0", 30, 2021), ("1.10", 10, 2023), ("1.9", 20, 2022), ("edge", 5, 2020)]
    {
        let made = Handmade::new(scratch.join(name));
        let layer = made.blob("application/vnd.oci.image.layer.v1.tar", &vec![7; size * 1000]);
        let config = made.document(
            "application/vnd.oci.image.config.v1+json",
            &json!({"architecture": "amd64", "os": "linux",
                "created": format!("{year}-01-01T00:00:00Z"),
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}),
        );
        let image = made.finish(&made.manifest(&config, &[layer]));
        conex.ok(&["copy", &image, &format!("{place}:{name}")]);
    }
    place
}

/// The same images in a repository.
pub fn push(conex: &Conex, layout: &str, repository: &str) {
    for name in ["1.0", "1.9", "1.10", "edge"] {
        conex.ok(&["copy", &format!("{layout}:{name}"), &format!("{repository}:{name}")]);
    }
}

pub fn names(conex: &Conex, args: &[&str]) -> Vec<String> {
    let out = conex.ok(&[&["tags", "--quiet"], args].concat());
    out.lines().map(str::to_owned).collect()
}

pub fn tags_are_listed_in_every_order() {
    let scratch = Scratch::new("tags");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let layout = layout(&scratch, &conex);
    let repository = registry.image("team/app");
    push(&conex, &layout, &repository);
    let archive = format!("oci-archive:{}", scratch.arg("one.tar"));
    conex.ok(&["copy", &format!("{layout}:1.9"), &format!("{archive}:1.9")]);
    for place in [&layout, &repository] {
        for (args, expected) in [
            (&["--sort", "name"][..], "1.0 1.10 1.9 edge"),
            (&["--sort", "version"], "1.10 1.9 1.0 edge"),
            (&["--sort", "version", "--reverse"], "edge 1.0 1.9 1.10"),
            (&["--sort", "date"], "1.10 1.9 1.0 edge"),
            (&["--sort", "size"], "1.0 1.9 1.10 edge"),
            (&["--sort", "size", "--limit", "2"], "1.0 1.9"),
            (&["--filter", "1.?"], "1.0 1.9"),
            (&["--filter", "1.*", "--sort", "version", "--limit", "1"], "1.10"),
            (&["--last", "1.10"], "1.9 edge"),
            (&["--limit", "0"], ""),
        ] {
            let found = names(&conex, &[args, &[place]].concat()).join(" ");
            assert_eq!(found, expected, "{place} {args:?}");
        }
        let rows = conex.json(&["tags", "--details", "--filter", "1.9", place]);
        let row = &rows[0];
        assert_eq!(row["name"], "1.9");
        assert_eq!(row["created"], "2022-01-01T00:00:00Z");
        assert_eq!(row["platforms"], json!([{"architecture": "amd64", "os": "linux"}]));
        assert!(row["size"].as_u64().unwrap() > 20_000, "{row}");
        assert!(row["digest"].as_str().unwrap().starts_with("sha256:"), "{row}");
    }
    assert_eq!(names(&conex, &[&archive]), ["1.9"]);
    // Names of the local store, whole or by repository.
    for tag in ["1.0", "1.9"] {
        conex.ok(&["copy", &format!("{layout}:{tag}"), &format!("store:r.example/app:{tag}")]);
    }
    assert_eq!(names(&conex, &["store:r.example/app"]), ["1.0", "1.9"]);
    assert_eq!(names(&conex, &["store:"]), ["r.example/app:1.0", "r.example/app:1.9"]);
    conex.run(&["tags", &format!("{repository}:1.0")]).fails_with(2);
    conex.run(&["tags", &registry.image("nothing/there")]).fails_with(3);
}

pub fn details_cost_one_request_a_name_and_some_a_digest() {
    let scratch = Scratch::new("details");
    let conex = Conex::new(&scratch);
    let mut registry = Registry::start(&scratch);
    let layout = layout(&scratch, &conex);
    let repository = registry.image("team/app");
    push(&conex, &layout, &repository);
    conex.ok(&["tag", &format!("{repository}:1.0"), "a", "b", "c", "d", "e"]);
    registry.requests();
    conex.ok(&["tags", &repository]);
    assert_eq!(registry.requests().len(), 2, "the probe and the list");
    conex.ok(&["tags", "--details", &repository]);
    let requests = registry.requests();
    let count = |method: &str| requests.iter().filter(|request| request.method == method).count();
    // A manifest and a config for each of four digests.
    assert_eq!((count("HEAD"), count("GET")), (9, 2 + 8), "{requests:?}");
}

pub fn repositories_are_listed() {
    let scratch = Scratch::new("repos");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let layout = layout(&scratch, &conex);
    for repository in ["a", "team/b", "team/c"] {
        conex.ok(&["copy", &format!("{layout}:1.0"), &registry.image(&format!("{repository}:1"))]);
        conex.ok(&["copy", &format!("{layout}:1.0"), &format!("store:r.example/{repository}:1")]);
    }
    assert_eq!(conex.ok(&["repos", &registry.address]), "a\nteam/b\nteam/c\n");
    assert_eq!(conex.ok(&["repos", &registry.address, "--filter", "team/*"]), "team/b\nteam/c\n");
    assert_eq!(conex.ok(&["repos", &registry.address, "--limit", "1"]), "a\n");
    assert_eq!(conex.json(&["repos", &registry.address])[0], json!({"name": "a"}));
    let stored = "r.example/a\nr.example/team/b\nr.example/team/c\n";
    assert_eq!(conex.ok(&["repos", "store:"]), stored);
    conex.run(&["repos", &registry.image("team/b")]).fails_with(2);
}

pub fn a_digest_is_one_head_request() {
    let scratch = Scratch::new("digest");
    let conex = Conex::new(&scratch);
    let mut registry = Registry::start(&scratch);
    let layout = layout(&scratch, &conex);
    let image = registry.image("app:1");
    conex.ok(&["copy", &format!("{layout}:1.0"), &image]);
    registry.requests();
    let there = conex.ok(&["digest", &image]);
    let requests = registry.requests();
    let asked: Vec<_> = requests.iter().filter(|request| request.target != "/v2/").collect();
    assert_eq!(asked.len(), 1, "{requests:?}");
    assert_eq!(asked[0].method, "HEAD");
    assert_eq!(there, conex.ok(&["digest", &format!("{layout}:1.0")]));
    assert_eq!(there, conex.ok(&["digest", "--platform", "linux/amd64", &image]));
    assert_eq!(there.trim(), conex.json(&["digest", &image])["digest"]);
    conex.run(&["digest", &registry.image("app:2")]).fails_with(3);
    conex.run(&["digest", "--platform", "linux/s390x", &image]).fails_with(3);
}

pub fn a_registry_tags_without_blobs() {
    let scratch = Scratch::new("retag");
    let conex = Conex::new(&scratch);
    let mut registry = Registry::start(&scratch);
    let layout = layout(&scratch, &conex);
    let repository = registry.image("app");
    conex.ok(&["copy", &format!("{layout}:1.0"), &format!("{repository}:1.0")]);
    registry.requests();
    let report = conex.json(&["tag", &format!("{repository}:1.0"), "x", "y", "z"]);
    assert_eq!(report["locations"].as_array().map(Vec::len), Some(3));
    let requests = registry.requests();
    assert!(requests.iter().all(|request| !request.target.contains("/blobs/")), "{requests:?}");
    let puts: Vec<_> = requests.iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(puts.len(), 1, "{requests:?}");
    assert!(puts[0].target.ends_with("?tag=x&tag=y&tag=z"), "{requests:?}");
    assert_eq!(names(&conex, &[&repository]), ["1.0", "x", "y", "z"]);
    let digests = conex.json(&["tags", "--details", &repository]);
    let digest = |row: &Value| row["digest"].clone();
    assert!(digests.as_array().unwrap().iter().all(|row| digest(row) == digest(&digests[0])));
}

pub fn docker_registry_has_the_same_lists() {
    let scratch = Scratch::new("docker-lists");
    let conex = Conex::new(&scratch);
    let docker = DockerRegistry::start(&scratch, None);
    let layout = layout(&scratch, &conex);
    let repository = docker.image("team/app");
    push(&conex, &layout, &repository);
    assert_eq!(names(&conex, &["--sort", "version", &repository]), ["1.10", "1.9", "1.0", "edge"]);
    // It sends all at once, in the order of its folder, whatever is asked for.
    let all = names(&conex, &[&repository]);
    assert_eq!(all.len(), 4);
    assert_eq!(names(&conex, &["--limit", "2", &repository]), all[..2]);
    assert_eq!(names(&conex, &["--last", &all[1], &repository]), all[2..]);
    assert_eq!(names(&conex, &["--last", &all[0], "--limit", "1", &repository]), all[1..2]);
    assert_eq!(conex.ok(&["repos", &docker.address]), "team/app\n");
    // It knows no `?tag=`, so each tag is put by itself.
    conex.ok(&["tag", &format!("{repository}:1.0"), "x", "y"]);
    let digest = conex.ok(&["digest", &format!("{repository}:1.0")]);
    for name in ["x", "y"] {
        assert_eq!(conex.ok(&["digest", &format!("{repository}:{name}")]), digest);
    }
}
