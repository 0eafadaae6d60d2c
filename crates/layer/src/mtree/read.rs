//! Reads manifests, of strangers too.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use conex_spec::{Error, Kind, Result};
use conex_tar::show;

use super::text::unspell;
use super::{WHOLE, Words};
use crate::Name;

/// Longer lines are refused, in bytes: a name of 4096 spelled in octal, and attributes.
const MAX_LINE: u64 = 1 << 20;

/// Keywords that say nothing that is compared.
pub(super) const IGNORED: [&str; 9] =
    ["uname", "gname", "flags", "inode", "resdevice", "optional", "nochange", "ignore", "cksum"];

/// What a manifest says.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    pub(super) names: BTreeMap<Vec<u8>, Words>,
    /// Whether files have no other attributes.
    pub(super) whole: bool,
}

pub(super) fn read(mut input: impl BufRead) -> Result<Manifest> {
    let mut reader = Reader::default();
    let mut number = 0;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let count =
            read.map_err(|err| Error::from_io(err, || "cannot read the manifest".into()))?;
        if count == 0 {
            return Ok(reader.manifest);
        }
        number += 1;
        // A line may go on in the next one.
        while line.ends_with(b"\\\n") && (line.len() as u64) < MAX_LINE {
            line.truncate(line.len() - 2);
            let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            read.map_err(|err| Error::from_io(err, || "cannot read the manifest".into()))?;
        }
        if line.len() as u64 >= MAX_LINE {
            return Err(Error::new(
                Kind::Limit,
                format!("line {number} of the manifest is too long"),
            ));
        }
        reader.line(&line).map_err(|err| err.context(format!("line {number} of the manifest")))?;
    }
}

#[derive(Default)]
struct Reader {
    manifest: Manifest,
    defaults: Words,
    /// The folder that names are in, in the older form.
    folder: Vec<u8>,
    begun: bool,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line == WHOLE.as_bytes() {
            self.manifest.whole = true;
        }
        let words: Vec<_> = line.trim_ascii().split(u8::is_ascii_whitespace).collect();
        let mut words = words.into_iter().filter(|word| !word.is_empty());
        match words.next() {
            None => Ok(()),
            Some(first) if first.starts_with(b"#") => Ok(()),
            Some(b"/set") => words.try_for_each(|word| pair(word, &mut self.defaults)),
            Some(b"/unset") => {
                for word in words {
                    self.defaults.remove(&*String::from_utf8_lossy(word));
                }
                Ok(())
            }
            Some(b"..") => {
                let parent = self.folder.iter().rposition(|&b| b == b'/').unwrap_or(0);
                self.folder.truncate(parent);
                Ok(())
            }
            Some(name) => self.name(name, words),
        }
    }

    fn name<'a>(&mut self, name: &[u8], words: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let raw = unspell(name).ok_or_else(|| bad_word(name))?;
        let whole_path = raw.contains(&b'/');
        let path = match (whole_path, self.folder.is_empty()) {
            (false, false) => [&self.folder[..], b"/", &raw].concat(),
            _ => raw,
        };
        let path = Name::parse(&path)?.as_bytes().to_vec();
        let mut all = self.defaults.clone();
        for word in words {
            pair(word, &mut all)?;
        }
        let is_dir = all.get("type").is_some_and(|kind| kind == b"dir");
        // The root of the older form is no folder to be left again.
        if is_dir && !whole_path && self.begun {
            self.folder.clone_from(&path);
        }
        self.begun = true;
        self.manifest.names.entry(path).or_default().extend(all);
        Ok(())
    }
}

fn pair(word: &[u8], words: &mut Words) -> Result<()> {
    let (key, value) = match word.iter().position(|&b| b == b'=') {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &b""[..]),
    };
    let key = String::from_utf8(key.to_vec()).map_err(|_| bad_word(word))?;
    let key = match key.as_str() {
        "sha256" => "sha256digest".to_owned(),
        digest
            if digest.ends_with("digest")
                || ["md5", "sha1", "sha384", "sha512", "rmd160"].contains(&digest) =>
        {
            if digest != "sha256digest" {
                return Err(Error::new(
                    Kind::Unsupported,
                    "digest of the manifest cannot be checked",
                )
                .expected("sha256digest")
                .found(digest));
            }
            key
        }
        _ => key,
    };
    let value = unspell(value).ok_or_else(|| bad_word(word))?;
    let value = normal(&key, value).ok_or_else(|| bad_word(word))?;
    words.insert(key, value);
    Ok(())
}

/// Numbers may be spelled in several ways.
fn normal(key: &str, value: Vec<u8>) -> Option<Vec<u8>> {
    let text = || std::str::from_utf8(&value).ok();
    Some(match key {
        "mode" => format!("{:04o}", u32::from_str_radix(text()?, 8).ok()?).into_bytes(),
        "uid" | "gid" | "size" | "nlink" => text()?.parse::<u64>().ok()?.to_string().into_bytes(),
        "time" | "tar_time" => {
            let (secs, nanos) = text()?.split_once('.').unwrap_or((text()?, "0"));
            let (secs, nanos) = (secs.parse::<i64>().ok()?, nanos.parse::<u32>().ok()?);
            format!("{secs}.{nanos:09}").into_bytes()
        }
        _ => value,
    })
}

fn bad_word(word: &[u8]) -> Error {
    Error::invalid("word of the manifest makes no sense").found(show(word))
}
