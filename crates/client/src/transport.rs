//! The connections: one pool for each way of trusting, made when first needed.
//!
//! HTTP/1.1 only: several blobs then move over several connections, which is faster than
//! HTTP/2's streams in one. Redirects, retries and logins are not left to the HTTP library.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use conex_spec::{Error, Kind, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, Url};
use rustls::{ClientConfig, RootCertStore};

use crate::options::{Options, Proxies};
use crate::origin::{self, Reach, shown};

/// How many idle connections to one host are kept.
const IDLE: usize = 16;

/// The pools, by TLS and by the nearest address that they connect to.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    pools: [[OnceLock<Client>; 4]; 2],
}

impl Transport {
    /// The pool for a URL; `ceiling` is the nearest address that may answer, `Special` for any.
    pub(crate) fn pool(&self, options: &Options, url: &Url, ceiling: Reach) -> Result<&Client> {
        let tls = url.scheme() == "https";
        origin::check_literal(url, ceiling)?;
        let cell = &self.pools[usize::from(tls)][ceiling as usize];
        if let Some(pool) = cell.get() {
            return Ok(pool);
        }
        let made = make(options, tls, ceiling)?;
        Ok(cell.get_or_init(|| made))
    }
}

fn make(options: &Options, tls: bool, ceiling: Reach) -> Result<Client> {
    let fault = |err| Error::new(Kind::Io, "cannot set up HTTP").source(err);
    let mut builder = Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .user_agent(&options.user_agent)
        .connect_timeout(options.timeouts.connect)
        .pool_max_idle_per_host(IDLE);
    builder = proxied(builder, &options.proxies)?;
    // A proxy resolves names itself; only its own would be judged.
    if ceiling < Reach::Special && options.proxies == Proxies::default() {
        builder = builder.dns_resolver(Arc::new(Guard { ceiling }));
    }
    builder = if tls {
        trusting(builder, options)?
    } else {
        builder.tls_backend_preconfigured(untrusting()?)
    };
    builder.build().map_err(fault)
}

/// The system's certificates, and those that the program adds.
fn trusting(mut builder: ClientBuilder, options: &Options) -> Result<ClientBuilder> {
    // Another part of the program may have chosen a provider; then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for pem in &options.extra_roots {
        let roots = Certificate::from_pem_bundle(pem)
            .map_err(|err| Error::invalid("not a certificate in PEM").source(err))?;
        builder = builder.tls_certs_merge(roots);
    }
    Ok(builder)
}

/// For plain HTTP: no time is spent on reading the system's certificates.
pub(crate) fn untrusting() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|err| Error::new(Kind::Io, "cannot set up TLS").source(err))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn proxied(mut builder: ClientBuilder, proxies: &Proxies) -> Result<ClientBuilder> {
    let direct = proxies.direct.as_deref().and_then(NoProxy::from_string);
    let fault = |err: reqwest::Error| {
        Error::new(Kind::Usage, "not the URL of a proxy").source(err.without_url())
    };
    if let Some(url) = &proxies.http {
        builder = builder.proxy(Proxy::http(url).map_err(fault)?.no_proxy(direct.clone()));
    }
    if let Some(url) = &proxies.https {
        builder = builder.proxy(Proxy::https(url).map_err(fault)?.no_proxy(direct));
    }
    Ok(builder)
}

/// A name service whose answers are judged when the connection is made.
#[derive(Debug)]
struct Guard {
    ceiling: Reach,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let ceiling = self.ceiling;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| Reach::of(address.ip()) <= ceiling).collect();
            if allowed.is_empty() {
                return Err(Near(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// A name that means an address which a server has no business to lead to.
#[derive(Debug)]
struct Near(String);

impl std::fmt::Display for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} means an address nearer to this machine than the registry", self.0)
    }
}

impl std::error::Error for Near {}

/// The fault of a request that got no answer. A server that cannot be trusted is no passing
/// failure of the network.
pub(crate) fn fault(err: reqwest::Error, url: &Url) -> Error {
    let trust = causes(&err).any(|cause| cause.is::<rustls::Error>());
    let near = causes(&err).any(|cause| cause.is::<Near>());
    let what = if trust {
        "cannot trust"
    } else if err.is_connect() {
        "cannot connect to"
    } else {
        "no answer from"
    };
    let kind = if trust || near { Kind::Denied } else { Kind::Network };
    // Only the innermost cause says something to people.
    let cause = causes(&err).last().map(ToString::to_string).unwrap_or_default();
    let fault = Error::new(kind, format!("{what} {}: {cause}", shown(url)));
    if trust {
        return fault.hint("a certificate of an own authority is added to those of the system");
    }
    fault
}

/// Whether the other side answered with something that is no HTTP, as TLS does.
pub(crate) fn is_not_http(err: &reqwest::Error) -> bool {
    !err.is_connect() && !err.is_timeout()
}

fn causes(err: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first: &(dyn std::error::Error + 'static) = err;
    std::iter::successors(Some(first), |err| cause(*err))
}

fn cause<'a>(
    err: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    match err.downcast_ref::<io::Error>() {
        // An I/O error hides what it wraps from `source`.
        Some(io) => io.get_ref().map(|inner| inner as _),
        None => err.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name is judged by the addresses that it means when the connection is made (rule C3).
    #[tokio::test]
    async fn a_name_that_means_this_machine_is_not_public() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url: Url = format!("http://localhost:{port}/").parse().unwrap();
        let (options, transport) = (Options::default(), Transport::default());
        for ceiling in [Reach::Public, Reach::Private] {
            let pool = transport.pool(&options, &url, ceiling).unwrap();
            let err = pool.get(url.clone()).send().await.unwrap_err();
            let err = fault(err, &url);
            assert_eq!(err.kind(), Kind::Denied, "{err}");
            assert!(err.message().contains("nearer to this machine"), "{err}");
        }
        let pool = transport.pool(&options, &url, Reach::Loopback).unwrap();
        let (sent, accepted) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_millis(200), pool.get(url).send()),
            listener.accept()
        );
        assert!(sent.is_err() && accepted.is_ok(), "the connection is made");
    }

    #[test]
    fn a_proxy_that_is_no_url_shows_no_password() {
        let proxies = Proxies { https: Some("http://u:canary@[".into()), ..Proxies::default() };
        let options = Options { proxies, ..Options::default() };
        let url = "https://r.example/".parse().unwrap();
        let err = Transport::default().pool(&options, &url, Reach::Special).unwrap_err();
        assert_eq!(err.kind(), Kind::Usage);
        assert!(!format!("{err} {options:?}").contains("canary"), "{err}");
    }
}
