//! One registry: where it is, how near, who asks, and what it said by the way.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use conex_spec::{Error, Kind, Reference, Result};
use conex_store::Event;
use http::header::WARNING;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Response, Url};
use tokio::sync::OnceCell;

use crate::auth::Auth;
use crate::fault::escaped;
use crate::options::{Options, PlainHttp, Proxies};
use crate::origin::{Origin, Reach, shown};
use crate::paths;
use crate::retry::Tries;
use crate::sessions::{Found, Key};
use crate::transport::{self, Transport};

/// "A registry MUST NOT send more than 4096 bytes of warning data from all headers combined."
const MAX_WARNINGS: usize = 4096;

/// What all registries of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) transport: Transport,
}

#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) shared: Arc<Shared>,
    /// As people call it: `docker.io`.
    pub(crate) name: String,
    pub(crate) auth: Auth,
    /// Whether it has refused a blob in one piece.
    pub(crate) wants_chunks: AtomicBool,
    /// Uploads that can be gone on with.
    pub(crate) uploads: Mutex<HashMap<Key, Found>>,
    /// Held while the referrers tag is read, changed and written.
    pub(crate) referrers: tokio::sync::Mutex<()>,
    is_loopback: bool,
    origin: OnceCell<Origin>,
    reach: OnceLock<Reach>,
    warned: Mutex<HashSet<String>>,
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>, reference: &Reference) -> Self {
        Self {
            shared,
            name: reference.registry().to_owned(),
            auth: Auth::default(),
            wants_chunks: AtomicBool::new(false),
            uploads: Mutex::default(),
            referrers: tokio::sync::Mutex::default(),
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

    /// Takes note of who answered at the registry's own URL. Behind a proxy that is not known.
    pub(crate) fn note_reach(&self, url: &Url, response: &Response) {
        let proxied = self.options().proxies != Proxies::default();
        let connected = response.remote_addr().filter(|_| !proxied);
        let reach = Reach::of_literal(url).or(connected.map(|address| Reach::of(address.ip())));
        if let Some(reach) = reach {
            let _ = self.reach.set(reach);
        }
    }

    /// Tells of a failure that is followed by another try, and waits.
    pub(crate) async fn pause(&self, fault: &Error, pause: Duration) {
        self.options().observer.event(Event::Retry(fault, pause));
        tokio::time::sleep(pause).await;
    }

    pub(crate) fn tries(&self) -> Tries {
        Tries::new(self.options().retry)
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
                PlainHttp::Hosts(hosts) => hosts.iter().any(|host| {
                    *host == self.name
                        || self.name.rsplit_once(':').is_some_and(|(name, _)| name == host)
                }),
            }
    }

    async fn find_origin(&self) -> Result<Origin> {
        let host = paths::api_host(&self.name);
        let secure = Origin::new("https", host)?;
        if !self.may_be_plain() {
            return Ok(secure);
        }
        let plain = Origin::new("http", host)?;
        let mut tries = self.tries();
        loop {
            match self.probe(&plain).await {
                Probe::Http => return Ok(plain),
                // A server of TLS answers plain words with an alert, with 400 or not at all.
                Probe::Other => {
                    let tls = matches!(self.probe(&secure).await, Probe::Http | Probe::Distrusted);
                    return Ok(if tls { secure } else { plain });
                }
                Probe::Distrusted => return Ok(plain),
                Probe::Unreachable(fault) => match tries.pause(None) {
                    Some(pause) => self.pause(&fault, pause).await,
                    None => return Err(fault),
                },
            }
        }
    }

    /// Asks for nothing, without any secret, to see what is spoken there.
    async fn probe(&self, origin: &Origin) -> Probe {
        let asked = async {
            let url = paths::root(origin)?;
            let pool = self.shared.transport.pool(self.options(), &url, Reach::Special)?;
            let request = reqwest::Request::new(Method::GET, url.clone());
            Ok::<_, Error>((pool.execute(request).await, url))
        };
        let limit = self.options().timeouts.answer;
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok((Ok(response), url))) if response.status() != StatusCode::BAD_REQUEST => {
                self.note_reach(&url, &response);
                self.auth.learn(response.headers());
                Probe::Http
            }
            Ok(Ok((Ok(_), _))) => Probe::Other,
            Ok(Ok((Err(err), _))) if transport::is_not_http(&err) => Probe::Other,
            Ok(Ok((Err(err), url))) => match transport::fault(err, &url) {
                fault if fault.kind() == Kind::Denied => Probe::Distrusted,
                fault => Probe::Unreachable(fault),
            },
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
