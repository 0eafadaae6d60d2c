//! Docker's registry with a token server that signs real tokens.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::docker::{self, DockerRegistry};
use common::{all, blob, noise, quick, stream};
use conex_client::{Client, Credentials, Domain, LoginProof, Secret};
use conex_spec::Kind;
use conex_store::{Sink, Source, SourceExt};
use conex_testkit::token_server::TokenServer;

const ALICE: (&str, &str) = ("alice", "canary-password");

fn main() -> std::process::ExitCode {
    let cases = [
        docker::case("tokens_pull_push_and_mount", tokens_pull_push_and_mount),
        docker::case("tokens_are_asked_for_together", tokens_are_asked_for_together),
        docker::case("tokens_are_renewed", tokens_are_renewed),
        docker::case("tokens_that_the_registry_finds_ended", tokens_that_the_registry_finds_ended),
        docker::case("tokens_for_a_wrong_password", tokens_for_a_wrong_password),
        docker::case("tokens_for_an_identity_token", tokens_for_an_identity_token),
    ];
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), cases.into()).exit_code()
}

async fn start() -> (TokenServer, DockerRegistry) {
    let server = TokenServer::start(&[ALICE]);
    let registry = DockerRegistry::start_with_tokens(&server).await;
    (server, registry)
}

fn client(registry: &DockerRegistry, password: &str) -> Client {
    let (mut options, _) = quick();
    let password = Secret::new(password);
    options.credentials =
        Credentials::anonymous().with_password(&registry.address, ALICE.0, password, "the test");
    Client::new(options)
}

fn from_file(file: &Path) -> Client {
    let (mut options, _) = quick();
    options.credentials = Credentials::anonymous().with_docker_config(file);
    Client::new(options)
}

async fn tokens_pull_push_and_mount() {
    let (server, registry) = start().await;
    let client = client(&registry, ALICE.1);
    let [from, to] = ["a/from", "b/to"]
        .map(|name| client.repository(&registry.reference(name).parse().unwrap()));
    let bytes = noise(3 << 20);
    let blob = blob(&bytes);
    from.put(&blob, stream(&bytes, 100_000)).await.unwrap();
    assert_eq!(all(from.fetch(&blob).await.unwrap()).await.unwrap(), bytes);
    let scopes: Vec<_> = server.asked().into_iter().flat_map(|asked| asked.scopes).collect();
    assert_eq!(scopes, ["repository:a/from:pull,push"], "reading needs no token of its own");
    assert!(!to.has(&blob).await.unwrap());
    assert!(to.adopt(&blob, &from).await.unwrap(), "mounted");
    assert!(to.has(&blob).await.unwrap());
    let asked = server.asked();
    assert_eq!(asked[0].scopes, ["repository:b/to:pull,push"]);
    assert_eq!(asked[1].scopes, ["repository:b/to:pull,push", "repository:a/from:pull"]);
    assert_eq!(asked.len(), 2);
}

/// A copy within one registry: one token is good for reading here, writing there, and mounting.
async fn tokens_are_asked_for_together() {
    let (server, registry) = start().await;
    let bytes = noise(100_000);
    let blob = blob(&bytes);
    let first = client(&registry, ALICE.1);
    let from = first.repository(&registry.reference("from").parse().unwrap());
    from.put(&blob, stream(&bytes, 10_000)).await.unwrap();
    server.asked();
    for (most_scopes, questions) in [(2, 1), (1, 4)] {
        server.behave(|manners| manners.most_scopes = most_scopes);
        let client = client(&registry, ALICE.1);
        let to = format!("to{most_scopes}");
        let from = client.repository(&registry.reference("from").parse().unwrap()).will_be_read();
        let to = client.repository(&registry.reference(&to).parse().unwrap()).will_be_written();
        let read = (0..4).map(|_| from.open(&blob, 0..10));
        futures_util::future::try_join_all(read).await.unwrap();
        assert!(!to.has(&blob).await.unwrap());
        if most_scopes > 1 {
            assert!(to.adopt(&blob, &from).await.unwrap());
        }
        to.put(&blob, stream(&bytes, 10_000)).await.unwrap();
        let asked = server.asked();
        assert_eq!(asked.len(), questions, "{asked:#?}");
        let expected = if most_scopes > 1 {
            ["repository:from:pull", "repository:to2:pull,push"]
        } else {
            ["repository:from:pull", "repository:to1:pull,push"]
        };
        assert_eq!(asked[0].scopes, expected);
    }
}

