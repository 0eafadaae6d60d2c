//! `conex serve`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use conex_server::access::htpasswd::Users;
use conex_server::settings::{SCHEMA, Settings};
use conex_server::{Config, Place, S3, Server, Tls, TlsFiles};
use conex_spec::{Error, Kind, Reference, Result};

use crate::commands::stop_signal;
use crate::environment;
use crate::output::{Output, escape};

mod files;
mod log;

use self::log::LogForm;

/// Serve a registry on a folder or a bucket, or a layout as one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex serve
  conex serve --root /srv/registry --listen 0.0.0.0:5000
  conex serve --htpasswd users --tls-cert registry.pem --tls-key registry.key
  conex serve --config registry.toml --check
  conex serve --storage s3://bucket/registry --listen 0.0.0.0:5000
  conex serve oci:./mirror --repository team/app
  conex serve oci:./mirror --repository team/app --read-only

A bucket is reached with what the environment says: AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3, and
AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true where its name is a part of the host's. Any number of
processes may serve one bucket, if its store holds to If-Match; otherwise one.

Without users it lets everyone in, and without a certificate it speaks plain HTTP. `conex registry
user users alice` makes a file of users. A file of settings says more: who may do what where,
how clients log in, and where Prometheus gets its numbers.")]
pub struct Serve {
    /// A layout, which is served as one repository; made where it is missing
    #[arg(value_name = "oci:DIR", conflicts_with_all = ["root", "storage"])]
    layout: Option<String>,
    /// What the content of the layout is called [default: the folder's name]
    #[arg(long, value_name = "NAME", requires = "layout")]
    repository: Option<String>,
    /// The folder that holds everything [default: registry]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The bucket that holds everything, instead of a folder
    #[arg(long, value_name = "s3://BUCKET/PREFIX", conflicts_with = "root")]
    storage: Option<String>,
    /// Send clients to the store for large blobs, at addresses signed for them
    #[arg(long, requires = "storage")]
    redirect: bool,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A file of settings, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of users and passwords; only they are let in, and may do everything
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    htpasswd: Option<PathBuf>,
    /// The certificate of this registry, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Refuse every change
    #[arg(long)]
    read_only: bool,
    /// How requests are logged, on standard error
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: LogForm,
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
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        if self.check {
            let url = format!("{scheme}://{}", config.listen);
            let report = Report { url, root, operator: config.operator };
            return output
                .report(&report, |report| format!("sound: {} on {}\n", report.root, report.url));
        }
        config.log = self.log.open();
        files::allow(&mut config);
        let server = Server::bind(config).await?;
        let url = format!("{scheme}://{}", server.local_addr());
        let report = Report { url, root, operator: server.operator_addr() };
        output.report(&report, |report| {
            let mut text = format!("serving {} on {}\n", report.root, report.url);
            if let Some(operator) = report.operator {
                text += &format!("numbers for Prometheus on http://{operator}/metrics\n");
            }
            text
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
        if let Some(storage) = &self.storage {
            config.storage = Place::S3(S3 { redirect: self.redirect, ..S3::parse(storage)? });
        }
        if let Some(layout) = &self.layout {
            config.storage = self.place_of(layout)?;
        }
        if let Place::S3(bucket) = &mut config.storage {
            environment::fill(bucket);
        }
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            config.tls = Some(Tls::open(TlsFiles { certificate, key, clients: None })?);
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.read_only |= self.read_only;
        Ok(config)
    }
}

impl Serve {
    fn place_of(&self, layout: &str) -> Result<Place> {
        let path =
            layout.strip_prefix("oci:").filter(|path| !path.is_empty()).ok_or_else(|| {
                Error::new(Kind::Usage, "this cannot be served")
                    .expected("oci:DIR")
                    .found(escape(layout))
            })?;
        let path = PathBuf::from(path);
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_ascii_lowercase);
        let repository = self.repository.clone().or(name).unwrap_or_default();
        let checked = Reference::check_repository(&repository);
        checked.map_err(|err| err.hint("name it: `--repository NAME`"))?;
        Ok(Place::Layout { path, repository })
    }
}

#[derive(Serialize)]
struct Report {
    url: String,
    root: String,
    /// Where the operator asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<SocketAddr>,
}
