//! What a login is for, and the keys under which files list it.

use std::fmt;
use std::str::FromStr;

use conex_spec::{Error, Kind, Reference, Result};

/// How Docker calls its own registry in `config.json`, and towards credential helpers.
pub(super) const DOCKER_KEY: &str = "https://index.docker.io/v1/";
const DOCKER: &str = "docker.io";

/// What a login is for: a registry, or what lies below a path of it. Written `HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    registry: String,
    path: Option<String>,
}

impl Domain {
    /// All of a registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository or the namespace that it is narrowed to.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// A repository to ask the registry with, whatever lies there.
    pub fn reference(&self) -> Result<Reference> {
        Reference::new(&self.registry, self.path.as_deref().unwrap_or("x"))
    }

    /// The key to list it under. Docker looks for its own registry under a URL only, and in
    /// its own file; containers-auth.json(5) calls it by its name.
    pub(super) fn key(&self, dockers_own: bool) -> String {
        match &self.path {
            Some(path) => format!("{}/{path}", self.registry),
            None if self.registry == DOCKER && dockers_own => DOCKER_KEY.into(),
            None => self.registry.clone(),
        }
    }

    /// Whether a key means this and nothing else.
    pub(super) fn is_key(&self, key: &str) -> bool {
        match &self.path {
            Some(path) => {
                let rest = |name: &&str| key.strip_prefix(name).and_then(|r| r.strip_prefix('/'));
                names(&self.registry).iter().find_map(rest) == Some(path)
            }
            None => host_of(key).is_some_and(|host| names(&self.registry).contains(&host)),
        }
    }
}

impl FromStr for Domain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let bare = bare.unwrap_or(text).trim_end_matches('/');
        let (host, path) = match bare.split_once('/') {
            Some((host, "v1" | "v2")) => (host, None),
            Some((host, path)) => (host, Some(path)),
            None => (bare, None),
        };
        let reference = Reference::new(host, path.unwrap_or("x")).map_err(|err| {
            Error::new(Kind::Usage, format!("not a registry to log in to: {text:?}"))
                .expected("HOST[:PORT][/PATH]")
                .source(err)
        })?;
        let path = path.map(|_| reference.repository().to_owned());
        Ok(Self { registry: reference.registry().to_owned(), path })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key(false))
    }
}

/// The names under which a registry may be listed.
pub(super) fn names(registry: &str) -> Vec<&str> {
    match registry {
        DOCKER => vec!["index.docker.io", DOCKER, "registry-1.docker.io"],
        _ => vec![registry],
    }
}

/// The keys that name it exactly, the most special first: "The path (or namespace) is matched in
/// its hierarchical order" (containers-auth.json(5)).
pub(super) fn keys(registry: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        // A path is never a URL, so the name that people use comes first here.
        let by_name = |name: &str| format!("{name}/{path}");
        keys.push(by_name(registry));
        keys.extend(names(registry).into_iter().filter(|name| *name != registry).map(by_name));
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    if registry == DOCKER {
        keys.push(DOCKER_KEY.into());
    }
    keys.extend(names(registry).into_iter().map(str::to_owned));
    keys
}

/// The names by which a credential helper may know a registry, in the order of asking.
pub(super) fn servers(registry: &str) -> Vec<&str> {
    match registry {
        DOCKER => vec![DOCKER_KEY, DOCKER],
        _ => vec![registry],
    }
}

/// The host of a key that is a URL or a host with the path of an API. A key with another path
/// belongs to some repositories only.
pub(super) fn host_of(key: &str) -> Option<&str> {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = url.unwrap_or(key).split_once('/').unwrap_or((url.unwrap_or(key), ""));
    let whole = matches!(path.trim_end_matches('/'), "" | "v1" | "v2") || url.is_some();
    whole.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_typed() {
        for (typed, registry, path) in [
            ("r.example", "r.example", None),
            ("https://r.example/", "r.example", None),
            ("http://r.example:5000/v2/", "r.example:5000", None),
            ("r.example/team/app", "r.example", Some("team/app")),
            ("docker.io", "docker.io", None),
            ("index.docker.io", "docker.io", None),
            ("https://index.docker.io/v1/", "docker.io", None),
            ("docker.io/alice", "docker.io", Some("alice")),
            ("[::1]:5000", "[::1]:5000", None),
        ] {
            let domain: Domain = typed.parse().unwrap();
            assert_eq!((domain.registry(), domain.path()), (registry, path), "{typed}");
        }
        for bad in
            ["", "/", "r.example/Team", "r.example/a:1", "r.example/..", "a b", "r.example//a"]
        {
            assert_eq!(bad.parse::<Domain>().unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }

    #[test]
    fn keys_of_a_domain() {
        let docker: Domain = "docker.io".parse().unwrap();
        assert_eq!((docker.key(true).as_str(), docker.key(false).as_str()), (DOCKER_KEY, DOCKER));
        for key in [DOCKER_KEY, "docker.io", "index.docker.io", "https://docker.io"] {
            assert!(docker.is_key(key), "{key}");
        }
        assert!(!docker.is_key("docker.io/alice") && !docker.is_key("r.example"));
        let alice: Domain = "docker.io/alice".parse().unwrap();
        assert_eq!(alice.key(true), "docker.io/alice");
        assert!(alice.is_key("docker.io/alice") && alice.is_key("index.docker.io/alice"));
        assert!(!alice.is_key("docker.io/alice/app") && !alice.is_key(DOCKER_KEY));
    }

    #[test]
    fn the_most_special_key_is_first() {
        assert_eq!(keys("r.example", "a/b"), ["r.example/a/b", "r.example/a", "r.example"]);
        let docker = keys("docker.io", "a");
        assert_eq!(docker[0], "docker.io/a");
        assert_eq!(docker[3], DOCKER_KEY);
    }
}
