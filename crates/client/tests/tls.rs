//! Row 111: which servers are trusted, and which registries on this machine speak TLS.
//!
//! The certificates in `tests/tls` belong to an authority that nobody trusts and whose key is gone.
#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use common::{all, blob, noise, quick, repository};
use conex_client::Options;
use conex_spec::{Kind, Result};
use conex_store::SourceExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");
const GOOD: &[u8] = include_bytes!("tls/good.pem");
const WRONG: &[u8] = include_bytes!("tls/wrong.pem");
const EXPIRED: &[u8] = include_bytes!("tls/expired.pem");

/// A server of TLS that answers every request with `body`.
fn serve(pem: &[u8], body: Vec<u8>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pem).unwrap()],
            PrivateKeyDer::from_pem_slice(pem).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, connection.unwrap());
            let body = body.clone();
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
