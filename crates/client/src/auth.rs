//! Logins: which `Authorization` a request carries.
//!
//! A registry that wants none gets none. One that answers 401 says what it wants; from then on
//! its requests carry it from the start. Tokens are kept until they expire, and serve every request
//! that needs no more than they are good for. Docker's "Token Authentication Specification";
//! RFC 9110, 11.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conex_spec::{Error, Kind, Result};
use conex_store::bridge::blocking;
use http::{HeaderMap, HeaderValue};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::answer::Answer;
use crate::challenge::{self, Challenge};
use crate::credentials::{Credential, Found, Proof, Shown};
use crate::fault::fault;
use crate::registry::Registry;
use crate::scope::Access;
pub(crate) use crate::scope::Scope;
use crate::secret::Secret;
use crate::token::{self, Token};

use state::{MARGIN, MAX_TOKENS, State, UPLOAD_MARGIN};

/// How many repositories one token is asked for together.
const MAX_TOGETHER: usize = 4;

/// The header of one request, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) header: HeaderValue,
    /// The credential as people may see it; nothing for an anonymous token.
    pub(crate) by: Option<Shown>,
}

/// What is known of a registry's logins.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    state: Mutex<State>,
    /// Held while a credential is looked for or a token is fetched, so that the others who
    /// need it wait for it. Whoever finds what is there already does not wait.
    fetching: tokio::sync::Mutex<()>,
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
        let sent = answer.sent.clone().flatten();
        let err = fault(answer, format!("{} refuses the request", self.name)).await;
        if let Some(Shown { advice, .. }) = sent {
            return err.hint(format!("{advice}; or the user may not do this"));
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
        let credentials = self.shared.credentials()?;
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
        match credential.map(Credential::shown) {
            Some(Shown { by, advice }) => err.found(by).hint(advice),
            None => err,
        }
    }

    /// Says whose credential a token server refused.
    fn explain(&self, err: Error, found: &Found) -> Error {
        match &found.credential {
            Some(credential) if is_refusal(&err) => {
                let Shown { by, advice } = credential.shown();
                err.found(by).hint(format!("{advice}; or the user may not do this"))
            }
            None if is_refusal(&err) => no_login(err, &self.name, found.unasked.as_deref()),
            _ => err,
        }
    }
}

fn sent(header: HeaderValue, credential: Option<&Credential>) -> Sent {
    Sent { header, by: credential.map(Credential::shown) }
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

    #[test]
    fn a_user_name_cannot_move_the_colon() {
        let header = basic("u", &Secret::new("p:q")).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dTpwOnE=");
        assert!(basic("u:p", &Secret::new("q")).is_err());
    }
}
