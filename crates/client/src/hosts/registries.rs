//! `registries.conf` of version 2: where a name is read from, and how.
//! containers-registries.conf(5), containers-registries.conf.d(5).
//!
//! ```toml
//! [[registry]]
//! prefix = "example.com/foo"               # the longest that matches a name is used
//! location = "internal.example/bar"        # where it is read instead
//! [[registry.mirror]]
//! location = "mirror.example/foo"          # where it is read first
//! ```
//! "Redirection and mirrors are currently processed only when reading images, not when pushing": a
//! push goes where the name says. `blocked` and `insecure` hold for both.
//!
//! A bare name means what Docker makes of it, so `unqualified-search-registries`,
//! `short-name-mode` and `[aliases]` are not looked at: the same command names the same image on
//! every machine. Other unknown keys are skipped too. Files of version 1 are refused.
//!
//! A prefix with a tag or digest is for names with just that one. Its location and mirrors may have
//! one too, which is asked for instead. A name with neither is its whole repository, whose lists no such
//! prefix moves; who means its image `latest` says so.
//!
//! Where `mirror-by-digest-only` or `pull-from-mirror` exclude a mirror from questions for a tag, it is
//! still read for content, which is asked for by digest whatever the person typed.

mod file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_spec::{Error, Kind, Name, Reference, Result, Tag};

/// The files, none of which is read before the first request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryFiles {
    /// The main file. It may be absent unless `required` says otherwise.
    pub main: Option<PathBuf>,
    /// Whether a person named the main file, so that it must be there.
    pub required: bool,
    /// Folders of which every `*.conf` is read after it, in the order of the names. A later table
    /// replaces an earlier one of the same prefix. They may be absent.
    pub folders: Vec<PathBuf>,
}

/// What all files say together.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    tables: Vec<Table>,
    /// What the last file that has it says of `credential-helpers`.
    pub(crate) helpers: Option<Helpers>,
}

/// Who is asked for logins, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Helpers {
    /// Each the NAME of a program `docker-credential-NAME`, or [`AUTH_FILES`].
    pub(crate) names: Vec<String>,
    pub(crate) place: Place,
}

/// "`containers-auth.json` is a reserved value to use auth files".
pub(crate) const AUTH_FILES: &str = "containers-auth.json";

/// One `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    prefix: Prefix,
    /// Nothing where names are read as they are.
    location: Option<Spot>,
    pub(crate) insecure: bool,
    pub(crate) blocked: bool,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) place: Place,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    location: Spot,
    pub(crate) insecure: bool,
    pub(crate) serves: Serves,
    pub(crate) place: Place,
}

/// What a mirror may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    All,
    Digests,
    Tags,
}

/// A file and a line in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    pub(crate) line: usize,
}

/// A registry, a part of its repositories, or one image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spot {
    registry: String,
    path: String,
    name: Option<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Prefix {
    Spot(Spot),
    /// `*.example.com`: all names below that domain, on any port; here with the dot.
    Below(String),
}

impl RegistryFiles {
    /// Reads all files. Blocking.
    pub(crate) fn load(&self) -> Result<Registries> {
        let mut all = Registries::default();
        if let Some(main) = &self.main {
            match file::read(main)? {
                Some(read) => all.merge(read),
                None if self.required => {
                    return Err(Error::new(Kind::NotFound, "no such file")
                        .context(format_args!("configuration of registries {}", main.display())));
                }
                None => {}
            }
        }
        for folder in &self.folders {
            for path in file::listed(folder)? {
                all.merge(file::read(&path)?.unwrap_or_default());
            }
        }
        Ok(all)
    }
}

impl Registries {
    /// "`[[registry]]` tables merged by overwriting existing items if the prefixes are identical".
    fn merge(&mut self, read: Self) {
        self.helpers = read.helpers.or(self.helpers.take());
        for table in read.tables {
            self.tables.retain(|known| known.prefix != table.prefix);
            self.tables.push(table);
        }
    }

    /// "only the TOML table with the longest match is used".
    pub(crate) fn find(&self, name: &Reference) -> Option<&Table> {
        let matching = self.tables.iter().filter(|table| table.prefix.rest(name).is_some());
        matching.max_by_key(|table| table.prefix.length())
    }
}

