//! Logins: which `Authorization` a request carries.
//!
//! A registry that wants none gets none. One that answers 401 says what it wants; from then on
//! its requests carry it from the start. Tokens are kept until they expire, and serve every request
//! that needs no more than they are good for. Docker's "Token Authentication Specification";
//! RFC 9110, 11.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use conex_spec::{Error, Kind, Result};
use conex_store::bridge::blocking;
use http::{HeaderMap, HeaderValue};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::answer::Answer;
use crate::challenge::{self, Challenge};
use crate::credentials::{Credential, Found, Proof};
use crate::fault::fault;
use crate::registry::Registry;
use crate::scope::Access;
pub(crate) use crate::scope::Scope;
use crate::secret::Secret;
use crate::token::{self, Token};

/// A token that is about to expire is not used, least of all for a long upload.
const MARGIN: Duration = Duration::from_secs(3);
const UPLOAD_MARGIN: Duration = Duration::from_secs(30);
/// How many tokens are kept for one registry.
const MAX_TOKENS: usize = 1024;
/// How many repositories one token is asked for together.
const MAX_TOGETHER: usize = 4;

/// The header of one request, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) header: HeaderValue,
    /// The credential as people may see it; nothing for an anonymous token.
    pub(crate) by: Option<String>,
}

/// What is known of a registry's logins.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    state: Mutex<State>,
    /// Held while a credential is looked for or a token is fetched, so that the others who
    /// need it wait for it. Whoever finds what is there already does not wait.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    found: Finds,
    /// By the repository that is asked.
    tokens: HashMap<Arc<str>, Vec<Token>>,
    /// What a registry wants beside the usual scope, where it calls a repository by another name.
    wanted: HashMap<Scope, String>,
    /// What the program is about to do, the latest last.
    announced: Vec<Access>,
    /// The repositories whose tokens must be good for nothing else.
    alone: HashSet<Arc<str>>,
    /// The identity token that a token server has given in exchange.
    identity: Option<Secret>,
}

#[derive(Debug, Default)]
struct Finds {
    /// By repository: files may hold several for one registry.
    by_repository: HashMap<Arc<str>, Arc<Found>>,
    /// One for all of them.
    whole: Option<Arc<Found>>,
}

impl Auth {
    /// Takes note of what an answer to an anonymous request wants.
    pub(crate) fn learn(&self, headers: &HeaderMap) {
        if let Ok(challenge) = challenge::parse(headers) {
            self.state().challenge = Some(challenge);
        }
    }

    /// Takes note of what will be done with a repository, so that one token is asked for all.
    pub(crate) fn announce(&self, access: Access) {
        let mut state = self.state();
        if let Some(known) = state.announced.iter_mut().find(|a| a.repository == access.repository)
        {
            known.actions = known.actions.and(access.actions);
            return;
        }
        state.announced.push(access);
        if state.announced.len() > MAX_TOGETHER {
            state.announced.remove(0);
        }
    }

