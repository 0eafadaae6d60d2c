//! What every home must do, run on each of them: a folder, and buckets of two servers of S3.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use conex_spec::{Algorithm, Digest, Kind};
use conex_testkit::s3_server::{ACCESS_KEY, BUCKET, Program, S3Server, SECRET_KEY};
use uuid::Uuid;

use super::folder::FolderHome;
use super::home::{Aged, Hashing, Home, Stamp, Wanted, When};
use super::s3::S3Home;
use crate::config::S3;
use crate::paths::Repository;

/// A bucket of a server for tests.
fn bucket(server: &S3Server, prefix: &str) -> S3 {
    let options = [
        ("aws_endpoint_url", server.endpoint()),
        ("aws_access_key_id", ACCESS_KEY.into()),
        ("aws_secret_access_key", SECRET_KEY.into()),
        ("aws_region", "us-east-1".into()),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value)).into();
    S3 { bucket: BUCKET.into(), prefix: prefix.into(), redirect: false, spool: None, options }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let home = FolderHome::open(dir.path().join("root")).await.unwrap();
    assert!(!home.is_shared());
    all(Arc::new(home)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_s3s_fs() {
    on(Program::S3s).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_moto() {
    on(Program::Moto).await;
}

async fn on(program: Program) {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = S3Server::start(program, dir.path()) else { return };
    // s3s-fs takes several writes that replace the same version.
    let conditional = program == Program::Moto;
    for prefix in ["", "some/prefix"] {
        let home = S3Home::open(&bucket(&server, prefix)).await.unwrap();
        assert_eq!(home.is_shared(), conditional);
        all(Arc::new(home)).await;
    }
    let config = bucket(&server, "two");
    let one = S3Home::open(&config).await.unwrap();
    if !conditional {
        let err = S3Home::open(&config).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Conflict);
        one.close().await;
        assert!(one.write(&name("late"), "x".into(), When::Always).await.is_err());
        S3Home::open(&config).await.unwrap();
        return;
    }
    let two = S3Home::open(&config).await.unwrap();
    assert_eq!(one.key().await.unwrap(), two.key().await.unwrap());
    in_two_processes(&one, &two).await;
}

async fn all(home: Arc<dyn Home>) {
    assert!(home.key().await.unwrap().len() >= 32);
    assert_eq!(home.key().await.unwrap(), home.key().await.unwrap());
    records(&*home).await;
    conditions(Arc::clone(&home)).await;
    lists(&*home).await;
    repositories(&*home).await;
    content(&*home).await;
    uploads(&*home).await;
    large_uploads(&*home).await;
    stamps(&*home).await;
    leaving(&*home).await;
}

async fn aged(home: &dyn Home, folder: &str) -> Vec<Aged> {
    let (mut found, mut last) = (Vec::<Aged>::new(), String::new());
    loop {
        let page = home.aged(folder, &last, 2).await.unwrap();
        found.extend(page.items);
        match found.last().filter(|_| page.more) {
            Some(aged) => last.clone_from(&aged.name),
            None => return found,
        }
    }
}

/// What was renewed since it was listed is not swept.
async fn stamps(home: &dyn Home) {
    let repository: Repository = "stamps".parse().unwrap();
    let links: Vec<_> =
        (0..5_u8).map(|i| repository.blob(&Digest::sha256(&[i])).unwrap()).collect();
    home.enrol(&repository).await.unwrap();
    for link in &links {
        home.write(link, Bytes::new(), When::Always).await.unwrap().unwrap();
    }
    let folder = repository.blobs();
    let whole = |aged: Aged| Aged { name: format!("{folder}/{}", aged.name), ..aged };
    let listed: Vec<_> = aged(home, &folder).await.into_iter().map(whole).collect();
    let mut names: Vec<_> = listed.iter().map(|aged| aged.name.clone()).collect();
    assert!(names.is_sorted());
    names.sort();
    let mut sorted = links.clone();
    sorted.sort();
    assert_eq!(names, sorted);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let now = home.now().await.unwrap();
    assert!(listed.iter().all(|aged| aged.stamp < now));
    let (renewed, rewritten) = (names[0].clone(), names[1].clone());
    let none = format!("{folder}/sha256/none");
    let told = home.renew(vec![none, renewed.clone()]).await.unwrap();
    assert!(told[0].is_none() && told[1].is_some());
    home.write(&rewritten, Bytes::new(), When::Always).await.unwrap().unwrap();
    let later: Vec<_> = aged(home, &folder).await.into_iter().map(whole).collect();
    let young: Vec<_> = later.iter().filter(|aged| aged.stamp >= now).collect();
    assert_eq!(young.len(), 2);
    assert_eq!(
        home.sweep(listed.clone()).await.unwrap(),
        [false, false, true, true, true],
        "only what nobody touched"
    );
    home.settle().await.unwrap();
    assert_eq!(read(home, &renewed).await, Some(Bytes::new()));
    assert_eq!(aged(home, &folder).await.len(), 2);
    assert_eq!(home.sweep(later).await.unwrap(), [true, true, false, false, false]);
    assert!(aged(home, &folder).await.is_empty());
    // What is gone can come again.
    home.write(&renewed, Bytes::new(), When::Absent).await.unwrap().unwrap();
    assert_eq!(aged(home, &folder).await.len(), 1);
    assert!(home.last().await.unwrap().is_none_or(|last| last <= now));
    home.begin_collection().await.unwrap();
    assert!(home.last().await.unwrap().unwrap() >= now);
}

/// Content that was held since it was listed stays; what is gone can be put again.
async fn leaving(home: &dyn Home) {
    let (small, large) = (Bytes::from("leaving"), Bytes::from(vec![b'x'; 200_000]));
    let digests = [&small, &large].map(|bytes| Digest::sha256(bytes));
    let surveyed = async || {
        let page = home.survey(None, 10_000).await.unwrap();
        let ours = page.items.into_iter().filter(|item| digests.contains(&item.digest));
        let mut ours: Vec<_> = ours.collect();
        ours.sort_by_key(|item| item.digest != digests[0]);
        ours
    };
    for held in [false, true] {
        for bytes in [&small, &large] {
            home.put(&Digest::sha256(bytes), bytes.clone()).await.unwrap();
        }
        let listed = surveyed().await;
        assert_eq!(listed.len(), 2);
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let now = home.now().await.unwrap();
        for digest in &digests {
            if held {
                assert!(home.hold(digest).await.unwrap());
            }
        }
        assert!(surveyed().await.iter().all(|item| (item.stamp >= now) == held));
        for item in &listed {
            assert_eq!(home.forget(item).await.unwrap(), !held);
            assert!(held || !home.forget(item).await.unwrap());
        }
        let wanted =
            |digest: &Digest| Wanted { digest: digest.clone(), links: vec![], bytes: true };
        let found = home.look(digests.iter().map(wanted).collect()).await.unwrap();
        assert!(found.iter().all(|content| content.is_some() == held));
        assert!(held || !home.hold(&digests[1]).await.unwrap());
    }
    // To put again is to hold.
    let listed = surveyed().await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for bytes in [&small, &large] {
        home.put(&Digest::sha256(bytes), bytes.clone()).await.unwrap();
    }
    for item in &listed {
        assert!(!home.forget(item).await.unwrap());
    }
    home.tidy(Stamp::MAX).await.unwrap();
    assert!(home.hold(&digests[0]).await.unwrap() && home.hold(&digests[1]).await.unwrap());
}

fn name(tag: &str) -> String {
    let repository: Repository = "records".parse().unwrap();
    format!("{}/{tag}", repository.tags())
}

async fn read(home: &dyn Home, name: &str) -> Option<Bytes> {
    home.read(vec![name.to_owned()]).await.unwrap().pop().flatten().map(|record| record.bytes)
}

async fn records(home: &dyn Home) {
    let (a, b) = (name("a"), name("b"));
    assert_eq!(read(home, &a).await, None);
    for text in ["one", "", "two\nlines\n", "one"] {
        home.write(&a, text.into(), When::Always).await.unwrap().unwrap();
        assert_eq!(read(home, &a).await.unwrap(), text);
    }
    home.write(&b, "b".into(), When::Always).await.unwrap().unwrap();
    let found = home.read(vec![b.clone(), name("none"), a.clone()]).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|record| record.map(|record| record.bytes)).collect();
    assert_eq!(found, [Some("b".into()), None, Some("one".into())]);
    let long = vec![b'x'; 3 << 20];
    home.write(&b, long.clone().into(), When::Always).await.unwrap().unwrap();
    assert!(read(home, &b).await.unwrap() == long);
    for (name, there) in [(&a, true), (&a, false), (&b, true)] {
        assert_eq!(home.remove(name, None).await.unwrap(), there);
        assert_eq!(read(home, name).await, None);
    }
}

