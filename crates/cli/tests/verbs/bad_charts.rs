//! Charts and bundles that are not what they must be: one clear error with file and field, and nothing
//! reaches the registry.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use conex_tar::compression::{Encoder, Settings};
use conex_tar::{Entry, Kind, Writer};
use serde_json::{Value, json};

use crate::support::daemon::Registry;
use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

const GOOD: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\n";

struct World {
    scratch: Scratch,
    conex: Conex,
    registry: Registry,
    to: String,
}

impl World {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let (conex, registry) = (Conex::new(&scratch), Registry::start(&scratch));
        let to = registry.image("new/app");
        Self { scratch, conex, registry, to }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.scratch.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Pushes what fails with this code and tells all of this, in one error.
    fn told(&self, path: &std::path::Path, kind: &str, code: i32, parts: &[&str]) {
        let path = path.to_str().unwrap();
        let run = self.conex.run(&["artifact", "push", "--as", kind, path, &self.to]);
        let text = run.fails_with(code);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert_eq!(text.matches("error:").count(), 1, "{text}");
    }

    /// The same, of what is not said to be anything.
    fn refuses(&self, args: &[&str], code: i32, parts: &[&str]) {
        let run = self.conex.run(&[&["artifact"], args, &["--flat"]].concat());
        let text = run.fails_with(code);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    /// Nothing was written since the last call.
    fn nothing_was_pushed(&mut self) {
        let asked = self.registry.requests();
        let written = |method: &str| !matches!(method, "GET" | "HEAD");
        assert!(!asked.iter().any(|asked| written(&asked.method)), "{asked:?}");
        let repositories = self.conex.ok(&["repos", &self.registry.address]);
        assert!(!repositories.contains("new/app"), "{repositories}");
    }
}

fn tgz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, bytes) in entries {
        let size = bytes.len() as u64;
        writer.append(&Entry { size, ..Entry::new(*path, Kind::File) }, *bytes).unwrap();
    }
    let tar = writer.finish().unwrap();
    let mut encoder = Encoder::new(Settings::default(), Vec::new()).unwrap();
    encoder.write_all(&tar).unwrap();
    encoder.finish().unwrap()
}

/// A few lines that stand for 10 to the twelfth values.
fn bomb() -> String {
    let mut text = format!("{GOOD}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let ten = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{ten}]\n");
    }
    text
}

pub fn a_bad_chart_is_told_and_nothing_reaches_the_registry() {
    let mut world = World::new("bad-charts");
    let folder = world.scratch.folder("app");
    for (yaml, code, part) in [
        ("apiVersion: v2\nversion: 1.0.0\n", 4, "Chart.yaml, line 1: `name` is missing or empty"),
        ("name: ''\nversion: 1.0.0\n", 4, "Chart.yaml, line 1: `name` is missing or empty"),
        ("name: ../a\nversion: 1.0.0\n", 4, "Chart.yaml, line 1: `name` is not what it must be"),
        ("name: a\n", 4, "Chart.yaml, line 1: `version` is missing or empty"),
        ("name: a\nversion: one\n", 4, "Chart.yaml, line 2: `version` is not what it must be"),
        ("name: a\nversion: [1]\n", 4, "Chart.yaml, line 2: `version` is not what it must be"),
        ("name: a\nversion: [\n", 4, "not YAML"),
        ("apiVersion: v9\nname: a\nversion: 1.0.0\n", 4, "`apiVersion` is not what it must be"),
        (&bomb(), 8, "too many values, aliases counted"),
    ] {
        fs::write(folder.join("Chart.yaml"), yaml).unwrap();
        world.told(&folder, "helm", code, &[part, "expected"]);
    }
    let large = vec![0; (5 << 20) + 1];
    let good = ("app/Chart.yaml", GOOD.as_bytes());
    for (name, bytes, code, part) in [
        ("up.tgz", tgz(&[good, ("app/../../etc/x", b"")]), 4, "entry app/../../etc/x has no place"),
        ("two.tgz", tgz(&[good, ("b/Chart.yaml", GOOD.as_bytes())]), 4, "entry b/Chart.yaml"),
        ("roots.tgz", tgz(&[good, ("b/x.yaml", b"")]), 4, "entry b/x.yaml has no place"),
        ("huge.tgz", tgz(&[good, ("app/x", &large)]), 8, "app/x is too large for Helm"),
        ("none.tgz", tgz(&[("app/x", b"")]), 4, "Chart.yaml is missing"),
        ("text.tgz", b"no gzip".to_vec(), 4, "is no chart"),
        ("nested.tgz", tgz(&[good, ("app/charts/b.tgz", b"x")]), 4, "charts/b.tgz is no chart"),
    ] {
        let path = world.file(name, bytes);
        world.told(&path, "helm", code, &[name, part]);
    }
    world.told(&world.scratch.join("missing.tgz"), "helm", 3, &["missing.tgz"]);
    let path = world.file("app-1.0.0.tgz", tgz(&[good]));
    world.file("app-1.0.0.tgz.prov", "files:\n  app-1.0.0.tgz: sha256:00\n");
    world.told(&path, "helm", 4, &["app-1.0.0.tgz.prov is the provenance of another archive"]);
    world.nothing_was_pushed();
}

