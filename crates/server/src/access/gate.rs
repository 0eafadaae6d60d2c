//! The one gate before all handlers (CVE-2026-41888: one handler had forgotten to ask).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conex_spec::Digest;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::rules::Actions;
use super::token::{Claims, Mint, Scope};
use super::{Permissions, Tokens};
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::log::Log;
use crate::paths::Repository;
use crate::routes::Route;
use crate::storage::blocking;
use crate::tls::Tls;

/// Passwords that are checked at a time: each costs a core for a while.
const CHECKS: usize = 2;

/// See the module.
pub(crate) struct Gate {
    pub(super) access: Permissions,
    pub(super) mint: Mint,
    checks: Semaphore,
    /// How this registry is spoken to, as far as it knows.
    scheme: &'static str,
    /// Whether people may show a certificate.
    certificates: bool,
    log: Arc<dyn Log>,
}

/// Someone who asks for something.
pub(crate) struct Asker<'a> {
    pub(super) gate: &'a Gate,
    pub(super) who: Who,
    pub(super) head: &'a Parts,
}

/// Who that is.
pub(crate) enum Who {
    Anyone,
    User(String),
    Bearer(Claims),
}

impl Gate {
    /// `key` is a secret of this registry.
    pub(crate) fn new(config: &Config, key: &[u8]) -> Self {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        Self {
            access: config.access.clone(),
            mint: Mint::new(key),
            checks: Semaphore::new(CHECKS),
            scheme,
            certificates: config.tls.as_ref().is_some_and(Tls::knows_clients),
            log: Arc::clone(&config.log),
        }
    }

    /// Whether everyone may do everything.
    fn is_open(&self) -> bool {
        self.access.is_open() && !self.certificates
    }

    /// Who sent a request. Wrong credentials are refused, even for what everyone may do: their
    /// owner thinks to be someone.
    ///
    /// Who shows a certificate, by the name in it, needs no password, but may log in as someone
    /// else all the same.
    pub(crate) async fn admit<'a>(
        &'a self,
        head: &'a Parts,
        certified: Option<&str>,
    ) -> Result<Asker<'a>, Failure> {
        let asker = |who| Asker { gate: self, who, head };
        let sent = head.headers.get(header::AUTHORIZATION).filter(|_| !self.access.is_open());
        let Some(sent) = sent else {
            let user = certified.map(|name| Who::User(name.to_owned()));
            return Ok(asker(user.unwrap_or(Who::Anyone)));
        };
        let sent = sent.to_str().unwrap_or_default();
        let (scheme, value) = sent.split_once(' ').unwrap_or((sent, ""));
        let found = if scheme.eq_ignore_ascii_case("basic") {
            self.password(value.trim()).await?.ok_or("the user or the password is wrong")
        } else if scheme.eq_ignore_ascii_case("bearer") {
            self.token(value.trim(), &host(head))
        } else {
            Err("this way to log in is not known here")
        };
        found.map(asker).map_err(|why| {
            let stranger = asker(Who::Anyone);
            stranger.challenge(why, None, Some("invalid_token").filter(|_| scheme != "Basic"))
        })
    }

    async fn password(&self, value: &str) -> Result<Option<Who>, Failure> {
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':'))
        else {
            return Ok(None);
        };
        self.log_in(user, password).await.map(|right| right.then(|| Who::User(user.to_owned())))
    }

    /// Whether someone has this password.
    pub(super) async fn log_in(&self, user: &str, password: &str) -> Result<bool, Failure> {
        let Some(users) = &self.access.users else { return Ok(false) };
        if users.recall(user, password)? {
            return Ok(true);
        }
        let _one = self.checks.acquire().await;
        let (users, user, password) = (users.clone(), user.to_owned(), password.to_owned());
        Ok(blocking(move || users.verify(&user, &password)).await?)
    }

    fn token(&self, token: &str, host: &str) -> Result<Who, &'static str> {
        let claims = match &self.access.tokens {
            Tokens::Own(own) => {
                let claims = self.mint.check(token, service(own.url.as_deref(), host), now())?;
                // Who was taken out of the file is out at once, not when the token ends.
                let gone = claims.user().is_some_and(|user| !self.knows(user));
                if gone {
                    return Err("the user of this token is not known any more");
                }
                claims
            }
            Tokens::Of(issuer) => {
                if let Some(err) = issuer.refresh() {
                    self.log.notice(&err.to_string());
                }
                issuer.check(token, now())?
            }
            Tokens::None => return Err("this registry takes no tokens"),
        };
        Ok(Who::Bearer(claims))
    }

    fn knows(&self, user: &str) -> bool {
        self.access.users.as_ref().is_some_and(|users| users.has(user).unwrap_or(false))
    }
}

