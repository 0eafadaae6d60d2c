//! `conex serve`

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use conex_server::{Access, Config, Log, Server};
use conex_spec::Result;

use crate::commands::stop_signal;
use crate::output::{Output, escape};

/// Serve a registry on a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex serve
  conex serve --root /srv/registry --listen 0.0.0.0:5000

It speaks plain HTTP and lets everyone in: put it behind a proxy that does not.")]
pub struct Serve {
    /// The folder that holds everything
    #[arg(long, value_name = "DIR", default_value = "registry")]
    root: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
}

impl Serve {
    pub async fn run(&self, output: &Output) -> Result<()> {
        let mut config = Config::new(&self.root, self.listen);
        config.log = Arc::new(AccessLog);
        let server = Server::bind(config).await?;
        let report =
            Report { url: format!("http://{}", server.local_addr()), root: self.root.clone() };
        output.report(&report, |report| {
            format!("serving {} on {}\n", report.root.display(), report.url)
        })?;
        server.run(stop_signal()).await
    }
}

#[derive(Serialize)]
struct Report {
    url: String,
    root: PathBuf,
}

/// One line for each request on standard error.
struct AccessLog;

impl Log for AccessLog {
    fn access(&self, access: &Access) {
        let fault = access.fault.as_deref().map(|fault| format!("  {}", escape(fault)));
        let line = format!(
            "{} {} {} {} in {} out {} {:.1} ms{}\n",
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
