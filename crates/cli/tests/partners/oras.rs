//! oras, which packages files as artifacts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::daemon::Registry;
use crate::support::program::{Conex, partner, run};
use crate::support::scratch::Scratch;

/// oras in a folder, with nothing of the person who runs the tests.
fn oras(dir: &Path, args: &[&str]) -> String {
    run(partner("oras").args(args).current_dir(dir).env("HOME", dir))
}

fn conex(user: &Conex, dir: &Path, args: &[&str]) -> String {
    let mut command: Command = user.command(args);
    run(command.current_dir(dir))
}

fn files(dir: &Path) {
    fs::create_dir_all(dir.join("site/css")).unwrap();
    fs::write(dir.join("notes.md"), "notes").unwrap();
    fs::write(dir.join("site/css/a.css"), "p{}").unwrap();
    fs::write(dir.join("site/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("site/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run", dir.join("site/link")).unwrap();
}

fn check(dir: &Path) {
    assert_eq!(fs::read(dir.join("notes.md")).unwrap(), b"notes");
    assert_eq!(fs::read(dir.join("site/css/a.css")).unwrap(), b"p{}");
    assert_eq!(fs::read_link(dir.join("site/link")).unwrap(), Path::new("run"));
    let mode = fs::metadata(dir.join("site/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

pub fn each_pulls_what_the_other_pushed() {
    let scratch = Scratch::new("oras");
    let user = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let dir = scratch.folder("files");
    files(&dir);
    let ours = registry.image("ours:1");
    conex(&user, &dir, &["artifact", "push", "notes.md", "site", &ours]);
    let out = scratch.folder("theirs-of-ours");
    oras(&out, &["pull", "--plain-http", &ours]);
    check(&out);
    let theirs = registry.image("theirs:1");
    let kind = "application/vnd.example.files";
    oras(&dir, &["push", "--plain-http", "--artifact-type", kind, &theirs, "notes.md", "site"]);
    let out = scratch.folder("ours-of-theirs");
    let text = conex(&user, &out, &["artifact", "pull", &theirs]);
    assert!(text.contains(kind), "{text}");
    check(&out);
}

pub fn each_discovers_what_the_other_attached() {
    let scratch = Scratch::new("oras-attach");
    let user = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let dir = scratch.folder("files");
    files(&dir);
    let image = registry.image("app:1");
    conex(&user, &dir, &["artifact", "push", "site", &image]);
    let layout = format!("oci:{}:1", dir.join("layout").display());
    conex(&user, &dir, &["copy", &image, &layout]);
    let kind = "application/vnd.example.note";
    conex(
        &user,
        &dir,
        &["artifact", "attach", "--to", &image, "notes.md", "--artifact-type", kind],
    );
    oras(
        &dir,
        &[
            "attach",
            "--plain-http",
            "--artifact-type",
            "application/vnd.theirs",
            &image,
            "notes.md",
        ],
    );
    let seen = oras(&dir, &["discover", "--plain-http", "-o", "json", &image]);
    assert!(seen.contains(kind) && seen.contains("application/vnd.theirs"), "{seen}");
    assert_eq!(user.json(&["discover", &image])["count"], 2);
    conex(
        &user,
        &dir,
        &["artifact", "attach", "--to", &layout, "notes.md", "--artifact-type", kind],
    );
    let seen = oras(&dir, &["discover", "--oci-layout", "-o", "json", "layout:1"]);
    assert!(seen.contains(kind), "{seen}");
}

/// oras takes the target of a hard link for a path from where it runs.
pub fn files_with_several_names_come_to_oras() {
    let scratch = Scratch::new("oras-links");
    let user = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let dir = scratch.folder("files");
    files(&dir);
    fs::hard_link(dir.join("site/run"), dir.join("site/twin")).unwrap();
    let (linked, apart) = (registry.image("linked:1"), registry.image("apart:1"));
    conex(&user, &dir, &["artifact", "push", "notes.md", "site", &linked]);
    conex(&user, &dir, &["artifact", "push", "notes.md", "site", &apart, "--no-hard-links"]);
    let here = scratch.folder("here");
    oras(&here, &["pull", "--plain-http", &linked]);
    let elsewhere = scratch.folder("elsewhere");
    oras(&elsewhere, &["pull", "--plain-http", "-o", "out", &apart]);
    for (out, links) in [(here, 2), (elsewhere.join("out"), 1)] {
        check(&out);
        let twin = fs::metadata(out.join("site/twin")).unwrap();
        assert_eq!((twin.nlink(), twin.len()), (links, 10));
    }
}
