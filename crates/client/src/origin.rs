//! Who may see which secret, and where a stranger's URL may lead. No other module decides that.
//!
//! An origin is scheme, host and port (RFC 6454). Every secret belongs to one:
//!
//! | secret | who may see it |
//! |---|---|
//! | `Authorization` of a request | the origin of the registry; never after a redirect has left it |
//! | user name and password | the registry, and a token server in its own domain |
//! | bearer token | the registry that the token server issued it for |
//!
//! Every URL that a server supplies passes through here:
//!
//! | URL | may lead |
//! |---|---|
//! | redirect of a GET or HEAD | anywhere, never from TLS to plain, not nearer to this machine than the registry, but for private networks |
//! | redirect of another method, upload `Location` | the same, private networks included |
//! | `Link` to a next page | the registry's own origin |
//! | token server (`realm`) | with TLS where the registry has it, not nearer to this machine than the registry |
//!
//! "Nearer" is a matter of addresses, see [`Reach`]. They are checked here where the URL spells one,
//! and when the connection is made where it has a name, so that no second answer of the
//! name service is trusted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conex_spec::{Error, Kind, Result};
use reqwest::Url;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

/// How near to this machine an address is; the later, the nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reach {
    /// Anywhere.
    Public,
    /// A network of its own: RFC 1918, RFC 6598, RFC 4193.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, where clouds keep the machine's own secrets, unspecified, multicast, reserved.
    Special,
}

impl Origin {
    /// From a scheme and `host[:port]`.
    pub(crate) fn new(scheme: &str, authority: &str) -> Result<Self> {
        let url = Url::parse(&format!("{scheme}://{authority}/"))
            .map_err(|err| Error::invalid(format!("not a registry: {authority:?}")).source(err))?;
        Self::of(&url)
    }

