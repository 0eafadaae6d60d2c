//! The titles of an artifact's files: the names that they get in the folder of whoever pulls it.
//!
//! A title is text from outside. None may lead out of that folder, so that both who pushes and who
//! pulls refuse what could (GHSA-g5v4-5x39-vwhx, rule U1).

use std::collections::BTreeSet;
use std::path::{Component, Path};

use conex_spec::{Error, Kind, Result};

/// The longest path that Linux opens, in bytes.
const MAX_LENGTH: usize = 4095;
/// What helps where a path, as `.`, ends in no name.
const NAMELESS: &str = "`--flat --folder files` takes what is in a folder, or name it from above";

/// A title as a clean path below a folder: `./a//b` is `a/b`.
///
/// # Errors
/// `Invalid` for one that is empty, absolute, has a `..` or a NUL in it, or is too long to be a path.
pub fn clean(title: &str) -> Result<String> {
    let refuse = |found: &str| {
        Error::invalid("title is no path below a folder")
            .expected("a relative path without `..`")
            .found(format!("{found}: {title:.160?}"))
    };
    if title.contains('\0') {
        return Err(refuse("a NUL byte"));
    }
    if title.len() > MAX_LENGTH {
        return Err(refuse("more than 4095 bytes"));
    }
    let mut names = Vec::new();
    for component in Path::new(title).components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().unwrap_or_default()),
            Component::CurDir => {}
            Component::ParentDir => return Err(refuse("`..`")),
            Component::RootDir | Component::Prefix(_) => return Err(refuse("an absolute path")),
        }
    }
    if names.is_empty() {
        return Err(refuse("no name"));
    }
    Ok(names.join("/"))
}

/// The title that a path gives to a file that was named so on a command line.
///
/// # Errors
/// `Usage` for a path that is no title; the file's name alone mostly is.
pub fn of_path(path: &Path) -> Result<String> {
    let shown = path.display();
    let text = path.to_str().ok_or_else(|| {
        Error::new(Kind::Usage, format!("{shown} cannot be a title")).expected("a name in UTF-8")
    })?;
    clean(text).map_err(|err| {
        err.with_kind(Kind::Usage)
            .context(format_args!("{shown}: its path would be its title"))
            .hint(match path.file_name() {
                Some(_) => "`--flat` takes the names of files alone, or go to their folder first",
                None => NAMELESS,
            })
    })
}

/// The name of a file alone as its title.
///
/// # Errors
/// `Usage` for a path that ends in no name.
pub fn of_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(ToOwned::to_owned).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{} has no name that can be a title", path.display()))
            .expected("a path that ends in a name in UTF-8")
            .hint(NAMELESS)
    })
}

/// Titles that were taken, so that no two files of an artifact get one name and none lies in
/// another.
#[derive(Debug, Default)]
pub struct Taken(BTreeSet<String>);

impl Taken {
    /// Takes a clean title.
    ///
    /// # Errors
    /// `Invalid` where it is taken, or where one would be a folder of the other.
    pub fn take(&mut self, title: &str) -> Result<()> {
        let other = self.0.get(title).map(String::as_str).or_else(|| self.above(title));
        match other.or_else(|| self.below(title)) {
            Some(other) => Err(Error::invalid("two files of an artifact want one place")
                .found(format!("the titles {other:?} and {title:?}"))),
            None => {
                self.0.insert(title.to_owned());
                Ok(())
            }
        }
    }

    fn above(&self, title: &str) -> Option<&str> {
        let folders = title.match_indices('/').map(|(at, _)| &title[..at]);
        folders.filter_map(|folder| self.0.get(folder)).next().map(String::as_str)
    }

    fn below(&self, title: &str) -> Option<&str> {
        let folder = format!("{title}/");
        let next = self.0.range(folder.clone()..).next()?;
        next.starts_with(&folder).then_some(next.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_stays_in_its_folder() {
        for (title, expected) in [
            ("a", "a"),
            ("./a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("...", "..."),
            ("a\nb", "a\nb"),
            ("-rf", "-rf"),
            ("a\\..\\b", "a\\..\\b"),
        ] {
            assert_eq!(clean(title).unwrap(), expected);
        }
        for bad in ["", ".", "./", "/", "/a", "..", "../a", "a/../b", "a/..", "a\0b", "//a"] {
            let err = clean(bad).unwrap_err();
            assert_eq!(err.kind(), Kind::Invalid, "{bad}");
            assert!(err.found_value().is_some_and(|found| found.contains(&format!("{bad:?}"))));
        }
        assert!(clean(&"a/".repeat(2048)).is_err());
    }

    #[test]
    fn a_path_that_was_typed_is_a_title_or_a_mistake() {
        assert_eq!(of_path(Path::new("./out/a.wasm")).unwrap(), "out/a.wasm");
        for bad in ["../a", "/tmp/a", "."] {
            let err = of_path(Path::new(bad)).unwrap_err();
            assert_eq!(err.kind(), Kind::Usage);
            assert!(err.message().starts_with(bad), "{err}");
            assert_eq!(err.hint_text() == Some(NAMELESS), bad == ".", "{err}");
        }
        assert_eq!(of_name(Path::new("/tmp/../a")).unwrap(), "a");
        assert!(of_name(Path::new("/")).is_err());
    }

    #[test]
    fn no_two_files_want_one_place() {
        let mut taken = Taken::default();
        for title in ["a/b", "a/b.txt", "c", "a/bc", "d/e/f"] {
            taken.take(title).unwrap();
        }
        for title in ["a/b", "a", "a/b/c", "c/x", "d", "d/e", "d/e/f/g"] {
            assert!(taken.take(title).is_err(), "{title}");
        }
        taken.take("a/b-").unwrap();
        taken.take("d/e/g").unwrap();
    }
}
