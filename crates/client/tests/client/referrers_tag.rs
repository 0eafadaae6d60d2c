//! The list of referrers under a tag, while other clients change it too. distribution-spec,
//! "Referrers Tag Schema".
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::fake::{Fake, Reply, Request, bare, reply};
use common::{quick, repository, stream};
use conex_client::{Options, Repository, Uploads};
use conex_spec::{Descriptor, Digest, Document, ImageIndex, ImageManifest, Kind, MediaType};
use conex_store::{Sink, Source};

/// A registry without the referrers API, which keeps what is put into it. `meddle` is told of every
/// write of the list, with the list before and after it and its number, and returns what is there
/// in the end.
struct World {
    list: Mutex<Option<Vec<Descriptor>>>,
    /// Manifests that were deleted by someone else.
    gone: Mutex<Vec<Digest>>,
    conditions: Conditions,
    writes: Mutex<usize>,
    meddle: Box<Meddle>,
}

type Meddle = dyn Fn(usize, &[Descriptor], Vec<Descriptor>) -> Vec<Descriptor> + Send + Sync;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Conditions {
    /// No ETag, and `If-Match` is not looked at.
    None,
    Heeded,
    /// An ETag is told, but every condition is refused.
    Refused,
}

impl World {
    fn answer(&self, request: &Request, tag: &str) -> Reply {
        let digest = request.target.rsplit('/').next().unwrap();
        match (request.method.as_str(), request.target.ends_with(tag)) {
            (_, _) if request.target.contains("/referrers/") => reply(404, &[], ""),
            ("GET", true) => match &*self.list.lock().unwrap() {
                None => reply(404, &[], ""),
                Some(list) => {
                    let bytes = bytes(list);
                    let etag = format!("ETag: \"{}\"", Digest::sha256(&bytes));
                    let told = self.conditions != Conditions::None;
                    let headers = [INDEX, if told { &etag } else { "X: y" }];
                    reply(200, &headers, &bytes)
                }
            },
            ("PUT", true) => self.write(request),
            ("HEAD", false) => {
                let gone = self.gone.lock().unwrap().iter().any(|known| known.as_str() == digest);
                bare(if gone { 404 } else { 200 }, &[])
            }
            ("PUT", false) => reply(201, &[], ""),
            ("DELETE", _) => reply(202, &[], ""),
            _ => reply(404, &[], ""),
        }
    }

    fn write(&self, request: &Request) -> Reply {
        let mut list = self.list.lock().unwrap();
        let before = list.clone();
        let holds = match (request.header("if-match"), request.header("if-none-match")) {
            (Some(etag), _) => before
                .as_ref()
                .is_some_and(|list| etag.contains(Digest::sha256(&bytes(list)).as_str())),
            (None, Some(_)) => before.is_none(),
            (None, None) => true,
        };
        let conditional = request.header("if-match").or(request.header("if-none-match")).is_some();
        match self.conditions {
            Conditions::Refused if conditional => return reply(412, &[], ""),
            Conditions::Heeded if !holds => return reply(412, &[], ""),
            _ => {}
        }
        let new = Document::<ImageIndex>::parse(request.body.clone()).unwrap().into_value();
        let mut writes = self.writes.lock().unwrap();
        *writes += 1;
        *list = Some((self.meddle)(*writes, &before.unwrap_or_default(), new.manifests));
        reply(201, &[], "")
    }
}

const INDEX: &str = "Content-Type: application/vnd.oci.image.index.v1+json";

fn bytes(list: &[Descriptor]) -> Bytes {
    Document::new(ImageIndex::new(list.to_vec())).unwrap().bytes().clone()
}

fn subject() -> Descriptor {
    let manifest = ImageManifest::new(Descriptor::empty(), vec![]);
    Document::new(manifest).unwrap().descriptor(MediaType::MANIFEST)
}

/// A referrer of the subject, told from others by its annotation.
fn referrer(name: &str) -> (Descriptor, Bytes) {
    let mut manifest = ImageManifest::new(Descriptor::empty(), vec![]);
    manifest.subject = Some(subject());
    manifest.artifact_type = Some(MediaType::new("a/x"));
    manifest.annotations.insert("name".into(), name.into());
    let document = Document::new(manifest).unwrap();
    (document.descriptor(MediaType::MANIFEST), document.bytes().clone())
}