async fn conditions(home: Arc<dyn Home>) {
    let a = name("conditions");
    let first = home.write(&a, "same".into(), When::Absent).await.unwrap().unwrap();
    assert_eq!(home.write(&a, "x".into(), When::Absent).await.unwrap(), None);
    let found = home.read(vec![a.clone()]).await.unwrap().pop().flatten().unwrap();
    assert_eq!(found.version, first);
    // The same bytes again are another version.
    let second = home.write(&a, "same".into(), When::Always).await.unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(home.write(&a, "x".into(), When::Unchanged(first.clone())).await.unwrap(), None);
    assert!(!home.remove(&a, Some(&first)).await.unwrap());
    let third = home.write(&a, "3".into(), When::Unchanged(second)).await.unwrap().unwrap();
    assert!(home.remove(&a, Some(&third)).await.unwrap());
    assert!(!home.remove(&a, Some(&third)).await.unwrap());
    assert_eq!(read(&*home, &a).await, None);
    assert_eq!(home.write(&a, "x".into(), When::Unchanged(third)).await.unwrap(), None);
    // What was removed can be made again, by one.
    let making = (0..8).map(|i| {
        let (home, a) = (Arc::clone(&home), a.clone());
        tokio::spawn(async move {
            home.write(&a, format!("{i}").into(), When::Absent).await.unwrap().is_some()
        })
    });
    let made = futures_util::future::join_all(making.collect::<Vec<_>>()).await;
    assert_eq!(made.into_iter().filter(|made| *made.as_ref().unwrap()).count(), 1);
    counted(home).await;
}

