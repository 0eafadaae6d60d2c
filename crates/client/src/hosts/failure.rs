//! What it means that a server gave no answer, in words that say what to do.

use std::io;

use conex_spec::{Error, Kind};
use reqwest::Url;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::hosts::proxy::Via;
use crate::origin::shown;

/// A name that means an address which a server has no business to lead to.
#[derive(Debug)]
pub(crate) struct Near(pub(crate) String);

impl std::fmt::Display for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} means an address nearer to this machine than the registry", self.0)
    }
}

impl std::error::Error for Near {}

/// The cause of a connection that comes to nothing however often it is tried: no TLS is spoken there.
#[derive(Debug)]
struct NoTls(String);

impl std::fmt::Display for NoTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoTls {}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The server's certificate is not to be trusted.
    Untrusted(&'static str),
    /// The server ended the handshake.
    Refused(&'static str),
    /// The server speaks no TLS.
    NoTls,
    /// The name leads where it must not.
    Near,
    /// The name service does not know the name.
    NoName,
    /// Nobody listens there.
    NobodyThere,
    Proxy,
    Connect,
    Other,
}

/// The fault of a request that got no answer. A server that cannot be trusted is no passing
/// failure of the network.
pub(crate) fn fault(err: reqwest::Error, url: &Url) -> Error {
    fault_through(err, url, None)
}

/// The same, where a proxy may have been between; it is named.
pub(crate) fn fault_through(err: reqwest::Error, url: &Url, proxy: Option<&Via>) -> Error {
    let trouble = trouble(&err);
    let what = match trouble {
        Trouble::Untrusted(_) => "cannot trust",
        Trouble::Other => "no answer from",
        _ => "cannot connect to",
    };
    let kind = match trouble {
        Trouble::Untrusted(_) | Trouble::Refused(_) | Trouble::Near => Kind::Denied,
        _ => Kind::Network,
    };
    // Only the innermost cause says something to people.
    let cause = causes(&err).last().map(ToString::to_string).unwrap_or_default();
    let through = proxy.map(|via| format!(" through the proxy {}", via.shown)).unwrap_or_default();
    let what = format!("{what} {}{through}", shown(url));
    let fault = match trouble {
        Trouble::NoTls => {
            Error::new(kind, format!("{what}: no TLS is spoken there")).source(NoTls(cause))
        }
        _ => Error::new(kind, format!("{what}: {cause}")),
    };
    match hint(trouble, url, proxy) {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// Whether another try would come to the same.
pub(crate) fn is_lasting(err: &Error) -> bool {
    std::error::Error::source(err).is_some_and(|cause| cause.is::<NoTls>())
}

/// Whether the other side answered with something that is no HTTP, as TLS does.
pub(crate) fn is_not_http(err: &reqwest::Error) -> bool {
    !err.is_connect() && !err.is_timeout()
}

/// Whether the other side speaks TLS, but one side does not trust the other.
pub(crate) fn is_about_trust(err: &reqwest::Error) -> bool {
    matches!(trouble(err), Trouble::Untrusted(_) | Trouble::Refused(_))
}

/// Whether the other side answered TLS with something that is none.
pub(crate) fn is_no_tls(err: &reqwest::Error) -> bool {
    trouble(err) == Trouble::NoTls
}

fn trouble(err: &reqwest::Error) -> Trouble {
    let tls = causes(err).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    let io = causes(err).find_map(|cause| cause.downcast_ref::<io::Error>());
    let says = |part: &str| causes(err).any(|cause| cause.to_string().contains(part));
    match (tls, io.map(io::Error::kind)) {
        (Some(tls), _) => of_tls(tls),
        _ if causes(err).any(|cause| cause.is::<Near>()) => Trouble::Near,
        _ if says("dns error") => Trouble::NoName,
        (_, Some(io::ErrorKind::ConnectionRefused)) => Trouble::NobodyThere,
        _ if says("tunnel error") => Trouble::Proxy,
        _ if err.is_connect() => Trouble::Connect,
        _ => Trouble::Other,
    }
}

fn of_tls(err: &rustls::Error) -> Trouble {
    use rustls::Error as Tls;
    match err {
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => Trouble::NoTls,
        Tls::AlertReceived(alert) => Trouble::Refused(match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                "it may want a client certificate: put client.cert and client.key into"
            }
            _ => "",
        }),
        Tls::InvalidCertificate(fault) => Trouble::Untrusted(match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the registry's certificate has expired, or this machine's clock is wrong"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the registry's certificate is for other names"
            }
            _ => "",
        }),
        _ => Trouble::Untrusted(""),
    }
}

fn hint(trouble: Trouble, url: &Url, proxy: Option<&Via>) -> Option<String> {
    let proxied = proxy.is_some();
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let folder = format!("/etc/containers/certs.d/{host}/, or give --cert-dir");
    let who = if proxied { "the proxy" } else { "the server" };
    Some(match trouble {
        Trouble::Untrusted("") => {
            format!("put the certificate of the registry's authority, as ca.crt, into {folder}")
        }
        Trouble::Untrusted(why) => why.to_owned(),
        Trouble::Refused("") => return None,
        Trouble::Refused(why) => format!("{why} {folder}"),
        Trouble::NoTls if proxy.is_some_and(Via::is_tls) => format!(
            "if it is the proxy that speaks no TLS, its URL begins with http://; if it is the \
             registry, and it should not, use --plain-http={host}"
        ),
        Trouble::NoTls => format!("if the registry should speak no TLS, use --plain-http={host}"),
        Trouble::NoName if proxied => "check the name of the proxy".to_owned(),
        Trouble::NoName => {
            "check the name; where names are known to a proxy alone, set HTTPS_PROXY".to_owned()
        }
        Trouble::NobodyThere => format!("check the port, and whether {who} runs"),
        Trouble::Proxy => "the proxy does not let the request through, or wants a login".to_owned(),
        Trouble::Connect | Trouble::Near | Trouble::Other => return None,
    })
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
