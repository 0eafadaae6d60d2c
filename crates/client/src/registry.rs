//! One registry: where it is, how near, who asks, and what it said by the way.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use conex_spec::{Error, Kind, Reference, Result};
use conex_store::Event;
use http::header::WARNING;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Response, Url};
use tokio::sync::OnceCell;

use crate::auth::Auth;
use crate::credentials::Credentials;
use crate::fault::escaped;
use crate::hosts::failure;
use crate::hosts::registries::{Place, Registries};
use crate::options::{Options, PlainHttp};
use crate::origin::{Origin, Reach, shown};
use crate::paths;
use crate::repository::again;
use crate::retry::Tries;
use crate::sessions::{Found, Key};
use crate::spread::Room;
use crate::transport::{To, Transport};

/// "A registry MUST NOT send more than 4096 bytes of warning data from all headers combined."
const MAX_WARNINGS: usize = 4096;

/// What all registries of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) transport: Transport,
    /// For what downloads fetch ahead.
    pub(crate) room: Room,
    registries: OnceLock<Result<Registries>>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let (transport, room) = (Transport::default(), Room::default());
        Self { options, transport, room, registries: OnceLock::new() }
    }

    /// What is configured about registries, read when first asked for. A folder in the place of a file
    /// with logins is told then, whether the registry wants a login or not.
    pub(crate) fn registries(&self) -> Result<&Registries, &Error> {
        let load = || {
            self.options.credentials.check_files()?;
            self.options.registries.load()
        };
        self.registries.get_or_init(load).as_ref()
    }

    /// The credentials, with the helpers that are named for all registries.
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        let order = self.registries().map_err(again)?.helpers.as_ref();
        Ok(self.options.credentials.clone().in_order(order))
    }
}

/// What is configured about a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Setting {
    pub(crate) insecure: bool,
    pub(crate) mirror: bool,
    /// Where it says so.
    pub(crate) place: Option<Place>,
}

