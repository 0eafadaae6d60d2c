//! `conex auth`

use clap::{Args, Subcommand};
use serde::Serialize;

use conex_client::{Domain, Login, LoginKind};
use conex_ops::Context;
use conex_spec::{Error, Result};

use crate::args::typed;
use crate::output::{Output, escape};

/// Look at logins; no secret is shown
#[derive(Debug, Subcommand)]
pub enum Auth {
    List(List),
    Check(Check),
}

/// Show which logins there are, in the order of asking, and where each is kept
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex auth list
  conex auth list --format '{{.key}} {{.user}}'
  conex auth list --auth-file ./auth.json --format json")]
pub struct List {}

/// Show which login a registry is asked with, and whether it takes it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex auth check registry.example
  conex auth check registry.example/team/app --format json

Exit codes:
  0 taken; 3 there is no login; 4 a file is broken; 5 refused; 6 no answer; 7 a helper failed")]
pub struct Check {
    /// The registry, or a repository of it
    #[arg(value_name = "REGISTRY[/PATH]", value_parser = typed::<Domain>)]
    registry: Domain,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    registry: String,
    #[serde(flatten)]
    login: Login,
    /// Whether the registry asked for a login, and took this one.
    checked: bool,
}

impl Auth {
    pub async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        match self {
            Self::List(_) => {
                let logins = context.client.credentials()?.logins().await?;
                output.report(&logins, |logins| table(logins))
            }
            Self::Check(command) => command.run(context, output).await,
        }
    }
}

impl Check {
    async fn run(&self, context: &Context, output: &Output) -> Result<()> {
        let client = &context.client;
        let login = client.credentials()?.login_for(&self.registry).await?.ok_or_else(|| {
            Error::not_found(format!("there is no login for {}", self.registry))
                .hint(format!("`conex login {}` makes one", self.registry))
        })?;
        let checked = client.check_login(&self.registry).await?;
        let report = Checked { registry: self.registry.to_string(), login, checked };
        output.report(&report, |report| {
            let verdict = if report.checked { "takes" } else { "asks for no login; kept is" };
            format!("{} {verdict} {}\n", escape(&report.registry), line(&report.login))
        })
    }
}

fn table(logins: &[Login]) -> String {
    let width = logins.iter().map(|login| login.key.len()).max().unwrap_or_default();
    logins
        .iter()
        .map(|login| format!("{:<width$}  {}\n", escape(&login.key), line(login)))
        .collect()
}

/// `the password of alice from FILE`
fn line(login: &Login) -> String {
    let what = match login.kind {
        LoginKind::Password => "password",
        LoginKind::IdentityToken => "identity token",
        LoginKind::RegistryToken => "registry token",
        LoginKind::Kept => "login",
    };
    let user = login.user.as_ref().map(|user| format!(" of {user}")).unwrap_or_default();
    let by = login.helper.as_ref().map(|name| format!("docker-credential-{name}, named in "));
    let fault = login.fault.as_ref().map(|fault| format!(" — unusable: {fault}"));
    let (by, fault) = (by.unwrap_or_default(), fault.unwrap_or_default());
    escape(&format!("{what}{user} from {by}{}{fault}", login.file))
}
