//! `conex registry gc`, `du`, `scrub` and `repair`, on a folder that is served and on one that is not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "the program itself is tested")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use conex_spec::{Descriptor, Digest, MediaType};
use conex_testkit::history::{Client, History, Outcome};
use serde_json::{Value, json};

/// A registry with an image `a:t`, whose layer `b` has too, and a blob that nothing needs.
struct Place {
    dir: tempfile::TempDir,
    serving: Option<Child>,
    operator: String,
    client: Client,
    layer: Vec<u8>,
    manifest: Vec<u8>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = Client { history: Arc::new(History::default()), address: String::new() };
        let layer = conex_testkit::images::noise(1, 50_000).to_vec();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::MANIFEST,
            "config": Descriptor::of(MediaType::new("application/vnd.test"), b"{}"),
            "layers": [Descriptor::of(MediaType::LAYER, &layer)],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let operator = String::new();
        let mut place = Self { dir, serving: None, operator, client, layer, manifest };
        place.serve();
        for bytes in [&b"{}"[..], &place.layer, b"loose"] {
            assert_eq!(place.client.push_blob("a", bytes, 0), Outcome::Done);
        }
        assert_eq!(place.client.mount("b", "a", &digest(&place.layer)), Outcome::Done);
        assert_eq!(place.client.put_manifest("a", &place.manifest, Some("t")), Outcome::Done);
        place
    }

    fn serve(&mut self) {
        let settings = self.dir.path().join("settings.toml");
        let text = "operator = '127.0.0.1:0'\n[gc]\ninterval = 'never'\ngrace = '0s'\n";
        std::fs::write(&settings, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_conex"))
            .args(["serve", "--listen", "127.0.0.1:0", "--format", "json", "--config"])
            .arg(settings)
            .arg("--root")
            .arg(self.root())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let text: String = lines.map(Result::unwrap).take_while(|line| line != "}").collect();
        let told: Value = serde_json::from_str(&(text + "}")).unwrap();
        let url = told["url"].as_str().unwrap();
        self.client.address = url.trim_start_matches("http://").to_owned();
        self.operator = format!("http://{}", told["operator"].as_str().unwrap());
        self.serving = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.serving.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn content(&self, bytes: &[u8]) -> PathBuf {
        self.root().join(format!("blobs/sha256/{}", Digest::sha256(bytes).encoded()))
    }

    /// The exit code of `conex registry …`, and what it prints as JSON.
    fn run(&self, words: &[&str]) -> (i32, Value) {
        let output = Command::new(env!("CARGO_BIN_EXE_conex"))
            .arg("registry")
            .args(words)
            .args(["--format", "json"])
            .output()
            .unwrap();
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let value = serde_json::from_slice(&text);
        let text = String::from_utf8_lossy(&text);
        (output.status.code().unwrap(), value.expect(&text))
    }
}

fn digest(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[0] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn collecting_by_order_with_and_without_a_server() {
    let mut place = Place::new();
    let (root, loose) = (place.root().display().to_string(), digest(b"loose"));
    // Time stamps of files are coarse.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let operator = place.operator.clone();
    for at in [&root, &operator] {
        let (code, plan) = place.run(&["gc", at, "--dry-run"]);
        assert_eq!((code, &plan["dryRun"], &plan["digests"]), (0, &json!(true), &json!([loose])));
        // Both `b`'s layer, which no manifest of it needs, and the loose one go; the content stays.
        assert_eq!((&plan["blobs"], &plan["removed"]["bytes"]), (&json!(2), &json!(5)));
    }
    assert_eq!(place.client.get_blob("a", &loose), Outcome::Found(loose.clone()));
    let (code, told) = place.run(&["gc", &root, "--grace", "1h"]);
    assert_eq!((code, &told["kind"]), (2, &json!("Usage")));
    let (code, report) = place.run(&["gc", &operator]);
    assert_eq!((code, &report["removed"]["blobs"]), (0, &json!(1)));
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(place.client.get_blob("a", &loose), Outcome::Missing);
    assert_eq!(place.client.get_blob("b", &digest(&place.layer)), Outcome::Missing);
    assert!(matches!(place.client.get_blob("a", &digest(&place.layer)), Outcome::Found(_)));
    assert_eq!(place.client.push_blob("a", b"loose", 1), Outcome::Done);
    place.stop();
    let (_, report) = place.run(&["gc", &root]);
    assert_eq!((&report["removed"]["blobs"], &report["young"]["blobs"]), (&json!(0), &json!(0)));
    let (_, report) = place.run(&["gc", &root, "--grace", "0s"]);
    assert_eq!(report["removed"]["blobs"], 1);
    let (code, told) = place.run(&["gc", place.dir.path().to_str().unwrap()]);
    assert_eq!((code, &told["kind"]), (3, &json!("NotFound")));
}

#[test]
fn what_repositories_take_up() {
    let mut place = Place::new();
    let root = place.root().display().to_string();
    let served = place.run(&["du", &root]);
    assert_eq!(place.run(&["du", &place.operator]), served);
    place.stop();
    assert_eq!(place.run(&["du", &root]), served);
    let (_, usage) = served;
    let own = 2 + 5 + place.manifest.len();
    let share = |name: &str, own: usize, manifests: u64, tags: u64, blobs: u64| json!({ "repository": name, "own": own, "shared": 50_000, "manifests": manifests, "tags": tags, "blobs": blobs });
    assert_eq!(usage["repositories"], json!([share("a", own, 1, 1, 3), share("b", 0, 0, 0, 1)]));
    assert_eq!(usage["total"], json!({ "blobs": 4, "bytes": own + 50_000 }));
    assert_eq!(usage["unneeded"]["blobs"], 0);
}

/// Scenario B15.
#[test]
fn damage_is_found_and_mended() {
    let mut place = Place::new();
    let root = place.root().display().to_string();
    let backup = place.dir.path().join("backup");
    let copied = Command::new(env!("CARGO_BIN_EXE_conex"))
        .args(["copy", &format!("{}/a:t", place.client.address)])
        .arg(format!("oci:{}:t", backup.display()))
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_eq!(place.run(&["scrub", &root]).0, 0);
    damage(&place.content(&place.layer));
    std::fs::remove_file(place.content(&place.manifest)).unwrap();
    let (code, found) = place.run(&["scrub", &place.operator, "--dry-run"]);
    let faults = found["faults"].as_array().unwrap();
    assert_eq!((code, faults.len(), &found["setAside"]), (4, 2, &json!(0)));
    let (layer, manifest) = (digest(&place.layer), digest(&place.manifest));
    let of = |digest: &str| faults.iter().find(|fault| fault["digest"] == digest).unwrap();
    assert_eq!(
        (&of(&layer)["problem"], &of(&manifest)["problem"]),
        (&json!("damaged"), &json!("missing"))
    );
    assert_eq!(of(&layer)["repositories"], json!(["a", "b"]));
    // Law L2: nobody is told that it is there.
    assert_eq!(place.client.head_blob("a", &layer), Outcome::Missing);
    let (code, found) = place.run(&["scrub", &root]);
    assert_eq!((code, &found["setAside"]), (4, &json!(1)));
    assert!(!place.content(&place.layer).exists());
    assert_eq!(std::fs::read_dir(place.root().join(".conex/damaged")).unwrap().count(), 1);

    let from = format!("oci:{}", backup.display());
    let (code, told) = place.run(&["repair", &root, "--from", &from]);
    assert_eq!((code, &told["kind"]), (1, &json!("Conflict")));
    place.stop();
    let (code, plan) = place.run(&["repair", &root, "--from", &from, "--dry-run"]);
    assert_eq!((code, plan["left"].as_array().unwrap().len()), (4, 2));
    let (code, report) = place.run(&["repair", &root, "--from", &from]);
    assert_eq!((code, &report["blobs"], &report["left"]), (0, &json!(2), &json!([])));
    place.serve();
    assert_eq!(place.client.get_blob("b", &layer), Outcome::Found(layer));
    assert_eq!(place.client.get_manifest("a", &manifest), Outcome::Found(manifest));
    assert_eq!(place.client.get_tag("a", "t").unwrap(), place.manifest);
}