/// Nothing is lost between many that read, change and write.
async fn counted(home: Arc<dyn Home>) {
    let name = name("count");
    home.write(&name, "0".into(), When::Always).await.unwrap().unwrap();
    let counting = (0..4).map(|_| {
        let (home, name) = (Arc::clone(&home), name.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let found = home.read(vec![name.clone()]).await.unwrap().pop().flatten();
                    let found = found.unwrap();
                    let count: u32 = std::str::from_utf8(&found.bytes).unwrap().parse().unwrap();
                    let when = When::Unchanged(found.version);
                    let next = (count + 1).to_string().into();
                    if home.write(&name, next, when).await.unwrap().is_some() {
                        break;
                    }
                }
            }
        })
    });
    for task in counting.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(read(&*home, &name).await.unwrap(), "40");
}

/// Rule R8: pages of every size give the whole list once, in one order.
async fn lists(home: &dyn Home) {
    let folder = "repositories/lists/_tags";
    let mut names: Vec<String> =
        ["0.1.2", "0.1.20", "0.1.3", "B", "a", "_x", "a.b", "a-b"].map(Into::into).into();
    for name in names.iter().chain([&"removed".to_owned()]) {
        home.write(&format!("{folder}/{name}"), "x".into(), When::Always).await.unwrap().unwrap();
    }
    let removed = format!("{folder}/removed");
    let found = home.read(vec![removed.clone()]).await.unwrap().pop().flatten().unwrap();
    assert!(home.remove(&removed, Some(&found.version)).await.unwrap());
    // Neighbours are not in it.
    home.write("repositories/lists/_tagsx/y", "x".into(), When::Always).await.unwrap().unwrap();
    names.sort();
    for count in 1..=names.len() + 1 {
        let (mut found, mut last) = (Vec::new(), String::new());
        loop {
            let page = home.list(folder, &last, count).await.unwrap();
            assert!(page.items.len() == count || !page.more);
            found.extend(page.items);
            if !page.more {
                break;
            }
            last.clone_from(found.last().unwrap());
        }
        assert_eq!(found, names, "{count} at a time");
    }
    assert!(home.list("repositories/none/_tags", "", 9).await.unwrap().items.is_empty());
    let none = home.list(folder, "", 0).await.unwrap();
    assert!(none.items.is_empty() && none.more);
}

async fn repositories(home: &dyn Home) {
    let names = [
        "math",
        "math-voila",
        "math.x",
        "math/a",
        "math/a/b",
        "math0",
        "a",
        "a/b/c/d",
        "a-b",
        "z/z",
        "a_b",
    ];
    let mut names: Vec<String> = names.map(Into::into).into();
    for name in &names {
        let repository: Repository = name.parse().unwrap();
        assert!(!home.has_repository(&repository).await.unwrap(), "{name}");
        home.enrol(&repository).await.unwrap();
        let link = repository.blob(&Digest::sha256(b"")).unwrap();
        home.write(&link, Bytes::new(), When::Always).await.unwrap().unwrap();
        assert!(home.has_repository(&repository).await.unwrap(), "{name}");
        // Also when it has nothing any more.
        assert!(home.remove(&link, None).await.unwrap());
        assert!(home.has_repository(&repository).await.unwrap(), "{name}");
    }
    names.sort();
    for count in 1..=names.len() + 1 {
        let (mut found, mut last) = (Vec::new(), String::new());
        loop {
            let page = home.repositories(&last, count).await.unwrap();
            found.extend(page.items);
            if !page.more {
                break;
            }
            last.clone_from(found.last().unwrap());
        }
        assert_eq!(found, names, "{count} at a time");
    }
}

fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(length)
    .collect()
}

fn wanted(digest: &Digest, links: &[&str], bytes: bool) -> Wanted {
    let links = links.iter().map(|link| (*link).to_owned()).collect();
    Wanted { digest: digest.clone(), links, bytes }
}

async fn content(home: &dyn Home) {
    let mut digests = HashSet::new();
    for (length, algorithm) in [0, 1, 64 << 10, (64 << 10) + 1, 300_000, 5 << 20]
        .into_iter()
        .zip(Algorithm::ALL.iter().cycle())
    {
        let bytes = noise(length, 7);
        let digest = algorithm.digest(&bytes);
        let all = || vec![wanted(&digest, &[], true)];
        assert!(home.look(all()).await.unwrap()[0].is_none());
        for _ in 0..2 {
            home.put(&digest, bytes.clone().into()).await.unwrap();
        }
        let found = home.look(all()).await.unwrap().pop().flatten().unwrap();
        assert_eq!(found.size, length as u64);
        assert!(found.whole(8 << 20).await.unwrap() == bytes, "{length}");
        let length = length as u64;
        for part in [0..length, 0..length / 2, length / 2..length, length.saturating_sub(1)..length]
        {
            let found = home.look(all()).await.unwrap().pop().flatten().unwrap();
            let body = found.body(part.clone()).await.unwrap();
            use http_body_util::BodyExt;
            let body = body.collect().await.unwrap().to_bytes();
            assert!(body == bytes[part.start as usize..part.end as usize], "{part:?} of {length}");
        }
        digests.insert(digest);
    }
    let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
    home.put(&one, "1".into()).await.unwrap();
    let (link, other) = (name("link"), name("other"));
    home.write(&other, "what it says".into(), When::Always).await.unwrap().unwrap();
    let asked = vec![
        wanted(&one, &[&link], false),
        wanted(&one, &[&link, &other], false),
        wanted(&two, &[&other], false),
        wanted(&one, &[], true),
    ];
    let found = home.look(asked).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|found| found.as_ref().map(|found| &found.link[..])).collect();
    assert_eq!(found, [None, Some(&b"what it says"[..]), None, Some(&b""[..])]);
    digests.insert(one);
    let (mut surveyed, mut last) = (HashSet::new(), None);
    loop {
        let page = home.survey(last.as_ref(), 3).await.unwrap();
        last = page.items.last().map(|item| item.digest.clone());
        assert!(page.items.iter().all(|item| item.stamp > 1_700_000_000_000_000_000));
        surveyed.extend(page.items.into_iter().map(|item| item.digest));
        if !page.more {
            break;
        }
    }
    assert_eq!(surveyed, digests);
}

async fn uploads(home: &dyn Home) {
    let repository: Repository = "up/loads".parse().unwrap();
    let id = Uuid::new_v4();
    assert!(home.resume(&repository, id).await.unwrap().is_none());
    assert!(home.uploaded(&repository, id).await.unwrap().is_none());
    drop(home.begin(&repository, id, false).await.unwrap());
    assert_eq!(home.uploaded(&repository, id).await.unwrap(), Some(0));
    assert!(home.resume(&"up".parse().unwrap(), id).await.unwrap().is_none());
    let mut hashing = Some(Hashing::new(Algorithm::Sha256));
    for (text, length) in [("abc", 3), ("", 3), ("defg", 7)] {
        let mut session = home.resume(&repository, id).await.unwrap().unwrap();
        session.write(vec![text.into(), Bytes::new()], &mut hashing).await.unwrap();
        session.pause().await.unwrap();
        assert_eq!(session.length(), length);
        assert_eq!(home.uploaded(&repository, id).await.unwrap(), Some(length));
    }
    let mut session = home.resume(&repository, id).await.unwrap().unwrap();
    session.write(vec!["not this".into()], &mut None).await.unwrap();
    session.undo().await.unwrap();
    session.pause().await.unwrap();
    assert_eq!(home.uploaded(&repository, id).await.unwrap(), Some(7));
    let digest = Digest::sha256(b"abcdefg");
    assert_eq!(hashing.unwrap().finish(), digest);
    let mut session = home.resume(&repository, id).await.unwrap().unwrap();
    assert_eq!(session.hash(Algorithm::Sha256).await.unwrap(), digest);
    session.publish(&digest).await.unwrap();
    assert!(home.resume(&repository, id).await.unwrap().is_none());
    let link = repository.blob(&digest).unwrap();
    let found = home.look(vec![wanted(&digest, &[&link], true)]).await.unwrap().pop().flatten();
    assert_eq!(found.unwrap().whole(9).await.unwrap(), "abcdefg");
    assert!(home.has_repository(&repository).await.unwrap());

    let id = Uuid::new_v4();
    let mut session = home.begin(&repository, id, false).await.unwrap();
    session.write(vec!["x".into()], &mut None).await.unwrap();
    session.discard().await;
    assert!(home.resume(&repository, id).await.unwrap().is_none());
}

