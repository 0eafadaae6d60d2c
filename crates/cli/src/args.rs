//! What can be typed. The doc comments are the help texts.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use conex_spec::{Error, Kind};
use conex_store::rate::Rate;
use conex_template::Template;

use crate::registries::Registries;
use crate::{commands, failure};

/// One toolkit for OCI images and artifacts: copy, inspect, build, unpack and serve them.
#[derive(Debug, Parser)]
#[command(name = "conex", version, after_help = AFTER_HELP, propagate_version = true)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Locations:
  registry.example/repo:tag     a registry; short names mean what Docker makes of them
  oci:DIR[:TAG|@DIGEST]         an OCI layout directory
  oci-archive:FILE[:TAG]        the same in a tar; `-` is standard input or output
  docker-archive:FILE[:NAME]    what `docker save` writes; `-` as above
  docker-daemon:NAME            the engine of Docker or Podman, over its socket
  store:NAME                    the local store, which `conex pull` fills

Exit codes:
  0  done                       5  not allowed: who you are, or what you may
  1  failed otherwise           6  the network or the other side failed
  2  the command makes no sense 7  this machine failed: disk full, no permission,
  3  not found                     a credential helper that is not installed
  4  content is not sound, or   8  content passes a limit
     of another sort
130  interrupted              141  nobody reads the output any more

Environment:
  CONEX_STORE          the folder of the local store
  REGISTRY_AUTH_FILE   the one file with logins to use
  DOCKER_AUTH_CONFIG   the text of a config.json, asked before any file; not with --auth-file
  DOCKER_CONFIG        the folder of Docker's config.json; then only that file has logins
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY    proxies, and who is asked without one
  CONTAINERS_REGISTRIES_CONF    the file of mirrors, blocked and insecure registries
  SSL_CERT_FILE, SSL_CERT_DIR   certificates to trust instead of the system's
  SOURCE_DATE_EPOCH    the time in seconds that `conex pack`, `repack` and `artifact` write";

/// Options that every command has.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// How the result is printed: `text`, `json`, of `validate` also `sarif`, or a Go template over
    /// the members that `json` shows (after `table ` in columns under a head), as in '{{.digest}}' or '{{range .layers}}{{println .size}}{{end}}'
    #[arg(long, global = true, value_parser = typed::<Format>, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
    /// How progress is shown, on standard error
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto, value_name = "HOW")]
    pub progress: Progress,
    /// Tell on standard error of every request to a registry, without anything that may be secret
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// The folder of the local store
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// How many bytes per second move to and from registries, in all: 500K, 10M, 1G
    #[arg(long, global = true, value_name = "RATE", value_parser = typed::<Rate>)]
    pub limit_rate: Option<Rate>,
    /// The one file with logins to use, as `config.json` of Docker or containers-auth.json(5) have it
    #[arg(long, global = true, value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
    /// How many blobs move at a time, of large ones fewer; 12 without this option. How many layers
    /// `conex validate` reads at a time; 4 without this option
    #[arg(long, global = true, value_parser = jobs, value_name = "N")]
    pub jobs: Option<usize>,
    /// Do not wait until the disk has what is written: for work that may be lost with the machine
    #[arg(long, global = true)]
    pub no_sync: bool,
    #[command(flatten)]
    pub registries: Registries,
}

/// Parses an argument with the library's own parser, so that the hint of its error is shown too.
pub fn typed<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|err| failure::text(&err).trim_end().to_owned())
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs) if jobs > 0 => Ok(jobs),
        _ => Err("not a whole number from 1".into()),
    }
}

/// How a result is printed.
#[derive(Clone, Debug)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// SARIF 2.1.0, of findings only
    Sarif,
    /// What a Go template makes of the JSON document
    Template(Template),
    /// The same in columns under a head, as docker's `table` has it
    Table(Template),
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "sarif" => Ok(Self::Sarif),
            table if table.starts_with("table ") && table.contains("{{") => {
                Template::parse_typed(table["table ".len()..].trim_start()).map(Self::Table)
            }
            template if template.contains("{{") => {
                Template::parse_typed(template).map(Self::Template)
            }
            other => Err(Error::new(Kind::Usage, "not a format")
                .expected("text, json, sarif, or a Go template with `{{ }}` in it")
                .found(other.escape_debug())),
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// A bar for each blob that moves
    Bar,
    /// One line for each blob when it is there, and now and then while it moves
    Plain,
    /// One JSON object a line for each event, and one at the end that sums them up
    Json,
    /// Nothing
    None,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Inspect(commands::inspect::Inspect),
    Copy(commands::copy::Copy),
    Pull(commands::pull::Pull),
    Push(commands::push::Push),
    Pack(commands::pack::Pack),
    Repack(commands::repack::Repack),
    Unpack(commands::unpack::Unpack),
    Ls(commands::ls::Ls),
    Cat(commands::cat::Cat),
    Diff(commands::diff::Diff),
    Export(commands::export::Export),
    Validate(commands::validate::Validate),
    #[command(subcommand)]
    Index(commands::index::Index),
    #[command(subcommand)]
    Artifact(commands::artifact::ArtifactCommand),
    Discover(commands::discover::Discover),
    Images(commands::images::Images),
    Tag(commands::tag::Tag),
    Untag(commands::untag::Untag),
    Rm(commands::rm::Rm),
    Delete(commands::delete::Delete),
    Tags(commands::tags::Tags),
    Charts(commands::charts::Charts),
    Repos(commands::repos::Repos),
    Digest(commands::digest::Digest),
    #[command(subcommand)]
    Manifest(commands::manifest::ManifestCommand),
    #[command(subcommand)]
    Blob(commands::blob::BlobCommand),
    Gc(commands::gc::Gc),
    Du(commands::du::Du),
    Fsck(commands::fsck::Fsck),
    Repair(commands::repair::Repair),
    Login(commands::login::Login),
    Logout(commands::logout::Logout),
    #[command(subcommand)]
    Auth(commands::auth::Auth),
    Serve(commands::serve::Serve),
    #[command(subcommand)]
    Registry(commands::registry::RegistryCommand),
    Demo(commands::demo::Demo),
    Completion(commands::completion::Completion),
    Man(commands::man::Man),
    #[command(name = "__complete", hide = true)]
    Complete(commands::completion::Complete),
}
