use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::credentials::Proof;
use crate::secret::Secret;

fn entry(user: &str) -> Entry {
    Entry::new(&Proof::Password(user.into(), Secret::new("p")))
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn what_is_not_changed_keeps_its_characters() {
    let text = "{\n\t\"zeta\": 1e400,\n\t\"auths\": {\n\t\t\"b\": {\n\t\t\t\"auth\": \"eDp5\",\n\t\t\t\"email\": \"\\u0061\"\n\t\t},\n\t\t\"a\": {}\n\t},\n\t\"HttpHeaders\": {\"n\" : 12345678901234567890123}\n}\n";
    let (_dir, path) = file(text);
    edit(&path, |entries| entries.set("c", &entry("u"))).unwrap();
    let expected =
        text.replace("\"a\": {}\n", "\"a\": {},\n\t\t\"c\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert!(edit(&path, |entries| Ok(entries.remove("c"))).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    edit(&path, |entries| entries.set("b", &entry("u"))).unwrap();
    let changed = fs::read_to_string(&path).unwrap();
    assert!(changed.find("\"b\"").unwrap() < changed.find("\"a\"").unwrap(), "{changed}");
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/folder/auth.json");
    edit(&path, |entries| entries.set("r", &entry("u"))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    edit(&path, |entries| entries.set("s", &entry("u"))).unwrap();
    assert_eq!(mode(&path), 0o600);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left behind: {names:?}");
}

#[test]
fn nothing_is_written_where_nothing_changes() {
    let (_dir, path) = file("{\"auths\":{\"a\":{}}}");
    let before = fs::metadata(&path).unwrap();
    assert!(!edit(&path, |entries| Ok(entries.remove("b"))).unwrap());
    let failed: Result<()> = edit(&path, |entries| {
        entries.remove("a");
        Err(Error::invalid("no"))
    });
    assert!(failed.is_err());
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn a_broken_file_is_left_alone() {
    for text in ["{", "[]", "{\"auths\": 7}", "{\"auths\": {}} x"] {
        let (_dir, path) = file(text);
        let err = edit(&path, |entries| entries.set("r", &entry("u"))).unwrap_err();
        assert!(err.message().contains("config.json"), "{err}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_link_stays_a_link() {
    let (dir, path) = file("{}");
    let link = dir.path().join("link.json");
    std::os::unix::fs::symlink("config.json", &link).unwrap();
    edit(&link, |entries| entries.set("r", &entry("u"))).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&path).unwrap().contains("dTpw"));
}

#[test]
fn two_at_once_are_both_kept() {
    let (_dir, path) = file("{}");
    thread::scope(|scope| {
        for thread in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for round in 0..5 {
                    edit(path, |entries| entries.set(&format!("r{thread}-{round}"), &entry("u")))
                        .unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("dTpw").count(), 40);
}

/// What a process that died left behind is in nobody's way, and never followed.
#[test]
fn leftovers_are_replaced() {
    let (dir, path) = file("{}");
    let victim = dir.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join(".config.json.conex")).unwrap();
    edit(&path, |entries| entries.set("r", &entry("u"))).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    assert!(!dir.path().join(".config.json.conex").exists());
}
