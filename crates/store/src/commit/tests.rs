use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(&dir.path().join("a/b")).unwrap();
    (dir, folder)
}

#[test]
fn published_files_are_whole_and_replaced_at_once() {
    let (_dir, folder) = folder();
    assert_eq!(folder.read("x/y/z", 10).unwrap(), None);
    folder.replace("x/y/z", b"one").unwrap();
    folder.replace("x/y/z", b"two").unwrap();
    assert_eq!(folder.read("x/y/z", 3).unwrap().unwrap(), b"two");
    assert_eq!(folder.read("x/y/z", 2).unwrap_err().kind(), Kind::Limit);
    assert_eq!(folder.list("x/y").unwrap(), ["z"]);
    assert_eq!(folder.list(STAGE).unwrap(), [""; 0]);
    assert!(folder.remove("x/y/z").unwrap());
    assert!(!folder.remove("x/y/z").unwrap());
}

#[test]
fn what_is_written_behind_is_whole_and_ends_with_the_first_error() {
    let (_dir, folder) = folder();
    let chunk = vec![7; 1 << 20];
    let staged = folder.stage().unwrap();
    let filled = staged.write_behind(|write| (0..40).try_for_each(|_| write(&chunk)));
    filled.unwrap();
    staged.publish("large").unwrap();
    let length = folder.file("large").unwrap().unwrap().metadata().unwrap().len();
    assert_eq!(length, 40 << 20);
    let staged = folder.stage().unwrap();
    let failed = staged.write_behind(|write| {
        write(&chunk)?;
        Err(Error::new(Kind::Network, "cut"))
    });
    assert_eq!(failed.unwrap_err().kind(), Kind::Network);
}

#[test]
fn a_dropped_stage_leaves_nothing() {
    let (_dir, folder) = folder();
    let mut staged = folder.stage().unwrap();
    staged.write(b"half").unwrap();
    assert_eq!(folder.list(STAGE).unwrap().len(), 1);
    drop(staged);
    assert_eq!(folder.list(STAGE).unwrap(), [""; 0]);
}

#[test]
fn a_sweep_takes_what_the_dead_left_and_nothing_else() {
    let (_dir, folder) = folder();
    let mut living = folder.stage().unwrap();
    living.write(b"alive").unwrap();
    drop(folder.create_file(".conex/stage/dead").unwrap());
    assert_eq!(folder.sweep(), 1);
    living.publish("kept").unwrap();
    assert_eq!(folder.read("kept", 9).unwrap().unwrap(), b"alive");
}

/// Rule D6.
#[test]
fn only_regular_files_beneath_the_folder_are_opened() {
    let (dir, folder) = folder();
    let root = folder.path().to_owned();
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, root.join("link")).unwrap();
    symlink(dir.path(), root.join("up")).unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, file_mode(), 0)
        .unwrap();
    for name in ["link", "up/secret", "../../secret", "folder", "pipe"] {
        assert!(folder.file(name).is_err(), "{name}");
    }
    let absolute = folder.file(secret.to_str().unwrap());
    assert!(absolute.is_err());
}

#[test]
fn a_lock_waits_for_the_other() {
    let (_dir, folder) = folder();
    let held = folder.lock().unwrap();
    let path = folder.path().to_owned();
    let waiter = std::thread::spawn(move || drop(Folder::open(&path).unwrap().lock().unwrap()));
    std::thread::sleep(Duration::from_millis(30));
    assert!(!waiter.is_finished());
    drop(held);
    waiter.join().unwrap();
}

#[test]
fn a_claim_is_had_only_where_nobody_has_a_share() {
    let (_dir, folder) = folder();
    let open = || {
        let other = Folder::open(folder.path()).unwrap();
        other.share();
        other
    };
    folder.share();
    let shares = [open(), open()];
    assert_eq!(folder.claim(2).unwrap_err().kind(), Kind::Conflict);
    drop(shares);
    let claim = folder.claim(1).unwrap();
    let late = std::thread::scope(|scope| {
        let late = scope.spawn(open);
        std::thread::sleep(Duration::from_millis(30));
        assert!(!late.is_finished());
        drop(claim);
        late.join().unwrap()
    });
    // What is left of a claim is a share.
    assert_eq!(late.claim(1).unwrap_err().kind(), Kind::Conflict);
    drop(folder);
    late.claim(1).unwrap();
}

