//! TLS: who the registry says it is, and who its clients prove to be. RFC 8446.
//!
//! The files are looked at again once a second while connections come in, so that a renewed
//! certificate is shown without a restart. What was found unsound then is told, and the
//! certificate that was sound before stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use conex_spec::{Error, Kind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::stamp::Stamp;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The protocols above TLS, the better one first. RFC 7301.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The files that TLS needs, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of this registry, and after it those that lead to its authority.
    pub certificate: PathBuf,
    /// The key of the first certificate.
    pub key: PathBuf,
    /// Who vouches for clients.
    pub clients: Option<Clients>,
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The certificates of the authorities that vouch for them.
    pub authority: PathBuf,
    /// Whether nobody is let in without one.
    pub required: bool,
}

/// TLS as it was set up. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// `Invalid` where one holds no certificate or no key, or the key is another certificate's.
    pub fn open(files: TlsFiles) -> Result<Self> {
        let stamps = files.stamps();
        let config = Arc::new(files.load()?);
        let loaded = Mutex::new(Loaded { config, stamps, looked: Instant::now() });
        Ok(Self(Arc::new(Inner { files, loaded })))
    }

    /// Whether clients may show who they are.
    pub fn knows_clients(&self) -> bool {
        self.0.files.clients.is_some()
    }

    /// What the next connection is to use, and why changed files are of no use.
    pub(crate) fn current(&self) -> (Arc<ServerConfig>, Option<Error>) {
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() < LOOK {
            return (Arc::clone(&loaded.config), None);
        }
        loaded.looked = Instant::now();
        let stamps = self.0.files.stamps();
        let mut fault = None;
        if stamps != loaded.stamps {
            match self.0.files.load() {
                Ok(config) => loaded.config = Arc::new(config),
                Err(err) => fault = Some(err.context("the certificate before it is still used")),
            }
            // Told once, and tried again when the files change again.
            loaded.stamps = stamps;
        }
        (Arc::clone(&loaded.config), fault)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl TlsFiles {
    fn stamps(&self) -> Vec<Stamp> {
        let authority = self.clients.as_ref().map(|clients| &clients.authority);
        let files = [Some(&self.certificate), Some(&self.key), authority];
        files.into_iter().flatten().map(|path| Stamp::at(path).unwrap_or_default()).collect()
    }

    fn load(&self) -> Result<ServerConfig> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|err| unsound(&self.key, "a private key in PEM", &err))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let fault = |err: rustls::Error| {
            let files = format!("{} and {}", self.certificate.display(), self.key.display());
            Error::invalid(format!("{files} cannot be used"))
                .expected("a certificate and its key")
                .found(err)
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(fault)?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(fault)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

impl Clients {
    fn verifier(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>> {
        let expected = "certificates of authorities in PEM";
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority)? {
            roots.add(certificate).map_err(|err| unsound(&self.authority, expected, &err))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|err| unsound(&self.authority, expected, &err))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let expected = "certificates in PEM";
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|err| unsound(path, expected, &err))?;
    if certificates.is_empty() {
        return Err(unsound(path, expected, &"none"));
    }
    Ok(certificates)
}

fn unsound(path: &Path, expected: &str, found: &dyn std::fmt::Display) -> Error {
    if let Err(err) = std::fs::File::open(path) {
        return Error::io("cannot read", path, err);
    }
    Error::new(Kind::Invalid, format!("{} cannot be used", path.display()))
        .expected(expected)
        .found(found)
}

/// The name in a client's certificate, which its authority vouches for: the last common name of its
/// subject; nothing where it has none. RFC 5280, 4.1.2.6.
pub(crate) fn name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    common_name(certificate.subject())
}

/// `2.5.4.3`, as X.690 writes it. RFC 5280, Appendix A.1, "id-at-commonName".
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// Strings of UTF-8 and those that are ASCII: `UTF8String`, `PrintableString`, `IA5String`.
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];

/// Of a name: sets of pairs of an identifier and a value. `webpki` has read the whole certificate
/// before; what stands in it is read strictly all the same.
fn common_name(subject: &[u8]) -> Option<String> {
    let mut found = None;
    let mut sets = subject;
    while !sets.is_empty() {
        let (_, mut set, rest) = element(sets)?;
        sets = rest;
        while !set.is_empty() {
            let (SEQUENCE, pair, rest) = element(set)? else { return None };
            set = rest;
            let (OBJECT_IDENTIFIER, identifier, value) = element(pair)? else { return None };
            if identifier == COMMON_NAME {
                let (tag, text, _) = element(value)?;
                let text = std::str::from_utf8(text).ok().filter(|_| STRINGS.contains(&tag));
                found = Some(text?.to_owned());
            }
        }
    }
    found.filter(|name| !name.is_empty() && !name.contains(char::is_control))
}

/// The first element of DER, as its tag and content, and what follows it. X.690, 8.1 and 10.1.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set with one pair.
    fn set(identifier: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[tag, length], content].concat()
        };
        let pair = [wrap(OBJECT_IDENTIFIER, identifier), wrap(tag, text)].concat();
        wrap(0x31, &wrap(SEQUENCE, &pair))
    }

    #[test]
    fn the_last_common_name_counts() {
        let organisation = set(&[0x55, 0x04, 0x0a], 0x0c, b"team");
        let [first, last] = [b"first", b"alice"].map(|name| set(COMMON_NAME, 0x13, name));
        let subject = [&organisation[..], &first, &last].concat();
        assert_eq!(common_name(&subject).as_deref(), Some("alice"));
        assert_eq!(common_name(&organisation), None);
        assert_eq!(common_name(&[]), None);
    }

    #[test]
    fn what_could_be_misread_is_no_name() {
        for (tag, text) in [(0x0c, &b"a\xffb"[..]), (0x1e, b"\0a"), (0x0c, b""), (0x0c, b"a\nb")] {
            assert_eq!(common_name(&set(COMMON_NAME, tag, text)), None);
        }
        let whole = set(COMMON_NAME, 0x0c, b"alice");
        for end in 1..whole.len() {
            assert_eq!(common_name(&whole[..end]), None);
        }
        assert_eq!(element(&[0x30, 0x84, 0, 0, 0, 1, 0]), None);
        assert_eq!(element(&[0x30, 0x82, 0, 2, 1, 2]), Some((0x30, &[1, 2][..], &[][..])));
    }
}