impl Asker<'_> {
    /// Refuses what the asker may not do. Whether the thing is there plays no part: whoever may not
    /// know it learns nothing.
    pub(crate) fn check(&self, method: &Method, route: &Route) -> Result<(), Failure> {
        if self.may_everything() || matches!(route, Route::Token | Route::Health | Route::Ready) {
            return Ok(());
        }
        let Some(repository) = route.repository() else {
            // "/v2/" is where clients learn how to log in; the catalog shows what one may pull.
            return match (&self.who, route) {
                (Who::Anyone, Route::Base) => Err(self.challenge("log in first", None, None)),
                _ => Ok(()),
            };
        };
        let needed = needed(method, route);
        if self.may(repository).has(needed) {
            return Ok(());
        }
        Err(self.refusal(repository, needed))
    }

    /// What the asker may do in a repository.
    pub(crate) fn may(&self, repository: &Repository) -> Actions {
        let name = repository.as_str();
        match &self.who {
            // The rules may have changed since the token was given out.
            Who::Bearer(claims) => claims.allows(name).within(self.by_rules(name)),
            _ => self.by_rules(name),
        }
    }

    /// What our rules let this person do; who brings an issuer's token is not bound by them.
    fn by_rules(&self, repository: &str) -> Actions {
        match (&self.who, &self.gate.access.tokens) {
            _ if self.may_everything() => Actions::ALL,
            (Who::Bearer(_), Tokens::Of(_)) => Actions::ALL,
            _ => self.gate.access.rules.allowed(self.name(), repository),
        }
    }

    /// Whether nothing is kept from anyone.
    pub(crate) fn may_everything(&self) -> bool {
        self.gate.is_open()
    }

    /// Whether a repository is shown in the catalog.
    pub(crate) fn sees(&self, repository: &str) -> bool {
        let allowed = match (&self.who, &self.gate.access.tokens) {
            (Who::Bearer(claims), Tokens::Of(_)) if !claims.allows_catalog() => {
                claims.allows(repository)
            }
            _ => self.by_rules(repository),
        };
        allowed.has(Actions::PULL)
    }

    /// What the request calls this registry.
    pub(super) fn host(&self) -> String {
        host(self.head)
    }

    /// The name of the person, for the log.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.who {
            Who::Anyone => None,
            Who::User(user) => Some(user),
            Who::Bearer(claims) => claims.user(),
        }
    }

    /// What the address of an upload carries, so that nobody else goes on with it
    /// (CVE-2026-32589); nothing where everyone is the same.
    pub(crate) fn mark(&self, repository: &Repository, id: Uuid) -> Option<String> {
        let text = || format!("{repository}\0{id}\0{}", self.name().unwrap_or_default());
        (!self.may_everything()).then(|| self.gate.mint.mark(&text()))
    }

    /// Whether an upload is the asker's, by the mark in its address.
    pub(crate) fn owns(&self, repository: &Repository, id: Uuid, shown: Option<&str>) -> bool {
        let hash = |text: &str| Digest::sha256(text.as_bytes());
        // Compared as hashes: the time they take tells nothing of the mark.
        self.mark(repository, id).is_none_or(|mark| shown.is_some_and(|it| hash(it) == hash(&mark)))
    }

    fn refusal(&self, repository: &Repository, needed: Actions) -> Failure {
        let may_ask_again = match &self.who {
            Who::Anyone => true,
            Who::User(_) => false,
            // A stranger's token says no more than that nobody logged in.
            Who::Bearer(claims) if claims.user().is_none() => true,
            Who::Bearer(_) => self.by_rules(repository.as_str()).has(needed),
        };
        if may_ask_again {
            let why = match self.name() {
                None => "log in first",
                Some(_) => "the token is not good for this",
            };
            let error = matches!(self.who, Who::Bearer(_)).then_some("insufficient_scope");
            let scope = scope(repository, needed);
            return self.challenge(why, Some(&scope), error);
        }
        Code::Denied.says(format!("{} is not allowed here", named(needed)))
    }

    /// How to log in, and why that is necessary. RFC 6750, 3, and RFC 7617, 2.
    pub(super) fn challenge(&self, why: &str, scope: Option<&str>, error: Option<&str>) -> Failure {
        let value = match &self.gate.access.tokens {
            Tokens::None => "Basic realm=\"conex\", charset=\"UTF-8\"".to_owned(),
            Tokens::Own(own) => {
                let (url, host) = (own.url.as_deref(), self.host());
                let base =
                    url.map_or_else(|| format!("{}://{host}", self.gate.scheme), str::to_owned);
                let realm = format!("{}/token", base.trim_end_matches('/'));
                bearer(&realm, service(url, &host), scope, error)
            }
            Tokens::Of(issuer) => bearer(&issuer.realm, &issuer.service, scope, error),
        };
        let failure = Code::Unauthorized.says(why);
        match HeaderValue::try_from(value) {
            Ok(value) => failure.header(header::WWW_AUTHENTICATE, value),
            Err(_) => failure,
        }
    }
}

