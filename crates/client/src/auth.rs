//! Logins: which `Authorization` a request carries.
//!
//! A registry that wants none gets none. One that answers 401 says what it wants; from then on
//! its requests carry it from the start. Tokens are kept until they expire, each for what it is
//! good for. Docker's "Token Authentication Specification"; RFC 9110, 11.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conex_spec::{Error, Kind, Result};
use conex_store::bridge::blocking;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::answer::Answer;
use crate::challenge::{self, Challenge};
use crate::credentials::{Credential, Found, Proof};
use crate::fault::fault;
use crate::registry::Registry;
use crate::secret::Secret;
use crate::token::{self, Token};

/// A token that is about to expire is not used, least of all for a long upload.
const MARGIN: Duration = Duration::from_secs(3);
const UPLOAD_MARGIN: Duration = Duration::from_secs(30);
/// How many tokens are kept for one registry.
const MAX_TOKENS: usize = 1024;

/// What a request needs: a repository, what is done there, and perhaps the source of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) repository: Arc<str>,
    pub(crate) actions: &'static str,
    pub(crate) from: Option<String>,
}

impl Scope {
    pub(crate) fn pull(repository: &Arc<str>) -> Self {
        Self { repository: repository.clone(), actions: "pull", from: None }
    }

    pub(crate) fn push(repository: &Arc<str>) -> Self {
        Self { repository: repository.clone(), actions: "pull,push", from: None }
    }

    pub(crate) fn delete(repository: &Arc<str>) -> Self {
        Self { repository: repository.clone(), actions: "delete", from: None }
    }

    /// The list of repositories, which belongs to none of them.
    pub(crate) fn catalog() -> Self {
        Self { actions: "*", ..Self::default() }
    }

    /// A mount also reads another repository.
    pub(crate) fn mount(repository: &Arc<str>, from: &str) -> Self {
        Self { from: Some(from.to_owned()), ..Self::push(repository) }
    }

    fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.repository.is_empty() && !self.actions.is_empty() {
            texts.push(format!("registry:catalog:{}", self.actions));
        } else if !self.actions.is_empty() {
            texts.push(format!("repository:{}:{}", self.repository, self.actions));
        }
        texts.extend(self.from.as_ref().map(|from| format!("repository:{from}:pull")));
        texts
    }
}

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
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    /// By repository: Podman's files may hold several for one registry.
    found: HashMap<Arc<str>, Arc<Found>>,
    tokens: HashMap<Scope, Token>,
    /// What a registry wants beside the usual scope, where it calls a repository by another name.
    wanted: HashMap<Scope, String>,
}

impl Auth {
    /// Takes note of what an answer to an anonymous request wants.
    pub(crate) async fn learn(&self, headers: &HeaderMap) {
        if let Ok(challenge) = challenge::parse(headers) {
            self.state.lock().await.challenge = Some(challenge);
        }
    }
}

impl Registry {
    /// The header for a request of this scope, if one is known to be wanted. While a token
    /// is fetched, other requests wait for it instead of fetching their own.
    pub(crate) async fn authorize(&self, scope: &Scope, upload: bool) -> Result<Option<Sent>> {
        let mut state = self.auth.state.lock().await;
        let Some(challenge) = state.challenge.clone() else { return Ok(None) };
        let found = self.found(&mut state, scope).await?;
        let credential = found.credential.as_ref();
        match (&challenge, credential.map(|credential| &credential.proof)) {
            (_, Some(Proof::Token(secret))) => Ok(Some(sent(secret.header("Bearer")?, credential))),
            (Challenge::Basic, Some(Proof::Password(user, password))) => {
                Ok(Some(sent(basic(user, password)?, credential)))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service, .. }, _) => {
                let margin = if upload { UPLOAD_MARGIN } else { MARGIN };
                if let Some(token) = state.tokens.get(scope).filter(|token| token.lasts(margin)) {
                    return Ok(Some(sent(token.header.clone(), credential)));
                }
                let mut scopes = scope.texts();
                scopes.extend(state.wanted.get(scope).cloned());
                let token =
                    token::fetch(self, realm, service.as_deref(), &scopes, credential).await;
                let token = token.map_err(|err| self.explain(err, &found))?;
                if state.tokens.len() >= MAX_TOKENS {
                    state.tokens.clear();
                }
                let header = token.header.clone();
                state.tokens.insert(scope.clone(), token);
                Ok(Some(sent(header, credential)))
            }
        }
    }

    /// Takes note of a 401. Fails where nothing is left to try.
    pub(crate) async fn challenged(&self, answer: &Answer, scope: &Scope) -> Result<()> {
        let challenge =
            challenge::parse(answer.headers()).map_err(|err| err.context(&self.name))?;
        let mut state = self.auth.state.lock().await;
        state.tokens.remove(scope);
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
            return err
                .hint("check the user name and the password, and what they are allowed to do");
        }
        let state = self.auth.state.lock().await;
        let helper = state.found.values().find_map(|found| found.helper.as_deref());
        no_login(err, &self.name, helper)
    }

    async fn found(&self, state: &mut State, scope: &Scope) -> Result<Arc<Found>> {
        if let Some(found) = state.found.get(&scope.repository) {
            return Ok(found.clone());
        }
        let credentials = self.options().credentials.clone();
        let (registry, repository) = (self.name.clone(), scope.repository.clone());
        let found = blocking(move || credentials.find(&registry, &repository)).await?;
        let found = Arc::new(found);
        state.found.insert(scope.repository.clone(), found.clone());
        Ok(found)
    }

    /// Says whose credential a token server refused.
    fn explain(&self, err: Error, found: &Found) -> Error {
        let nobody = err.found_value().is_none_or(|found| found == "no credentials");
        let refused = matches!(err.kind(), Kind::Unauthorized | Kind::Denied) && nobody;
        match &found.credential {
            Some(credential) if refused => err.found(credential),
            None if refused => no_login(err, &self.name, found.helper.as_deref()),
            _ => err,
        }
    }
}

fn sent(header: HeaderValue, credential: Option<&Credential>) -> Sent {
    Sent { header, by: credential.map(ToString::to_string) }
}

fn no_login(err: Error, registry: &str, helper: Option<&str>) -> Error {
    let err = err.found("no credentials");
    match helper {
        Some(helper) => err.hint(format!(
            "Docker's configuration keeps the credentials of {registry} with the program \
             docker-credential-{}, which is not asked; store them without it",
            crate::fault::escaped(helper)
        )),
        None => err.hint(format!("log in to {registry} first")),
    }
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

impl Token {
    fn lasts(&self, margin: Duration) -> bool {
        self.expires.saturating_duration_since(Instant::now()) > margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let repository: Arc<str> = "a/b".into();
        assert_eq!(Scope::pull(&repository).texts(), ["repository:a/b:pull"]);
        assert_eq!(
            Scope::mount(&repository, "c").texts(),
            ["repository:a/b:pull,push", "repository:c:pull"]
        );
        assert!(Scope::default().texts().is_empty());
    }

    #[test]
    fn a_user_name_cannot_move_the_colon() {
        let header = basic("u", &Secret::new("p:q")).unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic dTpwOnE=");
        assert!(basic("u:p", &Secret::new("q")).is_err());
    }
}
