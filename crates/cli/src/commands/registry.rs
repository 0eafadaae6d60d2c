//! `conex registry`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use conex_ops::Context;
use conex_server::gc::Keeper;
use conex_server::settings::Settings;
use conex_server::{Config, Place, S3};
use conex_spec::{Error, Kind, Result};

use crate::environment;
use crate::output::Output;

mod du;
mod gc;
mod repair;
mod scrub;
mod user;

/// Look after a registry of `conex serve`
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    Gc(gc::Gc),
    Du(du::Du),
    Scrub(scrub::Scrub),
    Repair(repair::Repair),
    User(user::User),
}

impl RegistryCommand {
    pub async fn run(
        &self,
        context: impl FnOnce() -> Context,
        durable: bool,
        output: &Output,
    ) -> Result<ExitCode> {
        match self {
            Self::Gc(command) => command.run(output).await?,
            Self::Du(command) => command.run(output).await?,
            Self::Scrub(command) => return command.run(output).await,
            Self::Repair(command) => return command.run(&context(), output).await,
            Self::User(command) => command.run(durable, output).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Which registry.
#[derive(Debug, Args)]
struct Which {
    /// Its folder, `s3://BUCKET/PREFIX`, or `http://HOST:PORT` where its server listens for its
    /// operator [default: what --config names, or the folder `registry`]
    #[arg(value_name = "REGISTRY")]
    place: Option<String>,
    /// The file of settings of its server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Which {
    /// The settings, if they are needed; those of a server that is running are its own.
    fn settings(&self) -> Result<Config> {
        let mut config = Config::new("registry", ([127, 0, 0, 1], 0).into());
        if let Some(path) = &self.config {
            Settings::open(path)?.apply(&mut config)?;
        }
        match &self.place {
            Some(text) if text.starts_with("s3://") => {
                config.storage = Place::S3(S3::parse(text)?);
            }
            Some(text) => config.storage = Place::Folder(text.into()),
            None => {}
        }
        if let Place::S3(bucket) = &mut config.storage {
            environment::fill(bucket);
        }
        Ok(config)
    }

    /// The server at an operator's address, if that was given.
    fn server(&self) -> Result<Option<Keeper>> {
        match &self.place {
            Some(text) if text.starts_with("http://") => Keeper::at(text).map(Some),
            _ => Ok(None),
        }
    }

    /// Whoever looks after it. `change` is what the command line says of the settings; `says` is
    /// whether it says any, which a server that is running would not follow.
    async fn keeper(&self, says: bool, change: impl FnOnce(&mut Config)) -> Result<Keeper> {
        let keeper = match self.server()? {
            Some(server) => server,
            None => {
                let mut config = self.settings()?;
                change(&mut config);
                Keeper::open(config).await?
            }
        };
        if keeper.is_served() && says {
            return Err(Error::new(
                Kind::Usage,
                "the registry is being served, by its own settings",
            )
            .hint("leave out what the settings of its server say, or stop it"));
        }
        Ok(keeper)
    }
}
