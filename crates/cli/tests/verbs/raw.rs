//! Manifests and blobs as they are.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::names::layout;
use crate::support::daemon::Registry;
use crate::support::layout;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

pub fn manifests_go_and_come_byte_for_byte() {
    let scratch = Scratch::new("manifest");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = layout(&scratch, &conex);
    let repository = registry.image("app");
    conex.ok(&["copy", &format!("{place}:1.0"), &format!("{repository}:1.0")]);
    let digest = conex.ok(&["digest", &format!("{place}:1.0")]).trim().to_owned();
    let bytes = fs::read(layout::blob(&scratch.join("layout"), &digest)).unwrap();
    for place in [&place, &repository] {
        let got = conex.command(&["manifest", "get", &format!("{place}:1.0")]).output().unwrap();
        assert_eq!(got.stdout, bytes);
        let file = scratch.arg("got.json");
        conex.ok(&["manifest", "get", &format!("{place}:1.0"), "--output", &file]);
        assert_eq!(fs::read(&file).unwrap(), bytes);
        let put = conex.json(&["manifest", "put", &format!("{place}:new"), &file]);
        assert_eq!(put["root"]["digest"], digest.as_str());
        assert_eq!(conex.ok(&["digest", &format!("{place}:new")]).trim(), digest);
        // Under its own digest, and not under another.
        conex.ok(&["manifest", "put", &format!("{place}@{digest}"), &file]);
        let other = format!("{place}@sha256:{}", "0".repeat(64));
        conex.run(&["manifest", "put", &other, &file]).fails_with(2);
        conex.run(&["manifest", "delete", &format!("{place}:new")]).fails_with(2);
        conex.ok(&["manifest", "delete", &format!("{place}@{digest}")]);
        conex.run(&["digest", &format!("{place}:new")]).fails_with(3);
        conex.run(&["manifest", "delete", &format!("{place}@{digest}")]).fails_with(3);
    }
}

pub fn blobs_go_and_come_byte_for_byte() {
    let scratch = Scratch::new("blob");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = layout(&scratch, &conex);
    let content: Vec<u8> = (0..5_000_000_u32).map(|i| (i / 7) as u8).collect();
    let file = scratch.arg("content");
    fs::write(&file, &content).unwrap();
    for place in [place, registry.image("app"), "store:r.example/app".into()] {
        let digest = conex.ok(&["blob", "put", &place, &file]).trim().to_owned();
        assert_eq!(digest, conex_spec::Digest::sha256(&content).to_string());
        let blob = format!("{place}@{digest}");
        assert_eq!(conex.ok(&["blob", "head", &blob]), format!("{digest} 5000000\n"));
        let got = conex.command(&["blob", "get", &blob]).output().unwrap();
        assert!(got.status.success() && got.stdout == content);
        let again = scratch.arg("again");
        conex.ok(&["blob", "get", &blob, "-o", &again]);
        assert!(fs::read(&again).unwrap() == content);
        assert_eq!(conex.json(&["blob", "put", &blob, &file])["present"], true);
        // From a pipe, which can be read only once.
        let mut put = conex.command(&["blob", "put", &place, "-"]);
        let mut child = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
        let out = child.wait_with_output().unwrap().stdout;
        let piped = String::from_utf8(out).unwrap();
        assert_eq!(piped.trim(), conex_spec::Digest::sha256(b"from a pipe").to_string());
        assert_eq!(conex.ok(&["blob", "get", &format!("{place}@{}", piped.trim())]), "from a pipe");
    }
    let blob = registry.image("app") + "@" + &conex_spec::Digest::sha256(&content).to_string();
    conex.ok(&["blob", "delete", &blob]);
    conex.run(&["blob", "head", &blob]).fails_with(3);
}

/// A manifest is read into memory to tell its type; a layer of any size is not.
pub fn a_large_blob_comes_out_of_an_archive() {
    let scratch = Scratch::new("large");
    let conex = Conex::new(&scratch);
    let content: Vec<u8> = (0..9_u32 << 20).map(|i| (i / 7) as u8).collect();
    let made = layout::Handmade::new(scratch.join("large"));
    let image = made.finish(&made.image(&[&content]));
    let digest = conex_spec::Digest::sha256(&content);
    let archive = format!("oci-archive:{}", scratch.arg("archive"));
    conex.ok(&["copy", &image, &format!("{archive}:1")]);
    let blob = format!("{archive}@{digest}");
    let got = conex.command(&["blob", "get", &blob]).output().unwrap();
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(got.stdout == content);
    let size = content.len();
    assert_eq!(conex.ok(&["blob", "head", &blob]), format!("{digest} {size}\n"));
    conex.run(&["manifest", "get", &blob]).fails_with(2);
}

pub fn what_is_wrong_is_refused() {
    let scratch = Scratch::new("refused");
    let conex = Conex::new(&scratch);
    let place = layout(&scratch, &conex);
    let image = layout::document(
        &scratch.join("layout"),
        conex.ok(&["digest", &format!("{place}:1.0")]).trim(),
    );
    let digest = image["layers"][0]["digest"].as_str().unwrap();
    let blob = layout::blob(&scratch.join("layout"), digest);
    let mut content = fs::read(&blob).unwrap();
    content[100] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &content).unwrap();
    let damaged = format!("{place}@{digest}");
    // What went to standard output cannot be taken back, but the command fails.
    let run = conex.run(&["blob", "get", &damaged]);
    assert_eq!(run.code, Some(4), "{}", run.err);
    let file = scratch.join("out");
    fs::write(&file, "as it was").unwrap();
    conex.run(&["blob", "get", &damaged, "--output", &scratch.arg("out")]).fails_with(4);
    assert_eq!(fs::read_to_string(&file).unwrap(), "as it was");
    // A manifest that has two readings, is none, or lists what is not there.
    let missing = "sha256:".to_owned() + &"1".repeat(64);
    let lost = image.to_string().replace(digest, &missing);
    let twice = image.to_string().replacen('{', r#"{"schemaVersion":2,"#, 1);
    for (text, code) in [(lost.as_str(), 3), (&twice, 4), ("{}", 4), ("no JSON", 4), ("", 4)] {
        fs::write(&file, text).unwrap();
        conex
            .run(&["manifest", "put", &format!("{place}:bad"), &scratch.arg("out")])
            .fails_with(code);
    }
    conex.run(&["digest", &format!("{place}:bad")]).fails_with(3);
    conex.run(&["blob", "get", &format!("{place}:1.0")]).fails_with(2);
    conex.run(&["blob", "delete", &damaged]).fails_with(1);
    conex.run(&["manifest", "put", "oci-archive:x.tar:1", &scratch.arg("out")]);
}
