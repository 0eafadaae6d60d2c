//! The file of settings, in TOML. Its JSON Schema is [`SCHEMA`].
//!
//! ```toml
//! root = "/srv/registry"
//! listen = "0.0.0.0:5000"
//!
//! [tls]
//! certificate = "registry.pem"
//! key = "registry.key"
//!
//! [auth]
//! htpasswd = "users"
//! tokens = true
//! url = "https://registry.example"
//!
//! [[rule]]
//! repositories = ["team/*"]
//! users = ["alice", "bob"]
//! actions = ["pull", "push"]
//!
//! [[quota]]
//! prefix = "team"
//! bytes = 50_000_000_000
//!
//! [[immutable]]
//! repositories = ["team/*"]
//! tags = ["v[0-9]*"]
//! ```
//! Names of files are taken from the folder of the file itself.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use conex_spec::{Error, Glob, Kind, Result};
use serde::Deserialize;
use toml_edit::de;

use crate::access::htpasswd::Users;
use crate::access::rules::{Actions, Rule, Rules, Whom};
use crate::access::token::{Issuer, Own};
use crate::access::{Permissions, Tokens};
use crate::config::{Config, Place, S3};
use crate::policy::{Immutable, Policies, Quota};
use crate::tls::{Clients, Tls, TlsFiles};
use crate::warning;

mod collection;
mod limits;

use self::collection::{GcTable, RetentionTable};
use self::limits::LimitTable;

/// What may stand in the file, as a JSON Schema.
pub const SCHEMA: &str = include_str!("settings/schema.json");

/// The longest file, in bytes.
const LIMIT: u64 = 1 << 20;

/// All that a file says. What it does not say keeps its default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    root: Option<PathBuf>,
    storage: Option<StorageTable>,
    listen: Option<SocketAddr>,
    operator: Option<SocketAddr>,
    read_only: Option<bool>,
    deletes: Option<bool>,
    sparse: Option<bool>,
    warnings: Option<Vec<String>>,
    tls: Option<TlsTable>,
    limits: LimitTable,
    auth: Auth,
    rule: Option<Vec<RuleTable>>,
    quota: Vec<QuotaTable>,
    immutable: Vec<ImmutableTable>,
    gc: GcTable,
    retention: Vec<RetentionTable>,
    #[serde(skip)]
    path: PathBuf,
}

/// `[storage]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StorageTable {
    url: String,
    region: Option<String>,
    endpoint: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    path_style: Option<bool>,
    #[serde(default)]
    redirect: bool,
    spool: Option<PathBuf>,
}

/// Some of it is secret.
impl fmt::Debug for StorageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageTable").field("url", &self.url).finish_non_exhaustive()
    }
}

/// `[tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TlsTable {
    certificate: PathBuf,
    key: PathBuf,
    client_authority: Option<PathBuf>,
    #[serde(default)]
    client_required: bool,
}

/// `[auth]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Auth {
    htpasswd: Option<PathBuf>,
    tokens: bool,
    url: Option<String>,
    token_life: Option<u64>,
    issuer: Option<IssuerTable>,
}

/// `[auth.issuer]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerTable {
    realm: String,
    service: String,
    issuer: String,
    keys: PathBuf,
}

/// `[[rule]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    repositories: Vec<String>,
    users: Vec<String>,
    actions: Vec<String>,
}

/// `[[quota]]`: in bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaTable {
    prefix: String,
    bytes: u64,
}

