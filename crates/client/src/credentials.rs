//! Who asks: user names, passwords and tokens, given by the program, kept in files, or kept by
//! helper programs.
//!
//! | what | who documents it |
//! |---|---|
//! | `config.json`: `auths`, `credsStore`, `credHelpers` | Docker, "docker login" |
//! | `auth.json`, keys for a namespace or a repository | containers-auth.json(5) |
//! | `docker-credential-NAME` | <https://github.com/docker/docker-credential-helpers> |
//!
//! A text that the program gives is asked first, then files in the order in which they were added. Within one file comes first what
//! `credHelpers` names for the registry, which then is the only answer of this file; then the
//! entry of `auths` with the longest key; then the `credsStore`. `credential-helpers` of
//! containers-registries.conf(5) are asked before, after or instead of all files, as listed there.
//!
//! # Security
//! Nothing here prints a secret. Files are bounded, and their faults are told by their place only.

use std::fmt;
use std::path::{Path, PathBuf};

use conex_spec::Result;

use crate::hosts::registries::{self as hosts, AUTH_FILES};
use crate::secret::Secret;

mod config;
mod edit;
mod helper;
mod keep;
mod keys;
mod list;

pub use keep::{Erased, Kept};
pub use keys::Domain;
pub use list::{Login, LoginKind};

use config::Config;
use helper::Helpers;

/// Where credentials come from. Files are read, and helpers run, when a registry first asks for a
/// login.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    given: Vec<(String, Credential)>,
    /// What is of the same form as a file, and where it comes from.
    text: Option<(PathBuf, Secret)>,
    files: Vec<PathBuf>,
    helpers: Helpers,
    /// Who is asked in the place of the files alone.
    order: Option<hosts::Helpers>,
    wants_identity: bool,
}

/// What proves who asks, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) proof: Proof,
    /// `the option --username`, `auths."r.example" in /root/.docker/config.json`.
    pub(crate) found_in: String,
    /// Where a newer one is kept in its place.
    pub(crate) place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A user and a password.
    Password(String, Secret),
    /// A refresh token of OAuth 2, which Docker calls identity token, and whose it is if that is
    /// known.
    Identity(Option<String>, Secret),
    /// A bearer token that the registry takes as it is.
    Token(Secret),
}

/// Where a credential is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file, and the key of the entry.
    File(PathBuf, String),
    /// A helper, what it calls the server, and the file that names the helper.
    Helper(helper::Helper, String, PathBuf),
}

/// A credential as people may see it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Whose it is, and where it came from.
    pub(crate) by: String,
    /// What helps where it is refused.
    pub(crate) advice: String,
}

/// What was found for a registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) credential: Option<Credential>,
    /// Who might know one but could not be asked, and why.
    pub(crate) unasked: Option<String>,
    /// Whether all repositories of the registry have the same.
    pub(crate) whole: bool,
}

impl Credentials {
    /// None: only what anyone may read is read.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Adds the credentials of a file in the format of Docker's `config.json` or of
    /// containers-auth.json(5), which may be absent. One that is called `.dockercfg` has Docker's
    /// format of old.
    #[must_use]
    pub fn with_docker_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds the credentials of a text in the format of Docker's `config.json`, which come before those
    /// of files. `given_by` tells people where it comes from, for example "DOCKER_AUTH_CONFIG".
    #[must_use]
    pub fn with_docker_config_text(mut self, text: Secret, given_by: &str) -> Self {
        self.text = Some((given_by.into(), text));
        self
    }

    /// Lets the files name helper programs, which are looked for in these folders, as in `PATH`.
    /// Without it none is run.
    #[must_use]
    pub fn with_helpers(mut self, folders: Vec<PathBuf>) -> Self {
        self.helpers.folders = folders;
        self
    }

    /// Adds a user name and password for one registry (`host` or `host:port`); they come before those
    /// of files. `given_by` tells people where they come from, for example "the option --password".
    #[must_use]
    pub fn with_password(
        self,
        registry: &str,
        user: impl Into<String>,
        password: Secret,
        given_by: impl Into<String>,
    ) -> Self {
        self.with_proof(registry, Proof::Password(user.into(), password), given_by)
    }

    pub(crate) fn with_proof(
        mut self,
        registry: &str,
        proof: Proof,
        given_by: impl Into<String>,
    ) -> Self {
        let credential = Credential { proof, found_in: given_by.into(), place: None };
        self.given.push((registry.to_owned(), credential));
        self
    }

    /// Asks token servers for an identity token, to be kept in the place of the password.
    pub(crate) fn wanting_identity(mut self) -> Self {
        self.wants_identity = true;
        self
    }

    pub(crate) fn wants_identity(&self) -> bool {
        self.wants_identity
    }

