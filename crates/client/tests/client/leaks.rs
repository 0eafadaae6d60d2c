//! Rules C1 to C8 as one matrix: every way by which a registry may lead its client elsewhere ×
//! every secret that a client may hold × every other origin. Each secret holds a word of its own;
//! the servers elsewhere count it in all that reaches them, and so does what the client tells.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::fake::{Fake, Reply, Request, Step, head, reply};
use common::{Notes, blob, noise, quick, stream};
use conex_client::{Client, Credentials, Options, Repository, Secret};
use conex_spec::{Descriptor, Digest, MediaType, Name, Result, Tag};
use conex_store::{Sink, Source, SourceExt};
use futures_util::{StreamExt, TryStreamExt};

const CANARIES: [&str; 4] =
    ["canary-password", "Ym9iOmNhbmFyeS1wYXNzd29yZA==", "canary-identity", "canary-token"];
/// How many cells are tried at a time.
const AT_ONCE: usize = 12;

/// A blob that is worth several connections where it comes slowly.
static LARGE: LazyLock<bytes::Bytes> = LazyLock::new(|| noise(5 << 20));

/// What the client knows of the registry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Login {
    /// A password that each request carries.
    Basic,
    /// A password that a token is given for.
    Password,
    /// An identity token that a token is given for.
    Identity,
    /// Only the token that everybody is given.
    Anonymous,
}

const LOGINS: [Login; 4] = [Login::Basic, Login::Password, Login::Identity, Login::Anonymous];

/// In what the place that the registry leads to differs from its own, which is 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Elsewhere {
    Port,
    Name,
    Address,
    Family,
}

const ELSEWHERE: [Elsewhere; 4] =
    [Elsewhere::Port, Elsewhere::Name, Elsewhere::Address, Elsewhere::Family];

/// What the client is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Resolve,
    ReadManifest,
    ReadBlob,
    /// A large blob, whose pieces are asked for where its beginning came from.
    ReadPieces,
    ListTags,
    ListReferrers,
    PutBlob,
    PutChunks,
    PutManifest,
    Mount,
    Untag,
}

const ACTS: [Act; 11] = [
    Act::Resolve,
    Act::ReadManifest,
    Act::ReadBlob,
    Act::ReadPieces,
    Act::ListTags,
    Act::ListReferrers,
    Act::PutBlob,
    Act::PutChunks,
    Act::PutManifest,
    Act::Mount,
    Act::Untag,
];

/// How the registry leads elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Every request of this repository is redirected.
    Redirect(u16),
    /// The same with a user in the URL.
    RedirectWithUser,
    /// The same with no scheme in the URL.
    RedirectWithoutScheme,
    /// The next page of a list.
    NextPage,
    /// Where an upload goes on.
    Upload,
    /// The token server.
    Realm,
    /// A redirect of the token server.
    TokenRedirect(u16),
}

/// What the server there says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Greeting {
    Content,
    WantsBasic,
    WantsBearer,
    LeadsOn,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    act: Act,
    way: Way,
    greeting: Greeting,
    login: Login,
    elsewhere: Elsewhere,
}

