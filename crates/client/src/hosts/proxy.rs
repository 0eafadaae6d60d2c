//! Through which proxy a request goes.
//!
//! The variables mean what they mean to the other tools of the field, which share Go's reading of
//! them (golang.org/x/net/http/httpproxy): `NO_PROXY` is a list of `*`, addresses, networks in CIDR
//! and names. `example.com` is that name and all below it, `.example.com` and `*.example.com` only
//! those below; each may end in `:port`. Names are never looked up to compare them.
//!
//! # Security
//! - A proxy's user name and password go to it alone, never to the server behind it and into no
//!   message.
//! - This machine is asked directly unless [`Proxies::loopback`] says otherwise.
//! - An `https` server is reached by CONNECT, so the proxy sees its name and port, and no secret.
//! - A proxy resolves names itself. Where a server's URL leads elsewhere, spelled addresses are
//!   judged as ever (rule C3), and names by what this machine's own name service says of them; one
//!   that is unknown here is left to the proxy, whose owner decides what may be reached through it.

use std::fmt;
use std::net::IpAddr;

use conex_spec::{Error, Kind, Result};
use reqwest::Url;

use crate::secret::Secret;

/// Through which proxies requests go, in the words of the usual environment variables.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http` URLs, as `http_proxy`.
    pub http: Option<Proxy>,
    /// For `https` URLs, as `https_proxy`.
    pub https: Option<Proxy>,
    /// Hosts that are asked directly, as `no_proxy`.
    pub direct: String,
    /// Whether servers on this machine are asked through a proxy too.
    pub loopback: bool,
}

/// A proxy, and where it is set.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// It may hold a password.
    url: Secret,
    set_by: String,
}

impl Proxy {
    /// A proxy by its URL: `http`, `https`, `socks5` (names are resolved here) or `socks5h` (names
    /// are resolved there); without a scheme it is `http`. `set_by` tells people where it comes
    /// from, for example `HTTPS_PROXY`. The URL is looked at when it is first needed.
    pub fn new(url: impl Into<String>, set_by: impl Into<String>) -> Self {
        Self { url: Secret::new(url.into()), set_by: set_by.into() }
    }

    /// Where it comes from.
    pub fn set_by(&self) -> &str {
        &self.set_by
    }

    fn parse(&self) -> Result<Via> {
        const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
        let text = self.url.expose().trim();
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // Nothing of the text is repeated: it may hold a password.
        let fault = || Error::new(Kind::Usage, format!("{} is no URL of a proxy", self.set_by));
        let url = Url::parse(&text)
            .map_err(|err| fault().expected("http://[user:password@]host[:port]").source(err))?;
        if !SCHEMES.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
            return Err(fault()
                .expected(format!("one of {}", SCHEMES.join(", ")))
                .found(url.scheme().escape_debug()));
        }
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{host}{port} ({})", url.scheme(), self.set_by);
        Ok(Via { url, shown })
    }
}

/// The proxy of one request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Via {
    /// With user name and password.
    pub(crate) url: Url,
    /// For people.
    pub(crate) shown: String,
}

impl Via {
    /// Whether the proxy is spoken to over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether names are resolved by the proxy, without a guard of ours.
    pub(crate) fn resolves(&self) -> bool {
        self.url.scheme() != "socks5"
    }

    /// Whether names are not to be looked up here.
    pub(crate) fn hides_names(&self) -> bool {
        self.url.scheme() == "socks5h"
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Proxies {
    /// The proxy for a URL; nothing where its server is asked directly.
    pub(crate) fn choose(&self, url: &Url) -> Result<Option<Via>> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let (Some(proxy), Some(host), Some(port)) =
            (proxy, url.host_str(), url.port_or_known_default())
        else {
            return Ok(None);
        };
        let host = Host::of(host);
        if (host.is_loopback() && !self.loopback) || is_direct(&self.direct, &host, port) {
            return Ok(None);
        }
        proxy.parse().map(Some)
    }
}

/// Whether a list as in `NO_PROXY` names a host.
fn is_direct(list: &str, host: &Host<'_>, port: u16) -> bool {
    let entries = list.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
    entries.into_iter().any(|entry| entry == "*" || names(&entry.to_ascii_lowercase(), host, port))
}

fn names(entry: &str, host: &Host<'_>, port: u16) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        let within = |address: IpAddr| {
            Some(in_network(address, bare(network).parse().ok()?, bits.parse().ok()?))
        };
        return host.address.and_then(within).unwrap_or(false);
    }
    let (entry, wanted) = split_port(entry);
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(address) = bare(entry).parse::<IpAddr>() {
        return host.address == Some(address.to_canonical());
    }
    if host.address.is_some() {
        return false;
    }
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    match entry.strip_prefix('.') {
        Some("") => false,
        Some(_) => host.name.ends_with(entry),
        None => host
            .name
            .strip_suffix(entry)
            .is_some_and(|rest| !entry.is_empty() && (rest.is_empty() || rest.ends_with('.'))),
    }
}

