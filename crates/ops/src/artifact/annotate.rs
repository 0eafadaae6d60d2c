//! Annotations from the command line, and from files as oras reads them.

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
pub struct Sheet(IndexMap<String, Annotations>);

impl Sheet {
    /// Reads an annotation file.
    ///
    /// # Errors
    /// `Invalid` for anything but an object of objects of text.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        strict_json::parse(bytes, MAX_FILE, Shape::Free, "annotation file").map(Self).map_err(
            |err| err.hint(r#"as in {"$manifest": {"KEY": "VALUE"}, "FILE": {"KEY": "VALUE"}}"#),
        )
    }

    /// Sets what it says on a draft, over what is there.
    ///
    /// # Errors
    /// `Usage` for a title that no file has.
    pub fn apply(&self, draft: &mut Draft) -> Result<()> {
        for (name, annotations) in &self.0 {
            match name.as_str() {
                MANIFEST => draft.annotations.extend(annotations.clone()),
                CONFIG => draft.config_annotations.extend(annotations.clone()),
                title => {
                    let wanted = super::titles::clean(title).unwrap_or_else(|_| title.to_owned());
                    let mut parts = draft.layers.iter_mut();
                    let part = parts.find(|part| part.title.as_ref() == Some(&wanted));
                    let part = part.ok_or_else(|| no_such_file(title))?;
                    part.annotations.extend(annotations.clone());
                }
            }
        }
        Ok(())
    }
}

fn no_such_file(title: &str) -> Error {
    Error::new(Kind::Usage, "the annotation file names what is not pushed")
        .expected("`$manifest`, `$config` or the title of a file")
        .found(format!("{title:.160?}"))
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
        let text = br#"{"$config":{"c":"1"},"$manifest":{"m":"2"},"./a.txt":{"f":"3"}}"#;
        let mut draft = Draft::new(MediaType::new("a/b"));
        draft.layers.push(Part::bytes(MediaType::OCTETS, "x").titled("a.txt"));
        Sheet::parse(text).unwrap().apply(&mut draft).unwrap();
        assert_eq!(draft.config_annotations["c"], "1");
        assert_eq!(draft.annotations["m"], "2");
        assert_eq!(draft.layers[0].annotations["f"], "3");
        let other = Sheet::parse(br#"{"b.txt":{"f":"3"}}"#).unwrap();
        assert_eq!(other.apply(&mut draft).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn what_is_no_sheet_is_refused() {
        for bad in ["", "[]", r#"{"a":"b"}"#, r#"{"a":{"b":1}}"#, r#"{"a":{},"a":{}}"#] {
            assert!(Sheet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