fn cells() -> Vec<Cell> {
    let mut ways = Vec::new();
    for act in ACTS {
        let redirects = [301, 302, 303, 307, 308].map(Way::Redirect);
        ways.extend(redirects.map(|way| (act, way, Greeting::Content)));
        for greeting in [Greeting::WantsBasic, Greeting::WantsBearer, Greeting::LeadsOn] {
            ways.push((act, Way::Redirect(307), greeting));
        }
        ways.push((act, Way::RedirectWithUser, Greeting::Content));
        ways.push((act, Way::RedirectWithoutScheme, Greeting::WantsBasic));
        ways.push((act, Way::Realm, Greeting::Content));
    }
    for status in [301, 302, 303, 307, 308] {
        ways.push((Act::ReadBlob, Way::TokenRedirect(status), Greeting::Content));
    }
    for greeting in [Greeting::Content, Greeting::WantsBasic, Greeting::WantsBearer] {
        let lists = [Act::ListTags, Act::ListReferrers];
        ways.extend(lists.map(|act| (act, Way::NextPage, greeting)));
        let uploads = [Act::PutBlob, Act::PutChunks, Act::Mount];
        ways.extend(uploads.map(|act| (act, Way::Upload, greeting)));
    }
    let mut cells = Vec::new();
    for (act, way, greeting) in ways {
        for login in LOGINS {
            for elsewhere in ELSEWHERE {
                // A token server on the registry's own host may see its password, whatever the
                // port; and where there is no token there is no token server.
                let of_tokens = matches!(way, Way::Realm | Way::TokenRedirect(_));
                let own = elsewhere == Elsewhere::Port || login == Login::Basic;
                if !(of_tokens && own) {
                    cells.push(Cell { act, way, greeting, login, elsewhere });
                }
            }
        }
    }
    cells
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks() {
    let cells = cells();
    assert!(cells.len() >= 1600, "{} cells", cells.len());
    let outcomes: Vec<(Cell, Reached)> = futures_util::stream::iter(cells)
        .map(|cell| async move { (cell, try_cell(cell).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // What nobody reaches proves nothing: every way, act and place leads elsewhere in some cell,
    // but for the lists, which never leave the registry.
    let reached: Vec<_> = outcomes.iter().filter(|(_, reached)| reached.at_all).collect();
    assert!(outcomes.iter().filter(|(_, reached)| reached.for_pieces).count() > ELSEWHERE.len());
    assert!(reached.len() * 2 > outcomes.len(), "{} of {}", reached.len(), outcomes.len());
    let names = |of: fn(&Cell) -> String| -> BTreeSet<String> {
        reached.iter().map(|(cell, _)| of(cell)).collect()
    };
    assert_eq!(names(|cell| format!("{:?}", cell.elsewhere)).len(), ELSEWHERE.len());
    assert_eq!(names(|cell| format!("{:?}", cell.login)).len(), LOGINS.len());
    assert_eq!(names(|cell| format!("{:?}", cell.act)).len(), ACTS.len());
    let ways = names(|cell| format!("{:?}", cell.way));
    assert!(!ways.contains("NextPage"), "{ways:?}");
    assert!(ways.contains("Upload") && ways.contains("RedirectWithUser"), "{ways:?}");
}

/// Whether the other server was asked anything, and whether for a piece without the registry's word.
struct Reached {
    at_all: bool,
    for_pieces: bool,
}

async fn try_cell(cell: Cell) -> Reached {
    let last = Fake::start_at("127.0.0.3", |_| reply(200, &[], "x")).await;
    let foreign = foreign(cell, last.url("/on")).await;
    let there = match cell.elsewhere {
        Elsewhere::Name => foreign.address.replace("127.0.0.1", "localhost"),
        _ => foreign.address.clone(),
    };
    let tokens = tokens(cell, &there).await;
    let realm = match cell.way {
        Way::Realm => format!("http://{there}/token"),
        _ => tokens.url("/token"),
    };
    let registry = registry(cell, realm, there).await;
    let (options, notes, _dir) = logged_in(cell.login, &registry.address);
    let told = act(cell.act, options, &registry).await;
    for elsewhere in [&foreign, &last] {
        for canary in CANARIES {
            assert_eq!(elsewhere.count(canary), 0, "{cell:?}: {canary}: {:?}", elsewhere.seen());
        }
        assert_eq!(elsewhere.count("authorization"), 0, "{cell:?}: {:?}", elsewhere.seen());
    }
    let told = format!("{told:?} {}", notes.everything().concat());
    for canary in CANARIES {
        assert!(!told.contains(canary), "{cell:?}: {canary}: {told}");
    }
    holds_the_secret(cell, &registry, &tokens);
    let pieces = |fake: &Fake| fake.seen().iter().filter(|asked| asked.range().is_some()).count();
    let for_pieces = pieces(&foreign) > pieces(&registry);
    Reached { at_all: !foreign.seen().is_empty(), for_pieces }
}

/// The secret is spelled as it is sent, or no count of it would mean anything.
fn holds_the_secret(cell: Cell, registry: &Fake, tokens: &Fake) {
    let sent = |fake: &Fake, canary: &str| assert!(fake.count(canary) > 0, "{cell:?}: no {canary}");
    match cell.login {
        Login::Basic => sent(registry, CANARIES[1]),
        _ if matches!(cell.way, Way::Realm) => {}
        Login::Password => sent(tokens, CANARIES[1]),
        Login::Identity => sent(tokens, CANARIES[2]),
        Login::Anonymous => {}
    }
    if cell.login != Login::Basic && !matches!(cell.way, Way::Realm | Way::TokenRedirect(_)) {
        sent(registry, CANARIES[3]);
    }
}

/// A server that has no business with any secret.
async fn foreign(cell: Cell, on: String) -> Fake {
    let ip = match cell.elsewhere {
        Elsewhere::Port | Elsewhere::Name => "127.0.0.1",
        Elsewhere::Address => "127.0.0.2",
        Elsewhere::Family => "::1",
    };
    Fake::start_at(ip, move |request| match cell.greeting {
        _ if cell.act == Act::ReadPieces && request.range().is_none() => slowly(&LARGE),
        Greeting::Content if cell.act == Act::ReadPieces => {
            let (first, last) = request.range().unwrap();
            let range = format!("Content-Range: bytes {first}-{last}/{}", LARGE.len());
            reply(206, &[&range], &LARGE[first..=last])
        }
        Greeting::Content => reply(200, &["Location: /again"], r#"{"token":"of elsewhere"}"#),
        Greeting::WantsBasic => reply(401, &["WWW-Authenticate: Basic realm=\"r\""], ""),
        Greeting::WantsBearer => {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{on}\",service=\"r\"");
            reply(401, &[&challenge], "")
        }
        Greeting::LeadsOn => reply(307, &[&format!("Location: {on}")], ""),
    })
    .await
}

/// As over a slow connection.
fn slowly(bytes: &[u8]) -> Reply {
    let length = format!("Content-Length: {}", bytes.len());
    let mut steps = vec![Step::Send(head(200, &[&length]))];
    for piece in bytes.chunks(128 << 10) {
        steps.extend([Step::Send(piece.to_vec()), Step::Wait(Duration::from_millis(5))]);
    }
    steps
}

async fn tokens(cell: Cell, there: &str) -> Fake {
    let location = format!("Location: http://{there}/token");
    Fake::start(move |_| match cell.way {
        Way::TokenRedirect(status) => reply(status, &[&location], ""),
        _ => reply(200, &[], r#"{"token":"canary-token"}"#),
    })
    .await
}

/// A registry that lets in who is logged in, and then leads elsewhere.
async fn registry(cell: Cell, realm: String, there: String) -> Fake {
    let challenge = match cell.login {
        Login::Basic => "WWW-Authenticate: Basic realm=\"r\"".to_owned(),
        _ => format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\""),
    };
    Fake::start(move |request| match request.header("authorization") {
        None => reply(401, &[&challenge], ""),
        Some(_) if request.target == "/v2/" => Reply::new(),
        Some(_) => lead(cell.way, &there, request),
    })
    .await
}

fn lead(way: Way, there: &str, request: &Request) -> Reply {
    let to = |url: String| format!("Location: {url}/x?y=z");
    match way {
        Way::Redirect(status) => reply(status, &[&to(format!("http://{there}"))], ""),
        Way::RedirectWithUser => reply(307, &[&to(format!("http://eve:x@{there}"))], ""),
        Way::RedirectWithoutScheme => reply(307, &[&to(format!("//{there}"))], ""),
        Way::NextPage => {
            let link = format!("Link: <http://{there}/v2/a/tags/list?last=b>; rel=\"next\"");
            let index = "Content-Type: application/vnd.oci.image.index.v1+json";
            let body = r#"{"schemaVersion":2,"manifests":[],"tags":["b"]}"#;
            reply(200, &[&link, index], body)
        }
        Way::Upload => match request.method.as_str() {
            "HEAD" => reply(404, &[], ""),
            _ => reply(202, &[&to(format!("http://{there}"))], ""),
        },
        Way::Realm | Way::TokenRedirect(_) => reply(404, &[], ""),
    }
}

fn logged_in(login: Login, address: &str) -> (Options, Arc<Notes>, tempfile::TempDir) {
    let (mut options, notes) = quick();
    let dir = tempfile::tempdir().unwrap();
    options.credentials = match login {
        Login::Basic | Login::Password => Credentials::anonymous().with_password(
            address,
            "bob",
            Secret::new("canary-password"),
            "the test",
        ),
        Login::Identity => {
            let config = dir.path().join("config.json");
            let text = r#"{"auths":{"ADDRESS":{"auth":"","identitytoken":"canary-identity"}}}"#;
            std::fs::write(&config, text.replace("ADDRESS", address)).unwrap();
            Credentials::anonymous().with_docker_config(&config)
        }
        Login::Anonymous => Credentials::anonymous(),
    };
    (options, notes, dir)
}

/// Does it, and says whatever comes of it.
async fn act(act: Act, mut options: Options, registry: &Fake) -> Result<String> {
    if act == Act::PutChunks {
        options.chunk_size = Some(400);
    }
    options.parallel.patience = Duration::from_millis(20);
    let client = Client::new(options);
    let here = client.repository(&registry.reference("a").parse().unwrap());
    let other = client.repository(&registry.reference("b").parse().unwrap());
    let bytes = noise(1000);
    let layer = blob(&bytes);
    let done = do_it(act, &here, &other, &layer, bytes).await;
    done.map(|what| format!("{what} {client:?} {here:?}"))
}

async fn do_it(
    act: Act,
    here: &Repository,
    other: &Repository,
    layer: &Descriptor,
    bytes: bytes::Bytes,
) -> Result<String> {
    let tag = Tag::new("v1")?;
    let manifest =
        bytes::Bytes::from_static(br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#);
    let root = Descriptor::of(MediaType::INDEX, &manifest);
    match act {
        Act::Resolve => here.resolve(Some(&Name::Tag(tag))).await.map(|root| format!("{root:?}")),
        Act::ReadManifest => here.read(&root).await.map(|bytes| format!("{bytes:?}")),
        Act::ReadBlob => {
            let read: Vec<_> = here.fetch(layer).await?.try_collect().await?;
            Ok(format!("{} chunks", read.len()))
        }
        Act::ReadPieces => {
            let read: Vec<_> = here.fetch(&blob(&LARGE)).await?.try_collect().await?;
            Ok(format!("{} chunks", read.len()))
        }
        Act::ListTags => {
            let tags: Vec<Tag> = here.tags().try_collect().await?;
            Ok(format!("{tags:?}"))
        }
        Act::ListReferrers => {
            let subject = Digest::sha256(b"subject");
            here.referrers(&subject).await.map(|found| format!("{found:?}"))
        }
        Act::PutBlob | Act::PutChunks => {
            here.put(layer, stream(&bytes, 100)).await.map(|()| String::new())
        }
        Act::PutManifest => here.put(&root, stream(&manifest, 100)).await.map(|()| String::new()),
        Act::Mount => here.adopt(layer, other).await.map(|taken| taken.to_string()),
        Act::Untag => here.untag(&tag).await.map(|()| String::new()),
    }
}