/// `host:port`, `[v6]:port`, or no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let first = |bytes: u128, width: u32| bytes.checked_shr(width - bits).unwrap_or(0);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            first(a.to_bits().into(), 32) == first(b.to_bits().into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            first(a.to_bits(), 128) == first(b.to_bits(), 128)
        }
        _ => false,
    }
}

/// A host of a URL, which is in lower case there.
struct Host<'a> {
    name: &'a str,
    address: Option<IpAddr>,
}

impl<'a> Host<'a> {
    fn of(host: &'a str) -> Self {
        let address = bare(host).parse::<IpAddr>().ok().map(|address| address.to_canonical());
        Self { name: host.strip_suffix('.').unwrap_or(host), address }
    }

    fn is_loopback(&self) -> bool {
        self.name == "localhost"
            || self.name.ends_with(".localhost")
            || self.address.is_some_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_asked_directly() {
        for (list, direct, proxied) in [
            ("", "", "https://a.example/ https://10.0.0.1/"),
            ("*", "https://a.example/ https://10.0.0.1/ https://[::2]/", ""),
            (
                "example.com",
                "https://example.com https://a.b.example.com",
                "https://notexample.com https://example.com.evil",
            ),
            (
                ".example.com",
                "https://a.example.com https://a.b.example.com",
                "https://example.com https://aexample.com",
            ),
            ("*.example.com", "https://a.example.com", "https://example.com"),
            ("EXAMPLE.com", "https://Example.COM https://example.com.", ""),
            (
                "a.example:5000, b.example",
                "https://a.example:5000 https://b.example:7",
                "https://a.example https://a.example:5001",
            ),
            ("a.example\tb.example,,", "https://a.example https://b.example", "https://c.example"),
            ("10.1.2.3", "https://10.1.2.3 https://[::ffff:10.1.2.3]", "https://10.1.2.4"),
            (
                "10.0.0.0/8,fd00::/8",
                "https://10.255.0.1 https://[fd12::1]",
                "https://11.0.0.1 https://[fe00::1] https://a.example",
            ),
            ("0.0.0.0/0", "https://1.2.3.4", "https://[2001:db8::1] https://a.example"),
            ("10.0.0.0/33,10.0.0.0/x,/8,.", "", "https://10.0.0.1 https://a.example"),
            (
                "[2001:db8::1]:443 2001:db8::2",
                "https://[2001:db8::1] https://[2001:db8::2]:5000",
                "https://[2001:db8::1]:80 https://[2001:db8::3]",
            ),
        ] {
            let proxies = Proxies {
                https: Some(Proxy::new("proxy.example:3128", "TEST")),
                direct: list.into(),
                ..Proxies::default()
            };
            for (texts, wanted) in [(direct, false), (proxied, true)] {
                for text in texts.split_whitespace() {
                    let via = proxies.choose(&url(text)).unwrap();
                    assert_eq!(via.is_some(), wanted, "{list:?} {text}");
                }
            }
        }
    }

    #[test]
    fn this_machine_is_asked_directly_unless_told_otherwise() {
        let proxy = Some(Proxy::new("proxy.example:3128", "TEST"));
        let mut proxies = Proxies { http: proxy, ..Proxies::default() };
        for text in [
            "http://localhost:5000",
            "http://a.localhost",
            "http://127.0.0.9",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]",
        ] {
            proxies.loopback = false;
            assert!(proxies.choose(&url(text)).unwrap().is_none(), "{text}");
            proxies.loopback = true;
            assert!(proxies.choose(&url(text)).unwrap().is_some(), "{text}");
        }
    }

    #[test]
    fn each_scheme_has_its_own() {
        let proxies = Proxies {
            http: Some(Proxy::new("http://one.example:1", "http_proxy")),
            https: Some(Proxy::new("socks5h://two.example", "ALL_PROXY")),
            ..Proxies::default()
        };
        let shown = |text: &str| proxies.choose(&url(text)).unwrap().unwrap().shown;
        assert_eq!(shown("http://a.example"), "http://one.example:1 (http_proxy)");
        assert_eq!(shown("https://a.example"), "socks5h://two.example (ALL_PROXY)");
    }

    /// Rule C8.
    #[test]
    fn nothing_prints_a_password() {
        for text in [
            "http://bob:canary@proxy.example:3128",
            "bob:canary@proxy.example",
            "ftp://bob:canary@proxy.example",
            "http://bob:canary@",
            "http://bob:canary@[::1",
            "canary://",
        ] {
            let proxy = Proxy::new(text, "HTTPS_PROXY");
            let proxies = Proxies { https: Some(proxy), ..Proxies::default() };
            let chosen = proxies.choose(&url("https://a.example"));
            let printed = match &chosen {
                Ok(via) => format!("{via:?} {}", via.as_ref().unwrap().shown),
                Err(err) => format!("{err:?} {err} {:?}", err.found_value()),
            };
            let told = format!("{proxies:?} {printed}");
            assert!(!told.replace("canary\")", "").contains("bob:canary"), "{told}");
            assert!(text.starts_with("canary") || !told.contains("canary"), "{told}");
        }
    }
}
