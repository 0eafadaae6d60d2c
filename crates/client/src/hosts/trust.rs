//! Which servers are trusted: those that an authority of the system or of `certs.d` vouches for, and
//! those that show such a certificate itself.
//!
//! Whoever follows the manuals of registries makes one certificate with `openssl req -x509`, for the
//! registry to show and for clients to trust. It says of itself that it is an authority's, which
//! RFC 5280, 4.2.1.9 does not expect of a server, and `webpki` refuses. Docker, podman, skopeo and
//! curl take it, and nothing is lost by it: who has the key of an authority could have made any
//! certificate of a server.

use std::sync::Arc;

use conex_spec::{Error, Kind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error as Tls, OtherError,
    RootCertStore, SignatureScheme, WantsVerifier,
};

/// What a client shows: its certificate with those that lead to its authority, and the key.
pub(crate) type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// TLS with the system's authorities and these, in DER.
pub(crate) fn config(
    own: Vec<CertificateDer<'static>>,
    shown: Option<Shown>,
) -> Result<ClientConfig> {
    let (builder, roots) = (builder()?, roots(own)?);
    let builder = if roots.is_empty() {
        // Nobody is trusted here; a registry on this machine may speak plain HTTP all the same.
        builder.with_root_certificates(roots)
    } else {
        let verifier = Arc::new(Verifier::new(roots, builder.crypto_provider())?);
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    let mut config = match shown {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(no_tls)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// For plain HTTP: no time is spent on reading the system's certificates.
pub(crate) fn nobody() -> Result<ClientConfig> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(no_tls)
}

fn no_tls(err: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Io, "cannot set up TLS").source(err)
}

/// The certificates in a file of PEM.
pub(crate) fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<_, _>>();
    found.map_err(|err| Error::invalid("not a certificate in PEM").source(err))
}

fn roots(own: Vec<CertificateDer<'static>>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Of what the system has some may be of no use, which is no fault of who wants to reach another.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in own {
        let fault = |err| Error::invalid("not a certificate of an authority").source(err);
        roots.add(certificate).map_err(fault)?;
    }
    Ok(roots)
}

#[derive(Debug)]
struct Verifier {
    roots: Arc<RootCertStore>,
    chains: Arc<WebPkiServerVerifier>,
}

impl Verifier {
    fn new(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let roots = Arc::new(roots);
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let chains = chains.build().map_err(no_tls)?;
        Ok(Self { roots, chains })
    }

    /// Whether a certificate is itself one of those that are trusted, and for this server.
    fn knows(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
        let anchor = webpki::anchor_from_trusted_cert(certificate);
        let known = anchor.is_ok_and(|anchor| self.roots.roots.contains(&anchor));
        let shown = webpki::EndEntityCert::try_from(certificate);
        known && shown.is_ok_and(|shown| shown.verify_is_valid_for_subject_name(name).is_ok())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Tls> {
        let chains = &self.chains;
        match chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            // It is looked at after the dates: they are right then.
            Err(err) if is_authority_shown(&err) && self.knows(end_entity, server_name) => {
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Tls> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Tls> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn is_authority_shown(err: &Tls) -> bool {
    let Tls::InvalidCertificate(CertificateError::Other(OtherError(fault))) = err else {
        return false;
    };
    matches!(fault.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Each an authority's, and for localhost and 127.0.0.1; they differ in their keys.
    const OWN: &[u8] = include_bytes!("../../tests/tls/self.pem");
    const OTHER: &[u8] = include_bytes!("../../tests/tls/self-other.pem");
    /// A time within their dates, in seconds since 1970.
    const NOW: u64 = 1_800_000_000;

    fn judged(
        trusted: &[u8],
        shown: &[u8],
        name: &str,
        now: u64,
    ) -> std::result::Result<(), CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(roots(parse(trusted).unwrap()).unwrap(), &provider).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let shown = parse(shown).unwrap();
        match verifier.verify_server_cert(&shown[0], &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(Tls::InvalidCertificate(fault)) => Err(fault),
            Err(err) => panic!("{err}"),
        }
    }

    #[test]
    fn a_certificate_that_is_trusted_itself() {
        for name in ["localhost", "127.0.0.1"] {
            judged(OWN, OWN, name, NOW).unwrap();
            judged(&[OTHER, OWN].concat(), OWN, name, NOW).unwrap();
        }
    }

    #[test]
    fn others_are_not() {
        for (trusted, shown, name) in
            [(OTHER, OWN, "localhost"), (OWN, OTHER, "localhost"), (OWN, OWN, "registry.example")]
        {
            judged(trusted, shown, name, NOW).unwrap_err();
        }
        let early = judged(OWN, OWN, "localhost", 1_000_000_000).unwrap_err();
        assert!(matches!(early, CertificateError::NotValidYetContext { .. }), "{early:?}");
        let late = judged(OWN, OWN, "localhost", 9_000_000_000).unwrap_err();
        assert!(matches!(late, CertificateError::ExpiredContext { .. }), "{late:?}");
    }
}
