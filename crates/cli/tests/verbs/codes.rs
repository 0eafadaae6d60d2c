//! Exit codes: one case for each, and for each that could surprise.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::names::layout;
use crate::support::daemon::Registry;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

pub fn every_failure_has_its_code() {
    let scratch = Scratch::new("codes");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let place = layout(&scratch, &conex);
    let (image, app) = (format!("{place}:1.0"), registry.image("app"));
    conex.ok(&["copy", &image, &format!("{app}:1")]);
    conex.ok(&["copy", &format!("{place}:1.9"), &format!("{app}:taken")]);
    fs::write(scratch.join("text"), "{}").unwrap();
    let (config, layer) = (digest_of("config"), digest_of("layer"));
    let kind = "application/vnd.oci.image";
    let childless = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json","digest":"{config}","size":6}},"layers":[{{"mediaType":"{kind}.layer.v1.tar","digest":"{layer}","size":5}}]}}"#
    );
    fs::write(scratch.join("childless"), childless).unwrap();
    let (text, childless) = (scratch.arg("text"), scratch.arg("childless"));
    let (new, taken) = (format!("{app}:new"), format!("{app}:taken"));
    fs::write(scratch.join("blocked"), "[[registry]]\nlocation='blocked.example'\nblocked=true")
        .unwrap();
    fs::write(scratch.join("large"), vec![b' '; 9 << 20]).unwrap();
    // A given address leads where no TLS is spoken.
    let port = registry.address.rsplit_once(':').unwrap().1;
    let named = format!("secure.example:{port}/app");
    let layout_new = format!("{place}:new");
    conex.ok(&["artifact", "push", "--flat", &text, &format!("{app}:note")]);
    let (note, out) = (format!("{app}:note"), scratch.arg("out"));
    let archive = format!("docker-archive:{}", scratch.arg("x.tar"));
    for (code, words) in [
        (0, &["digest", &image][..]),
        (0, &["tags", "store:"]),
        (0, &["--help"]),
        (1, &["copy", "--no-clobber", &image, &taken]),
        (1, &["copy", "--no-clobber", "--tag", "taken", "--tag", "free", &image, &app]),
        (1, &["untag", "oci-archive:a.tar:1"]),
        (2, &["copy", &image]),
        (2, &["copy", "--format", "json", &image]),
        (2, &["delete", "--yes", &place]),
        (2, &["delete", "--yes", &app]),
        (2, &["digest", "oci:"]),
        (2, &["copy", &note, &archive]),
        (2, &["artifact", "push", "--flat", &text, &archive]),
        (3, &["digest", &new]),
        (3, &["tags", "store:r.example/none"]),
        (3, &["tags", &registry.image("none")]),
        (3, &["manifest", "put", &new, &childless]),
        (3, &["manifest", "put", &layout_new, &childless]),
        (4, &["manifest", "put", &new, &text]),
        (4, &["manifest", "put", &layout_new, &text]),
        (4, &["unpack", &note, &out]),
        (4, &["artifact", "pull", &format!("{app}:1"), &out]),
        (5, &["digest", "blocked.example/app:1", "--registries-conf", &scratch.arg("blocked")]),
        (6, &["digest", "127.0.0.1:1/app:1"]),
        (
            6,
            &[
                "digest",
                &named,
                "--resolve",
                &format!("{named}:127.0.0.1", named = &named[..named.len() - 4]),
            ],
        ),
        (7, &["blob", "put", &app, &scratch.arg("")]),
        (8, &["manifest", "put", &new, &scratch.arg("large")]),
    ] {
        let run = conex.run(words);
        assert_eq!(run.code, Some(code), "{words:?}: {}", run.err);
    }
    assert_eq!(conex.ok(&["digest", &format!("{app}:free")]), conex.ok(&["digest", &image]));
    // The login of this registry is kept by a program that is not there.
    fs::write(conex.config().join("config.json"), r#"{"credsStore":"gone"}"#).unwrap();
    let run = conex.run(&["login", "--username", "u", "--password", "p", "r.example"]);
    assert_ne!(run.code, Some(3), "{}", run.err);
}

fn digest_of(text: &str) -> String {
    conex_spec::Digest::sha256(text.as_bytes()).to_string()
}

pub fn mistakes_are_json_where_json_is_wanted() {
    let scratch = Scratch::new("mistakes");
    let conex = Conex::new(&scratch);
    for words in [
        &["copy", "--format", "json"][..],
        &["--format=json", "nothing"],
        &["tags", "--sort", "x", "oci:a", "--format", "json"],
        &["delete", "--yes", "oci:a", "--format", "json"],
    ] {
        let run = conex.run(words);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{words:?}");
        let told: serde_json::Value = serde_json::from_str(&run.err).unwrap();
        assert_eq!(told["kind"], "Usage", "{told}");
        assert!(!told["error"].as_str().unwrap().is_empty(), "{told}");
    }
    for words in [&["discover", "a b"][..], &["artifact", "push", "x", "a b"]] {
        let run = conex.run(&[words, &["--format", "json"]].concat());
        let told: serde_json::Value = serde_json::from_str(&run.err).unwrap();
        assert_eq!((run.code, &told["found"]), (Some(2), &"\"a b\"".into()), "{told}");
        assert!(told["expected"].is_string() && told["hint"].is_string(), "{told}");
    }
    assert!(conex.run(&["copy", "--format", "text"]).fails_with(2).starts_with("error: "));
}

/// As `cat` ends of a broken pipe: at once, without a word, and not with success.
pub fn a_reader_that_has_enough_ends_a_download() {
    let scratch = Scratch::new("enough");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let app = registry.image("app");
    let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i / 7) as u8).collect();
    fs::write(scratch.join("content"), &content).unwrap();
    let digest = conex.ok(&["blob", "put", &app, &scratch.arg("content")]);
    let blob = format!("{app}@{}", digest.trim());
    let mut command = conex.command(&["blob", "get", &blob]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut head = [0; 100];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut head).unwrap();
    drop(out);
    let done = child.wait_with_output().unwrap();
    assert_eq!(head, content[..100]);
    assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(141), &b""[..]));
}