async fn world(
    list: Option<&[&str]>,
    conditions: Conditions,
    meddle: impl Fn(usize, &[Descriptor], Vec<Descriptor>) -> Vec<Descriptor> + Send + Sync + 'static,
) -> (Repository, Arc<World>, Fake) {
    let list = list.map(|names| names.iter().map(|name| referrer(name).0).collect());
    let world = Arc::new(World {
        list: Mutex::new(list),
        gone: Mutex::default(),
        conditions,
        writes: Mutex::default(),
        meddle: Box::new(meddle),
    });
    let tag = subject().digest.referrers_tag();
    let served = world.clone();
    let fake = Fake::start(move |request| {
        if request.target == "/v2/" { reply(200, &[], "") } else { served.answer(request, &tag) }
    })
    .await;
    (repository(quick().0, &fake.reference("a")), world, fake)
}

async fn put(to: &Repository, name: &str) -> conex_spec::Result<()> {
    let (root, bytes) = referrer(name);
    to.put(&root, stream(&bytes, 100)).await
}

/// The names of those that are listed, sorted.
async fn listed(source: &Repository, names: &[&str]) -> Vec<String> {
    let found = source.referrers(&subject().digest).await.unwrap();
    let of = |entry: &Descriptor| {
        let known = names.iter().find(|name| referrer(name).0.digest == entry.digest);
        known.map_or("?", |name| *name).to_owned()
    };
    let mut names: Vec<_> = found.iter().map(of).collect();
    names.sort();
    names
}

/// Another client read the list before ours was in it, and writes its own over it.
#[tokio::test]
async fn a_lost_update_is_made_again() {
    let meddle = |write, before: &[Descriptor], ours: Vec<Descriptor>| match write {
        1 => [before, &[referrer("theirs").0]].concat(),
        _ => ours,
    };
    for start in [None, Some(&["old"][..])] {
        let (repository, world, _) = world(start, Conditions::None, meddle).await;
        put(&repository, "ours").await.unwrap();
        let expected = [start.unwrap_or_default(), &["ours", "theirs"]].concat();
        let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(listed(&repository, &["old", "ours", "theirs"]).await, expected);
        assert_eq!(*world.writes.lock().unwrap(), 2);
    }
}

/// Someone throws away what we saw in the list; it comes back, but for what was deleted for good.
#[tokio::test]
async fn what_was_seen_in_the_list_stays_in_it() {
    let meddle = |write, _: &[Descriptor], ours: Vec<Descriptor>| match write {
        1 => vec![referrer("theirs").0],
        _ => ours,
    };
    let (repository, world, _) = world(Some(&["old", "dead"]), Conditions::None, meddle).await;
    world.gone.lock().unwrap().push(referrer("dead").0.digest);
    put(&repository, "ours").await.unwrap();
    let names = ["old", "ours", "theirs", "dead"];
    assert_eq!(listed(&repository, &names).await, ["old", "ours", "theirs"]);
}

/// Where conditions are heeded, nothing is overwritten that was not read.
#[tokio::test]
async fn conditions_prevent_lost_updates() {
    for start in [None, Some(&["old"][..])] {
        let (repository, world, fake) = world(start, Conditions::Heeded, |_, _, ours| ours).await;
        put(&repository, "ours").await.unwrap();
        let condition = if start.is_some() { "if-match:" } else { "if-none-match: *" };
        assert_eq!(fake.count(condition), 1, "{:?}", fake.lines());
        assert_eq!(*world.writes.lock().unwrap(), 1);
    }
}

/// A registry that refuses every condition is written to without one.
#[tokio::test]
async fn a_condition_that_never_holds_is_dropped() {
    for start in [None, Some(&["old"][..])] {
        let (repository, world, _) = world(start, Conditions::Refused, |_, _, ours| ours).await;
        put(&repository, "ours").await.unwrap();
        assert!(listed(&repository, &["old", "ours"]).await.contains(&"ours".into()));
        assert_eq!(*world.writes.lock().unwrap(), 1);
    }
}

