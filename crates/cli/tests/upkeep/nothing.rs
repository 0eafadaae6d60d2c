//! Commands that are refused, or only read, leave nothing behind.

use std::fs;

use crate::support::layout::Handmade;
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

pub fn is_left_by_a_refused_command() {
    let scratch = Scratch::new("refused");
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("image"));
    let image = made.finish(&made.image(&[b"layer"]));
    let before = names(&scratch);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for args in [
        &["pack", "nowhere", "oci:new:1"][..],
        &["index", "create", "oci:new:1", "oci:nowhere:1"],
        &["copy", "oci:nowhere:1", "oci:new:1"],
        &["copy", &image, "oci:new:1", "--platform=linux/s390x"],
        &["copy", "oci:nowhere:1", "store:x"],
        &["serve", "--root", "new", "--listen", &address],
        &["gc", "oci:new"],
        &["rm", "oci:new:1"],
        &["tag", "oci:new:1", "2"],
    ] {
        let mut command = conex.command(args);
        let output = command.current_dir(scratch.path()).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert_eq!(names(&scratch), before, "{args:?}");
    }
    for args in [&["images"][..], &["du"], &["gc"], &["fsck"], &["inspect", &image]] {
        conex.ok(args);
        assert_eq!(names(&scratch), before, "{args:?}");
    }
}

pub fn is_needed_of_a_home() {
    let scratch = Scratch::new("homeless");
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("image"));
    let image = made.finish(&made.image(&[b"layer"]));
    let homeless = |args: &[&str]| {
        let mut command = conex.command(args);
        command.env_clear().current_dir(scratch.path()).output().unwrap()
    };
    assert!(homeless(&["inspect", &image]).status.success());
    assert!(homeless(&["copy", &image, "oci:copy:1"]).status.success());
    let output = homeless(&["images"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("no folder for the local store") && error.contains("--store"),
        "{error}"
    );
}

fn names(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
