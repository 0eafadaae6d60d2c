//! Looking: what one file and its helpers know of a repository, and which logins there are.

use std::path::Path;

use serde::Serialize;

use conex_spec::{Error, Kind, Result};
use conex_store::bridge::blocking;

use crate::credentials::config::Config;
use crate::credentials::helper::Helper;
use crate::credentials::keys::{host_of, servers};
use crate::credentials::{Asked, Credential, Credentials, Domain, Found, Place, Proof};
use crate::hosts::registries as hosts;

/// A login that is kept somewhere. It tells no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// What it is for, as it is listed: `r.example`, `r.example/team`, or a URL of Docker's.
    pub key: String,
    /// Whose it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What is kept.
    pub kind: LoginKind,
    /// The file that lists it, or names its helper.
    pub file: String,
    /// The helper that keeps it, `docker-credential-` left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
    /// What is wrong with it; such a login is of no use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What proves a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LoginKind {
    /// A password.
    Password,
    /// A refresh token of OAuth 2.
    IdentityToken,
    /// A bearer token that the registry takes as it is.
    RegistryToken,
    /// What a helper keeps; it says more when it is asked.
    Kept,
}

impl Credentials {
    /// What one file and its helpers know for a repository.
    pub(super) fn find_in(
        &self,
        config: &Config,
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Found> {
        if let Some(name) = config.own_helper(registry) {
            // "the base64 encoded authentication will not be used" (containers-auth.json(5)).
            let member = format!("credHelpers in {}", path.display());
            let helper = self.helper(name, &member)?.ok_or_else(|| missing(name, &member))?;
            let credential = ask(&helper, registry, &member, path)?;
            return Ok(Found { credential, ..Found::default() });
        }
        if let Some(credential) = config.find(registry, repository, path)? {
            return Ok(Found { credential: Some(credential), ..Found::default() });
        }
        let Some(name) = config.store() else { return Ok(Found::default()) };
        self.find_kept(name, &format!("credsStore in {}", path.display()), path, registry)
    }

    /// What a helper of `registries.conf` keeps for a registry.
    pub(super) fn find_with(&self, name: &str, place: &hosts::Place, of: &str) -> Result<Found> {
        self.find_kept(name, &format!("credential-helpers in {place}"), &place.file, of)
    }

    /// What a helper keeps that is named for every registry.
    fn find_kept(&self, name: &str, member: &str, path: &Path, registry: &str) -> Result<Found> {
        Ok(match self.helper(name, member)? {
            Some(helper) => {
                Found { credential: ask(&helper, registry, member, path)?, ..Found::default() }
            }
            // It would be asked for every registry: what anyone may read can still be read.
            None => Found { unasked: Some(absent(name, member)), ..Found::default() },
        })
    }

    /// All logins that the files list and their helpers keep, in the order of asking. A helper that
    /// fails is told in its place.
    pub async fn logins(&self) -> Result<Vec<Login>> {
        let credentials = self.clone();
        blocking(move || credentials.all()).await
    }

    /// What there are logins for as far as files list it: no helper is run, which may ask a person for
    /// a passphrase, and a file that cannot be read lists nothing. Blocking.
    pub fn domains(&self) -> Vec<Domain> {
        let mut domains = Vec::new();
        for asked in self.asked() {
            let Asked::Source(Ok(Some((path, config)))) = asked else { continue };
            let kept = |key: &&str| {
                config.store().is_some() || config.entry(key, path).is_ok_and(|it| it.is_some())
            };
            let helpers = config.helpers().map(|(key, _)| key);
            for key in config.keys().filter(kept).chain(helpers) {
                let key = host_of(key).unwrap_or(key);
                domains.extend(key.parse::<Domain>().ok().filter(|it| !domains.contains(it)));
            }
        }
        domains
    }

    /// The login that a repository of this domain would be asked with.
    pub async fn login_for(&self, domain: &Domain) -> Result<Option<Login>> {
        let (credentials, domain) = (self.clone(), domain.clone());
        blocking(move || credentials.used_for(&domain)).await
    }

    pub(super) fn all(&self) -> Result<Vec<Login>> {
        let mut logins = Vec::new();
        for asked in self.asked() {
            match asked {
                Asked::Source(source) => {
                    if let Some((path, config)) = source? {
                        self.all_in(&config, path, &mut logins);
                    }
                }
                Asked::Helper(name, place) => {
                    let member = format!("credential-helpers in {place}");
                    logins.extend(self.all_with(name, &member, &place.file));
                }
            }
        }
        Ok(logins)
    }

    /// The logins that one file lists, and those that its helpers keep.
    fn all_in(&self, config: &Config, path: &Path, logins: &mut Vec<Login>) {
        for (server, name) in config.helpers() {
            logins.extend(self.kept_for(server, name, path, row(path, server, Some(name))));
        }
        for key in config.keys() {
            match config.entry(key, path) {
                Ok(Some(credential)) => logins.push(told(row(path, key, None), &credential)),
                Ok(None) => {}
                Err(err) => logins.push(faulty(row(path, key, None), &err)),
            }
        }
        if let Some(name) = config.store() {
            let member = format!("credsStore in {}", path.display());
            logins.extend(self.all_with(name, &member, path));
        }
    }

    /// What a helper keeps that is named for every registry.
    fn all_with(&self, name: &str, member: &str, path: &Path) -> Vec<Login> {
        let row = |server: &str| row(path, server, Some(name));
        let listed = match self.listed(name, member) {
            Ok(listed) => listed,
            Err(err) => return vec![faulty(row("*"), &err)],
        };
        let login = |(server, user): (String, String)| {
            let identity = user == "<token>";
            let kind = if identity { LoginKind::IdentityToken } else { LoginKind::Password };
            let user = Some(user).filter(|_| !identity);
            Login { kind, user, ..row(&server) }
        };
        listed.into_iter().map(login).collect()
    }

    pub(super) fn used_for(&self, domain: &Domain) -> Result<Option<Login>> {
        let found = self.find(domain.registry(), domain.path().unwrap_or_default())?;
        let Some(credential) = found.credential else { return Ok(None) };
        let (key, file, helper) = match &credential.place {
            Some(Place::File(path, key)) => (key.clone(), path.display().to_string(), None),
            Some(Place::Helper(helper, server, file)) => {
                (server.clone(), file.display().to_string(), Some(helper.name().to_owned()))
            }
            None => (domain.to_string(), credential.found_in.clone(), None),
        };
        let row = Login { key, user: None, kind: LoginKind::Kept, file, helper, fault: None };
        Ok(Some(told(row, &credential)))
    }

    /// The helper of a name. `member` names it.
    pub(super) fn helper(&self, name: &str, member: &str) -> Result<Option<Helper>> {
        self.helpers.find(name).map_err(|err| err.context(member))
    }

    fn kept_for(&self, server: &str, name: &str, path: &Path, row: Login) -> Option<Login> {
        let member = format!("credHelpers in {}", path.display());
        let kept = self
            .helper(name, &member)
            .and_then(|helper| helper.ok_or_else(|| missing(name, &member)))
            .and_then(|helper| {
                let domain = server.parse::<Domain>();
                let registry = domain.as_ref().map_or(server, Domain::registry);
                ask(&helper, registry, &member, path)
            });
        match kept {
            Ok(credential) => Some(told(row, &credential?)),
            Err(err) => Some(faulty(row, &err)),
        }
    }

    pub(super) fn listed(&self, name: &str, member: &str) -> Result<Vec<(String, String)>> {
        let helper = self.helper(name, member)?.ok_or_else(|| missing(name, member))?;
        Ok(helper.list()?.into_iter().collect())
    }
}

/// Asks a helper for what it keeps under any of the registry's names.
fn ask(helper: &Helper, registry: &str, member: &str, path: &Path) -> Result<Option<Credential>> {
    for server in servers(registry) {
        if let Some(proof) = helper.get(server).map_err(|err| err.context(registry))? {
            let found_in = format!("{helper} ({member})");
            let place = Some(Place::Helper(helper.clone(), server.to_owned(), path.to_owned()));
            return Ok(Some(Credential { proof, found_in, place }));
        }
    }
    Ok(None)
}

fn row(path: &Path, key: &str, helper: Option<&str>) -> Login {
    Login {
        key: key.to_owned(),
        user: None,
        kind: LoginKind::Kept,
        file: path.display().to_string(),
        helper: helper.map(str::to_owned),
        fault: None,
    }
}

fn told(row: Login, credential: &Credential) -> Login {
    let kind = match credential.proof {
        Proof::Password(..) => LoginKind::Password,
        Proof::Identity(..) => LoginKind::IdentityToken,
        Proof::Token(_) => LoginKind::RegistryToken,
    };
    Login { kind, user: credential.user().map(str::to_owned), ..row }
}

fn faulty(row: Login, err: &Error) -> Login {
    Login { fault: Some(err.to_string()), ..row }
}

fn absent(name: &str, member: &str) -> String {
    format!("docker-credential-{name} is not on the search path, but named by {member}")
}

pub(super) fn missing(name: &str, member: &str) -> Error {
    Error::new(Kind::Io, absent(name, member))
        .hint("install the helper, or take its name out of the file")
}
