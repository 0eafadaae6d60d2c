//! A registry as a service over a folder or a bucket: the API of the OCI distribution specification.
//!
//! ```no_run
//! # async fn example() -> conex_spec::Result<()> {
//! use conex_server::{Config, Server};
//!
//! let server = Server::bind(Config::new("/srv/registry", ([127, 0, 0, 1], 5000).into())).await?;
//! println!("http://{}", server.local_addr());
//! server.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await
//! # }
//! ```
//!
//! What is promised: whatever was acknowledged survives a crash; bytes served under a digest have
//! that digest, or the transfer fails; a tag is replaced at once or not at all; a request never
//! takes more memory than a few chunks, whatever the size of the blob. What is not: content that
//! nothing refers to stays where it is until it is collected ([`gc`]), and one folder is served by one
//! process at a time. A bucket is served by any number.
//!
//! | looking for | module |
//! |---|---|
//! | what can be set | [`config`] |
//! | the file that sets it | [`settings`] |
//! | who may do what | [`access`] |
//! | quotas, tags that stay | [`policy`], `quota` |
//! | the access log | [`log`] |
//! | TLS and certificates of clients | [`tls`], `wire` |
//! | numbers for the operator | `metrics`, `operator` |
//! | listening, connections, shutdown | [`server`] |
//! | one request from its head to its answer | `app` |
//! | URL paths and queries | `routes` |
//! | status and error codes | `failure` |
//! | where everything is kept, and how | `storage` |
//! | the tree there | `paths` |
//! | upload sessions | `uploads` |
//! | what is collected, and why nothing that is needed | [`gc`], `storage/leases` |
//! | what each endpoint does | `handlers` |

pub mod access;
pub mod config;
pub mod gc;
pub mod log;
pub mod policy;
pub mod server;
pub mod settings;
pub mod tls;

mod app;
mod cache;
mod failure;
mod file_body;
mod handlers;
mod inspect;
mod memory;
mod metrics;
mod operator;
mod paths;
mod patience;
mod quota;
mod range;
mod receive;
mod reply;
mod routes;
mod stamp;
mod storage;
mod uploads;
mod warning;
mod wire;

pub use config::{Config, Limits, Place, S3};
pub use log::{Access, Log};
pub use policy::{Immutable, Policies, Quota};
pub use server::Server;
pub use tls::{Clients, Tls, TlsFiles};
