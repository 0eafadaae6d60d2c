//! What single strings have to look like.

use crate::digest::{Algorithm, Digest};
use crate::reference::Reference;

/// RFC 6838, section 4.2: TYPE/SUBTYPE, each a restricted name of at most 127 characters.
pub(super) fn is_media_type(text: &str) -> bool {
    let name = |part: &str| {
        let mut bytes = part.bytes();
        part.len() <= 127
            && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype))
}

/// What a digest lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DigestFault {
    Grammar,
    Encoding(Algorithm),
}

/// The digest, or what it lacks.
pub(super) fn digest(text: &str) -> Result<Digest, DigestFault> {
    text.parse::<Digest>().map_err(|_| {
        let algorithm = text.split_once(':').and_then(|(name, encoded)| {
            let known = name.to_ascii_lowercase().parse::<Algorithm>().ok()?;
            let grammatical = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                && !encoded.is_empty()
                && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b));
            grammatical.then_some(known)
        });
        algorithm.map_or(DigestFault::Grammar, DigestFault::Encoding)
    })
}

/// RFC 3986: `scheme ":" hier-part`, of the characters that a URI may hold.
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut bytes = scheme.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && rest.split_once('#').map_or_else(
            || is_uri_text(rest, b"[]"),
            |(before, fragment)| is_uri_text(before, b"[]") && is_uri_text(fragment, b""),
        )
}

/// Unreserved and reserved characters and whole `%XX`; `#` only divides, and brackets stand only
/// in an address.
fn is_uri_text(text: &str, more: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, b)| match b {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b => b.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=".contains(b) || more.contains(b),
    })
}

/// A URL that one can follow: a URI with something after `//`.
pub(super) fn is_url(text: &str) -> bool {
    is_uri(text) && text.split_once("://").is_some_and(|(_, rest)| !rest.is_empty())
}

/// RFC 3339, section 5.6, `date-time`.
pub(super) fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() {
        return false;
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(digits);
    let marks = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 7), number(8, 10)) else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) = (number(11, 13), number(14, 16), number(17, 19))
    else {
        return false;
    };
    marks.iter().all(|(at, mark)| bytes[*at] == mark[0])
        && matches!(bytes[10], b'T' | b't')
        && (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        // A leap second.
        && second <= 60
        && is_zone(fraction_after(&text[19..]))
}

/// What comes after a fraction of a second, where there is one.
fn fraction_after(text: &str) -> &str {
    match text.strip_prefix('.') {
        Some(rest) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            // A point without digits is no fraction.
            if zone.len() == rest.len() { text } else { zone }
        }
        None => text,
    }
}

