//! umoci, the measure of an exact root file system.

use std::fs;
use std::path::Path;

use crate::fixture::{EMPTY_XATTR, ODD_FILE, tree};
use crate::support::program::{Conex, run_partner};
use crate::support::scratch::Scratch;
use crate::support::tree::assert_same;

/// And what it unpacked gives the same layer again. umoci 0.4.7 reads no zstd.
pub fn unpacks_what_conex_packed() {
    let scratch = Scratch::new("umoci-tree");
    let conex = Conex::new(&scratch);
    for (name, more) in
        [("gzip", &[][..]), ("fast", &["--level", "1"]), ("none", &["--compression", "none"])]
    {
        let (layout, theirs) = (scratch.arg(name), scratch.arg(&format!("{name}-theirs")));
        let pack = |from: &str, to: &str| {
            let args = ["pack", from, to];
            conex.json(&[&args[..], more].concat())["layers"][0]["digest"].clone()
        };
        let packed = pack(&tree().display().to_string(), &format!("oci:{layout}:1"));
        run_partner("umoci", &["raw", "unpack", "--image", &format!("{layout}:1"), &theirs]);
        restore_empty(Path::new(&theirs), tree());
        assert_same(tree(), Path::new(&theirs));
        assert_eq!(pack(&theirs, &format!("oci:{layout}:2")), packed, "{name}");
        fs::remove_dir_all(&theirs).unwrap();
    }
}

/// Go's reader of tars takes an attribute with an empty value for one that is not there, and
/// umoci with it. conex keeps it; [`crate::debian::unpacked_is_what_was_packed`] sees to that.
pub fn restore_empty(theirs: &Path, ours: &Path) {
    let [theirs, ours] = [theirs, ours].map(|root| root.join(ODD_FILE));
    if rustix::fs::lgetxattr(&ours, EMPTY_XATTR, &mut [0_u8; 1][..]).is_ok() {
        rustix::fs::lsetxattr(&theirs, EMPTY_XATTR, b"", rustix::fs::XattrFlags::empty()).unwrap();
    }
}

/// Five layers: the tree, what a repacked bundle changed, a file, an opaque folder, a whiteout.
pub fn unpacked_as_umoci_does() {
    let scratch = Scratch::new("umoci-built");
    let layout = scratch.arg("oci");
    let image = |tag: &str| format!("{layout}:{tag}");
    let umoci = |args: &[&str]| run_partner("umoci", args);
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image("1")]);
    umoci(&["insert", "--image", &image("1"), &tree().display().to_string(), "/"]);
    umoci(&["unpack", "--image", &image("1"), &scratch.arg("bundle")]);
    change(&scratch.join("bundle/rootfs"));
    umoci(&["repack", "--image", &image("1"), &scratch.arg("bundle")]);
    fs::remove_dir_all(scratch.join("bundle")).unwrap();
    let insert = |args: &[&str]| umoci(&[&["insert", "--image", &image("1")], args].concat());
    fs::write(scratch.join("file"), "inserted\n").unwrap();
    insert(&[&scratch.arg("file"), "/opt/odd/first/../inserted"]);
    let folder = scratch.folder("folder");
    fs::write(folder.join("only"), "the rest is hidden\n").unwrap();
    insert(&["--opaque", &scratch.arg("folder"), "/usr/share/doc"]);
    insert(&["--whiteout", "/usr/share/man"]);
    let root = scratch.join("rootfs");
    Conex::new(&scratch).ok(&["validate", &format!("oci:{}", image("1"))]);
    Conex::new(&scratch).ok(&[
        "unpack",
        &format!("oci:{}", image("1")),
        &root.display().to_string(),
    ]);
    assert_eq!(fs::read_dir(root.join("usr/share/doc")).unwrap().count(), 1);
    assert!(!root.join("usr/share/man").exists() && root.join("opt/odd/new/below").exists());
    assert_same_tree(&scratch, Path::new(&layout), "1", &root);
}

fn change(root: &Path) {
    let odd = root.join("opt/odd");
    fs::remove_dir_all(odd.join("deep")).unwrap();
    fs::remove_file(odd.join("second")).unwrap();
    fs::create_dir_all(odd.join("new/below")).unwrap();
    fs::write(odd.join("new/file"), "new\n").unwrap();
    fs::hard_link(odd.join("new/file"), odd.join("new/linked")).unwrap();
    // A file becomes a folder, and a folder a symlink.
    fs::remove_file(odd.join("dangling")).unwrap();
    fs::create_dir(odd.join("dangling")).unwrap();
    fs::remove_dir_all(root.join("usr/share/bash-completion")).unwrap();
    std::os::unix::fs::symlink("doc", root.join("usr/share/bash-completion")).unwrap();
}

/// Lets umoci unpack an image of a layout, and compares.
pub fn assert_same_tree(scratch: &Scratch, layout: &Path, tag: &str, found: &Path) {
    let image = format!("{}:{tag}", layout.display());
    run_partner("umoci", &["raw", "unpack", "--image", &image, &scratch.arg("theirs")]);
    restore_empty(&scratch.join("theirs"), found);
    let count = assert_same(&scratch.join("theirs"), found);
    assert!(count > 15_000, "only {count}");
}