impl Table {
    /// Where a name is read instead, and under which tag or digest if that is another; nothing if
    /// it is where it says.
    pub(crate) fn primary(&self, name: &Reference) -> Result<Option<Reference>> {
        let Some(location) = &self.location else { return Ok(None) };
        let moved = self.moved(name, location, &self.place)?;
        let renames = moved.name().is_some_and(|to| Some(&to) != self.prefix.name());
        Ok(Some(moved).filter(|moved| renames || moved.without_name() != name.without_name()))
    }

    /// Where a mirror has a name.
    pub(crate) fn mirrored(&self, name: &Reference, mirror: &Mirror) -> Result<Reference> {
        self.moved(name, &mirror.location, &mirror.place)
    }

    /// What is asked for instead of what at a place that a name moves to.
    pub(crate) fn renamed(&self, to: &Reference) -> Option<(Name, Name)> {
        self.prefix.name().cloned().zip(to.name())
    }

    fn moved(&self, name: &Reference, to: &Spot, place: &Place) -> Result<Reference> {
        let rest = self.prefix.rest(name).unwrap_or_default();
        let path = [to.path.as_str(), rest].map(|part| part.trim_matches('/'));
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).collect();
        Reference::new(&to.registry, &path.join("/"))
            .and_then(|moved| match &to.name {
                Some(name) => moved.with_name(name.clone()),
                None => Ok(moved),
            })
            .map_err(|err| err.context(format_args!("{place} moves {name} to {to}")))
    }
}

impl Prefix {
    /// What of a repository's name comes after the prefix, if it has it.
    fn rest<'a>(&self, name: &'a Reference) -> Option<&'a str> {
        match self {
            Self::Below(domain) => {
                let host = name.host().strip_suffix(domain.as_str());
                host.filter(|host| !host.is_empty()).map(|_| name.repository())
            }
            Self::Spot(spot) if name.registry() != spot.registry => None,
            Self::Spot(spot) if spot.path.is_empty() => Some(name.repository()),
            Self::Spot(Spot { path, name: Some(only), .. }) => {
                let is_it = match only {
                    Name::Tag(tag) => name.tag() == Some(tag),
                    Name::Digest(digest) => name.digest() == Some(digest),
                };
                (is_it && name.repository() == path).then_some("")
            }
            Self::Spot(spot) => {
                let rest = name.repository().strip_prefix(spot.path.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(rest)
            }
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Below(domain) => domain.len() + 1,
            Self::Spot(spot) => {
                let name = spot.name.as_ref().map_or(0, |name| name.to_string().len() + 1);
                spot.registry.len() + spot.path.len() + 1 + name
            }
        }
    }

    fn name(&self) -> Option<&Name> {
        match self {
            Self::Spot(spot) => spot.name.as_ref(),
            Self::Below(_) => None,
        }
    }
}

impl Spot {
    /// `host[:port][/path][:tag|@digest]`. A host without a dot is one here, unlike in names.
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        if text.contains("://") {
            return Err(Error::invalid("a location has no scheme")
                .expected("host[:port][/path]")
                .found(text.escape_debug()));
        }
        let (registry, rest) = text.split_once('/').unwrap_or((text, ""));
        let (path, name) = match (rest.split_once('@'), rest.split_once(':')) {
            (Some((path, digest)), _) => (path, Some(Name::Digest(digest.parse()?))),
            (None, Some((path, tag))) => (path, Some(Name::Tag(Tag::new(tag)?))),
            (None, None) => (rest, None),
        };
        let checked = if path.is_empty() && name.is_none() { "x" } else { path };
        let mut checked = Reference::new(registry, checked)?;
        if let Some(name) = &name {
            checked = checked.with_name(name.clone())?;
        }
        Ok(Self { registry: checked.registry().to_owned(), path: path.to_owned(), name })
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        match &self.name {
            Some(Name::Tag(tag)) => write!(f, ":{tag}"),
            Some(Name::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)
    }
}

#[cfg(test)]
mod tests;
