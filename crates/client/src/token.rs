//! Bearer tokens, fetched from the server that a registry names.
//! Docker's "Token Authentication Specification" and "OAuth2 Token Authentication".

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conex_spec::{Error, Kind, Result, date};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Request, Url};
use serde::Deserialize;

use crate::answer::Answer;
use crate::auth::basic;
use crate::credentials::{Credential, Proof};
use crate::fault::fault;
use crate::origin::{self, Origin, Reach, may_see_secrets, shown};
use crate::paths;
use crate::registry::Registry;
use crate::retry::{is_transient, retry_after};
use crate::scope::Access;
use crate::secret::Secret;

/// What token servers may call this client in their logs.
const CLIENT: &str = "conex";
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

/// What a registry wants to see, until when, and what for.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) expires: Instant,
    pub(crate) accesses: Arc<[Access]>,
}

/// What a token server gives.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) header: HeaderValue,
    pub(crate) expires: Instant,
    /// A new identity token, to be kept in the place of the password or of the old one.
    pub(crate) refresh: Option<Secret>,
}

/// Asks the token server for a token of these scopes.
pub(crate) async fn fetch(
    registry: &Registry,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credential: Option<&Credential>,
) -> Result<Given> {
    let origin = registry.origin().await?;
    let realm = origin::realm(origin, realm)?;
    if credential.is_some() {
        origin::check_password(&registry.name, origin, &realm, &registry.options().token_servers)?;
    }
    let lasting = registry.options().credentials.wants_identity();
    let mut question = Question::new(realm, service, scopes, credential, lasting)?;
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
            Ok(answer) if question.is_unknown(answer.status()) => {
                question = question.in_the_old_way(service, scopes)?;
                continue;
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
    let date = answer.header(DATE).and_then(date::http);
    parse(&answer.read(MAX_BODY, "token").await?, asked_at, date)
}

/// A request to a token server.
struct Question {
    url: Url,
    authorization: Option<HeaderValue>,
    form: Option<String>,
    /// For a token server that takes no form.
    without_form: Option<HeaderValue>,
}

impl Question {
    fn new(
        realm: Url,
        service: Option<&str>,
        scopes: &[String],
        credential: Option<&Credential>,
        lasting: bool,
    ) -> Result<Self> {
        let mut authorization = None;
        match credential.map(|credential| &credential.proof) {
            Some(Proof::Identity(user, refresh)) => {
                let scope = scopes.join(" ");
                let form = paths::form(&[
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", CLIENT),
                    ("scope", &scope),
                    ("refresh_token", refresh.expose()),
                ]);
                let without_form = Some(basic(user.as_deref().unwrap_or_default(), refresh)?);
                return Ok(Self { url: realm, authorization, form: Some(form), without_form });
            }
            Some(Proof::Password(user, password)) => authorization = Some(basic(user, password)?),
            Some(Proof::Token(_)) | None => {}
        }
        let mut url = paths::token(realm, service, scopes);
        if lasting && authorization.is_some() {
            url.query_pairs_mut()
                .append_pair("offline_token", "true")
                .append_pair("client_id", CLIENT);
        }
        Ok(Self { url, authorization, form: None, without_form: None })
    }

    /// Whether an answer says that the server knows no forms. "If the request to the endpoint
    /// returns 404 using the HTTP POST method, refer to Token Documentation for using the HTTP GET
    /// method" ("OAuth2 Token Authentication"). A 401 is a refusal: the token is not tried as a
    /// password after it, which may count as an attack on the account.
    fn is_unknown(&self, status: StatusCode) -> bool {
        self.form.is_some() && matches!(status.as_u16(), 404 | 405 | 501)
    }

    fn in_the_old_way(self, service: Option<&str>, scopes: &[String]) -> Result<Self> {
        let url = paths::token(self.url, service, scopes);
        Ok(Self { url, authorization: self.without_form, form: None, without_form: None })
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
        let timeouts = registry.options().timeouts;
        let shown = own && !elsewhere;
        let response = registry.dispatch(request, timeouts.answer, ceiling, shown).await?;
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
    #[serde(default)]
    issued_at: Option<serde_json::Value>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// `date` is when the server says it answered, in seconds since 1970. A token that it had issued
/// before lives that much shorter; no clock but the server's own tells.
fn parse(text: &[u8], asked_at: Instant, date: Option<i64>) -> Result<Given> {
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
    let issued = body.issued_at.as_ref().and_then(|time| Some(date::rfc3339(time.as_str()?)?.0));
    // Go's zero time, in the year 1, is none.
    let issued = issued.filter(|issued| *issued > 0);
    let age = date.zip(issued).and_then(|(date, issued)| u64::try_from(date - issued).ok());
    let expires = asked_at + life.saturating_sub(Duration::from_secs(age.unwrap_or_default()));
    let refresh = body.refresh_token.filter(|token| (1..=MAX_TOKEN).contains(&token.len()));
    let header = Secret::new(token).header("Bearer")?;
    Ok(Given { header, expires, refresh: refresh.map(Secret::new) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(body: &str) -> Result<(String, u64)> {
        let now = Instant::now();
        let token = parse(body.as_bytes(), now, Some(1_795_344_995))?;
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
            (r#"{"token":"a","expires_in":300,"issued_at":"2026-11-22T10:56:15Z"}"#, "a", 280),
            (r#"{"token":"a","expires_in":300,"issued_at":"2026-11-22T10:50:00Z"}"#, "a", 0),
            (r#"{"token":"a","expires_in":300,"issued_at":"2026-11-22T11:56:15Z"}"#, "a", 300),
            (r#"{"token":"a","expires_in":300,"issued_at":7}"#, "a", 300),
            (r#"{"token":"a","expires_in":300,"issued_at":"0001-01-01T00:00:00Z"}"#, "a", 300),
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
