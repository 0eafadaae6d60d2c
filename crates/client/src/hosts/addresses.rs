//! Addresses that the program gives to names, as curl's `--resolve` does.

use std::net::IpAddr;
use std::str::FromStr;

use conex_spec::{Error, Kind};
use reqwest::Url;

/// `HOST:PORT:ADDRESS[,ADDRESS]…`: where a name is, whatever the name service says. `*` as host is
/// every name. Through a proxy it means nothing: the proxy resolves names itself.
///
/// ```
/// let pin: conex_client::Pin = "registry.example:443:192.0.2.7".parse()?;
/// # Ok::<(), conex_spec::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl FromStr for Pin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fault = || {
            Error::new(Kind::Usage, "not an address of a name")
                .expected("HOST:PORT:ADDRESS[,ADDRESS]…")
                .found(text.escape_debug())
        };
        let (host, rest) = text.split_once(':').ok_or_else(fault)?;
        let (port, addresses) = rest.split_once(':').ok_or_else(fault)?;
        if host.is_empty() || host.contains(['[', ']', '/', '@']) {
            return Err(fault());
        }
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            bare.unwrap_or(text).parse().map_err(|_| fault())
        };
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port: port.parse().map_err(|_| fault())?,
            addresses: addresses.split(',').map(address).collect::<Result<_, _>>()?,
        })
    }
}

/// The addresses that are given for the host of a URL; the first pin that fits is used.
pub(crate) fn pinned(pins: &[Pin], url: &Url) -> Option<Vec<IpAddr>> {
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let fits = |pin: &&Pin| pin.port == port && (pin.host == host || pin.host == "*");
    pins.iter().find(fits).map(|pin| pin.addresses.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins() {
        let pins: Vec<Pin> = [
            "Registry.example:443:192.0.2.7,[2001:db8::1]",
            "registry.example:5000:::1",
            "*:80:127.0.0.1",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        for (url, wanted) in [
            ("https://registry.example/v2/", "192.0.2.7 2001:db8::1"),
            ("http://registry.example:5000/", "::1"),
            ("http://any.example/", "127.0.0.1"),
            ("https://any.example/", ""),
        ] {
            let found = pinned(&pins, &url.parse().unwrap()).unwrap_or_default();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), wanted, "{url}");
        }
        for bad in ["", "a", "a:1", "a:x:1.2.3.4", "a:1:", "a:1:b", ":1:1.2.3.4", "a:99999:::1"] {
            assert_eq!(bad.parse::<Pin>().unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }
}