/// `[[immutable]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImmutableTable {
    repositories: Vec<String>,
    tags: Vec<String>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// `Invalid` where it is no TOML, or says something that it cannot say; the line is named.
    pub fn open(path: &Path) -> Result<Self> {
        let fault = |err| Error::io("cannot read the settings", path, err);
        if std::fs::metadata(path).map_err(fault)?.len() > LIMIT {
            let message = format!("{} has more than {LIMIT} bytes", path.display());
            return Err(Error::new(Kind::Limit, message));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(fault)?, path)
    }

    /// Reads the text of a file that lies at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let settings: Self = de::from_str(text).map_err(|err| {
            let start = err.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            Error::invalid(format!("{}, line {line}: {}", path.display(), err.message().trim()))
                .hint("`conex serve --schema` prints all that can be set")
        })?;
        Ok(Self { path: path.to_owned(), ..settings })
    }

    /// Puts what the file says into a configuration; opens the files that it names.
    ///
    /// # Errors
    /// `Invalid` where a named file is not what it should be, or two settings exclude each other.
    pub fn apply(self, config: &mut Config) -> Result<()> {
        let folder = self.path.parent().map(Path::to_owned).unwrap_or_default();
        config.access = self.permissions(&folder)?;
        config.policies = self.policies()?;
        match (self.root, self.storage) {
            (Some(_), Some(_)) => {
                let message = "`root` and `[storage]` exclude each other";
                return Err(Error::invalid(format!("{}: {message}", self.path.display())));
            }
            (Some(root), None) => config.storage = Place::Folder(folder.join(root)),
            (None, Some(table)) => {
                let path = self.path.display();
                let bucket = table.bucket(&folder).map_err(|err| err.context(path))?;
                config.storage = Place::S3(bucket);
            }
            (None, None) => {}
        }
        if let Some(table) = &self.tls {
            let tls = table.open(&folder).map_err(|err| err.context(self.path.display()))?;
            config.tls = Some(tls);
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.operator = self.operator.or(config.operator);
        config.read_only = self.read_only.unwrap_or(config.read_only);
        config.deletes = self.deletes.unwrap_or(config.deletes);
        config.sparse = self.sparse.unwrap_or(config.sparse);
        if let Some(warnings) = self.warnings {
            warning::headers(&warnings).map_err(|err| err.context(self.path.display()))?;
            config.warnings = warnings;
        }
        let fault = |err: Error| err.context(self.path.display());
        self.limits.apply(&mut config.limits).map_err(fault)?;
        self.gc.apply(&mut config.gc, &config.storage).map_err(fault)?;
        config.gc.retention = collection::rules(&self.retention).map_err(fault)?;
        Ok(())
    }

    fn permissions(&self, folder: &Path) -> Result<Permissions> {
        let fault = |message: &str| Error::invalid(format!("{}: {message}", self.path.display()));
        let auth = &self.auth;
        let users = match &auth.htpasswd {
            Some(path) => Some(Users::open(folder.join(path))?),
            None => None,
        };
        let tokens = match (&auth.issuer, auth.tokens) {
            (Some(_), true) => {
                return Err(fault("`tokens` and `[auth.issuer]` exclude each other"));
            }
            (Some(_), false) if users.is_some() => {
                return Err(fault("`htpasswd` and `[auth.issuer]` exclude each other")
                    .hint("the issuer knows who its people are"));
            }
            (Some(_), false) if self.rule.is_some() => {
                return Err(fault("`[[rule]]` and `[auth.issuer]` exclude each other")
                    .hint("the issuer's tokens say what their bearers may do"));
            }
            (Some(table), false) => Tokens::Of(table.open(folder)?),
            (None, true) => Tokens::Own(auth.own().map_err(|err| fault(&err.to_string()))?),
            (None, false) if auth.url.is_some() || auth.token_life.is_some() => {
                return Err(fault("`url` and `token-life` need `tokens = true`"));
            }
            (None, false) => Tokens::None,
        };
        let certified = self.tls.as_ref().is_some_and(|tls| tls.client_authority.is_some());
        let nobody = users.is_none() && auth.issuer.is_none();
        if nobody && (auth.tokens || (self.rule.is_some() && !certified)) {
            return Err(fault("rules and tokens without users")
                .hint("name a file of users: `htpasswd` in `[auth]`"));
        }
        let rules = match &self.rule {
            Some(tables) => Rules::new(self.rules(tables)?),
            None => Rules::default(),
        };
        Ok(Permissions { users, tokens, rules })
    }

    fn policies(&self) -> Result<Policies> {
        let place = |what: &str, at: usize| format!("{}: {what} {}", self.path.display(), at + 1);
        let quota = |(at, table): (usize, &QuotaTable)| {
            let quota = Quota::new(&table.prefix, table.bytes);
            quota.map_err(|err| err.context(place("quota", at)))
        };
        let immutable = |(at, table): (usize, &ImmutableTable)| {
            let both = each(&table.repositories).and_then(|names| Ok((names, each(&table.tags)?)));
            let rule = both.and_then(|(names, tags)| Immutable::new(names, tags));
            rule.map_err(|err| err.context(place("immutable", at)))
        };
        Ok(Policies {
            quotas: self.quota.iter().enumerate().map(quota).collect::<Result<_>>()?,
            immutable: self.immutable.iter().enumerate().map(immutable).collect::<Result<_>>()?,
        })
    }

    fn rules(&self, tables: &[RuleTable]) -> Result<Vec<Rule>> {
        let numbered = tables.iter().enumerate();
        let rule = |(number, table): (usize, &RuleTable)| {
            let place = format!("{}: rule {}", self.path.display(), number + 1);
            table.rule().map_err(|err| err.context(place))
        };
        numbered.map(rule).collect()
    }
}