/// Someone who never stops is told of, and nothing runs for ever.
#[tokio::test]
async fn a_list_that_never_keeps_still_is_a_conflict() {
    let meddle = |_, before: &[Descriptor], _: Vec<Descriptor>| before.to_vec();
    let (repository, world, _) = world(Some(&["old"]), Conditions::None, meddle).await;
    assert_eq!(put(&repository, "ours").await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(*world.writes.lock().unwrap(), 10);
}

#[tokio::test]
async fn two_of_our_own_do_not_meet() {
    let (repository, ..) = world(None, Conditions::None, |_, _, ours| ours).await;
    let names: Vec<String> = (0..8).map(|i| format!("r{i}")).collect();
    let puts = names.iter().map(|name| put(&repository, name));
    for done in futures_util::future::join_all(puts).await {
        done.unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(listed(&repository, &names).await, names);
}

/// distribution-spec, "Deleting Manifests".
#[tokio::test]
async fn a_deleted_referrer_leaves_the_list() {
    let handler = |(root, bytes): (Descriptor, Bytes)| {
        let list = Mutex::new(vec![referrer("old").0, root.clone()]);
        move |request: &Request| {
            let mut list = list.lock().unwrap();
            let tag = subject().digest.referrers_tag();
            match (request.method.as_str(), request.target.rsplit('/').next().unwrap()) {
                ("GET", last) if last == tag => reply(200, &[INDEX], self::bytes(&list)),
                ("GET", last) if last == root.digest.as_str() => reply(200, &[], &bytes),
                ("PUT", last) if last == tag => {
                    let new = Document::<ImageIndex>::parse(request.body.clone()).unwrap();
                    *list = new.into_value().manifests;
                    reply(201, &[], "")
                }
                ("DELETE", _) => reply(202, &[], ""),
                _ => reply(404, &[], ""),
            }
        }
    };
    let fake = Fake::start(handler(referrer("ours"))).await;
    let repository = repository(quick().0, &fake.reference("a"));
    repository.delete_manifest(&referrer("ours").0).await.unwrap();
    assert_eq!(listed(&repository, &["old", "ours"]).await, ["old"]);
}

/// A registry that cannot say whether it keeps lists is not taken for one without: nothing is deleted
/// that would stay in a list, and no list is thrown away.
#[tokio::test]
async fn who_cannot_tell_about_referrers_loses_nothing() {
    for status in [403, 500] {
        let (root, bytes) = referrer("ours");
        let fake = Fake::start(move |request| {
            let last = request.target.rsplit('/').next().unwrap();
            match (request.method.as_str(), last) {
                _ if request.target.contains("/referrers/") => reply(status, &[], ""),
                ("GET", last) if last == root.digest.as_str() => reply(200, &[], &bytes),
                ("GET", last) if last == subject().digest.referrers_tag() => {
                    reply(200, &[INDEX], self::bytes(&[referrer("old").0]))
                }
                _ => reply(202, &[], ""),
            }
        })
        .await;
        let repository = repository(quick().0, &fake.reference("a"));
        repository.delete_manifest(&referrer("ours").0).await.unwrap_err();
        repository.forget_referrers(&subject().digest).await.unwrap_err();
        let lines = fake.lines();
        assert!(!lines.iter().any(|line| line.starts_with("DELETE")), "{status}: {lines:?}");
    }
}

/// Clients that know nothing of each other but, where they share a machine, a folder.
async fn many_at_once(folder: Option<&std::path::Path>) -> (usize, usize) {
    let (_, world, fake) = world(Some(&["old"]), Conditions::None, |_, _, ours| ours).await;
    let names: Vec<String> = (0..8).map(|i| format!("r{i}")).collect();
    let clients: Vec<_> = names
        .iter()
        .map(|_| {
            let uploads = folder.map(|dir| Uploads { folder: dir.join("uploads"), before: 0 });
            repository(Options { uploads, ..quick().0 }, &fake.reference("a"))
        })
        .collect();
    let puts = clients.iter().zip(&names).map(|(client, name)| put(client, name));
    for done in futures_util::future::join_all(puts).await {
        done.unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let listed = listed(&clients[0], &[&["old"][..], &names].concat()).await.len();
    let writes = *world.writes.lock().unwrap();
    (listed, writes)
}

/// Nobody's entry is lost, and on one machine none is even written twice.
#[tokio::test]
async fn many_processes_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(many_at_once(Some(dir.path())).await, (9, 8));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left lying");
    assert_eq!(many_at_once(None).await.0, 9);
}

/// Someone who read the list early writes it late, after it was looked at and found good.
#[tokio::test]
async fn who_sees_others_write_looks_again() {
    let late = Arc::new(Mutex::new(0));
    let seen = late.clone();
    let meddle = |write, _: &[Descriptor], ours: Vec<Descriptor>| match write {
        1 => vec![referrer("old").0, referrer("theirs").0],
        _ => ours,
    };
    let (_, world, fake) = world(Some(&["old"]), Conditions::None, meddle).await;
    let laggard = world.clone();
    let tag = subject().digest.referrers_tag();
    let between = Fake::start(move |request| {
        if request.target == "/v2/" {
            return reply(200, &[], "");
        }
        let answer = laggard.answer(request, &tag);
        let mut looks = seen.lock().unwrap();
        if request.method == "GET" && request.target.ends_with(&tag) {
            *looks += 1;
            // The third look found all of it.
            if *looks == 3 {
                *laggard.list.lock().unwrap() = Some(vec![referrer("old").0, referrer("late").0]);
            }
        }
        answer
    })
    .await;
    drop(fake);
    let repository = repository(quick().0, &between.reference("a"));
    put(&repository, "ours").await.unwrap();
    let names = ["old", "ours", "theirs", "late"];
    assert_eq!(listed(&repository, &names).await, ["late", "old", "ours", "theirs"]);
}
