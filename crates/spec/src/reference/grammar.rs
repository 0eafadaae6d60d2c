//! The grammars of a reference's parts, matched by hand: each in one pass, none with a regexp.

use std::net::Ipv6Addr;

use crate::error::{Error, Result};

/// The longest `registry/repository`. distribution-spec, "Pulling manifests".
pub(super) const MAX_NAME: usize = 255;
/// The longest tag. distribution-spec, "Pulling manifests".
const MAX_TAG: usize = 128;
/// The longest label of a host name. RFC 1035, 2.3.4.
const MAX_LABEL: usize = 63;

/// A piece of a stranger's text, fit for a message: quoted, escaped and not long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 160;
    let start: String = text.chars().take(LONGEST).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. distribution-spec, "Pulling manifests".
pub(super) fn registry_tag(text: &str) -> Result<()> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = text.bytes().next().is_some_and(word);
    let rest = text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if first && rest && text.len() <= MAX_TAG {
        return Ok(());
    }
    let err = Error::invalid("not a registry's tag")
        .expected("1 to 128 of A-Z, a-z, 0-9, _ . and -, not beginning with . or -")
        .found(shown(text));
    let version = version_tag(text);
    Err(if text.contains('+') && registry_tag(&version).is_ok() {
        err.hint(format!("the tag of version {text} is {version}"))
    } else {
        err
    })
}

/// The tag of a version, as charts and bundles have it: "Helm adopts the convention of changing plus (+) to
/// an underscore (_)".
pub(super) fn version_tag(version: &str) -> String {
    version.replace('+', "_")
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, one or more joined by slashes.
/// distribution-spec, "Pulling manifests".
pub(super) fn repository(text: &str) -> Result<()> {
    if text.len() <= MAX_NAME && text.split('/').all(is_component) {
        return Ok(());
    }
    let err = Error::invalid("not a repository")
        .expected("a-z and 0-9, joined by one of . _ __ - and /, at most 255 characters")
        .found(shown(text));
    let lower = text.to_ascii_lowercase();
    Err(if lower.split('/').all(is_component) && lower != text {
        err.hint("repositories are written in lower case")
    } else {
        err
    })
}

fn is_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // What stands between two neighbouring letters or digits: nothing, or one separator.
    let gap = |gap: &str| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-');
    text.starts_with(word) && text.ends_with(word) && text.split(word).all(gap)
}

/// A registry in its canonical form. Host names know no case (RFC 3986, 3.2.2), so that one registry
/// is one text, whether credentials are looked up by it or content is mounted from it. It is lower
/// case, but for a single word without port: `host/a` would be a repository of Docker's registry,
/// so such a host is written `HOST/a`.
pub(super) fn registry(text: &str) -> Result<String> {
    let lower = text.to_ascii_lowercase();
    canonical(&lower).ok_or_else(|| {
        Error::invalid("not a registry")
            .expected("HOST[:PORT], an IPv6 address in brackets")
            .found(shown(text))
    })
}

fn canonical(text: &str) -> Option<String> {
    if text.len() > MAX_NAME {
        return None;
    }
    let (host, port) = host_and_port(text);
    let host = if text.starts_with('[') {
        format!("[{}]", host.parse::<Ipv6Addr>().ok()?)
    } else if host.split('.').all(is_label) {
        host.to_owned()
    } else {
        return None;
    };
    match port {
        None if host != "localhost" && !host.contains(['.', '[']) => {
            let upper = host.to_ascii_uppercase();
            (upper != host).then_some(upper)
        }
        None => Some(host),
        Some(port) => Some(format!("{host}:{}", parse_port(port)?)),
    }
}

fn is_label(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(word)
        && text.ends_with(word)
        && text.len() <= MAX_LABEL
        && text.chars().all(|c| word(c) || c == '-')
}

fn parse_port(text: &str) -> Option<u16> {
    // `u16` would take a plus sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

/// The host without brackets and what stands after its colon.
pub(super) fn host_and_port(registry: &str) -> (&str, Option<&str>) {
    let bracketed = registry.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match bracketed {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            // Something without a colon, as in `[::1]5000`: no port parses from nothing.
            None => (host, Some("")),
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    }
}