pub fn a_bad_bundle_is_told_and_nothing_reaches_the_registry() {
    let mut world = World::new("bad-bundles");
    let made = Handmade::new(world.scratch.join("image"));
    let image = world.registry.image("images/app:1");
    world.conex.ok(&["copy", &made.finish(&made.image(&[b"layer"])), &image]);
    world.registry.requests();
    let good = json!({
        "schemaVersion": "v1.2.0", "name": "app", "version": "1.0.0",
        "invocationImages": [{"imageType": "oci", "image": image}], "images": {"app": {"image": image}},
    });
    let other = format!("sha256:{}", "0".repeat(64));
    let missing = world.registry.image("images/none:1");
    for (at, value, code, part) in [
        ("/images/app/contentDigest", json!(other), 4, "images.app.contentDigest is not that of"),
        ("/images/app/contentDigest", json!("sha256:1"), 4, "`images.app.contentDigest` is not"),
        ("/images/app/size", json!(1), 4, "images.app.size is not that of"),
        ("/images/app/mediaType", json!("text/plain"), 4, "images.app.mediaType is not that of"),
        ("/images/app/image", json!(missing), 3, "bundle.json: images.app: "),
        ("/invocationImages/0/image", json!("UPPER"), 4, "`invocationImages[0].image` is not"),
        ("/invocationImages", json!([]), 4, "`invocationImages` is not what it must be"),
        ("/schemaVersion", json!("v9.0.0"), 4, "`schemaVersion` is not what it must be"),
        ("/schemaVersion", json!("new"), 4, "`schemaVersion` is not what it must be"),
        ("/version", json!("latest"), 4, "`version` is not what it must be"),
        ("/name", Value::Null, 4, "name"),
    ] {
        let mut bundle = good.clone();
        match bundle.pointer_mut(at) {
            Some(place) => *place = value,
            None => bundle["images"]["app"][at.rsplit('/').next().unwrap()] = value,
        }
        let path = world.file("bad/bundle.json", bundle.to_string());
        world.told(&path, "cnab", code, &["bundle.json", part]);
    }
    let path = world.file("bad/bundle.json", "{");
    world.told(&path, "cnab", 4, &["bundle.json"]);
    world.nothing_was_pushed();
    let path = world.file("bad/bundle.json", good.to_string());
    world.conex.ok(&["artifact", "push", path.to_str().unwrap(), &world.to]);
}

/// What is meant as a chart or a bundle goes up as such or not at all, unless someone says otherwise.
pub fn what_is_meant_is_seen() {
    let mut world = World::new("meant");
    let nameless = tgz(&[("app/values.yaml", b""), ("app/Chart.yaml", b"version: 1.0.0\n")]);
    let path = world.file("app.tar.gz", nameless);
    let chart = path.to_str().unwrap();
    let hint = "`--as files` pushes it as it is";
    let to = world.to.clone();
    world.refuses(&["push", chart, &to], 4, &["app.tar.gz", "`name` is missing", hint]);
    for (text, field) in [
        (r#"{"schemaVersion":"v1.2.0","name":"app","version":"1.0.0"}"#, "invocationImages"),
        (r#"{"invocationImages":[]}"#, "schemaVersion"),
        (r#"{"invocationImages":["#, "not sound JSON"),
    ] {
        let path = world.file("bad/bundle.json", text);
        let path = path.to_str().unwrap();
        world.refuses(&["push", path, &to], 4, &["bad/bundle.json", field, hint]);
    }
    let bundle = world.scratch.join("bad/bundle.json");
    let bundle = bundle.to_str().unwrap();
    let text = world.file("a.json", r#"{"a":1}"#);
    let text = text.to_str().unwrap();
    for (args, code, parts) in [
        (&["push", "--provenance", text, text, &to][..], 2, &["--provenance is for a chart"][..]),
        (&["push", "--images-from", "oci:x", text, &to], 2, &["--images-from is for a bundle"]),
        (&["push", "--images-from", "oci:x", chart, &to], 2, &["found    a chart"]),
        (&["push", "--annotation", "a=b", bundle, &to], 2, &["--annotation is for", hint]),
        (&["push", "--annotation-file", text, chart, &to], 2, &["--annotation-file is for", hint]),
        (&["push", "--as", "helm", "--config", text, chart, &to], 2, &["--config is for files"]),
        (&["push", "--folder", "files", chart, &to], 2, &["--folder is for files", hint]),
        (&["push", "--no-hard-links", chart, &to], 2, &["--no-hard-links is for files", hint]),
        (&["push", "--as", "spdx", text, &to], 4, &["a.json is not a document of SPDX", "`a`"]),
        (&["push", "--as", "model", text, &to], 4, &["a.json is no model"]),
        (&["push", "--as", "wasm", text, text, &to], 2, &["one file or folder", "2 of them"]),
        (&["attach", "--as", "helm", "--to", &to, chart], 2, &["a chart is pushed, not attached"]),
        (&["attach", "--as", "cnab", "--to", &to, chart], 2, &["a bundle is pushed, not"]),
        (&["attach", "--as", "cyclonedx", "--to", &to, text], 4, &["not a document of CycloneDX"]),
    ] {
        world.refuses(args, code, parts);
    }
    world.nothing_was_pushed();
    for path in [chart, bundle, text] {
        let to = format!("{to}:files");
        let pushed = world.conex.json(&["artifact", "push", "--as", "files", "--flat", path, &to]);
        let kind = &pushed["root"]["artifactType"];
        assert_eq!(kind, "application/vnd.unknown.artifact.v1", "{pushed}");
    }
}
