//! Keeping: where a new login goes, and taking it away again.

use std::path::{Path, PathBuf};

use conex_spec::{Error, Kind, Result};
use conex_store::bridge::blocking;

use crate::credentials::config::{Config, Entry};
use crate::credentials::edit::edit;
use crate::credentials::helper::Helper;
use crate::credentials::keys::servers;
use crate::credentials::list::missing;
use crate::credentials::{Credential, Credentials, Domain, Place, Proof};
use crate::hosts::registries::{self as hosts, AUTH_FILES};
use crate::secret::Secret;

/// Docker looks for its own registry under a URL, in the file of this name.
const DOCKERS_OWN: &str = "config.json";

/// Where a login is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The file that lists it.
    pub file: PathBuf,
    /// Its key there.
    pub key: String,
    /// The helper that keeps the secret, `docker-credential-` left out.
    pub helper: Option<String>,
}

/// What a logout took away.
pub type Erased = Kept;

impl Credentials {
    /// The file in which a new login for this domain is read first: `usual`, or one before it that
    /// already has an answer for it, which would hide the new one. Blocking.
    pub fn file_for(&self, domain: &Domain, usual: &Path) -> Result<PathBuf> {
        for path in self.files.iter().take_while(|path| *path != usual) {
            let Some(config) = Config::read(path)? else { continue };
            let path_in = domain.path().unwrap_or_default();
            if config.own_helper(domain.registry()).is_some()
                || config.find(domain.registry(), path_in, path).is_ok_and(|found| found.is_some())
            {
                return Ok(path.clone());
            }
        }
        // A broken one is told before anything is typed.
        Config::read(usual)?;
        Ok(usual.to_owned())
    }

    /// Keeps a login where it is looked for first: with a helper that is named for all registries, else
    /// in a file, or with the helper that the file names. Blocking.
    pub(crate) fn keep(&self, domain: &Domain, proof: &Proof, file: &Path) -> Result<Kept> {
        let Some(order) = &self.order else { return self.keep_in_file(domain, proof, file) };
        for name in &order.names {
            if name == AUTH_FILES {
                return self.keep_in_file(domain, proof, file);
            }
            // Helpers know registries, and one that is not there is not asked for logins either.
            let helper = self.helper(name, &member_of(&order.place))?;
            if let (Some(helper), None) = (helper, domain.path()) {
                let server = servers(domain.registry()).first().copied().unwrap_or_default();
                helper.store(server, proof)?;
                return Ok(kept_by(&helper, server, &order.place));
            }
        }
        Err(Error::new(Kind::Unsupported, format!("the login of {domain} would never be read"))
            .expected(format!("a helper that is there, or {AUTH_FILES}"))
            .found(member_of(&order.place)))
    }

    fn keep_in_file(&self, domain: &Domain, proof: &Proof, file: &Path) -> Result<Kept> {
        let config = Config::read(file)?.unwrap_or_default();
        let key = domain.key(file.file_name().is_some_and(|name| name == DOCKERS_OWN));
        let helper = self.keeper(&config, domain, file)?;
        if let Some(helper) = &helper {
            let server = servers(domain.registry()).first().copied().unwrap_or_default();
            helper.store(server, proof)?;
        }
        let entry = match &helper {
            // As Docker does: the key tells that there is a login, the helper knows which.
            Some(_) => Entry::default(),
            None => Entry::new(proof),
        };
        // A helper of `credHelpers` needs no entry, and Podman makes none.
        if helper.is_none() || config.own_helper(domain.registry()).is_none() {
            edit(file, |entries| entries.set(&key, &entry))?;
        }
        let helper = helper.map(|helper| helper.name().to_owned());
        Ok(Kept { file: file.to_owned(), key, helper })
    }

    /// Takes a login away from every file that has it, and from their helpers.
    pub async fn erase(&self, domain: &Domain) -> Result<Vec<Erased>> {
        let (credentials, domain) = (self.clone(), domain.clone());
        blocking(move || credentials.forget_one(&domain)).await
    }

    /// Takes all logins away: all entries of all files, and what helpers keep for them.
    pub async fn erase_all(&self) -> Result<Vec<Erased>> {
        let credentials = self.clone();
        blocking(move || credentials.forget_all()).await
    }

    pub(super) fn forget_one(&self, domain: &Domain) -> Result<Vec<Erased>> {
        self.erase_where(|key| domain.is_key(key), Some(domain))
    }

    pub(super) fn forget_all(&self) -> Result<Vec<Erased>> {
        self.erase_where(|_| true, None)
    }

