//! `conex login`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use conex_client::{Client, Domain, LoginProof, Secret};
use conex_ops::Context;
use conex_spec::{Error, Kind, Result};

use crate::args::{Global, typed};
use crate::environment;
use crate::output::{Output, escape};
use crate::terminal;

/// Log in to a registry: the login is tried, then kept for all commands and other tools
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex login registry.example
  conex login registry.example/team -u alice
  pass show registry | conex login registry.example -u alice --password-stdin
  conex login registry.example --auth-file ./auth.json -u alice

Without a terminal, or with --password-stdin, the password is read from standard input. It never
is an argument, which every process could see.

Where it is kept:
  --auth-file, REGISTRY_AUTH_FILE, config.json in DOCKER_CONFIG, or ~/.docker/config.json, which
  docker, podman, skopeo and others read too, unless a file that is read before it has a login for
  the same already.
  A login for a part of a registry goes to ~/.config/containers/auth.json, since Docker would take
  it for all of the registry. Where the file names a helper (credHelpers, credsStore), that one
  keeps the secret; so does the first of credential-helpers in registries.conf, unless the files come
  before it. A token server may give an identity token, which is kept in place of the password.

Exit codes:
  0 kept; 2 nothing to log in with; 4 the file is broken; 5 the registry refuses the login;
  6 no answer; 7 the file or the helper failed")]
pub struct Login {
    /// The registry, or a namespace or repository of it
    #[arg(value_name = "REGISTRY[/PATH]", default_value = "docker.io", value_parser = typed::<Domain>)]
    registry: Domain,
    /// The user; asked for on a terminal
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Read the password from standard input, up to its end
    #[arg(long)]
    password_stdin: bool,
    /// What is typed or read is an identity token (a refresh token of OAuth 2), not a password
    #[arg(long, conflicts_with = "username")]
    identity_token: bool,
}

/// What was kept, and where.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    registry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// `password` or `identityToken`.
    kind: &'static str,
    file: PathBuf,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<String>,
    /// Whether the registry asked for the login, and took it.
    checked: bool,
}

impl Login {
    pub async fn run(&self, context: &Context, global: &Global, output: &Output) -> Result<()> {
        let client = &context.client;
        let file = self.file(client, global)?;
        let (user, proof) = self.ask().await?;
        let checked = client.try_login(&self.registry, &proof).await?;
        let was_asked = checked.was_asked();
        let kind = if checked.is_identity_token() { "identityToken" } else { "password" };
        let kept = checked.keep(&client.credentials()?, &file).await?;
        let report = Report {
            registry: self.registry.to_string(),
            user,
            kind,
            file: kept.file,
            key: kept.key,
            helper: kept.helper,
            checked: was_asked,
        };
        output.report(&report, text)
    }

    /// Where the login will be kept: a file that is broken is told before anything is typed.
    fn file(&self, client: &Client, global: &Global) -> Result<PathBuf> {
        let part = self.registry.path().is_some();
        let usual = environment::usual_login_file(global.auth_file.as_ref(), part);
        let usual = usual.ok_or_else(|| {
            Error::new(Kind::Usage, "there is no home folder to keep a login in")
                .hint("`--auth-file FILE` names a file")
        })?;
        client.credentials()?.file_for(&self.registry, &usual)
    }

    async fn ask(&self) -> Result<(Option<String>, LoginProof)> {
        let from_stdin = self.password_stdin || !terminal::is_there();
        if self.identity_token {
            let token = self.secret("Identity token", from_stdin).await?;
            return Ok((None, LoginProof::IdentityToken(token)));
        }
        let user = match &self.username {
            Some(user) => user.clone(),
            None if from_stdin => {
                return Err(Error::new(Kind::Usage, "no user to log in as")
                    .expected("--username USER where standard input is no terminal"));
            }
            None => terminal::ask(&format!("User of {}: ", self.registry)).await?,
        };
        let password = self.secret("Password", from_stdin).await?;
        Ok((Some(user.clone()), LoginProof::Password { user, password }))
    }

    async fn secret(&self, what: &str, from_stdin: bool) -> Result<Secret> {
        let text = if from_stdin {
            terminal::read_input().await?
        } else {
            terminal::ask_hidden(&format!("{what} for {}: ", self.registry)).await?
        };
        Ok(Secret::new(text))
    }
}

fn text(report: &Report) -> String {
    let Report { registry, file, .. } = report;
    let as_user = report.user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    let what = if report.kind == "password" { "password" } else { "identity token" };
    let by = match &report.helper {
        Some(helper) => format!("by docker-credential-{helper}, as {} says", file.display()),
        None => format!("in {}", file.display()),
    };
    let mut text = if report.checked {
        format!("logged in to {registry}{as_user}\n")
    } else {
        format!("{registry} asks for no login: this one is kept, but was not tried\n")
    };
    text += &format!("the {what} is kept {by}\n");
    text.lines().map(|line| escape(line) + "\n").collect()
}