    /// The files that are asked, in their order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether no folder lies where a file is meant, as Docker makes one for a bind mount of a file
    /// that is missing.
    pub(crate) fn check_files(&self) -> Result<()> {
        let folder = self.files.iter().find(|path| path.is_dir());
        folder.map_or(Ok(()), |path| Err(crate::files::is_folder(path)))
    }

    /// What is known for a repository of a registry. Blocking.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Result<Found> {
        let given = self.given.iter().find(|(name, _)| name == registry);
        if let Some((_, credential)) = given {
            return Ok(Found { credential: Some(credential.clone()), unasked: None, whole: true });
        }
        let (mut unasked, mut whole) = (None, true);
        for asked in self.asked() {
            let found = match asked {
                Asked::Source(source) => {
                    let Some((path, config)) = source? else { continue };
                    let found = self.find_in(&config, path, registry, repository)?;
                    whole &= !config.has_paths(registry);
                    // Nothing is kept where no file is.
                    if self.is_text(path) { found.kept_nowhere() } else { found }
                }
                Asked::Helper(name, place) => self.find_with(name, place, registry)?,
            };
            if found.credential.is_some() {
                return Ok(Found { whole, ..found });
            }
            unasked = unasked.or(found.unasked);
        }
        Ok(Found { credential: None, unasked, whole })
    }

    /// Asks the helpers of `registries.conf` too.
    pub(crate) fn in_order(mut self, order: Option<&hosts::Helpers>) -> Self {
        self.order = order.cloned();
        self
    }

    /// What is asked for a login, in its order. The text is the person's own word, and so first.
    fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        let order = self.order.as_ref();
        let names = order
            .map_or(vec![AUTH_FILES], |order| order.names.iter().map(String::as_str).collect());
        let listed = names.into_iter().flat_map(move |name| {
            let files = (name == AUTH_FILES).then(|| self.file_sources().map(Asked::Source));
            let helper = order.filter(|_| name != AUTH_FILES);
            let helper = helper.map(|order| Asked::Helper(name, &order.place));
            files.into_iter().flatten().chain(helper)
        });
        self.text_source().map(Asked::Source).chain(listed)
    }

    fn text_source(&self) -> impl Iterator<Item = Result<Source<'_>>> {
        self.text.iter().map(|(given_by, text)| {
            Config::parse(text.expose().as_bytes(), given_by)
                .map(|config| Some((given_by.as_path(), config)))
        })
    }

    fn file_sources(&self) -> impl Iterator<Item = Result<Source<'_>>> {
        let read = |path: &'_ PathBuf| Config::read(path);
        self.files.iter().map(move |path| Ok(read(path)?.map(|config| (path.as_path(), config))))
    }

    fn is_text(&self, path: &Path) -> bool {
        self.text.as_ref().is_some_and(|(given_by, _)| given_by == path)
    }
}

/// A text or a file that is there.
type Source<'a> = Option<(&'a Path, Config)>;

enum Asked<'a> {
    Source(Result<Source<'a>>),
    Helper(&'a str, &'a hosts::Place),
}

impl Found {
    fn kept_nowhere(mut self) -> Self {
        if let Some(credential) = &mut self.credential {
            credential.place = credential.place.take().filter(|it| !matches!(it, Place::File(..)));
        }
        self
    }
}

impl Credential {
    /// The user, where one is named.
    pub(crate) fn user(&self) -> Option<&str> {
        match &self.proof {
            Proof::Password(user, _) | Proof::Identity(Some(user), _) => Some(user),
            Proof::Identity(None, _) | Proof::Token(_) => None,
        }
    }

    pub(crate) fn shown(&self) -> Shown {
        Shown { by: self.to_string(), advice: self.advice() }
    }

    /// What helps where it is refused: a new login in the place of this very one.
    fn advice(&self) -> String {
        let key = match &self.place {
            Some(Place::File(_, key)) => key,
            Some(Place::Helper(_, server, _)) => server,
            None => return format!("give another login in {}", self.found_in),
        };
        // A key that is a URL is good for all of its host, whatever its path.
        let key = keys::host_of(key).unwrap_or(key);
        let domain = key.parse::<Domain>().map_or_else(|_| key.to_owned(), |it| it.to_string());
        format!("`conex login {}` keeps another login", crate::fault::escaped(&domain))
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proof {
            Proof::Password(user, _) => write!(f, "the password of user {user:?}")?,
            Proof::Identity(Some(user), _) => write!(f, "the identity token of user {user:?}")?,
            Proof::Identity(None, _) => f.write_str("the identity token")?,
            Proof::Token(_) => f.write_str("the registry token")?,
        }
        write!(f, " from {}", self.found_in)
    }
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
