//! TLS and certificates of clients.
//!
//! The certificates belong to authorities that nobody trusts and whose keys are gone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use crate::common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::Registry;
use conex_server::access::rules::{Actions, Rule, Rules};
use conex_server::{Clients, Tls, TlsFiles};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Version};

const AUTHORITY: &[u8] = include_bytes!("../../../client/tests/tls/ca.pem");
/// For 127.0.0.1, and for another host.
const GOOD: &[u8] = include_bytes!("../../../client/tests/tls/good.pem");
const WRONG: &[u8] = include_bytes!("../../../client/tests/tls/wrong.pem");
/// The authority of clients, and a client whose name is `canary-client`.
const CLIENTS: &[u8] = include_bytes!("../../../client/tests/tls/clients.pem");
const CLIENT: [&[u8]; 2] = [
    include_bytes!("../../../client/tests/tls/client.cert"),
    include_bytes!("../../../client/tests/tls/client.key"),
];

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn files(dir: &Path) -> TlsFiles {
    let path = write(dir, "registry.pem", GOOD);
    TlsFiles { certificate: path.clone(), key: path, clients: None }
}

fn client(change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let authority = Certificate::from_pem(AUTHORITY).unwrap();
    let builder = Client::builder().no_proxy().tls_certs_only([authority]);
    change(builder).build().unwrap()
}

async fn get(client: &Client, registry: &Registry, path: &str) -> reqwest::Result<u16> {
    let url = format!("https://{}{path}", registry.address);
    client.get(url).send().await.map(|answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::open(files(dir.path())).unwrap();
    let registry = Registry::with(|config| config.tls = Some(tls)).await;
    let url = format!("https://{}/v2/", registry.address);
    for (client, version) in [
        (client(ClientBuilder::http1_only), Version::HTTP_11),
        (client(|builder| builder), Version::HTTP_2),
    ] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
    // Who speaks plain HTTP is told so.
    let answer = registry.send("GET", "/v2/").await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.text().await.unwrap(), "This registry speaks HTTPS.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::open(files(dir.path())).unwrap();
    let registry = Registry::with(|config| config.tls = Some(tls)).await;
    let fresh = || client(|builder| builder.pool_max_idle_per_host(0));
    assert_eq!(get(&fresh(), &registry, "/v2/").await.unwrap(), 200);
    let becomes = async |bytes: &[u8], works: bool| {
        write(dir.path(), "registry.pem", bytes);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if get(&fresh(), &registry, "/v2/").await.is_ok() == works {
                return;
            }
        }
        panic!("the certificate did not change");
    };
    // That of another host is refused by the client.
    becomes(WRONG, false).await;
    becomes(GOOD, true).await;
    assert!(registry.log.1.lock().unwrap().is_empty());
    // An unsound one changes nothing, and the operator is told once.
    write(dir.path(), "registry.pem", b"no certificate");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..3 {
        assert_eq!(get(&fresh(), &registry, "/v2/").await.unwrap(), 200);
    }
    let notices = registry.log.1.lock().unwrap().clone();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("registry.pem") && notices[0].contains("still used"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_who_a_client_is() {
    let dir = tempfile::tempdir().unwrap();
    let rule = |repository: &str, user: &str, actions| Rule {
        repositories: vec![repository.parse().unwrap()],
        users: vec![user.parse().unwrap()],
        actions,
    };
    let rules = || {
        Rules::new(vec![
            rule("own/*", "canary-client", Actions::ALL),
            rule("open/*", "anonymous", Actions::PULL),
        ])
    };
    for required in [false, true] {
        let authority = write(dir.path(), "clients.pem", CLIENTS);
        let clients = Some(Clients { authority, required });
        let tls = Tls::open(TlsFiles { clients, ..files(dir.path()) }).unwrap();
        let registry = Registry::with(|config| {
            config.tls = Some(tls);
            config.access.rules = rules();
        })
        .await;
        let identity = Identity::from_pem(&CLIENT.concat()).unwrap();
        let known = client(|builder| builder.identity(identity));
        let tags = |name: &str| format!("/v2/{name}/tags/list");
        // What is not there is not there; what is forbidden is not told.
        assert_eq!(get(&known, &registry, &tags("own/a")).await.unwrap(), 404);
        assert_eq!(get(&known, &registry, &tags("other/a")).await.unwrap(), 403);
        let user = registry.log.0.lock().unwrap()[0].user.clone();
        assert_eq!(user.as_deref(), Some("canary-client"));
        let stranger = client(|builder| builder);
        if required {
            assert!(get(&stranger, &registry, "/v2/").await.is_err());
            continue;
        }
        assert_eq!(get(&stranger, &registry, "/v2/").await.unwrap(), 401);
        assert_eq!(get(&stranger, &registry, &tags("own/a")).await.unwrap(), 401);
        assert_eq!(get(&stranger, &registry, &tags("open/a")).await.unwrap(), 404);
    }
}

#[test]
fn files_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = files(dir.path());
    let other = write(dir.path(), "other.pem", WRONG);
    let none = write(dir.path(), "none.pem", b"");
    let missing = dir.path().join("missing.pem");
    let clients =
        |authority: &Path| Some(Clients { authority: authority.to_owned(), required: false });
    for (files, named) in [
        (TlsFiles { key: other, ..good.clone() }, "other.pem"),
        (TlsFiles { key: none.clone(), ..good.clone() }, "none.pem"),
        (TlsFiles { certificate: none.clone(), ..good.clone() }, "none.pem"),
        (TlsFiles { certificate: missing.clone(), ..good.clone() }, "missing.pem"),
        (TlsFiles { clients: clients(&none), ..good.clone() }, "none.pem"),
        (TlsFiles { clients: clients(&missing), ..good.clone() }, "missing.pem"),
    ] {
        let err = Tls::open(files).unwrap_err();
        assert!(err.to_string().contains(named), "{err}");
    }
    assert!(Tls::open(good).is_ok());
}