fn is_zone(text: &str) -> bool {
    if matches!(text, "Z" | "z") {
        return true;
    }
    let (Some(hour), Some(minute)) =
        (text.get(1..3).and_then(digits), text.get(4..6).and_then(digits))
    else {
        return false;
    };
    text.len() == 6
        && matches!(text.as_bytes()[0], b'+' | b'-')
        && text.as_bytes()[3] == b':'
        && hour <= 23
        && minute <= 59
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// annotations.md, "Rules": `com.example.myKey`. What comes after a slash is free, as the keys of
/// Kubernetes have it.
pub(super) fn is_reverse_domain(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or_default();
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    domain.contains('.') && domain.split('.').all(part)
}

/// annotations.md, "Pre-Defined Annotation Keys", the grammar of `ref.name`.
pub(super) fn is_ref_name(text: &str) -> bool {
    text.split('/').all(|component| {
        // `--` is a separator too; as one character it needs no rule of its own.
        let component = component.replace("--", "-");
        component
            .split(['-', '.', '_', ':', '@', '+'])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
    }) && !text.contains("---")
}

/// A reference that names its registry.
pub(super) fn is_qualified_reference(text: &str) -> bool {
    let Some((registry, _)) = text.split_once('/') else { return false };
    let names_registry = registry.contains(['.', ':']) || registry == "localhost";
    names_registry && text.parse::<Reference>().is_ok()
}

/// SPDX 2.3, Annex D, without the list of licences: ids joined by AND, OR and WITH.
pub(super) fn is_license_expression(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut depth = 0_usize;
    // Whether an operand is to come next.
    let mut wanted = true;
    for word in spaced.split_whitespace() {
        match word {
            "(" if wanted => depth += 1,
            ")" if !wanted && depth > 0 => depth -= 1,
            "AND" | "OR" | "WITH" if !wanted => wanted = true,
            "(" | ")" | "AND" | "OR" | "WITH" => return false,
            id if wanted && is_license_id(id) => wanted = false,
            _ => return false,
        }
    }
    !wanted && depth == 0
}

fn is_license_id(id: &str) -> bool {
    let id = id.strip_suffix('+').unwrap_or(id);
    let parts: Vec<_> = id.split(':').collect();
    let idstring = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    // A licence of one's own may stand in another document: `DocumentRef-x:LicenseRef-y`.
    parts.len() <= 2 && parts.iter().all(idstring)
}

/// config.md, "ExposedPorts": `port/tcp`, `port/udp`, `port`. Docker knows SCTP as well.
pub(super) fn is_port(text: &str) -> bool {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = |text: &str| digits(text).is_some_and(|port| (1..=65535).contains(&port));
    // Docker writes a range that was exposed port by port; older builders wrote it as it was.
    let known = port.split_once('-').map_or_else(|| number(port), |(a, b)| number(a) && number(b));
    known && matches!(protocol, "tcp" | "udp" | "sctp")
}

/// config.md, "StopSignal": `SIGNAME`, or a number as Docker takes it.
pub(super) fn is_signal(text: &str) -> bool {
    if digits(text).is_some_and(|number| (1..=64).contains(&number)) {
        return true;
    }
    let Some(name) = text.strip_prefix("SIG") else { return false };
    let (name, offset) = match name.find(['+', '-']) {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    };
    let word =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    word && offset.is_none_or(|offset| !offset.is_empty() && digits(offset).is_some())
}

/// config.md, "User": a number stays below 2^32, or it wraps around (CVE-2024-40635). Names are
/// anything else.
pub(super) fn is_user(text: &str) -> bool {
    text.split(':').all(|part| {
        let unsigned = part.strip_prefix(['-', '+']).unwrap_or(part);
        let numeric = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
        !numeric || part.parse::<u32>().is_ok()
    })
}

/// Whether a user, and a group after a colon, are named.
pub(super) fn names_user(text: &str) -> bool {
    let mut parts = text.split(':');
    parts.clone().count() <= 2 && parts.all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(check: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(check(text), "{text:?} refused");
        }
        for text in bad {
            assert!(!check(text), "{text:?} accepted");
        }
    }

    #[test]
    fn media_types() {
        let long = format!("a/{}", "b".repeat(128));
        table(
            is_media_type,
            &["a/b", "application/vnd.oci.image.layer.v1.tar+gzip", "x/y!#$&-^_.+"],
            &["", "a", "a/", "/b", "a/b/c", "a/b; charset=utf-8", "a b/c", ".a/b", "a/*", &long],
        );
    }

    #[test]
    fn times() {
        table(
            is_time,
            &[
                "2015-10-31T22:22:56.015925234Z",
                "2024-02-29T00:00:00Z",
                "1990-12-31T15:59:60-08:00",
                "0001-01-01T00:00:00Z",
                "2015-10-31t22:22:56z",
            ],
            &[
                "",
                "2015-10-31",
                "2015-10-31T22:22:56",
                "2015-10-31T22:22:56.Z",
                "2023-02-29T00:00:00Z",
                "2015-13-01T00:00:00Z",
                "2015-10-31T24:00:00Z",
                "2015-10-31T22:22:56+0100",
                "2015-10-31T22:22:56Z ",
                "Sat Oct 31 22:22:56 2015",
                "20é5-10-31T22:22:56Z",
                "+015-10-31T22:22:56Z",
            ],
        );
    }

    #[test]
    fn uris() {
        table(
            is_uri,
            &["https://example.com/a?b=c#d", "urn:x:y", "http://[::1]/", "a:%20"],
            &["", "example.com", "1a:b", "http://a b", "a:%2", "a:%zz", "a:\u{e9}", "a:b#c#d"],
        );
        table(is_url, &["https://example.com"], &["example.com", "mailto:a@b", "https://"]);
    }

    #[test]
    fn digests() {
        let hex = "ab".repeat(32);
        let fault = |text: &str| digest(text).err();
        assert_eq!(fault(&format!("sha256:{hex}")), None);
        assert_eq!(fault("multihash+base58:QmRZxt2b"), None);
        for text in ["", "sha256", "sha256:", ":ab", "SHA256:ab", "sha256:../x", "a++b:c"] {
            assert_eq!(fault(text), Some(DigestFault::Grammar), "{text}");
        }
        for text in [format!("sha256:{}", &hex[1..]), format!("sha256:{}", hex.to_uppercase())] {
            assert_eq!(fault(&text), Some(DigestFault::Encoding(Algorithm::Sha256)), "{text}");
        }
    }

    #[test]
    fn names() {
        table(
            is_reverse_domain,
            &["com.example.myKey", "io.k8s.app/name", "org.opencontainers.image.ref.name"],
            &["maintainer", "", ".a", "a..b", "com.example my"],
        );
        table(
            is_ref_name,
            &["v1.0", "a/b:c@d", "docker.io/library/x:1", "a--b", "1"],
            &["", "a b", "-a", "a-", "a..b", "a---b", "a//b", "\u{e9}"],
        );
        table(
            is_qualified_reference,
            &["registry.example.com/my-org/my-image:tag", "localhost/x", "host:5000/x"],
            &["my-org/my-image:tag", "alpine", "registry.example.com/UPPER", ""],
        );
    }

    #[test]
    fn licences() {
        table(
            is_license_expression,
            &[
                "MIT",
                "Apache-2.0 OR (MIT AND GPL-2.0+)",
                "GPL-2.0-only WITH Classpath-exception-2.0",
                "DocumentRef-a:LicenseRef-b",
            ],
            &["", "MIT, Apache-2.0", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Apache", "a b"],
        );
    }

    #[test]
    fn members_of_a_config() {
        table(
            is_port,
            &["80", "80/tcp", "53/udp", "8000-8010/tcp"],
            &["", "0", "65536", "http", "80/x", "/tcp", "+80", "1-"],
        );
        table(
            is_signal,
            &["SIGTERM", "SIGRTMIN+3", "9", "SIGUSR1"],
            &["", "TERM", "SIG", "SIGRTMIN+", "SIGx", "0", "65"],
        );
        table(
            is_user,
            &["", "root", "0", "1000:1000", "a:b", "4294967295", "www-data:33"],
            &["4294967296", "-1", "0:99999999999", "+5000000000"],
        );
    }
}