    /// Whether the registry has wanted a login.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state().challenge.is_some()
    }

    /// The identity token that a token server has given, if it has.
    pub(crate) fn identity(&self) -> Option<Secret> {
        self.state().identity.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// The header for a request of this scope, if one is known to be wanted. While a token
    /// is fetched, the other requests that need one wait for it instead of fetching their own.
    pub(crate) async fn authorize(&self, scope: &Scope, upload: bool) -> Result<Option<Sent>> {
        let Some(challenge) = self.auth.state().challenge.clone() else { return Ok(None) };
        let found = self.found(&scope.repository).await?;
        let credential = found.credential.as_ref();
        match (&challenge, credential.map(|credential| &credential.proof)) {
            (_, Some(Proof::Token(secret))) => Ok(Some(sent(secret.header("Bearer")?, credential))),
            (Challenge::Basic, Some(Proof::Password(user, password))) => {
                Ok(Some(sent(basic(user, password)?, credential)))
            }
            (Challenge::Basic, Some(Proof::Identity(..))) => Err(self.wants_password(credential)),
            (Challenge::Basic, None) => Ok(None),
            (Challenge::Bearer { realm, service, .. }, _) => {
                let margin = if upload { UPLOAD_MARGIN } else { MARGIN };
                if let Some(header) = self.auth.state().cached(scope, margin) {
                    return Ok(Some(sent(header, credential)));
                }
                self.fetch(realm, service.as_deref(), scope, margin).await.map(Some)
            }
        }
    }

    /// Takes note of a 401 to a request that carried `tried`. Fails where nothing is left to try.
    pub(crate) fn challenged(
        &self,
        answer: &Answer,
        scope: &Scope,
        tried: Option<&HeaderValue>,
    ) -> Result<()> {
        let challenge =
            challenge::parse(answer.headers()).map_err(|err| err.context(&self.name))?;
        let mut state = self.auth.state();
        // Another request may have replaced it already.
        if let Some(tried) = tried {
            state.drop_token(scope, tried);
        }
        if let Challenge::Bearer { scope: Some(wanted), .. } = &challenge
            && !scope.texts().contains(wanted)
            && state.wanted.len() < MAX_TOKENS
        {
            state.wanted.insert(scope.clone(), wanted.clone());
        }
        state.challenge = Some(challenge);
        Ok(())
    }

    /// The fault of a request that was refused in spite of all.
    pub(crate) async fn refused(&self, answer: Answer) -> Error {
        let known = answer.sent.clone().flatten().is_some();
        let err = fault(answer, format!("{} refuses the request", self.name)).await;
        if known {
            return err.hint(format!(
                "`conex login {}` keeps another login; or the user may not do this",
                self.name
            ));
        }
        let unasked = self.auth.state().found.unasked();
        no_login(err, &self.name, unasked.as_deref())
    }

    /// What is known for a repository, looked for once.
    async fn found(&self, repository: &Arc<str>) -> Result<Arc<Found>> {
        if let Some(found) = self.auth.state().found.get(repository) {
            return Ok(found);
        }
        let _fetching = self.auth.fetching.lock().await;
        self.find(repository).await
    }

    /// As [`Registry::found`], by whom nobody else is disturbed.
    async fn find(&self, repository: &Arc<str>) -> Result<Arc<Found>> {
        if let Some(found) = self.auth.state().found.get(repository) {
            return Ok(found);
        }
        let credentials = self.options().credentials.clone();
        let (registry, asked) = (self.name.clone(), repository.clone());
        let found = blocking(move || credentials.find(&registry, &asked)).await?;
        let found = Arc::new(found);
        self.auth.state().found.put(repository, &found);
        Ok(found)
    }

    async fn fetch(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &Scope,
        margin: Duration,
    ) -> Result<Sent> {
        let _fetching = self.auth.fetching.lock().await;
        let found = self.find(&scope.repository).await?;
        let credential = found.credential.as_ref();
        if let Some(header) = self.auth.state().cached(scope, margin) {
            return Ok(sent(header, credential));
        }
        let mut accesses = scope.accesses();
        let together = self.together(scope, &found).await?;
        let extra = self.auth.state().wanted.get(scope).cloned();
        let ask = async |accesses: &[Access]| {
            let texts = accesses.iter().map(Access::to_string).chain(extra.clone());
            token::fetch(self, realm, service, &texts.collect::<Vec<_>>(), credential).await
        };
        let answer = match ask(&together).await {
            // Some token servers give nothing where they cannot give all.
            Err(err) if together != accesses && is_refusal(&err) => ask(&accesses).await,
            answer => {
                accesses = together;
                answer
            }
        };
        let answer = answer.map_err(|err| self.explain(err, &found))?;
        let header = answer.header.clone();
        let renewed = answer.refresh.clone();
        let token =
            Token { header: answer.header, expires: answer.expires, accesses: accesses.into() };
        self.auth.state().put(scope, token);
        let sent = sent(header, credential);
        if let Some(identity) = renewed {
            self.renew(&found, identity).await;
        }
        Ok(sent)
    }

    /// What a token is asked for: what the scope needs, and what else was announced that the
    /// same credential is good for.
    async fn together(&self, scope: &Scope, found: &Arc<Found>) -> Result<Vec<Access>> {
        let mut accesses = scope.accesses();
        let announced = {
            let state = self.auth.state();
            let expected = state.announced.iter().any(|a| a.repository == scope.repository);
            let alone = state.alone.contains(&scope.repository);
            if expected && !alone { state.announced.clone() } else { Vec::new() }
        };
        for access in announced {
            if self.find(&access.repository).await?.credential != found.credential {
                continue;
            }
            match accesses.iter_mut().find(|known| known.repository == access.repository) {
                Some(known) => known.actions = known.actions.and(access.actions),
                None => accesses.push(access),
            }
        }
        Ok(accesses)
    }

    /// Takes over a new identity token, and keeps it where the old one was.
    async fn renew(&self, found: &Arc<Found>, identity: Secret) {
        self.auth.state().identity = Some(identity.clone());
        let Some(old) = found.credential.clone() else { return };
        let Proof::Identity(user, known) = &old.proof else { return };
        if *known == identity {
            return;
        }
        let proof = Proof::Identity(user.clone(), identity.clone());
        self.auth.state().found.replace(&old, &Credential { proof, ..old.clone() });
        let credentials = self.options().credentials.clone();
        let place = old.found_in.clone();
        if let Err(err) = blocking(move || credentials.renew(&old, &identity)).await {
            self.warn(&format!("the new identity token of {place} cannot be kept: {err}"));
        }
    }

    fn wants_password(&self, credential: Option<&Credential>) -> Error {
        let what = format!("{} takes passwords only", self.name);
        let err = Error::new(Kind::Unauthorized, what).expected("a user name and a password");
        let err = match credential {
            Some(credential) => err.found(credential),
            None => err,
        };
        err.hint(format!("`conex login {}` keeps another login", self.name))
    }

    /// Says whose credential a token server refused.
    fn explain(&self, err: Error, found: &Found) -> Error {
        match &found.credential {
            Some(credential) if is_refusal(&err) => err.found(credential).hint(format!(
                "`conex login {}` keeps another login; or the user may not do this",
                self.name
            )),
            None if is_refusal(&err) => no_login(err, &self.name, found.unasked.as_deref()),
            _ => err,
        }
    }
}

