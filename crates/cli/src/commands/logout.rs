//! `conex logout`

use clap::Args;
use serde::Serialize;

use conex_client::Domain;
use conex_client::credentials::Erased;
use conex_ops::Context;
use conex_spec::{Error, Result};

use crate::args::typed;
use crate::output::{Output, escape};

/// Forget logins, in every file that has them and with their helpers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex logout registry.example
  conex logout registry.example/team
  conex logout --all

Exit codes:
  0 forgotten, or --all where there was none; 3 there was no login for what is named; 4 a file is
  broken; 7 a file or a helper failed")]
pub struct Logout {
    /// The registry, or the namespace or repository that the login is for
    #[arg(value_name = "REGISTRY[/PATH]", value_parser = typed::<Domain>, required_unless_present = "all")]
    registry: Option<Domain>,
    /// Forget all of them
    #[arg(long, conflicts_with = "registry")]
    all: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    key: String,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<String>,
}

impl Logout {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let credentials = context.client.credentials()?;
        let erased = match &self.registry {
            Some(registry) => credentials.erase(registry).await?,
            None => credentials.erase_all().await?,
        };
        if let (Some(registry), true) = (&self.registry, erased.is_empty()) {
            return Err(Error::not_found(format!("there is no login for {registry}"))
                .hint("`conex auth list` shows those that there are"));
        }
        let rows: Vec<_> = erased.into_iter().map(Row::from).collect();
        output.report(&rows, |rows| match rows.as_slice() {
            [] => "there was no login\n".to_owned(),
            rows => rows.iter().map(text).collect(),
        })
    }
}

impl From<Erased> for Row {
    fn from(erased: Erased) -> Self {
        let file = erased.file.display().to_string();
        Self { key: erased.key, file, helper: erased.helper }
    }
}

fn text(row: &Row) -> String {
    let helper = row.helper.as_ref().map(|name| format!(" and docker-credential-{name}"));
    let line = format!("removed {} from {}{}", row.key, row.file, helper.unwrap_or_default());
    escape(&line) + "\n"
}
