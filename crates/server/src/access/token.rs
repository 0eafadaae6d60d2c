//! Tokens as Docker's "Token Authentication Implementation" describes them: JSON web tokens
//! (RFC 7519) in the compact form of RFC 7515.
//!
//! Two kinds are taken. Our own are sealed with a key that nobody else has. A trusted issuer's are
//! signed, and checked against the keys that the operator named: never against keys, certificates
//! or addresses that a token brings along (CVE-2025-24976). The algorithm follows from the key, not
//! from the token, so that no public key is ever taken for a secret one.

mod jwks;
mod jws;

use std::path::Path;
use std::sync::Arc;

use conex_spec::{Error, Result};
use ring::hmac;
use serde::{Deserialize, Serialize};

use self::jwks::KeyFile;
use super::rules::Actions;

/// The longest token, in bytes.
const LIMIT: usize = 8 << 10;
/// How far the clocks of two machines may be apart, in seconds.
const SKEW: u64 = 60;
/// Who issues our own tokens.
const US: &str = "conex";

/// Tokens that this registry gives out itself.
#[derive(Clone, Debug)]
pub struct Own {
    /// What clients call this registry, such as `https://registry.example`; without it, what each
    /// request calls it, over plain HTTP.
    pub url: Option<String>,
    /// How long a token serves, in seconds.
    pub life: u64,
}

/// Where our tokens are made. The key is one that all servers of a registry share.
pub(crate) struct Mint(hmac::Key);

/// Someone else who gives out tokens for this registry.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Where clients get their tokens.
    pub realm: String,
    /// What the issuer calls this registry: the audience of its tokens.
    pub service: String,
    /// What the issuer calls itself.
    pub issuer: String,
    keys: Arc<KeyFile>,
}

/// What a token says of its bearer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Claims {
    iss: String,
    #[serde(default)]
    pub(crate) sub: String,
    aud: Audience,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default)]
    iat: u64,
    #[serde(default)]
    access: Vec<Scope>,
}

/// One audience, or several. RFC 7519, 4.1.3.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What may be done with one thing.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Scope {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

/// Why a token is not taken, as its bearer is told.
pub(crate) type Refused = &'static str;

impl Default for Own {
    fn default() -> Self {
        Self { url: None, life: 300 }
    }
}

impl Mint {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A token of `life` seconds for someone, from `now` on, in seconds since 1970. Without a name
    /// it is good for those who have not logged in.
    pub(crate) fn issue(
        &self,
        user: Option<&str>,
        service: &str,
        access: Vec<Scope>,
        (now, life): (u64, u64),
    ) -> String {
        let claims = Claims {
            iss: US.to_owned(),
            sub: user.unwrap_or_default().to_owned(),
            aud: Audience::One(service.to_owned()),
            exp: now.saturating_add(life),
            nbf: now,
            iat: now,
            access,
        };
        jws::seal(&self.0, &claims)
    }

    pub(crate) fn check(&self, token: &str, service: &str, now: u64) -> Result<Claims, Refused> {
        let claims = jws::open(short(token)?, &self.0)?;
        claims.check(US, service, now)?;
        Ok(claims)
    }

    /// What only we can have written beneath a text, for addresses that we give out.
    pub(crate) fn mark(&self, text: &str) -> String {
        jws::mark(&self.0, text)
    }
}

impl Issuer {
    /// An issuer with its keys, a JWK Set (RFC 7517) in a file that is read again when it changes.
    ///
    /// # Errors
    /// `Invalid` where the file is no JWK Set or has no key that signs with ES256, ES384, RS256 or
    /// EdDSA.
    pub fn open(
        realm: impl Into<String>,
        service: impl Into<String>,
        issuer: impl Into<String>,
        keys: &Path,
    ) -> Result<Self> {
        let keys = Arc::new(KeyFile::open(keys)?);
        Ok(Self { realm: realm.into(), service: service.into(), issuer: issuer.into(), keys })
    }

    /// Reads the keys again if their file was changed; returns why a changed file is of no use.
    pub(crate) fn refresh(&self) -> Option<Error> {
        self.keys.refresh()
    }

    pub(crate) fn check(&self, token: &str, now: u64) -> Result<Claims, Refused> {
        let claims = jws::verify(short(token)?, &self.keys.keys())?;
        claims.check(&self.issuer, &self.service, now)?;
        Ok(claims)
    }
}

impl Claims {
    fn check(&self, issuer: &str, service: &str, now: u64) -> Result<(), Refused> {
        let audience = match &self.aud {
            Audience::One(one) => one == service,
            Audience::Many(many) => many.iter().any(|one| one == service),
        };
        if self.iss != issuer {
            Err("the token is of another issuer")
        } else if !audience {
            Err("the token is for another registry")
        } else if self.exp.saturating_add(SKEW) <= now {
            Err("the token has ended")
        } else if self.nbf > now.saturating_add(SKEW) {
            Err("the token is not valid yet")
        } else {
            Ok(())
        }
    }

    /// The person, if it is for one.
    pub(crate) fn user(&self) -> Option<&str> {
        Some(self.sub.as_str()).filter(|user| !user.is_empty())
    }

    /// What it is good for in a repository.
    pub(crate) fn allows(&self, repository: &str) -> Actions {
        self.actions("repository", repository)
    }

    /// Whether it is good for the list of all repositories.
    pub(crate) fn allows_catalog(&self) -> bool {
        self.actions("registry", "catalog") == Actions::ALL
    }

    fn actions(&self, kind: &str, name: &str) -> Actions {
        // `repository(plugin)` is a class of Docker's hub.
        let same =
            |scope: &&Scope| scope.kind.split('(').next() == Some(kind) && scope.name == name;
        self.access.iter().filter(same).fold(Actions::NONE, |all, scope| {
            all.and(Actions::of_scope(scope.actions.iter().map(String::as_str)))
        })
    }
}

impl Scope {
    /// `repository:team/app:pull,push`. Names of hosts with ports may stand in the name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned).collect();
        Some(Self { kind: kind.to_owned(), name: name.to_owned(), actions })
    }
}

fn short(token: &str) -> Result<&str, Refused> {
    if token.len() > LIMIT { Err("the token is too long") } else { Ok(token) }
}

#[cfg(test)]
mod tests;
