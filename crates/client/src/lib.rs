//! A registry repository as [`Source`](conex_store::Source) and [`Sink`](conex_store::Sink) over HTTP.
//!
//! ```no_run
//! # async fn example() -> conex_spec::Result<()> {
//! use conex_client::{Client, Options};
//! use conex_store::{Source, SourceExt};
//!
//! let client = Client::new(Options::default());
//! let repository = client.repository(&"registry.example/app".parse()?);
//! let root = repository.resolve(None).await?;
//! let manifest = repository.manifest(&root).await?;
//! # drop(manifest);
//! # Ok(())
//! # }
//! ```
//!
//! | looking for | module |
//! |---|---|
//! | what a program can set | [`options`] |
//! | mirrors, certificates, proxies: what people configured | [`hosts`] |
//! | which server may see which secret, and where a redirect may lead | `origin` |
//! | the URLs of the API | `paths` |
//! | user names, passwords, Docker's `config.json`, helper programs | [`credentials`] |
//! | trying a login, and keeping it | `login`, `credentials::keep` |
//! | `WWW-Authenticate`, bearer tokens | `challenge`, `auth`, `scope`, `token` |
//! | one request with its redirects, login and retries | `exchange`, `dispatch` |
//! | what a registry's error means | `fault` |
//! | tag → descriptor | `resolve` |
//! | a blob as a stream that mends itself | `pull` |
//! | a blob over several connections, and when | `spread`, `planner` |
//! | uploads, whole and in chunks | `push`, `upload`, `chunked` |
//! | uploads that broke off, and are gone on with | `sessions` |
//! | manifests and their tags | `manifests` |
//! | what is taken away again | `delete` |
//! | lists of tags and of repositories | `names`, `tags`, `catalog` |
//! | referrers; without an API for them, by tag | `referrers`, `referrers_tag` |
//! | images of a Docker engine or of Podman | [`daemon`] |
//!
//! # Security
//! A registry is a stranger. What it sends is bounded before it is read, its URLs are checked
//! before they are followed, and no secret leaves the origin (scheme, host and port) it belongs
//! to. Content is raw here; [`SourceExt`](conex_store::SourceExt) verifies it. What the crate itself
//! interprets, and all it uploads, is verified in this crate.

pub mod credentials;
pub mod daemon;
pub mod hosts;
pub mod options;
pub mod secret;

mod answer;
mod auth;
mod catalog;
mod challenge;
mod chunked;
mod delete;
mod dispatch;
mod exchange;
mod fault;
mod files;
mod link;
mod login;
mod manifests;
mod names;
mod origin;
mod paths;
mod planner;
mod pull;
mod push;
mod referrers;
mod referrers_tag;
mod registry;
mod repository;
mod resolve;
mod retry;
mod scope;
mod sending;
mod sessions;
mod spread;
mod tags;
mod token;
mod transport;
mod upload;

pub use credentials::{Credentials, Domain, Login, LoginKind};
pub use daemon::Engine;
pub use hosts::addresses::Pin;
pub use hosts::certs::CertificateFolders;
pub use hosts::proxy::{Proxies, Proxy};
pub use hosts::registries::RegistryFiles;
pub use login::{Checked, LoginProof};
pub use options::{Options, Parallel, PlainHttp, Retry, Timeouts, Uploads};
pub use repository::{Client, Repository};
pub use secret::Secret;
