//! Annotations from the command line, and from files as oras reads them.

use std::fmt::Display;

use conex_spec::descriptor::Annotations;
use conex_spec::strict_json::{self, Shape};
use conex_spec::{Error, Kind, Result};
use indexmap::IndexMap;

use super::draft::Draft;

/// The longest annotation file, in bytes.
pub const MAX_FILE: usize = 4 << 20;
/// What an annotation file calls the config and the manifest.
const CONFIG: &str = "$config";
const MANIFEST: &str = "$manifest";
/// How many titles an error tells.
const MAX_TOLD: usize = 5;

/// `KEY=VALUE`; the value may be empty.
///
/// # Errors
/// `Usage` where there is no `=` or nothing before it.
pub fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::new(Kind::Usage, "not an annotation")
            .expected("KEY=VALUE")
            .found(format!("{text:.160?}"))),
    }
}

/// What an annotation file says: an object of objects, whose names are the titles of files,
/// `$config` or `$manifest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    name: String,
    said: IndexMap<String, Annotations>,
}

impl Sheet {
    /// Reads an annotation file; `name` is what people call it.
    ///
    /// # Errors
    /// `Invalid` for anything but an object of objects of text.
    pub fn parse(bytes: &[u8], name: impl Display) -> Result<Self> {
        let said = strict_json::parse(bytes, MAX_FILE, Shape::Free, "annotation file");
        let said = said.map_err(|err| {
            err.context(&name)
                .hint(r#"as in {"$manifest": {"KEY": "VALUE"}, "FILE": {"KEY": "VALUE"}}"#)
        })?;
        Ok(Self { name: name.to_string(), said })
    }

    /// What it says of the manifest.
    pub fn of_manifest(&self, key: &str) -> Option<&str> {
        self.said.get(MANIFEST)?.get(key).map(String::as_str)
    }

    /// Sets what it says on a draft. What the draft says of the manifest already was typed, and stays.
    ///
    /// # Errors
    /// `Usage` for a title that no file has.
    pub fn apply(&self, draft: &mut Draft) -> Result<()> {
        for (name, annotations) in &self.said {
            match name.as_str() {
                MANIFEST => {
                    for (key, value) in annotations {
                        draft.annotations.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                CONFIG => draft.config_annotations.extend(annotations.clone()),
                title => {
                    let wanted = super::titles::clean(title).unwrap_or_else(|_| title.to_owned());
                    let at =
                        draft.layers.iter().position(|part| part.title.as_ref() == Some(&wanted));
                    let at = at.ok_or_else(|| self.no_such_file(title, draft))?;
                    draft.layers[at].annotations.extend(annotations.clone());
                }
            }
        }
        Ok(())
    }

    fn no_such_file(&self, title: &str, draft: &Draft) -> Error {
        let titles = draft.layers.iter().filter_map(|part| part.title.as_deref());
        let titles: Vec<_> = titles.take(MAX_TOLD).map(|title| format!("{title:.80?}")).collect();
        let err = Error::new(Kind::Usage, format!("{} names what is not pushed", self.name))
            .expected("`$manifest`, `$config` or the title of a file")
            .found(format!("{title:.160?}"));
        let more = if draft.layers.len() > titles.len() { ", …" } else { "" };
        match titles.is_empty() {
            true => err,
            false => err.hint(format!("titles are {}{more}", titles.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Part;
    use conex_spec::MediaType;

    #[test]
    fn annotations_have_a_key() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(pair("a=").unwrap(), ("a".into(), String::new()));
        for bad in ["", "a", "=b"] {
            let err = pair(bad).unwrap_err();
            assert!(err.found_value().is_some_and(|found| found.contains(bad)), "{err}");
        }
    }

    #[test]
    fn a_sheet_says_whose_each_annotation_is() {
        let text = br#"{"$config":{"c":"1"},"$manifest":{"m":"2","n":"3"},"./a.txt":{"f":"3"}}"#;
        let mut draft = Draft::new(MediaType::new("a/b"));
        draft.layers.push(Part::bytes(MediaType::OCTETS, "x").titled("a.txt"));
        draft.annotations.insert("n".into(), "typed".into());
        Sheet::parse(text, "x").unwrap().apply(&mut draft).unwrap();
        assert_eq!(draft.config_annotations["c"], "1");
        assert_eq!((&*draft.annotations["m"], &*draft.annotations["n"]), ("2", "typed"));
        assert_eq!(draft.layers[0].annotations["f"], "3");
        let other = Sheet::parse(br#"{"b.txt":{"f":"3"}}"#, "sheet.json").unwrap();
        let err = other.apply(&mut draft).unwrap_err();
        assert_eq!((err.kind(), err.hint_text()), (Kind::Usage, Some(r#"titles are "a.txt""#)));
        assert!(err.message().starts_with("sheet.json names"), "{err}");
    }

    #[test]
    fn what_is_no_sheet_is_refused() {
        for bad in ["", "[]", r#"{"a":"b"}"#, r#"{"a":{"b":1}}"#, r#"{"a":{},"a":{}}"#] {
            assert!(Sheet::parse(bad.as_bytes(), "x").is_err(), "{bad}");
        }
    }
}