/// What an endpoint needs. Whether a push moves a tag, and where a mount comes from, is only known
/// to its handler, which asks then.
fn needed(method: &Method, route: &Route) -> Actions {
    match route {
        Route::Base | Route::Catalog | Route::Token | Route::Health | Route::Ready => Actions::NONE,
        Route::Tags(_) | Route::Referrers(..) => Actions::PULL,
        Route::Manifest(..) | Route::Blob(..) => match *method {
            Method::GET | Method::HEAD => Actions::PULL,
            Method::DELETE => Actions::DELETE,
            _ => Actions::PUSH,
        },
        Route::Uploads(_) | Route::Upload(..) => Actions::PUSH,
    }
}

fn named(needed: Actions) -> String {
    let name = needed.scope_names().join(" and ");
    if name.is_empty() { "this".to_owned() } else { name }
}

fn scope(repository: &Repository, needed: Actions) -> String {
    // Who pushes looks first.
    let needed = if needed.has(Actions::PUSH) { needed.and(Actions::PULL) } else { needed };
    format!("repository:{repository}:{}", needed.scope_names().join(","))
}

fn bearer(realm: &str, service: &str, scope: Option<&str>, error: Option<&str>) -> String {
    let mut value = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
    for (name, text) in [("scope", scope), ("error", error)] {
        if let Some(text) = text {
            value += &format!(",{name}=\"{text}\"");
        }
    }
    value
}

/// What tokens are bound to: the registry's host.
pub(super) fn service<'a>(url: Option<&'a str>, host: &'a str) -> &'a str {
    url.map_or(host, |url| url.split("://").last().unwrap_or(url).trim_end_matches('/'))
}

/// What a request calls us; plain letters only, since it goes into a header.
fn host(head: &Parts) -> String {
    let header = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = head.uri.authority().map(http::uri::Authority::as_str).or(header);
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    host.unwrap_or_default().chars().filter(|c| plain(*c)).collect()
}

/// Seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "a token says when it ends")]
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What someone asked for, cut down to what they may have.
pub(super) fn granted(asker: &Asker<'_>, wanted: Scope) -> Option<Scope> {
    if wanted.kind != "repository" {
        return None;
    }
    let repository: Repository = wanted.name.parse().ok()?;
    let asked = Actions::of_scope(wanted.actions.iter().map(String::as_str));
    let names = asked.within(asker.may(&repository)).scope_names();
    let actions: Vec<String> = names.into_iter().map(str::to_owned).collect();
    (!actions.is_empty()).then_some(Scope { actions, ..wanted })
}