async fn large_uploads(home: &dyn Home) {
    let repository: Repository = "large".parse().unwrap();
    let bytes = Bytes::from(noise(21_000_000, 9));
    // s3s-fs has no room for the names of longer digests.
    for (algorithm, single) in [(Algorithm::Sha256, true), (Algorithm::Blake3, false)] {
        let id = Uuid::new_v4();
        let mut hashing = Some(Hashing::new(algorithm));
        let mut session = home.begin(&repository, id, single).await.unwrap();
        for (i, at) in (0..bytes.len()).step_by(1_000_000).enumerate() {
            let chunk = bytes.slice(at..(at + 1_000_000).min(bytes.len()));
            session.write(vec![chunk], &mut hashing).await.unwrap();
            if !single && i % 5 == 4 {
                session.write(vec![bytes.slice(..9_000_000)], &mut None).await.unwrap();
                session.undo().await.unwrap();
                session.pause().await.unwrap();
                let length = (i + 1) as u64 * 1_000_000 - 5_000_000;
                assert_eq!(session.length(), length);
                let again = length as usize;
                session = home.resume(&repository, id).await.unwrap().unwrap();
                session
                    .write(vec![bytes.slice(again..again + 5_000_000)], &mut None)
                    .await
                    .unwrap();
                session.pause().await.unwrap();
                session = home.resume(&repository, id).await.unwrap().unwrap();
            }
        }
        assert_eq!(session.length(), bytes.len() as u64);
        let digest = algorithm.digest(&bytes);
        assert_eq!(hashing.unwrap().finish(), digest);
        if !single {
            session.pause().await.unwrap();
            let mut session = home.resume(&repository, id).await.unwrap().unwrap();
            assert_eq!(session.hash(algorithm).await.unwrap(), digest);
            session.publish(&digest).await.unwrap();
        } else {
            session.publish(&digest).await.unwrap();
        }
        let link = repository.blob(&digest).unwrap();
        let found =
            home.look(vec![wanted(&digest, &[&link], false)]).await.unwrap().pop().flatten();
        assert!(found.unwrap().whole(bytes.len()).await.unwrap() == bytes);
    }
}

/// A session goes from one process to another, and whoever had it before is refused.
async fn in_two_processes(one: &S3Home, two: &S3Home) {
    let repository: Repository = "two".parse().unwrap();
    let bytes = Bytes::from(noise(20_000_000, 11));
    let id = Uuid::new_v4();
    let mut first = one.begin(&repository, id, false).await.unwrap();
    first.write(vec![bytes.slice(..9_000_000)], &mut None).await.unwrap();
    first.pause().await.unwrap();
    let version = first.version().cloned();
    let mut second = two.resume(&repository, id).await.unwrap().unwrap();
    assert_eq!(second.version(), version.as_ref());
    assert_eq!(second.length(), 9_000_000);
    second.write(vec![bytes.slice(9_000_000..)], &mut None).await.unwrap();
    second.pause().await.unwrap();
    assert_ne!(second.version(), version.as_ref());
    // The first one has it no more.
    assert!(first.pause().await.is_err());
    let digest = Digest::sha256(&bytes);
    assert_eq!(second.hash(Algorithm::Sha256).await.unwrap(), digest);
    // Killed before it was published: the next one finds the object complete.
    drop(second);
    let mut third = one.resume(&repository, id).await.unwrap().unwrap();
    assert_eq!(third.hash(Algorithm::Sha256).await.unwrap(), digest);
    third.publish(&digest).await.unwrap();
    let link = repository.blob(&digest).unwrap();
    for home in [one, two] {
        let found =
            home.look(vec![wanted(&digest, &[&link], false)]).await.unwrap().pop().flatten();
        assert!(found.unwrap().whole(bytes.len()).await.unwrap() == bytes);
        assert_eq!(home.repositories("", 9).await.unwrap().items, ["two"]);
    }
}