    /// Keeps a newer identity token in the place of the one that it replaces. Blocking.
    pub(crate) fn renew(&self, old: &Credential, token: &Secret) -> Result<()> {
        let (Proof::Identity(user, known), Some(place)) = (&old.proof, &old.place) else {
            return Ok(());
        };
        let proof = Proof::Identity(user.clone(), token.clone());
        match place {
            Place::Helper(helper, server, _) => helper.store(server, &proof),
            Place::File(path, key) => edit(path, |entries| {
                // Someone may have logged in anew meanwhile: that one counts.
                let config = Config::read(path)?.unwrap_or_default();
                let now = config.entry(key, path)?.map(|credential| credential.proof);
                match now {
                    Some(Proof::Identity(_, now)) if now == *known => {
                        entries.set(key, &Entry::new(&proof))
                    }
                    _ => Ok(()),
                }
            }),
        }
    }

    /// The helper that keeps the logins of a domain, if the file names one. Helpers know
    /// registries, not what is below a path of them.
    fn keeper(&self, config: &Config, domain: &Domain, file: &Path) -> Result<Option<Helper>> {
        let own = config.own_helper(domain.registry());
        if own.is_some() && domain.path().is_some() {
            let what = format!("the login of {domain} would never be read");
            return Err(Error::new(Kind::Unsupported, what)
                .expected("a registry without a helper of its own")
                .found(format!("credHelpers in {}", file.display()))
                .hint(format!("`conex login {}` logs in to all of it", domain.registry())));
        }
        let Some(name) = own.or_else(|| config.store().filter(|_| domain.path().is_none())) else {
            return Ok(None);
        };
        let member = member(if own.is_some() { "credHelpers" } else { "credsStore" }, file);
        let helper = self.helper(name, &member)?.ok_or_else(|| missing(name, &member))?;
        Ok(Some(helper))
    }

    fn erase_where(
        &self,
        is_meant: impl Fn(&str) -> bool,
        domain: Option<&Domain>,
    ) -> Result<Vec<Erased>> {
        let mut erased = self.erase_with_helpers(domain)?;
        for path in &self.files {
            let Some(config) = Config::read(path)? else { continue };
            let row = |key: &str, helper: Option<&str>| Erased {
                file: path.clone(),
                key: key.to_owned(),
                helper: helper.map(str::to_owned),
            };
            for (key, name) in config.helpers().filter(|(key, _)| is_meant(key)) {
                if self.forget(name, &member("credHelpers", path), key)? {
                    erased.push(row(key, Some(name)));
                }
            }
            let mut keys: Vec<&str> = config.keys().filter(|key| is_meant(key)).collect();
            let whole = domain.filter(|domain| domain.path().is_none());
            if let (Some(whole), Some(_)) = (whole, config.store())
                && keys.is_empty()
            {
                // Others may have stored it without an entry.
                keys.push(whole.registry());
            }
            for key in keys {
                let mut kept = config.entry(key, path).map_or(true, |entry| entry.is_some());
                let mut helper = None;
                if let Some(name) = config.store()
                    && self.forget(name, &member("credsStore", path), key)?
                {
                    (kept, helper) = (true, Some(name));
                }
                if edit(path, |entries| Ok(entries.remove(key)))? || kept {
                    erased.push(row(key, helper));
                }
            }
        }
        Ok(erased)
    }

    /// Takes logins away from the helpers that are named for all registries: one, or all they have.
    fn erase_with_helpers(&self, domain: Option<&Domain>) -> Result<Vec<Erased>> {
        let mut erased = Vec::new();
        let Some(order) = &self.order else { return Ok(erased) };
        let member = member_of(&order.place);
        for name in order.names.iter().filter(|name| *name != AUTH_FILES) {
            let Some(helper) = self.helper(name, &member)? else { continue };
            let keys: Vec<String> = match domain {
                Some(domain) if domain.path().is_some() => continue,
                Some(domain) => vec![domain.registry().to_owned()],
                None => helper.list()?.into_keys().collect(),
            };
            for key in keys {
                if self.forget(name, &member, &key)? {
                    erased.push(kept_by(&helper, &key, &order.place));
                }
            }
        }
        Ok(erased)
    }

    /// Lets a helper forget a registry. A helper that is not there keeps nothing.
    fn forget(&self, name: &str, member: &str, key: &str) -> Result<bool> {
        let Some(helper) = self.helper(name, member)? else { return Ok(false) };
        let domain = key.parse::<Domain>();
        let registry = match &domain {
            Ok(domain) if domain.path().is_some() => return Ok(false),
            Ok(domain) => domain.registry(),
            Err(_) => key,
        };
        let mut forgotten = false;
        for server in servers(registry).into_iter().chain([key]) {
            // Not all helpers tell whether there was something; `get` does.
            if helper.get(server)?.is_some() {
                forgotten |= helper.erase(server)?;
            }
        }
        Ok(forgotten)
    }
}

fn member(name: &str, file: &Path) -> String {
    format!("{name} in {}", file.display())
}

fn member_of(place: &hosts::Place) -> String {
    format!("credential-helpers in {place}")
}

fn kept_by(helper: &Helper, server: &str, place: &hosts::Place) -> Kept {
    let helper = Some(helper.name().to_owned());
    Kept { file: place.file.to_path_buf(), key: server.to_owned(), helper }
}
