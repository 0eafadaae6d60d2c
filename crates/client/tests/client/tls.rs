//! Row 111: which servers are trusted, and which registries on this machine speak TLS.
//!
//! The certificates in `tests/tls` belong to an authority that nobody trusts and whose key is gone.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use crate::common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use common::forward::Forward;
use common::{all, blob, noise, quick, repository};
use conex_client::{CertificateFolders, Options, Proxies, Proxy, RegistryFiles};
use conex_spec::{Kind, Result};
use conex_store::{Source, SourceExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

const AUTHORITY: &[u8] = include_bytes!("../tls/ca.pem");
const GOOD: &[u8] = include_bytes!("../tls/good.pem");
const WRONG: &[u8] = include_bytes!("../tls/wrong.pem");
/// Its own authority.
const SELF: &[u8] = include_bytes!("../tls/self.pem");
const EXPIRED: &[u8] = include_bytes!("../tls/expired.pem");

/// The authority of clients, and a client whose name is `canary-client`.
const CLIENTS: &[u8] = include_bytes!("../tls/clients.pem");
const CLIENT: (&[u8], &[u8]) =
    (include_bytes!("../tls/client.cert"), include_bytes!("../tls/client.key"));

/// A server of TLS that answers every request with `body`.
fn serve(pem: &[u8], body: Vec<u8>) -> String {
    Server::start(pem, Asks::Nothing, Vec::new(), body).address
}

/// Whether a server asks for a client certificate.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Nothing,
    Politely,
    Strictly,
}

/// A server of TLS that answers every request with `head` and `body`, and notes who came.
struct Server {
    address: String,
    /// For each request, whether the client showed a certificate.
    shown: Arc<Mutex<Vec<bool>>>,
}

impl Server {
    fn start(pem: &[u8], asks: Asks, headers: Vec<String>, body: Vec<u8>) -> Self {
        let config = config(pem, asks);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shown: Arc<Mutex<Vec<bool>>> = Arc::default();
        let seen = shown.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let tls = ServerConnection::new(config.clone()).unwrap();
                let stream = StreamOwned::new(tls, connection.unwrap());
                let (headers, body, seen) = (headers.clone(), body.clone(), seen.clone());
                std::thread::spawn(move || answer(stream, &headers, &body, &seen));
            }
        });
        Self { address, shown }
    }

    fn shown(&self) -> Vec<bool> {
        self.shown.lock().unwrap().clone()
    }
}

fn config(pem: &[u8], asks: Asks) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CLIENTS).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    let builder = match asks {
        Asks::Nothing => builder.with_no_client_auth(),
        Asks::Politely => {
            let clients = clients.allow_unauthenticated().build().unwrap();
            builder.with_client_cert_verifier(clients)
        }
        Asks::Strictly => builder.with_client_cert_verifier(clients.build().unwrap()),
    };
    let config = builder.with_single_cert(
        vec![CertificateDer::from_pem_slice(pem).unwrap()],
        PrivateKeyDer::from_pem_slice(pem).unwrap(),
    );
    Arc::new(config.unwrap())
}

fn answer(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    headers: &[String],
    body: &[u8],
    seen: &Mutex<Vec<bool>>,
) {
    let mut request = [0; 4096];
    while stream.read(&mut request).is_ok_and(|length| length > 0) {
        seen.lock().unwrap().push(stream.conn.peer_certificates().is_some());
        let root = request.starts_with(b"GET /v2/ ");
        let status = if headers.is_empty() || root { "200 OK" } else { "307 There" };
        let more = if root { String::new() } else { headers.join("\r\n") + "\r\n" };
        let more = if headers.is_empty() { String::new() } else { more };
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
            return;
        }
    }
}

async fn read(address: &str, options: Options, bytes: &[u8]) -> Result<Vec<u8>> {
    let repository = repository(options, &format!("{address}/a"));
    all(repository.fetch(&blob(bytes)).await?).await
}

fn trusting() -> Options {
    let (mut options, _) = quick();
    options.extra_roots = vec![AUTHORITY.to_vec()];
    options
}

#[tokio::test]
async fn a_registry_on_this_machine_may_speak_tls() {
    let bytes = noise(300_000);
    let address = serve(GOOD, bytes.to_vec());
    assert_eq!(read(&address, trusting(), &bytes).await.unwrap(), bytes);
    let port = address.rsplit_once(':').unwrap().1;
    assert_eq!(read(&format!("localhost:{port}"), trusting(), &bytes).await.unwrap(), bytes);
}