/// A token is renewed before it ends, by one question, however many need it.
async fn tokens_are_renewed() {
    let (server, registry) = start().await;
    server.behave(|manners| manners.life = 4);
    let client = client(&registry, ALICE.1);
    let repository = client.repository(&registry.reference("a").parse().unwrap());
    let bytes = noise(1000);
    let blob = blob(&bytes);
    repository.put(&blob, stream(&bytes, 1000)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.asked();
    let reads = (0..8).map(|_| repository.has(&blob));
    assert!(futures_util::future::try_join_all(reads).await.unwrap().iter().all(|has| *has));
    assert_eq!(server.asked().len(), 1, "all share one question");
}

/// The registry has the last word: its clock may be ahead.
async fn tokens_that_the_registry_finds_ended() {
    let (server, registry) = start().await;
    let client = client(&registry, ALICE.1);
    let repository = client.repository(&registry.reference("a").parse().unwrap());
    let bytes = noise(1000);
    let blob = blob(&bytes);
    server.behave(|manners| manners.ended = 1);
    repository.put(&blob, stream(&bytes, 1000)).await.unwrap();
    assert_eq!(server.asked().len(), 2);
    assert_eq!(all(repository.fetch(&blob).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(server.asked().len(), 0);
    server.behave(|manners| manners.ended = usize::MAX);
    let again = self::client(&registry, ALICE.1);
    let again = again.repository(&registry.reference("a").parse().unwrap());
    let err = again.has(&blob).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unauthorized, "{err}");
    assert_eq!(server.asked().len(), 2, "who is always refused gives up");
}

async fn tokens_for_a_wrong_password() {
    let (server, registry) = start().await;
    let mut hints = Vec::new();
    for client in [client(&registry, "canary-wrong"), Client::new(quick().0)] {
        let repository = client.repository(&registry.reference("a").parse().unwrap());
        let err = repository.has(&blob(b"x")).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unauthorized, "{err}");
        assert!(!format!("{err} {err:?}").contains("canary"), "{err:?}");
        hints.push(err.hint_text().unwrap().to_owned());
    }
    assert!(hints[0].starts_with("give another login in the test; "), "{hints:?}");
    assert!(hints[1].contains(&format!("conex login {}", registry.address)), "{hints:?}");
    let asked = server.asked();
    assert_eq!(asked[0].user.as_deref(), Some("alice"));
    assert!(!asked[0].granted);
    let client = client(&registry, "canary-wrong");
    let err = client.repository(&registry.reference("a").parse().unwrap());
    let err = err.has(&blob(b"x")).await.unwrap_err();
    assert_eq!(err.found_value(), Some("the password of user \"alice\" from the test"));
}

/// A login leaves an identity token instead of the password; each time it is used, the next one
/// takes its place in the file.
async fn tokens_for_an_identity_token() {
    let (server, registry) = start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    let domain: Domain = registry.address.parse().unwrap();
    let password = LoginProof::Password { user: "alice".into(), password: Secret::new(ALICE.1) };
    let client = from_file(&file);
    let checked = client.try_login(&domain, &password).await.unwrap();
    assert!(checked.was_asked() && checked.is_identity_token());
    checked.keep(&client.credentials().unwrap(), &file).await.unwrap();
    let text = || std::fs::read_to_string(&file).unwrap();
    let first = text();
    assert!(first.contains("identitytoken") && !first.contains("canary-password"), "{first}");
    server.asked();

    server.behave(|manners| manners.rotates = true);
    for round in 0..3 {
        let before = text();
        let client = from_file(&file);
        let repository = client.repository(&registry.reference("a").parse().unwrap());
        let bytes = noise(1000 + round);
        repository.put(&blob(&bytes), stream(&bytes, 1000)).await.unwrap();
        let asked = server.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].method.as_str(), asked[0].user.as_deref()), ("POST", Some("alice")));
        assert_ne!(text(), before, "the next one is kept");
    }
    let login = from_file(&file).credentials().unwrap().login_for(&domain).await.unwrap().unwrap();
    assert_eq!(login.user.as_deref(), Some("alice"));

    // A server that knows no forms takes it in the place of a password.
    server.behave(|manners| (manners.rotates, manners.takes_forms) = (false, false));
    let before = text();
    let repository = from_file(&file).repository(&registry.reference("a").parse().unwrap());
    let bytes = noise(1000);
    assert!(repository.has(&blob(&bytes)).await.unwrap());
    let methods: Vec<_> = server.asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["POST", "GET"]);
    assert_eq!(text(), before);
    std::fs::write(&file, before.replace("canary-identity", "canary-unknown")).unwrap();
    let repository = from_file(&file).repository(&registry.reference("a").parse().unwrap());
    let err = repository.has(&blob(&bytes)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unauthorized);
    assert!(err.found_value().unwrap().starts_with("the identity token of user \"alice\""));
    assert!(!format!("{err} {err:?}").contains("canary"), "{err:?}");

    // One that is refused is not tried as a password too.
    server.behave(|manners| manners.takes_forms = true);
    server.asked();
    let repository = from_file(&file).repository(&registry.reference("a").parse().unwrap());
    let err = repository.has(&blob(&bytes)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unauthorized);
    let methods: Vec<_> = server.asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["POST"]);
}