#[test]
fn a_claim_that_waits_holds_back_who_is_not_inside() {
    let (_dir, folder) = folder();
    let open = || {
        let other = Folder::open(folder.path()).unwrap();
        other.share();
        other
    };
    let is_closed = || {
        let turn = folder.file(".conex/turn").unwrap();
        let shared = rustix::fs::FlockOperation::NonBlockingLockShared;
        turn.is_some_and(|turn| rustix::fs::flock(&turn, shared).is_err())
    };
    let inside = open();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| drop(folder.claim(1000).unwrap()));
        while !is_closed() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Whoever is inside goes on: the claim waits for them.
        let nested = open();
        assert!(is_closed() && !waiting.is_finished());
        drop((inside, nested));
        waiting.join().unwrap();
    });
    assert!(!is_closed());
    drop(open());
}

#[test]
fn a_file_that_another_wrote_meanwhile_is_not_published_over() {
    let (_dir, folder) = folder();
    folder.replace("index", b"one").unwrap();
    let (_, seen) = folder.read_seen("index", 9).unwrap().unwrap();
    let publish = |bytes: &[u8]| {
        let mut staged = folder.stage().unwrap();
        staged.write(bytes).unwrap();
        staged.publish_over("index", &seen).unwrap()
    };
    assert!(publish(b"two"));
    assert!(!publish(b"three"));
    assert_eq!(folder.read("index", 9).unwrap().unwrap(), b"two");
    assert_eq!(folder.list(STAGE).unwrap(), [""; 0]);
}

#[test]
fn a_reflink_shares_nothing_that_can_be_changed() {
    let (_dir, folder) = folder();
    folder.replace("from", b"content").unwrap();
    let file = folder.writable_file("from").unwrap().unwrap();
    // Not every file system has them.
    let Some(staged) = folder.reflink(&file).unwrap() else { return };
    staged.publish("to").unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"X", 0).unwrap();
    assert_eq!(folder.read("to", 9).unwrap().unwrap(), b"content");
}

#[test]
fn throw_away_work_is_not_sealed() {
    let (_dir, folder) = folder();
    let key = folder.own_key().unwrap();
    let folder = folder.with_key(Some(key.clone())).without_sync();
    folder.replace("x", b"content").unwrap();
    let (file, digest) = (folder.file("x").unwrap().unwrap(), Digest::sha256(b"content"));
    folder.seal(&file, &digest).unwrap();
    assert!(!crate::seal::is_sealed(Some(&key), &file, &digest).unwrap());
}

#[test]
fn a_file_can_be_linked_into_another_folder_and_onto_itself() {
    let (dir, folder) = folder();
    folder.replace("from", b"content").unwrap();
    let file = folder.file("from").unwrap().unwrap();
    let other = Folder::create(&dir.path().join("other")).unwrap();
    assert!(other.link(&file, "deep/to").unwrap());
    assert_eq!(other.read("deep/to", 10).unwrap().unwrap(), b"content");
    assert!(folder.link(&file, "from").unwrap());
    assert_eq!(folder.list(STAGE).unwrap(), [""; 0]);
}

#[test]
fn a_touched_file_is_empty_and_stays() {
    let (_dir, folder) = folder();
    assert!(!folder.has("links/a").unwrap());
    folder.touch("links/a").unwrap();
    folder.replace("links/b", b"full").unwrap();
    folder.touch("links/b").unwrap();
    assert_eq!(folder.read("links/a", 0).unwrap().unwrap(), b"");
    assert_eq!(folder.read("links/b", 9).unwrap().unwrap(), b"full");
    assert!(folder.has("links").unwrap() && folder.has("links/a").unwrap());
    folder.sync(&folder.file("links/b").unwrap().unwrap(), "links/b").unwrap();
}

#[test]
fn a_tried_lock_never_waits() {
    let (_dir, folder) = folder();
    let other = Folder::open(folder.path()).unwrap();
    let held = folder.try_lock().unwrap();
    assert!(held.is_some() && other.try_lock().unwrap().is_none());
    drop(held);
    assert!(other.try_lock().unwrap().is_some());
}

/// As a program has them that is being started just then.
#[test]
fn a_lock_ends_where_others_have_its_file_still() {
    let (_dir, folder) = folder();
    let held = folder.try_lock().unwrap().unwrap();
    let inherited = held.0.try_clone().unwrap();
    drop(held);
    assert!(folder.try_lock().unwrap().is_some());
    drop(inherited);
}
