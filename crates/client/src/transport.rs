//! The connections: one pool for each way to a server, made when first needed.
//!
//! HTTP/1.1 only: several blobs then move over several connections, which is faster than
//! HTTP/2's streams in one. Redirects, retries and logins are not left to the HTTP library.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conex_spec::{Error, Kind, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Identity, Proxy, Url};
use rustls::ClientConfig;

use crate::hosts::addresses::pinned;
use crate::hosts::certs::{self, Certificates};
use crate::hosts::failure::Near;
use crate::hosts::gate::Gates;
use crate::hosts::proxy::Via;
use crate::hosts::trust;
use crate::options::Options;
use crate::origin::{self, Origin, Reach, shown};

/// How long the name service may take where its answer only guards a proxy.
const LOOKUP: Duration = Duration::from_secs(2);
/// How many of its answers are kept.
const MAX_KNOWN: usize = 1024;

/// One request's URL, and what it may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To<'a> {
    pub(crate) url: &'a Url,
    /// The nearest address that may answer, `Special` for any.
    pub(crate) ceiling: Reach,
    /// Whether the client certificate of the URL's host may be shown: only where the URL is no
    /// stranger's word (rule C7).
    pub(crate) own: bool,
    /// Whether any certificate will do.
    pub(crate) insecure: bool,
}

/// The pools, the certificates of each host, and how many requests each has.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    pools: Mutex<HashMap<Way, Client>>,
    certificates: Mutex<HashMap<Origin, Arc<Certificates>>>,
    /// What this machine's name service says of hosts behind a proxy.
    known: Mutex<HashMap<String, Option<Reach>>>,
    pub(crate) gates: Gates,
}

/// What connections have in common that may be used for each other's requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    trust: Trust,
    ceiling: Reach,
    via: Option<Via>,
    pinned: Option<Vec<IpAddr>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Trust {
    /// There is no TLS.
    Plain,
    /// The system's certificates.
    System,
    /// Those of one host besides, and perhaps its client certificate.
    Host { origin: Origin, shows: bool, verifies: bool },
    /// Any certificate.
    Anyone,
}

impl Trust {
    /// Whether the host sees its client certificate.
    fn shows(&self) -> bool {
        matches!(self, Self::Host { shows: true, .. })
    }
}

impl Transport {
    /// The pool for a request.
    pub(crate) fn pool(&self, options: &Options, to: To<'_>) -> Result<Client> {
        origin::check_literal(to.url, to.ceiling)?;
        let via = options.proxies.choose(to.url)?;
        let (trust, certificates) = self.trust(options, to)?;
        check_tls_proxy(via.as_ref(), &certificates, to.url)?;
        let (pinned, ceiling) = match &via {
            // What is connected to is the proxy, which the person chose.
            Some(via) if via.resolves() => (None, Reach::Special),
            _ => (pinned(&options.addresses, to.url), to.ceiling),
        };
        let way = Way { trust, ceiling, via, pinned };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&way) {
            return Ok(pool.clone());
        }
        let pool = make(options, &way, &certificates)?;
        pools.insert(way, pool.clone());
        Ok(pool)
    }

    /// Fails where a proxy would be asked for a name that means an address nearer than `ceiling`,
    /// as far as this machine knows (rule C3).
    pub(crate) async fn judge(&self, options: &Options, to: To<'_>) -> Result<()> {
        if to.ceiling >= Reach::Special {
            return Ok(());
        }
        match self.behind_proxy(options, to.url).await? {
            Some(reach) if reach > to.ceiling => Err(Error::new(
                Kind::Denied,
                "a server leads to a name that means an address nearer to this machine than the registry",
            )
            .found(shown(to.url))),
            _ => Ok(()),
        }
    }

    /// How near the host of a URL is that is asked through a proxy, as far as this machine knows.
    pub(crate) async fn behind_proxy(&self, options: &Options, url: &Url) -> Result<Option<Reach>> {
        let via = options.proxies.choose(url)?.filter(Via::resolves);
        let (Some(via), Some(host)) = (via, url.host_str()) else { return Ok(None) };
        if let Some(reach) = Reach::of_literal(url) {
            return Ok(Some(reach));
        }
        if host == "localhost" || host.ends_with(".localhost") {
            return Ok(Some(Reach::Loopback));
        }
        if via.hides_names() {
            return Ok(None);
        }
        if let Some(known) = self.known().get(host) {
            return Ok(*known);
        }
        let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, 0))).await;
        let found = found.ok().and_then(|found| found.ok());
        let reach = found.and_then(|found| found.map(|address| Reach::of(address.ip())).max());
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(host.to_owned(), reach);
        Ok(reach)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Option<Reach>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trust(&self, options: &Options, to: To<'_>) -> Result<(Trust, Arc<Certificates>)> {
        if to.url.scheme() != "https" {
            return Ok((Trust::Plain, Arc::default()));
        }
        let origin = Origin::of(to.url)?;
        let found = self.certificates(options, &origin, to.url)?;
        let shows = to.own && found.identity.is_some();
        let trust = match () {
            () if shows || !(to.insecure || found.roots.is_empty()) => {
                Trust::Host { origin, shows, verifies: !to.insecure }
            }
            () if to.insecure => Trust::Anyone,
            () => Trust::System,
        };
        Ok((trust, found))
    }

    fn certificates(&self, options: &Options, of: &Origin, url: &Url) -> Result<Arc<Certificates>> {
        let mut known = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(of) {
            return Ok(found.clone());
        }
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
        let found = Arc::new(options.certificates.find(host, port.unwrap_or_default())?);
        known.insert(of.clone(), found.clone());
        Ok(found)
    }
}

