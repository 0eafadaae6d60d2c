use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn tree() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("a dir/deep")).unwrap();
    fs::write(temp.path().join("a dir/file#1"), "x").unwrap();
    fs::hard_link(temp.path().join("a dir/file#1"), temp.path().join("b")).unwrap();
    std::os::unix::fs::symlink("../\u{e9}", temp.path().join("a dir/deep/link")).unwrap();
    temp
}

fn manifest(root: &Path) -> String {
    let mut out = Vec::new();
    write(&Root::open(root).unwrap(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn differences(root: &Path, manifest: &str) -> Vec<String> {
    let found = check(&Root::open(root).unwrap(), manifest.as_bytes()).unwrap();
    found
        .iter()
        .map(|difference| format!("{}: {}", show(&difference.path), difference.keyword))
        .collect()
}

#[test]
fn a_tree_is_what_its_manifest_says() {
    let temp = tree();
    let text = manifest(temp.path());
    assert!(text.starts_with("#mtree\n"));
    assert!(text.contains("./a\\040dir/file\\0431 type=file mode=0644 "), "{text}");
    assert!(text.contains(" link=../\\303\\251\n"), "{text}");
    assert!(text.contains(
        " sha256digest=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
    ));
    assert_eq!(differences(temp.path(), &text), [""; 0]);
}

#[test]
fn every_change_is_told() {
    let temp = tree();
    let text = manifest(temp.path());
    fs::write(temp.path().join("b"), "y").unwrap();
    fs::write(temp.path().join("new"), "").unwrap();
    fs::remove_file(temp.path().join("a dir/deep/link")).unwrap();
    fs::set_permissions(temp.path().join("a dir"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut found = differences(temp.path(), &text);
    found.retain(|line| !line.ends_with(": time"));
    let expected = [
        "a dir: mode",
        "a dir/file#1: sha256digest",
        "b: sha256digest",
        "new: name",
        "a dir/deep/link: name",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_older_form_is_read() {
    let temp = tree();
    let text = "#mtree v1.0\n/set type=file uid=4000000 \\\n    mode=644\n. type=dir\n    b size=1 nlink=2\n\
                a\\sdir type=dir\n    file\\0431 sha256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n\
                deep type=dir\nlink type=link link=../\\303\\251 tar_time=9.0\n..\n..\n..\n";
    let mut found = differences(temp.path(), text);
    found.retain(|line| !line.ends_with(": uid") && !line.ends_with(": mode"));
    assert_eq!(found, ["a dir/deep/link: tar_time"]);
}

/// As umoci has it: defaults of `/set`, sizes of folders and links, and how many names a folder has.
#[test]
fn the_form_of_go_mtree_is_read() {
    let temp = tree();
    let text = "#          user: root\n\n# .\n/set type=file nlink=1 mode=0664\n. size=80 type=dir mode=0755 nlink=9\n\n\
                # a dir\na\\040dir size=60 type=dir mode=0755 nlink=7\n    file\\0431 size=1 mode=0644 nlink=2\n\
                \n# a dir/deep\ndeep size=40 type=dir mode=0755 nlink=2\n    link size=4 type=link mode=0777 link=../\\303\\251\n..\n..\n    b size=1 mode=0644 nlink=2\n..\n";
    assert_eq!(differences(temp.path(), text), ["a dir/deep/link: size"]);
    assert_eq!(differences(temp.path(), &text.replace("size=4", "size=5")), [""; 0]);
    // A folder that took the place of a file is a difference, whatever its size.
    fs::remove_file(temp.path().join("b")).unwrap();
    fs::create_dir(temp.path().join("b")).unwrap();
    let found = differences(temp.path(), &text.replace("size=4", "size=5"));
    assert!(found.contains(&"b: type".to_owned()), "{found:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let temp = tree();
    for bad in
        ["../x type=file\n", "a mode=9\n", "a\\ type=file\n", "a md5digest=0\n", "a size=-1\n"]
    {
        assert!(check(&Root::open(temp.path()).unwrap(), bad.as_bytes()).is_err(), "{bad}");
    }
    let long = vec![b'a'; 2 << 20];
    assert!(check(&Root::open(temp.path()).unwrap(), &long[..]).is_err());
}

#[test]
fn attributes_in_base64() {
    let found = [&b""[..], b"f", b"fo", b"foo", b"foob"].map(text::base64);
    assert_eq!(found, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
}
