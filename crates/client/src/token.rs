//! Bearer tokens, fetched from the server that a registry names.
//! Docker's "Token Authentication Specification" and "OAuth2 Token Authentication".

use std::time::{Duration, Instant};

use bytes::Bytes;
use conex_spec::{Error, Kind, Result};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Request, Url};
use serde::Deserialize;

use crate::answer::Answer;
use crate::auth::basic;
use crate::credentials::{Credential, Proof};
use crate::fault::fault;
use crate::origin::{self, Origin, Reach, may_see_secrets, shown};
use crate::paths;
use crate::registry::{Registry, no_answer};
use crate::retry::{is_transient, retry_after};
use crate::secret::Secret;
use crate::transport;

/// How many redirects of a token server are followed.
const MAX_HOPS: usize = 5;
/// The longest answer of a token server, in bytes.
const MAX_BODY: usize = 1 << 20;
/// The longest token, in bytes; longer ones fit no registry's headers.
const MAX_TOKEN: usize = 32 << 10;
/// "For compatibility with older clients, a token should never be returned with less than 60 seconds
/// to live", and that is the life of one that names none.
const LIFE: Duration = Duration::from_secs(60);
/// What tokens claim beyond this is not believed.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a registry wants to see, and until when.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) expires: Instant,
}

/// Asks the token server for a token of these scopes.
pub(crate) async fn fetch(
    registry: &Registry,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credential: Option<&Credential>,
) -> Result<Token> {
    let origin = registry.origin().await?;
    let realm = origin::realm(origin, realm)?;
    if credential.is_some() {
        origin::check_password(&registry.name, origin, &realm, &registry.options().token_servers)?;
    }
    let question = Question::new(realm, service, scopes, credential)?;
    let asked_at = Instant::now();
    let mut tries = registry.tries();
    let answer = loop {
        let result = question.ask(registry).await;
        let (fault, asked) = match result {
            Ok(answer) if is_transient(answer.status()) => {
                let told =
                    format!("token server {} answers {}", shown(&answer.url), answer.status());
                (Error::new(Kind::Network, told), retry_after(answer.headers()))
            }
            Ok(answer) => break answer,
            Err(err) if err.kind() == Kind::Network => (err, None),
            Err(err) => return Err(err),
        };
        match tries.pause(asked) {
            Some(pause) => registry.pause(&fault, pause).await,
            None => return Err(fault),
        }
    };
    if answer.status() != StatusCode::OK {
        return Err(fault(answer, format!("no token for {}", registry.name)).await);
    }
    parse(&answer.read(MAX_BODY, "token").await?, asked_at)
}

/// A request to a token server.
struct Question {
    url: Url,
    authorization: Option<HeaderValue>,
    form: Option<String>,
}

impl Question {
    fn new(
        realm: Url,
        service: Option<&str>,
        scopes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Self> {
        let mut authorization = None;
        match credential.map(|credential| &credential.proof) {
            Some(Proof::Identity(refresh)) => {
                let scope = scopes.join(" ");
                let form = paths::form(&[
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "conex"),
                    ("scope", &scope),
                    ("refresh_token", refresh.expose()),
                ]);
                return Ok(Self { url: realm, authorization, form: Some(form) });
            }
            Some(Proof::Password(user, password)) => authorization = Some(basic(user, password)?),
            Some(Proof::Token(_)) | None => {}
        }
        Ok(Self { url: paths::token(realm, service, scopes), authorization, form: None })
    }

    /// Asks, following redirects: the password goes no further than the origin it was meant
    /// for, and a form goes nowhere else (rule C4).
    async fn ask(&self, registry: &Registry) -> Result<Answer> {
        let first = Origin::of(&self.url)?;
        let mut url = self.url.clone();
        let mut elsewhere = false;
        for _ in 0..=MAX_HOPS {
            elsewhere |= !may_see_secrets(&first, &url);
            let answer = self.hop(registry, url, elsewhere).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            if self.form.is_some() {
                return Err(Error::new(Kind::Denied, "a token server redirects a refresh token")
                    .found(shown(&answer.url)));
            }
            url = origin::redirect(&answer.url, answer.location()?)?;
        }
        Err(Error::new(Kind::Limit, "a token server redirects without an end")
            .expected(format!("at most {MAX_HOPS} redirects"))
            .found(shown(&self.url)))
    }

