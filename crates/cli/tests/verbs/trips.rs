//! What artifacts cost on the wire: how many requests, and which of them wait for others.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conex_testkit::proxy::{Direction, Fault, Place, Proxy, What};

use crate::artifact::{files, within};
use crate::names::layout;
use crate::support::daemon::{DockerRegistry, Registry};
use crate::support::program::Conex;
use crate::support::scratch::Scratch;

const PATIENCE: Duration = Duration::from_secs(60);

fn count(wire: &Proxy, what: &str) -> usize {
    wire.requests().iter().filter(|it| it.starts_with(what)).count()
}

/// Holds the first answer to an upload back until two were begun: who begins them one after the other
/// waits for ever.
fn hold_upload(wire: &Arc<Proxy>) {
    let seen = Arc::clone(wire);
    let wait = move || {
        let start = Instant::now();
        while count(&seen, "POST") < 2 {
            assert!(start.elapsed() < PATIENCE, "{:?}", seen.requests());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wire.add(Fault {
        method: "POST",
        target: "/blobs/uploads/".to_owned(),
        direction: Direction::Down,
        place: Place::Before,
        what: What::Do(Arc::new(wait)),
        times: 1,
    });
}

/// The look at the registry, the look at the subject, both blobs beside each other, the manifest. A
/// registry that has TLS for sure is not looked at.
pub fn an_attachment_takes_four_round_trips() {
    let scratch = Scratch::new("trips");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let image = layout(&scratch, &conex) + ":1.0";
    conex.ok(&["copy", &image, &registry.image("app:1")]);
    let wire = Arc::new(Proxy::start(&registry.address));
    hold_upload(&wire);
    let dir = scratch.folder("files");
    fs::write(dir.join("one"), [7; 1024]).unwrap();
    within(&conex, &dir, &["artifact", "attach", "--to", &wire.image("app:1"), "one"]).ok();
    let requests = wire.requests();
    assert_eq!(wire.happened(), 1);
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert_eq!(requests[..2], ["GET /v2/", "HEAD /v2/app/manifests/1"]);
    assert_eq!(count(&wire, "POST"), 2, "{requests:?}");
    assert!(requests[4].starts_with("PUT /v2/app/manifests/sha256:"), "{requests:?}");
}

/// docker-registry takes no blob in one request, and has no list of referrers: that is one trip for the
/// blobs, and three for the list under a tag, which is read, written and looked at again.
pub fn docker_registry_takes_eight() {
    let scratch = Scratch::new("docker-trips");
    let conex = Conex::new(&scratch);
    let registry = DockerRegistry::start(&scratch, None);
    let image = layout(&scratch, &conex) + ":1.0";
    conex.ok(&["copy", &image, &registry.image("app:1")]);
    let wire = Arc::new(Proxy::start(registry.image("").trim_end_matches('/')));
    hold_upload(&wire);
    let dir = scratch.folder("files");
    fs::write(dir.join("one"), [7; 1024]).unwrap();
    within(&conex, &dir, &["artifact", "attach", "--to", &wire.image("app:1"), "one"]).ok();
    let requests = wire.requests();
    assert_eq!((wire.happened(), requests.len()), (1, 10), "{requests:?}");
    let of = |at: usize| requests[at].split('?').next().unwrap().to_owned();
    assert_eq!([of(0), of(1)], ["GET /v2/", "HEAD /v2/app/manifests/1"]);
    assert_eq!(count(&wire, "POST"), 2, "{requests:?}");
    let uploads = requests.iter().filter(|it| it.starts_with("PUT /v2/app/blobs/uploads/"));
    assert_eq!(uploads.count(), 2, "{requests:?}");
    let list = "/v2/app/manifests/sha256-";
    for (at, expected) in
        [(6, "PUT /v2/app/manifests/sha256:"), (7, "GET "), (8, "PUT "), (9, "GET ")]
    {
        let expected =
            if expected.len() == 4 { format!("{expected}{list}") } else { expected.into() };
        assert!(requests[at].starts_with(&expected), "{at}: {requests:?}");
    }
}

pub fn a_pull_asks_for_nothing_twice() {
    let scratch = Scratch::new("pull-trips");
    let conex = Conex::new(&scratch);
    let (registry, dir) = (Registry::start(&scratch), files(&scratch));
    let push = ["artifact", "push", "notes.md", "report.json", &registry.image("a:1")];
    within(&conex, &dir, &push).ok();
    let wire = Proxy::start(&registry.address);
    let out = scratch.arg("out");
    conex.ok(&["artifact", "pull", &wire.image("a:1"), &out]);
    let requests = wire.requests();
    // The look at the registry, the name, the manifest and the two files.
    assert_eq!(requests.len(), 5, "{requests:?}");
    assert_eq!((count(&wire, "HEAD"), count(&wire, "GET")), (1, 4), "{requests:?}");
    // Files that are there are not asked for at all.
    conex.ok(&["artifact", "pull", &wire.image("a:1"), &out]);
    assert_eq!(wire.requests().len(), 8, "{:?}", wire.requests());
}