/// The HTTP library speaks to a server and to its TLS proxy with the same certificates, and the
/// proxy must not see them (rule C7).
fn check_tls_proxy(via: Option<&Via>, certificates: &Certificates, url: &Url) -> Result<()> {
    match via.filter(|via| via.is_tls() && !certificates.is_empty()) {
        None => Ok(()),
        Some(via) => Err(Error::new(
            Kind::Unsupported,
            format!(
                "{} has certificates of its own, which a proxy behind TLS must not see",
                shown(url)
            ),
        )
        .found(format!("the proxy {}", via.shown))
        .hint("use a proxy with an `http://` URL: TLS to the registry goes through it unread")),
    }
}

fn make(options: &Options, way: &Way, certificates: &Certificates) -> Result<Client> {
    let fault = |err| Error::new(Kind::Io, "cannot set up HTTP").source(err);
    let mut builder = Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .user_agent(&options.user_agent)
        .connect_timeout(options.timeouts.connect)
        .pool_max_idle_per_host(options.per_host);
    if let Some(via) = &way.via {
        let no_url = |err: reqwest::Error| {
            Error::new(Kind::Usage, format!("cannot use the proxy {}", via.shown))
                .source(err.without_url())
        };
        builder = builder.proxy(Proxy::all(via.url.clone()).map_err(no_url)?);
    }
    if way.ceiling < Reach::Special || way.pinned.is_some() {
        let guard = Guard { ceiling: way.ceiling, pinned: way.pinned.clone() };
        builder = builder.dns_resolver(Arc::new(guard));
    }
    let builder = match &way.trust {
        Trust::Plain if way.via.as_ref().is_none_or(|via| !via.is_tls()) => {
            builder.tls_backend_preconfigured(trust::nobody()?)
        }
        Trust::Anyone | Trust::Host { verifies: false, .. } => {
            untold(builder, certificates, way.trust.shows())?
        }
        Trust::Plain | Trust::System | Trust::Host { .. } => {
            builder.tls_backend_preconfigured(verifying(options, certificates, &way.trust)?)
        }
    };
    builder.build().map_err(fault)
}

/// The system's certificates, those that the program adds, and those of the host.
fn verifying(options: &Options, own: &Certificates, trust: &Trust) -> Result<ClientConfig> {
    let mut roots = Vec::new();
    for pem in &options.extra_roots {
        roots.extend(trust::parse(pem)?);
    }
    if let Trust::Host { .. } = trust {
        for (path, pem) in &own.roots {
            roots.extend(trust::parse(pem).map_err(|err| err.context(path.display()))?);
        }
    }
    let shown = match own.identity.as_ref().filter(|_| trust.shows()) {
        Some((path, pem)) => Some(certs::pair(path, pem)?),
        None => None,
    };
    trust::config(roots, shown)
}

/// Any certificate will do.
fn untold(builder: ClientBuilder, own: &Certificates, shows: bool) -> Result<ClientBuilder> {
    // Another part of the program may have chosen a provider; then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = builder.tls_danger_accept_invalid_certs(true);
    let Some((path, pem)) = own.identity.as_ref().filter(|_| shows) else { return Ok(builder) };
    let identity = Identity::from_pem(pem)
        .map_err(|_| Error::invalid(format!("{} is no client certificate", path.display())))?;
    Ok(builder.identity(identity))
}

/// A name service whose answers are judged when the connection is made.
#[derive(Debug)]
struct Guard {
    ceiling: Reach,
    /// Addresses that are given for the only name that is asked for.
    pinned: Option<Vec<IpAddr>>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (ceiling, pinned) = (self.ceiling, self.pinned.clone());
        Box::pin(async move {
            let found: Vec<SocketAddr> = match pinned {
                Some(pinned) => pinned.into_iter().map(|address| (address, 0).into()).collect(),
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| Reach::of(address.ip()) <= ceiling).collect();
            if allowed.is_empty() {
                return Err(Near(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::failure::fault;

    fn to(url: &Url, ceiling: Reach) -> To<'_> {
        To { url, ceiling, own: false, insecure: false }
    }

    /// A name is judged by the addresses that it means when the connection is made (rule C3).
    #[tokio::test]
    async fn a_name_that_means_this_machine_is_not_public() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url: Url = format!("http://localhost:{port}/").parse().unwrap();
        let (options, transport) = (Options::default(), Transport::default());
        for ceiling in [Reach::Public, Reach::Private] {
            let pool = transport.pool(&options, to(&url, ceiling)).unwrap();
            let err = pool.get(url.clone()).send().await.unwrap_err();
            let err = fault(err, &url);
            assert_eq!(err.kind(), Kind::Denied, "{err}");
            assert!(err.message().contains("nearer to this machine"), "{err}");
        }
        let pool = transport.pool(&options, to(&url, Reach::Loopback)).unwrap();
        let (sent, accepted) = tokio::join!(
            tokio::time::timeout(Duration::from_millis(200), pool.get(url.clone()).send()),
            listener.accept()
        );
        assert!(sent.is_err() && accepted.is_ok(), "the connection is made");
    }
}
