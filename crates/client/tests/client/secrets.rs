//! Rules C1 to C6 and C8: no secret leaves the origin that it belongs to. Every secret here is a
//! word of its own, and every server counts it.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use common::fake::{Fake, Reply, Request, reply};
use common::{all, blob, noise, quick, repository, stream};
use conex_client::{Client, Credentials, Options, Secret};
use conex_spec::{Kind, Result};
use conex_store::{Sink, Source, SourceExt};

const PASSWORD: &str = "canary-password";
/// `bob:canary-password`.
const BASIC: &str = "Ym9iOmNhbmFyeS1wYXNzd29yZA==";
const TOKEN: &str = "canary-token";

fn logged_in(address: &str) -> Options {
    let (mut options, _) = quick();
    options.credentials =
        Credentials::anonymous().with_password(address, "bob", Secret::new(PASSWORD), "the test");
    options
}

/// A registry that wants a token from `realm` and then answers with `handler`.
async fn registry(
    realm: String,
    handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Fake {
    Fake::start(move |request| {
        if request.header("authorization") == Some(&format!("Bearer {TOKEN}")) {
            return handler(request);
        }
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\",scope=\"repository:a:pull\""
        );
        reply(401, &[&challenge], "")
    })
    .await
}

async fn token_server() -> Fake {
    Fake::start(|_| reply(200, &[], format!(r#"{{"token":"{TOKEN}"}}"#))).await
}

fn no_secret(fake: &Fake) {
    for secret in [PASSWORD, BASIC, TOKEN] {
        assert_eq!(fake.count(secret), 0, "{secret}: {:?}", fake.seen());
    }
}

async fn read(fake: &Fake, bytes: &[u8]) -> Result<Vec<u8>> {
    let repository = repository(logged_in(&fake.address), &fake.reference("a"));
    all(repository.fetch(&blob(bytes)).await?).await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept() {
    let bytes = noise(1000);
    let tokens = token_server().await;
    let served = bytes.clone();
    let fake = registry(tokens.url("/token"), move |_| reply(200, &[], &served)).await;
    let repository = repository(logged_in(&fake.address), &fake.reference("a"));
    let blob = blob(&bytes);
    let reads =
        (0..8).map(|_| async { all(repository.fetch(&blob).await.unwrap()).await.unwrap() });
    for read in futures_util::future::join_all(reads).await {
        assert_eq!(read, bytes);
    }
    assert_eq!(tokens.lines(), ["GET /token?service=r&scope=repository%3Aa%3Apull"]);
    assert_eq!(tokens.seen()[0].header("authorization"), Some(format!("Basic {BASIC}").as_str()));
    assert_eq!(fake.count(BASIC), 0);
    assert_eq!(fake.seen().len(), 8, "no request was sent in vain");
}

/// Rules C1 and C2: neither another host nor another port sees anything, and its 401 starts nothing.
#[tokio::test]
async fn redirects_carry_no_secret() {
    let bytes = noise(1000);
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let served = bytes.clone();
        let elsewhere = Fake::start_at(ip, move |_| reply(200, &[], &served)).await;
        let tokens = token_server().await;
        let location = format!("Location: {}", elsewhere.url("/x"));
        let fake = registry(tokens.url("/token"), move |_| reply(307, &[&location], "")).await;
        assert_eq!(read(&fake, &bytes).await.unwrap(), bytes);
        no_secret(&elsewhere);
        assert_eq!(elsewhere.seen().len(), 1);

        let greedy =
            Fake::start_at(ip, |_| reply(401, &["WWW-Authenticate: Basic realm=x"], "")).await;
        let location = format!("Location: {}", greedy.url("/x"));
        let fake = registry(tokens.url("/token"), move |_| reply(307, &[&location], "")).await;
        let err = read(&fake, &bytes).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unauthorized, "{err}");
        no_secret(&greedy);
        assert_eq!(greedy.seen().len(), 1);
    }
}

/// A redirect that comes back to the registry does not carry the login any more.
#[tokio::test]
async fn a_redirect_does_not_come_back_with_a_secret() {
    let tokens = token_server().await;
    let back = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let to = back.clone();
    let elsewhere = Fake::start_at("127.0.0.2", move |_| {
        reply(307, &[&format!("Location: {}", to.lock().unwrap())], "")
    })
    .await;
    let location = format!("Location: {}", elsewhere.url("/x"));
    let fake = registry(tokens.url("/token"), move |_| reply(307, &[&location], "")).await;
    *back.lock().unwrap() = fake.url("/v2/a/blobs/secret");
    assert!(read(&fake, b"x").await.is_err());
    let last =
        fake.seen().into_iter().rfind(|request| request.target.ends_with("/secret")).unwrap();
    assert_eq!(last.header("authorization"), None);
    no_secret(&elsewhere);
}

/// Rule C3.
#[tokio::test]
async fn realms_that_must_not_be_asked() {
    let elsewhere = Fake::start_at("127.0.0.2", |_| reply(200, &[], r#"{"token":"x"}"#)).await;
    for realm in [
        elsewhere.url("/token"),
        "http://169.254.169.254/latest".into(),
        "http://0.0.0.0/".into(),
        "http://[::ffff:169.254.169.254]/".into(),
        "file:///etc/passwd".into(),
        "not a url".into(),
    ] {
        let fake = registry(realm.clone(), |_| reply(200, &[], "")).await;
        let err = read(&fake, b"x").await.unwrap_err();
        assert!(matches!(err.kind(), Kind::Denied | Kind::Invalid), "{realm}: {err}");
        assert!(!err.to_string().contains(PASSWORD));
    }
    no_secret(&elsewhere);
    assert!(elsewhere.seen().is_empty());
}

/// Without a password another domain may be asked, and with one if the program allows it.
#[tokio::test]
async fn realms_elsewhere_get_no_password_unless_allowed() {
    let bytes = noise(10);
    let tokens = Fake::start_at("127.0.0.2", |_| {
        reply(200, &[], format!(r#"{{"access_token":"{TOKEN}"}}"#))
    })
    .await;
    let served = bytes.clone();
    let fake = registry(tokens.url("/token"), move |_| reply(200, &[], &served)).await;
    let (options, _) = quick();
    let anonymous = repository(options, &fake.reference("a"));
    assert_eq!(all(anonymous.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(tokens.count("authorization"), 0);
    let mut options = logged_in(&fake.address);
    options.token_servers = vec![(fake.address.clone(), "127.0.0.2".into())];
    let allowed = repository(options, &fake.reference("a"));
    assert_eq!(all(allowed.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(tokens.count(BASIC), 1);
}

/// Rule C4.
#[tokio::test]
async fn token_servers_cannot_redirect_a_password() {
    let elsewhere = Fake::start_at("127.0.0.2", |_| reply(200, &[], r#"{"token":"x"}"#)).await;
    for location in [elsewhere.url("/t"), "http://169.254.169.254/".into(), "file:///x".into()] {
        let header = format!("Location: {location}");
        let tokens = Fake::start(move |_| reply(302, &[&header], "")).await;
        let fake = registry(tokens.url("/token"), |_| reply(200, &[], "")).await;
        assert!(read(&fake, b"x").await.is_err());
    }
    no_secret(&elsewhere);
    let endless =
        Fake::start(|request| reply(302, &[&format!("Location: {}x", request.target)], "")).await;
    let fake = registry(endless.url("/token"), |_| reply(200, &[], "")).await;
    assert_eq!(read(&fake, b"x").await.unwrap_err().kind(), Kind::Limit);
    assert_eq!(endless.seen().len(), 6);
}

/// An identity token is sent in a form to the token server alone.
#[tokio::test]
async fn identity_tokens() {
    let bytes = noise(10);
    let tokens = Fake::start(|_| {
        reply(200, &[], format!(r#"{{"access_token":"{TOKEN}","expires_in":60}}"#))
    })
    .await;
    let served = bytes.clone();
    let fake = registry(tokens.url("/token"), move |_| reply(200, &[], &served)).await;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let text = format!(
        r#"{{"auths":{{"{}":{{"auth":"","identitytoken":"canary-identity"}}}}}}"#,
        fake.address
    );
    std::fs::write(&config, text).unwrap();
    let (mut options, _) = quick();
    options.credentials = Credentials::anonymous().with_docker_config(&config);
    let repository = repository(options, &fake.reference("a"));
    assert_eq!(all(repository.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(tokens.lines(), ["POST /token"]);
    let form = String::from_utf8(tokens.seen()[0].body.clone()).unwrap();
    assert_eq!(
        form,
        "grant_type=refresh_token&service=r&client_id=conex&scope=repository%3Aa%3Apull&refresh_token=canary-identity"
    );
    assert_eq!(fake.count("canary-identity"), 0);
}

/// Row 101: a registry that refuses for ever is asked twice.
#[tokio::test]
async fn row_101_a_storm_of_401_ends() {
    let tokens = token_server().await;
    let realm = tokens.url("/token");
    let fake = Fake::start(move |_| {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\"");
        reply(401, &[&challenge], r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
    })
    .await;
    let err = read(&fake, b"x").await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unauthorized);
    assert_eq!(err.found_value(), Some("the password of user \"bob\" from the test"));
    assert!(fake.seen().len() <= 2 && tokens.seen().len() <= 2);
    let basic = Fake::start(|_| reply(401, &["WWW-Authenticate: Basic realm=x"], "")).await;
    let err = read(&basic, b"x").await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unauthorized);
    assert!(basic.seen().len() <= 2);
    assert!(!format!("{err} {err:?}").contains(PASSWORD));
}

/// A token that expired or was revoked is fetched anew, once.
#[tokio::test]
async fn a_revoked_token_is_replaced() {
    let bytes = noise(10);
    let tokens =
        Fake::start(|request| reply(200, &[], format!(r#"{{"token":"t{}"}}"#, request.count)))
            .await;
    let realm = tokens.url("/token");
    let served = bytes.clone();
    let fake = Fake::start(move |request| match request.header("authorization") {
        Some("Bearer t0") if request.count == 0 => reply(200, &[], &served),
        Some("Bearer t1") => reply(200, &[], &served),
        _ => reply(401, &[&format!("WWW-Authenticate: Bearer realm=\"{realm}\"")], ""),
    })
    .await;
    let repository = repository(logged_in(&fake.address), &fake.reference("a"));
    for _ in 0..3 {
        assert_eq!(all(repository.fetch(&blob(&bytes)).await.unwrap()).await.unwrap(), bytes);
    }
    assert_eq!(tokens.seen().len(), 2);
}

/// A registry that knows a repository by another name says which scope it wants.
#[tokio::test]
async fn the_scope_that_a_registry_wants_is_asked_for() {
    let bytes = noise(10);
    let tokens = Fake::start(|request| {
        let wanted = request.target.contains("repository%3Amirror%2Fa%3Apull");
        reply(200, &[], format!(r#"{{"token":"{}"}}"#, if wanted { TOKEN } else { "useless" }))
    })
    .await;
    let realm = tokens.url("/token");
    let served = bytes.clone();
    let fake = Fake::start(move |request| match request.header("authorization") {
        Some("Bearer canary-token") => reply(200, &[], &served),
        _ => reply(
            401,
            &[&format!(
                "WWW-Authenticate: Bearer realm=\"{realm}\",scope=\"repository:mirror/a:pull\""
            )],
            "",
        ),
    })
    .await;
    assert_eq!(read(&fake, &bytes).await.unwrap(), bytes);
}

/// Rule C6: another server may take an upload, but sees no login.
#[tokio::test]
async fn uploads_elsewhere_carry_no_secret() {
    let tokens = token_server().await;
    let bytes = noise(5000);
    let elsewhere = Fake::start_at("127.0.0.2", |_| reply(201, &[], "")).await;
    let location = format!("Location: {}", elsewhere.url("/up?x=1"));
    let fake = registry(tokens.url("/token"), move |_| reply(202, &[&location], "")).await;
    let client = repository(logged_in(&fake.address), &fake.reference("a"));
    client.put(&blob(&bytes), stream(&bytes, 1000)).await.unwrap();
    assert_eq!(elsewhere.seen()[0].body, bytes);
    no_secret(&elsewhere);
    for location in ["http://169.254.169.254/up", "ftp://127.0.0.1/"] {
        let header = format!("Location: {location}");
        let fake = registry(tokens.url("/token"), move |_| reply(202, &[&header], "")).await;
        let client = repository(logged_in(&fake.address), &fake.reference("a"));
        let err = client.put(&blob(&bytes), stream(&bytes, 1000)).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Denied, "{err}");
    }
}

/// Rule C8, as far as values of this crate can be printed.
#[tokio::test]
async fn nothing_prints_a_secret() {
    let tokens = token_server().await;
    let fake = registry(tokens.url("/token"), |_| reply(500, &[], "")).await;
    let client = Client::new(logged_in(&fake.address));
    let repository = client.repository(&fake.reference("a").parse().unwrap());
    let err = repository.resolve(None).await.unwrap_err();
    let printed = format!("{client:?} {repository:?} {err:?} {err}");
    for secret in [PASSWORD, BASIC, TOKEN] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

/// Rule C14: what is no name is not looked for. A helper that is missing is told where it matters.
#[tokio::test]
async fn helpers_that_are_not_there() {
    let fake = Fake::start(|_| reply(401, &["WWW-Authenticate: Basic realm=x"], "")).await;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let refused = async |text: &str| {
        std::fs::write(&config, text).unwrap();
        let (mut options, _) = quick();
        options.credentials = Credentials::anonymous().with_docker_config(&config);
        repository(options, &fake.reference("a")).resolve(None).await.unwrap_err()
    };
    let err = refused(r#"{"credsStore":"../evil\u001b"}"#).await;
    assert_eq!(err.kind(), Kind::Invalid);
    assert!(err.found_value().unwrap().contains("../evil\\u{1b}"), "{err:?}");
    let err = refused(r#"{"credsStore":"desktop"}"#).await;
    assert_eq!((err.kind(), err.found_value()), (Kind::Unauthorized, Some("no credentials")));
    let hint = err.hint_text().unwrap();
    assert!(hint.starts_with("docker-credential-desktop is not on the search path"), "{hint}");
    assert!(hint.ends_with(&format!("`conex login {}` keeps a login", fake.address)), "{hint}");
}
