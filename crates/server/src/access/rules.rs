//! What may be done in which repository, and by whom.

use std::fmt;
use std::str::FromStr;

use conex_spec::{Error, Glob, Kind, Result};

/// A set of things that may be done in a repository.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    /// Read manifests, blobs and lists.
    pub const PULL: Self = Self(1);
    /// Add blobs, manifests and new tags.
    pub const PUSH: Self = Self(2);
    /// Let a tag name another manifest.
    pub const OVERWRITE: Self = Self(4);
    /// Take away tags, manifests and blobs.
    pub const DELETE: Self = Self(8);
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(15);

    const NAMES: [(&'static str, Self); 4] = [
        ("pull", Self::PULL),
        ("push", Self::PUSH),
        ("overwrite", Self::OVERWRITE),
        ("delete", Self::DELETE),
    ];

    /// Whether all of `others` are among them.
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those of either.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those of both.
    #[must_use]
    pub fn within(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// As scopes of Docker's token protocol name them, which knows no `overwrite`: who may push may
    /// overwrite there, unless a rule of ours says otherwise.
    pub(crate) fn of_scope<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        names.fold(Self::NONE, |all, name| {
            all.and(match name {
                "*" => Self::ALL,
                "pull" => Self::PULL,
                "push" => Self::PUSH.and(Self::OVERWRITE),
                "delete" => Self::DELETE,
                _ => Self::NONE,
            })
        })
    }

    /// The names of a scope.
    pub(crate) fn scope_names(self) -> Vec<&'static str> {
        let named = Self::NAMES.into_iter().filter(|(_, action)| self.has(*action));
        named.map(|(name, _)| name).filter(|name| *name != "overwrite").collect()
    }
}

impl FromStr for Actions {
    type Err = Error;

    /// One action.
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::NAMES.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, action)| action).ok_or_else(|| {
            Error::new(Kind::Usage, "not an action")
                .expected("pull, push, overwrite or delete")
                .found(text.escape_debug())
        })
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.into_iter().filter(|(_, action)| self.has(*action));
        f.debug_set().entries(named.map(|(name, _)| name)).finish()
    }
}

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Everyone, also who has not logged in.
    Anyone,
    /// Everyone who has logged in.
    AnyUser,
    /// One person.
    User(String),
}

impl FromStr for Whom {
    type Err = Error;

    /// `anonymous`, `*`, or the name of a user.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "anonymous" => Ok(Self::Anyone),
            "*" => Ok(Self::AnyUser),
            "" => Err(Error::new(Kind::Usage, "a user without a name")),
            name => Ok(Self::User(name.to_owned())),
        }
    }
}

/// Some people may do some things in some repositories.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The repositories, by their names: `team/*` is everything below `team`.
    pub repositories: Vec<Glob>,
    /// The people.
    pub users: Vec<Whom>,
    /// What they may do there.
    pub actions: Actions,
}

/// All rules. Each one allows something, none forbids: what no rule allows is forbidden.
#[derive(Clone, Debug, Default)]
pub struct Rules(Option<Vec<Rule>>);

impl Rules {
    /// These rules and no others.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(Some(rules))
    }

    /// What someone may do in a repository; `None` is who has not logged in. Where there are no
    /// rules at all, everyone who has logged in may do everything.
    pub fn allowed(&self, user: Option<&str>, repository: &str) -> Actions {
        let Some(rules) = &self.0 else {
            return if user.is_some() { Actions::ALL } else { Actions::NONE };
        };
        let fitting = rules.iter().filter(|rule| rule.is_for(user) && rule.names(repository));
        fitting.fold(Actions::NONE, |all, rule| all.and(rule.actions))
    }

    /// Whether anything is allowed to those who have not logged in.
    pub fn know_strangers(&self) -> bool {
        self.0.iter().flatten().any(|rule| rule.is_for(None))
    }
}

impl Rule {
    fn is_for(&self, user: Option<&str>) -> bool {
        self.users.iter().any(|whom| match whom {
            Whom::Anyone => true,
            Whom::AnyUser => user.is_some(),
            Whom::User(name) => user == Some(name),
        })
    }

    fn names(&self, repository: &str) -> bool {
        self.repositories.iter().any(|glob| glob.fits(repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(repository: &str, user: &str, actions: &[&str]) -> Rule {
        Rule {
            repositories: vec![repository.parse().unwrap()],
            users: vec![user.parse().unwrap()],
            actions: actions.iter().fold(Actions::NONE, |all, name| all.and(name.parse().unwrap())),
        }
    }

    #[test]
    fn rules_add_up_and_the_rest_is_forbidden() {
        let rules = Rules::new(vec![
            rule("public/*", "anonymous", &["pull"]),
            rule("*", "*", &["pull"]),
            rule("team/*", "alice", &["push", "overwrite"]),
        ]);
        let allowed = |user, repository| rules.allowed(user, repository);
        assert_eq!(allowed(None, "public/a/b"), Actions::PULL);
        assert_eq!(allowed(None, "publicity"), Actions::NONE);
        assert_eq!(allowed(None, "team/x"), Actions::NONE);
        assert_eq!(allowed(Some("bob"), "team/x"), Actions::PULL);
        let alice = allowed(Some("alice"), "team/x");
        assert!(alice.has(Actions::PULL.and(Actions::PUSH)) && !alice.has(Actions::DELETE));
        assert_eq!(allowed(Some("anonymous"), "public/a"), Actions::PULL);
        assert!(rules.know_strangers());
    }

    #[test]
    fn without_rules_whoever_logged_in_may_do_all() {
        let rules = Rules::default();
        assert_eq!(rules.allowed(Some("a"), "x"), Actions::ALL);
        assert_eq!(rules.allowed(None, "x"), Actions::NONE);
        assert_eq!(Rules::new(vec![]).allowed(Some("a"), "x"), Actions::NONE);
        assert!(!rules.know_strangers());
    }

    #[test]
    fn words_of_files() {
        for bad in ["", "Pull", "read", "*"] {
            assert!(bad.parse::<Actions>().is_err(), "{bad}");
        }
        assert!("".parse::<Whom>().is_err());
        let scope = |names: &str| Actions::of_scope(names.split(','));
        assert_eq!(scope("pull,push,unknown").scope_names(), ["pull", "push"]);
        assert_eq!(scope("*"), Actions::ALL);
    }
}
