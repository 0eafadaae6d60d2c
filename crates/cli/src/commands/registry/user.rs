//! `conex registry user`

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use conex_server::access::htpasswd;
use conex_spec::{Error, Result};
use conex_store::archive::Output as Replacement;

use crate::output::{Output, escape};
use crate::terminal;

/// Set the password of a user in a file of users, or remove the user
///
/// The file is made where there is none. Passwords are hashed with bcrypt, as `htpasswd -B` does.
/// A running registry sees the change at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  conex registry user users alice
  pass show alice | conex registry user users alice --password-stdin
  conex registry user users alice --remove

Without a terminal, or with --password-stdin, the password is read from standard input. It never
stands on the command line.")]
pub struct User {
    /// The file of users, as `conex serve --htpasswd` takes it
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Whose password it is
    name: String,
    /// Read the password from standard input, up to its end
    #[arg(long)]
    password_stdin: bool,
    /// Take the user out of the file
    #[arg(long, conflicts_with = "password_stdin")]
    remove: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    file: &'a PathBuf,
    user: &'a str,
    removed: bool,
}

impl User {
    pub async fn run(&self, durable: bool, output: &Output) -> Result<()> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(err) if err.kind() == ErrorKind::NotFound && !self.remove => String::new(),
            Err(err) => return Err(Error::io("cannot read the users", &self.file, err)),
        };
        let password = if self.remove { None } else { Some(self.password().await?) };
        let text = htpasswd::changed(&text, &self.file, &self.name, password.as_deref())?;
        let cannot = |err| Error::making("cannot write", &self.file, err);
        let mut file = Replacement::create(&self.file, durable)?;
        file.write_all(text.as_bytes()).map_err(cannot)?;
        file.finish()?;
        let report = Report { file: &self.file, user: &self.name, removed: self.remove };
        output.report(&report, |report| {
            let (user, file) = (escape(report.user), escape(&report.file.display().to_string()));
            match report.removed {
                true => format!("{user} is no longer in {file}\n"),
                false => format!("{file} has the password of {user}\n"),
            }
        })
    }

    async fn password(&self) -> Result<String> {
        if self.password_stdin || !terminal::is_there() {
            return terminal::read_input().await;
        }
        terminal::ask_hidden(&format!("Password of {}: ", self.name)).await
    }
}
