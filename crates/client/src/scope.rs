//! What a request needs to be allowed. Docker's "Token Scope Documentation".

use std::fmt;
use std::sync::Arc;

/// What a request needs: a repository, what is done there, and perhaps the source of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) repository: Arc<str>,
    pub(crate) actions: Actions,
    pub(crate) from: Option<String>,
}

/// One repository, and what is done there. Printed as token servers want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) repository: Arc<str>,
    pub(crate) actions: Actions,
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Actions(u8);

const NAMES: [&str; 4] = ["pull", "push", "delete", "*"];

impl Actions {
    pub(crate) const PULL: Self = Self(1);
    pub(crate) const PUSH: Self = Self(1 | 2);
    pub(crate) const DELETE: Self = Self(4);
    /// Whatever there is.
    const ALL: Self = Self(8);

    /// These and others.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Scope {
    pub(crate) fn pull(repository: &Arc<str>) -> Self {
        Self { repository: repository.clone(), actions: Actions::PULL, from: None }
    }

    pub(crate) fn push(repository: &Arc<str>) -> Self {
        Self { repository: repository.clone(), actions: Actions::PUSH, from: None }
    }

    pub(crate) fn delete(repository: &Arc<str>) -> Self {
        Self { repository: repository.clone(), actions: Actions::DELETE, from: None }
    }

    /// The list of repositories, which belongs to none of them.
    pub(crate) fn catalog() -> Self {
        Self { actions: Actions::ALL, ..Self::default() }
    }

    /// A mount also reads another repository.
    pub(crate) fn mount(repository: &Arc<str>, from: &str) -> Self {
        Self { from: Some(from.to_owned()), ..Self::push(repository) }
    }

    /// What a token must be good for.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        let from = self.from.as_deref();
        let own = Access { repository: self.repository.clone(), actions: self.actions };
        let from = from.map(|from| Access { repository: from.into(), actions: Actions::PULL });
        [Some(own), from].into_iter().flatten().filter(|a| a.actions != Actions(0)).collect()
    }

    /// The same, as token servers want it.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.accesses().iter().map(Access::to_string).collect()
    }
}

impl Access {
    /// Whether this is enough for another one.
    pub(crate) fn covers(&self, need: &Self) -> bool {
        self.repository == need.repository && self.actions.and(need.actions) == self.actions
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().enumerate().filter(|(bit, _)| self.actions.0 >> bit & 1 == 1);
        let names: Vec<_> = names.map(|(_, name)| *name).collect();
        match &*self.repository {
            "" => write!(f, "registry:catalog:{}", names.join(",")),
            repository => write!(f, "repository:{repository}:{}", names.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let repository: Arc<str> = "a/b".into();
        assert_eq!(Scope::pull(&repository).texts(), ["repository:a/b:pull"]);
        assert_eq!(Scope::delete(&repository).texts(), ["repository:a/b:delete"]);
        assert_eq!(
            Scope::mount(&repository, "c").texts(),
            ["repository:a/b:pull,push", "repository:c:pull"]
        );
        assert_eq!(Scope::catalog().texts(), ["registry:catalog:*"]);
        assert!(Scope::default().texts().is_empty());
    }

    #[test]
    fn more_covers_less() {
        let access = |actions| Access { repository: "a".into(), actions };
        assert!(access(Actions::PUSH).covers(&access(Actions::PULL)));
        assert!(!access(Actions::PULL).covers(&access(Actions::PUSH)));
        assert!(!access(Actions::PUSH).covers(&access(Actions::DELETE)));
        let other = Access { repository: "b".into(), actions: Actions::PULL };
        assert!(!access(Actions::PUSH).covers(&other));
    }
}
