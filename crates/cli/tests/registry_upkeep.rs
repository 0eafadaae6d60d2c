//! `conex registry gc`, `du`, `scrub` and `repair`, on a folder that is served and on one that is not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "the program itself is tested")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use conex_spec::{Descriptor, Digest, MediaType};
use conex_testkit::history::{Client, History, Outcome};
use conex_testkit::s3_server::{BUCKET, Program, S3Server};
use serde_json::{Value, json};

#[path = "support/serving.rs"]
#[allow(dead_code, unreachable_pub, clippy::panic, reason = "each test program uses its part")]
mod serving;

use serving::{Serve, Serving};

const SETTINGS: &str = "operator = '127.0.0.1:0'\n[gc]\ninterval = 'never'\ngrace = '0s'\n";

/// A registry with an image `a:t`, whose layer `b` has too, and a blob that nothing needs.
struct Place {
    serving: Option<Serving>,
    operator: String,
    client: Client,
    layer: Vec<u8>,
    manifest: Vec<u8>,
    /// Where the bucket is; nothing for one on a folder.
    server: Option<S3Server>,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap(), None, 50_000)
    }

    /// On a bucket, where the layer is large content.
    fn bucket(program: Program) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let server = S3Server::start(program, dir.path())?;
        Some(Self::of(dir, Some(server), 100_000))
    }

    fn of(dir: tempfile::TempDir, server: Option<S3Server>, size: usize) -> Self {
        let client = Client { history: Arc::new(History::default()), addresses: Vec::new() };
        let layer = conex_testkit::images::noise(1, size).to_vec();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::MANIFEST,
            "config": Descriptor::of(MediaType::new("application/vnd.test"), b"{}"),
            "layers": [Descriptor::of(MediaType::LAYER, &layer)],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let operator = String::new();
        let mut place = Self { serving: None, operator, client, layer, manifest, server, dir };
        place.serve();
        for bytes in [&b"{}"[..], &place.layer, b"loose"] {
            assert_eq!(place.client.push_blob("a", bytes, 0), Outcome::Done);
        }
        assert_eq!(place.client.mount("b", "a", &digest(&place.layer)), Outcome::Done);
        assert_eq!(place.client.put_manifest("a", &place.manifest, Some("t")), Outcome::Done);
        place
    }

    fn serve(&mut self) {
        let serve = match &self.server {
            Some(server) => Serve::bucket(server),
            None => Serve::folder(&self.root()),
        };
        let serving = serve.settings(&self.dir.path().join("settings.toml"), SETTINGS).start();
        self.client.addresses = vec![serving.address.clone()];
        self.operator.clone_from(&serving.operator);
        self.serving = Some(serving);
    }

    fn stop(&mut self) {
        self.serving = None;
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn content(&self, bytes: &[u8]) -> PathBuf {
        self.root().join(format!("blobs/sha256/{}", Digest::sha256(bytes).encoded()))
    }

    /// The exit code of `conex registry …`, and what it prints as JSON.
    fn run(&self, words: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conex"));
        if let Some(server) = &self.server {
            serving::reach(&mut command, server);
        }
        let output =
            command.arg("registry").args(words).args(["--format", "json"]).output().unwrap();
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let value = serde_json::from_slice(&text);
        let text = String::from_utf8_lossy(&text);
        (output.status.code().unwrap(), value.expect(&text))
    }

    /// What the operator's address answers to an order with content.
    fn order(&self, target: &str, content: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.operator.trim_start_matches("http://")).unwrap();
        let length = content.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(content).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until what is there is older than now, by the clock that tells.
    fn grow_old(&self) {
        let coarse = if self.server.is_some() { 1100 } else { 30 };
        std::thread::sleep(Duration::from_millis(coarse));
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
    std::thread::sleep(Duration::from_millis(30));
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
    std::thread::sleep(Duration::from_millis(30));
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

/// The server of the bucket that holds to conditions has another process collect beside it; the other
/// one is asked at its operator's address.
#[test]
fn collecting_on_a_bucket() {
    for program in [Program::Moto, Program::S3s] {
        let Some(mut place) = Place::bucket(program) else { continue };
        let (bucket, loose) = (serving::bucket(), digest(b"loose"));
        let shared = program == Program::Moto;
        let operator = place.operator.clone();
        let at = if shared { &bucket } else { &operator };
        let untag = place.client.delete(delete_tag());
        assert_eq!(untag, Outcome::Done);
        place.grow_old();
        let grace: &[&str] = if shared { &["--grace", "0s"] } else { &[] };
        let gc = |more: &[&str]| place.run(&[&["gc", at], grace, more].concat());
        let (code, plan) = gc(&["--dry-run"]);
        assert_eq!((code, &plan["digests"], &plan["blobs"]), (0, &json!([loose]), &json!(2)));
        let (code, told) = place.run(&["du", at]);
        assert_eq!((code, &told["unneeded"]["blobs"]), (0, &json!(0)), "{told}");
        let (code, report) = gc(&[]);
        assert_eq!((code, &report["removed"]["blobs"]), (0, &json!(1)), "{report}");
        // What has no tag stays, and is pulled.
        let manifest = digest(&place.manifest);
        let client = &place.client;
        assert_eq!(client.get_manifest("a", &manifest), Outcome::Found(manifest));
        let layer = digest(&place.layer);
        assert_eq!(client.get_blob("a", &layer), Outcome::Found(layer.clone()));
        assert_eq!(client.get_blob("a", &loose), Outcome::Missing);
        assert_eq!(client.get_blob("b", &layer), Outcome::Missing);
        // Without its tag it goes where that is wanted, and with it all that it needs.
        place.stop();
        let offline = ["gc", &bucket, "--grace", "0s", "--untagged"];
        place.grow_old();
        let (code, report) = place.run(&offline);
        assert_eq!(
            (code, &report["manifests"], &report["removed"]["blobs"]),
            (0, &json!(1), &json!(3))
        );
        let (_, report) = place.run(&offline);
        assert_eq!((&report["removed"]["blobs"], &report["swept"]), (&json!(0), &json!(0)));
        let (_, usage) = place.run(&["du", &bucket]);
        assert_eq!(usage["total"], json!({ "blobs": 0, "bytes": 0 }));
    }
}

fn delete_tag() -> conex_testkit::history::Action {
    conex_testkit::history::Action::DeleteTag { repository: "a".into(), tag: "t".into() }
}

/// The rules of the settings, followed by the server itself while clients come.
#[test]
fn retention_on_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    let settings = "[gc]\ninterval = '1s'\ngrace = '0s'\nuntagged = true\n\
        [[retention]]\nrepositories = ['ci/*']\ntags = ['build-*']\nkeep-newest = 2\n";
    let file = dir.path().join("settings.toml");
    let [one, two] = [0, 1].map(|_| Serve::bucket(&server).settings(&file, settings).start());
    let addresses = [one.address.clone(), two.address.clone()];
    let client = Client { history: Arc::new(History::default()), addresses: addresses.to_vec() };
    let put = |number: usize| {
        let config = Descriptor::of(MediaType::new("application/vnd.test"), b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::MANIFEST, "config": config, "layers": [],
            "annotations": { "number": number.to_string() },
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let tag = format!("build-{number}");
        // Without any grace a blob may go before its manifest comes.
        for _ in 0..20 {
            client.push_blob("ci/app", b"{}", 0);
            if client.put_manifest("ci/app", &manifest, Some(&tag)) == Outcome::Done {
                return;
            }
        }
        panic!("nothing can be put");
    };
    for number in 0..4 {
        put(number);
        std::thread::sleep(Duration::from_millis(1100));
    }
    let there = || -> Vec<bool> {
        let found = |number| client.get_tag("ci/app", &format!("build-{number}")).is_some();
        (0..4).map(found).collect()
    };
    let start = std::time::Instant::now();
    while there() != [false, false, true, true] {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", there());
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(there(), [false, false, true, true]);
}

#[test]
fn what_is_no_registry_is_made_none() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(Program::Moto, dir.path()) else { return };
    for command in ["gc", "du", "scrub"] {
        let mut conex = Command::new(env!("CARGO_BIN_EXE_conex"));
        serving::reach(&mut conex, &server);
        let place = format!("s3://{BUCKET}/nothing");
        let told = conex.args(["registry", command, &place]).output().unwrap();
        let text = String::from_utf8(told.stderr).unwrap();
        assert!(told.status.code() == Some(3) && text.contains("is no registry"), "{text}");
    }
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
        .args(["copy", &format!("{}/a:t", place.client.addresses[0])])
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
    // Served at the folder's socket, at the operator's address, and not at all: the same.
    for served in [Some(&root), Some(&place.operator.clone()), None] {
        if served.is_none() {
            place.stop();
        }
        let which = served.unwrap_or(&root);
        let (code, plan) = place.run(&["repair", which, "--from", &from, "--dry-run"]);
        assert_eq!((code, plan["left"].as_array().unwrap().len()), (4, 2), "{which}: {plan}");
        let (code, report) = place.run(&["repair", which, "--from", &from]);
        let mended = (code, &report["blobs"], &report["left"]);
        assert_eq!(mended, (0, &json!(2), &json!([])), "{which}: {report}");
        if served.is_none() {
            place.serve();
        }
        assert_eq!(place.client.get_blob("b", &layer), Outcome::Found(layer.clone()));
        assert_eq!(place.client.get_manifest("a", &manifest), Outcome::Found(manifest.clone()));
        assert_eq!(place.client.get_tag("a", "t").unwrap(), place.manifest);
        damage(&place.content(&place.layer));
        std::fs::remove_file(place.content(&place.manifest)).unwrap();
    }
}

/// An operator's address is no way to push.
#[test]
fn only_what_a_scrub_found_is_mended() {
    let place = Place::new();
    let layer = digest(&place.layer);
    let told = place.order(&format!("/mend?digest={layer}"), &place.layer);
    assert!(told.contains("500") && told.contains("\"kind\":\"NotFound\""), "{told}");
    damage(&place.content(&place.layer));
    assert_eq!(place.run(&["scrub", &place.operator]).0, 4);
    let told = place.order(&format!("/mend?digest={layer}"), b"something else");
    assert!(told.contains("\"kind\":\"Mismatch\""), "{told}");
    assert_eq!(place.client.head_blob("a", &layer), Outcome::Missing);
    let told = place.order(&format!("/mend?digest={layer}"), &place.layer);
    assert!(told.contains("200 OK"), "{told}");
    assert_eq!(place.client.get_blob("a", &layer), Outcome::Found(layer));
}

/// Scenario B15, where the bytes of large content lie in an object of their own.
#[test]
fn damage_in_a_bucket_is_found_and_mended() {
    let Some(mut place) = Place::bucket(Program::S3s) else { return };
    let (bucket, backup) = (serving::bucket(), place.dir.path().join("backup"));
    let copied = Command::new(env!("CARGO_BIN_EXE_conex"))
        .args(["copy", &format!("{}/a:t", place.client.addresses[0])])
        .arg(format!("oci:{}:t", backup.display()))
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert_eq!(place.run(&["scrub", &place.operator]).0, 0);
    let objects = place.dir.path().join(BUCKET).join("x");
    let data: Vec<_> = std::fs::read_dir(objects.join("data")).unwrap().collect();
    assert_eq!(data.len(), 1);
    damage(&data[0].as_ref().unwrap().path());
    let manifest = digest(&place.manifest);
    std::fs::remove_file(objects.join("blobs").join(manifest.replace(':', "/"))).unwrap();
    let (code, found) = place.run(&["scrub", &place.operator, "--dry-run"]);
    assert_eq!((code, found["faults"].as_array().unwrap().len()), (4, 2), "{found}");
    place.stop();
    let from = format!("oci:{}", backup.display());
    let (code, report) = place.run(&["repair", &bucket, "--from", &from]);
    assert_eq!((code, &report["blobs"], &report["left"]), (0, &json!(2), &json!([])));
    assert_eq!(place.run(&["scrub", &bucket]).0, 0);
    place.serve();
    let layer = digest(&place.layer);
    assert_eq!(place.client.get_blob("b", &layer), Outcome::Found(layer));
    assert_eq!(place.client.get_tag("a", "t").unwrap(), place.manifest);
}
