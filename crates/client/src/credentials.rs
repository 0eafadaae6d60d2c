//! Who asks: user names and passwords, given by the program or kept in Docker's `config.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use conex_spec::{Error, Kind, Result};

use crate::secret::Secret;

/// Docker's own limit does not exist; real files have a few kilobytes.
const MAX_CONFIG: u64 = 1 << 20;
/// How Docker calls its own registry in `config.json`.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// Where credentials come from. Files are read when a registry first asks for a login.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    given: Vec<(String, Credential)>,
    files: Vec<PathBuf>,
}

/// What proves who asks, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) proof: Proof,
    /// `the option --username`, `/root/.docker/config.json`.
    pub(crate) found_in: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A password.
    Password(String, Secret),
    /// A refresh token of OAuth 2, which Docker calls identity token.
    Identity(Secret),
    /// A bearer token that the registry takes as it is.
    Token(Secret),
}

/// What was found for a registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) credential: Option<Credential>,
    /// The helper program that would know it.
    pub(crate) helper: Option<String>,
}

impl Credentials {
    /// None: only what anyone may read is read.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Adds the credentials of a file in the format of Docker's `config.json`, which may be
    /// absent. Files are asked in the order in which they were added.
    #[must_use]
    pub fn with_docker_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds a user name and password for one registry (`host` or `host:port`); they come before those
    /// of files. `given_by` tells people where they come from, for example "the option --password".
    #[must_use]
    pub fn with_password(
        mut self,
        registry: &str,
        user: impl Into<String>,
        password: Secret,
        given_by: impl Into<String>,
    ) -> Self {
        let proof = Proof::Password(user.into(), password);
        let credential = Credential { proof, found_in: given_by.into() };
        self.given.push((registry.to_owned(), credential));
        self
    }

    /// What is known for a repository of a registry. Blocking.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Result<Found> {
        let given = self.given.iter().find(|(name, _)| name == registry);
        if let Some((_, credential)) = given {
            return Ok(Found { credential: Some(credential.clone()), helper: None });
        }
        let mut helper = None;
        for path in &self.files {
            let Some(config) = Config::read(path)? else { continue };
            let found = config.find(registry, repository, path)?;
            if found.credential.is_some() {
                return Ok(found);
            }
            helper = helper.or(found.helper);
        }
        Ok(Found { credential: None, helper })
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proof {
            Proof::Password(user, _) => write!(f, "the password of user {user:?}")?,
            Proof::Identity(_) => f.write_str("the identity token")?,
            Proof::Token(_) => f.write_str("the registry token")?,
        }
        write!(f, " from {}", self.found_in)
    }
}

/// Docker's `config.json`, as far as it concerns credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

/// Every member may be missing; a helper leaves an empty entry behind.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Config {
    fn read(path: &Path) -> Result<Option<Self>> {
        let fault = |err| Error::io("cannot read", path, err);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(fault(err)),
        };
        let mut text = Vec::new();
        file.take(MAX_CONFIG + 1).read_to_end(&mut text).map_err(fault)?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(Error::new(Kind::Limit, format!("{} is too large", path.display()))
                .expected(format!("at most {MAX_CONFIG} bytes")));
        }
        Self::parse(&text).map(Some).map_err(|err| err.context(path.display()))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        // The message of the parser could repeat a piece of a secret; its place is enough.
        serde_json::from_slice(text).map_err(|err| {
            let place = format!("line {}, column {}", err.line(), err.column());
            Error::invalid("not a Docker configuration").found(format!("a fault at {place}"))
        })
    }

    fn find(&self, registry: &str, repository: &str, path: &Path) -> Result<Found> {
        for key in keys(registry, repository) {
            if let Some(entry) = self.auths.get(&key)
                && let Some(credential) = entry.credential(&key, path)?
            {
                return Ok(Found { credential: Some(credential), helper: None });
            }
        }
        // Docker also takes keys that are a URL, whatever its path.
        let names = names(registry);
        for (key, entry) in &self.auths {
            if host_of(key).is_some_and(|host| names.contains(&host))
                && let Some(credential) = entry.credential(key, path)?
            {
                return Ok(Found { credential: Some(credential), helper: None });
            }
        }
        let own = self.cred_helpers.iter().find(|(key, _)| {
            names.contains(&key.as_str()) || host_of(key).is_some_and(|host| names.contains(&host))
        });
        let helper = own.map(|(_, helper)| helper).or(self.creds_store.as_ref());
        Ok(Found { credential: None, helper: helper.filter(|name| !name.is_empty()).cloned() })
    }
}

impl Entry {
    /// What the entry proves; nothing where it is empty, as `docker login` with a helper leaves it.
    fn credential(&self, key: &str, path: &Path) -> Result<Option<Credential>> {
        let found_in = format!("auths.{key:?} in {}", path.display());
        let proof = if !self.registrytoken.is_empty() {
            Proof::Token(Secret::new(&self.registrytoken))
        } else if !self.identitytoken.is_empty() {
            Proof::Identity(Secret::new(&self.identitytoken))
        } else if !self.auth.is_empty() {
            let (user, password) = decode(&self.auth).ok_or_else(|| {
                Error::invalid(format!("`auth` of {found_in} is not the Base64 of USER:PASSWORD"))
            })?;
            Proof::Password(user, password)
        } else if !self.username.is_empty() {
            Proof::Password(self.username.clone(), Secret::new(&self.password))
        } else {
            return Ok(None);
        };
        Ok(Some(Credential { proof, found_in }))
    }
}

/// Docker pads some passwords with NULs.
fn decode(auth: &str) -> Option<(String, Secret)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_matches('\0');
    (!user.is_empty()).then(|| (user.to_owned(), Secret::new(password)))
}

/// The names under which a registry may be listed.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => vec!["index.docker.io", "docker.io", "registry-1.docker.io"],
        _ => vec![registry],
    }
}

/// The keys that name it exactly, the most special first: Podman's `auth.json` knows keys for a
/// repository or for all below a prefix.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = format!("{registry}/{repository}");
    while path.len() > registry.len() {
        keys.push(path.clone());
        path.truncate(path.rfind('/').unwrap_or_default());
    }
    if registry == "docker.io" {
        keys.push(DOCKER_KEY.into());
    }
    keys.extend(names(registry).into_iter().map(str::to_owned));
    keys
}

/// The host of a key that is a URL or a host with the path of an API. A key with another path
/// belongs to some repositories only.
fn host_of(key: &str) -> Option<&str> {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = url.unwrap_or(key).split_once('/').unwrap_or((url.unwrap_or(key), ""));
    let whole = matches!(path.trim_end_matches('/'), "" | "v1" | "v2") || url.is_some();
    whole.then_some(host)
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
