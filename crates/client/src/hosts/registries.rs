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
//! every machine. Other unknown keys are skipped too. What is refused: files of version 1, and a
//! prefix with a tag or digest, since what it says would be passed over in silence.
//!
//! Where `mirror-by-digest-only` or `pull-from-mirror` exclude a mirror from questions for a tag, it is
//! still read for content, which is asked for by digest whatever the person typed.

mod file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_spec::{Error, Kind, Reference, Result};

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
}

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

/// A registry, or a part of its repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spot {
    registry: String,
    path: String,
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
                Some(tables) => all.merge(tables),
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
    fn merge(&mut self, tables: Vec<Table>) {
        for table in tables {
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
    /// Where a name is read instead; nothing if that is where it says.
    pub(crate) fn primary(&self, name: &Reference) -> Result<Option<Reference>> {
        let Some(location) = &self.location else { return Ok(None) };
        let moved = self.moved(name, location, &self.place)?;
        Ok(Some(moved).filter(|moved| *moved != name.without_name()))
    }

    /// Where a mirror has a name.
    pub(crate) fn mirrored(&self, name: &Reference, mirror: &Mirror) -> Result<Reference> {
        self.moved(name, &mirror.location, &mirror.place)
    }

    fn moved(&self, name: &Reference, to: &Spot, place: &Place) -> Result<Reference> {
        let rest = self.prefix.rest(name).unwrap_or_default();
        let path = [to.path.as_str(), rest].map(|part| part.trim_matches('/'));
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).collect();
        Reference::new(&to.registry, &path.join("/"))
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
            Self::Spot(spot) => {
                let rest = name.repository().strip_prefix(spot.path.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(rest)
            }
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Below(domain) => domain.len() + 1,
            Self::Spot(spot) => spot.registry.len() + spot.path.len() + 1,
        }
    }
}

impl Spot {
    /// `host[:port][/path]`. A host without a dot is one here, unlike in names.
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        let (registry, path) = text.split_once('/').unwrap_or((text, ""));
        if text.contains("://") {
            return Err(Error::invalid("a location has no scheme")
                .expected("host[:port][/path]")
                .found(text.escape_debug()));
        }
        if path.contains([':', '@']) {
            return Err(Error::new(Kind::Unsupported, "a location with a tag or digest")
                .expected("host[:port][/path]")
                .found(text.escape_debug()));
        }
        let checked = Reference::new(registry, if path.is_empty() { "x" } else { path })?;
        Ok(Self { registry: checked.registry().to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)
    }
}

#[cfg(test)]
mod tests;
