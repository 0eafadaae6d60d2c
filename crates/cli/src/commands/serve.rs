//! `conex serve`

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use conex_server::access::htpasswd::Users;
use conex_server::settings::{SCHEMA, Settings};
use conex_server::{Access, Config, Log, Place, Server};
use conex_spec::Result;

use crate::commands::stop_signal;
use crate::output::{Output, escape};

/// Serve a registry on a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex serve
  conex serve --root /srv/registry --listen 0.0.0.0:5000
  conex serve --htpasswd users
  conex serve --config registry.toml --check

Without users it lets everyone in. `htpasswd -B -c users alice` makes a file of users. A file of
settings says more: who may do what where, and how clients log in. It speaks plain HTTP: put it
behind a proxy that speaks TLS.")]
pub struct Serve {
    /// The folder that holds everything [default: registry]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A file of settings, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of users and passwords; only they are let in, and may do everything
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    htpasswd: Option<PathBuf>,
    /// Look at the settings and the files that they name, and end
    #[arg(long)]
    check: bool,
    /// Print what can be set, as a JSON Schema, and end
    #[arg(long, exclusive = true)]
    schema: bool,
}

impl Serve {
    pub async fn run(&self, output: &Output) -> Result<()> {
        if self.schema {
            return output.print(SCHEMA);
        }
        let mut config = self.settings()?;
        let root = config.storage.to_string();
        if self.check {
            let report = Report { url: format!("http://{}", config.listen), root };
            return output.report(&report, |report| {
                format!("sound: {} on {}\n", report.root, report.url)
            });
        }
        config.log = Arc::new(AccessLog);
        let server = Server::bind(config).await?;
        let report = Report { url: format!("http://{}", server.local_addr()), root };
        output.report(&report, |report| {
            format!("serving {} on {}\n", report.root, report.url)
        })?;
        server.run(stop_signal()).await
    }

    /// What the file says, and what the command line says instead.
    fn settings(&self) -> Result<Config> {
        let mut config = Config::new("registry", ([127, 0, 0, 1], 5000).into());
        if let Some(path) = &self.config {
            Settings::open(path)?.apply(&mut config)?;
        }
        if let Some(path) = &self.htpasswd {
            config.access.users = Some(Users::open(path)?);
        }
        if let Some(root) = &self.root {
            config.storage = Place::Folder(root.clone());
        }
        config.listen = self.listen.unwrap_or(config.listen);
        Ok(config)
    }
}

#[derive(Serialize)]
struct Report {
    url: String,
    root: String,
}

/// One line for each request on standard error.
struct AccessLog;

impl Log for AccessLog {
    fn access(&self, access: &Access) {
        let fault = access.fault.as_deref().map(|fault| format!("  {}", escape(fault)));
        let user = access.user.as_deref().map_or("-".into(), |user| escape(user).replace(' ', "_"));
        let line = format!(
            "{} {user} {} {} {} in {} out {} {:.1} ms{}\n",
            access.peer.ip(),
            access.method,
            escape(&access.target),
            access.status,
            access.received,
            access.sent,
            access.duration.as_secs_f64() * 1000.0,
            fault.unwrap_or_default()
        );
        // A log that cannot be written must not stop the service.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
