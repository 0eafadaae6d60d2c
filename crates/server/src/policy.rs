//! What an operator decides about repositories: how much they may hold, and which tags stay as they
//! are.

use conex_spec::{Error, Glob, Reference, Result};

/// See the module. Without any, everything goes.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Bounds of what repositories hold. Where several are for one, all of them hold.
    pub quotas: Vec<Quota>,
    /// Tags that stay as they are.
    pub immutable: Vec<Immutable>,
}

/// How much a repository and all those below it may hold together. Content that several of them
/// have counts once; what was uploaded and belongs to no manifest counts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    prefix: String,
    bytes: u64,
}

/// Tags that, once they are there, neither name another manifest nor are deleted.
#[derive(Clone, Debug)]
pub struct Immutable {
    /// Patterns of the names of repositories.
    pub repositories: Vec<Glob>,
    /// Patterns of tags.
    pub tags: Vec<Glob>,
}

impl Quota {
    /// `prefix` is the name of a repository or what its name begins with before a slash; the empty
    /// one is for all repositories.
    ///
    /// # Errors
    /// `Usage` where no repository has such a name.
    pub fn new(prefix: &str, bytes: u64) -> Result<Self> {
        if !prefix.is_empty() {
            Reference::check_repository(prefix).map_err(|err| {
                err.hint("`team` is for the repository team and for all below it, such as team/app")
            })?;
        }
        Ok(Self { prefix: prefix.to_owned(), bytes })
    }

    /// The name above all repositories that it is for; empty where these are all.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The bound in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is for a repository.
    pub fn covers(&self, repository: &str) -> bool {
        let rest = repository.strip_prefix(self.prefix.as_str());
        self.prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Immutable {
    /// Some tags of some repositories.
    ///
    /// # Errors
    /// `Invalid` where it is for nothing.
    pub fn new(repositories: Vec<Glob>, tags: Vec<Glob>) -> Result<Self> {
        for (name, list) in [("repositories", &repositories), ("tags", &tags)] {
            if list.is_empty() {
                return Err(Error::invalid(format!("`{name}` is empty")));
            }
        }
        Ok(Self { repositories, tags })
    }

    fn is_for(&self, repository: &str) -> bool {
        self.repositories.iter().any(|glob| glob.fits(repository))
    }
}

impl Policies {
    /// Whether a tag, once it is there, stays as it is.
    pub fn keeps(&self, repository: &str, tag: &str) -> bool {
        let mut rules = self.immutable.iter().filter(|rule| rule.is_for(repository));
        rules.any(|rule| rule.tags.iter().any(|glob| glob.fits(tag)))
    }

    /// Whether a repository may have tags that stay as they are.
    pub fn keeps_any(&self, repository: &str) -> bool {
        self.immutable.iter().any(|rule| rule.is_for(repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_for_a_name_and_all_below_it() {
        let quota = Quota::new("team", 1).unwrap();
        for (name, covered) in
            [("team", true), ("team/a/b", true), ("teams", false), ("team-b", false), ("a", false)]
        {
            assert_eq!(quota.covers(name), covered, "{name}");
            assert!(Quota::new("", 1).unwrap().covers(name));
        }
        for bad in ["team/", "/", "../x", "Team", "team/*"] {
            assert!(Quota::new(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_stay_where_both_patterns_fit() {
        let globs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let rule = Immutable::new(globs(&["prod/*"]), globs(&["v[0-9]*", "stable"])).unwrap();
        let policies = Policies { quotas: Vec::new(), immutable: vec![rule] };
        for (repository, tag, kept) in [
            ("prod/app", "v1.2", true),
            ("prod/app", "stable", true),
            ("prod/app", "latest", false),
            ("dev/app", "v1.2", false),
        ] {
            assert_eq!(policies.keeps(repository, tag), kept, "{repository}:{tag}");
        }
        assert!(policies.keeps_any("prod/app") && !policies.keeps_any("dev/app"));
        assert!(Immutable::new(globs(&["*"]), Vec::new()).is_err());
    }
}