/// How often a mirror is asked at most: there are other places.
const MIRROR_ATTEMPTS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) shared: Arc<Shared>,
    /// As people call it: `docker.io`.
    pub(crate) name: String,
    pub(crate) auth: Auth,
    /// Whether it has refused a blob in one piece.
    pub(crate) wants_chunks: AtomicBool,
    /// Whether it has refused to look for a blob in its other repositories.
    pub(crate) minds_mounts: AtomicBool,
    /// Whether it has refused a small blob in a single request.
    pub(crate) minds_whole: AtomicBool,
    /// Uploads that can be gone on with.
    pub(crate) uploads: Mutex<HashMap<Key, Found>>,
    /// Held while the referrers tag is read, changed and written.
    pub(crate) referrers: tokio::sync::Mutex<()>,
    /// Whether it has shown that others write the same to it just now.
    pub(crate) is_shared: AtomicBool,
    setting: Setting,
    /// As a mirror, whether it is passed over, and whether that was told.
    passed_over: AtomicBool,
    told_of: AtomicBool,
    is_loopback: bool,
    origin: OnceCell<Origin>,
    reach: OnceLock<Reach>,
    warned: Mutex<HashSet<String>>,
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>, reference: &Reference, setting: Setting) -> Self {
        Self {
            shared,
            name: reference.registry().to_owned(),
            auth: Auth::default(),
            wants_chunks: AtomicBool::new(false),
            minds_mounts: AtomicBool::new(false),
            minds_whole: AtomicBool::new(false),
            uploads: Mutex::default(),
            referrers: tokio::sync::Mutex::default(),
            is_shared: AtomicBool::new(false),
            setting,
            passed_over: AtomicBool::new(false),
            told_of: AtomicBool::new(false),
            is_loopback: reference.is_loopback(),
            origin: OnceCell::new(),
            reach: OnceLock::new(),
            warned: Mutex::default(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Where it is; asks once whether a registry that may lack TLS has it.
    pub(crate) async fn origin(&self) -> Result<&Origin> {
        self.origin.get_or_try_init(|| self.find_origin()).await
    }

    /// How near it is, as far as an answer has shown it.
    pub(crate) fn reach(&self) -> Reach {
        self.reach.get().copied().unwrap_or(Reach::Public)
    }

    /// Takes note of who answered at the registry's own URL.
    pub(crate) async fn note_reach(&self, url: &Url, response: &Response) {
        if self.reach.get().is_some() {
            return;
        }
        let proxied = !matches!(self.options().proxies.choose(url), Ok(None));
        let reach = if proxied {
            let found = self.shared.transport.behind_proxy(self.options(), url).await;
            Some(found.ok().flatten().unwrap_or(Reach::Public))
        } else {
            response.remote_addr().map(|address| Reach::of(address.ip()))
        };
        if let Some(reach) = Reach::of_literal(url).or(reach) {
            let _ = self.reach.set(reach);
        }
    }

    /// Whether its certificate is not verified.
    pub(crate) fn is_insecure(&self) -> bool {
        self.setting.insecure || self.is_listed(&self.options().insecure)
    }

    /// What it is for, where a file says so.
    pub(crate) fn role(&self) -> Option<String> {
        let place = self.setting.place.as_ref()?;
        let what = if self.setting.mirror { "mirror" } else { "registry" };
        Some(format!("{what} {} ({place})", self.name))
    }

    pub(crate) fn known_origin(&self) -> Option<&Origin> {
        self.origin.get()
    }

    pub(crate) fn is_passed_over(&self) -> bool {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// As a mirror it is not asked again.
    pub(crate) fn pass_over(&self) {
        self.passed_over.store(true, Ordering::Relaxed);
    }

    /// Whether its failure was told already; true from the second call on.
    pub(crate) fn is_told_of(&self) -> bool {
        self.told_of.swap(true, Ordering::Relaxed)
    }

    /// Tells of a failure that is followed by another try, and waits.
    pub(crate) async fn pause(&self, fault: &Error, pause: Duration) {
        self.options().observer.event(Event::Retry(fault, pause));
        tokio::time::sleep(pause).await;
    }

    pub(crate) fn tries(&self) -> Tries {
        let mut policy = self.options().retry;
        if self.setting.mirror {
            policy.attempts = policy.attempts.min(MIRROR_ATTEMPTS);
        }
        Tries::new(policy)
    }

    pub(crate) fn warn(&self, text: &str) {
        self.options().observer.event(Event::Warning(text));
    }

    /// Tells the `Warning` headers of an answer, each once. distribution-spec, "Warnings".
    pub(crate) fn note_warnings(&self, headers: &HeaderMap) {
        let fresh: Vec<String> = {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            let texts =
                headers.get_all(WARNING).iter().filter_map(|value| warning(value.as_bytes()));
            let mut room = MAX_WARNINGS.saturating_sub(warned.iter().map(String::len).sum());
            let mut fresh = Vec::new();
            for text in texts {
                if !warned.contains(&text) && text.len() <= room {
                    room -= text.len();
                    warned.insert(text.clone());
                    fresh.push(text);
                }
            }
            fresh
        };
        for text in fresh {
            self.warn(&format!("{} says: {text}", self.name));
        }
    }

    fn may_be_plain(&self) -> bool {
        self.is_loopback
            || match &self.options().plain_http {
                PlainHttp::Loopback => false,
                PlainHttp::Any => true,
                PlainHttp::Hosts(hosts) => self.is_listed(hosts),
            }
    }

    /// Whether a list of `host` and `host:port` names it.
    fn is_listed(&self, hosts: &[String]) -> bool {
        let host = self.name.rsplit_once(':').map_or(&*self.name, |(host, _)| host);
        hosts.iter().any(|listed| *listed == self.name || listed == host)
    }

    async fn find_origin(&self) -> Result<Origin> {
        let host = paths::api_host(&self.name);
        let (secure, plain) = (Origin::new("https", host)?, Origin::new("http", host)?);
        if self.may_be_plain() {
            return self.find_plain_first(plain, secure).await;
        }
        if self.is_insecure() {
            return self.find_secure_first(plain, secure).await;
        }
        Ok(secure)
    }

    async fn find_plain_first(&self, plain: Origin, secure: Origin) -> Result<Origin> {
        let mut tries = self.tries();
        loop {
            match self.probe(&plain).await {
                Probe::Http => return Ok(plain),
                // A server of TLS answers plain words with an alert, with 400 or not at all.
                Probe::Other => {
                    return match self.probe(&secure).await {
                        Probe::Http | Probe::Distrusted => Ok(secure),
                        Probe::Unreachable(fault) if fault.kind() != Kind::Network => Err(fault),
                        Probe::Other | Probe::Unreachable(_) => Ok(plain),
                    };
                }
                Probe::Distrusted => return Ok(plain),
                Probe::Unreachable(fault) if fault.kind() != Kind::Network => return Err(fault),
                Probe::Unreachable(fault) => match tries.pause(None) {
                    Some(pause) => self.pause(&fault, pause).await,
                    None => return Err(fault),
                },
            }
        }
    }

    /// "If `insecure` is set to `true`, unencrypted HTTP as well as TLS connections with untrusted
    /// certificates are allowed" (containers-registries.conf(5)).
    async fn find_secure_first(&self, plain: Origin, secure: Origin) -> Result<Origin> {
        let mut tries = self.tries();
        loop {
            let fault = match self.probe(&secure).await {
                Probe::Http | Probe::Distrusted => return Ok(secure),
                Probe::Other => return Ok(plain),
                Probe::Unreachable(fault) if fault.kind() != Kind::Network => return Err(fault),
                Probe::Unreachable(fault) => fault,
            };
            // Without a port in its name the two are behind different ones.
            if matches!(self.probe(&plain).await, Probe::Http) {
                return Ok(plain);
            }
            match tries.pause(None) {
                Some(pause) => self.pause(&fault, pause).await,
                None => return Err(fault),
            }
        }
    }

    /// Asks for nothing, without any secret, to see what is spoken there.
    async fn probe(&self, origin: &Origin) -> Probe {
        let asked = async {
            let url = paths::root(origin)?;
            let insecure = self.is_insecure();
            let to = To { url: &url, ceiling: Reach::Special, own: true, insecure };
            let pool = self.shared.transport.pool(self.options(), to)?;
            let request = reqwest::Request::new(Method::GET, url.clone());
            Ok::<_, Error>((self.execute_in(&pool, request).await, url))
        };
        let limit = self.options().timeouts.answer;
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok((Ok(response), url))) if response.status() != StatusCode::BAD_REQUEST => {
                self.note_reach(&url, &response).await;
                self.auth.learn(response.headers());
                Probe::Http
            }
            Ok(Ok((Ok(_), _))) => Probe::Other,
            Ok(Ok((Err(err), _))) if failure::is_no_tls(&err) => Probe::Other,
            Ok(Ok((Err(err), _))) if failure::is_about_trust(&err) => Probe::Distrusted,
            Ok(Ok((Err(err), _))) if failure::is_not_http(&err) => Probe::Other,
            Ok(Ok((Err(err), url))) => Probe::Unreachable(self.unanswered(err, &url)),
            Ok(Err(err)) => Probe::Unreachable(err),
            Err(_) => Probe::Other,
        }
    }
}

enum Probe {
    Http,
    Other,
    Distrusted,
    Unreachable(Error),
}

/// The text of `299 - "text"`, escaped; nothing for another form. "`Warning` headers MUST specify a
/// `warn-code` of `299` and a `warn-agent` of `-`".
fn warning(value: &[u8]) -> Option<String> {
    let value = value.get(..value.len().min(MAX_WARNINGS))?;
    let text = String::from_utf8_lossy(value);
    let quoted = text.trim().strip_prefix("299")?.trim_start().strip_prefix('-')?.trim_start();
    let inner = quoted.strip_prefix('"')?;
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    Some(escaped(&plain)).filter(|text| !text.is_empty())
}

/// What could not be asked of a registry, and where.
pub(crate) fn no_answer(url: &Url, limit: Duration) -> Error {
    Error::new(Kind::Network, format!("no answer from {} in {limit:?}", shown(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings() {
        for (value, text) in [
            (r#"299 - "old image""#, Some("old image")),
            (r#"299 - "say \"hi\"" "date""#, Some("say \"hi\"")),
            ("299 - \"\u{1b}[2Jx\"", Some("\\u{1b}[2Jx")),
            (r#"110 - "stale""#, None),
            (r#"299 other "x""#, None),
            (r#"299 - """#, None),
            ("299", None),
        ] {
            assert_eq!(warning(value.as_bytes()).as_deref(), text, "{value}");
        }
        let huge = format!("299 - \"{}\"", "x".repeat(1 << 20));
        assert!(warning(huge.as_bytes()).unwrap().len() <= MAX_WARNINGS);
    }
}
