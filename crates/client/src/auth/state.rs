//! What is known of one registry's logins: its challenge, what was found for whom, and tokens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::challenge::Challenge;
use crate::credentials::{Credential, Found};
use crate::scope::{Access, Scope};
use crate::secret::Secret;
use crate::token::Token;

/// A token that is about to expire is not used, least of all for a long upload.
pub(super) const MARGIN: Duration = Duration::from_secs(3);
pub(super) const UPLOAD_MARGIN: Duration = Duration::from_secs(30);
/// How many tokens are kept for one registry.
pub(super) const MAX_TOKENS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) challenge: Option<Challenge>,
    pub(super) found: Finds,
    /// By the repository that is asked.
    pub(super) tokens: HashMap<Arc<str>, Vec<Token>>,
    /// What a registry wants beside the usual scope, where it calls a repository by another name.
    pub(super) wanted: HashMap<Scope, String>,
    /// What the program is about to do, the latest last.
    pub(super) announced: Vec<Access>,
    /// The repositories whose tokens must be good for nothing else.
    pub(super) alone: HashSet<Arc<str>>,
    /// The identity token that a token server has given in exchange.
    pub(super) identity: Option<Secret>,
}

#[derive(Debug, Default)]
pub(super) struct Finds {
    /// By repository: files may hold several for one registry.
    by_repository: HashMap<Arc<str>, Arc<Found>>,
    /// One for all of them.
    whole: Option<Arc<Found>>,
}

impl State {
    /// A token that is good for all that a scope needs, and lasts.
    pub(super) fn cached(&self, scope: &Scope, margin: Duration) -> Option<HeaderValue> {
        let (needs, now) = (scope.accesses(), Instant::now());
        let tokens = self.tokens.get(&scope.repository)?;
        let good = tokens.iter().find(|token| token.covers(&needs) && token.lasts(now, margin));
        good.map(|token| token.header.clone())
    }

    /// Keeps a token for every repository that it was asked for with one credential.
    pub(super) fn put(&mut self, scope: &Scope, token: Token) {
        if self.tokens.values().map(Vec::len).sum::<usize>() >= MAX_TOKENS {
            self.tokens.clear();
        }
        let now = Instant::now();
        // The source of a mount may have another credential.
        let others = token.accesses.iter().filter(|_| scope.from.is_none());
        let repositories: HashSet<_> = others
            .map(|access| access.repository.clone())
            .chain([scope.repository.clone()])
            .collect();
        for repository in repositories {
            let tokens = self.tokens.entry(repository).or_default();
            tokens.retain(|old| old.lasts(now, MARGIN) && !token.covers(&old.accesses));
            tokens.push(token.clone());
        }
    }

    /// Drops a token that a registry no longer takes, everywhere.
    pub(super) fn drop_token(&mut self, scope: &Scope, header: &HeaderValue) {
        let needs = scope.accesses();
        let mut was_more = false;
        for tokens in self.tokens.values_mut() {
            tokens.retain(|token| {
                let is_it = token.header == *header;
                was_more |= is_it && token.accesses.len() > needs.len();
                !is_it
            });
        }
        // Less was granted than was asked for; or it just expired, and nothing much is lost.
        if was_more && self.alone.len() < MAX_TOKENS {
            self.alone.insert(scope.repository.clone());
        }
    }
}

impl Finds {
    pub(super) fn get(&self, repository: &Arc<str>) -> Option<Arc<Found>> {
        self.by_repository.get(repository).or(self.whole.as_ref()).cloned()
    }

    pub(super) fn put(&mut self, repository: &Arc<str>, found: &Arc<Found>) {
        if found.whole {
            self.whole = Some(found.clone());
        } else {
            self.by_repository.insert(repository.clone(), found.clone());
        }
    }

    pub(super) fn replace(&mut self, old: &Credential, new: &Credential) {
        for found in self.by_repository.values_mut().chain(self.whole.as_mut()) {
            if found.credential.as_ref() == Some(old) {
                let credential = Some(new.clone());
                *found = Arc::new(Found { credential, unasked: None, whole: found.whole });
            }
        }
    }

    pub(super) fn unasked(&self) -> Option<String> {
        let mut all = self.by_repository.values().chain(self.whole.as_ref());
        all.find_map(|found| found.unasked.clone())
    }
}

impl Token {
    fn covers(&self, needs: &[Access]) -> bool {
        needs.iter().all(|need| self.accesses.iter().any(|access| access.covers(need)))
    }

    fn lasts(&self, now: Instant, margin: Duration) -> bool {
        self.expires.saturating_duration_since(now) > margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(accesses: &[Access], seconds: u64) -> Token {
        let expires = Instant::now() + Duration::from_secs(seconds);
        Token { header: HeaderValue::from_static("Bearer x"), expires, accesses: accesses.into() }
    }

    #[test]
    fn a_token_serves_whoever_needs_no_more() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut state = State::default();
        let both = [Scope::push(&a).accesses(), Scope::pull(&b).accesses()].concat();
        state.put(&Scope::push(&a), token(&both, 60));
        for scope in [Scope::push(&a), Scope::pull(&a), Scope::pull(&b), Scope::mount(&a, "b")] {
            assert!(state.cached(&scope, MARGIN).is_some(), "{scope:?}");
        }
        for scope in
            [Scope::push(&b), Scope::delete(&a), Scope::mount(&b, "a"), Scope::mount(&a, "c")]
        {
            assert!(state.cached(&scope, MARGIN).is_none(), "{scope:?}");
        }
        state.drop_token(&Scope::pull(&b), &HeaderValue::from_static("Bearer x"));
        assert!(state.cached(&Scope::pull(&a), MARGIN).is_none());
        assert!(state.alone.contains(&b));
    }

    #[test]
    fn a_token_is_not_used_when_it_is_about_to_end() {
        let a: Arc<str> = "a".into();
        let mut state = State::default();
        state.put(&Scope::pull(&a), token(&Scope::pull(&a).accesses(), 20));
        assert!(state.cached(&Scope::pull(&a), MARGIN).is_some());
        assert!(state.cached(&Scope::pull(&a), UPLOAD_MARGIN).is_none());
        let late = Instant::now() + Duration::from_secs(18);
        assert!(!state.tokens[&a][0].lasts(late, MARGIN));
    }

    #[test]
    fn the_source_of_a_mount_gets_no_token_of_another_credential() {
        let a: Arc<str> = "a".into();
        let mut state = State::default();
        let mount = Scope::mount(&a, "b");
        state.put(&mount, token(&mount.accesses(), 60));
        assert!(state.cached(&mount, MARGIN).is_some());
        assert!(state.cached(&Scope::pull(&"b".into()), MARGIN).is_none());
    }

    #[test]
    fn tokens_do_not_pile_up() {
        let mut state = State::default();
        for round in 0..3000 {
            let repository: Arc<str> = format!("r{round}").into();
            let scope = Scope::pull(&repository);
            state.put(&scope, token(&scope.accesses(), 60));
            state.put(&scope, token(&scope.accesses(), 60));
            assert_eq!(state.tokens[&repository].len(), 1);
        }
        assert!(state.tokens.len() <= MAX_TOKENS);
    }
}
