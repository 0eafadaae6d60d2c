//! What can be set.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::access::Permissions;
use crate::log::Log;

/// How a registry is served.
#[derive(Clone)]
pub struct Config {
    /// What holds everything.
    pub storage: Place,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether manifests, tags and blobs can be deleted.
    pub deletes: bool,
    /// Who may do what.
    pub access: Permissions,
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
            deletes: true,
            access: Permissions::default(),
            limits: Limits::default(),
            log: Arc::new(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
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
            .field("deletes", &self.deletes)
            .field("access", &self.access)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
