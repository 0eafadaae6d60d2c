//! One file with credentials: Docker's `config.json`, or `auth.json` of containers-auth.json(5),
//! which has the same form.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use conex_spec::{Error, Result};

use crate::credentials::keys::{host_of, keys, names};
use crate::credentials::{Credential, Place, Proof};
use crate::files::bounded;
use crate::secret::Secret;

/// Docker's own limit does not exist; real files have a few kilobytes.
const MAX_CONFIG: u64 = 1 << 20;
/// Docker's file of old, which is nothing but the entries.
const LEGACY: &str = ".dockercfg";

/// As far as it concerns credentials. Members may be `null`, which means absent.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// Every member may be missing; a helper leaves an empty entry behind.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    #[serde(skip_serializing)]
    username: Option<String>,
    #[serde(skip_serializing)]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identitytoken: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registrytoken: Option<String>,
}

/// The bytes of a file; nothing where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    bounded(path, MAX_CONFIG)
}

/// The message of the parser could repeat a piece of a secret; its place is enough.
pub(super) fn unreadable(path: &Path, err: &serde_json::Error) -> Error {
    let place = format!("line {}, column {}", err.line(), err.column());
    let what = if err.is_data() { "a member of another type" } else { "no sound JSON" };
    Error::invalid(format!("{} is no file of credentials", path.display()))
        .expected("JSON as Docker's config.json or containers-auth.json(5) has it")
        .found(format!("{what} at {place}"))
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        read(path)?.map(|text| Self::parse(&text, path)).transpose()
    }

    pub(super) fn parse(text: &[u8], path: &Path) -> Result<Self> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let parsed = if path.file_name().is_some_and(|name| name == LEGACY) {
            serde_json::from_slice(text).map(|auths| Self { auths, ..Self::default() })
        } else {
            serde_json::from_slice(text)
        };
        parsed.map_err(|err| unreadable(path, &err))
    }

    /// What an entry proves for a repository, longest key first.
    pub(super) fn find(
        &self,
        registry: &str,
        repository: &str,
        path: &Path,
    ) -> Result<Option<Credential>> {
        for key in keys(registry, repository) {
            if let Some(credential) = self.entry(&key, path)? {
                return Ok(Some(credential));
            }
        }
        // Docker also takes keys that are a URL, whatever its path.
        let names = names(registry);
        for key in self.keys() {
            if host_of(key).is_some_and(|host| names.contains(&host))
                && let Some(credential) = self.entry(key, path)?
            {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// What the entry of exactly this key proves.
    pub(super) fn entry(&self, key: &str, path: &Path) -> Result<Option<Credential>> {
        match self.auths.as_ref().and_then(|auths| auths.get(key)) {
            Some(Some(entry)) => entry.credential(key, path),
            _ => Ok(None),
        }
    }

    /// The keys of all entries, empty ones too.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.auths.iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Whether there are keys for parts of a registry.
    pub(super) fn has_paths(&self, registry: &str) -> bool {
        let names = names(registry);
        let below = |key: &str| {
            names
                .iter()
                .any(|name| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')))
        };
        self.keys().any(|key| below(key) && host_of(key).is_none())
    }

    /// The helper that is named for a registry.
    pub(super) fn own_helper(&self, registry: &str) -> Option<&str> {
        let names = names(registry);
        let means = |key: &str| {
            names.contains(&key) || host_of(key).is_some_and(|host| names.contains(&host))
        };
        let mut helpers = self.helpers();
        helpers.find(|(key, _)| means(key)).map(|(_, helper)| helper)
    }

    /// All helpers that are named for a registry each.
    pub(super) fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        let helpers = self.cred_helpers.iter().flatten();
        helpers
            .map(|(key, name)| (key.as_str(), name.as_str()))
            .filter(|(_, name)| !name.is_empty())
    }

    /// The helper for all registries.
    pub(super) fn store(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|name| !name.is_empty())
    }
}

impl Entry {
    /// The entry that proves as much.
    pub(super) fn new(proof: &Proof) -> Self {
        let auth = |user: &str, password: &str| Some(BASE64.encode(format!("{user}:{password}")));
        let secret = |secret: &Secret| Some(secret.expose().to_owned());
        match proof {
            Proof::Password(user, password) => {
                Self { auth: auth(user, password.expose()), ..Self::default() }
            }
            // Docker keeps the user name beside an identity token in the same way.
            Proof::Identity(user, token) => Self {
                auth: user.as_ref().and_then(|user| auth(user, "")),
                identitytoken: secret(token),
                ..Self::default()
            },
            Proof::Token(token) => Self { registrytoken: secret(token), ..Self::default() },
        }
    }

    /// What the entry proves; nothing where it is empty, as `docker login` with a helper leaves it.
    fn credential(&self, key: &str, path: &Path) -> Result<Option<Credential>> {
        let found_in = format!("auths.{key:?} in {}", path.display());
        let place = Some(Place::File(path.to_owned(), key.to_owned()));
        let member = |member: &Option<String>| member.clone().filter(|text| !text.is_empty());
        let user = || -> Result<Option<(String, Secret)>> {
            let Some(auth) = member(&self.auth) else {
                let password = Secret::new(member(&self.password).unwrap_or_default());
                return Ok(member(&self.username).map(|user| (user, password)));
            };
            decode(&auth).map(Some).ok_or_else(|| {
                Error::invalid(format!("`auth` of {found_in} is not the Base64 of USER:PASSWORD"))
            })
        };
        let proof = if let Some(token) = member(&self.registrytoken) {
            Proof::Token(Secret::new(token))
        } else if let Some(token) = member(&self.identitytoken) {
            Proof::Identity(user().ok().flatten().map(|(user, _)| user), Secret::new(token))
        } else if let Some((user, password)) = user()? {
            Proof::Password(user, password)
        } else {
            return Ok(None);
        };
        Ok(Some(Credential { proof, found_in, place }))
    }
}

/// Docker pads some passwords with NULs.
fn decode(auth: &str) -> Option<(String, Secret)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_matches('\0');
    (!user.is_empty()).then(|| (user.to_owned(), Secret::new(password)))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
