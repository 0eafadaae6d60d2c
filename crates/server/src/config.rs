//! What can be set.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use conex_spec::{Error, Kind, Result};

use crate::access::Permissions;
use crate::gc::Gc;
use crate::log::Log;
use crate::policy::Policies;
use crate::tls::Tls;

/// How a registry is served.
#[derive(Clone)]
pub struct Config {
    /// What holds everything.
    pub storage: Place,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS; without it plain HTTP is spoken.
    pub tls: Option<Tls>,
    /// Where the operator is told how the server is, over plain HTTP: numbers for Prometheus at
    /// `/metrics`.
    pub operator: Option<SocketAddr>,
    /// Whether nothing can be changed.
    pub read_only: bool,
    /// Whether manifests, tags and blobs can be deleted.
    pub deletes: bool,
    /// Whether a manifest is taken whose children are not all there.
    pub sparse: bool,
    /// What clients are told with every answer, in `Warning` headers, for people to read.
    pub warnings: Vec<String>,
    /// What is collected, and when.
    pub gc: Gc,
    /// Who may do what.
    pub access: Permissions,
    /// What repositories may hold, and which tags stay.
    pub policies: Policies,
    /// What guards the machine.
    pub limits: Limits,
    /// Told of every request.
    pub log: Arc<dyn Log>,
}

/// What holds everything that a registry has.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of this machine; made where it is missing. One process serves it.
    Folder(PathBuf),
    /// A bucket of an S3-compatible store. Any number of processes may serve it.
    S3(S3),
    /// An OCI layout, as one repository of the given name; made where it is missing. Other tools may
    /// read and write it meanwhile.
    Layout {
        /// Its folder.
        path: PathBuf,
        /// What its content is called.
        repository: String,
    },
}

/// A bucket, and how it is reached.
#[derive(Clone, Default)]
pub struct S3 {
    /// The bucket's name.
    pub bucket: String,
    /// Below which name everything lies; may be empty.
    pub prefix: String,
    /// Whether clients get large blobs from the store itself, at addresses that are signed for them.
    pub redirect: bool,
    /// A folder of this machine where uploads wait for the rest of a part while memory is short; without one
    /// they wait in memory.
    pub spool: Option<PathBuf>,
    /// `aws_region`, `aws_endpoint_url`, `aws_access_key_id` and so on, as the variables of the
    /// environment are called, in small letters.
    pub options: BTreeMap<String, String>,
}

impl S3 {
    /// Reads `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// `Usage` where it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let fits = |name: &&str| {
            (3..=63).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let rest = text.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let plain = !prefix.split('/').any(|part| part == "." || part == "..");
        match Some(bucket).filter(fits).filter(|_| plain && !prefix.contains("//")) {
            Some(bucket) => {
                Ok(Self { bucket: bucket.into(), prefix: prefix.into(), ..Self::default() })
            }
            None => Err(Error::new(Kind::Usage, "this is no bucket")
                .expected("s3://BUCKET or s3://BUCKET/PREFIX, where BUCKET has 3 to 63 letters, digits, '-', '.' or '_'")
                .found(text.escape_debug())),
        }
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some options are secrets.
        let options: Vec<_> = self.options.keys().collect();
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("redirect", &self.redirect)
            .field("spool", &self.spool)
            .field("options", &options)
            .finish()
    }
}

/// What guards the machine from its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest manifest, in bytes; at most the 8 MiB that any document may have.
    pub manifest: usize,
    /// The longest head of a request, in bytes.
    pub header: usize,
    /// How long a request's head may take, and how long a connection may rest between requests.
    pub header_time: Duration,
    /// How long a request's body may bring less than `body_bytes`, and how long an answer waits
    /// for a client that does not read.
    pub body_time: Duration,
    /// What a request's body must bring in every `body_time`, in bytes.
    pub body_bytes: u64,
    /// The most connections at a time; others wait.
    pub connections: usize,
    /// How long a stopping server waits for the requests that it is answering.
    pub grace: Duration,
    /// The most memory for manifests that were asked for lately, in bytes.
    pub cache: usize,
}

impl Config {
    /// A registry in `root` at `listen`, with the usual limits and no log.
    pub fn new(root: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            storage: Place::Folder(root.into()),
            listen,
            tls: None,
            operator: None,
            read_only: false,
            deletes: true,
            sparse: false,
            warnings: Vec::new(),
            gc: Gc::default(),
            access: Permissions::default(),
            policies: Policies::default(),
            limits: Limits::default(),
            log: Arc::new(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Layout { path, .. } => write!(f, "oci:{}", path.display()),
            Self::S3(S3 { bucket, prefix, .. }) if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3(S3 { bucket, prefix, .. }) => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            header: 32 << 10,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            body_bytes: 30 << 10,
            connections: 4096,
            grace: Duration::from_secs(30),
            cache: 32 << 20,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("storage", &self.storage)
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .field("operator", &self.operator)
            .field("read_only", &self.read_only)
            .field("deletes", &self.deletes)
            .field("sparse", &self.sparse)
            .field("warnings", &self.warnings)
            .field("gc", &self.gc)
            .field("access", &self.access)
            .field("policies", &self.policies)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
