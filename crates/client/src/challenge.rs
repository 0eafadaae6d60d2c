//! `WWW-Authenticate`, strictly. RFC 9110, 11.6.1, and RFC 6750, 3.

use std::collections::HashMap;

use conex_spec::{Error, Kind, Result};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password.
    Basic,
    /// A token from a server.
    Bearer {
        /// The server's URL, unchecked.
        realm: String,
        /// What the server calls the registry.
        service: Option<String>,
        /// What the token must be good for.
        scope: Option<String>,
    },
}

/// The best challenge of an answer: a token keeps the password from the registry.
pub(crate) fn parse(headers: &HeaderMap) -> Result<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let text = value.to_str().map_err(|err| malformed().source(err))?;
        found.extend(split(text)?);
    }
    let named = |name: &str| found.iter().position(|(scheme, _)| scheme.eq_ignore_ascii_case(name));
    if let Some(at) = named("bearer") {
        return bearer(found.swap_remove(at).1);
    }
    if named("basic").is_some() {
        return Ok(Challenge::Basic);
    }
    let schemes: Vec<_> = found.into_iter().map(|(scheme, _)| scheme).collect();
    Err(Error::new(Kind::Unsupported, "registry wants a login of an unknown kind")
        .expected("Basic or Bearer")
        .found(if schemes.is_empty() { "no challenge".into() } else { schemes.join(", ") }))
}

fn bearer(mut parameters: HashMap<String, String>) -> Result<Challenge> {
    let mut take = |name: &str| parameters.remove(name).filter(|value| !value.is_empty());
    let realm = take("realm").ok_or_else(|| malformed().expected("a realm").found("none"))?;
    Ok(Challenge::Bearer { realm, service: take("service"), scope: take("scope") })
}

fn malformed() -> Error {
    Error::invalid("registry sent a malformed WWW-Authenticate header")
}

type Parsed = Vec<(String, HashMap<String, String>)>;

/// Splits `Scheme a=b, c="d", Scheme2 …`; a word that no `=` follows begins a scheme.
fn split(text: &str) -> Result<Parsed> {
    let mut found: Parsed = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = token(rest)?;
        let trimmed = after.trim_start_matches([' ', '\t']);
        match trimmed.strip_prefix('=') {
            Some(value) if !value.starts_with('=') => {
                let (value, after) = parameter(value.trim_start_matches([' ', '\t']))?;
                let (_, parameters) = found.last_mut().ok_or_else(malformed)?;
                // Two readings of one challenge: refused.
                if parameters.insert(word.to_ascii_lowercase(), value).is_some() {
                    return Err(malformed().found(format!("`{word}` twice")));
                }
                rest = after;
            }
            _ => {
                found.push((word.to_owned(), HashMap::new()));
                rest = skip_token68(trimmed);
            }
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    Ok(found)
}

/// RFC 9110, 5.6.2.
fn token(text: &str) -> Result<(&str, &str)> {
    let part_of = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let length = text.bytes().take_while(|b| part_of(*b)).count();
    if length == 0 {
        let found: String = text.chars().take(20).collect();
        return Err(malformed().expected("a word").found(format!("{found:?}")));
    }
    Ok(text.split_at(length))
}

/// A token or a quoted string, RFC 9110, 5.6.4.
fn parameter(text: &str) -> Result<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text)?;
        return Ok((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    Err(malformed().expected("a closing quote").found("the end"))
}

/// `Negotiate oYG2...==` has one nameless value after the scheme.
fn skip_token68(text: &str) -> &str {
    let part_of = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    let value = text.bytes().take_while(|b| part_of(*b)).count();
    let padding = text[value..].bytes().take_while(|b| *b == b'=').count();
    let rest = &text[value + padding..];
    let ends = rest.trim_start_matches([' ', '\t']);
    if value > 0 && (ends.is_empty() || ends.starts_with(',')) { rest } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        parse(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn real_challenges() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        assert_eq!(of(&[docker]).unwrap(), expected);
        assert_eq!(
            of(&[r#"bearer Realm=x , SERVICE = "a \"b\" , c""#]).unwrap(),
            bearer("x", Some("a \"b\" , c"), None)
        );
        assert_eq!(of(&[r#"Basic realm="Registry""#]).unwrap(), Challenge::Basic);
        assert_eq!(of(&["BASIC"]).unwrap(), Challenge::Basic);
        let both = r#"Basic realm="r", Bearer realm="https://t/",scope="""#;
        assert_eq!(of(&[both]).unwrap(), bearer("https://t/", None, None));
        assert_eq!(of(&["Negotiate", "Basic realm=r"]).unwrap(), Challenge::Basic);
        assert_eq!(of(&["Negotiate oYG2+/a==, Basic realm=r"]).unwrap(), Challenge::Basic);
    }

    #[test]
    fn what_is_unknown_is_named() {
        let err = of(&["Digest realm=\"x\"", "Negotiate abc=="]).unwrap_err();
        assert_eq!(err.kind(), Kind::Unsupported);
        assert_eq!(err.found_value(), Some("Digest, Negotiate"));
        assert_eq!(of(&[]).unwrap_err().found_value(), Some("no challenge"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "Bearer",
            "Bearer realm=",
            "Bearer realm=\"\"",
            "Bearer realm=\"x",
            "Bearer realm=\"x\\",
            "Bearer realm=\"x\",realm=\"y\"",
            "Bearer service=\"x\"",
            "realm=\"x\"",
            "Bearer realm=\"x\" (comment)",
            "\"",
            "Bearer realm==",
        ] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
    }
}
