//! What a program can set. Nothing here is read from the environment.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conex_store::Observer;
use conex_store::rate::Limiter;

use crate::credentials::Credentials;
use crate::daemon::Engine;
use crate::hosts::addresses::Pin;
use crate::hosts::certs::CertificateFolders;
use crate::hosts::proxy::Proxies;
use crate::hosts::registries::RegistryFiles;

/// How many requests one host gets at a time, unless told otherwise.
const PER_HOST: usize = 16;

/// How a [`crate::Client`] talks to registries.
#[derive(Clone)]
pub struct Options {
    /// Who asks.
    pub credentials: Credentials,
    /// Which registries may be spoken to without TLS.
    pub plain_http: PlainHttp,
    /// What the client calls itself.
    pub user_agent: String,
    /// Told of retries and warnings.
    pub observer: Arc<dyn Observer>,
    /// How often a request is sent again.
    pub retry: Retry,
    /// How long an answer may take.
    pub timeouts: Timeouts,
    /// Sends blobs in chunks of so many bytes instead of in one piece. A registry that refuses
    /// one piece gets chunks anyway.
    pub chunk_size: Option<u64>,
    /// Through which proxies requests go.
    pub proxies: Proxies,
    /// Certificates of authorities to trust beside the system's, each file in PEM.
    pub extra_roots: Vec<Vec<u8>>,
    /// Certificates of single registries: authorities to trust, and client certificates.
    pub certificates: CertificateFolders,
    /// Mirrors, other locations, blocked and insecure registries.
    pub registries: RegistryFiles,
    /// Registries, each as `host` or `host:port`, whose certificates are not verified, and which
    /// may be spoken to without TLS where they do not speak it.
    pub insecure: Vec<String>,
    /// Addresses of names, whatever the name service says.
    pub addresses: Vec<Pin>,
    /// How many requests that read, and how many that write, one host gets at a time.
    pub per_host: usize,
    /// When a large blob comes over several connections.
    pub parallel: Parallel,
    /// Pairs of a registry and the host of a token server outside its domain that may see its
    /// passwords. Docker's own pair is built in.
    pub token_servers: Vec<(String, String)>,
    /// How fast blobs and manifests may move, those of all registries together, up and down.
    pub limiter: Option<Limiter>,
    /// Where uploads that break off are remembered for the next process, and processes wait for each
    /// other to change a list of referrers; nothing for nowhere.
    pub uploads: Option<Uploads>,
    /// Where the Docker engine or Podman of this machine may listen.
    pub engine: Engine,
}

/// Where locations of uploads are kept, which are secrets; see [`Options::uploads`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// A folder of the person's own, made where there is none.
    pub folder: PathBuf,
    /// What was kept earlier is forgotten; in seconds since 1970.
    pub before: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::anonymous(),
            plain_http: PlainHttp::default(),
            user_agent: concat!("conex/", env!("CARGO_PKG_VERSION")).into(),
            observer: Arc::new(()),
            retry: Retry::default(),
            timeouts: Timeouts::default(),
            chunk_size: None,
            proxies: Proxies::default(),
            extra_roots: Vec::new(),
            certificates: CertificateFolders::default(),
            registries: RegistryFiles::default(),
            insecure: Vec::new(),
            addresses: Vec::new(),
            per_host: PER_HOST,
            parallel: Parallel::default(),
            token_servers: Vec::new(),
            limiter: None,
            uploads: None,
            engine: Engine::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("credentials", &self.credentials)
            .field("plain_http", &self.plain_http)
            .field("retry", &self.retry)
            .field("timeouts", &self.timeouts)
            .field("chunk_size", &self.chunk_size)
            .finish_non_exhaustive()
    }
}

/// Which registries may be spoken to without TLS. Such a registry is asked over plain HTTP
/// first, and over TLS if its port turns out to speak that. All others are asked over TLS only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Those on this machine: `localhost`, 127.0.0.0/8 and ::1.
    #[default]
    Loopback,
    /// Those on this machine and these, each as `host` or `host:port`.
    Hosts(Vec<String>),
    /// All.
    Any,
}

/// How often and when a request is sent again that failed for a passing reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a request is sent at most, the first time included.
    pub attempts: u32,
    /// The pause before the first repetition; it doubles each time, with a random part.
    pub pause: Duration,
    /// The longest pause, also where a registry asks for a longer one.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        let (pause, longest) = (Duration::from_millis(200), Duration::from_secs(120));
        Self { attempts: 5, pause, longest }
    }
}

/// When a blob comes over several connections: where one turns out to be slow for a while, and
/// what is left would take some times as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallel {
    /// How many connections at most; 1 for never more than one.
    pub connections: usize,
    /// How long one is watched before others are tried.
    pub patience: Duration,
}

impl Default for Parallel {
    fn default() -> Self {
        Self { connections: 6, patience: Duration::from_secs(1) }
    }
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection with its TLS handshake.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For the answer to an upload after its last byte: the registry verifies and stores it.
    pub commit: Duration,
    /// In this time an answer must bring `least` bytes, or it counts as stalled. Of an upload four
    /// times as many must be taken in four times as long, since what is sent moves in lumps.
    pub stall: Duration,
    /// See `stall`.
    pub least: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            commit: Duration::from_secs(900),
            stall: Duration::from_secs(30),
            least: 30 << 10,
        }
    }
}