    /// Of a URL; fails unless it is of HTTP.
    pub(crate) fn of(url: &Url) -> Result<Self> {
        let scheme = url.scheme();
        let parts = (url.host_str(), url.port_or_known_default());
        match (scheme, parts) {
            ("http" | "https", (Some(host), Some(port))) => {
                Ok(Self { tls: scheme == "https", host: host.to_owned(), port })
            }
            _ => Err(Error::new(Kind::Denied, "a server leads to a URL that is not of HTTP")
                .expected("http or https")
                .found(scheme)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Reach {
    /// Of an address. Addresses that hold another one (mapped, 6to4, NAT64) count as that one.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => match embedded(v6) {
                Some(v4) => Self::of_v4(v4),
                None => Self::of_v6(v6),
            },
        }
    }

    /// Of the address that a URL spells, if it spells one.
    pub(crate) fn of_literal(url: &Url) -> Option<Self> {
        let host = url.host_str()?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().ok().map(Self::of)
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        let [a, b, ..] = v4.octets();
        if v4.is_loopback() {
            Self::Loopback
        } else if v4.is_private() || (a == 100 && b & 0xc0 == 64) {
            Self::Private
        } else if v4.is_link_local() || a == 0 || a >= 224 {
            Self::Special
        } else {
            Self::Public
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        if v6.is_loopback() {
            Self::Loopback
        } else if v6.is_unique_local() {
            Self::Private
        } else if v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() {
            Self::Special
        } else {
            Self::Public
        }
    }
}

/// The IPv4 address inside an IPv6 one: `::ffff:a.b.c.d`, `::a.b.c.d`, 2002::/16, 64:ff9b::/96.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(v4(g, h)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Whether a request to `target` may carry the secrets of `registry`.
pub(crate) fn may_see_secrets(registry: &Origin, target: &Url) -> bool {
    Origin::of(target).is_ok_and(|target| target == *registry)
}

/// The next URL of a redirect from `from`.
pub(crate) fn redirect(from: &Url, location: &str) -> Result<Url> {
    follow(from, location).map_err(|err| err.context("redirect"))
}

/// The URL of the next page of a list that `from` was a page of.
pub(crate) fn page(registry: &Origin, from: &Url, link: &str) -> Result<Url> {
    let url = upgraded(registry, follow(from, link).map_err(|err| err.context("next page"))?);
    if may_see_secrets(registry, &url) {
        return Ok(url);
    }
    Err(Error::new(Kind::Denied, "the list goes on at another server")
        .expected(registry)
        .found(shown(&url)))
}

/// Where an upload goes on. A registry may let another server take the bytes; that one sees
/// no secret, since [`may_see_secrets`] is asked for every request.
pub(crate) fn upload(registry: &Origin, from: &Url, location: &str) -> Result<Url> {
    follow_to(registry, from, location).map_err(|err| err.context("upload location"))
}

/// A token server's URL. `at` is what the registry calls it.
pub(crate) fn realm(registry: &Origin, at: &str) -> Result<Url> {
    let url = Url::parse(at).map_err(|err| {
        Error::invalid(format!("{registry} names a token server that is no URL")).source(err)
    })?;
    let origin = Origin::of(&url)?;
    if registry.tls && !origin.tls {
        return Err(Error::new(
            Kind::Denied,
            format!("{registry} names a token server without TLS"),
        )
        .expected("https")
        .found(shown(&url)));
    }
    Ok(cleaned(url))
}

/// Fails unless the address that a URL spells is at most as near to this machine as `ceiling`.
pub(crate) fn check_literal(url: &Url, ceiling: Reach) -> Result<()> {
    match Reach::of_literal(url) {
        Some(reach) if reach > ceiling => Err(Error::new(
            Kind::Denied,
            "a server leads to an address that it has no business with",
        )
        .expected(match ceiling {
            Reach::Public => "a public address",
            _ => "an address no nearer to this machine than the registry",
        })
        .found(shown(url))),
        _ => Ok(()),
    }
}

/// Fails unless a token server may see the passwords of a registry: it has the registry's
/// host, lies in the same domain, or is one of the `allowed` pairs of registry and host.
pub(crate) fn check_password(
    registry: &str,
    origin: &Origin,
    realm: &Url,
    allowed: &[(String, String)],
) -> Result<()> {
    let host = realm.host_str().unwrap_or_default();
    let listed = allowed.iter().any(|(name, server)| name == registry && server == host);
    if host == origin.host || listed || same_domain(&origin.host, host) {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, format!("{registry} wants its password sent to another domain"))
        .expected(format!("a token server in the domain of {}", origin.host))
        .found(shown(realm))
        .hint(format!("if you trust it: `--token-server {registry}={host}`")))
}

/// Whether two names lie in one domain that one party owns.
fn same_domain(a: &str, b: &str) -> bool {
    registrable(a).is_some_and(|domain| registrable(b) == Some(domain))
}

/// The part of a host name that someone registered: one label more than a public suffix.
fn registrable(host: &str) -> Option<&str> {
    if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let shared = SHARED.iter().find(|suffix| {
        host.strip_suffix(**suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    let labels = match shared {
        Some(suffix) => suffix.split('.').count(),
        None if second_level(host) => 2,
        None => 1,
    };
    let start = host.rmatch_indices('.').nth(labels).map_or(0, |(dot, _)| dot + 1);
    (host.split('.').count() > labels).then(|| &host[start..])
}

/// Whether names are registered at the third level, as below `co.uk`.
fn second_level(host: &str) -> bool {
    const USUAL: [&str; 16] = [
        "ac", "co", "com", "edu", "gob", "go", "gouv", "gov", "gv", "ltd", "mil", "ne", "net",
        "nom", "or", "org",
    ];
    let mut labels = host.rsplit('.');
    let country = labels.next().is_some_and(|label| label.len() == 2);
    country && labels.next().is_some_and(|label| USUAL.contains(&label))
}

/// Domains below which strangers live side by side, where registries are known to run.
const SHARED: [&str; 22] = [
    "amazonaws.com",
    "appspot.com",
    "azurecr.cn",
    "azurecr.io",
    "azurewebsites.net",
    "cloudfront.net",
    "duckdns.org",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.io",
    "nip.io",
    "onrender.com",
    "pages.dev",
    "run.app",
    "sslip.io",
    "vercel.app",
    "web.app",
    "workers.dev",
];

/// Resolves a location, refusing what is no HTTP and what would lose TLS.
fn follow(from: &Url, location: &str) -> Result<Url> {
    let url = from.join(location).map_err(|err| {
        Error::invalid(format!("{} leads to something that is no URL", shown(from))).source(err)
    })?;
    let old = Origin::of(from)?;
    let url = upgraded(&old, cleaned(url));
    let new = Origin::of(&url)?;
    if old.tls && !new.tls {
        return Err(Error::new(Kind::Denied, format!("{} leads away from TLS", shown(from)))
            .expected("https")
            .found(shown(&url)));
    }
    Ok(url)
}

/// As [`follow`], for a registry that may be behind a proxy that ends TLS for it.
fn follow_to(registry: &Origin, from: &Url, location: &str) -> Result<Url> {
    follow(from, location).map(|url| upgraded(registry, url))
}

/// Many a registry behind a proxy that ends TLS does not know of it and calls itself `http`. Its
/// own URLs are then asked over TLS all the same, which is never less safe.
fn upgraded(registry: &Origin, mut url: Url) -> Url {
    let own_host = url.host_str() == Some(&registry.host);
    let own_port = url.port().is_none() || url.port() == Some(registry.port);
    let upgrades = registry.tls && url.scheme() == "http" && own_host && own_port;
    if upgrades && url.set_scheme("https").is_ok() {
        // Without a port the one of the registry is meant.
        let _ = url.set_port(Some(registry.port));
    }
    url
}

/// Without user name, password and fragment: none of these is sent.
fn cleaned(mut url: Url) -> Url {
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

/// A URL fit for a message: a query may hold a signature, so it is left out.
pub(crate) fn shown(url: &Url) -> String {
    let query = if url.query().is_some() { "?…" } else { "" };
    let origin = Origin::of(url).map_or_else(|_| format!("{}:", url.scheme()), |o| o.to_string());
    let path: String = url.path().chars().take(300).collect();
    format!("{origin}{path}{query}")
}

#[cfg(test)]
#[path = "origin/tests.rs"]
mod tests;