impl StorageTable {
    fn bucket(self, folder: &Path) -> Result<S3> {
        let virtual_hosted = self.path_style.map(|path_style| (!path_style).to_string());
        let options = [
            ("aws_region", self.region),
            ("aws_endpoint_url", self.endpoint),
            ("aws_access_key_id", self.access_key_id),
            ("aws_secret_access_key", self.secret_access_key),
            ("aws_session_token", self.session_token),
            ("aws_virtual_hosted_style_request", virtual_hosted),
        ];
        let given = options.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        let (redirect, spool) = (self.redirect, self.spool.map(|spool| folder.join(spool)));
        Ok(S3 { redirect, spool, options: given.collect(), ..S3::parse(&self.url)? })
    }
}

impl TlsTable {
    fn open(&self, folder: &Path) -> Result<Tls> {
        let authority = self.client_authority.as_ref().map(|path| folder.join(path));
        let clients =
            authority.map(|authority| Clients { authority, required: self.client_required });
        if clients.is_none() && self.client_required {
            return Err(Error::invalid("`client-required` needs `client-authority`"));
        }
        let (certificate, key) = (folder.join(&self.certificate), folder.join(&self.key));
        Tls::open(TlsFiles { certificate, key, clients })
    }
}

impl Auth {
    fn own(&self) -> Result<Own> {
        let own = Own::default();
        // "For compatibility with older clients, a token should never be returned with less than
        // 60 seconds to live." Docker's "Token Authentication Implementation".
        let life = within("token-life", self.token_life, 60..=86_400)?.unwrap_or(own.life);
        let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        let fits = |url: &str| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
        };
        match &self.url {
            Some(url) if !fits(url) => Err(Error::invalid("`url` is no address")
                .expected("https://registry.example")
                .found(url.escape_debug())),
            url => Ok(Own { url: url.clone(), life }),
        }
    }
}

impl IssuerTable {
    fn open(&self, folder: &Path) -> Result<Issuer> {
        Issuer::open(&self.realm, &self.service, &self.issuer, &folder.join(&self.keys))
    }
}

impl RuleTable {
    fn rule(&self) -> Result<Rule> {
        for (name, list) in [
            ("repositories", &self.repositories),
            ("users", &self.users),
            ("actions", &self.actions),
        ] {
            if list.is_empty() {
                return Err(Error::invalid(format!("`{name}` is empty")));
            }
        }
        let actions = each::<Actions>(&self.actions)?;
        Ok(Rule {
            repositories: each::<Glob>(&self.repositories)?,
            users: each::<Whom>(&self.users)?,
            actions: actions.into_iter().fold(Actions::NONE, Actions::and),
        })
    }
}

fn each<T: FromStr<Err = Error>>(words: &[String]) -> Result<Vec<T>> {
    words.iter().map(|word| word.parse()).collect()
}

/// A number as the schema bounds it.
fn within<T: PartialOrd + ToString>(
    name: &str,
    given: Option<T>,
    bounds: RangeInclusive<T>,
) -> Result<Option<T>> {
    match given {
        Some(number) if !bounds.contains(&number) => {
            let (least, most) = (bounds.start().to_string(), bounds.end().to_string());
            Err(Error::invalid(format!("`{name}` is out of range"))
                .expected(format!("{least} to {most}"))
                .found(number.to_string()))
        }
        given => Ok(given),
    }
}

#[cfg(test)]
mod tests;
