use std::fs;

use super::*;

/// A helper that does what its text says.
fn helper(text: &str, patience: Duration) -> (tempfile::TempDir, Helper) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("docker-credential-x-1_y");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    let helpers = Helpers { folders: vec![dir.path().to_owned()], patience };
    let helper = helpers.find("x-1_y").unwrap().unwrap();
    (dir, helper)
}

fn get(text: &str) -> Result<Option<Proof>> {
    let (_dir, helper) = helper(text, Duration::from_secs(20));
    helper.get("r.example")
}

#[test]
fn what_a_helper_answers() {
    let answer = |user: &str, secret: &str| {
        get(&format!(
            r#"cat > /dev/null; echo '{{"ServerURL":"x","Username":"{user}","Secret":"{secret}","more":1}}'"#
        ))
    };
    let password = Proof::Password("u".into(), Secret::new("s"));
    assert_eq!(answer("u", "s").unwrap(), Some(password));
    assert_eq!(answer("<token>", "s").unwrap(), Some(Proof::Identity(None, Secret::new("s"))));
    assert_eq!(answer("", "").unwrap(), None);
    assert!(answer("", "canary").unwrap_err().message().contains("docker-credential-x-1_y get"));
    // One that reads nothing of what it is told.
    assert!(get(r#"echo '{"Username":"u","Secret":"s"}'"#).unwrap().is_some());
}

#[test]
fn nothing_found_is_no_fault() {
    for text in [
        "echo 'credentials not found in native keychain'; exit 1",
        "echo 'Credentials not found in native keychain' >&2; exit 1",
    ] {
        assert_eq!(get(text).unwrap(), None, "{text}");
    }
}

#[test]
fn what_a_helper_complains_of_is_told() {
    let err = get("echo 'no session bus'; printf 'run \\033[31mdbus' >&2; exit 3").unwrap_err();
    assert_eq!(err.found_value(), Some("no session bus; run \\u{1b}[31mdbus"));
    assert!(err.message().contains("docker-credential-x-1_y get for r.example"), "{err}");
    let err = get("exit 3").unwrap_err();
    assert!(err.found_value().unwrap().contains('3'), "{err:?}");
    let err = get("kill -9 $$").unwrap_err();
    assert!(err.found_value().unwrap().contains("signal"), "{err:?}");
}

#[test]
fn no_fault_repeats_a_secret() {
    for text in [
        r#"echo '{"Username":"u","Secret":canary}'"#,
        r#"echo '{"Username":"u","Secret":"canary"}'; exit 1"#,
        "echo canary",
    ] {
        let err = get(text).unwrap_err();
        assert!(!format!("{err:?}").contains("canary"), "{err:?}");
    }
    let (_dir, helper) = helper("cat >&2; exit 1", Duration::from_secs(20));
    let proof = Proof::Password("u".into(), Secret::new("canary"));
    let err = helper.store("r", &proof).unwrap_err();
    assert!(!format!("{err:?}").contains("canary"), "{err:?}");
}

#[test]
fn a_helper_that_hangs_is_given_up() {
    let started = Instant::now();
    for text in ["sleep 100", "exec >&- 2>&-; sleep 100", "sleep 100 & exit 0"] {
        let (_dir, helper) = helper(text, Duration::from_millis(300));
        let err = helper.get("r").unwrap_err();
        assert_eq!(err.expected_value(), Some("an answer in 300ms"), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_endless_answer_is_cut() {
    for text in ["cat /dev/zero", "cat /dev/zero >&2"] {
        assert_eq!(get(text).unwrap_err().kind(), Kind::Limit, "{text}");
    }
}

#[test]
fn only_programs_in_absolute_folders_are_found() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("docker-credential-data"), "no program").unwrap();
    fs::create_dir(dir.path().join("docker-credential-folder")).unwrap();
    let folders = vec![dir.path().to_owned(), ".".into(), "".into()];
    let helpers = Helpers { folders, ..Helpers::default() };
    for name in ["data", "folder", "absent"] {
        assert!(helpers.find(name).unwrap().is_none(), "{name}");
    }
    assert!(
        Helpers::default().find("pass").unwrap().is_none(),
        "none is run unless folders are given"
    );
}

#[test]
fn lists() {
    let list = |text: &str| helper(text, Duration::from_secs(20)).1.list();
    let (_dir, helper) = helper(r#"echo '{"https://r":"u"}'"#, Duration::from_secs(20));
    assert_eq!(
        helper.list().unwrap().into_iter().collect::<Vec<_>>(),
        [("https://r".into(), "u".into())]
    );
    assert!(list("echo null").is_err() || list("echo null").unwrap().is_empty());
}
