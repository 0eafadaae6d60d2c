//! One file in TOML to its `[[registry]]` tables. A fault names the file and the line.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conex_spec::{Error, Name, Result};
use toml_edit::{Document, Item, TableLike};

use super::{Helpers, Mirror, Place, Prefix, Registries, Serves, Spot, Table};
use crate::files::bounded;

/// The longest file, in bytes.
const LIMIT: u64 = 1 << 20;

/// Reads one file; nothing if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Registries>> {
    let Some(bytes) = bounded(path, LIMIT)? else { return Ok(None) };
    let text = String::from_utf8(bytes)
        .map_err(|err| Error::invalid(format!("{} is no text", path.display())).source(err))?;
    parse(path, &text).map(Some)
}

/// "Note that only files with the `.conf` suffix are loaded, other files and sub-directories are
/// ignored", "in alpha-numerical order".
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let fault = |err| Error::io("cannot list", folder, err);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(fault(err)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Registries> {
    let file = File { path: path.into(), text };
    let document = Document::parse(text)
        .map_err(|err| file.fault(err.span(), Error::invalid(one_line(err.message()))))?;
    let root = document.as_table();
    if let Some(old) = root.get("registries") {
        return Err(file.version_1(old));
    }
    let tables = file.array(root, "registry")?;
    let mut found: Vec<Table> = Vec::new();
    for (table, place) in tables {
        let table = file.registry(table, place)?;
        file.check_twice(&found, &table)?;
        found.push(table);
    }
    Ok(Registries { tables: found, helpers: file.helpers(root)? })
}

struct File<'a> {
    path: Arc<Path>,
    text: &'a str,
}

type Tables<'a> = Vec<(&'a dyn TableLike, Place)>;
/// A string, and where it is.
type Text<'a> = (&'a str, Option<Range<usize>>);