impl State {
    /// A token that is good for all that a scope needs, and lasts.
    fn cached(&self, scope: &Scope, margin: Duration) -> Option<HeaderValue> {
        let (needs, now) = (scope.accesses(), Instant::now());
        let tokens = self.tokens.get(&scope.repository)?;
        let good = tokens.iter().find(|token| token.covers(&needs) && token.lasts(now, margin));
        good.map(|token| token.header.clone())
    }

    /// Keeps a token for every repository that it was asked for with one credential.
    fn put(&mut self, scope: &Scope, token: Token) {
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
    fn drop_token(&mut self, scope: &Scope, header: &HeaderValue) {
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
    fn get(&self, repository: &Arc<str>) -> Option<Arc<Found>> {
        self.by_repository.get(repository).or(self.whole.as_ref()).cloned()
    }

    fn put(&mut self, repository: &Arc<str>, found: &Arc<Found>) {
        if found.whole {
            self.whole = Some(found.clone());
        } else {
            self.by_repository.insert(repository.clone(), found.clone());
        }
    }

    fn replace(&mut self, old: &Credential, new: &Credential) {
        for found in self.by_repository.values_mut().chain(self.whole.as_mut()) {
            if found.credential.as_ref() == Some(old) {
                let credential = Some(new.clone());
                *found = Arc::new(Found { credential, unasked: None, whole: found.whole });
            }
        }
    }

    fn unasked(&self) -> Option<String> {
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

fn sent(header: HeaderValue, credential: Option<&Credential>) -> Sent {
    Sent { header, by: credential.map(ToString::to_string) }
}

/// Whether a token server said no.
fn is_refusal(err: &Error) -> bool {
    let nobody = err.found_value().is_none_or(|found| found == "no credentials");
    matches!(err.kind(), Kind::Unauthorized | Kind::Denied) && nobody
}

fn no_login(err: Error, registry: &str, unasked: Option<&str>) -> Error {
    let err = err.found("no credentials");
    let command = format!("`conex login {registry}` keeps a login");
    err.hint(match unasked {
        Some(unasked) => format!("{}; {command}", crate::fault::escaped(unasked)),
        None => command,
    })
}

/// RFC 7617.
pub(crate) fn basic(user: &str, password: &Secret) -> Result<HeaderValue> {
    if user.contains(':') {
        return Err(
            Error::new(Kind::Usage, "a user name cannot hold a colon").found(format!("{user:?}"))
        );
    }
    Secret::new(BASE64.encode(format!("{user}:{}", password.expose()))).header("Basic")
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

    #[test]
    fn a_user_name_cannot_move_the_colon() {
        let header = basic("u", &Secret::new("p:q")).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dTpwOnE=");
        assert!(basic("u:p", &Secret::new("q")).is_err());
    }
}