/// As one makes it with `openssl req -x509`, for the registry and for its clients.
#[tokio::test]
async fn a_certificate_may_be_its_own_authority() {
    let bytes = noise(10);
    let address = serve(SELF, bytes.to_vec());
    let (_dir, folders) = certs_d(&[&address], &[("ca.crt", SELF)]);
    let (mut options, _) = quick();
    options.certificates = folders;
    assert_eq!(read(&address, options, &bytes).await.unwrap(), bytes);
    assert_eq!(read(&address, trusting(), &bytes).await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn row_111_who_cannot_be_trusted_is_not() {
    let bytes = noise(10);
    for (pem, options) in [(GOOD, quick().0), (WRONG, trusting()), (EXPIRED, trusting())] {
        let address = serve(pem, bytes.to_vec());
        let err = read(&address, options, &bytes).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Denied, "{err}");
        assert!(err.message().contains("cannot trust"), "{err}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let (mut options, _) = quick();
    options.extra_roots =
        vec![b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()];
    let address = serve(GOOD, Vec::new());
    assert!(read(&address, options, b"").await.is_err());
}

/// A server without TLS, which answers whatever comes.
fn serve_plain(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut stream, body) = (connection.unwrap(), body.clone());
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A `certs.d` with folders of these names, each with these files.
fn certs_d(hosts: &[&str], files: &[(&str, &[u8])]) -> (tempfile::TempDir, CertificateFolders) {
    let dir = tempfile::tempdir().unwrap();
    for host in hosts {
        std::fs::create_dir_all(dir.path().join(host)).unwrap();
        for (name, bytes) in files {
            std::fs::write(dir.path().join(host).join(name), bytes).unwrap();
        }
    }
    let folders = CertificateFolders { folders: vec![dir.path().into()], given: None };
    (dir, folders)
}

const CA: (&str, &[u8]) = ("ca.crt", AUTHORITY);
const PAIR: [(&str, &[u8]); 2] = [("client.cert", CLIENT.0), ("client.key", CLIENT.1)];

/// Rule C7, for authorities: those of one registry are not those of another.
#[tokio::test]
async fn an_authority_of_one_registry() {
    let bytes = noise(10);
    let (one, two) = (serve(GOOD, bytes.to_vec()), serve(GOOD, bytes.to_vec()));
    let (_dir, folders) = certs_d(&[&one], &[CA]);
    let options = || Options { certificates: folders.clone(), ..quick().0 };
    assert_eq!(read(&one, options(), &bytes).await.unwrap(), bytes);
    let err = read(&two, options(), &bytes).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Denied, "{err}");
    let hint = err.hint_text().unwrap();
    assert!(hint.contains(&format!("certs.d/{two}/")) && hint.contains("ca.crt"), "{hint}");
}

#[tokio::test]
async fn a_registry_that_asks_for_a_client_certificate() {
    let bytes = noise(10);
    let server = Server::start(GOOD, Asks::Strictly, Vec::new(), bytes.to_vec());
    let (_dir, without) = certs_d(&[&server.address], &[CA]);
    let options = Options { certificates: without, ..quick().0 };
    let err = read(&server.address, options, &bytes).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Denied, "{err}");
    assert!(err.hint_text().unwrap().contains("client.cert"), "{err:?}");
    let (dir, with) = certs_d(&[&server.address], &[CA, PAIR[0], PAIR[1]]);
    let options = Options { certificates: with, ..quick().0 };
    assert_eq!(read(&server.address, options, &bytes).await.unwrap(), bytes);
    assert!(!server.shown().contains(&false));
    // The same, in a folder that a person named.
    let given = Some(dir.path().join(&server.address));
    let certificates = CertificateFolders { folders: Vec::new(), given };
    let options = Options { certificates, ..quick().0 };
    assert_eq!(read(&server.address, options, &bytes).await.unwrap(), bytes);
}

/// Rule C7: neither the target of a redirect nor a token server elsewhere sees the certificate,
/// though there is one for that host too.
#[tokio::test]
async fn a_client_certificate_stays_with_its_registry() {
    let bytes = noise(10);
    let other = Server::start(GOOD, Asks::Politely, Vec::new(), bytes.to_vec());
    let location = format!("Location: https://{}/x", other.address);
    let realm = "WWW-Authenticate: Bearer realm=\"https://127.0.0.1:1/\"".to_owned();
    let registry = Server::start(GOOD, Asks::Politely, vec![location, realm], Vec::new());
    let hosts = [&*registry.address, &*other.address];
    let (dir, certificates) = certs_d(&hosts, &[CA, PAIR[0], PAIR[1]]);
    let options = Options { certificates, ..quick().0 };
    assert_eq!(read(&registry.address, options, &bytes).await.unwrap(), bytes);
    assert!(!registry.shown().is_empty() && !registry.shown().contains(&false));
    assert_eq!(other.shown(), [false]);
    // Nor does a folder that is for every registry named show it to others.
    let given = Some(dir.path().join(&registry.address));
    let certificates = CertificateFolders { folders: Vec::new(), given };
    let options = Options { certificates, ..quick().0 };
    assert_eq!(read(&registry.address, options, &bytes).await.unwrap(), bytes);
    assert_eq!(other.shown(), [false, false]);
}

/// A tunnel shows the proxy a name and a port, and nothing of what is said through it.
#[tokio::test]
async fn tls_through_a_proxy() {
    let bytes = noise(300_000);
    let server = Server::start(GOOD, Asks::Strictly, Vec::new(), bytes.to_vec());
    let forward = Forward::start(&[]).await;
    let (_dir, certificates) = certs_d(&[&server.address], &[CA, PAIR[0], PAIR[1]]);
    let proxy = |scheme: &str| {
        let url = format!("{scheme}://p:canary-proxy@{}", forward.address);
        Proxies { https: Some(Proxy::new(url, "a test")), loopback: true, ..Proxies::default() }
    };
    let options = Options { certificates, proxies: proxy("http"), ..quick().0 };
    assert_eq!(read(&server.address, options.clone(), &bytes).await.unwrap(), bytes);
    let connects = forward.connects();
    assert!(!connects.is_empty() && connects.iter().all(|target| *target == server.address));
    assert_eq!(forward.heads().len(), connects.len());
    for head in forward.heads() {
        let head = head.to_lowercase();
        assert!(head.contains("proxy-authorization: basic"), "{head}");
        assert!(!head.contains("\nauthorization") && !head.contains("canary-client"), "{head}");
    }
    // Rule C7: a proxy behind TLS would see the certificate, so it is not spoken to.
    let err = read(&server.address, Options { proxies: proxy("https"), ..options }, &bytes).await;
    let err = err.unwrap_err();
    assert_eq!(err.kind(), Kind::Unsupported, "{err}");
    assert!(!format!("{err} {:?} {err:?}", err.found_value()).contains("canary"));
    assert!(err.hint_text().unwrap().contains("http://"));
}

/// "unencrypted HTTP as well as TLS connections with untrusted certificates are allowed", for that
/// registry alone.
#[tokio::test]
async fn an_insecure_registry() {
    let bytes = noise(10);
    let plain = serve_plain(bytes.to_vec());
    for (address, pem) in [(serve(WRONG, bytes.to_vec()), true), (plain, false)] {
        let (host, port) = address.rsplit_once(':').unwrap();
        let name = format!("registry.example:{port}");
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("r.conf");
        std::fs::write(&main, format!("[[registry]]\nlocation='{name}'\ninsecure=true")).unwrap();
        let pinned =
            Options { addresses: vec![format!("{name}:{host}").parse().unwrap()], ..trusting() };
        let err = read(&name, pinned.clone(), &bytes).await.unwrap_err();
        assert_eq!(err.kind(), if pem { Kind::Denied } else { Kind::Network }, "{err}");
        let hint = err.hint_text().unwrap();
        assert!(hint.contains(if pem { "other names" } else { "--plain-http=registry" }), "{hint}");
        let named = Options { insecure: vec!["registry.example".into()], ..pinned.clone() };
        assert_eq!(read(&name, named, &bytes).await.unwrap(), bytes);
        let registries = RegistryFiles { main: Some(main), ..RegistryFiles::default() };
        assert_eq!(read(&name, Options { registries, ..pinned }, &bytes).await.unwrap(), bytes);
    }
    // A redirect elsewhere is verified all the same.
    let other = serve(WRONG, bytes.to_vec());
    let location = format!("Location: https://{other}/x");
    let registry = Server::start(GOOD, Asks::Nothing, vec![location], Vec::new());
    let options = Options { insecure: vec![registry.address.clone()], ..quick().0 };
    let err = read(&registry.address, options, &bytes).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Denied, "{err}");
    assert!(err.message().contains(&other), "{err}");
}