impl File<'_> {
    fn registry(&self, table: &dyn TableLike, place: Place) -> Result<Table> {
        let location = self.spot(table, "location")?;
        let prefix = match self.text_of(table, "prefix")? {
            Some(("", _)) | None => location.clone().map(Prefix::Spot),
            Some((text, span)) => Some(prefix(text).map_err(|err| self.fault(span, err))?),
        };
        let Some(prefix) = prefix else {
            return Err(self.at(&place, Error::invalid("a registry without prefix and location")));
        };
        if location.is_none() && matches!(prefix, Prefix::Spot(_)) {
            let fault = Error::invalid("a registry without location")
                .hint("only a prefix that begins with `*.` can do without");
            return Err(self.at(&place, fault));
        }
        if let Some((_, span)) = self.text_of(table, "pull-from-mirror")? {
            let fault = Error::invalid("`pull-from-mirror` belongs into [[registry.mirror]]");
            return Err(self.fault(span, fault));
        }
        let digests = self.flag(table, "mirror-by-digest-only")?;
        let mut mirrors = Vec::new();
        for (mirror, place) in self.array(table, "mirror")? {
            mirrors.push(self.mirror(mirror, place, digests)?);
        }
        self.check_names(&prefix, location.iter().chain(mirrors.iter().map(|it| &it.location)))
            .map_err(|err| self.at(&place, err))?;
        let insecure = self.flag(table, "insecure")?;
        let blocked = self.flag(table, "blocked")?;
        Ok(Table { prefix, location, insecure, blocked, mirrors, place })
    }

    fn mirror(&self, table: &dyn TableLike, place: Place, digests: bool) -> Result<Mirror> {
        let location = self.spot(table, "location")?;
        let location =
            location.ok_or_else(|| self.at(&place, Error::invalid("a mirror without location")))?;
        let serves = match self.text_of(table, "pull-from-mirror")? {
            None | Some(("", _)) if digests => Serves::Digests,
            None | Some(("" | "all", _)) if !digests => Serves::All,
            Some(("digest-only", _)) if !digests => Serves::Digests,
            Some(("tag-only", _)) if !digests => Serves::Tags,
            Some((found, span)) if !digests => {
                let fault = Error::invalid("not a value of `pull-from-mirror`")
                    .expected("all, digest-only or tag-only")
                    .found(found.escape_debug());
                return Err(self.fault(span, fault));
            }
            other => {
                let fault = Error::invalid(
                    "`pull-from-mirror` of a registry that has `mirror-by-digest-only`",
                );
                return Err(self.fault(other.and_then(|(_, span)| span), fault));
            }
        };
        let insecure = self.flag(table, "insecure")?;
        Ok(Mirror { location, insecure, serves, place })
    }

    /// One image has one place, and a digest stands for itself everywhere.
    fn check_names<'s>(
        &self,
        prefix: &Prefix,
        mut to: impl Iterator<Item = &'s Spot>,
    ) -> Result<()> {
        let named = |spot: &&Spot| match (prefix.name(), &spot.name) {
            (_, None) | (Some(Name::Tag(_)), _) => false,
            (Some(from), Some(to)) => from != to,
            (None, Some(_)) => true,
        };
        let Some(wrong) = to.find(named) else { return Ok(()) };
        Err(Error::invalid("a location with a tag or digest")
            .expected("one like that of the prefix, or none")
            .found(wrong))
    }

    /// "An array of default credential helpers used as external credential stores."
    fn helpers(&self, root: &dyn TableLike) -> Result<Option<Helpers>> {
        let key = "credential-helpers";
        let Some(item) = root.get(key) else { return Ok(None) };
        let texts = item.as_array().map(|array| array.iter().map(|value| value.as_str()));
        let names = texts.and_then(|texts| texts.map(|text| text.map(str::to_owned)).collect());
        let names: Vec<String> = names.ok_or_else(|| self.wrong(key, "strings", item))?;
        // "set to `["containers-auth.json"]` if none are specified"
        Ok(Some(Helpers { names, place: self.place(item.span()) })
            .filter(|it| !it.names.is_empty()))
    }

    /// The same prefix twice in one file is fine as long as both say the same.
    fn check_twice(&self, known: &[Table], table: &Table) -> Result<()> {
        let Some(first) = known.iter().find(|known| known.prefix == table.prefix) else {
            return Ok(());
        };
        if (first.insecure, first.blocked) == (table.insecure, table.blocked) {
            return Ok(());
        }
        let fault = Error::invalid("a registry is here twice, with other settings")
            .expected(format!("those of line {}", first.place.line));
        Err(self.at(&table.place, fault))
    }

    fn spot(&self, table: &dyn TableLike, key: &str) -> Result<Option<Spot>> {
        match self.text_of(table, key)? {
            None | Some(("", _)) => Ok(None),
            Some((text, span)) => Spot::parse(text).map(Some).map_err(|err| self.fault(span, err)),
        }
    }

    fn text_of<'t>(&self, table: &'t dyn TableLike, key: &str) -> Result<Option<Text<'t>>> {
        let Some(item) = table.get(key) else { return Ok(None) };
        match item.as_str() {
            Some(text) => Ok(Some((text, item.span()))),
            None => Err(self.wrong(key, "a string", item)),
        }
    }

    fn flag(&self, table: &dyn TableLike, key: &str) -> Result<bool> {
        match table.get(key) {
            None => Ok(false),
            Some(item) => item.as_bool().ok_or_else(|| self.wrong(key, "true or false", item)),
        }
    }

    /// `[[key]]` tables, or an array of inline tables.
    fn array<'t>(&self, table: &'t dyn TableLike, key: &str) -> Result<Tables<'t>> {
        let Some(item) = table.get(key) else { return Ok(Vec::new()) };
        if let Some(tables) = item.as_array_of_tables() {
            let place = |table: &toml_edit::Table| self.place(table.span());
            return Ok(tables.iter().map(|table| (table as _, place(table))).collect());
        }
        let Some(array) = item.as_array() else {
            return Err(self.wrong(key, &format!("[[{key}]] tables"), item));
        };
        let tables = array.iter().map(|value| match value.as_inline_table() {
            Some(table) => Ok((table as _, self.place(value.span()))),
            None => Err(self.fault(
                value.span(),
                Error::invalid(format!("`{key}`")).expected("a table").found(value.type_name()),
            )),
        });
        tables.collect()
    }

    /// "VERSION 1 FORMAT - DEPRECATED": `[registries.search]`, `[registries.insecure]` and
    /// `[registries.block]`.
    fn version_1(&self, old: &Item) -> Error {
        let first = old.as_table_like().and_then(|table| table.iter().next());
        let key = first.map_or_else(
            || "registries".to_owned(),
            |(key, _)| format!("[registries.{}]", key.escape_debug()),
        );
        let span = first.and_then(|(_, item)| item.span()).or_else(|| old.span());
        let fault = Error::invalid("this is the format of version 1")
            .expected("[[registry]] tables")
            .found(key)
            .hint("write a [[registry]] with `location` and `insecure` or `blocked` for each of them; names are never searched for; see containers-registries.conf(5)");
        self.fault(span, fault)
    }

    fn wrong(&self, key: &str, expected: &str, item: &Item) -> Error {
        let fault = Error::invalid(format!("`{key}`")).expected(expected).found(item.type_name());
        self.fault(item.span(), fault)
    }

    fn fault(&self, span: Option<Range<usize>>, err: Error) -> Error {
        self.at(&self.place(span), err)
    }

    fn at(&self, place: &Place, err: Error) -> Error {
        err.context(place)
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        let before = span.and_then(|span| self.text.as_bytes().get(..span.start));
        let line = before.map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count()) + 1;
        Place { file: self.path.clone(), line }
    }
}

/// "`*.example.com` is valid but `example.*.com`, `*.example.com/foo` and
/// `*.example.com:5000/foo/bar:baz` are not."
fn prefix(text: &str) -> Result<Prefix> {
    let Some(domain) = text.strip_prefix("*.") else {
        return Spot::parse(text).map(Prefix::Spot);
    };
    let spot = Spot::parse(domain)?;
    if spot.path.is_empty() && !spot.registry.contains(':') {
        return Ok(Prefix::Below(format!(".{}", spot.registry)));
    }
    Err(Error::invalid("a prefix with a wildcard names a domain and nothing else")
        .expected("*.example.com")
        .found(text.escape_debug()))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