    async fn hop(&self, registry: &Registry, url: Url, elsewhere: bool) -> Result<Answer> {
        let method = if self.form.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(method, url.clone());
        if let (Some(authorization), false) = (&self.authorization, elsewhere) {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(form) = &self.form {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, kind);
            *request.body_mut() = Some(Bytes::from(form.clone()).into());
        }
        // The registry itself may be its own token server, wherever it is.
        let own = registry.origin().await.is_ok_and(|origin| may_see_secrets(origin, &url));
        let ceiling = if own { Reach::Special } else { registry.reach() };
        let pool = registry.shared.transport.pool(registry.options(), &url, ceiling)?;
        let timeouts = registry.options().timeouts;
        let response = tokio::time::timeout(timeouts.answer, pool.execute(request)).await;
        let response = response.map_err(|_| no_answer(&url, timeouts.answer))?;
        let response = response.map_err(|err| transport::fault(err, &url))?;
        Ok(Answer { response, url, elsewhere, timeouts, sent: None })
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

/// `issued_at` is not looked at: it is a time of the server's clock.
fn parse(text: &[u8], asked_at: Instant) -> Result<Token> {
    // Nothing of the body is repeated: it holds a secret.
    let fault = |what: &str| Error::invalid(format!("token server sent {what}"));
    let body: Body =
        serde_json::from_slice(text).map_err(|_| fault("something that is no token"))?;
    let token = body.token.filter(|token| !token.is_empty());
    let token = token.or(body.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| fault("no token"))?;
    if token.len() > MAX_TOKEN {
        return Err(fault("too long a token")
            .expected(format!("at most {MAX_TOKEN} bytes"))
            .found(token.len()));
    }
    let life = body.expires_in.and_then(|life| life.as_f64()).filter(|life| *life >= 1.0);
    let life =
        life.map_or(LIFE, |life| Duration::from_secs_f64(life.min(LONGEST_LIFE.as_secs_f64())));
    Ok(Token { header: Secret::new(token).header("Bearer")?, expires: asked_at + life })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(body: &str) -> Result<(String, u64)> {
        let now = Instant::now();
        let token = parse(body.as_bytes(), now)?;
        Ok((token.header.to_str().unwrap().to_owned(), (token.expires - now).as_secs()))
    }

    #[test]
    fn tokens_and_their_lives() {
        for (body, token, seconds) in [
            (r#"{"token":"a"}"#, "a", 60),
            (r#"{"access_token":"b","expires_in":300}"#, "b", 300),
            (r#"{"token":"","access_token":"b","expires_in":300.5}"#, "b", 300),
            (r#"{"token":"a","access_token":"b","expires_in":"x"}"#, "a", 60),
            (r#"{"token":"a","expires_in":-1}"#, "a", 60),
            (r#"{"token":"a","expires_in":0}"#, "a", 60),
            (r#"{"token":"a","expires_in":1e300}"#, "a", 24 * 3600),
        ] {
            assert_eq!(life(body).unwrap(), (format!("Bearer {token}"), seconds), "{body}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_showing_it() {
        let long = format!(r#"{{"token":"{}"}}"#, "canary".repeat(10_000));
        for body in [
            "",
            "[]",
            "canary",
            "{}",
            r#"{"token":7,"x":"canary"}"#,
            r#"{"token":"canary\n"}"#,
            &long,
        ] {
            let err = life(body).unwrap_err();
            assert!(!err.to_string().contains("canary"), "{err}");
        }
    }
}