/// Where no TLS is spoken a given address led astray, or the URL of a proxy: that is said once, since
/// another try would come to the same.
#[tokio::test]
async fn no_tls_where_it_should_be() {
    let plain = serve_plain(Vec::new());
    let port = plain.rsplit_once(':').unwrap().1;
    let name = format!("registry.example:{port}");
    let pinned = vec![format!("{name}:127.0.0.1").parse().unwrap()];
    let tunnel = Forward::start(&[(&name, &plain)]).await;
    let proxy =
        |url: String| Proxies { https: Some(Proxy::new(url, "a test")), ..Proxies::default() };
    for (proxies, hint) in [
        (Proxies::default(), "if the registry should speak no TLS"),
        (proxy(format!("http://{}", tunnel.address)), "if the registry should speak no TLS"),
        (proxy(format!("https://{plain}")), "begins with http://"),
    ] {
        let (options, notes) = quick();
        let options = Options { proxies, addresses: pinned.clone(), ..options };
        let err = read(&name, options, b"").await.unwrap_err();
        assert_eq!(err.kind(), Kind::Network, "{err}");
        assert!(err.message().contains("no TLS is spoken there"), "{err}");
        let found = err.hint_text().unwrap();
        assert!(found.contains(hint) && found.contains(&format!("--plain-http={name}")), "{found}");
        assert_eq!(notes.retries(), 0, "{:?}", notes.all());
    }
}

#[tokio::test]
async fn certificates_that_are_not_sound_are_named() {
    let address = serve(GOOD, Vec::new());
    let (dir, certificates) = certs_d(&[&address], &[("ca.crt", b"none"), PAIR[0]]);
    let options = Options { certificates, ..quick().0 };
    let source = repository(options, &format!("{address}/a"));
    let err = source.resolve(None).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Invalid, "{err}");
    assert!(err.to_string().contains(dir.path().to_str().unwrap()), "{err}");
}
