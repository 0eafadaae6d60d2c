//! Whoever looks after a registry from outside: in this process where nobody serves it, else by
//! orders to its server.

use conex_spec::{Error, Kind, Result};
use conex_store::ByteStream;

use super::control::Control;
use super::{Collection, Fault, Report, Scrub, Usage, scrub, usage};
use crate::config::{Config, Place};
use crate::paths;
use crate::storage::Storage;
use crate::storage::s3::S3Home;
use crate::uploads::Uploads;

/// See the module.
#[derive(Debug)]
pub struct Keeper(Hands);

#[derive(Debug)]
enum Hands {
    Own(Box<Own>),
    Server(Control),
}

#[derive(Debug)]
struct Own {
    storage: Storage,
    uploads: Uploads,
    config: Config,
}

impl Keeper {
    /// Opens what a configuration names. A folder that is served is left to its server, which goes
    /// by its own settings; then [`Keeper::is_served`].
    ///
    /// # Errors
    /// `NotFound` where there is no registry; `Conflict` where one process has all of a bucket.
    pub async fn open(config: Config) -> Result<Self> {
        if let Place::Folder(root) = &config.storage
            && !root.join(paths::VERSION).is_file()
        {
            let message = format!("{} is no registry", root.display());
            return Err(Error::not_found(message).expected("the folder of `conex serve --root`"));
        }
        if let Place::S3(bucket) = &config.storage
            && !S3Home::is_there(bucket).await?
        {
            let message = format!("{} is no registry", config.storage);
            return Err(Error::not_found(message).expected("what `conex serve --storage` serves"));
        }
        match (Storage::open(&config).await, &config.storage) {
            (Ok(storage), _) => {
                let own = Own { storage, uploads: Uploads::default(), config };
                Ok(Self(Hands::Own(Box::new(own))))
            }
            (Err(err), Place::Folder(root)) if err.kind() == Kind::Conflict => {
                Ok(Self(Hands::Server(Control::Folder(root.clone()))))
            }
            (Err(err), _) => Err(err),
        }
    }

    /// The server that listens for its operator at `http://HOST:PORT`.
    ///
    /// # Errors
    /// `Usage` where it is no such address.
    pub fn at(url: &str) -> Result<Self> {
        Control::parse(url).map(|control| Self(Hands::Server(control)))
    }

    /// Whether a server does the work, by its own settings.
    pub fn is_served(&self) -> bool {
        matches!(self.0, Hands::Server(_))
    }

    /// Collects what nobody needs; with `dry_run` only tells what that is.
    ///
    /// # Errors
    /// Those of the storage, or of the way to the server.
    pub async fn gc(&self, dry_run: bool) -> Result<Report> {
        match &self.0 {
            Hands::Own(own) => {
                let rules = (&own.config.gc, &own.config.policies);
                Collection::run(&own.storage, &own.uploads, rules, dry_run).await
            }
            Hands::Server(server) => server.order(&format!("/gc?dry-run={dry_run}")).await,
        }
    }

    /// Tells what each repository takes up.
    ///
    /// # Errors
    /// As [`Keeper::gc`].
    pub async fn usage(&self) -> Result<Usage> {
        match &self.0 {
            Hands::Own(own) => usage::usage(own.storage.home()).await,
            Hands::Server(server) => server.order("/du").await,
        }
    }

    /// Hashes everything, and sets aside what is damaged unless it is a `dry_run`.
    ///
    /// # Errors
    /// As [`Keeper::gc`].
    pub async fn scrub(&self, dry_run: bool) -> Result<Scrub> {
        match &self.0 {
            Hands::Own(own) => scrub::scrub(&own.storage, dry_run).await,
            Hands::Server(server) => server.order(&format!("/scrub?dry-run={dry_run}")).await,
        }
    }

    /// Puts sound content in the place of what [`Keeper::scrub`] has found damaged or missing. Returns
    /// its size in bytes.
    ///
    /// # Errors
    /// Those of the content and of the storage, or of the way to the server.
    pub async fn mend(&self, fault: &Fault, mut content: ByteStream) -> Result<u64> {
        match &self.0 {
            Hands::Own(own) => scrub::mend(&own.storage, fault, &mut content).await,
            Hands::Server(server) => {
                server.give(&format!("/mend?digest={}", fault.digest), content).await
            }
        }
    }

    /// Leaves the registry to others.
    pub async fn close(self) {
        if let Hands::Own(own) = self.0 {
            own.storage.home().close().await;
        }
    }
}
